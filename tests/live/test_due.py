"""Documents that wait: what the clock shows, and what is written meanwhile."""

import datetime
import time

import numpy as np
import pandas as pd
import pytest

import bitdex
from bitdex.errors import InvalidError
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


def test_a_document_that_comes_and_waits_costs_what_it_alters(index, clock):
    index.query("n == 1", "-at")
    before = index.snapshot
    for many, at in ((1000, 9), (1, 5)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(batch.Batch, "MANY", many)
            index.put_many([{"id": 10 + at, "n": 1, "at": NOW + at}])
            index.patch(10 + at, {"n": 2, "at": NOW + at - 1})
            index.delete([7])
            index.put({"id": 7, "n": 2, "at": NOW + 1})
    assert index.snapshot.epochs is before.epochs and index.ids().tolist() == [1]
    shown = []
    for clock.now in range(12):
        shown.append((index.ids().tolist(), index.ids("n == 2").tolist()))
        assert shown[-1][0] == sorted(index.query(None, "at").ids.tolist())
    assert [ids for ids, _ in shown[:5]] == [[1], [1, 7], [1, 7, 8, 9], [1, 7, 8, 9], [1, 7, 8, 9, 15]]
    assert [twos for _, twos in shown[3:9]] == [[7], *[[7, 15]] * 4, [7, 15, 19]]
    assert set(index.snapshot.deferred) == set()


def test_who_waits_no_longer_or_from_now_on_shows_all_it_has(index, clock):
    for many in (1000, 1):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(batch.Batch, "MANY", many)
            assert index.ids("n == 1").tolist() == [1]
            index.apply({"entity_id": 8, "ops": [{"op": "set", "field": "at", "value": 5}]})
            assert index.ids("n == 1").tolist() == [1, 8]
            index.put_many([{"id": 8, "n": 1, "at": NOW + 2}])
            assert index.ids("n == 1").tolist() == [1]
            assert index.query(None, "at").ids.tolist() == [1]


@pytest.mark.parametrize("only_bits", [False, True], ids=["stored", "in bitmaps only"])
def test_a_time_of_zero_is_a_time(tmp_path, clock, only_bits):
    """A document that waits for it, where those without a time wait for another."""
    content = {
        "name": "posts",
        "config": {
            "filter_fields": [{"name": "at", "field_type": "single_value"}],
            "deferred_alive": {"source_field": "at"},
        },
        "data_schema": {
            "fields": [
                {
                    "source": "at",
                    "target": "at",
                    "value_type": "integer",
                    "default": NOW + 5,
                    "filter_only": only_bits,
                }
            ]
        },
    }
    clock.now = -NOW - 10  # before 1970
    with bitdex.create(tmp_path / "index", content, sync="none") as index:
        index.put_many([{"id": 1, "at": 0}, {"id": 2}])
        assert index.ids().tolist() == []
        index.compact()
        index._store.reopen()
        assert index.ids().tolist() == []
        clock.now = 0
        assert index.ids().tolist() == [1]
        clock.now = 5
        assert index.ids().tolist() == [1, 2]


PHASE = {"name": "posts", "slot_field": "id", "sets_alive": True, "fields": ["n", "at"]}
POSTS = pd.DataFrame({"id": [1, 2, 3], "n": 1, "at": [NOW - 1, NOW, NOW + 1]})
MOMENTS = [
    NOW,
    np.float64(NOW),
    "2023-11-14T22:13:20",
    "2023-11-14 23:13:20+01:00",
    datetime.datetime.fromtimestamp(NOW, datetime.UTC),
    pd.Timestamp(NOW, unit="s"),
    np.datetime64(NOW, "s"),
]


@pytest.mark.parametrize("now", MOMENTS, ids=str)
def test_a_dump_takes_the_moments_that_a_query_takes(tmp_path, clock, now):
    """A text was a raw UFuncTypeError."""
    clock.now = 1000
    with bitdex.create(tmp_path / "index", SCHEMA, sync="none") as index:
        (result,) = index.dump([PHASE], {"posts": POSTS}, now=now)
        assert result.deferred == 1 and index.ids(now=now).tolist() == [1, 2]


@pytest.mark.parametrize("now", ["tomorrow", float("nan"), float("inf"), True, [NOW], b"2023-11-14"], ids=str)
def test_a_dump_refuses_what_is_no_moment(tmp_path, clock, now):
    with bitdex.create(tmp_path / "index", SCHEMA, sync="none") as index:
        for call in (lambda: index.dump([PHASE], {"posts": POSTS}, now=now), lambda: index.query(now=now)):
            with pytest.raises(InvalidError, match="now: "):
                call()
        assert not index.phases and len(index) == 0
