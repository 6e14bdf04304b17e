"""Schemas as files: which can be read, and what is refused, with field, value and remedy."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from bitdex.errors import InvalidError, NotFoundError
from bitdex.schema import Schema
from tests.test_schema import PICTURES, pictures

# --- Files ---


@pytest.mark.parametrize("suffix", [".yaml", ".yml", ".json"])
def test_a_file_means_what_its_content_means(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"index{suffix}"
    path.write_text(json.dumps(yaml.safe_load(PICTURES)) if suffix == ".json" else PICTURES)
    assert Schema.load(path) == Schema.load(str(path)) == pictures()


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.yaml", "name: a\nname: b\n", "key 'name' is written twice in one mapping"),
        ("a.json", '{"name": "a", "name": "b"}', "key 'name' is written twice in one mapping"),
        ("a.yaml", "name: [", "cannot be read"),
        ("a.yaml", "name: !!python/object/apply:os.getcwd []", "cannot be read"),
        ("a.yaml", "- name", "expected a mapping, found ['name']"),
        ("a.ini", "name: a", "not a configuration file; use .yaml, .yml, .json"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, name: str, content: str, problem: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InvalidError) as caught:
        Schema.load(tmp_path / name)
    assert problem in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such configuration file"):
        Schema.load(tmp_path / "none.yaml")


# --- What is refused ---

FILTERS, SORTS, DATA = "config.filter_fields", "config.sort_fields", "data_schema.fields"
REFUSED = [
    ("", {"colour": 1}, "configuration: unknown key 'colour'; use 'config' or 'data_schema' or 'name'"),
    ("config", {"max_page": 1}, "config: unknown key 'max_page'; use 'max_page_size'"),
    (f"{FILTERS}[0]", {"lazy": True}, "config.filter_fields[0] 'level': unknown key 'lazy'; use"),
    (f"{DATA}[0]", {"defualt": 0}, "data_schema.fields[0] 'level': unknown key 'defualt'; use 'default'"),
    ("config.cache", {"max_entrees": 1}, "config.cache: unknown key 'max_entrees'; use 'max_entries'"),
    ("", {"name": None}, "configuration: name is missing; give a non-empty string"),
    ("", {"name": "a b"}, "name is 'a b'; use 1 to 64 letters, digits, '_' or '-'"),
    ("", {"name": "x" * 65}, "use 1 to 64 letters"),
    ("config", {"max_page_size": 0}, "config: max_page_size is 0; give an integer from 1"),
    ("config", {"max_page_size": True}, "config: max_page_size is True; give an integer"),
    (
        "data_schema",
        {"schema_version": 0},
        "schema_version is 0; give an integer from 1 to 2^63-1",
    ),
    ("config.cache", {"decay_rate": 0}, "config.cache: decay_rate is 0; give a number above 0 and at most 1"),
    ("config.cache", {"decay_rate": 1.5}, "config.cache: decay_rate is 1.5; give a number above 0"),
    ("config.cache", {"max_bytes": -1}, "config.cache: max_bytes is -1; give an integer from 0"),
    ("config", {"headless": "no"}, "config: headless is 'no'; give true or false"),
    ("config", {"disabled_metrics": ["a", "a"]}, "'a' stands there twice; name it once"),
    ("config", {"filter_fields": {"name": "x"}}, "config: filter_fields is {'name': 'x'}; give a list"),
    (f"{FILTERS}[0]", {"name": ""}, "config.filter_fields[0]: name is ''; give a non-empty string"),
    (f"{FILTERS}[0]", {"name": True}, "name is True; give a non-empty string, in quotes if YAML"),
    (f"{FILTERS}[1]", {"name": "level"}, "name is 'level'; config.filter_fields[0] 'level' has it already"),
    (f"{SORTS}[1]", {"name": "likes"}, "name is 'likes'; config.sort_fields[0] 'likes' has it already"),
    (f"{DATA}[1]", {"target": "level"}, "target is 'level'; data_schema.fields[0] 'level' has it already"),
    (f"{FILTERS}[0]", {"field_type": "multi"}, "field_type is 'multi'; use 'multi_value'"),
    (f"{FILTERS}[0]", {"field_type": None}, "config.filter_fields[0] 'level': field_type is missing; use"),
    (f"{FILTERS}[0]", {"eviction": {"idle_seconds": 1}}, "'level': eviction is {'idle_seconds': 1}; only a"),
    (f"{FILTERS}[5]", {"eviction": {"idle_seconds": 0}}, "idle_seconds is 0; give a number above 0"),
    (f"{FILTERS}[5]", {"eviction": {}}, "config.filter_fields[5] 'tagIds'.eviction: idle_seconds is missing"),
    ("config.time_buckets", {"range_buckets": []}, "time_buckets.range_buckets are named []; give one or"),
    (
        "config.time_buckets",
        {"sort_field": "sort"},
        "time_buckets.sort_field is 'sort', not a sort field; use",
    ),
    (
        "config.time_buckets.range_buckets[0]",
        {"duration_secs": 0},
        "duration_secs is 0; give an integer from 1",
    ),
    (
        "config.time_buckets.range_buckets[0]",
        {"refresh_interval_secs": 0.5},
        "refresh_interval_secs is 0.5; ",
    ),
    (
        "config.time_buckets.range_buckets[0]",
        {"name": "1y"},
        "are named ['1y', '1y']; give one or more, each",
    ),
    ("config.deferred_alive", {"source_field": ""}, "config.deferred_alive: source_field is ''; give a non-"),
    ("config.deferred_alive", {"source_field": "publishAt"}, "which no field is called; use 'publishedAt'"),
    ("config.deferred_alive", {"source_field": "url"}, "'url' is string; name an integer field"),
    (f"{SORTS}[0]", {"bits": 0}, "config.sort_fields[0] 'likes': bits is 0; give an integer from 1 to 64"),
    (f"{SORTS}[0]", {"bits": 65}, "bits is 65; give an integer from 1 to 64"),
    (f"{SORTS}[0]", {"source_type": "uint32", "bits": 40}, "field 'likes': bits is 40; uint32 takes 1 to 32"),
    (f"{SORTS}[5]", {"bits": 32}, "field 'score': bits is 32; the order of float64 needs all 64 layers"),
    (f"{SORTS}[0]", {"source_type": "string"}, "source_type is 'string'; use"),
    (f"{SORTS}[0]", {"source_type": "float64"}, "float64 goes with float, and only with it"),
    (
        f"{SORTS}[0]",
        {"source_type": "uint32", "signed": True},
        "signed is True; source_type is 'uint32'; use",
    ),
    (f"{SORTS}[0]", {"encoding": "log"}, "encoding is 'log'; use 'linear'"),
    (
        f"{SORTS}[0]",
        {"name": "type"},
        "field 'type': value_type 'low_cardinality_string' cannot be sorted: its",
    ),
    (
        f"{SORTS}[0]",
        {"name": "rank"},
        "'rank': value_type 'mapped_string' cannot be sorted: the numbers of its",
    ),
    (
        f"{SORTS}[0]",
        {"name": "tagIds"},
        "'tagIds': value_type 'integer_array' cannot be sorted: one document",
    ),
    (f"{SORTS}[1].computed", {"op": "most"}, "config.sort_fields[1] 'sortAt'.computed: op is 'most'; use"),
    (
        f"{SORTS}[1].computed",
        {"source_fields": []},
        "computed.source_fields is []; name one or more distinct",
    ),
    (f"{SORTS}[1].computed", {"source_fields": ["existAt"]}, "which no field is called; use 'existedAt'"),
    (f"{SORTS}[1].computed", {"source_fields": ["sortAt"]}, "which is computed itself; name the fields"),
    (f"{SORTS}[1].computed", {"source_fields": ["url"]}, "names 'url' of value_type 'string'; a computed"),
    (f"{SORTS}[1].computed", {"source_fields": ["score"]}, "of value_type 'float'; a computed integer takes"),
    (
        f"{DATA}[0]",
        {"value_type": "int"},
        "data_schema.fields[0] 'level': value_type is 'int'; use 'integer'",
    ),
    (f"{DATA}[0]", {"value_type": None}, "data_schema.fields[0] 'level': value_type is missing; use"),
    (f"{DATA}[0]", {"source": None}, "data_schema.fields[0] 'level': source is missing"),
    (f"{DATA}[0]", {"value_type": "string"}, "field_type 'single_value' cannot filter value_type 'string'"),
    (f"{DATA}[0]", {"value_type": "float"}, "field_type 'single_value' cannot filter value_type 'float'"),
    (
        f"{DATA}[0]",
        {"value_type": "integer_array"},
        "cannot filter value_type 'integer_array'; declare it as",
    ),
    (f"{DATA}[3]", {"value_type": "integer"}, "field 'poi': field_type 'boolean' cannot filter value_type"),
    (
        f"{DATA}[4]",
        {"value_type": "integer"},
        "cannot filter value_type 'integer'; declare it as integer_array",
    ),
    (f"{DATA}[9]", {"filter_only": True}, "doc_only is True; filter_only is true as well; choose one"),
    (f"{DATA}[0]", {"doc_only": True}, "doc_only is True; the field is a filter or sort field; drop one"),
    (f"{DATA}[10]", {"filter_only": True}, "field 'rank': filter_only without a filter or a sort would be"),
    (f"{DATA}[0]", {"default": "x"}, "field 'level': default is 'x'; integer takes an integer of 64 bits"),
    (f"{DATA}[3]", {"default": 0}, "field 'poi': default is 0; boolean takes true or false"),
    (f"{DATA}[4]", {"default": ["a"]}, "field 'tagIds': default is ('a',); integer_array takes a list of"),
    (f"{DATA}[6]", {"default": -1}, "field 'likes': default is -1; sorted values go from 0 to 4294967295"),
    (f"{DATA}[10]", {"default": "lo"}, "field 'rank': default is 'lo'; use 'low'"),
    (f"{DATA}[10]", {"string_map": None}, "a mapped_string needs a string_map, and nothing else has one"),
    (f"{DATA}[10]", {"string_map": {"a": "b"}}, "string_map has 'a': 'b'; map strings to integers"),
    (f"{DATA}[10]", {"string_map": ["a"]}, "string_map is ['a']; give a mapping from strings to integers"),
    (f"{DATA}[0]", {"string_map": {"a": 1}}, "field 'level': value_type 'integer' with string_map {'a': 1}"),
    (f"{DATA}[9]", {"ms_to_seconds": True}, "field 'url': ms_to_seconds on value_type 'string'; use it on"),
]


def changed(place: str, change: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration with keys set at a place such as ``config.sort_fields[0]``."""
    result = copy.deepcopy(yaml.safe_load(PICTURES))
    part = result
    for step in place.replace("[", ".").replace("]", "").split(".") if place else []:
        part = part[int(step) if step.isdigit() else step]
    part.update(change)
    return result


@pytest.mark.parametrize(("place", "change", "message"), REFUSED, ids=[row[2][:60] for row in REFUSED])
def test_refusals_name_field_value_and_remedy(place: str, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidError) as caught:
        Schema.load(changed(place, change))
    assert message in str(caught.value)
    assert ";" in str(caught.value)


def test_two_places_for_buckets_are_one_too_many() -> None:
    bucket = {"name": "7d", "duration_secs": 604800, "refresh_interval_secs": 60}
    both = changed("config.filter_fields[0]", {"behaviors": {"range_buckets": [bucket]}})
    with pytest.raises(
        InvalidError, match=r"time buckets are declared for .*; keep config.time_buckets only"
    ):
        Schema.load(both)
