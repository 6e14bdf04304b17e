"""Reading values: records found in the index, verified and copied into one packed array."""

from typing import Any

import numpy as np

from bitdex.kernels.frames import frame_holds, is_frame_of
from bitdex.kernels.hash_index import begin_probe, find_entry, find_marked, homes_of
from bitdex.kernels.jit import (
    boolean,
    device,
    i64,
    kernel,
    prange,
    r_i64,
    r_u8,
    r_u64,
    u32,
    u64,
    w_bool,
    w_i64,
    w_u8,
    w_u64,
)
from bitdex.kernels.memory import copy, load32, load64, prefetch
from bitdex.kernels.records import DELETE, PUT, kind_of

HEAD = 24
PROBES = 24  # keys looked up ahead
AHEAD = 10  # frames fetched ahead
ABSENT, FOLDED, DAMAGED = -1, -2, -3
_SINGLE = np.uint64(1)  # formats.hash_index.SINGLE
_LOW = np.uint64(0xFFFFFFFF)
_NONE = np.uint64(0)
_SHIFT = np.uint64(32)


@device
def _single(extent: Any) -> Any:
    """Tell whether the third word of an index entry says that the record is one PUT frame."""
    return (extent >> _SHIFT) & _SINGLE != np.uint64(0)


@device
def _measure_range(
    table: Any, recent: Any, marks: Any, keys: Any, lo: Any, hi: Any, places: Any, offsets: Any
) -> Any:
    """Find ``keys[lo:hi]``; return the bytes of their payloads and how many have to be folded."""
    homes = homes_of(table)
    total = 0
    folded = 0
    for i in range(lo, min(lo + PROBES, hi)):
        places[i] = begin_probe(table, recent, marks, homes, keys[i])
    for i in range(lo, hi):
        if i + PROBES < hi:
            places[i + PROBES] = begin_probe(table, recent, marks, homes, keys[i + PROBES])
        at = places[i]
        offset, extent = _NONE, _NONE
        if at >= 0:
            entry = find_entry(table, at, keys[i])
            if entry >= 0:
                offset, extent = table[3 * entry + 1], table[3 * entry + 2]
        else:
            offset, extent = find_marked(table, recent, at, keys[i])
        places[i] = ABSENT
        offsets[i + 1] = 0
        if extent != _NONE:
            if _single(extent):
                places[i] = np.int64(offset)
                offsets[i + 1] = np.int64(extent & _LOW) - HEAD
                total += offsets[i + 1]
            else:
                places[i] = FOLDED
                folded += 1
    return total, folded


@kernel(r_u64, r_u64, r_u64, r_u64, w_i64, w_i64, w_i64)
def measure_singles_serial(
    table: Any, recent: Any, marks: Any, keys: Any, places: Any, offsets: Any, totals: Any
) -> None:
    """Find records that are one PUT frame, and the sizes of their payloads.

    ``places[i]`` is the frame's offset, or `ABSENT`, or `FOLDED` for a record that has to be
    folded; ``offsets[i + 1]`` the payload's size, 0 for those. `totals` receives the sum of the
    sizes and the number of records to fold.
    """
    offsets[0] = 0
    totals[0], totals[1] = _measure_range(table, recent, marks, keys, 0, len(keys), places, offsets)


@kernel(r_u64, r_u64, r_u64, r_u64, i64, w_i64, w_i64, w_i64, parallel=True)
def measure_singles_parallel(
    table: Any, recent: Any, marks: Any, keys: Any, blocks: Any, places: Any, offsets: Any, totals: Any
) -> None:
    """As `measure_singles_serial`, in blocks side by side, each with two words of `totals`."""
    n = len(keys)
    offsets[0] = 0
    for block in prange(blocks):
        lo, hi = block * n // blocks, (block + 1) * n // blocks
        total, folded = _measure_range(table, recent, marks, keys, lo, hi, places, offsets)
        totals[2 * block] = total
        totals[2 * block + 1] = folded


@device
def _warm_frame(data: Any, place: Any, size: Any) -> None:
    if place >= 0:
        for line in range(0, min(HEAD + size, 512), 64):
            prefetch(data, place + line)
        prefetch(data, place + min(HEAD + size, 512) - 1)


@device
def _copy_range(
    data: Any, keys: Any, places: Any, seed: Any, lo: Any, hi: Any, start: Any, offsets: Any, out: Any
) -> Any:
    at = start
    for i in range(lo, hi):
        if i + AHEAD < hi:
            _warm_frame(data, places[i + AHEAD], offsets[i + AHEAD + 1])
        size = offsets[i + 1]
        if places[i] >= 0:
            if not is_frame_of(keys[i], size, data, places[i], seed):
                return i
            copy(out, at, data, places[i] + HEAD, size)
        at += size
        offsets[i + 1] = at
    return -1


@kernel(r_u8, r_u64, r_i64, u32, w_i64, w_u8, returns=i64)
def copy_singles_serial(data: Any, keys: Any, places: Any, seed: Any, offsets: Any, out: Any) -> Any:
    """Verify and copy payloads, and sum up the sizes in ``offsets[1:]``.

    Where ``places[i]`` is negative the value's bytes are left as they are. Returns the first
    key whose frame does not hold, or -1.
    """
    return _copy_range(data, keys, places, seed, 0, len(keys), 0, offsets, out)


@kernel(r_u8, r_u64, r_i64, u32, r_i64, w_i64, w_u8, w_i64, parallel=True)
def copy_singles_parallel(
    data: Any, keys: Any, places: Any, seed: Any, starts: Any, offsets: Any, out: Any, bad: Any
) -> None:
    """As `copy_singles_serial`, in blocks side by side: block b writes from ``out[starts[b]]`` on.

    ``bad[block]`` is the first failure or -1.
    """
    n = len(keys)
    blocks = len(bad)
    for block in prange(blocks):
        lo, hi = block * n // blocks, (block + 1) * n // blocks
        bad[block] = _copy_range(data, keys, places, seed, lo, hi, starts[block], offsets, out)


@kernel(r_u64, r_u64, r_u64, r_u8, u64, u32, w_i64, returns=i64)
def find_single(table: Any, recent: Any, marks: Any, data: Any, key: Any, seed: Any, size: Any) -> Any:
    """Return the place of the one PUT frame of a key, or `ABSENT`, `FOLDED` or `DAMAGED`.

    ``size[0]`` receives the payload's size.
    """
    at = begin_probe(table, recent, marks, homes_of(table), key)
    offset, extent = _NONE, _NONE
    if at < 0:
        offset, extent = find_marked(table, recent, at, key)
    else:
        entry = find_entry(table, at, key)
        if entry >= 0:
            offset, extent = table[3 * entry + 1], table[3 * entry + 2]
    if extent == _NONE:
        return ABSENT
    if not _single(extent):
        return FOLDED
    place = np.int64(offset)
    size[0] = np.int64(extent & _LOW) - HEAD
    return place if is_frame_of(key, size[0], data, place, seed) else DAMAGED


@kernel(u64, i64, r_u8, i64, u32, returns=boolean)
def holds_frame(key: Any, size: Any, data: Any, place: Any, seed: Any) -> Any:
    """Tell whether the frame of a key with `size` bytes of payload lies, whole and right, at `place`."""
    return is_frame_of(key, size, data, place, seed)


@kernel(r_u8, r_u64, r_i64, r_i64, u32, w_i64, returns=i64)
def count_base_frames(data: Any, keys: Any, places: Any, lengths: Any, seed: Any, counts: Any) -> Any:
    """Count the frames of records in ``data.bin`` that no later PUT or DELETE cuts off.

    A place of -1 has none. Returns the first record that does not hold, or -1.
    """
    for i in range(len(keys)):
        counts[i] = 0
        if places[i] < 0:
            continue
        at = places[i]
        end = places[i] + lengths[i]
        if end > len(data):
            return i
        while at < end:
            if not frame_holds(data, at, end, seed) or load64(data, at + 8) != keys[i]:
                return i
            kind = kind_of(load64(data, at + 16))
            counts[i] = 1 if kind == PUT else 0 if kind == DELETE else counts[i] + 1
            at += (HEAD + np.int64(load32(data, at + 4)) + 7) & ~7
    return -1


@kernel(r_u8, r_i64, r_i64, r_i64, r_i64, w_i64)
def list_base_frames(data: Any, places: Any, lengths: Any, counts: Any, starts: Any, out: Any) -> None:
    """Write the places of the last ``counts[i]`` frames of each record at ``starts[i]`` in `out`."""
    for i in range(len(places)):
        if counts[i] == 0:
            continue
        at = places[i]
        seen = 0
        while at < places[i] + lengths[i]:
            kind = kind_of(load64(data, at + 16))
            if kind == DELETE:
                seen = 0
            else:
                seen = 0 if kind == PUT else seen
                if seen < counts[i]:  # a record that a later frame cuts off may have more
                    out[starts[i] + seen] = at
                seen += 1
            at += (HEAD + np.int64(load32(data, at + 4)) + 7) & ~7


@device
def _size_at(files: Any, source: Any, place: Any) -> Any:
    data = files[source]
    return np.int64(load32(data, place + 4)) if place + HEAD <= len(data) else 0


@kernel(r_u8, r_u8, r_u8, r_i64, r_u64, w_i64)
def measure_frames(data: Any, log_a: Any, log_b: Any, places: Any, sources: Any, offsets: Any) -> None:
    """Prefix-sum the payload sizes of frames in the data (source 0), log A (1) or log B (2)."""
    files = (data, log_a, log_b)
    total = 0
    for i in range(len(places)):
        offsets[i] = total
        total += _size_at(files, sources[i], places[i])
    offsets[len(places)] = total


@kernel(r_u8, r_u8, r_u8, r_i64, r_u64, r_i64, u32, w_u8, returns=i64)
def copy_frames(
    data: Any, log_a: Any, log_b: Any, places: Any, sources: Any, offsets: Any, seed: Any, out: Any
) -> Any:
    """Verify frames and copy their payloads; return the first that does not hold, or -1."""
    files = (data, log_a, log_b)
    for i in range(len(places)):
        origin = files[sources[i]]
        if not frame_holds(origin, places[i], len(origin), seed):
            return i
        copy(out, offsets[i], origin, places[i] + HEAD, offsets[i + 1] - offsets[i])
    return -1


@kernel(r_u8, r_i64, r_i64, r_i64, w_u8)
def scatter_values(values: Any, offsets: Any, rows: Any, targets: Any, out: Any) -> None:
    """Copy value i to ``out[targets[rows[i]]:]``."""
    for i in range(len(rows)):
        copy(out, targets[rows[i]], values, offsets[i], offsets[i + 1] - offsets[i])


@kernel(r_u8, r_i64, r_u8, r_i64, w_bool)
def compare_values(values: Any, offsets: Any, others: Any, other_offsets: Any, same: Any) -> None:
    """Tell which of two rows of packed values are the same bytes."""
    for i in range(len(same)):
        at, other = offsets[i], other_offsets[i]
        size = offsets[i + 1] - at
        equal = other_offsets[i + 1] - other == size
        while equal and size >= 8:
            equal = load64(values, at) == load64(others, other)
            at += 8
            other += 8
            size -= 8
        while equal and size > 0:
            equal = values[at] == others[other]
            at += 1
            other += 1
            size -= 1
        same[i] = equal


@kernel(r_u8, r_u64, r_u64, w_u64)
def last_words(data: Any, places: Any, extents: Any, out: Any) -> None:
    """Fill `out` with the order word of a PUT at the sequence of each record's last frame."""
    for i in range(len(places)):
        at = np.int64(places[i])
        end = at + np.int64(extents[i] & _LOW)
        while at < end:
            out[i] = (load64(data, at + 16) & ~np.uint64(0xFF)) | np.uint64(PUT)
            at += (HEAD + np.int64(load32(data, at + 4)) + 7) & ~7
