"""Batches: what a thread that is in one may do, and what becomes of a call that fails inside."""

import threading

import pytest

import bitdex
from bitdex.errors import ClosedError, InvalidError

SCHEMA = {
    "name": "shop",
    "config": {
        "filter_fields": [
            {"name": "size", "field_type": "single_value"},
            {"name": "tags", "field_type": "multi_value"},
        ]
    },
}
PHASE = {"name": "rows", "slot_field": "id", "sets_alive": True, "fields": ["size"]}


@pytest.fixture
def index(tmp_path):
    with bitdex.create(tmp_path / "index", SCHEMA) as index:
        index.put_many([{"id": n, "size": n % 5, "tags": [n]} for n in range(50)])
        yield index


CALLS = {
    "compact": lambda index: index.compact(),
    "maintain": lambda index: index.maintain(),
    "dump": lambda index: index.dump(PHASE, source={"rows": None}),
    "add_field": lambda index: index.add_field("more", filter="single_value"),
    "drop_field": lambda index: index.drop_field("size"),
    "rebuild": lambda index: index.rebuild(),
    "close": lambda index: index.close(),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", CALLS)
def test_what_has_to_wait_for_a_batch_is_refused_in_it(index, name):
    """Beside a compaction of another thread each waited for the other, for ever."""
    compacting, released = threading.Event(), threading.Event()

    def compact():
        with index._store.maintenance.taken():
            compacting.set()
            released.wait(30)

    thread = threading.Thread(target=compact)
    with index.batch():
        index.patch(1, {"size": 7})
        thread.start()
        try:
            assert compacting.wait(30)
            with pytest.raises(InvalidError, match="this thread is changing the index already; let that end"):
                CALLS[name](index)
        finally:
            released.set()
            thread.join()
    assert index.ids("size == 7").tolist() == [1]


@pytest.mark.timeout(60)
def test_closing_inside_a_batch_beside_maintenance_is_refused(tmp_path):
    """It waited for the thread of maintenance, which waited for the batch."""
    with bitdex.create(tmp_path / "index", SCHEMA, maintenance=0.01) as index:
        with index.batch():
            index.put({"id": 1})
            threading.Event().wait(0.1)
            with pytest.raises(InvalidError, match="let that end first"):
                index.close()
        assert index.ids().tolist() == [1]
    with pytest.raises(ClosedError):
        index.ids()


GOOD = {"entity_id": 1, "ops": [{"op": "set", "field": "size", "value": 9}]}


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (None, "change 2: expected a mapping or a line of JSON, found None"),
        (5, "change 2: expected a mapping or a line of JSON, found 5"),
        ("{", "line 2: '{' is no JSON"),
        ({"entity_id": 2}, 'change: expected "entity_id" and "ops"'),
        ({"entity_id": 2, "ops": None}, 'entity_id 2: "ops" is None; give a list'),
        ({"entity_id": 10**9999, "ops": []}, "entity_id: an integer of 33216 bits is no whole number"),
        ({"entity_id": 2, "ops": [{"op": "sett"}]}, "entity_id 2: op .*sett.* is unknown"),
        ({"entity_id": 2, "ops": [{"op": "set", "field": "size", "value": "x"}]}, "'x' is not accepted"),
        ({"entity_id": 2, "ops": [{"op": "add", "field": "size", "value": 1}]}, "holds one value"),
        ({"entity_id": 99, "ops": [{"op": "add", "field": "tags", "value": "x"}]}, "'x' is not accepted"),
        ({"entity_id": 2, "ops": [{"op": "queryOpSet", "query": "siez == 1", "ops": []}]}, "siez"),
        ({"entity_id": 2, "ops": [{"op": "queryOpSet", "query": "id > 0", "ops": [{"op": "x"}]}]}, "unknown"),
    ],
)
def test_a_feed_that_fails_inside_a_batch_leaves_nothing(index, bad, error):
    """Its first changes stayed in the batch, without its cursor."""
    with index.batch():
        index.patch(3, {"size": 8})
        with pytest.raises(InvalidError, match=error):
            index.apply([GOOD, bad], feed="feed", cursor="1")
    assert index.count("size == 9") == 0 and index.get(3)["size"] == 8 and index.cursors == {}


@pytest.mark.parametrize("changes", [None, 5])
def test_what_is_no_feed(index, changes):
    with pytest.raises(InvalidError, match="changes: expected mappings or lines of JSON"):
        index.apply(changes)


@pytest.mark.parametrize("document", [None, 5, [1], "x"])
def test_what_is_no_document(index, document):
    calls = [
        lambda: index.put(document),
        lambda: index.put(document, id=1),
        lambda: index.upsert(document, id=1),
        lambda: index.patch(1, document),
    ]
    for call in calls:
        with pytest.raises(InvalidError, match="document: expected a mapping of fields, found"):
            call()
    for id in (10**9999, None, "1"):
        with pytest.raises(InvalidError, match=r"id: .* is no whole number from 0"):
            index.patch(id, {"size": 1})
