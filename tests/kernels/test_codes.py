"""Codes: columns, lists and planes tell what sets of slots tell, and so do counts and sums by them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroaring import BitMap

from bitdex.analysis import codes as counting
from bitdex.analysis import kept, team
from bitdex.analysis.along import Along
from bitdex.analysis.codes import Column, Lists, count_planes
from bitdex.analysis.members import Members
from bitdex.analysis.postings import Postings
from bitdex.errors import InvalidError
from bitdex.kernels import codes as kernels
from tests.kernels.slot_sets import quick
from tests.kernels.test_members import FORMS, of_form, packed

SLOTS = 3 * 65536


@st.composite
def groups(draw: st.DrawFn, most: int = 6) -> list[np.ndarray]:
    """Draw sets of slots in three chunks, of any density."""
    rng = np.random.default_rng(draw(st.integers(0, 9999)))
    shares = draw(st.lists(st.sampled_from([0.00001, 0.01, 0.2, 0.9]), min_size=1, max_size=most))
    return [np.flatnonzero(rng.random(SLOTS) < share).astype(np.uint32) for share in shares]


def disjoint(sets: list[np.ndarray]) -> list[np.ndarray]:
    """Return the sets, each without what those before it have."""
    found: list[np.ndarray] = []
    for one in sets:
        before = np.concatenate([np.empty(0, np.uint32), *found])
        found.append(np.setdiff1d(one, before).astype(np.uint32))
    return found


def codes_of(sets: list[np.ndarray], dtype: type) -> np.ndarray:
    """Return the column of disjoint sets as NumPy makes it."""
    codes = np.zeros(SLOTS, dtype)
    for i, one in enumerate(sets):
        codes[one] = i + 1
    return codes


def postings(sets: list[np.ndarray]) -> Postings:
    return Postings(np.arange(len(sets)), *packed(sets))


def counts_in(chosen: np.ndarray, sets: list[np.ndarray]) -> list[int]:
    return [len(np.intersect1d(chosen, one)) for one in sets]


@quick
@given(groups())
def test_a_column_is_filled(sets: list[np.ndarray]) -> None:
    sets, found = disjoint(sets), np.empty(65536, np.uint32)
    for fill, dtype in ((kernels.fill8, np.uint8), (kernels.fill32, np.uint32)):
        codes, given = np.zeros(SLOTS, dtype), (*packed(sets), np.arange(len(sets)) + 1, 0, len(sets), found)
        assert fill(*given, codes) == 0
        assert np.array_equal(codes, codes_of(sets, dtype))
        assert fill(*given, codes) == sum(map(len, sets))
        short = np.zeros(70_000, dtype)  # slots behind the end are left out
        fill(*given, short)
        assert np.array_equal(short, codes[:70_000])


@quick
@given(groups(), groups(1), st.sampled_from([np.uint16, np.uint32]), st.sampled_from([1, 2, 32]))
def test_lists_hold_the_codes_of_each_slot(
    sets: list[np.ndarray], chosen: list[np.ndarray], dtype: type, band: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept, "BAND", band)
        patch.setattr(team, "ALONE", 0)
        totals, made = np.zeros(3, np.int64), postings(sets)
        assert kernels.measure_chunks(made.data, made.starts, made.stops, 0, len(sets), totals) == 0
        assert totals.tolist() == [sum(int((one >> 16 == chunk).sum()) for one in sets) for chunk in range(3)]
        parts = [made.only(made.values % 2 == 1), made.only(made.values % 2 == 0)]
        lists = kept.lists_of(parts, totals, dtype)
        lengths = np.diff(lists.starts)
        shown = np.argsort(lists._numbers)[lists.codes - 1] + 1
        within = np.lexsort((shown, np.repeat(np.arange(SLOTS), lengths)))
        holders = np.concatenate(sets)
        values = np.repeat(np.arange(len(sets)) + 1, list(map(len, sets)))
        order = np.lexsort((values, holders))
        assert lists.codes.dtype == dtype and np.array_equal(shown[within], values[order])
        assert np.array_equal(lengths, np.bincount(holders, minlength=SLOTS))
        assert lists.count(Members(BitMap(chosen[0]))).tolist() == counts_in(chosen[0], sets)
        order = lists.by_code
        assert (order is None) == (dtype is np.uint32)
        if order is not None:
            along = Along.of(Members(BitMap(chosen[0])).flat(3), order.order)
            assert lists.of_values(along.between(order.cuts)).tolist() == counts_in(chosen[0], sets)


@quick
@given(
    groups(), groups(1), st.sampled_from([np.uint8, np.uint16, np.uint32]), st.sampled_from([0, 10**9]), FORMS
)
def test_columns_count(
    sets: list[np.ndarray], chosen: list[np.ndarray], dtype: type, cost: int, form: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "PER_DOCUMENT", cost)  # by documents, or by planes
        patch.setattr(team, "ALONE", 0)
        sets = disjoint(sets)
        column = Column(np.arange(len(sets)), codes_of(sets, dtype))
        beyond = np.append(chosen[0], [SLOTS + 7, SLOTS + 70_000]).astype(np.uint32)
        assert column.count(of_form(form, beyond)).tolist() == counts_in(chosen[0], sets)


@quick
@given(groups(), groups(), groups(1), st.sampled_from([0, 10**9]), FORMS)
def test_two_columns_are_crossed(
    first: list[np.ndarray], second: list[np.ndarray], chosen: list[np.ndarray], cost: int, form: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "PER_DOCUMENT", cost)
        first, second = disjoint(first), disjoint(second)
        rows, columns = (Column(np.arange(len(one)), codes_of(one, np.uint8)) for one in (first, second))
        expected = [counts_in(np.intersect1d(chosen[0], one), second) for one in first]
        assert rows.cross(columns, of_form(form, chosen[0])).tolist() == expected


@quick
@given(st.integers(1, 255), st.integers(0, 999), groups(1))
def test_planes_count_every_code(values: int, seed: int, chosen: list[np.ndarray]) -> None:
    codes = np.random.default_rng(seed).integers(0, values + 1, 150_000).astype(np.uint8)  # no whole chunks
    column = Column(np.arange(values), codes)
    slots = np.append(chosen[0], np.uint32(SLOTS))
    counts = count_planes(Members(BitMap(slots)), column, None)
    inside = slots[slots < len(codes)]
    expected = np.bincount(codes[inside], minlength=1 << column.bits)
    assert counts.tolist()[1:] == expected.tolist()[1:]


@quick
@given(groups(), groups(1), st.sampled_from([np.uint32, np.uint64]), st.integers(0, 99), FORMS)
def test_values_are_added_up_by_code(
    sets: list[np.ndarray], chosen: list[np.ndarray], dtype: type, seed: int, form: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(team, "ALONE", 0)
        sets = disjoint(sets)
        column = Column(np.arange(len(sets)), codes_of(sets, np.uint32))
        values = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, SLOTS, dtype, endpoint=True)
        members = of_form(form, chosen[0])
        sums, extremes = (column.reduce(members, values, flag).tolist() for flag in (False, True))
        for one, (count, low, high), (again, least, greatest) in zip(sets, sums, extremes):
            held = values[np.intersect1d(chosen[0], one)].tolist()
            assert (count, again, low + (high << 32)) == (len(held), len(held), sum(held))
            assert not held or (2**64 - 1 - least, greatest) == (min(held), max(held))


def test_damaged_payloads_are_faults() -> None:
    damaged = Postings(np.arange(1), np.zeros(20, np.uint8), np.array([0]), np.array([20]))
    with pytest.raises(InvalidError, match="not a Roaring bitmap"):
        kept.lists_of([damaged], np.ones(1, np.int64), np.uint16)
    lists = postings([np.array([1, 2], np.uint32)])
    with pytest.raises(InvalidError, match="as many slots"):  # than the chunks were said to have
        kept.lists_of([lists], np.ones(1, np.int64), np.uint16)


def test_lists_without_documents() -> None:
    lists = Lists(np.arange(2), np.empty(0, np.uint16), np.zeros(1, np.uint32), np.arange(2) + 1)
    assert lists.count(Members(BitMap([5]))).tolist() == [0, 0]
