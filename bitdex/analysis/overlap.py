"""Overlap: how many documents each two of several sets share, and how alike they are."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


def overlap(sets: Mapping[str, Any] | Sequence[Any]) -> "pd.DataFrame":
    """Return how many documents each two of several sets have in common.

    Parameters
    ----------
    sets : mapping of str to Selection, or sequence of Selection
        Anything whose `bitmap` is a pyroaring BitMap will do.

    Returns
    -------
    DataFrame of int64, square
        By the names of the sets, or their places; on the diagonal stands how many each has.
    """
    import pandas as pd

    names, bitmaps = _named(sets)
    return pd.DataFrame(shared_counts(bitmaps), index=names, columns=names)


def shared_counts(bitmaps: Sequence[Any]) -> np.ndarray:
    """Return how many members each two of several bitmaps share, int64, square."""
    table = np.zeros((len(bitmaps), len(bitmaps)), np.int64)
    for i, one in enumerate(bitmaps):
        table[i, i:] = [one.intersection_cardinality(other) for other in bitmaps[i:]]
        table[i:, i] = table[i, i:]
    return table


def jaccard(sets: Mapping[str, Any] | Sequence[Any]) -> "pd.DataFrame":
    """Return how alike each two of several sets are: documents in both, as a share of those in any.

    Returns
    -------
    DataFrame of float64, square
        1 for equal sets, two empty ones too; 0 for those that share nothing. `overlap` has the parameters.
    """
    shared = overlap(sets)
    sizes = np.diag(shared)
    union = sizes[:, np.newaxis] + sizes - shared
    return (shared / union.where(union > 0, 1)).where(union > 0, 1.0)


def _named(sets: Mapping[str, Any] | Sequence[Any]) -> tuple[list[Any], list[Any]]:
    if isinstance(sets, Mapping):
        return list(sets), [one.bitmap for one in sets.values()]
    return list(range(len(sets))), [one.bitmap for one in sets]
