"""Definitions and phases that are wrong: the message names the place, the value and the remedy."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest

import bitdex
from bitdex.errors import InvalidError, LockedError, NotFoundError
from tests.index.conftest import Indexes

SCHEMA = {
    "name": "shop",
    "config": {
        "filter_fields": [
            {"name": "kind", "field_type": "single_value"},
            {"name": "tags", "field_type": "multi_value"},
        ],
        "sort_fields": [
            {"name": "price"},
            {"name": "seen"},
            {"name": "best", "computed": {"op": "greatest", "source_fields": ["price", "seen"]}},
        ],
    },
    "data_schema": {"fields": [{"source": "kind", "target": "kind", "value_type": "low_cardinality_string"}]},
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """Return the schema with one part replaced; ``config.sort_fields.0.bits`` is a path."""
    schema: Any = {
        **SCHEMA,
        "config": {key: [dict(one) for one in fields] for key, fields in SCHEMA["config"].items()},
        "data_schema": {"fields": [dict(one) for one in SCHEMA["data_schema"]["fields"]]},
    }
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    part = schema
    for step in steps:
        part = part[step]
    part[last] = value
    return schema


SCHEMAS = [
    (None, "expected a mapping"),
    ([], "expected a mapping"),
    (changed("name", "a shop"), "name is 'a shop'; use 1 to 64 letters"),
    (changed("nam", "x"), "unknown key 'nam'; use 'name'"),
    (changed("config.filter_field", []), r"config: unknown key 'filter_field'; use 'filter_fields'"),
    (changed("config.filter_fields.0.field_type", "single"), r"filter_fields\[0\] 'kind'.*'single_value'"),
    (changed("config.sort_fields.0.bits", 65), r"'price': bits is 65"),
    (changed("config.sort_fields.0.bits", "32"), r"'price': bits is '32'"),
    (changed("config.sort_fields.0.source_type", "int"), r"'price'.*'int32'"),
    (changed("config.sort_fields.2.computed", {"op": "sum", "source_fields": ["price"]}), "'sum'"),
    (
        changed("config.sort_fields.2.computed", {"op": "least", "source_fields": ["prize"]}),
        "'prize'.*'price'",
    ),
    (changed("config.sort_fields.2.computed", {"op": "least", "source_fields": ["best"]}), "computed itself"),
    (changed("data_schema.fields.0.value_type", "label"), "'kind'"),
    (changed("data_schema.fields.0.default", 7), "'kind'.*default is 7"),
    (changed("config.deferred_alive", {"source_field": "opens"}), "deferred_alive.source_field is 'opens'"),
    (changed("config.sort_fields.0", {"name": "kind"}), "cannot be sorted"),
]


@pytest.mark.parametrize(("schema", "message"), SCHEMAS, ids=[message for _, message in SCHEMAS])
def test_schemas(indexes: Indexes, schema: Any, message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        indexes.create(schema)
    assert not (indexes.root / "index").exists()  # nothing is left behind


def phase(**more: Any) -> dict[str, Any]:
    return {"name": "goods", "slot_field": "id", "sets_alive": True, "fields": ["price"], **more}


LOOKUP = {"lookup": "kinds.csv", "key": "id", "join_on": "kind_id", "fields": ["kind"]}
PHASES = [
    ([], "dump_phases.*give one or more phases"),
    ([{}], r"dump_phases\[0\]"),
    (phase(name=None), "name is missing"),
    (phase(name=7), "name is 7; give a non-empty string"),
    (phase(slot_field=None), "'goods': slot_field is missing"),
    (phase(slot="id"), "'goods': unknown key 'slot'; use .*'slot_fi"),
    (phase(format="xlsx"), "'goods': format is 'xlsx'.*'csv'"),
    (phase(fields=["prize"]), "'goods'.*target 'prize' is no field of index 'shop'; use 'price'"),
    (phase(fields=["best"]), "'best' is computed from price, seen; write those instead"),
    (phase(fields=["price", "price"]), "target 'price' is given twice"),
    (phase(fields=[{"target": "price"}]), r"fields\[0\].*column is missing"),
    (phase(fields=[], sets_alive=False), "there is nothing to do"),
    (phase(sets_alive="yes"), "sets_alive is 'yes'; give true or false"),
    (phase(columns=["id", "prices"]), "column 'price' is not in columns; use 'prices'"),
    (phase(columns=["ID", "price"]), "slot_field 'id' is not in columns"),
    (phase(columns=["id", "price", "price"]), "'price' stands there twice"),
    (phase(filter="price ="), r"'goods'.filter: .*expected a value"),
    (phase(filter="price =! 1"), r"'goods'.filter"),
    (phase(filter="price == 'a"), "this text has no closing quote"),
    (phase(filter="a == b == c"), "comparisons cannot be chained"),
    (phase(filter="sum(a)"), "unknown function 'sum'; use max or min"),
    (phase(filter="price >> price"), "shift by an integer from 0 to 63"),
    (phase(filter="(price"), r"expected '\)'"),
    (phase(filter=""), "filter is ''"),
    (phase(filter="lookup_key == 1"), "lookup_key stands outside an enrichment"),
    (phase(computed_fields=[{"target": "seen"}]), r"computed_fields\[0\].*expression is missing"),
    (phase(enrichment=[{**LOOKUP, "fields": []}]), "there is nothing to look up"),
    (phase(enrichment=[{**LOOKUP, "joinon": "x"}]), "unknown key 'joinon'; use 'join_on'"),
    (phase(enrichment=[{**LOOKUP, "csv_path": "x.csv"}]), "csv_path is given as well"),
    (phase(enrichment=[{**LOOKUP, "fields": ["price"]}]), "target 'price' is given twice"),
    ({"dump_phases": [phase(), phase()]}, "phase 'goods' is given twice"),
    ({"phases": [phase()]}, "unknown key"),
    ("no-such-file.yaml", "no such configuration file"),
    ("phases.txt", "not a configuration file"),
]


@pytest.mark.parametrize(("phases", "message"), PHASES, ids=[message for _, message in PHASES])
def test_phases(indexes: Indexes, phases: Any, message: str) -> None:
    index = indexes.create(SCHEMA)
    source = indexes.write({"goods.csv": "id,price\n1,2\n"})
    with pytest.raises((InvalidError, NotFoundError), match=message):
        index.dump(phases, source=source)
    assert len(index) == 0 and index.phases == []
    index.dump(phase(), source=source)
    assert index.get(1) == {"id": 1, "price": 2, "best": 2}


YAML = [
    ("dump_phases: [", "cannot be read"),
    ("dump_phases:\n  - name: goods\n    name: other\n", "'name' is written twice"),
    ("- a\n- b\n", "expected a mapping"),
    ("!!python/object/apply:os.system ['true']\n", "cannot be read"),
    ("", "expected a mapping|give one or more phases"),
    ("\0", "cannot be read"),
]


@pytest.mark.parametrize(("text", "message"), YAML, ids=[message for _, message in YAML])
def test_files(indexes: Indexes, text: str, message: str) -> None:
    (indexes.root / "phases.yaml").write_text(text)
    with pytest.raises(InvalidError, match=message):
        indexes.create(SCHEMA).dump(indexes.root / "phases.yaml")


ROWS = [
    (
        phase(filter="price + 9223372036854775807 > 0"),
        "'\\+' leaves 64 bits.*keep such rows out with a filter",
    ),
    (
        phase(filter="real & 1 == 1", fields=[{"column": "real", "target": "real"}]),
        "takes integers, not floats",
    ),
    (phase(enrichment=[LOOKUP]), "'kind_id' is not in goods.csv"),
    (
        phase(enrichment=[{**LOOKUP, "lookup": "kind.csv", "join_on": "price"}]),
        r"lookup 'kind.csv': there is no file .*kind\.csv",
    ),
    (
        phase(fields=["price", "low"]),
        "field 'least': -1 is computed for id 1, outside 0 to 255; declare it with the source_type and bits",
    ),
    (phase(csv_path="other.csv"), r"phase 'goods': there is no file .*other\.csv"),
]


@pytest.mark.parametrize(("phases", "message"), ROWS, ids=[message for _, message in ROWS])
def test_what_shows_when_rows_are_read(indexes: Indexes, phases: Any, message: str) -> None:
    fields = [
        {"name": "real", "source_type": "float64", "bits": 64},
        {"name": "low", "source_type": "int32"},
        {"name": "least", "bits": 8, "computed": {"op": "least", "source_fields": ["low", "price"]}},
    ]
    index = indexes.create(changed("config.sort_fields", [*SCHEMA["config"]["sort_fields"], *fields]))
    source = indexes.write({"goods.csv": "id,price,real,low\n1,2,0.5,-1\n", "kinds.csv": "id,kind\n1,a\n"})
    with pytest.raises((InvalidError, NotFoundError), match=message):
        index.dump(phases, source=source)
    assert len(index) == 0 and index.phases == []


def test_directories(indexes: Indexes) -> None:
    with pytest.raises(NotFoundError, match=r"there is no index here .*bitdex\.create makes one"):
        bitdex.open(indexes.root)
    indexes.create(SCHEMA)
    with pytest.raises(InvalidError, match="the directory is not empty; open the index in it"):
        indexes.create(SCHEMA)
    with pytest.raises(InvalidError, match='mode: \'x\' is unknown; use "r" or "w"'):
        indexes.open(mode="x")
    with pytest.raises(LockedError, match='opened for reading; open it with mode="w"'):
        indexes.open().dump(phase(), source=indexes.root)


def test_arguments_of_dump(indexes: Indexes) -> None:
    index = indexes.create(SCHEMA)
    with pytest.raises(InvalidError, match="only: there is no phase 'god'; there are goods"):
        index.dump(phase(), only=["god"])
    with pytest.raises(InvalidError, match="source: expected a directory or tables by name, found int"):
        index.dump(phase(), source=7)
    with pytest.raises(NotFoundError, match=re.escape("there is no table 'goods' in source; it has good")):
        index.dump(phase(), source={"good": {}})
    with pytest.raises(InvalidError, match="phase 'goods': int is no path, DataFrame or Arrow table"):
        index.dump(phase(), source={"goods": 7})


@pytest.mark.parametrize("now", [float("nan"), float("inf"), -float("inf"), True, "soon", [1], object()])
def test_a_present_of_dump_that_is_none(indexes: Indexes, now: Any) -> None:
    """With nan, documents of the future were committed as visible, for good."""
    index = indexes.create(SCHEMA)
    with pytest.raises(InvalidError, match=r"^now: "):
        index.dump(phase(), source=indexes.write({"goods.csv": "id,price\n1,2\n"}), now=now)
    assert len(index) == 0 and index.phases == []


@pytest.mark.parametrize("now", [1_800_000_000, "2027-01-15T08:00:00Z", datetime(2027, 1, 15, 8, tzinfo=UTC)])
def test_the_present_of_dump_is_a_number_or_a_date_as_that_of_queries(indexes: Indexes, now: Any) -> None:
    """A text was a bare error of a ufunc."""
    sort = [{"name": "due"}]
    schema = {"name": "x", "config": {"sort_fields": sort, "deferred_alive": {"source_field": "due"}}}
    index = indexes.create(schema)
    rows = {"id": [1, 2], "due": [1_800_000_000, 1_800_000_001]}
    loaded = {"name": "rows", "slot_field": "id", "sets_alive": True, "fields": ["due"]}
    index.dump(loaded, {"rows": rows}, now=now)
    assert index.ids(now=now).tolist() == [1]
