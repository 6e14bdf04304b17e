"""Members: what the kernels count, list and sum is what Python sets of the same slots give."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroaring import BitMap

from bitdex.analysis import team
from bitdex.analysis.bins import code_bins, count_bins
from bitdex.analysis.members import Members
from bitdex.errors import InvalidError
from bitdex.kernels import members as kernels
from bitdex.kernels.jit import THREADS
from bitdex.kernels.roaring import FAULTS
from tests.kernels.slot_sets import quick, slot_sets


def packed(sets: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the payloads of several sets, behind a few other bytes."""
    payloads = []
    for one in sets:
        bitmap = BitMap(one)
        bitmap.run_optimize()
        payloads.append(bitmap.serialize())
    ends = np.cumsum([3, *map(len, payloads)])
    return np.frombuffer(b"xyz" + b"".join(payloads), np.uint8), ends[:-1], ends[1:]


FORMS = st.sampled_from(["bitmap", "words"])


def of_form(form: str, slots: np.ndarray) -> Members:
    """Return members that begin as a bitmap, or as words if they do not reach far."""
    if form == "bitmap" or not len(slots) or slots[-1] >= 1 << 22:
        return Members(BitMap(slots))
    chunks = (int(slots[-1]) >> 16) + 2
    others = BitMap(range(7, (chunks - 1) << 16, 3)) - BitMap(slots)
    parts = [(Members(BitMap(slots) | others), False), (Members(others), True)]
    return Members(lambda: BitMap(slots), parts, chunks)


@quick
@given(slot_sets(), st.lists(slot_sets(), max_size=5), FORMS)
def test_members_of_payloads(chosen: np.ndarray, sets: list[np.ndarray], form: str) -> None:
    members, (data, starts, stops) = of_form(form, chosen), packed(sets)
    counts = members.count(data, starts, stops)
    expected = [np.intersect1d(chosen, one) for one in sets]
    assert counts.tolist() == [len(one) for one in expected]
    ranks = members.list(data, starts, stops, counts)
    assert ranks.tolist() == [rank for one in expected for rank in np.searchsorted(chosen, one).tolist()]


@quick
@given(slot_sets(max_chunks=2), st.integers(0, 99), st.sampled_from([np.uint32, np.uint64]), FORMS)
def test_totals_and_bins(chosen: np.ndarray, seed: int, dtype: type, form: str) -> None:
    chosen = chosen[chosen < 200_000]
    rng = np.random.default_rng(seed)
    top = int(np.iinfo(dtype).max)
    values = rng.integers(0, [2, 1000, top][seed % 3], 200_000 + 64, dtype, endpoint=True)
    members, held = of_form(form, chosen), values[chosen].tolist()
    count, total, least, greatest = members.total(values)
    assert (count, total) == (len(held), sum(held))
    if held:
        assert (least, greatest) == (min(held), max(held))
    edges = np.unique(rng.integers(0, top, rng.integers(2, 70), np.uint64, endpoint=True))
    if len(edges) > 1:
        expected = [sum(int(a) <= one < int(b) for one in held) for a, b in zip(edges, edges[1:])]
        assert count_bins(members, values, edges).tolist() == expected
        codes = np.zeros(len(values), [np.uint8, np.uint16][seed % 2])
        code_bins(chosen, values, edges, codes)
        assert np.bincount(codes[chosen], minlength=len(edges))[1:].tolist() == expected


@quick
@given(slot_sets(max_chunks=2), st.integers(0, 99), FORMS)
def test_members_of_stretches(chosen: np.ndarray, seed: int, form: str) -> None:
    chosen, rng = chosen[chosen < 200_000], np.random.default_rng(seed)
    slots = np.union1d(chosen, rng.integers(0, 200_000, 50)).astype(np.uint32)
    order = rng.permutation(slots)
    cuts = np.concatenate([[0], np.sort(rng.integers(0, len(order) + 1, 6)), [len(order)]])
    expected = [np.isin(order[a:b], chosen).sum() for a, b in zip(cuts, cuts[1:])]
    assert of_form(form, chosen).in_stretches(order, cuts, slots).tolist() == expected


@quick
@given(slot_sets(), slot_sets(), st.integers(0, 99), FORMS)
def test_the_nth_of_an_order(chosen: np.ndarray, slots: np.ndarray, seed: int, form: str) -> None:
    order = np.random.default_rng(seed).permutation(np.union1d(slots, chosen[::2]).astype(np.uint32))
    members, places = of_form(form, chosen), np.flatnonzero(np.isin(order, chosen)).tolist()
    for n in {0, len(places) // 2, len(places) - 1, len(places)} - {-1}:
        assert members.nth(order, 0, len(order), n) == (places[n] if n < len(places) else -1)
    assert members.ends(order) == ((places[0], places[-1]) if places else (-1, -1))


@quick
@given(slot_sets(max_chunks=3), FORMS, st.integers(0, 1 << 18), st.sampled_from([100, 1 << 17]))
def test_every_slot_comes_once(chosen: np.ndarray, form: str, stop: int, together: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bitdex.analysis.members.LISTED", together)
        patch.setattr(team, "ALONE", 0)
        for make_slots in (False, True):
            members, seen = of_form(form, chosen), []
            if make_slots:
                assert members.slots.tolist() == chosen.tolist()
            members.each_slot(stop, 1.0, lambda _, slots, lo, hi: seen.append(slots[lo:hi].copy()))  # noqa: B023
            assert sorted(np.concatenate([*seen, []]).tolist()) == chosen[chosen < stop].tolist()
            assert len(members) == len(chosen) and members.bitmap == BitMap(chosen)


@quick
@given(slot_sets(min_chunks=1), st.data())
def test_damaged_payloads_are_faults(slots: np.ndarray, data: st.DataObject) -> None:
    """Whatever the bytes: a count or a fault, and no access outside of them."""
    payload, starts, stops = packed([slots])
    damaged = payload.copy()
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(3, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    stops = np.array([data.draw(st.integers(3, len(damaged)))])
    table, words = np.zeros(65536, np.int64), np.full(1024, ~np.uint64(0), np.uint64)
    counts = np.empty(1, np.int64)
    kernels.count_members(damaged, starts, stops, 0, 1, THREADS, table, words, counts)
    assert counts[0] >= 0 or counts[0] in FAULTS


def test_a_fault_is_an_error() -> None:
    with pytest.raises(InvalidError, match="not a Roaring bitmap"):
        Members(BitMap([1])).count(np.zeros(20, np.uint8), np.array([0]), np.array([20]))
