"""The hash index: build, batch lookup with prefetch, insert, delete (layout: `formats.hash_index`).

A table for c homes is a uint64 array of shape (3 * (c + SPILL),): key, offset,
length | allocated << 32. Probes go upwards without wrap-around, four entries a step; the
last `WINDOW` entries stay empty, so a step never leaves the table.
"""

from typing import Any

import numpy as np

from bitdex.kernels import apart
from bitdex.kernels.jit import THREADS, device, i64, kernel, prange, r_u64, w_i64, w_u64
from bitdex.kernels.memory import load64, prefetch, store64

BUILD_LOAD = 0.62
MAX_LOAD = 0.85
SPILL = 256
WINDOW = 4
AHEAD = 24
_SHIFT = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)
_ZERO = np.uint64(0)
_FIRST = np.uint64(0x9E3779B97F4A7C15)
_SECOND = np.uint64(0xD6E8FEB86659FD93)


@device
def homes_of(table: Any) -> Any:
    """Return the number of homes of a table."""
    return len(table) // 3 - SPILL


@device
def home(key: Any, homes: Any) -> Any:
    """Return the entry at which the probe for a key begins."""
    mixed = (key ^ (key >> _SHIFT)) * _FIRST
    mixed = (mixed ^ (mixed >> np.uint64(29))) * _SECOND
    return np.int64(((mixed >> _SHIFT) * np.uint64(homes)) >> _SHIFT)


@device
def warm(table: Any, at: Any) -> None:
    """Prefetch the entries that the first step of a probe reads."""
    prefetch(table, 3 * at)
    prefetch(table, 3 * at + 11)


@device
def find_entry(table: Any, at: Any, key: Any) -> Any:
    """Return the entry of a key whose home is `at`, or -1.

    The four comparisons of a step are evaluated without a branch between them: at the
    usual load nine of ten keys stand within four entries of their home.
    """
    last = len(table) // 3 - WINDOW
    while at <= last:
        word = 3 * at
        hit = -1
        if load64(table, word + 9) == key:
            hit = 3
        if load64(table, word + 6) == key:
            hit = 2
        if load64(table, word + 3) == key:
            hit = 1
        if load64(table, word) == key:
            hit = 0
        if hit >= 0 and load64(table, word + 3 * hit + 2) != _ZERO:
            return at + hit
        for step in range(WINDOW):
            if load64(table, word + 3 * step + 2) == _ZERO:
                return -1
        at += WINDOW
    return -1


@device
def _free_entry(table: Any, at: Any, key: Any) -> Any:
    """Return the entry where a key stands, or the empty one where it belongs."""
    while load64(table, 3 * at + 2) != _ZERO and load64(table, 3 * at) != key:
        at += 1
    return at


@kernel(r_u64, r_u64, r_u64, w_u64, returns=i64)
def insert_entries(keys: Any, offsets: Any, extents: Any, table: Any) -> Any:
    """Insert or overwrite entries; return how many keys were new, or -1 when the table is too full."""
    homes = homes_of(table)
    limit = len(table) // 3 - WINDOW
    n = len(keys)
    added = 0
    for i in range(n):
        if i + AHEAD < n:
            warm(table, home(keys[i + AHEAD], homes))
        at = _free_entry(table, home(keys[i], homes), keys[i])
        if at >= limit:
            return -1
        added += load64(table, 3 * at + 2) == _ZERO
        store64(table, 3 * at, keys[i])
        store64(table, 3 * at + 1, offsets[i])
        store64(table, 3 * at + 2, extents[i])
    return added


@kernel(r_u64, w_u64, returns=i64)
def delete_entries(keys: Any, table: Any) -> Any:
    """Remove keys, moving later entries of the run into the gap; return how many were there."""
    homes = homes_of(table)
    removed = 0
    for i in range(len(keys)):
        hole = find_entry(table, home(keys[i], homes), keys[i])
        if hole < 0:
            continue
        removed += 1
        at = hole + 1
        while table[3 * at + 2] != _ZERO:
            if home(table[3 * at], homes) <= hole:
                for word in range(3):
                    table[3 * hole + word] = table[3 * at + word]
                hole = at
            at += 1
        for word in range(3):
            table[3 * hole + word] = _ZERO
    return removed


@device
def _lookup_range(table: Any, keys: Any, lo: Any, hi: Any, out: Any) -> None:
    homes = homes_of(table)
    for i in range(lo, min(lo + AHEAD, hi)):
        out[i] = home(keys[i], homes)
        warm(table, out[i])
    for i in range(lo, hi):
        if i + AHEAD < hi:
            out[i + AHEAD] = home(keys[i + AHEAD], homes)
            warm(table, out[i + AHEAD])
        out[i] = find_entry(table, out[i], keys[i])


@kernel(r_u64, r_u64, w_i64)
def lookup_serial(table: Any, keys: Any, out: Any) -> None:
    """Fill `out` with the entry of each key, or -1."""
    _lookup_range(table, keys, 0, len(keys), out)


@kernel(r_u64, r_u64, i64, w_i64, parallel=True)
def lookup_parallel(table: Any, keys: Any, blocks: Any, out: Any) -> None:
    """As `lookup_serial`, in `blocks` ranges of keys side by side."""
    n = len(keys)
    for block in prange(blocks):
        _lookup_range(table, keys, block * n // blocks, (block + 1) * n // blocks, out)


@kernel(r_u64, r_u64, w_u64)
def copy_entries(table: Any, keys: Any, out: Any) -> None:
    """Fill `out` (3 words a key) with the entries of keys; the third word is 0 where a key has none."""
    homes = homes_of(table)
    n = len(keys)
    for i in range(n):
        if i + AHEAD < n:
            warm(table, home(keys[i + AHEAD], homes))
        entry = find_entry(table, home(keys[i], homes), keys[i])
        out[3 * i] = keys[i]
        out[3 * i + 1] = table[3 * entry + 1] if entry >= 0 else _ZERO
        out[3 * i + 2] = table[3 * entry + 2] if entry >= 0 else _ZERO


@kernel(r_u64, w_i64, returns=i64)
def occupied_entries(table: Any, out: Any) -> Any:
    """Fill `out` with the entries in use, in table order; return how many."""
    count = 0
    for at in range(len(table) // 3):
        if table[3 * at + 2] != _ZERO and count < len(out):
            out[count] = at
            count += 1
    return count


@device
def _find_records_range(table: Any, keys: Any, lo: Any, hi: Any, places: Any, lengths: Any) -> None:
    homes = homes_of(table)
    for i in range(lo, min(lo + AHEAD, hi)):
        places[i] = home(keys[i], homes)
        warm(table, places[i])
    for i in range(lo, hi):
        if i + AHEAD < hi:
            places[i + AHEAD] = home(keys[i + AHEAD], homes)
            warm(table, places[i + AHEAD])
        entry = find_entry(table, places[i], keys[i])
        places[i] = -1
        lengths[i] = -1
        if entry >= 0:
            places[i] = np.int64(table[3 * entry + 1])
            lengths[i] = np.int64(table[3 * entry + 2] & _LOW)


@kernel(r_u64, r_u64, w_i64, w_i64)
def find_records_serial(table: Any, keys: Any, places: Any, lengths: Any) -> None:
    """Fill offset and length of the record of each key; both are -1 for a key that is not there."""
    _find_records_range(table, keys, 0, len(keys), places, lengths)


@kernel(r_u64, r_u64, i64, w_i64, w_i64, parallel=True)
def find_records_parallel(table: Any, keys: Any, blocks: Any, places: Any, lengths: Any) -> None:
    """As `find_records_serial`, in `blocks` ranges of keys side by side."""
    n = len(keys)
    for block in prange(blocks):
        _find_records_range(table, keys, block * n // blocks, (block + 1) * n // blocks, places, lengths)


PARALLEL_FROM = 20_000


def new_table(keys: int) -> np.ndarray:
    """Return an empty table with room for this many keys at the load of a fresh build."""
    return apart.zeros(3 * (int(keys / BUILD_LOAD) + 16 + SPILL), np.uint64)


def build_index(
    keys: np.ndarray, offsets: np.ndarray, lengths: np.ndarray, allocated: np.ndarray
) -> np.ndarray:
    """Return a table of these entries (all uint64, shape (n,))."""
    return build_table([(keys, offsets, extents(lengths, allocated))])


def build_table(parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]], more: int = 0) -> np.ndarray:
    """Return a table of entries given in parts: keys, offsets and third words (all uint64).

    It has room for `more` others.
    """
    room = sum(len(keys) for keys, _, _ in parts) + more
    while True:
        table = new_table(room)
        if all(insert_entries(*part, table) >= 0 for part in parts):
            return table
        room += room // 4 + 1


def extents(lengths: np.ndarray, allocated: np.ndarray) -> np.ndarray:
    """Return the third words of entries."""
    return lengths.astype(np.uint64) | allocated.astype(np.uint64) << _SHIFT


def lookup(table: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Return the entry of each key, or -1, shape (n,) int64."""
    out = np.empty(len(keys), np.int64)
    if len(keys) < PARALLEL_FROM:
        lookup_serial(table, keys, out)
    else:
        lookup_parallel(table, keys, THREADS, out)
    return out


def find_records(table: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return offset and length of the record of each key, or -1, shape (n,) int64 each."""
    places, lengths = np.empty(len(keys), np.int64), np.empty(len(keys), np.int64)
    if len(keys) < PARALLEL_FROM:
        find_records_serial(table, keys, places, lengths)
    else:
        find_records_parallel(table, keys, THREADS, places, lengths)
    return places, lengths
