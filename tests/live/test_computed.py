"""Computed fields: the same one by one and in columns, whatever their sources are."""

import math

import pyarrow as pa
import pytest

import bitdex
from bitdex.errors import InvalidError
from bitdex.live.batch import Batch
from tests.live.bits import differences

FIELDS = {"a": "float", "b": "integer", "c": "boolean", "d": "boolean"}
SCHEMA = {
    "name": "computed",
    "config": {
        "sort_fields": [
            {
                "name": "most",
                "source_type": "float64",
                "computed": {"op": "greatest", "source_fields": ["a", "b"]},
            },
            {
                "name": "both",
                "source_type": "boolean",
                "bits": 1,
                "computed": {"op": "least", "source_fields": ["c", "d"]},
            },
        ]
    },
    "data_schema": {
        "fields": [
            *({"source": name, "target": name, "value_type": kind} for name, kind in FIELDS.items()),
            {"source": "most", "target": "most", "value_type": "float"},
            {"source": "both", "target": "both", "value_type": "boolean"},
        ]
    },
}
TYPES = {"float": pa.float64(), "integer": pa.int64(), "boolean": pa.bool_()}


def put_each(index, rows):
    for row in rows:
        index.put(row)


def patch_each(index, rows):
    index.put_many([{"id": row["id"]} for row in rows])
    for row in rows:
        index.patch(row["id"], row)


def dumped(index, rows):
    columns = {name: pa.array([row.get(name) for row in rows], TYPES[kind]) for name, kind in FIELDS.items()}
    table = pa.table({"id": [row["id"] for row in rows], **columns})
    phase = {"name": "rows", "slot_field": "id", "sets_alive": True, "fields": list(FIELDS)}
    index.dump(phase, source={"rows": table})


def added(index, rows):
    put_each(index, rows)
    for name in ("most", "both"):
        kind = {"most": "float", "both": "boolean"}[name]
        sort = next(one for one in SCHEMA["config"]["sort_fields"] if one["name"] == name)
        index.drop_field(name)
        index.add_field(name, sort={key: sort[key] for key in sort if key != "name"}, value_type=kind)


WAYS = [put_each, patch_each, lambda index, rows: index.put_many(rows), dumped, added]


@pytest.fixture(params=WAYS, ids=["put", "patch", "put_many", "dump", "add_field"])
def give(request, monkeypatch):
    monkeypatch.setattr(Batch, "MANY", 1 if request.param is WAYS[2] else 1000)
    return request.param


@pytest.fixture
def index(tmp_path):
    with bitdex.create(tmp_path / "index", SCHEMA) as index:
        yield index
        assert differences(index) == []


def test_nan_is_no_value(index, give):
    """In columns it went into the sort layers: pages ended with an error, a rebuild was refused."""
    give(index, [{"id": 1, "a": 1.0}, {"id": 2, "a": math.nan}, {"id": 3, "a": math.nan, "b": 3}])
    assert (
        index.query(sort="-most").ids.tolist() == [3, 1, 2] and index.query(sort="-most", limit=1).total == 3
    )
    index.rebuild()
    assert [one.get("most") for one in index.get_many([1, 2, 3])] == [1.0, None, 3.0]


def test_a_boolean(index, give):
    """Put by itself it was stored as the number 1, which ended to_pandas, rebuild and every column."""
    rows = [
        {"id": id, "c": c, "d": d} for id, (c, d) in enumerate([(True, True), (True, False), (True, None)])
    ]
    give(index, rows)
    assert [one["both"] for one in index.get_many([0, 1, 2])] == [True, False, True]
    assert index.to_pandas()["both"].tolist() == [True, False, True]
    index.rebuild()
    assert index.query(sort="both").ids.tolist() == [1, 0, 2]
    assert index.delete(where="both == false") == 1


def test_a_float_of_integers_that_it_cannot_tell_apart(index, give):
    give(index, [{"id": 1, "b": 2**53 + 1}, {"id": 2, "b": 2**63 - 1}])
    assert [one["most"] for one in index.get_many([1, 2])] == [2.0**53, 2.0**63]


NARROW = {
    "name": "narrow",
    "config": {
        "sort_fields": [
            {"name": "a", "bits": 32},
            {"name": "c", "bits": 8, "computed": {"op": "greatest", "source_fields": ["a"]}},
        ]
    },
}


@pytest.mark.parametrize("many", [1, 1000])
@pytest.mark.parametrize("shape", [list, lambda rows: [str(row).replace("'", '"') for row in rows]])
def test_records_of_which_a_computed_value_does_not_fit_are_counted(tmp_path, monkeypatch, many, shape):
    """One of them ended the load."""
    monkeypatch.setattr(Batch, "MANY", many)
    with bitdex.create(tmp_path / "index", NARROW) as index:
        result = index.load(shape([{"id": 1, "a": 5}, {"id": 2, "a": 300}, {"id": 3, "a": 255}]))
        assert (result.applied, result.rejected) == (2, 1) and index.ids().tolist() == [1, 3]
        (example,) = result.rejects["field 'c'"]["examples"]
        assert example.startswith("record 2: field 'c': 300 is computed for id 2, outside 0 to 255")
        with index.batch(), pytest.raises(InvalidError, match="300 is computed for id 2"):
            index.put_many([{"id": 1, "a": 6}, {"id": 2, "a": 300}])
        assert index.get(1)["a"] == 5


DEFERRED = {
    "name": "deferred",
    "config": {
        "sort_fields": [
            {"name": "a", "source_type": "int64"},
            {"name": "due", "source_type": "int64", "computed": {"op": "greatest", "source_fields": ["a"]}},
        ],
        "deferred_alive": {"source_field": "due"},
    },
}


@pytest.mark.parametrize("many", [1, 1000])
def test_documents_that_never_become_due(tmp_path, monkeypatch, many):
    """A table of them was refused by Arrow: no float holds that time."""
    monkeypatch.setattr(Batch, "MANY", many)
    with bitdex.create(tmp_path / "index", DEFERRED) as index:
        index.put_many([{"id": 1, "a": 2**63 - 1}, {"id": 2, "a": 5}, {"id": 3}])
        assert index.ids().tolist() == [2, 3]


def test_the_default_that_a_computed_time_rests_on_stays(tmp_path):
    """Documents became visible, or stayed so, against what their time said."""
    told = pytest.raises(InvalidError, match="'a' tells when documents appear")
    with bitdex.create(tmp_path / "index", DEFERRED) as index, told:
        index.set_default("a", 2**40)


ONLY_FILTERED = {
    "name": "deferred",
    "config": {
        "filter_fields": [{"name": name, "field_type": "single_value"} for name in ("due", "size")],
        "sort_fields": [
            {"name": "most", "bits": 63, "computed": {"op": "greatest", "source_fields": ["due", "size"]}}
        ],
        "deferred_alive": {"source_field": "due"},
    },
    "data_schema": {
        "fields": [
            {"source": "due", "target": "due", "value_type": "integer", "filter_only": True},
            {"source": "size", "target": "size", "value_type": "integer"},
        ]
    },
}
FAR = 1 << 31


@pytest.mark.parametrize("many", [1, 1000])
def test_a_time_that_only_bitmaps_tell(tmp_path, monkeypatch, many):
    """The first document that waits was the last one: no query worked behind it, in no process."""
    monkeypatch.setattr(Batch, "MANY", many)
    with bitdex.create(tmp_path / "index", ONLY_FILTERED) as index:
        index.put_many([{"id": 1, "due": FAR}, {"id": 2, "due": 5}])
        assert index.ids().tolist() == [2]
        index.patch(1, {"size": 3})
        assert index.ids().tolist() == [2] and set(index.snapshot.deferred) == {1}
    with bitdex.open(tmp_path / "index") as index:
        assert index.ids().tolist() == [2]
        index.patch(1, {"due": 6})
        assert index.ids("due == 6").tolist() == [1] and index.query(sort="most").ids.tolist() == [2, 1]


def test_a_phase_reads_what_only_the_bitmaps_of_a_filter_hold(tmp_path):
    """It took it for nothing: documents that waited were shown, and computed values forgot a source."""
    with bitdex.create(tmp_path / "index", ONLY_FILTERED) as index:
        phase = {"slot_field": "id", "sets_alive": True}
        tables = {
            "times": pa.table({"id": [1, 2, 3], "due": [FAR, 7, 2**47 + 1]}),
            "sizes": pa.table({"id": [1, 2, 3, 4], "size": [3, 9, 3, 3]}),
            "small": pa.table({"id": [2, 4], "size": [1, 2]}),
        }
        phases = [{"name": "times", "fields": ["due"]}, {"name": "sizes", "fields": ["size"]}]
        index.dump([one | phase for one in phases], source=tables)
        assert index.ids().tolist() == [2, 4] and set(index.snapshot.deferred) == {1, 3}
        index.dump({"name": "small", "fields": ["size"]} | phase, source=tables)
        assert index.get_many([2, 4]).documents() == [
            {"id": 2, "size": 1, "most": 7},
            {"id": 4, "size": 2, "most": 2},
        ]
