"""Documents that wait: what the clock shows, and what is written meanwhile."""

import time

import pytest

import bitdex
from bitdex.live import batch
from tests.live.bits import differences

NOW = 1_700_000_000
SCHEMA = {
    "name": "posts",
    "config": {
        "filter_fields": [{"name": "n", "field_type": "single_value"}],
        "sort_fields": [{"name": "at", "source_type": "timestamp", "bits": 40}],
        "deferred_alive": {"source_field": "at"},
    },
}


@pytest.fixture
def clock(monkeypatch):
    """The time, in seconds behind NOW, to be set."""

    class Clock:
        now = 0

    monkeypatch.setattr(time, "time", lambda: NOW + Clock.now)
    return Clock


@pytest.fixture
def index(tmp_path, clock):
    with bitdex.create(tmp_path / "index", SCHEMA, sync="none") as index:
        index.put_many([{"id": 1, "n": 1, "at": 0}, *({"id": n, "n": 1, "at": NOW + 2} for n in (7, 8, 9))])
        assert index.ids().tolist() == [1]
        yield index
        assert differences(index) == [] and index.check().empty


CHANGES = {
    "put": lambda index: index.put({"id": 7, "n": 5, "at": 0}),
    "patch": lambda index: index.patch(7, {"n": 5}),
    "upsert": lambda index: index.upsert({"id": 7, "n": 5}),
    "put_many": lambda index: index.put_many([{"id": 7, "n": 5}]),
    "a feed": lambda index: index.apply(
        {"entity_id": 0, "ops": [{"op": "queryOpSet", "query": "id == 7", "ops": [_FIVE]}]}
    ),
}
_FIVE = {"op": "set", "field": "n", "value": 5}


@pytest.mark.parametrize("many", [1, 1000], ids=["columns", "drafts"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("meanwhile", ["creates", "deletes", "changes"])
def test_what_falls_due_inside_a_batch_in_which_somebody_asks_is_not_lost(
    index, clock, monkeypatch, change, many, meanwhile
):
    monkeypatch.setattr(batch.Batch, "MANY", many)
    with index.batch():
        if meanwhile == "creates":
            index.put({"id": 2, "n": 1, "at": 0})
        elif meanwhile == "deletes":
            index.delete(1)
        else:
            index.patch(1, {"n": 3})
        clock.now = 2
        assert index.ids().tolist() == [1, 7, 8, 9]
    there = {"creates": [1, 2, 7, 8, 9], "deletes": [7, 8, 9], "changes": [1, 7, 8, 9]}[meanwhile]
    assert index.ids().tolist() == there
    change(index)
    assert index.ids().tolist() == there and index.ids("n == 5").tolist() == [7]
    index._store.reopen()
    assert index.ids().tolist() == there and index.ids("n == 5").tolist() == [7]
    assert index.get(7)["n"] == 5
