"""The hash index: build, batch lookup with prefetch, insert, delete (layout: `formats.hash_index`).

A table for c homes is a uint64 array of shape (3 * (c + SPILL),): key, offset,
length | allocated << 32. Probes go upwards without wrap-around, four entries a step; the
last `WINDOW` entries stay empty, so a step never leaves the table. The first word of the last entry is how
far hashes are turned: 0, but where more keys than there is room for would lie behind the last home.

An index is two such tables: `table`, and `recent` with the entries that have changed since. What a key has
in `recent` counts; `GONE` as its third word says that it has nothing. A bit of `marks` is set for the hash of
every key in `recent`, so that others need not be looked for there; where nothing has changed both are empty.
"""

from typing import Any

import numpy as np

from bitdex.kernels import apart
from bitdex.kernels.jit import THREADS, device, i64, kernel, prange, r_i64, r_u64, w_i64, w_u64
from bitdex.kernels.memory import load64, prefetch, store64

BUILD_LOAD = 0.62
MAX_LOAD = 0.85
SPILL = 256
WINDOW = 4
AHEAD = 24
GONE = np.uint64(2 << 32)
_SHIFT = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)
_ZERO = np.uint64(0)
_FIRST = np.uint64(0x9E3779B97F4A7C15)
_SECOND = np.uint64(0xD6E8FEB86659FD93)


@device
def homes_of(table: Any) -> Any:
    """Return the number of homes of a table, and from bit 32 on how far its hashes are turned."""
    return np.uint64(len(table) // 3 - SPILL) | table[len(table) - 3] << _SHIFT


@device
def _hash(key: Any) -> Any:
    """Return the hash of a key, below 2^32."""
    mixed = (key ^ (key >> _SHIFT)) * _FIRST
    return ((mixed ^ (mixed >> np.uint64(29))) * _SECOND) >> _SHIFT


@device
def _place(hashed: Any, homes: Any) -> Any:
    """Return the entry at which the probe for a hash begins."""
    turned = (hashed + (homes >> _SHIFT)) & _LOW
    return np.int64((turned * (homes & _LOW)) >> _SHIFT)


@device
def home(key: Any, homes: Any) -> Any:
    """Return the entry at which the probe for a key begins, given what `homes_of` returns of a table."""
    return _place(_hash(key), np.uint64(homes))


@device
def _mark(hashed: Any, marks: Any) -> Any:
    """Return the bit of `marks` that belongs to a hash."""
    return (hashed * np.uint64(64 * len(marks))) >> _SHIFT


@kernel(r_u64, w_u64)
def set_marks(table: Any, marks: Any) -> None:
    """Set the bits of all keys of a table."""
    for entry in range(len(table) // 3):
        if table[3 * entry + 2] != _ZERO:
            bit = _mark(_hash(table[3 * entry]), marks)
            marks[bit >> np.uint64(6)] |= np.uint64(1) << (bit & np.uint64(63))


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
def begin_probe(table: Any, recent: Any, marks: Any, homes: Any, key: Any) -> Any:
    """Prefetch what the probe for a key begins with; return its home in `table`.

    That is ``~home`` if the key is marked. `homes` are those of `table`.
    """
    hashed = _hash(key)
    at = _place(hashed, homes)
    warm(table, at)
    if len(marks) > 0:
        bit = _mark(hashed, marks)
        if (marks[bit >> np.uint64(6)] >> (bit & np.uint64(63))) & np.uint64(1) != _ZERO:
            warm(recent, _place(hashed, homes_of(recent)))
            return ~at
    return at


@device
def find_marked(table: Any, recent: Any, at: Any, key: Any) -> Any:
    """Return offset and third word of a marked key, for which `begin_probe` has returned `at`; or 0 and 0.

    Keys that are not marked are looked up in `table` where the caller stands: a call costs as much again.
    """
    entry = find_entry(recent, home(key, homes_of(recent)), key)
    if entry >= 0:
        extent = recent[3 * entry + 2]
        return recent[3 * entry + 1], extent if extent != GONE else _ZERO
    entry = find_entry(table, ~at, key)
    if entry < 0:
        return _ZERO, _ZERO
    return table[3 * entry + 1], table[3 * entry + 2]


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


@kernel(r_u64, r_u64, r_u64, r_u64, w_u64, w_u64)
def copy_entries(table: Any, recent: Any, marks: Any, keys: Any, offsets: Any, extents: Any) -> None:
    """Fill `offsets` and `extents` with the entries of keys; both are 0 where a key has none."""
    homes = homes_of(table)
    n = len(keys)
    for i in range(n):
        if i + AHEAD < n:
            begin_probe(table, recent, marks, homes, keys[i + AHEAD])
        at = begin_probe(table, recent, marks, homes, keys[i])
        if at >= 0:
            entry = find_entry(table, at, keys[i])
            offsets[i] = table[3 * entry + 1] if entry >= 0 else _ZERO
            extents[i] = table[3 * entry + 2] if entry >= 0 else _ZERO
        else:
            offsets[i], extents[i] = find_marked(table, recent, at, keys[i])


@kernel(r_u64, r_i64, r_u64, i64, w_u64, w_i64, returns=i64)
def bring_entries(keys: Any, rows: Any, table: Any, limit: Any, recent: Any, left: Any) -> Any:
    """Copy to `recent` the entries of ``keys[rows]`` that `table` has and it lacks; return how many.

    No entry from `limit` on is written, so that threads whose keys have homes in ranges of their own may do
    it side by side: ``left[0]`` is how many rows would need one, which follow.
    """
    homes, few = homes_of(table), homes_of(recent)
    n = len(rows)
    brought = 0
    left[0] = 0
    for j in range(n):
        if j + AHEAD < n:
            hashed = _hash(keys[rows[j + AHEAD]])
            warm(table, _place(hashed, homes))
            warm(recent, _place(hashed, few))
        key = keys[rows[j]]
        hashed = _hash(key)
        at = _free_entry(recent, _place(hashed, few), key)
        if recent[3 * at + 2] != _ZERO:
            continue
        entry = find_entry(table, _place(hashed, homes), key)
        if entry < 0:
            continue
        if at >= limit:
            left[0] += 1
            left[left[0]] = rows[j]
            continue
        recent[3 * at] = key
        recent[3 * at + 1] = table[3 * entry + 1]
        recent[3 * at + 2] = table[3 * entry + 2]
        brought += 1
    return brought


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
def _find_records_range(
    table: Any, recent: Any, marks: Any, keys: Any, lo: Any, hi: Any, places: Any, lengths: Any
) -> None:
    homes = homes_of(table)
    for i in range(lo, min(lo + AHEAD, hi)):
        places[i] = begin_probe(table, recent, marks, homes, keys[i])
    for i in range(lo, hi):
        if i + AHEAD < hi:
            places[i + AHEAD] = begin_probe(table, recent, marks, homes, keys[i + AHEAD])
        at = places[i]
        places[i] = -1
        lengths[i] = -1
        if at >= 0:
            entry = find_entry(table, at, keys[i])
            if entry >= 0:
                places[i] = np.int64(table[3 * entry + 1])
                lengths[i] = np.int64(table[3 * entry + 2] & _LOW)
        else:
            offset, extent = find_marked(table, recent, at, keys[i])
            if extent != _ZERO:
                places[i] = np.int64(offset)
                lengths[i] = np.int64(extent & _LOW)


@kernel(r_u64, r_u64, r_u64, r_u64, w_i64, w_i64)
def find_records_serial(table: Any, recent: Any, marks: Any, keys: Any, places: Any, lengths: Any) -> None:
    """Fill offset and length of the record of each key; both are -1 for a key that is not there."""
    _find_records_range(table, recent, marks, keys, 0, len(keys), places, lengths)


@kernel(r_u64, r_u64, r_u64, r_u64, i64, w_i64, w_i64, parallel=True)
def find_records_parallel(
    table: Any, recent: Any, marks: Any, keys: Any, blocks: Any, places: Any, lengths: Any
) -> None:
    """As `find_records_serial`, in `blocks` ranges of keys side by side."""
    n = len(keys)
    for block in prange(blocks):
        lo, hi = block * n // blocks, (block + 1) * n // blocks
        _find_records_range(table, recent, marks, keys, lo, hi, places, lengths)


PARALLEL_FROM = 20_000
PAGE = 512  # words of a page


def new_table(keys: int) -> np.ndarray:
    """Return an empty table with room for this many keys at the load of a fresh build."""
    table = apart.zeros(3 * (int(keys / BUILD_LOAD) + 16 + SPILL), np.uint64)
    table[::PAGE] = 0  # what is not there yet cannot be prefetched, and is taken faster in order
    return table


def build_index(
    keys: np.ndarray, offsets: np.ndarray, lengths: np.ndarray, allocated: np.ndarray
) -> np.ndarray:
    """Return a table of these entries (all uint64, shape (n,))."""
    return build_table([(keys, offsets, extents(lengths, allocated))])


def build_table(parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]], more: int = 0) -> np.ndarray:
    """Return a table of entries given in parts: keys, offsets and third words (all uint64).

    It has room for `more` others. Keys that were made to collide lie one behind the other: those that share
    upper bits of their hashes are found as slowly as they are many.
    """
    table = new_table(sum(len(keys) for keys, _, _ in parts) + more)
    if not all(insert_entries(*part, table) >= 0 for part in parts):
        table[:] = 0
        table[-3] = _turn([keys for keys, _, _ in parts], len(table) // 3 - SPILL)
        for part in parts:
            insert_entries(*part, table)
    return table


def is_turned(table: np.ndarray) -> bool:
    """Tell whether the homes of a table are not those of all others."""
    return bool(table[-3])


def _turn(parts: list[np.ndarray], homes: int) -> int:
    """Return how far to turn the hashes of keys so that few of them lie behind the last home.

    On a circle with more homes than keys a run that begins behind the deepest point of the running sum of
    keys less homes ends before it comes round: there the table is to begin.
    """
    counts = np.zeros(homes, np.int64)
    for keys in parts:
        with np.errstate(over="ignore"):
            mixed = (keys ^ (keys >> _SHIFT)) * _FIRST
            hashed = ((mixed ^ (mixed >> np.uint64(29))) * _SECOND) >> _SHIFT
        counts += np.bincount((hashed * np.uint64(homes) >> _SHIFT).astype(np.int64), minlength=homes)
    first = (int(np.argmin(np.cumsum(counts - 1))) + 1) % homes
    begin = -(-(first << 32) // homes)  # the first hash of that home
    return -begin % (1 << 32)


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
