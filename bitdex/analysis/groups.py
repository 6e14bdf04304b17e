"""Groups: the documents of a set by the value of a filter field, and what a sort field comes to in each.

The members of many groups are listed together, as ranks in the set, so that each value of the sort field is
looked up once; a few million at a time. A document with several values of a list is in several groups.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from pyroaring import BitMap

from bitdex.analysis.counting import counted_field, shown, value_counts
from bitdex.analysis.members import Members
from bitdex.analysis.numbers import Numbers
from bitdex.analysis.postings import postings_of
from bitdex.errors import InvalidError
from bitdex.query.snapshot import Snapshot

if TYPE_CHECKING:
    import pandas as pd

TOGETHER = 1 << 22  # members that are listed at a time

_Part = tuple[np.ndarray, np.ndarray, np.ndarray]  # values, where each group begins in the ranks, the ranks


class Groups:
    """The documents of a selection by the value of a filter field, as `Selection.groupby` gives them.

    Each method returns a Series by value, ascending; groups without documents are not in it.
    """

    def __init__(self, snapshot: Snapshot, found: BitMap, name: str):
        self._field = counted_field(snapshot, name)
        if self._field.filter is None:
            raise InvalidError(f"field {name!r} is a sort field only; groupby takes a filter field")
        self._snapshot, self._found = snapshot, found

    def count(self) -> "pd.Series":
        """Return how many documents each group has."""
        return self._series(*value_counts(self._snapshot, self._found, self._field.name), "count")

    def sum(self, name: str) -> "pd.Series":
        """Return the sums of a sort field; integers beyond 64 bits are Python's."""
        return self._reduced(name, _sums)

    def mean(self, name: str) -> "pd.Series":
        """Return the means of a sort field; NaN where no document has a value."""
        return self._reduced(name, _means)

    def min(self, name: str) -> "pd.Series":
        """Return the least values of a sort field."""
        return self._reduced(name, lambda numbers, *part: _extremes(numbers, np.minimum, *part))

    def max(self, name: str) -> "pd.Series":
        """Return the greatest values of a sort field."""
        return self._reduced(name, lambda numbers, *part: _extremes(numbers, np.maximum, *part))

    def _reduced(self, name: str, reduce: Any) -> "pd.Series":
        import pandas as pd

        numbers = Numbers(self._snapshot, self._found, name)
        slots = np.frombuffer(self._found.to_array(), np.uint32)
        words, present = self._snapshot.column(name).values_of(slots)
        parts = [
            (values, reduce(numbers, words[ranks], present[ranks], heads))
            for values, heads, ranks in self._parts()
        ]
        keys = np.concatenate([np.empty(0, np.int64), *(one for one, _ in parts)])
        found = [value for _, some in parts for value in some]
        order = np.argsort(keys)
        held = pd.Series(found, dtype=None if found else np.int64)
        return self._series(keys[order], held.iloc[order].to_numpy(), name)

    def _series(self, keys: np.ndarray, values: np.ndarray, name: str) -> "pd.Series":
        import pandas as pd

        labels = shown(self._snapshot, self._field, keys)
        known = labels.notna()
        return pd.Series(values[known], index=labels[known], name=name).sort_index()

    def _parts(self) -> Iterator[_Part]:
        members = Members(self._found)
        for one in postings_of(self._snapshot, self._field.name):
            counts = members.count(one.data, one.starts, one.stops)
            one, counts = one.only(counts > 0), counts[counts > 0]
            blocks = np.cumsum(counts) // TOGETHER
            for block in np.unique(blocks).tolist():
                inside = blocks == block
                some, sizes = one.only(inside), counts[inside]
                ranks = members.list(some.data, some.starts, some.stops, sizes)
                yield some.values, np.cumsum(sizes) - sizes, ranks


def _sums(numbers: Numbers, words: np.ndarray, present: np.ndarray, heads: np.ndarray) -> list[Any]:
    if numbers.field.kind == "float":
        values = np.where(present, numbers._values(words), 0.0)
        return np.add.reduceat(values, heads).tolist()
    words = np.where(present, words, np.uint64(0))
    low = np.add.reduceat(words & np.uint64(0xFFFFFFFF), heads).tolist()
    high = np.add.reduceat(words >> np.uint64(32), heads).tolist()
    counts = np.add.reduceat(present.astype(np.int64), heads).tolist()
    return [a + (b << 32) - c * numbers._offset for a, b, c in zip(low, high, counts)]


def _means(numbers: Numbers, words: np.ndarray, present: np.ndarray, heads: np.ndarray) -> list[float]:
    counts = np.add.reduceat(present.astype(np.int64), heads).tolist()
    sums = _sums(numbers, words, present, heads)
    return [total / count if count else np.nan for total, count in zip(sums, counts)]


def _extremes(
    numbers: Numbers, pick: np.ufunc, words: np.ndarray, present: np.ndarray, heads: np.ndarray
) -> list[Any]:
    least = pick is np.minimum
    neutral = np.uint64(0xFFFFFFFFFFFFFFFF) if least else np.uint64(0)
    found = numbers._values(pick.reduceat(np.where(present, words, neutral), heads)).tolist()
    counts = np.add.reduceat(present.astype(np.int64), heads)
    return [value if count else np.nan for value, count in zip(found, counts.tolist())]
