"""Grouping pairs equals sorting and de-duplicating them in plain Python."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitdex.kernels import pairs
from bitdex.kernels.pairs import group_pairs, merge_groups, sort_pairs, subtract_pairs
from tests.kernels.slot_sets import MAX_SLOT, quick

TOP = 2**64 - 1
NARROW = st.integers(0, 300)
SHIFTED = st.integers(0, 9).map(lambda n: 2**63 + n * 2**20)
WIDE = st.one_of(st.sampled_from([0, 1, 2**32, 2**63, TOP]), st.integers(0, TOP))
MIDDLING = st.one_of(st.integers(0, 3), st.integers(0, 2**40).map(lambda n: n << 3), st.just(2**32 + 1))
SLOTS = st.one_of(st.integers(0, 20), st.sampled_from([0, MAX_SLOT]), st.integers(0, MAX_SLOT))
BATCHES = st.one_of(
    *(st.lists(st.tuples(values, SLOTS), max_size=80) for values in (NARROW, SHIFTED, MIDDLING, WIDE))
)


def columns(rows: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([row[0] for row in rows], np.uint64), np.array([row[1] for row in rows], np.uint32)


def rows_of(values: np.ndarray, offsets: np.ndarray, slots: np.ndarray) -> list[tuple[int, int]]:
    assert offsets[0] == 0 and offsets[-1] == len(slots) and np.all(np.diff(offsets) > 0)
    return list(zip(np.repeat(values, np.diff(offsets)).tolist(), slots.tolist()))


@quick
@given(BATCHES, st.booleans())
def test_grouping_sorts_and_drops_repetitions(rows: list[tuple[int, int]], ascending: bool) -> None:
    rows = sorted(rows, key=lambda row: row[1]) if ascending else rows
    values, offsets, slots = group_pairs(*columns(rows))
    assert rows_of(values, offsets, slots) == sorted(set(rows))
    assert values.tolist() == sorted({row[0] for row in rows})
    assert (values.dtype, offsets.dtype, slots.dtype) == (np.uint64, np.int64, np.uint32)


@quick
@given(BATCHES)
def test_sorting_keeps_repetitions(rows: list[tuple[int, int]]) -> None:
    values, slots = sort_pairs(*columns(rows))
    assert list(zip(values.tolist(), slots.tolist())) == sorted(rows)


@quick
@given(BATCHES, BATCHES, st.integers(0, 80))
def test_subtracting_leaves_each_pair_once(rows: list, others: list, shared: int) -> None:
    others = others + rows[:shared]
    values, slots = subtract_pairs(sort_pairs(*columns(rows)), sort_pairs(*columns(others)))
    assert list(zip(values.tolist(), slots.tolist())) == sorted(set(rows) - set(others))


@quick
@given(st.lists(st.tuples(NARROW, SLOTS), min_size=1, max_size=80))
def test_narrow_values_group_alike(rows: list[tuple[int, int]]) -> None:
    values, slots = columns(rows)
    wide, narrow = group_pairs(values, slots), group_pairs(values.astype(np.uint32), slots)
    assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(wide, narrow))


@quick
@given(st.lists(BATCHES.filter(len), min_size=1, max_size=4), st.booleans())
def test_merging_groups_equals_grouping_all(batches: list[list[tuple[int, int]]], ascending: bool) -> None:
    if ascending:  # every batch holds later slots than the one before
        batches = [[(v, s % 100 + 100 * i) for v, s in batch] for i, batch in enumerate(batches)]
    parts = [group_pairs(*columns(batch)) for batch in batches]
    merged = merge_groups(*(list(column) for column in zip(*parts)))
    assert rows_of(*merged) == sorted({row for batch in batches for row in batch})


def test_inputs_are_left_alone() -> None:
    for values in (np.array([3, 1, 2], np.uint64), np.array([TOP, 0, 1], np.uint64)):
        slots = np.array([5, 9, 1], np.uint32)
        before = values.copy(), slots.copy()
        group_pairs(values, slots)
        sort_pairs(values, slots)
        assert np.array_equal(values, before[0]) and np.array_equal(slots, before[1])


def test_large_values_sort_exactly() -> None:
    rng = np.random.default_rng(5)
    count = 3000
    slots = np.sort(rng.integers(0, 1000, count)).astype(np.uint32)
    for values in (rng.integers(0, 30, count), rng.integers(0, 2**63, count)):
        values = values.astype(np.uint64)
        order = np.lexsort((slots, values))
        got = sort_pairs(values, slots)
        assert np.array_equal(got[0], values[order]) and np.array_equal(got[1], slots[order])


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="2 values but 1 slots"):
        group_pairs(np.zeros(2, np.uint64), np.zeros(1, np.uint32))


@pytest.mark.parametrize("bits", range(1, 65))
@pytest.mark.parametrize("slot_bits", [0, 1, 20, 32])
def test_every_width_of_values_and_slots(bits: int, slot_bits: int) -> None:
    rng = np.random.default_rng(bits)
    values = rng.integers(0, 2**64, 200, np.uint64) >> np.uint64(64 - bits)
    slots = (rng.integers(0, 2**32, 200) >> (32 - slot_bits)).astype(np.uint32)
    rows = list(zip(values.tolist(), slots.tolist()))
    assert list(zip(*(part.tolist() for part in sort_pairs(values, slots)))) == sorted(rows)
    assert rows_of(*group_pairs(values, slots)) == sorted(set(rows))


def test_digits_cover_the_bits_that_vary_and_never_both_parts() -> None:
    for value_bits in (0, 1, 0b1011, 2**33 + 1, 2**64 - 1):
        for slot_bits in (0, 1, 0xFFFF0001, 2**32 - 1):
            covered = 0
            for shift, width in pairs._digits(value_bits, slot_bits):
                assert width <= pairs.DIGIT_BITS and covered >> shift == 0
                assert shift >= 32 or shift + width <= 32
                covered |= ((1 << width) - 1) << shift
            varying = value_bits << 32 | slot_bits
            assert covered & varying == varying
