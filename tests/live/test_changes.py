"""Changing an index, call by call: what each takes, refuses and leaves; feeds; phases and power cuts."""

import io
import json
import shutil
import threading
import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import bitdex
from bitdex.errors import InvalidError, LockedError, NotFoundError
from bitdex.live import batch
from tests.live.bits import differences

SCHEMA = {
    "name": "shop",
    "config": {
        "filter_fields": [
            {"name": "level", "field_type": "single_value"},
            {"name": "kind", "field_type": "single_value"},
            {"name": "tags", "field_type": "multi_value"},
            {"name": "dated", "field_type": "boolean"},
        ],
        "sort_fields": [{"name": "price", "bits": 32}, {"name": "due", "bits": 32}],
        "deferred_alive": {"source_field": "due"},
    },
    "data_schema": {
        "fields": [
            {"source": "kind", "target": "kind", "value_type": "low_cardinality_string"},
            {"source": "tags", "target": "tags", "value_type": "integer_array"},
            {"source": "due", "target": "dated", "value_type": "exists_boolean"},
            {"source": "note", "target": "note", "value_type": "string", "doc_only": True},
        ]
    },
}
PHASE = {"name": "rows", "slot_field": "id", "sets_alive": True, "fields": ["level", "price"]}
TAGS = {"name": "tags", "slot_field": "id", "fields": ["tags"]}


@pytest.fixture
def index(tmp_path):
    with bitdex.create(tmp_path / "index", SCHEMA) as index:
        index.put_many(
            [
                {"id": 1, "level": 1, "kind": "image", "tags": [1, 2], "price": 10, "note": "one"},
                {"id": 2, "level": 2, "kind": "video", "tags": [2], "price": 20},
            ]
        )
        yield index
        assert differences(index) == []
        assert index.check().empty


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ({"level": 1}, '"id" is missing'),
        ({"id": -1}, "id: -1 is no whole number from 0 to 4294967295"),
        ({"id": True}, "id: True is no whole number"),
        ({"id": 3, "levle": 1}, "id 3: unknown field 'levle' .* use 'level'"),
        ({"id": 3, "level": 1.5}, "id 3: field 'level': 1.5 is not accepted; give a whole number"),
        ({"id": 3, "level": True}, "field 'level': True is not accepted"),
        (
            {"id": 3, "price": -1},
            "field 'price': -1 is not accepted; .* from 0 to 4294967295",
        ),
        ({"id": 3, "kind": 7}, "field 'kind': 7 is not accepted; give a text"),
        ({"id": 3, "tags": "12"}, "field 'tags': '12' is not accepted; give a collection"),
        ({"id": 3, "tags": [1, None]}, "field 'tags': None is not accepted"),
        ({"id": 3, "dated": 2}, "field 'dated': 2 is not accepted; give True or False"),
    ],
)
def test_what_is_refused_changes_nothing(index, document, error):
    before, sequence = index.get(1), index.stats()["sequence"]
    for call in (index.put, lambda one: index.put_many([{"id": 1, "level": 9}, one])):
        with pytest.raises(InvalidError, match=error):
            call(document)
    assert index.get(1) == before and index.stats()["sequence"] == sequence


def test_a_patch_changes_what_it_names(index):
    index.patch(1, {"level": 5, "tags": None, "price": 11})
    assert index.get(1) == {"id": 1, "level": 5, "kind": "image", "price": 11, "note": "one", "dated": False}
    assert index.ids("tags has 2").tolist() == [2] and index.ids("level == 1").tolist() == []
    with pytest.raises(NotFoundError, match="there is no document 9; put or upsert creates one"):
        index.patch(9, {"level": 1})
    with pytest.raises(InvalidError, match="field 'level': a integer holds one value"):
        index.append(1, "level", 3)


def test_a_change_writes_the_smallest_set_of_bitmaps(index):
    def altered(change):
        before = index.stats()["silos"]["bitmaps"]["pending"]
        change()
        return index.stats()["silos"]["bitmaps"]["pending"] - before

    assert altered(lambda: index.append(1, "tags", [2, 3])) == 1
    assert altered(lambda: index.patch(1, {"price": 11})) == 1  # 10 and 11 differ in one layer
    assert altered(lambda: index.patch(1, {"note": "two"})) == 1  # the mark of a batch without alterations
    assert altered(lambda: index.patch(1, {"level": 1})) == 0  # nothing changes: no commit


def test_documents_that_were_read_can_be_put_again(index):
    documents = index.get_many([1, 2])
    copies = [dict(one) for one in documents]
    index.put_many(documents)
    assert [dict(one) for one in index.get_many([1, 2])] == copies


def test_tables_of_documents(index):
    frame = pd.DataFrame({"id": [3, 4], "level": [1, None], "kind": ["image", "new"], "tags": [[5], None]})
    assert index.put_many(frame) == 2
    assert index.put_many(frame.set_index("id").rename(index={3: 5, 4: 6})) == 2
    assert index.put_many(pa.table({"id": [7], "tags": [[1, 2]], "dated": [True]})) == 1
    assert index.get(4) == {"id": 4, "kind": "new", "dated": False}
    assert index.ids("tags has 5").tolist() == [3, 5] and index.ids("dated == true").tolist() == [7]
    with pytest.raises(InvalidError, match='no column "id" among level'):
        index.put_many(pd.DataFrame({"level": [1]}))
    with pytest.raises(InvalidError, match="expected several, found one"):
        index.put_many({"id": 1})


def test_deleting(index):
    with pytest.raises(NotFoundError, match="there is no document 8, 9"):
        index.delete([1, 8, 9])
    assert len(index) == 2
    assert index.delete([1, 8, 9], missing_ok=True) == 1
    assert index.delete(where="level >= 2" if index.schema.field("level").sort else "level == 2") == 1
    assert len(index) == 0 and index.count("tags has 2") == 0
    with pytest.raises(InvalidError, match="give ids or where"):
        index.delete()
    index.put({"id": 1, "level": 7})
    assert index.get(1) == {"id": 1, "level": 7, "dated": False}, "nothing of the former document"


@pytest.mark.parametrize("make", [list, set, frozenset, tuple, np.array, iter, pd.Series])
def test_several_values_or_ids_come_in_any_iterable(index, make):
    index.append(1, "tags", make([70, 71]))
    assert sorted(index.get(1)["tags"])[-2:] == [70, 71]
    index.remove(1, "tags", make([70, 5]))
    assert 71 in index.get(1)["tags"] and 70 not in index.get(1)["tags"]
    assert index.delete(make([1, 2])) == 2 and 1 not in index
    for others in ("12", {3: 1}):
        with pytest.raises(InvalidError, match="id"):
            index.delete(others)


def test_a_batch_is_one_commit(index):
    sequence = index.stats()["sequence"]
    with index.batch():
        index.put({"id": 3, "tags": [9]})
        index.append(3, "tags", 10)
        index.delete(1)
        index.upsert({"id": 1, "level": 3})
        assert len(index) == 2 and 3 not in index, "queries see what is committed"
    assert index.stats()["sequence"] == sequence + 1
    assert index.get(3)["tags"] == [9, 10] and index.get(1) == {"id": 1, "level": 3, "dated": False}
    with pytest.raises(ZeroDivisionError), index.batch():
        index.delete([1, 2, 3])
        raise ZeroDivisionError
    assert len(index) == 3
    with index.batch(), pytest.raises(InvalidError, match="is changing the index already"), index.batch():
        pass


def test_a_reader_follows_and_may_not_write(index):
    with bitdex.open(index.path, "r") as reader:
        index.patch(1, {"level": 8})
        assert reader.get(1)["level"] == 1
        assert reader.refresh() and reader.get(1)["level"] == 8
        with pytest.raises(LockedError):
            reader.patch(1, {"level": 9})


# -- feeds -----------------------------------------------------------------------------------


def test_a_feed(index):
    set_price = {"op": "set", "field": "price", "value": 5}
    changes = [
        {"entity_id": 3, "creates_slot": True, "ops": [{"op": "set", "field": "level", "value": 1}]},
        {"entity_id": 3, "ops": [{"op": "add", "field": "tags", "value": 2}]},
        {"entity_id": 1, "ops": [{"op": "remove", "field": "tags", "value": 1}]},
        {"entity_id": 77, "ops": [{"op": "set", "field": "level", "value": 1}, {"op": "delete"}]},
        {"entity_id": 2, "ops": [{"op": "delete"}]},
        {"entity_id": 0, "ops": [{"op": "queryOpSet", "query": "level == 1", "ops": [set_price]}]},
    ]
    assert index.apply(changes, feed="orders", cursor="17") == {"applied": 5, "passed": 2}
    assert index.get(3) == {"id": 3, "level": 1, "tags": [2], "dated": False}, (
        "the query saw what was committed"
    )
    assert index.get(1)["price"] == 5 and index.get(1)["tags"] == [2] and 2 not in index
    lines = "\n".join(json.dumps({"entity_id": i, "creates_slot": True, "ops": []}) for i in range(3))
    assert index.apply(io.StringIO(lines), feed="other", cursor="1") == {"applied": 0, "passed": 0}
    index.compact()
    with bitdex.open(index.path, "r") as reader:
        assert reader.cursors == index.cursors == {"orders": "17", "other": "1"}


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"ops": [], "id": 1}, 'expected "entity_id" and "ops"'),
        ({"entity_id": -1, "ops": []}, "entity_id: -1 is no whole number"),
        ({"entity_id": 1, "ops": [{"op": "sett", "field": "level", "value": 1}]}, "op .*sett.* is unknown"),
        ({"entity_id": 1, "ops": [{"op": "set", "field": "level"}]}, "is unknown; there are set"),
        ({"entity_id": 99, "ops": [{"op": "set", "field": "levle", "value": 1}]}, "unknown field 'levle'"),
        ("{", "line 1: '{' is no JSON"),
    ],
)
def test_a_feed_that_is_not_understood_changes_nothing(index, change, error):
    good = {"entity_id": 1, "ops": [{"op": "set", "field": "level", "value": 9}]}
    with pytest.raises(InvalidError, match=error):
        index.apply(change if isinstance(change, str) else [good, change], feed="orders", cursor="18")
    assert index.get(1)["level"] == 1 and index.cursors == {}


# -- beside phases, time, power cuts, threads ------------------------------------------------


def test_phases_and_changes(index):
    index.delete([1, 2])
    index.dump(PHASE, source={"rows": pd.DataFrame({"id": [1, 2, 3], "level": 4, "price": 1})})
    index.dump(TAGS, source={"tags": pd.DataFrame({"id": [1, 2, 3], "tags": 6})})
    index.put({"id": 1, "level": 5})  # the phases own nothing of it any more
    index.patch(2, {"level": 6})
    index.delete(3)
    index.dump(PHASE, source={"rows": pd.DataFrame({"id": [2], "level": [7], "price": [1]})})
    assert index.get(1) == {"id": 1, "level": 5, "dated": False}
    assert index.get(2) == {"id": 2, "level": 7, "price": 1, "tags": [6]}
    assert 3 not in index and index.ids("tags has 6").tolist() == [2]


def test_documents_appear_when_they_are_due(index, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(time, "time", lambda: now)
    phase = {**PHASE, "fields": ["level", "price", "due"]}
    rows = {"id": [5, 6, 7], "level": 3, "price": 1, "due": [900, 1005, 1100]}
    index.dump(phase, source={"rows": pd.DataFrame(rows)})
    index.put({"id": 8, "due": 1050, "tags": [44]})
    index.patch(6, {"level": 4})
    assert index.ids().tolist() == [1, 2, 5] and index.count("tags has 44") == 0
    now = 1005.0
    assert index.ids("level == 4").tolist() == [6]
    path = index.path
    index.close()
    now = 1060.0
    with bitdex.open(path, "r") as reader:
        assert reader.ids().tolist() == [1, 2, 5, 6, 8] and reader.ids("tags has 44").tolist() == [8]
    index.__init__(path)
    index.patch(7, {"due": 1})
    assert index.ids().tolist() == [1, 2, 5, 6, 7, 8]
    index.patch(8, {"due": 2000})
    assert 8 not in index and index.count("tags has 44") == 0
    index.delete(8)
    now = 3000.0
    assert 8 not in index


@pytest.mark.parametrize("lost", ["documents", "bitmaps"])
def test_a_power_cut_takes_whole_batches(tmp_path, lost):
    """With sync="none" one log may have lost more than the other: the lesser counts, and both agree."""
    with bitdex.create(tmp_path / "index", SCHEMA) as index:
        pass
    index = bitdex.open(tmp_path / "index", sync="none")
    for i in range(8):
        index.put({"id": i, "level": i, "tags": [i, 99]})
    shutil.copytree(tmp_path / "index", tmp_path / "copy")
    index.close()
    path = tmp_path / "copy" / lost / "ops_a.log"
    content = bytearray(path.read_bytes())
    end = len(content.rstrip(b"\0"))
    content[end // 2 :] = bytes(len(content) - end // 2)
    path.write_bytes(content)
    with bitdex.open(tmp_path / "copy", "r") as reader:
        count = len(reader)
        assert 0 < count < 8 and reader.count("tags has 99") == count
    with bitdex.open(tmp_path / "copy") as index:
        assert index.ids().tolist() == list(range(count)) and differences(index) == []
        index.put({"id": 50, "tags": [99]})
        assert index.count("tags has 99") == count + 1
    with bitdex.open(tmp_path / "copy") as index:
        assert index.count("tags has 99") == count + 1 and index.check().empty


def test_queries_and_compactions_beside_changes(index):
    errors, stop = [], threading.Event()

    def query():
        while not stop.is_set():
            page = index.query("kind == 'step'", sort="-price", limit=50)
            steps = {one["price"] for one in page.documents()}
            if (
                len(steps) > 1
                or page.total not in (0, 20)
                or index.count(f"tags has {min(steps, default=0)}") % 20
            ):
                errors.append((steps, page.total))

    def compact():
        while not stop.is_set():
            index.compact()

    threads = [threading.Thread(target=one) for one in (query, query, compact)]
    for thread in threads:
        thread.start()
    for step in range(100, 160):
        index.put_many({"id": 1000 + i, "kind": "step", "price": step, "tags": [step]} for i in range(20))
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []


def test_pages_stay_as_they_were_while_the_sort_field_changes(index):
    index.put_many({"id": i, "price": i, "level": 1} for i in range(100, 200))
    page, seen = index.query("level == 1", sort="price", limit=7), []
    rng = np.random.default_rng(0)
    while len(page):
        seen += page.ids.tolist()
        for id in rng.integers(100, 200, 5).tolist():
            index.patch(id, {"price": int(rng.integers(0, 1000))})
        page = page.next()
    assert seen == [1, *range(100, 200)]


# -- upkeep ----------------------------------------------------------------------------------


def test_a_round_of_maintenance(index, monkeypatch):
    now = 100.0
    monkeypatch.setattr(time, "time", lambda: now)
    index.put({"id": 9, "due": 200, "tags": [1]})
    assert index.health()["waiting"] == 1 and index.maintain() == {"activated": 0, "compacted": False}
    now = 200.0
    assert index.maintain() == {"activated": 1, "compacted": False}
    assert index.maintain() == {"activated": 0, "compacted": False} and index.health()["waiting"] == 0
    for _ in range(3):
        index.put_many({"id": i, "note": "x" * 2000} for i in range(400))
    assert index.needs_compaction and index.maintain() == {"activated": 0, "compacted": True}
    assert index.health()["pending"] == {"documents": 0, "bitmaps": 0} and 9 in index


def test_maintenance_in_a_thread(tmp_path):
    with bitdex.create(tmp_path / "index", SCHEMA, sync="none", maintenance=0.02) as index:
        for step in range(6):
            index.put_many({"id": i, "level": step, "note": "x" * 2000} for i in range(400))
        end = time.monotonic() + 20
        while index.needs_compaction or not index.health()["maintenance"]["rounds"]:
            assert time.monotonic() < end
            time.sleep(0.02)
        health = index.health()
        assert health["maintenance"]["running"] and health["maintenance"]["rounds"] > 0
        assert health["maintenance"]["error"] is None and not health["needs_compaction"]
        assert index.count("level == 5") == 400 and differences(index) == []
    assert not index._upkeep.running


def test_maintenance_that_fails_is_seen(tmp_path, monkeypatch):
    with bitdex.create(tmp_path / "index", SCHEMA, maintenance=0.02) as index:
        monkeypatch.setattr(index, "maintain", _fail)
        end = time.monotonic() + 20
        while index.health()["maintenance"]["running"] and time.monotonic() < end:
            time.sleep(0.01)
        assert index.health()["maintenance"]["error"] == "InvalidError: no more"
        index.put({"id": 1})
    for wrong in (0, True, "1"):
        with pytest.raises(InvalidError, match=r"maintenance: .* is no number of seconds"):
            bitdex.open(tmp_path / "index", maintenance=wrong)
    with pytest.raises(LockedError):
        bitdex.open(tmp_path / "index", "r", maintenance=1.0)


def _fail():
    raise InvalidError("no more")


# -- many at once -------------------------------------------------------------------------------

MANY = [
    {"id": 7, "level": 3, "kind": "image", "tags": [5, 1, 5], "price": 4},
    {"id": 2, "level": 2, "kind": "Audio", "tags": [2]},
    {"id": 9, "kind": None, "note": "nine", "due": 5},
    {"id": 7, "level": 4, "tags": [8], "price": 70},
]


def columns_of(rows):
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: [row.get(name) for row in rows] for name in names})


@pytest.fixture(params=[1, 1000], ids=["in columns", "one by one"])
def many(request, monkeypatch):
    monkeypatch.setattr(batch.Batch, "MANY", request.param)


@pytest.mark.parametrize("shape", [list, columns_of, lambda rows: columns_of(rows).to_pandas()])
def test_many_at_once_are_as_one_by_one(index, many, shape):
    assert index.put_many(shape(MANY)) == 3
    assert index.get(7) == {"id": 7, "level": 4, "tags": [8], "price": 70, "dated": False}
    assert index.get(2) == {"id": 2, "level": 2, "kind": "Audio", "tags": [2], "dated": False}
    assert index.get(9) == {"id": 9, "note": "nine", "due": 5, "dated": True}
    assert index.ids("tags has 5").tolist() == [] and index.ids("tags has 2").tolist() == [1, 2]
    assert index.ids("kind == 'audio'").tolist() == [2] and index.ids("dated == true").tolist() == [9]
    assert index.query(sort="-price").ids.tolist() == [7, 1, 9, 2]


def test_a_batch_goes_on_with_what_was_put_at_once(index, many):
    with index.batch():
        index.patch(2, {"level": 6})
        index.put_many(columns_of(MANY))
        index.patch(7, {"level": 5})
        index.append(2, "tags", 4)
        index.delete(9)
        index.put_many([{"id": 1, "tags": [1]}, {"id": 10, "level": 1}, {"id": 11, "level": 1}])
        index.put({"id": 10, "level": 2})
        index.put_many(columns_of([{"id": 11, "level": 8, "price": 3}]))
    assert index.get(7) == {"id": 7, "level": 5, "tags": [8], "price": 70, "dated": False}
    assert index.get(2)["tags"] == [2, 4] and index.get(2)["level"] == 2
    assert index.get(1) == {"id": 1, "tags": [1], "dated": False}
    assert index.ids().tolist() == [1, 2, 7, 10, 11]
    assert index.ids("level == 1").tolist() == [] and index.ids("level == 8").tolist() == [11]


def test_the_same_documents_again_write_nothing_but_a_mark(index, many):
    index.put_many(columns_of(MANY))
    before = index.health()["pending"]
    index.put_many(columns_of(MANY))
    after = index.health()["pending"]
    assert {name: after[name] - before[name] for name in after} in (
        {"documents": 0, "bitmaps": 0},
        {"documents": 1, "bitmaps": 1},
    )


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        ([{"id": 3}, {"id": -1}], "id: -1 is no whole number"),
        ([{"id": 1.5}, {"id": 3}], "id: 1.5 is no whole number"),
        ([{"id": 3}, {"id": None, "level": 1}], '"id" is missing'),
        ([{"id": 3, "level": 2}, {"id": 4, "level": 0.5}], "id 4: field 'level': 0.5 is not accepted"),
        ([{"id": 3, "price": 2}, {"id": 4, "price": 2**32}], "id 4: field 'price': 4294967296 is not"),
        ([{"id": 3, "kind": 5}], "id 3: field 'kind': 5 is not accepted; give a text"),
        ([{"id": 3, "tags": [1]}, {"id": 4, "tags": [1, None]}], "id 4: field 'tags': None is not"),
        ([{"id": 3, "tags": ["a"]}], "id 3: field 'tags': 'a' is not accepted"),
        ([{"id": 3, "dated": 2}], "id 3: field 'dated': 2 is not accepted; give True or False"),
        ([{"id": 3, "levle": 2}], "id 3: unknown field 'levle'"),
        ([{"level": 2}], 'no column "id"'),
    ],
)
def test_a_table_that_is_refused_changes_nothing(index, many, rows, error):
    before = index.stats()["sequence"]
    with pytest.raises(InvalidError, match=error):
        index.put_many(columns_of(rows))
    assert index.stats()["sequence"] == before and len(index) == 2


def test_columns_of_every_type_arrow_has_for_them(index, many):
    count = 40
    index.put_many(
        pa.table(
            {
                "id": pa.array(range(100, 100 + count), pa.uint16()),
                "level": pa.array([float(i) for i in range(count)]),
                "kind": pa.array(["a", "B", None, "b"] * 10).dictionary_encode(),
                "tags": pa.array([[i % 3, 200] for i in range(count)], pa.list_(pa.uint8(), 2)),
                "price": pa.array([86400 * i for i in range(count)], pa.timestamp("s")),
                "due": pa.nulls(count),
                "note": pa.array(["n"] * count, pa.large_string()),
            }
        )
    )
    assert index.get(103) == {
        "id": 103,
        "level": 3,
        "kind": "B",
        "tags": [0, 200],
        "price": 3 * 86400,
        "note": "n",
        "dated": False,
    }
    assert index.count("kind == 'b'") == 20 and index.count("tags has 200") == count


def test_what_tells_of_sources_follows_all_of_them(tmp_path, many):
    content = {
        "name": "told",
        "config": {"filter_fields": [{"name": "any", "field_type": "boolean"}]},
        "data_schema": {
            "fields": [
                {"source": "one", "target": "one", "value_type": "integer", "doc_only": True},
                {"source": "tags", "target": "tags", "value_type": "integer_array", "doc_only": True},
                {"source": "one", "fallback": "tags", "target": "any", "value_type": "exists_boolean"},
            ]
        },
    }
    with bitdex.create(tmp_path / "told", content) as index:
        index.put_many([{"id": 1, "one": 1, "tags": [2]}, {"id": 2, "tags": []}, {"id": 3, "any": True}])
        index.put_many(columns_of([{"id": 4, "tags": [1]}, {"id": 5, "tags": []}]))
        assert index.ids("any == true").tolist() == [1, 3, 4]
        index.patch(1, {"one": None})
        assert index.get(1) == {"id": 1, "tags": [2], "any": True}
        index.patch(1, {"tags": None})
        index.patch(5, {"one": 0})
        assert index.ids("any == true").tolist() == [3, 4, 5]
        index.patch(4, {"tags": None, "any": True})
        index.upsert({"id": 6, "one": 6})
        assert index.ids("any == false").tolist() == [1, 2] and index.get(6)["any"]


def test_a_phase_that_writes_nothing_is_there_when_it_is_opened_again(tmp_path):
    rows = pd.DataFrame({"id": [1, 2], "level": [5, 6], "price": [1, 2]})
    with bitdex.create(tmp_path / "empty", SCHEMA) as index:
        index.dump([{**PHASE, "filter": "level > 10"}], {"rows": rows})
        assert [(run.applied, run.filtered) for run in index.phases] == [(0, 2)]
    with bitdex.open(tmp_path / "empty") as index, bitdex.open(tmp_path / "empty", "r") as reader:
        assert [run.name for run in index.phases] == [run.name for run in reader.phases] == ["rows"]
        index.dump([PHASE], {"rows": rows})
        index.compact()
        assert index.ids("level == 5").tolist() == [1] and reader.refresh() and len(reader) == 2
        index.put({"id": 3, "level": 5})
    with bitdex.open(tmp_path / "empty") as index:
        assert index.ids("level == 5").tolist() == [1, 3] and index.check().empty
        assert differences(index) == []
