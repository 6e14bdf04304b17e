"""Schemas: what a configuration means, and that writing one loses nothing."""

import json
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bitdex.errors import InvalidError
from bitdex.schema import Computed, Deferred, Field, Schema, Sort

PICTURES = """
name: pictures
config:
  filter_fields:
    - { name: level, field_type: single_value, eager_load: true }
    - { name: type, field_type: single_value, eager_load: true }
    - { name: postId, field_type: single_value, per_value_lazy: true }
    - { name: poi, field_type: boolean }
    - { name: isPublished, field_type: boolean, eager_load: true }
    - { name: tagIds, field_type: multi_value, eager_load: true, eviction: { idle_seconds: 60 } }
    - { name: toolIds, field_type: multi_value }
  sort_fields:
    - { name: likes, bits: 32, eager_load: true }
    - name: sortAt
      bits: 32
      computed:
        op: greatest
        source_fields: [existedAt, publishedAt]
    - { name: existedAt, bits: 32 }
    - { name: publishedAt, bits: 32 }
    - { name: balance, bits: 40, signed: true }
    - { name: score, source_type: float64 }
    - { name: id, bits: 32 }
  max_page_size: 200
  deferred_alive: { source_field: publishedAt }
  cache: { max_entries: 10, decay_rate: 0.95, preload_bounds: true }
  merge_interval_ms: 5000
  disabled_metrics: [eviction_stats]
  time_buckets:
    filter_field: sortAtUnix
    sort_field: sortAt
    range_buckets:
      - { name: 24h, duration_secs: 86400, refresh_interval_secs: 300 }
      - { name: 1y, duration_secs: 31536000, refresh_interval_secs: 86400 }
data_schema:
  id_field: id
  schema_version: 2
  fields:
    - { source: level, target: level, value_type: integer, fallback: combinedLevel }
    - { source: type, target: type, value_type: low_cardinality_string }
    - { source: publishedAtUnix, target: isPublished, value_type: exists_boolean }
    - { source: poi, target: poi, value_type: boolean, default: false }
    - { source: tagIds, target: tagIds, value_type: integer_array, default: [] }
    - { source: toolIds, target: toolIds, value_type: integer_array, filter_only: true }
    - { source: likes, target: likes, value_type: integer, default: 0 }
    - { source: sortAtUnix, target: sortAt, value_type: integer, fallback: sortAt, ms_to_seconds: true }
    - { source: publishedAtUnix, target: publishedAt, value_type: integer, truncate_u32: true }
    - { source: url, target: url, value_type: string, doc_only: true, case_sensitive: true }
    - { source: rank, target: rank, value_type: mapped_string, string_map: { low: 1, high: 2 } }
"""


def pictures() -> Schema:
    return Schema.load(yaml.safe_load(PICTURES))


# --- What it means ---


def test_fields_stand_in_order_of_declaration() -> None:
    schema = pictures()
    assert list(schema.fields) == [
        *("level", "type", "postId", "poi", "isPublished", "tagIds", "toolIds"),
        *("likes", "sortAt", "existedAt", "publishedAt", "balance", "score", "id"),
        *("url", "rank"),
    ]
    assert [one.name for one in schema.filter_fields] == list(schema.fields)[:7]
    assert [one.name for one in schema.sort_fields] == list(schema.fields)[7:14]


def test_the_index_itself() -> None:
    schema = pictures()
    assert (schema.name, schema.id_field, schema.version, schema.max_page_size) == ("pictures", "id", 2, 200)
    assert schema.deferred == Deferred("publishedAt", ms_to_seconds=False)
    assert schema.time_buckets is not None
    assert (schema.time_buckets.filter_field, schema.time_buckets.sort_field) == ("sortAtUnix", "sortAt")
    assert [(one.name, one.duration_secs) for one in schema.time_buckets.buckets] == [
        ("24h", 86400),
        ("1y", 31536000),
    ]
    assert schema.settings == {
        "cache": {"max_entries": 10, "decay_rate": 0.95, "preload_bounds": True},
        "merge_interval_ms": 5000,
        "disabled_metrics": ["eviction_stats"],
    }


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("level", {"kind": "integer", "filter": "single_value", "sources": ("level", "combinedLevel")}),
        ("level", {"default": None, "stored": True, "settings": {"eager_load": True}}),
        ("type", {"is_labelled": True, "is_text": True, "case_sensitive": False}),
        ("postId", {"kind": "integer", "sources": ("postId",), "settings": {"per_value_lazy": True}}),
        ("poi", {"kind": "boolean", "default": False, "is_boolean": True}),
        ("isPublished", {"kind": "exists_boolean", "is_boolean": True, "sources": ("publishedAtUnix",)}),
        ("tagIds", {"is_list": True, "default": (), "stored": True}),
        ("tagIds", {"settings": {"eager_load": True, "eviction": {"idle_seconds": 60.0}}}),
        ("toolIds", {"stored": False, "indexed": True, "default": None}),
        ("sortAt", {"sort": Sort(32, "uint32", Computed("greatest", ("existedAt", "publishedAt")))}),
        ("sortAt", {"sources": ("sortAtUnix", "sortAt"), "ms_to_seconds": True}),
        ("publishedAt", {"ms_to_seconds": True}),
        ("balance", {"sort": Sort(40, "int64"), "kind": "integer"}),
        ("score", {"sort": Sort(64, "float64"), "kind": "float"}),
        ("url", {"indexed": False, "stored": True, "case_sensitive": True}),
        ("rank", {"string_map": {"low": 1, "high": 2}, "is_text": True, "is_labelled": False}),
    ],
)
def test_each_field(name: str, expected: dict[str, Any]) -> None:
    field = pictures().field(name)
    assert {key: getattr(field, key) for key in expected} == expected


@pytest.mark.parametrize(
    ("filters", "sorts", "kind"),
    [
        ("multi_value", None, "integer_array"),
        ("boolean", None, "boolean"),
        ("single_value", None, "integer"),
        ("single_value", "uint32", "integer"),
        (None, "uint64", "integer"),
        (None, "float64", "float"),
        (None, "boolean", "boolean"),
        (None, "timestamp", "integer"),
    ],
)
def test_a_field_without_mapping_gets_one(filters: str | None, sorts: str | None, kind: str) -> None:
    config = {
        "filter_fields": [{"name": "x", "field_type": filters}] if filters else [],
        "sort_fields": [{"name": "x", "source_type": sorts}] if sorts else [],
    }
    assert Schema.load({"name": "n", "config": config}).field("x").kind == kind


@pytest.mark.parametrize(
    ("written", "bits", "source", "low", "high"),
    [
        ({}, 32, "uint32", 0, 2**32 - 1),
        ({"bits": 8}, 8, "uint32", 0, 255),
        ({"bits": 64}, 64, "uint64", 0, 2**64 - 1),
        ({"bits": 32, "signed": True}, 32, "int64", -(2**31), 2**31 - 1),
        ({"source_type": "int32"}, 32, "int32", -(2**31), 2**31 - 1),
        ({"source_type": "int64"}, 64, "int64", -(2**63), 2**63 - 1),
        ({"source_type": "timestamp"}, 64, "timestamp", -(2**63), 2**63 - 1),
        ({"source_type": "boolean"}, 1, "boolean", 0, 1),
        ({"source_type": "float64"}, 64, "float64", float("-inf"), float("inf")),
    ],
)
def test_layers_hold_a_range(written: dict, bits: int, source: str, low: float, high: float) -> None:
    sort = Schema.load({"name": "n", "config": {"sort_fields": [{"name": "x", **written}]}}).field("x").sort
    assert sort is not None
    assert (sort.bits, sort.source_type, sort.low, sort.high) == (bits, source, low, high)


def test_buckets_may_stand_in_their_older_place() -> None:
    behaviors = {
        "sort_field": "at",
        "range_buckets": [{"name": "7d", "duration_secs": 604800, "refresh_interval_secs": 60}],
    }
    config = {
        "filter_fields": [{"name": "atUnix", "field_type": "single_value", "behaviors": behaviors}],
        "sort_fields": [{"name": "at"}],
    }
    buckets = Schema.load({"name": "n", "config": config}).time_buckets
    assert buckets is not None
    assert (buckets.filter_field, buckets.sort_field, buckets.buckets[0].name) == ("atUnix", "at", "7d")


def test_has_and_nearest_names() -> None:
    schema = pictures()
    assert schema.has("tagIds") and not schema.has("tagids")
    with pytest.raises(InvalidError, match="unknown field 'tagids' in index 'pictures'; use 'tagIds'"):
        schema.field("tagids")


# --- Rules and round trips ---


def test_the_rules_hold_for_objects_too() -> None:
    with pytest.raises(InvalidError, match="field 'x': unknown value_type 'text'"):
        Field("x", "text")
    with pytest.raises(InvalidError, match="field 'a' is kept under 'b'"):
        Schema("n", {"b": Field("a")})


def test_writing_and_reading_loses_nothing() -> None:
    written = pictures().to_mapping()
    assert Schema.load(written) == pictures()
    assert list(Schema.load(written).fields) == list(pictures().fields)
    assert Schema.load(json.loads(json.dumps(written))) == pictures()
    assert Schema.load(yaml.safe_load(yaml.safe_dump(written))).to_mapping() == written


def test_what_was_written_is_the_callers() -> None:
    schema = pictures()
    schema.to_mapping()["config"]["cache"]["max_entries"] = 0
    assert schema.settings["cache"]["max_entries"] == 10


SORTED = st.sampled_from(
    [Sort(), Sort(8), Sort(64, "uint64"), Sort(40, "int64"), Sort(64, "timestamp"), Sort(32, "int32")]
)
COMMON = {
    "nullable": st.booleans(),
    "case_sensitive": st.booleans(),
    "settings": st.sampled_from([{}, {"eager_load": True}]),
    "sources": st.sampled_from([(), ("raw",), ("raw", "other")]),
}
FIELDS = st.one_of(
    st.builds(
        Field,
        st.sampled_from("abc"),
        filter=st.sampled_from([None, "single_value"]),
        sort=SORTED,
        default=st.none() | st.integers(0, 100),
        ms_to_seconds=st.booleans(),
        stored=st.booleans(),
        **COMMON,
    ),
    st.builds(Field, st.sampled_from("def"), st.just("float"), sort=st.just(Sort(64, "float64")), **COMMON),
    st.builds(
        Field,
        st.sampled_from("ghi"),
        st.just("integer_array"),
        filter=st.just("multi_value"),
        default=st.sampled_from([None, (), (1, 2)]),
        **COMMON,
    ),
    st.builds(
        Field,
        st.sampled_from("jkl"),
        st.just("boolean"),
        filter=st.just("boolean"),
        sort=st.sampled_from([None, Sort(1, "boolean"), Sort(1)]),
        default=st.none() | st.booleans(),
        **COMMON,
    ),
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(FIELDS, max_size=8, unique_by=lambda field: field.name))
def test_every_schema_survives_writing(fields: list[Field]) -> None:
    schema = Schema("n", {field.name: field for field in fields})
    assert Schema.load(json.loads(json.dumps(schema.to_mapping()))) == schema
