"""A column with edits answers as one that was built with them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroaring import BitMap

from bitdex.query import edited as module
from bitdex.query.edited import EditedColumn, Edits, edited
from bitdex.query.order import SortColumn

slots = st.integers(0, 40) | st.sampled_from([70_000, 2**32 - 1])
words = st.integers(0, 6) | st.sampled_from([2**32, 2**63, 2**64 - 1])


def column_of(values):
    ordered = sorted(values)
    return SortColumn(np.array(ordered, np.uint32), np.array([values[slot] for slot in ordered], np.uint64))


@settings(max_examples=300, deadline=None)
@given(
    before=st.dictionaries(slots, words, max_size=30),
    edits=st.lists(st.dictionaries(slots, st.none() | words, max_size=6), min_size=1, max_size=4),
    candidates=st.sets(slots),
    limit=st.integers(0, 12),
    descending=st.booleans(),
    after=st.none() | st.tuples(words, slots),
    bounds=st.tuples(st.none() | words, st.none() | words),
)
def test_edits_are_as_if_built(before, edits, candidates, limit, descending, after, bounds):
    column, values = column_of(before), dict(before)
    for one in edits:
        column = edited(column, Edits.of(one))
        values = {slot: word for slot, word in {**values, **one}.items() if word is not None}
    expected = column_of(values)
    assert isinstance(column, EditedColumn)
    assert len(column) == len(expected)
    asked = np.array(sorted(candidates), np.uint32)
    for mine, theirs in zip(column.values_of(asked), expected.values_of(asked)):
        assert mine.tolist() == theirs.tolist()
    found = column.top(BitMap(candidates), limit, descending, after)
    rows = [(values[slot], slot) for slot in candidates & values.keys()]
    rows = [row for row in rows if after is None or (row < after if descending else row > after)]
    rows = sorted(rows, reverse=descending)[:limit]
    assert list(zip(found[1].tolist(), found[0].tolist())) == rows
    assert column.range(*bounds) == expected.range(*bounds)
    assert column.count_range(*bounds) == expected.count_range(*bounds)
    low, high = bounds[0] or 0, 2**64 - 1 if bounds[1] is None else bounds[1]
    settled = column.settle(low, high)
    if settled is None:
        assert not expected.range(low, high)
    else:
        assert low <= settled[0] and settled[1] <= high
        assert expected.range(*settled) == expected.range(low, high)
    built = column.built()
    assert (
        built.slots.tolist() == expected.slots.tolist() and built.values.tolist() == expected.values.tolist()
    )


def test_many_edits_make_a_new_column(monkeypatch):
    monkeypatch.setattr(module, "MOST", 3)
    column = edited(column_of({1: 5}), Edits.of({2: 6, 3: 7}))
    assert isinstance(column, EditedColumn)
    column = edited(column, Edits.of({4: 8, 1: None}))
    assert isinstance(column, SortColumn) and column.slots.tolist() == [2, 3, 4]


@pytest.mark.parametrize("descending", [False, True])
def test_a_column_of_nothing_but_edits(descending):
    column = edited(column_of({}), Edits.of({9: 1, 3: 1}))
    found, _ = column.top(BitMap([3, 9]), 5, descending)
    assert found.tolist() == ([9, 3] if descending else [3, 9])
