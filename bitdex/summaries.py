"""Summaries: what a set of documents comes to: counts by value, tables, histograms, sums and quantiles.

All of them are exact, of the state that the set shows, and equal what pandas says of its documents.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bitdex.analysis import counting
from bitdex.analysis.groups import Groups
from bitdex.analysis.members import Members
from bitdex.analysis.numbers import Numbers
from bitdex.errors import InvalidError
from bitdex.query.snapshot import Snapshot

if TYPE_CHECKING:
    import pandas as pd


class Summaries:
    """The part of a selection that counts.

    Fields are filter fields where values are counted, sort fields where they are computed with. Documents
    without a value are left out, unless `dropna` is False; one with several values of a list counts for each.
    """

    _snapshot: Snapshot

    @property
    def _members(self) -> Members:
        raise NotImplementedError

    def facets(
        self, fields: str | Sequence[str], top: int | None = None, dropna: bool = True
    ) -> "pd.Series | dict[str, pd.Series]":
        """Return how many documents have each value of a field, the most frequent first.

        Parameters
        ----------
        fields : str or sequence of str
            Of several fields: a dict of Series by field.
        top : int, optional
            At most so many values.
        dropna : bool
            Leave out documents without a value.

        Returns
        -------
        Series of int64
            By value: texts, booleans, integers; equal counts in the order of the values.
        """
        _check_top(top)
        if isinstance(fields, str):
            return counting.facets(self._snapshot, self._members, fields, top, dropna)
        return {name: counting.facets(self._snapshot, self._members, name, top, dropna) for name in fields}

    def crosstab(self, row: str, column: str) -> "pd.DataFrame":
        """Return how many documents have each two values of two filter fields, as `pd.crosstab` does."""
        return counting.crosstab(self._snapshot, self._members, row, column)

    def cooccurrence(self, field: str, top: int = 20) -> "pd.DataFrame":
        """Return how many documents have each two of the most frequent values of a field."""
        _check_top(top)
        return counting.cooccurrence(self._snapshot, self._members, field, top)

    def groupby(self, field: str) -> Groups:
        """Return the documents by the value of a filter field: `count`, and `sum` and the like."""
        return Groups(self._snapshot, self._members, field)

    def histogram(self, field: str, bins: Any = 10) -> "pd.Series":
        """Return how many values of a sort field lie in each bin.

        Parameters
        ----------
        field : str
        bins : int, str or sequence of numbers
            So many bins of one width; those of a length of time, such as "1D", "h" or "MS", for seconds since
            1970; or the edges. Bins are closed on the left, the last one on both sides.
        """
        return self._numbers(field).histogram(bins)

    def describe(self, fields: Sequence[str] | None = None) -> "pd.DataFrame":
        """Return count, mean, std, min, quartiles and max of sort fields (all by default), a column each."""
        import pandas as pd

        names = [one.name for one in self._snapshot.schema.sort_fields] if fields is None else list(fields)
        rows = ["count", "mean", "std", "min", "25%", "50%", "75%", "max"]
        return pd.DataFrame({name: _described(self._numbers(name)) for name in names}, index=rows)

    def sum(self, field: str) -> int | float:
        """Return the sum of a sort field, exact for integers of any size; 0 of nothing."""
        return self._numbers(field).sum()

    def mean(self, field: str) -> float:
        """Return the mean of a sort field; NaN of nothing."""
        return self._numbers(field).mean()

    def min(self, field: str) -> int | float:
        """Return the least value of a sort field; NaN of nothing."""
        return self._numbers(field).min()

    def max(self, field: str) -> int | float:
        """Return the greatest value of a sort field; NaN of nothing."""
        return self._numbers(field).max()

    def quantile(self, field: str, q: Any = 0.5, interpolation: str = "linear") -> Any:
        """Return a quantile of a sort field, the median by default, as `Series.quantile` does.

        Parameters
        ----------
        q : float, or sequence of floats
            From 0 to 1; of several: a Series by them.
        interpolation : {"linear", "lower", "higher", "midpoint", "nearest"}
            What lies between two values; "lower" and "higher" are exact integers.
        """
        import pandas as pd

        numbers = self._numbers(field)
        if np.ndim(q) == 0:
            return numbers.quantile(q, interpolation)
        found = [numbers.quantile(float(one), interpolation) for one in q]
        return pd.Series(found, index=list(map(float, q)), name=field)

    def nunique(self, field: str) -> int:
        """Return how many different values of a field there are."""
        if counting.counted_field(self._snapshot, field).filter is None:
            return self._numbers(field).nunique()
        return len(counting.facets(self._snapshot, self._members, field))

    def top(self, field: str, n: int = 10) -> "pd.Series":
        """Return the greatest values of a sort field, by id, the greatest first."""
        _check_top(n)
        return self._numbers(field).top(n)

    def _numbers(self, field: str) -> Numbers:
        return Numbers(self._snapshot, self._members, field)


def _described(numbers: Numbers) -> list[float]:
    values = numbers.values.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):  # squares of the greatest floats
        spread = float(values.std(ddof=1)) if len(values) > 1 else math.nan
    quartiles = [numbers.quantile(q) for q in (0, 0.25, 0.5, 0.75, 1)]
    return [float(one) for one in (numbers.count, numbers.mean(), spread, *quartiles)]


def _check_top(top: Any) -> None:
    if top is not None and (isinstance(top, bool) or not isinstance(top, int | np.integer) or top < 0):
        raise InvalidError(f"top: {top!r} is no whole number of at least 0")
