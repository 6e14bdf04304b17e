"""Binned: the bins of histograms that were asked for before, and in which of them each document lies.

Edges that are given, and lengths of time such as "1D" that begin anew at the same moments whatever the set,
make the same bins each time. Asked for again, documents get the code of their bin (`analysis.codes`), which
belongs to the column: a changed value makes another one.
"""

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from bitdex.analysis.bins import code_bins, edges_of
from bitdex.analysis.codes import Column
from bitdex.analysis.kept import FEW, NARROW, room_for, when_asked_again
from bitdex.errors import InvalidError
from bitdex.query.order import SortColumn
from bitdex.query.snapshot import Snapshot
from bitdex.schema import Field

if TYPE_CHECKING:
    import pandas as pd

REMEMBERED = 8  # histograms of a field


class Binned:
    """Bins of one column.

    Attributes
    ----------
    index : Index
        The bins as a histogram shows them.
    cuts : ndarray of int64
        Where they begin in the order of the column, between its ends.
    is_grid : bool
        Whether they reach as far as the column does, so that those of a set are some of them.
    column : Column
        The code of the bin of each document, 0 outside.
    """

    def __init__(self, index: "pd.Index", cuts: np.ndarray, is_grid: bool, column: Column):
        self.index, self.cuts, self.is_grid, self.column = index, cuts, is_grid, column

    @property
    def nbytes(self) -> int:
        """Bytes of the codes and their planes."""
        return self.column.nbytes


def binned(snapshot: Snapshot, field: Field, column: SortColumn, bins: Any, words_of: Any) -> Binned | None:
    """Return the bins of a column; None the first time they are asked for, or if they are not kept.

    `words_of` returns the unsigned forms of edges.
    """
    key = _key(bins)
    if key is None or field.name not in snapshot.registry:
        return None
    number, derived = snapshot.registry.number(field.name), snapshot.derived
    place = "codes", ("bins", number, key)
    known = place in derived
    found = when_asked_again(
        derived, place, (column,), lambda: _made(snapshot, field, column, bins, words_of, place)
    )
    if not known:
        others = [one for one in list(derived) if one[0] == "codes" and _is_of(one[1], number)]
        for one in others[:-REMEMBERED]:
            derived.pop(one, None)
    return found


def _is_of(place: Any, number: int) -> bool:
    return isinstance(place, tuple) and place[:2] == ("bins", number)


def _key(bins: Any) -> Any:
    """Return what tells bins that may be kept from others."""
    if isinstance(bins, str):
        return bins
    if not isinstance(bins, list | tuple | np.ndarray):
        return None
    try:
        edges = np.asarray(bins)
    except ValueError:  # no edges, which is told later
        return None
    return (edges.dtype.str, hashlib.sha256(edges.tobytes()).digest()) if edges.dtype.kind in "iuf" else None


def _made(
    snapshot: Snapshot, field: Field, column: SortColumn, bins: Any, words_of: Any, place: Any
) -> Binned | None:
    """Return bins with their codes, if they can be kept."""
    if column.dense is None:
        return None
    ends = [snapshot.sort_value(field, word) for word in column.values_of(column.order[[0, -1]])[0].tolist()]
    is_grid = isinstance(bins, str)
    try:
        edges, index = edges_of(field, bins, *ends)
    except InvalidError:  # too many for the column, though not for the set
        return None
    words, steps = words_of(edges), np.diff(edges)
    if is_grid and ((steps != steps[0]).any() or edges[0] % steps[0]):
        return None
    if not isinstance(words, np.ndarray) or len(steps) >= NARROW or not (words[1:] > words[:-1]).all():
        return None
    codes: np.ndarray = np.zeros(len(column.dense), np.uint8 if len(steps) <= FEW else np.uint16)
    if not room_for(snapshot.derived, 2 * codes.nbytes, place):
        return None
    code_bins(column.slots, column.dense, words, codes)
    cuts = np.concatenate([[0], column.places(words), [len(column)]])
    return Binned(index, cuts, is_grid, Column(np.arange(len(steps)), codes))
