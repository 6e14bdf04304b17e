"""Found: joined word by word or met as bitmaps, a plan finds the same; what is kept of sets is bounded."""

import math
import random

import numpy as np
import pytest

import bitdex
from bitdex.analysis import found
from bitdex.query import order
from bitdex.query import plan as planner
from tests.analysis.shop import SCHEMA, change
from tests.scale import scale

ORDERS = [np.random.default_rng(seed).permutation(70_500)[:1000].astype(np.uint32) for seed in range(3)]
CLAUSES = [
    "kind == 'shoe'",
    "kind != 'hat'",
    "open",
    "not open",
    "size == 3",
    "tags has 1",
    "owner in [7, 12]",
]
CLAUSES += ["price > 50", "not (open and size == 3)", "state is null", "id < 700"]


@pytest.fixture
def index(tmp_path, monkeypatch):
    """An index of some hundred documents in two chunks, whose sets are joined however small they are."""
    monkeypatch.setattr(order, "SPREAD", 10**6)
    monkeypatch.setattr(found, "LEAST", 0)
    monkeypatch.setattr(found, "FEW", 0)
    with bitdex.create(tmp_path / "index", SCHEMA, sync="none") as index:
        change(index, random.Random(5), [*range(600), *range(70_000, 70_300)])
        yield index


@pytest.mark.parametrize("seed", range(scale(3, 100)))
def test_words_hold_what_bitmaps_do(index, seed):
    draw, joined, arranged = random.Random(seed), 0, 0
    for _ in range(60):
        query = " and ".join(f"({one})" for one in draw.sample(CLAUSES, draw.randint(1, 4)))
        selection = index.where(query)
        expected = planner.run(selection._plan)
        members = selection._members
        joined += members.is_words
        chunks = members.chunks
        words = members.flat(chunks)
        held = np.unpackbits(words.view(np.uint8), bitorder="little")
        assert np.flatnonzero(held).tolist() == list(expected), query
        assert len(selection) == len(members) == len(expected)
        if members.is_words:
            others = index.snapshot.having("open", 1)
            assert found.shared(index.snapshot, members, others, "open") == len(expected & others)
            part = found.within(index.snapshot, members, others, "open")
            assert len(part) == len(expected & others) and part.bitmap == expected & others
        assert members.slots.tolist() == list(expected)
        order = draw_order(draw)
        held = np.isin(order, members.slots)
        for _ in range(3):
            along = members.along(order, math.inf)
        assert (along is not None) == members.stays
        if along is not None:
            arranged += 1
            assert len(along) == held.sum()
            assert along.between(np.array([0, 9, 500, len(order)])).tolist() == [
                held[:9].sum(),
                held[9:500].sum(),
                held[500:].sum(),
            ]
        assert members.bitmap == expected and selection.ids.tolist() == list(expected)
    assert joined > 5 and arranged > 5


def draw_order(draw):
    """Return one of three orders of some slots, in most of which documents are."""
    order = ORDERS[draw.randrange(3)]
    order[:800] = np.where(order[:800] >= 900, order[:800] % 900, order[:800])
    return order


def test_a_set_met_with_itself(index):
    for query, expected in (("open and open", index.count("open")), ("open and not open", 0)):
        members = index.where(query)._members
        for _ in range(3):
            along = members.along(ORDERS[0], math.inf)
        assert len(members) == expected
        if along is not None:
            assert len(along) == np.isin(ORDERS[0], members.slots).sum()


def test_sets_that_lie_apart_stay_bitmaps(index, monkeypatch):
    monkeypatch.setattr(order, "SPREAD", 4)
    index.put_many([{"id": 2**32 - 1, "open": True, "kind": "shoe"}])
    members = index["open and kind == 'shoe'"]._members
    assert found.flat_chunks(index.snapshot.alive, len(index)) == 0 and not members.is_words
    assert not index["open"]._members.is_kept  # its words would reach as far
    assert members.bitmap.max() == 2**32 - 1


def ask_for_sets(index):
    """Ask for counts of combinations of seven sets; return how many are kept."""
    for kind in ("shoe", "hat", "Ähre", "", "none"):
        for state in (True, False):
            index.where((bitdex.field.kind == kind) & (bitdex.field.open == state)).facets("size")
    return len(index.snapshot.derived["members"])


def test_what_is_kept_is_bounded_and_told(index, monkeypatch):
    assert ask_for_sets(index) == 7
    before = index.stats()["kept"]["sets"]
    index.snapshot.derived["members"].clear()
    monkeypatch.setattr(found, "BYTES", before // 2)
    assert 1 < ask_for_sets(index) < 6
    assert 0 < index.stats()["kept"]["sets"] < before


def test_a_change_is_seen(index):
    before = index["open and size == 3"]
    count = len(before._members)
    index.put_many([{"id": 90_000 + i, "open": True, "size": 3} for i in range(5)])
    assert len(index["open and size == 3"]._members) == count + 5
    assert len(index.where(before)._members) == count


def test_what_was_is_not_kept(index):
    """Changes make other sets, which take the places of those before."""
    size = ask_for_sets(index)
    for turn in range(4):
        index.put_many([{"id": 91_000 + turn, "open": True, "kind": "shoe", "size": 3}])
        assert ask_for_sets(index) == size
