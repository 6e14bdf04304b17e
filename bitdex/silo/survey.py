"""Survey of a data file: which of its records hold, and which of its bytes nothing accounts for.

::

    | header | region: 8 | frames | ~gap~ 8 | frames | ~~~ gap ~~~~~ 8 | frames | ~~~ gap ~~~ |
                                                        dead region                 end of the file

What lies between the frames of two records is headroom, region headers, dead regions and what merges
that were given up have left: zeros, headers that hold, frames that hold. Anything else is a stray.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from bitdex import filesystem
from bitdex.formats import data
from bitdex.kernels import probes

BLOCK = 64 << 20  # bytes looked at between two answers to an interrupt


def find_damage(mapped: np.ndarray, entries: np.ndarray, seed: np.uint32) -> np.ndarray:
    """Return the place of the first damaged frame of each record, or -1 (int64, shape (n,))."""
    keys = np.ascontiguousarray(entries["key"])
    places, lengths = _extents(entries)
    counts, bad = np.empty(len(keys), np.int64), np.empty(len(keys), np.int64)
    for lo, hi in _blocks(lengths):
        probes.verify_records(mapped, keys, places, lengths, seed, lo, hi, counts, bad)
        filesystem.release(mapped)
    return bad


def find_padding(mapped: np.ndarray, entries: np.ndarray) -> int:
    """Return the first byte behind a frame of these (sound) records that should be zero, or -1."""
    places, lengths = _extents(entries)
    for lo, hi in _blocks(lengths):
        found = probes.find_padding(mapped, places, lengths, lo, hi)
        if found >= 0:
            return int(found)
    return -1


def gaps_between(entries: np.ndarray, end: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where the gaps between records (in file order) begin and stop, up to offset `end`."""
    places, lengths = _extents(entries)
    starts = np.concatenate(([data.FIRST_REGION], places + (lengths + 7 & ~7)))
    return starts, np.minimum(np.concatenate((places, [end])), end)


def find_strays(
    mapped: np.ndarray, starts: np.ndarray, stops: np.ndarray, seed: np.uint32
) -> tuple[np.ndarray, np.ndarray]:
    """Return, for each gap, the first byte that nothing accounts for, or -1; and how many there are."""
    strays, sizes = np.empty(len(starts), np.int64), np.empty(len(starts), np.int64)
    state = np.array([0, -1, 0], np.int64)
    while state[0] < len(starts):
        probes.walk_gaps(mapped, starts, stops, BLOCK, seed, state, strays, sizes)
        filesystem.release(mapped)
    return strays, sizes


def in_order(entries: np.ndarray, column: str) -> np.ndarray:
    """Return entries by ``key`` or, in file order, by ``offset``."""
    return entries[np.argsort(entries[column], kind="stable")]


def differing_keys(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the keys whose entries are not the same in both, ascending."""
    if np.array_equal(one, other):
        return np.empty(0, np.uint64)
    keys = np.union1d(one["key"], other["key"])
    words = np.zeros((2, len(keys), 3), np.uint64)
    for side, entries in zip(words, (one, other)):
        side[np.searchsorted(keys, entries["key"])] = entries.view(np.uint64).reshape(-1, 3)
    return keys[(words[0] != words[1]).any(axis=1)]


def _extents(entries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return entries["offset"].astype(np.int64), entries["length"].astype(np.int64)


def _blocks(sizes: np.ndarray) -> Iterator[tuple[int, int]]:
    """Cut records of these sizes into ranges of about BLOCK bytes."""
    ends = np.cumsum(sizes + data.REGION_SIZE)
    cuts = np.searchsorted(ends, np.arange(BLOCK, int(ends.max(initial=0)), BLOCK))
    return pairwise(np.unique(np.concatenate(([0], cuts, [len(sizes)]))).tolist())
