"""Reading records: base and pending operations, verified, folded by the merge rule."""

from itertools import pairwise
from typing import Any

import numpy as np

from bitdex.errors import CorruptError
from bitdex.kernels import gather
from bitdex.kernels.jit import THREADS
from bitdex.silo.base import Base
from bitdex.silo.pending import Chains
from bitdex.silo.rules import Fold
from bitdex.silo.values import Values

PARALLEL_FROM = 4_000
LOGS = 2
_NOTHING = np.empty(0, np.uint8)


def view_value(base: Base, key: int) -> tuple[bool, np.ndarray | None]:
    """Return whether a key's value needs no folding, and then the value, or None where there is none."""
    size = np.empty(1, np.int64)
    place = gather.find_single(*base.index.tables, base.data, np.uint64(key), base.seed, size)
    if place >= 0:
        start = place + gather.HEAD
        return True, base.data[start : start + int(size[0])]
    if place == gather.DAMAGED:
        places, _ = base.index.find(np.array([key], np.uint64))
        raise damaged(base.name, key, places[0])
    return place == gather.ABSENT, None


def read_values(base: Base, chains: list[Chains], fold: Fold, keys: np.ndarray) -> Values:
    """Return the value of every key: what ``data.bin`` holds and what the logs, oldest first, add to it."""
    places, offsets = np.empty(len(keys), np.int64), np.empty(len(keys) + 1, np.int64)
    totals = _measure(base, keys, places, offsets)
    slow = np.zeros(len(keys), bool)
    if totals[1::2].any():
        slow |= places == gather.FOLDED
    for chain in chains:
        slow |= chain.newest >= 0
    if not slow.any():
        return Values(_copy(base, keys, places, offsets, totals[::2]), offsets, places >= 0)
    return _read_mixed(base, chains, fold, keys, np.flatnonzero(slow), places, offsets)


def read_frames(
    base: Base, chains: list[Chains], keys: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the packed payloads of records, their offsets, and where each record begins among them."""
    places, lengths = base.index.find(keys)
    counts, based = _measure_chains(chains, len(keys))
    places[~based] = -1
    below = np.empty(len(keys), np.int64)
    bad = gather.count_base_frames(base.data, keys, places, lengths, base.seed, below)
    if bad >= 0:
        raise damaged(base.name, keys[bad], places[bad])
    starts = np.concatenate(([0], np.cumsum(below + sum(counts))))
    listed, sources = np.empty(starts[-1], np.int64), np.zeros(starts[-1], np.uint64)
    gather.list_base_frames(base.data, places, lengths, below, starts[:-1].copy(), listed)
    first = starts[:-1] + below
    for source, (chain, count) in enumerate(zip(chains, counts), 1):
        _list_pending(chain, count, first, source, listed, sources)
        first = first + count
    maps = [chain.waiting.mapped for chain in chains] + [_NOTHING] * (LOGS - len(chains))
    offsets = np.empty(len(listed) + 1, np.int64)
    gather.measure_frames(base.data, *maps, listed, sources, offsets)
    payloads = np.empty(offsets[-1], np.uint8)
    bad = gather.copy_frames(base.data, *maps, listed, sources, offsets, base.seed, payloads)
    if bad >= 0:
        record = int(np.searchsorted(starts, bad, "right")) - 1
        names = [base.name, *(str(chain.waiting.log.path) for chain in chains)]
        raise damaged(names[int(sources[bad])], keys[record], listed[bad])
    return payloads, offsets, starts


def _measure_chains(chains: list[Chains], keys: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Return how many frames of each log count for each key, and whether those in ``data.bin`` do."""
    counts: list[np.ndarray] = []
    based = np.ones(keys, bool)
    for chain in reversed(chains):  # a cut in a newer log hides the older one
        count, uncut = chain.measure()
        counts.insert(0, np.where(based, count, 0))
        based &= uncut
    return counts, based


def _list_pending(
    chain: Chains,
    counts: np.ndarray,
    first: np.ndarray,
    source: int,
    listed: np.ndarray,
    sources: np.ndarray,
) -> None:
    """List the frames of one log at ``first[i]``, the place of the first one of each key."""
    chain.list(counts, first + counts, listed)
    nth = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    mine = np.repeat(first, counts) + nth
    sources[mine] = source
    listed[mine] = chain.waiting.columns.places[listed[mine]]


def _read_mixed(
    base: Base,
    chains: list[Chains],
    fold: Fold,
    keys: np.ndarray,
    rows: np.ndarray,
    places: np.ndarray,
    offsets: np.ndarray,
) -> Values:
    """Read records of one frame directly and fold the others (`rows`), then put them in one array."""
    payloads, payload_offsets, starts = read_frames(base, [chain.rows(rows) for chain in chains], keys[rows])
    there = np.diff(starts) > 0
    kept = np.concatenate((starts[:-1][there], starts[-1:]))
    values, value_offsets = fold(payloads, payload_offsets, kept)
    sizes = offsets[1:]
    places[rows], sizes[rows] = gather.ABSENT, 0
    sizes[rows[there]] = np.diff(value_offsets)
    found = places >= 0
    found[rows[there]] = True
    out = _copy(base, keys, places, offsets, _block_totals(sizes))
    gather.scatter_values(values, value_offsets, rows[there], offsets, out)
    return Values(out, offsets, found)


def _measure(base: Base, keys: np.ndarray, places: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Find records; return, for each block, the bytes of their payloads and how many have to be folded."""
    tables = base.index.tables
    if len(keys) < PARALLEL_FROM:
        totals = np.empty(2, np.int64)
        gather.measure_singles_serial(*tables, keys, places, offsets, totals)
    else:
        totals = np.empty(2 * THREADS, np.int64)
        gather.measure_singles_parallel(*tables, keys, THREADS, places, offsets, totals)
    return totals


def _block_totals(sizes: np.ndarray) -> np.ndarray:
    blocks = 1 if len(sizes) < PARALLEL_FROM else THREADS
    edges = [block * len(sizes) // blocks for block in range(blocks + 1)]
    return np.array([sizes[lo:hi].sum() for lo, hi in pairwise(edges)], np.int64)


def _copy(
    base: Base, keys: np.ndarray, places: np.ndarray, offsets: np.ndarray, totals: np.ndarray
) -> np.ndarray:
    out = np.empty(totals.sum(), np.uint8)
    if len(totals) == 1:
        bad = gather.copy_singles_serial(base.data, keys, places, base.seed, offsets, out)
    else:
        failed = np.empty(len(totals), np.int64)
        starts = np.cumsum(totals) - totals
        gather.copy_singles_parallel(base.data, keys, places, base.seed, starts, offsets, out, failed)
        bad = int(failed.max())
    if bad >= 0:
        raise damaged(base.name, keys[bad], places[bad])
    return out


def damaged(name: str, key: Any, place: Any) -> CorruptError:
    return CorruptError.at(
        name, place, f"expected a frame of key {key} with a right checksum, found damaged bytes"
    )
