"""Looking into a silo: whether index entries can be, how far keys stand from home, the frames of records."""

from typing import Any

import numpy as np

from bitdex.kernels.frames import frame_holds
from bitdex.kernels.hash_index import home, homes_of
from bitdex.kernels.jit import device, i64, kernel, r_i64, r_u8, r_u64, u32, u64, w_i64
from bitdex.kernels.memory import load32, load64
from bitdex.kernels.records import region_holds

HEAD = 24
_ZERO, _FLAGS = np.uint64(0), np.uint64(7)
_SHIFT, _LOW = np.uint64(32), np.uint64(0xFFFFFFFF)


@kernel(r_u64, u64, returns=i64)
def check_entries(table: Any, end: Any) -> Any:
    """Return how many entries are in use, or ``-1 - entry`` of the first that cannot be.

    A record has a frame at least, lies in its region, and the region before the data's `end`:
    what kernels read and merge by such entries stays inside the data.
    """
    used = 0
    for entry in range(len(table) // 3):
        extent = table[3 * entry + 2]
        if extent == _ZERO:
            continue
        used += 1
        offset, length, room = table[3 * entry + 1], extent & _LOW, (extent >> _SHIFT) & ~_FLAGS
        sound = length >= np.uint64(HEAD) and length <= room
        if not sound or room > end or offset > end - room:
            return -1 - entry
    return used


@kernel(r_u64, r_i64, w_i64)
def measure_distances(table: Any, entries: Any, out: Any) -> None:
    """Fill `out` with how many entries lie between the home of the key at each entry and the entry."""
    homes = homes_of(table)
    for i in range(len(entries)):
        out[i] = entries[i] - home(table[3 * entries[i]], homes)


@kernel(r_u8, r_u64, r_i64, r_i64, u32, i64, i64, w_i64, w_i64)
def verify_records(
    data: Any, keys: Any, places: Any, lengths: Any, seed: Any, lo: Any, hi: Any, counts: Any, bad: Any
) -> None:
    """Walk the frames of the records ``lo..hi``: their number, and the place of the first bad one or -1.

    A frame is bad when it does not hold, belongs to another key or passes the record's
    end; a record that lies outside `data` or has no frame is bad at its beginning.
    """
    for i in range(lo, hi):
        at = places[i]
        end = places[i] + lengths[i]
        counts[i] = 0
        bad[i] = -1
        if at < 0 or lengths[i] < HEAD or lengths[i] > len(data) - at:
            bad[i] = at
            continue
        while at < end:
            if not frame_holds(data, at, end, seed) or load64(data, at + 8) != keys[i]:
                bad[i] = at
                break
            at += (HEAD + np.int64(load32(data, at + 4)) + 7) & ~7
            counts[i] += 1


@kernel(r_u8, r_i64, r_i64, r_i64, w_i64)
def list_record_frames(data: Any, places: Any, counts: Any, starts: Any, out: Any) -> None:
    """Write the places of the ``counts[i]`` frames of each (verified) record at ``starts[i]`` in `out`."""
    for i in range(len(places)):
        at = places[i]
        for frame in range(counts[i]):
            out[starts[i] + frame] = at
            at += (HEAD + np.int64(load32(data, at + 4)) + 7) & ~7


@device
def _padding(data: Any, start: Any, stop: Any) -> Any:
    """Return the first byte in ``start..stop`` that is not zero, or -1."""
    for at in range(start, min(stop, len(data))):
        if data[at] != 0:
            return at
    return -1


@kernel(r_u8, r_i64, r_i64, i64, i64, returns=i64)
def find_padding(data: Any, places: Any, lengths: Any, lo: Any, hi: Any) -> Any:
    """Return the first byte behind a frame of (verified) records ``lo..hi`` that should be zero; or -1."""
    for i in range(lo, hi):
        at = places[i]
        end = at + lengths[i]
        while at < end:
            stop = at + HEAD + np.int64(load32(data, at + 4))
            at = (stop + 7) & ~7
            found = _padding(data, stop, at)
            if found >= 0:
                return found
    return -1


@device
def _behind_zeros(data: Any, at: Any, stop: Any) -> Any:
    """Return where a run of zeros ends that begins at `at`, in steps of 8 bytes."""
    while at + 32 <= stop:
        words = load64(data, at) | load64(data, at + 8) | load64(data, at + 16) | load64(data, at + 24)
        if words != _ZERO:
            break
        at += 32
    while at + 8 <= stop and load64(data, at) == _ZERO:
        at += 8
    return at


@device
def _accounted(data: Any, at: Any, stop: Any, seed: Any) -> Any:
    """Return how many bytes from `at` on are a region header, a frame that holds, or the last zeros; or 0."""
    if at + 8 > stop:
        return 0 if _padding(data, at, stop) >= 0 else stop - at
    if region_holds(data, at, len(data), seed):
        return 8
    if not frame_holds(data, at, stop, seed):
        return 0
    end = at + HEAD + np.int64(load32(data, at + 4))
    whole = min((end + 7) & ~7, stop)
    return 0 if _padding(data, end, whole) >= 0 else whole - at


@kernel(r_u8, r_i64, r_i64, i64, u32, w_i64, w_i64, w_i64)
def walk_gaps(
    data: Any, starts: Any, stops: Any, budget: Any, seed: Any, state: Any, strays: Any, sizes: Any
) -> None:
    """Look at the gaps ``starts..stops`` between records for bytes that nothing accounts for.

    ``strays[gap]`` receives the place of the first one or -1, ``sizes[gap]`` how many there are; behind
    the first one all that is not zero counts, up to the next region header. About `budget` bytes are
    looked at; `state` (gap, place, whether among strays) is where the next call goes on, at first (0, -1, 0).
    """
    gap, at, lost = state[0], state[1], state[2]
    left = budget
    while gap < len(starts) and left > 0:
        if at < 0:
            at, lost, strays[gap], sizes[gap] = starts[gap], 0, -1, 0
        stop = stops[gap]
        while at < stop and left > 0:
            step = min(8, stop - at)
            if lost and not (step == 8 and region_holds(data, at, len(data), seed)):
                sizes[gap] += step if _padding(data, at, at + step) >= 0 else 0
            else:
                step = _behind_zeros(data, at, min(stop, at + max(left, 8))) - at
                step = step if step else _accounted(data, at, stop, seed)
                lost = step == 0
                if lost and strays[gap] < 0:
                    strays[gap] = at
            at += step
            left -= max(step, 1)
        if at >= stop:
            gap += 1
            at = -1
            left -= 1
    state[0], state[1], state[2] = gap, at, lost


@kernel(r_u8, i64, i64, u32, returns=i64)
def find_region(data: Any, start: Any, end: Any, seed: Any) -> Any:
    """Return the first place from `start` on, in steps of 8 bytes, where a region header holds; or `end`."""
    for at in range(start, end, 8):
        if region_holds(data, at, end, seed):
            return at
    return end
