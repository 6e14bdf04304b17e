"""SortColumn equals sorting (value, slot) pairs in plain Python, whichever way it goes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroaring import BitMap

from bitdex.errors import InvalidError
from bitdex.query import order
from bitdex.query.order import SortColumn, among, bitmap_of
from tests.kernels.slot_sets import MAX_SLOT, quick, slot_sets

TOP = 2**64 - 1


@st.composite
def columns(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Draw a column with ties, all different, all equal, or the extremes of 64 bits."""
    slots = draw(slot_sets(max_chunks=3))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    style = draw(st.sampled_from(["ties", "distinct", "equal", "rising", "extreme"]))
    values = {
        "ties": rng.integers(0, 7, len(slots)),
        "distinct": rng.permutation(len(slots)) * 3,
        "equal": np.full(len(slots), 4),
        "rising": np.arange(len(slots)),
        "extreme": rng.choice(np.array([0, 1, 2**32 - 1, 2**32, 2**63, TOP], np.uint64), len(slots)),
    }[style].astype(np.uint64)
    return slots, values


def rows_in_order(slots: np.ndarray, values: np.ndarray, descending: bool) -> list[tuple[int, int]]:
    return sorted(zip(values.tolist(), slots.tolist()), reverse=descending)


def expected_top(
    slots: np.ndarray,
    values: np.ndarray,
    candidates: BitMap,
    limit: int,
    descending: bool,
    after: tuple[int, int] | None,
) -> list[tuple[int, int]]:
    rows = [row for row in rows_in_order(slots, values, descending) if row[1] in candidates]
    if after is not None:
        rows = [row for row in rows if (row < after if descending else row > after)]
    return rows[:limit]


def top_rows(column: SortColumn, *arguments: object) -> list[tuple[int, int]]:
    slots, values = column.top(*arguments)  # type: ignore[arg-type]
    assert (slots.dtype, values.dtype) == (np.uint32, np.uint64)
    return list(zip(values.tolist(), slots.tolist()))


@quick
@given(columns(), st.data())
def test_top_is_the_sorted_candidates_after_the_cursor(
    column: tuple[np.ndarray, np.ndarray], data: st.DataObject
) -> None:
    slots, values = column
    sort = SortColumn(slots, values)
    share = data.draw(st.sampled_from([0.0, 0.01, 0.3, 1.0]))
    picked = np.random.default_rng(1).random(len(slots)) < share
    candidates = BitMap(slots[picked].tolist()) | BitMap(
        data.draw(st.lists(st.integers(0, MAX_SLOT), max_size=3))
    )
    limit, descending = data.draw(st.sampled_from([0, 1, 3, 300])), data.draw(st.booleans())
    rows = rows_in_order(slots, values, False) + [(0, 0), (TOP, MAX_SLOT), (4, 7)]
    after = data.draw(st.one_of(st.none(), st.sampled_from(rows)))
    assert top_rows(sort, candidates, limit, descending, after) == expected_top(
        slots, values, candidates, limit, descending, after
    )


@quick
@given(columns(), st.booleans())
def test_pages_chain_to_the_one_big_answer(column: tuple[np.ndarray, np.ndarray], descending: bool) -> None:
    slots, values = column[0][:300], column[1][:300]
    sort, candidates = SortColumn(slots, values), BitMap(slots[::2].tolist())
    pages: list[tuple[int, int]] = []
    while page := top_rows(sort, candidates, 37, descending, pages[-1] if pages else None):
        pages += page
    assert pages == expected_top(slots, values, candidates, 999, descending, None)


@quick
@given(columns(), st.data())
def test_range_is_the_slots_between_both_bounds(
    column: tuple[np.ndarray, np.ndarray], data: st.DataObject
) -> None:
    slots, values = column
    sort = SortColumn(slots, values)
    constants = st.sampled_from([0, 1, 4, 2**32, TOP, *values[::97].tolist()])
    low, high = (data.draw(st.one_of(st.none(), constants)) for _ in range(2))
    inside = values >= np.uint64(low or 0)
    inside &= values <= np.uint64(TOP if high is None else high)
    assert sort.range(low, high) == BitMap(slots[inside].tolist())
    assert sort.count_range(low, high) == inside.sum()


@quick
@given(columns(), slot_sets(max_chunks=3), st.booleans())
def test_values_of_any_slots(
    column: tuple[np.ndarray, np.ndarray], others: np.ndarray, shuffled: bool
) -> None:
    slots, values = column
    wanted = np.union1d(slots, others).astype(np.uint32)[:3000]
    if shuffled:
        wanted = np.random.default_rng(2).permutation(wanted)
    held = dict(zip(slots.tolist(), values.tolist()))
    found, present = SortColumn(slots, values).values_of(wanted)
    assert found.tolist() == [held.get(slot, 0) for slot in wanted.tolist()]
    assert present.tolist() == [slot in held for slot in wanted.tolist()]


@quick
@given(columns())
def test_order_ascends_by_value_then_slot(column: tuple[np.ndarray, np.ndarray]) -> None:
    slots, values = column
    sort = SortColumn(slots, values)
    assert sort.order.tolist() == [slot for _, slot in rows_in_order(slots, values, False)]
    assert len(sort) == len(slots)


@quick
@given(columns())
def test_bounds_are_the_ends_of_the_order(column: tuple[np.ndarray, np.ndarray]) -> None:
    sort = SortColumn(*column)
    assert (sort.edges[0], sort.edges[-1], len(sort.bounds)) == (0, len(sort), order.BANDS + 1)
    for edge, bound in zip(sort.edges, sort.bounds):
        assert bound == BitMap(sort.order[edge:].tolist())


@pytest.fixture(scope="module")
def wide() -> SortColumn:
    """A column large enough that every strategy has its place: 60,000 slots, every second one."""
    rng = np.random.default_rng(4)
    slots = np.arange(0, 120_000, 2, dtype=np.uint32)
    return SortColumn(slots, rng.integers(0, 5000, len(slots)).astype(np.uint64))


CUTS = [None, 0.02, 0.5, 0.731, 0.99]


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("cursor_at", CUTS)
@pytest.mark.parametrize("gap", [(0.0, 0.0), (0.5, 1.0), (0.0, 0.5), (0.3, 0.9), (0.001, 0.999)])
def test_candidates_that_the_sort_direction_meets_late(
    wide: SortColumn, descending: bool, cursor_at: float | None, gap: tuple[float, float]
) -> None:
    kept = wide.order.copy()
    first, stop = (int(part * len(wide)) for part in gap)
    candidates = bitmap_of(np.sort(np.concatenate([kept[:first], kept[stop:]])))
    after = None
    if cursor_at is not None:
        slot = kept[int(cursor_at * len(kept))]
        after = int(wide.values_of(np.array([slot]))[0][0]), int(slot)
    for limit in (1, 20, 2000):
        expected = expected_top(wide.slots, wide.values, candidates, limit, descending, after)
        assert top_rows(wide, candidates, limit, descending, after) == expected


def test_each_strategy_is_taken_and_agrees(wide: SortColumn, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    for name in ("_walk", "_walk_bands", "_window", "_best"):
        method = getattr(SortColumn, name)

        def spy(self: SortColumn, *given: object, name: str = name, method: object = method) -> object:
            taken.append(name)
            return method(self, *given)  # type: ignore[operator]

        monkeypatch.setattr(SortColumn, name, spy)
    ways = {}
    low, high = wide.order[:30000], wide.order[30000:]
    scattered = np.concatenate([high[:20000], high[-10:], low[::700]])
    for name, kept in (("dense", low), ("few", low[::300]), ("gap", high), ("scattered", scattered)):
        taken.clear()
        candidates = bitmap_of(np.sort(kept))
        for descending in (True, False):
            expected = expected_top(wide.slots, wide.values, candidates, 15, descending, None)
            assert top_rows(wide, candidates, 15, descending) == expected
        ways[name] = set(taken)
    assert ways["few"] == {"_best"}
    assert ways["dense"] == {"_walk", "_walk_bands"}
    assert ways["gap"] == {"_walk", "_walk_bands"}
    assert ways["scattered"] >= {"_window", "_best"}


@pytest.mark.parametrize(
    ("first", "stop"),
    [(0, 60000), (1, 59999), (900, 1000), (30000, 31000), (1000, 2900), (7, 3700), (7, 45678)],
)
def test_ranges_that_cut_bands(wide: SortColumn, first: int, stop: int) -> None:
    ends = wide.order[[first, stop - 1]]
    low, high = (int(value) for value in wide.values_of(ends)[0])
    inside = (wide.values >= low) & (wide.values <= high)
    assert wide.range(low, high) == BitMap(wide.slots[inside].tolist())


def test_a_range_may_be_changed_by_its_owner(wide: SortColumn) -> None:
    for low, high in ((None, None), (100, 4000), (10, 12)):
        before = wide.range(low, high)
        wide.range(low, high).clear()
        assert wide.range(low, high) == before


def test_an_empty_column() -> None:
    sort = SortColumn(np.empty(0, np.uint32), np.empty(0, np.uint64))
    assert top_rows(sort, BitMap([1, 2]), 5, True) == []
    assert sort.range(None, 7) == BitMap() and sort.count_range(0, TOP) == 0
    assert sort.values_of(np.array([3], np.uint32))[1].tolist() == [False]


def test_an_empty_range_between_values() -> None:
    sort = SortColumn(np.array([1, 2], np.uint32), np.array([10, 20], np.uint64))
    assert sort.range(11, 19) == BitMap() == sort.range(20, 10)
    assert sort.count_range(20, 10) == 0


@pytest.mark.parametrize("slots", [[2, 1], [1, 1], [1]])
def test_slots_must_ascend_and_match(slots: list[int]) -> None:
    with pytest.raises(InvalidError, match="ascending, distinct slots"):
        SortColumn(np.array(slots, np.uint32), np.zeros(2, np.uint64))


@pytest.mark.parametrize("spread", [50, 10**6])
def test_ranges_that_follow_one_another(spread: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A range made from the one before is the one that is made anew, and what was handed out stays."""
    monkeypatch.setattr("bitdex.query.ranges.LEAST", 10)
    rng = np.random.default_rng(spread)
    values = rng.integers(0, spread, 50_000).astype(np.uint64)
    column = SortColumn(np.arange(0, 100_000, 2, dtype=np.uint32), values)
    low, width, held = 0, spread // 100, []
    for _ in range(300):
        low = max(low + int(rng.integers(-(spread // 4000) - 1, spread // 2000 + 2)), 0)
        width = max(width + int(rng.integers(-2, 3)), 0)
        found = column.range(low, low + width)
        expected = column.slots[(values >= low) & (values <= low + width)]
        assert np.array_equal(np.array(found.to_array()), expected)
        held.append((found, found.copy()))
    assert all(found == copy for found, copy in held)
    assert len(column._ranges._kept) <= 4


@quick
@given(columns(), st.integers(0, TOP), st.integers(0, TOP))
def test_settled_bounds_leave_the_same(column: tuple[np.ndarray, np.ndarray], low: int, high: int) -> None:
    slots, values = column
    inside = [value for value in values.tolist() if low <= value <= high]
    expected = (min(inside), max(inside)) if inside else None
    assert SortColumn(slots, values).settle(low, high) == expected


@quick
@given(st.sets(st.integers(0, 300) | st.integers(0, 2**32 - 1)), st.sets(st.integers(0, 300)))
def test_which_slots_are_in_a_bitmap(slots: set[int], members: set[int]) -> None:
    ascending = np.array(sorted(slots), np.uint32)
    assert among(ascending, BitMap(members)).tolist() == [slot in members for slot in ascending.tolist()]
    assert among(ascending, BitMap(range(1 << 32))).all()  # not listed: that would take 16 GiB
