"""Changes of many documents, made in columns, are those that would be made of each."""

import random

import numpy as np
import pyarrow as pa
import pytest

import bitdex
from bitdex.errors import InvalidError, NotFoundError
from bitdex.formats import bitmap as format_
from bitdex.live import sheets
from bitdex.live.batch import Batch
from bitdex.live.lists import appended, removed
from tests.live.bits import differences
from tests.scale import scale, seeds

LATE = 2**32 - 1
SCHEMA = {
    "name": "shop",
    "config": {
        "filter_fields": [
            {"name": "kind", "field_type": "single_value"},
            {"name": "size", "field_type": "single_value"},
            {"name": "tags", "field_type": "multi_value"},
            {"name": "groups", "field_type": "multi_value"},
            {"name": "hot", "field_type": "boolean"},
            {"name": "dated", "field_type": "boolean"},
        ],
        "sort_fields": [
            {"name": "price", "bits": 32},
            {"name": "cost", "bits": 32},
            {"name": "rate", "bits": 64, "source_type": "float64"},
            {"name": "due", "bits": 32},
            {"name": "most", "bits": 32, "computed": {"op": "greatest", "source_fields": ["price", "cost"]}},
        ],
        "deferred_alive": {"source_field": "due"},
    },
    "data_schema": {
        "fields": [
            {"source": "kind", "target": "kind", "value_type": "low_cardinality_string", "default": "shirt"},
            {"source": "tags", "target": "tags", "value_type": "integer_array"},
            {"source": "groups", "target": "groups", "value_type": "integer_array", "filter_only": True},
            {"source": "hot", "target": "hot", "value_type": "boolean", "filter_only": True},
            {"source": "due", "target": "dated", "value_type": "exists_boolean"},
            {"source": "cost", "target": "cost", "value_type": "integer", "filter_only": True},
            {"source": "rate", "target": "rate", "value_type": "float"},
            {"source": "note", "target": "note", "value_type": "string", "doc_only": True},
        ]
    },
}
VALUES = {
    "kind": ["shirt", "hat", "Hat", "shoe"],
    "size": [0, 40, -3, 2**50],
    "tags": [[1], [1, 2, 300], [70_000, -5], []],
    "groups": [[1], [2, 2**50]],
    "hot": [True, False],
    "price": [0, 5, 300],
    "cost": [1, 9, 400],
    "rate": [0.5, -2.0],
    "due": [5, LATE],
    "note": ["x", "a longer note"],
}
QUERIES = [
    "everything",
    "kind == 'hat'",
    "tags has 1",
    "hot",
    "price >= 5",
    "most >= 9",
    "not dated",
    "id < 9",
]
PHASE = {"name": "rows", "slot_field": "id", "sets_alive": True, "fields": ["size", "price"]}


def step(draw):
    """Return a function that changes an index, the same whenever it is called."""
    pick = [draw.choice(QUERIES), draw.randrange(14)]
    fields = {one: draw.choice([None, *values]) for one, values in VALUES.items() if draw.random() < 0.3}
    documents = [{"id": draw.randrange(14), **fields} for _ in range(3)]
    name = draw.choice(["tags", "groups"])
    values = draw.sample([1, 2, 300, 2**50, -5], draw.randrange(3))
    ops = [{"op": "set", "field": one, "value": value} for one, value in fields.items()]
    ops.insert(
        draw.randint(0, len(ops)), {"op": draw.choice(["add", "remove"]), "field": name, "value": values}
    )
    ops += [{"op": "delete"}] * (draw.random() < 0.1)
    found = {"entity_id": 0, "ops": [{"op": "queryOpSet", "query": pick[0], "ops": ops}]}
    return draw.choice(
        [
            *[lambda index: index.apply(found)] * 4,
            lambda index: index.delete(where=pick[0]) if pick[1] < 4 else None,
            lambda index: index.delete([pick[1], pick[1] + 1, 3], missing_ok=True),
            lambda index: index.upsert(fields, pick[1]),
            lambda index: index.put(fields, pick[1]),
            lambda index: index.put_many(documents),
            lambda index: index.apply({"entity_id": pick[1], "ops": ops}),
        ]
    )


def content(index):
    """Return all documents, visible or not, and the bitmaps by what they stand for."""
    store = index._store
    slots = [slot for slot in store.documents.silo.keys().tolist() if slot < 1 << 32]
    documents = {slot: store.documents.get(slot) for slot in slots}
    bits = {meaning(index, key): set(store.bitmaps.get(key)) for key in store.bitmaps.silo.keys().tolist()}
    return documents, {key: members for key, members in bits.items() if members}


def meaning(index, key):
    """Return what a key stands for: values that are wide have numbers of their own in each index."""
    store, parts = index._store, format_.describe(key)
    if parts.kind != "filter":
        return parts
    (value,) = store.bitmaps.decode_values(parts.field_id, np.array([parts.value], np.uint64)).tolist()
    name = store.registry.name(parts.field_id)
    return name, index.labels(name)[value] if name == "kind" else value


@pytest.mark.parametrize("rows", [3, 1 << 16])
def test_any_history_is_the_same_in_columns_and_one_by_one(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(sheets, "ROWS", rows)
    for seed in seeds(scale(12, 400)):
        draw = random.Random(seed)
        indexes = [bitdex.create(tmp_path / f"{seed}-{n}", SCHEMA, sync="none") for n in range(2)]
        for index in indexes:
            index.dump(
                PHASE, source={"rows": pa.table({"id": [1, 2, 3, 4], "size": [40] * 4, "price": [5] * 4})}
            )
        for _ in range(12):
            steps = [step(draw) for _ in range(draw.choice([1, 1, 2, 4]))]
            for index, many in zip(indexes, (1, 10**9)):
                monkeypatch.setattr(Batch, "MANY", many)
                with index.batch():
                    results = [change(index) for change in steps]
                if many == 1:
                    expected = results
            assert results == expected
            (documents, bits), (others, other_bits) = map(content, indexes)
            assert documents == others
            assert bits == other_bits
            assert differences(indexes[0]) == []
            assert indexes[0].ids().tolist() == indexes[1].ids().tolist()
        for index in indexes:
            index.close()


@pytest.fixture
def index(tmp_path):
    with bitdex.create(tmp_path / "index", SCHEMA, sync="none") as index:
        index.put_many([{"id": id, "size": 40 + id % 2, "tags": [id], "note": "x"} for id in range(100)])
        yield index


@pytest.mark.parametrize("many", [1, 10**9])
def test_what_was_changed_in_columns_is_changed_again_one_by_one_in_the_same_batch(
    tmp_path, monkeypatch, many
):
    """A patch left the former value in the bitmap of a field that only bitmaps hold, or brought it back."""
    monkeypatch.setattr(Batch, "MANY", many)
    with bitdex.create(tmp_path / "index", SCHEMA, sync="none") as index:
        index.put_many([{"id": n, "groups": [1], "hot": True, "cost": 9, "price": 5} for n in range(4)])
        ops = [{"op": "set", "field": one, "value": value} for one, value in (("groups", [2]), ("cost", 400))]
        with index.batch():
            index.apply({"entity_id": 0, "ops": [{"op": "queryOpSet", "query": "everything", "ops": ops}]})
            index.patch(0, {"rate": 0.5})
            index.append(1, "groups", [3])
            index.put({"id": 2, "groups": [4]})
            index.delete(3)
        found = {n: index.ids(f"groups has {n}").tolist() for n in range(1, 5)}
        assert found == {1: [], 2: [0, 1], 3: [1], 4: [2]}
        assert index.ids("most == 400").tolist() == [0, 1] and index.ids("hot").tolist() == [0, 1]
        assert index.ids("most == 9").tolist() == []


def test_deleting_what_a_query_finds(index):
    assert index.delete(where="size == 41") == 50
    assert len(index) == 50 and 1 not in index and index.count("tags has 1") == 0
    assert index.delete(where="size == 41") == 0 and differences(index) == []


def test_deleting_many_ids_of_which_some_are_not_there(index):
    with pytest.raises(NotFoundError, match="there is no document 100, 101, 102, 103, 104 and 15 more"):
        index.delete(range(60, 120))
    assert len(index) == 100
    assert index.delete(range(60, 120), missing_ok=True) == 40 and len(index) == 60


def test_operations_on_all_that_a_query_finds_follow_each_other(index):
    ops = [
        {"op": "set", "field": "size", "value": 7},
        {"op": "add", "field": "tags", "value": [500, 501]},
        {"op": "remove", "field": "tags", "value": 500},
        {"op": "set", "field": "note", "value": None},
    ]
    change = {"entity_id": 0, "ops": [{"op": "queryOpSet", "query": "size == 41", "ops": ops}]}
    assert index.apply(change) == {"applied": 200, "passed": 0}
    assert index.get(3) == {"id": 3, "kind": "shirt", "size": 7, "tags": [3, 501], "dated": False}
    assert index.count("size == 7 and tags has 501") == 50 and index.count("tags has 500") == 0
    deleted = [{"op": "delete"}, {"op": "set", "field": "size", "value": 1}]
    change = {"entity_id": 0, "ops": [{"op": "queryOpSet", "query": "size == 7", "ops": deleted}]}
    assert index.apply(change) == {"applied": 50, "passed": 50} and len(index) == 50
    assert differences(index) == []


@pytest.mark.parametrize(
    ("op", "error"),
    [
        ({"op": "set", "field": "size", "value": "x"}, "field 'size': 'x' is not accepted"),
        ({"op": "add", "field": "size", "value": 1}, "field 'size': a integer holds one value"),
        ({"op": "sett"}, "queryOpSet: op .*sett.* is unknown"),
    ],
)
def test_what_cannot_be_done_to_all_is_done_to_none(index, op, error):
    good = {"op": "set", "field": "note", "value": "y"}
    with pytest.raises(InvalidError, match=error):
        index.apply({"entity_id": 0, "ops": [{"op": "queryOpSet", "query": "size == 40", "ops": [good, op]}]})
    assert index.get(2)["note"] == "x"


def test_a_patch_leaves_what_is_computed_of_a_field_in_no_document(index):
    """The source was not looked up for a patch of another field, and the computed value was lost."""
    index.patch(1, {"cost": 10, "price": 5})
    index.patch(1, {"price": 7})
    assert index.ids("most == 10").tolist() == [1] and index.ids("most == 7").tolist() == []


def test_lists_are_appended_to_and_taken_from(seeded=5):
    draw = random.Random(seeded)
    for _ in range(100):
        lists = [
            draw.choice([None, draw.sample(range(6), draw.randint(1, 4))]) for _ in range(draw.randrange(6))
        ]
        values = draw.sample(range(6), draw.randrange(4))
        column = pa.array(lists, pa.large_list(pa.int64()))
        expected = [[*(one or []), *(v for v in values if v not in (one or []))] or None for one in lists]
        assert appended(column, values).to_pylist() == expected
        expected = [[v for v in one or [] if v not in values] or None for one in lists]
        assert removed(column, values).to_pylist() == expected
