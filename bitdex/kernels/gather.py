"""Reading values: records found in the index, verified and copied into one packed array."""

from typing import Any

import numpy as np

from bitdex.kernels.checksum import crc_update
from bitdex.kernels.frames import frame_holds
from bitdex.kernels.jit import device, i64, kernel, prange, r_i64, r_u8, r_u64, u32, w_i64, w_u8, w_u64
from bitdex.kernels.memory import copy, load32, load64, prefetch
from bitdex.kernels.records import DELETE, PUT, kind_of

HEAD = 24
AHEAD = 10
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)


@kernel(r_u64, r_i64, w_i64, w_i64, returns=i64)
def measure_singles(table: Any, entries: Any, places: Any, offsets: Any) -> Any:
    """Prefix-sum the payload sizes of records that are one PUT frame.

    ``places[i]`` is the frame's offset, -1 for a key that is not there, -2 for a record
    that has to be folded (its size is left 0). Returns how many have to be folded.
    """
    folded = 0
    total = 0
    n = len(entries)
    for i in range(n):
        if i + AHEAD < n and entries[i + AHEAD] >= 0:
            prefetch(table, 3 * entries[i + AHEAD])
        offsets[i] = total
        entry = entries[i]
        if entry < 0:
            places[i] = -1
            continue
        extent = table[3 * entry + 2]
        if (extent >> _SHIFT) & np.uint64(1):
            places[i] = np.int64(table[3 * entry + 1])
            total += np.int64(extent & _LOW) - HEAD
        else:
            places[i] = -2
            folded += 1
    offsets[n] = total
    return folded


@device
def _warm_frame(data: Any, place: Any, size: Any) -> None:
    if place >= 0:
        for line in range(0, min(HEAD + size, 512), 64):
            prefetch(data, place + line)


@device
def _single_holds(data: Any, place: Any, size: Any, key: Any, seed: Any) -> Any:
    """Tell whether the frame of `key` with `size` bytes of payload lies, whole and right, at `place`."""
    if place + HEAD + size > len(data) or np.int64(load32(data, place + 4)) != size:
        return False
    if load64(data, place + 8) != key:
        return False
    return np.uint32(~crc_update(~seed, data, place + 4, 20 + size)) == load32(data, place)


@device
def _copy_range(data: Any, keys: Any, places: Any, offsets: Any, seed: Any, lo: Any, hi: Any, out: Any) -> Any:
    for i in range(lo, hi):
        if i + AHEAD < hi:
            _warm_frame(data, places[i + AHEAD], offsets[i + AHEAD + 1] - offsets[i + AHEAD])
        if places[i] >= 0:
            size = offsets[i + 1] - offsets[i]
            if not _single_holds(data, places[i], size, keys[i], seed):
                return i
            copy(out, offsets[i], data, places[i] + HEAD, size)
    return -1


@kernel(r_u8, r_u64, r_i64, r_i64, u32, w_u8, returns=i64)
def copy_singles_serial(data: Any, keys: Any, places: Any, offsets: Any, seed: Any, out: Any) -> Any:
    """Verify and copy payloads; return the first key whose frame does not hold, or -1."""
    return _copy_range(data, keys, places, offsets, seed, 0, len(keys), out)


@kernel(r_u8, r_u64, r_i64, r_i64, u32, i64, w_u8, w_i64, parallel=True)
def copy_singles_parallel(
    data: Any, keys: Any, places: Any, offsets: Any, seed: Any, blocks: Any, out: Any, bad: Any
) -> None:
    """As `copy_singles_serial`, in blocks side by side; ``bad[block]`` is the first failure or -1."""
    n = len(keys)
    for block in prange(blocks):
        lo, hi = block * n // blocks, (block + 1) * n // blocks
        bad[block] = _copy_range(data, keys, places, offsets, seed, lo, hi, out)


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


@kernel(r_u8, r_u64, r_u64, w_u64)
def last_words(data: Any, places: Any, extents: Any, out: Any) -> None:
    """Fill `out` with the order word of a PUT at the sequence of each record's last frame."""
    for i in range(len(places)):
        at = np.int64(places[i])
        end = at + np.int64(extents[i] & _LOW)
        while at < end:
            out[i] = (load64(data, at + 16) & ~np.uint64(0xFF)) | np.uint64(PUT)
            at += (HEAD + np.int64(load32(data, at + 4)) + 7) & ~7
