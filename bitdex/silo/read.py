"""Reading records: base and pending operations, verified, folded by the merge rule."""

from typing import Any

import numpy as np

from bitdex.errors import CorruptError
from bitdex.kernels import gather
from bitdex.kernels import hash_index as index_kernels
from bitdex.kernels.jit import THREADS
from bitdex.silo.base import Base
from bitdex.silo.pending import Pending
from bitdex.silo.rules import Fold
from bitdex.silo.values import Values

PARALLEL_FROM = 4_000
_LOW = np.uint64(0xFFFFFFFF)
Logs = tuple[np.ndarray, np.ndarray]


def read_values(base: Base, pending: Pending, logs: Logs, fold: Fold, keys: np.ndarray) -> Values:
    """Return the value of every key: what ``data.bin`` holds and what the logs add to it."""
    entries = index_kernels.lookup(base.table, keys)
    places, offsets = np.empty(len(keys), np.int64), np.empty(len(keys) + 1, np.int64)
    folded = gather.measure_singles(base.table, entries, places, offsets)
    latest = pending.newest(keys) if len(pending) else None
    touched = latest is not None and bool((latest >= 0).any())
    if not folded and not touched:
        return Values(_copy_singles(base, keys, places, offsets), offsets, places >= 0)
    slow = places == -2
    if touched:
        slow |= latest >= 0
    return _read_mixed(base, pending, logs, fold, keys, entries, latest, np.flatnonzero(slow), places)


def read_frames(
    base: Base, pending: Pending, logs: Logs, keys: np.ndarray, entries: np.ndarray, latest: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the packed payloads of records, their offsets, and where each record begins among them."""
    count = len(keys)
    counts, based = np.zeros(count, np.int64), np.ones(count, bool)
    if latest is not None:
        counts, based = pending.chains(latest)
    there = based & (entries >= 0)
    places, lengths = _extents(base, entries, there)
    below = np.empty(count, np.int64)
    bad = gather.count_base_frames(base.data, keys, places, lengths, base.seed, below)
    if bad >= 0:
        raise _damaged(keys[bad], places[bad])
    starts = np.concatenate(([0], np.cumsum(below + counts)))
    listed, sources = np.empty(starts[-1], np.int64), np.zeros(starts[-1], np.uint64)
    gather.list_base_frames(base.data, places, lengths, below, starts[:-1].copy(), listed)
    if latest is not None:
        _list_pending(pending, latest, counts, starts, below, listed, sources)
    offsets = np.empty(len(listed) + 1, np.int64)
    gather.measure_frames(base.data, *logs, listed, sources, offsets)
    payloads = np.empty(offsets[-1], np.uint8)
    bad = gather.copy_frames(base.data, *logs, listed, sources, offsets, base.seed, payloads)
    if bad >= 0:
        record = int(np.searchsorted(starts, bad, "right")) - 1
        raise _damaged(keys[record], listed[bad])
    return payloads, offsets, starts


def _list_pending(
    pending: Pending,
    latest: np.ndarray,
    counts: np.ndarray,
    starts: np.ndarray,
    below: np.ndarray,
    listed: np.ndarray,
    sources: np.ndarray,
) -> None:
    pending.list(latest, counts, starts[1:].copy(), listed)
    first = np.repeat(starts[:-1] + below, counts)
    nth = np.arange(len(first)) - np.repeat(np.cumsum(counts) - counts, counts)
    mine = first + nth
    operations = listed[mine]
    sources[mine] = pending.sources[operations]
    listed[mine] = pending.operations.places[operations]


def _extents(base: Base, entries: np.ndarray, there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    places, lengths = np.full(len(entries), -1, np.int64), np.zeros(len(entries), np.int64)
    table = base.table.reshape(-1, 3)
    used = entries[there]
    places[there] = table[used, 1].astype(np.int64)
    lengths[there] = (table[used, 2] & _LOW).astype(np.int64)
    return places, lengths


def _read_mixed(
    base: Base,
    pending: Pending,
    logs: Logs,
    fold: Fold,
    keys: np.ndarray,
    entries: np.ndarray,
    latest: Any,
    rows: np.ndarray,
    places: np.ndarray,
) -> Values:
    """Read records of one frame directly and fold the others (`rows`), then put them in one array."""
    some = None if latest is None else latest[rows]
    payloads, payload_offsets, starts = read_frames(base, pending, logs, keys[rows], entries[rows], some)
    there = np.diff(starts) > 0
    kept = np.concatenate((starts[:-1][there], starts[-1:]))
    values, value_offsets = fold(payloads, payload_offsets, kept)
    places[rows] = -1
    found = places >= 0
    sizes = np.zeros(len(keys), np.int64)
    sizes[found] = _single_sizes(base, entries[found])
    sizes[rows[there]] = np.diff(value_offsets)
    offsets = np.concatenate(([0], np.cumsum(sizes)))
    out = _copy_singles(base, keys, places, offsets)
    gather.scatter_values(values, value_offsets, rows[there], offsets, out)
    found[rows[there]] = True
    return Values(out, offsets, found)


def _single_sizes(base: Base, entries: np.ndarray) -> np.ndarray:
    return (base.table.reshape(-1, 3)[entries, 2] & _LOW).astype(np.int64) - gather.HEAD


def _copy_singles(base: Base, keys: np.ndarray, places: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    out = np.empty(offsets[-1], np.uint8)
    if len(keys) < PARALLEL_FROM:
        bad = gather.copy_singles_serial(base.data, keys, places, offsets, base.seed, out)
    else:
        blocks = np.empty(THREADS, np.int64)
        gather.copy_singles_parallel(base.data, keys, places, offsets, base.seed, THREADS, out, blocks)
        bad = int(blocks.max())
    if bad >= 0:
        raise _damaged(keys[bad], places[bad])
    return out


def _damaged(key: Any, place: Any) -> CorruptError:
    return CorruptError(
        f"record of key {key}: expected a frame with a right checksum at offset {place}, found damaged bytes"
    )
