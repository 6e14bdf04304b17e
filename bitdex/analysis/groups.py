"""Groups: the documents of a set by the value of a filter field, and what a sort field comes to in each.

Many groups of a field that was asked for before are summed by the codes of their documents, in one pass. Else
a few groups are sets of their own. The members of many are listed together, as ranks in the set, so that each
value of the sort field is looked up once; a few million at a time. A document with several values of a list
is in several groups.
"""

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from bitdex.analysis.codes import Column
from bitdex.analysis.counting import counted_field, shown, value_counts
from bitdex.analysis.kept import codes_of
from bitdex.analysis.members import Members
from bitdex.analysis.numbers import Numbers
from bitdex.analysis.postings import postings_of, values_of
from bitdex.errors import InvalidError
from bitdex.query.snapshot import Snapshot

if TYPE_CHECKING:
    import pandas as pd

LARGEST = 1 << 63  # sums are int64 below it, else Python's integers
FEW = 32  # values whose groups are looked at one by one
TOGETHER = 1 << 22  # members that are listed at a time

_Part = tuple[np.ndarray, np.ndarray, np.ndarray]  # values, where each group begins in the ranks, the ranks


class Groups:
    """The documents of a selection by the value of a filter field, as `Selection.groupby` gives them.

    Each method returns a Series by value, ascending; groups without documents are not in it.
    """

    def __init__(self, snapshot: Snapshot, found: Members, name: str):
        self._field = counted_field(snapshot, name)
        if self._field.filter is None:
            raise InvalidError(f"field {name!r} is a sort field only; groupby takes a filter field")
        self._snapshot, self._found = snapshot, found

    def __repr__(self) -> str:
        return f"<Groups of {len(self._found):,} documents by {self._field.name!r}>"

    def count(self) -> "pd.Series":
        """Return how many documents each group has."""
        return self._series(*value_counts(self._snapshot, self._found, self._field.name), "count")

    def sum(self, name: str) -> "pd.Series":
        """Return the sums of a sort field; integers beyond 64 bits are Python's."""
        return self._reduced(name, Numbers.sum, _sums)

    def mean(self, name: str) -> "pd.Series":
        """Return the means of a sort field; NaN where no document has a value."""
        return self._reduced(name, Numbers.mean, _means)

    def min(self, name: str) -> "pd.Series":
        """Return the least values of a sort field."""
        return self._reduced(name, Numbers.min, lambda numbers, *part: _extremes(numbers, np.minimum, *part))

    def max(self, name: str) -> "pd.Series":
        """Return the greatest values of a sort field."""
        return self._reduced(name, Numbers.max, lambda numbers, *part: _extremes(numbers, np.maximum, *part))

    def _reduced(self, name: str, of_one: Any, reduce: Any) -> "pd.Series":
        """Return what a sort field comes to, group by group if they are few, else all groups together."""
        snapshot = self._snapshot
        numbers = Numbers(snapshot, self._found, name)
        told_by_codes = self._by_codes(numbers, of_one)
        if told_by_codes is not None:
            return self._series(*told_by_codes, name)
        values = values_of(snapshot, self._field.name)
        if len(values) <= FEW:
            sets = [
                Members(self._found.bitmap & one)
                for one in snapshot.having_each(self._field.name, tuple(values.tolist()))
            ]
            kept = [i for i, one in enumerate(sets) if len(one)]
            told = [of_one(Numbers(snapshot, sets[i], name)) for i in kept]
            large = any(isinstance(one, int) and not -LARGEST <= one < LARGEST for one in told)
            return self._series(values[kept], np.array(told, object if large else None), name)
        words, present = snapshot.column(name).values_of(self._found.slots)
        nothing = np.empty(0, np.int64)
        parts = [
            (values, reduce(numbers, words[ranks], present[ranks], heads))
            for values, heads, ranks in chain([(nothing, nothing, nothing)], self._parts())
        ]
        keys, held = (np.concatenate(each) for each in zip(*parts))
        order = np.argsort(keys)
        return self._series(keys[order], held[order], name)

    def _by_codes(self, numbers: Numbers, of_one: Any) -> tuple[np.ndarray, np.ndarray] | None:
        """Return many groups, and what integers come to in each; None where codes do not tell."""
        kept = codes_of(self._snapshot, self._field.name)
        if kept is None or len(kept[1]) or not isinstance(kept[0], Column) or kept[0].few:
            return None
        if numbers.dense is None or numbers.field.kind == "float":
            return None
        codes = kept[0]
        table = codes.reduce(numbers.valued, numbers.dense, of_one in (Numbers.min, Numbers.max))
        counts = table[:, 0].astype(np.int64)
        groups = counts > 0
        if len(numbers.valued) < len(self._found):  # groups of nothing but documents without a value
            groups |= codes.count(self._found) > 0
        return codes.values[groups], _told(numbers, of_one, counts[groups], table[groups])

    def _series(self, keys: np.ndarray, values: np.ndarray, name: str) -> "pd.Series":
        import pandas as pd

        labels = shown(self._snapshot, self._field, keys)
        known = labels.notna()
        return pd.Series(values[known], index=labels[known], name=name).sort_index()

    def _parts(self) -> Iterator[_Part]:
        members = self._found
        for one in postings_of(self._snapshot, self._field.name):
            counts = members.count(one.data, one.starts, one.stops)
            one, counts = one.only(counts > 0), counts[counts > 0]
            blocks = np.cumsum(counts) // TOGETHER
            for block in np.unique(blocks).tolist():
                inside = blocks == block
                some, sizes = one.only(inside), counts[inside]
                ranks = members.list(some.data, some.starts, some.stops, sizes)
                yield some.values, np.cumsum(sizes) - sizes, ranks


def _told(numbers: Numbers, of_one: Any, counts: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Return sums, means or extremes of groups from what `Column.reduce` gives."""
    if of_one in (Numbers.min, Numbers.max):
        words = ~table[:, 1] if of_one is Numbers.min else table[:, 2]
        found = numbers.of_words(words)
        return found if counts.all() else np.where(counts > 0, found.astype(np.float64), np.nan)
    sums = _whole_sums(numbers, table[:, 1], table[:, 2], counts)
    if of_one is Numbers.sum:
        return sums
    return np.where(counts > 0, (sums / np.maximum(counts, 1)).astype(np.float64), np.nan)


def _whole_sums(numbers: Numbers, low: np.ndarray, high: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return sums of integers from those of the halves of their unsigned forms: int64, or else Python's."""
    if not len(low):
        return np.empty(0, np.int64)
    if not numbers.offset and not high.any() and low.max(initial=0) < LARGEST:
        return low.astype(np.int64)
    sums = low.astype(object) + high.astype(object) * (1 << 32) - counts.astype(object) * numbers.offset
    return sums.astype(np.int64) if sums.min() >= -LARGEST and sums.max() < LARGEST else sums


def _sums(numbers: Numbers, words: np.ndarray, present: np.ndarray, heads: np.ndarray) -> np.ndarray:
    if numbers.field.kind == "float":
        return np.add.reduceat(np.where(present, numbers.of_words(words), 0.0), heads)
    words = np.where(present, words, np.uint64(0))
    low = np.add.reduceat(words & np.uint64(0xFFFFFFFF), heads)
    high = np.add.reduceat(words >> np.uint64(32), heads)
    return _whole_sums(numbers, low, high, np.add.reduceat(present.astype(np.int64), heads))


def _means(numbers: Numbers, words: np.ndarray, present: np.ndarray, heads: np.ndarray) -> np.ndarray:
    counts = np.add.reduceat(present.astype(np.int64), heads)
    sums = _sums(numbers, words, present, heads)
    means = (sums / np.maximum(counts, 1)).astype(np.float64)
    return np.where(counts > 0, means, np.nan)


def _extremes(
    numbers: Numbers, pick: np.ufunc, words: np.ndarray, present: np.ndarray, heads: np.ndarray
) -> np.ndarray:
    neutral = np.uint64(0xFFFFFFFFFFFFFFFF) if pick is np.minimum else np.uint64(0)
    found = numbers.of_words(pick.reduceat(np.where(present, words, neutral), heads))
    valued = np.add.reduceat(present.astype(np.int64), heads) > 0
    return found if valued.all() else np.where(valued, found.astype(np.float64), np.nan)
