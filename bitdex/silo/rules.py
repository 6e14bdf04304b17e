"""Merge rules by name: how the payloads of a record become one value.

A rule takes packed payloads (uint8), their offsets (int64, frames + 1) and where each
record begins among them (int64, records + 1), and returns packed values and offsets.
It is given the payloads that no later PUT or DELETE cuts off, oldest first.
"""

from collections.abc import Callable
from importlib import import_module

import numpy as np

from bitdex.errors import InvalidError

# Rules whose records a compaction folds, because many small changes meet in one record, and the functions
# that tell which values (keys, lengths) say no more than if there were none.
_FOLDED_BY_COMPACTION = {"bitmap": "bitdex.formats.bitmap:are_void"}

Fold = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

_ELSEWHERE = {
    "documents": "bitdex.kernels.document_fold:fold_documents",
    "bitmap": "bitdex.formats.bitmap:fold_records",
}


def replace(payloads: np.ndarray, offsets: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keep the newest payload of each record."""
    last = starts[1:] - 1
    sizes = offsets[last + 1] - offsets[last]
    out = np.concatenate(([0], np.cumsum(sizes)))
    picked = [payloads[offsets[i] : offsets[i + 1]] for i in last]
    return (np.concatenate(picked) if picked else np.empty(0, np.uint8)), out


def concatenate(
    payloads: np.ndarray, offsets: np.ndarray, starts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Join the payloads of each record: packed integer lists grow by merging."""
    return payloads, offsets[starts]


def void(name: str) -> Callable[[np.ndarray, np.ndarray], np.ndarray] | None:
    """Return which values a compaction leaves out; None for a rule whose records it does not fold."""
    return _imported(_FOLDED_BY_COMPACTION[name]) if name in _FOLDED_BY_COMPACTION else None


def _imported(place: str) -> Callable:
    module, _, function = place.partition(":")
    return getattr(import_module(module), function)


def rule(name: str) -> Fold:
    """Return the fold function of a merge rule."""
    if name in _ELSEWHERE:
        return _imported(_ELSEWHERE[name])
    try:
        return {"replace": replace, "concatenate": concatenate}[name]
    except KeyError:
        known = ", ".join(["replace", "concatenate", *_ELSEWHERE])
        raise InvalidError(f"rule: {name!r} is unknown; use one of {known}") from None
