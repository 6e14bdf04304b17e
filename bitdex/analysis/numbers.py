"""Numbers: what the values of a sort field come to in a set of documents, exactly.

Sums of large sets come from one pass over the values by id. Order statistics come from the order of the
column (`query.order`): the nested bounds tell in a few intersections in which stretch of the order a rank
lies, and only that stretch is walked. Histograms of large sets are walks too, past the longest stretch,
which the others tell; those of fewer documents look each value up. Small sets, and columns with edits, are
looked up value by value.
"""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from bitdex.analysis.along import Along
from bitdex.analysis.binned import binned
from bitdex.analysis.bins import PER_VALUE, count_bins, edges_of
from bitdex.analysis.found import shared, within
from bitdex.analysis.members import PER_STEP, Members
from bitdex.cached import cached
from bitdex.errors import InvalidError
from bitdex.formats import bitmap as format_
from bitdex.query.order import BANDS, SortColumn
from bitdex.query.snapshot import Snapshot

if TYPE_CHECKING:
    import pandas as pd

LARGE = 100_000  # documents from which on the order of the column is worth its making
WORDWISE = 16  # slots for each document, up to which a pass over whole words is fast
SMALL = 5_000  # documents up to which values are looked up one by one
INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")
_LOW = np.uint64(0xFFFFFFFF)
_SIGN, _MOST = 1 << 63, (1 << 64) - 1
LAST = (1 << 63) - 1  # the greatest int64, behind which there is no other


class Numbers:
    """The values of one sort field in one set of documents."""

    def __init__(self, snapshot: Snapshot, found: Members, name: str):
        self.field = snapshot.schema.field(name)
        if self.field.sort is None:
            known = ", ".join(one.name for one in snapshot.schema.sort_fields)
            raise InvalidError(
                f"field {name!r} is no sort field, so its values are not kept in order; those are {known} "
                "(`add_field(name, sort=True)` makes it one)"
            )
        self.found, self._snapshot = found, snapshot
        self._column = snapshot.column(name)
        self._told: dict[int, int] = {}  # `_before`, by band

    # -- totals ----------------------------------------------------------------------------

    @cached
    def _totals(self) -> tuple[int, int, int, int]:
        """Count, sum, least and greatest of the unsigned forms."""
        if self.dense is not None and WORDWISE * len(self.valued) >= len(self.dense):
            return self.valued.total(self.dense)
        words = self.words
        low, high = int((words & _LOW).sum()), int((words >> np.uint64(32)).sum())
        least, greatest = (int(words.min()), int(words.max())) if len(words) else (0, 0)
        return len(words), low + (high << 32), least, greatest

    @cached
    def _ends(self) -> tuple[int, int]:
        """Least and greatest of the unsigned forms, where there is one."""
        column = self._column
        if not self._by_order or "_totals" in self.__dict__:
            return self._totals[2:]
        assert isinstance(column, SortColumn)
        if self._along is not None:
            ends = [self._along.nth(0), self._along.nth(self.count - 1)]
            least, greatest = column.values_of(column.order[ends])[0].tolist()
            return least, greatest
        least, greatest = column.values_of(column.order[list(self.valued.ends(column.order))])[0].tolist()
        return least, greatest

    @cached
    def count(self) -> int:
        """How many documents have a value."""
        if self._along is not None:
            return len(self._along)
        return len(self.valued) if isinstance(self._column, SortColumn) else len(self.words)

    def sum(self) -> int | float:
        """Return the sum, exact for integers."""
        if self.field.kind == "float":
            return float(self.values.sum())
        count, total, _, _ = self._totals
        return total - count * self.offset

    def mean(self) -> float:
        """Return the mean, NaN of nothing."""
        return self.sum() / self.count if self.count else math.nan

    def min(self) -> int | float:
        """Return the least value, NaN of nothing."""
        return self._value(self._ends[0]) if self.count else math.nan

    def max(self) -> int | float:
        """Return the greatest value, NaN of nothing."""
        return self._value(self._ends[1]) if self.count else math.nan

    # -- values ----------------------------------------------------------------------------

    @cached
    def words(self) -> np.ndarray:
        """The values in unsigned form (u64), by id, of the documents that have one."""
        if self.dense is not None:
            return self.dense[self.valued.slots].astype(np.uint64)
        words, present = self._column.values_of(self.found.slots)
        return words if present.all() else words[present]

    @property
    def values(self) -> np.ndarray:
        """The values, int64, uint64 or float64, by id, of the documents that have one."""
        return self.of_words(self.words)

    def value_counts(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the values that occur, ascending, and how often each does (int64)."""
        import pandas as pd

        counts = pd.Series(self.words).value_counts(sort=False)
        words = np.asarray(counts.index, np.uint64)
        order = np.argsort(words)
        return self.of_words(words[order]), np.asarray(counts, np.int64)[order]

    def nunique(self) -> int:
        """Return how many different values there are."""
        import pandas as pd

        return len(pd.unique(self.words))

    def top(self, n: int) -> "pd.Series":
        """Return the greatest values by id, the greatest first, of equal ones the newest document."""
        import pandas as pd

        slots, words = self._column.top(self.found.bitmap, n, True)
        return pd.Series(self.of_words(words), index=pd.Index(slots, name="id"), name=self.field.name)

    # -- order -----------------------------------------------------------------------------

    def quantile(self, q: float, interpolation: str = "linear") -> int | float:
        """Return a quantile as pandas does: between two values in order, or one of them; NaN of nothing."""
        if interpolation not in INTERPOLATIONS:
            raise InvalidError(f"interpolation: {interpolation!r} is none of {', '.join(INTERPOLATIONS)}")
        if (
            isinstance(q, bool)
            or not isinstance(q, int | float | np.integer | np.floating)
            or not 0 <= q <= 1
        ):
            raise InvalidError(f"q: {q!r} is no number from 0 to 1")
        if not self.count:
            return math.nan
        place = float(q) * (self.count - 1)
        if interpolation == "nearest":
            return self._nth(round(place))
        low, high = math.floor(place), math.ceil(place)
        if interpolation == "lower":
            return self._nth(low)
        if interpolation == "higher":
            return self._nth(high)
        first = self._nth(low)
        second = first if low == high else self._nth(high)
        if first == second:
            return float(first)
        if interpolation == "midpoint":
            return (first + second) / 2
        part = place - low  # from the nearer of the two, as NumPy does
        if part < 0.5:
            return first + (second - first) * part
        return second - (second - first) * (1 - part)

    def _nth(self, n: int) -> int | float:
        """Return the value that n others come before."""
        if self._by_order:
            return self._value(self._nth_in_order(n))
        return self._value(int(self._sorted[n]))

    @cached
    def _sorted(self) -> np.ndarray:
        return np.sort(self.words)

    @property
    def _by_order(self) -> bool:
        """Whether the order of the column is made, or worth making."""
        column = self._column
        return isinstance(column, SortColumn) and (self.found.most >= LARGE or column.ordered)

    @cached
    def _along(self) -> Along | None:
        """The documents along the order of the column, where they are kept so."""
        if not self._by_order or not self.found.stays:
            return None
        return self.found.along(self._column.order, PER_VALUE * self.found.most)  # type: ignore[union-attr]

    @cached
    def valued(self) -> Members:
        """The documents that have a value, where the column has no edits."""
        assert isinstance(self._column, SortColumn)
        if len(self._column) == len(self._snapshot.alive):
            return self.found
        return within(self._snapshot, self.found, self._column.present, ("present", self.field.name))

    @cached
    def dense(self) -> np.ndarray | None:
        """The values by id, where that pays: told once, for more is known of the set later."""
        if isinstance(self._column, SortColumn) and self.found.most >= SMALL:
            return self._column.dense
        return None

    def _before(self, band: int) -> int:
        """Return how many come before a band of the order."""
        if band not in self._told:
            assert isinstance(self._column, SortColumn)
            self._told[band] = self.count - shared(
                self._snapshot, self.valued, self._column.bounds[band], ("bound", self.field.name, band)
            )
        return self._told[band]

    def _nth_in_order(self, n: int) -> int:
        column = self._column
        assert isinstance(column, SortColumn)
        place = self._along.nth(n) if self._along is not None else self._place(column, n)
        return int(column.values_of(column.order[place : place + 1])[0][0])

    def _place(self, column: SortColumn, n: int) -> int:
        """Return the position in the order of the document that n others come before."""
        low, high = 0, BANDS  # the last band before which no more than n come
        near, step = n * BANDS // self.count, 1  # where it is if the set is like all others
        while high - low > 1:
            near = near if low < near < high else (low + high) // 2
            if self._before(near) <= n:
                low, near = near, near + step
            else:
                high, near = near, near - step
            step *= 2
        start, stop = column.edges[low], column.edges[low + 1]
        return self.valued.nth(column.order, start, stop, n - self._before(low))

    # -- histograms ------------------------------------------------------------------------

    def histogram(self, bins: Any) -> "pd.Series":
        """Return how many values lie in each bin, closed on the left, the last one on both sides.

        Parameters
        ----------
        bins : int, str or sequence
            Bins of one width from the least to the greatest value; of a length of time, for seconds
            since 1970 ("1D", "h", "MS"); or their edges, ascending.
        """
        import pandas as pd

        if not self.count and not isinstance(bins, list | tuple | np.ndarray):
            return pd.Series(np.empty(0, np.int64), index=pd.Index([], name=self.field.name), name="count")
        told = self._binned(bins)
        if told is not None:
            return told
        given = not isinstance(bins, int | np.integer | str)
        least, greatest = (self.min(), self.max()) if self.count and not given else (0, 0)
        edges, index = edges_of(self.field, bins, least, greatest)
        index.name = self.field.name
        return pd.Series(self._between(self._bounds(edges)), index=index, name="count")

    def _binned(self, bins: Any) -> "pd.Series | None":
        """Return a histogram whose bins are kept, by codes or by their edges; None for others."""
        import pandas as pd

        if not isinstance(self._column, SortColumn) or self.found.most < SMALL:
            return None
        kept = binned(self._snapshot, self.field, self._column, bins, self._bounds)
        if kept is None:
            return None
        counts = self._in_cuts(kept.cuts, kept.column.cost(self.found))
        if counts is None:
            counts = kept.column.count(self.found)
        index, filled = kept.index, np.flatnonzero(counts)
        if kept.is_grid:
            if not len(filled):
                return None
            within = slice(filled[0], filled[-1] + 1)
            counts, index = counts[within], index[within]
        return pd.Series(counts, index=index.set_names(self.field.name), name="count")

    def _in_cuts(self, cuts: np.ndarray, otherwise: float) -> np.ndarray | None:
        """Return how many values lie between cuts of the order; None if so many nanoseconds are less."""
        column = self._column
        assert isinstance(column, SortColumn)
        if self._along is not None:
            return self._along.between(cuts)[1:-1]
        if len(self.valued) == len(column):
            return np.diff(cuts)[1:-1]
        steps = len(column) - int(np.diff(cuts).max())
        if self.dense is not None and PER_STEP * steps < otherwise:
            return self.valued.in_stretches(column.order, cuts, column.slots)[1:-1]
        return None

    def _bounds(self, edges: np.ndarray) -> Any:
        """Return the least unsigned forms of values at or above the edges; behind the last one."""
        if edges.dtype.kind == "i" and self.field.kind != "float" and edges[-1] < LAST:
            if self.offset:
                words = edges.astype(np.int64).view(np.uint64) ^ np.uint64(_SIGN)
            else:
                words = np.maximum(edges, 0).astype(np.uint64)
            words[-1] += np.uint64(edges[-1] >= 0 or self.offset > 0)
            return words
        return [self._edge(edge, i == len(edges) - 1) for i, edge in enumerate(edges.tolist())]

    def _between(self, bounds: Any) -> np.ndarray:
        """Return how many values lie from each bound (unsigned form) up to the next."""
        words = bounds
        if not isinstance(bounds, np.ndarray):
            words = np.array([min(one, _MOST) for one in bounds], np.uint64)
        if (words[1:] > words[:-1]).all() and bounds[-1] <= _MOST and isinstance(self._column, SortColumn):
            if self._by_order:
                cuts = np.concatenate([[0], self._column.places(words), [len(self._column)]])
                told = self._in_cuts(cuts, PER_VALUE * len(self.valued))
                if told is not None:
                    return told
            if self.dense is not None:
                return count_bins(self.valued, self.dense, words)
        below = np.searchsorted(self._sorted, words)
        below[np.array(bounds, object) > words] = len(self._sorted)
        return np.diff(below)

    def _edge(self, edge: Any, last: bool) -> int:
        """Return the least unsigned form of a value at or above an edge; behind it, if it is the last."""
        if self.field.kind == "float":
            word = int(format_.to_ordered(np.array([edge], np.float64))[0])
            return word + last
        assert self.field.sort is not None
        if math.isinf(edge):
            return _MOST + 1 if edge > 0 else 0
        whole = math.floor(edge) + 1 if last else math.ceil(edge)
        return min(max(whole + self.offset, 0), _MOST + 1)

    # -- forms -----------------------------------------------------------------------------

    @property
    def offset(self) -> int:
        """What the unsigned form of an integer adds to it."""
        assert self.field.sort is not None
        return _SIGN if self.field.sort.signed else 0

    def _value(self, word: int) -> int | float:
        return self._snapshot.sort_value(self.field, word)

    def of_words(self, words: np.ndarray) -> np.ndarray:
        """Return the values of unsigned forms."""
        if self.field.kind == "float":
            return format_.from_ordered(words, np.float64)
        assert self.field.sort is not None
        if self.field.sort.signed:
            return format_.from_ordered(words, np.int64)
        return words.astype(np.int64) if self.field.sort.bits < 64 else words
