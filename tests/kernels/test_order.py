"""Kernels of a sort column, each against its plain definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroaring import BitMap

from bitdex.kernels import order
from bitdex.kernels.roaring import COOKIE, TRUNCATED
from tests.kernels.slot_sets import quick, slot_sets

PAIRS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 200)), min_size=1, max_size=60, unique=True)


def data_of(slots: list[int], runs: bool) -> np.ndarray:
    bitmap = BitMap(slots)
    if runs:
        bitmap.run_optimize()
    return np.frombuffer(bitmap.serialize(), np.uint8)


@quick
@given(PAIRS, st.integers(1, 60))
def test_select_moves_the_least_to_the_front(rows: list[tuple[int, int]], limit: int) -> None:
    limit = min(limit, len(rows))
    values = np.array([row[0] for row in rows], np.uint64)
    slots = np.array([row[1] for row in rows], np.uint32)
    order.select(values, slots, np.int64(len(rows)), np.int64(limit))
    found = list(zip(values.tolist(), slots.tolist()))
    assert sorted(found[:limit]) == sorted(rows)[:limit] and sorted(found) == sorted(rows)
    assert order.greatest(values, slots, limit) == max(found[:limit])


@quick
@given(slot_sets(max_chunks=3), slot_sets(max_chunks=3), st.booleans(), st.integers(1, 9), st.booleans())
def test_walk_takes_candidates_in_the_order_it_is_given(
    wanted: np.ndarray, others: np.ndarray, runs: bool, limit: int, backwards: bool
) -> None:
    every = np.union1d(wanted, others).astype(np.uint32)
    entries = np.random.default_rng(1).permutation(every)[:500]
    table, found = np.empty(3 << 16, np.int64), np.empty(limit, np.uint32)
    start, step = (len(entries) - 1, -1) if backwards else (0, 1)
    data = data_of(wanted.tolist(), runs)
    count = order.walk(data, entries, start, step, len(entries), table, found)
    held = set(wanted.tolist())
    expected = [slot for slot in entries.tolist()[::step] if slot in held][:limit]
    assert found[:count].tolist() == expected


def test_walk_stops_after_its_steps() -> None:
    table, found = np.empty(3, np.int64), np.empty(5, np.uint32)
    entries = np.arange(10, dtype=np.uint32)
    assert order.walk(data_of([0, 1, 9], False), entries, 0, 1, 4, table, found) == 2


@pytest.mark.parametrize(("data", "fault"), [(b"12345678", COOKIE), (b"", TRUNCATED)])
def test_candidates_that_are_no_bitmap_are_refused(data: bytes, fault: int) -> None:
    payload, none = np.frombuffer(data, np.uint8), np.empty(0, np.uint32)
    assert order.walk(payload, none, 0, 1, 0, np.empty(3, np.int64), np.empty(1, np.uint32)) == fault
    column = (
        np.zeros(1, np.int64),
        np.empty(0, np.int64),
        none,
        np.empty(0, np.uint64),
        np.empty(0, np.uint16),
    )
    room = (
        np.empty(65536, np.uint32),
        np.empty(65536, np.int64),
        np.empty(9, np.uint64),
        np.empty(9, np.uint32),
    )
    cursor = np.uint64(0), False, np.uint64(0), np.uint32(0)
    assert order.gather32(payload, *column, none, *cursor, 2, *room) == fault
