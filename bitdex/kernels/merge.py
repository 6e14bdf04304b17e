"""Merging frames into ``data.bin`` in place: into the headroom, or relocated to an arena.

Several threads work on one table and one map without locks: each owns the keys whose
mixed value falls into its part, takes all their frames in order, and writes only their
entries, their headroom and its own arenas. Arenas of a part ascend in the file, so of
two regions of one key the later one is the valid one.
"""

from typing import Any

import numpy as np

from bitdex.kernels.frames import frame_holds
from bitdex.kernels.hash_index import find_entry, home, homes_of, warm
from bitdex.kernels.jit import device, i64, kernel, r_i64, r_u8, r_u64, u32, w_i64, w_u8, w_u64
from bitdex.kernels.memory import copy, load32, load64, prefetch, store64
from bitdex.kernels.records import DELETE, HEAD, MERGE, PUT, REGION, allocation, kind_of, put_region

AHEAD = 16
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)

# what merge_frames reports about a frame in `outcome`
WAITING, IN_PLACE, RELOCATED, MISSING, DELETED, TOO_LONG, DAMAGED = 0, 1, 2, 3, 4, 5, 6
OUTCOMES = ("waiting", "in_place", "relocated", "missing", "deleted", "too_long", "damaged")
MAX_RECORD = (1 << 32) - 4096


@device
def _warm_headroom(table: Any, at: Any, key: Any, data: Any) -> None:
    entry = find_entry(table, at, key)
    if entry >= 0:
        place = np.int64(table[3 * entry + 1] + (table[3 * entry + 2] & _LOW))
        prefetch(data, place)
        prefetch(data, place + 64)


@kernel(r_u64, r_u8, r_i64, i64, i64, i64, i64, i64, i64, i64, u32, w_u64, w_u8, w_i64, w_u8, returns=i64)
def merge_frames(
    keys: Any,
    frames: Any,
    places: Any,
    start: Any,
    part: Any,
    parts: Any,
    packed_geometry: Any,
    minimum: Any,
    arena_start: Any,
    arena_end: Any,
    seed: Any,
    table: Any,
    data: Any,
    state: Any,
    outcome: Any,
) -> Any:
    """Apply the frames at `places` whose key belongs to `part` of `parts` (`home` of as many), from `start` on.

    Returns the frame at which the arena ``data[arena_start:arena_end]`` ran out, or
    ``len(keys)``. ``state[0]`` receives the arena's new start, ``state[1]`` counts dead
    bytes, ``state[2]`` is the room that the frame at which it stopped needs.
    `packed_geometry` is ``headroom << 16 | alignment``.
    """
    headroom, alignment = packed_geometry >> 16, packed_geometry & 0xFFFF
    homes = homes_of(table)
    arena = arena_start
    n = len(keys)
    for i in range(start, n):
        if i + 2 * AHEAD < n:
            warm(table, home(keys[i + 2 * AHEAD], homes))
        if i + AHEAD < n and home(keys[i + AHEAD], parts) == part:
            _warm_headroom(table, home(keys[i + AHEAD], homes), keys[i + AHEAD], data)
        if home(keys[i], parts) != part:
            continue
        entry = find_entry(table, home(keys[i], homes), keys[i])
        if entry < 0:
            outcome[i] = MISSING
            continue
        if not frame_holds(frames, places[i], len(frames), seed):
            outcome[i] = DAMAGED
            continue
        kind = kind_of(load64(frames, places[i] + 16))
        size = HEAD + np.int64(load32(frames, places[i] + 4))
        offset = np.int64(table[3 * entry + 1])
        length = np.int64(table[3 * entry + 2] & _LOW)
        room = np.int64((table[3 * entry + 2] >> _SHIFT) & ~np.uint64(7))
        tail = (length + 7) & ~7
        if tail + size <= room and (kind != PUT or alignment <= 8):
            copy(data, offset + tail, frames, places[i], size)
            if kind == PUT:
                table[3 * entry + 1] = np.uint64(offset + tail)
                table[3 * entry + 2] = np.uint64(size) | np.uint64(room - tail | 1) << _SHIFT
                state[1] += tail
            else:
                table[3 * entry + 2] = np.uint64(tail + size) | np.uint64(room) << _SHIFT
            outcome[i] = DELETED if kind == DELETE else IN_PLACE
            continue
        keep = tail if kind == MERGE else 0
        if keep + size > MAX_RECORD:
            outcome[i] = TOO_LONG
            continue
        given = allocation(keep + size, headroom, minimum, alignment)
        if arena + REGION + given > arena_end:
            state[0] = arena
            state[2] = REGION + given
            return i
        put_region(data, arena, arena, given, seed)
        if keep:
            copy(data, arena + REGION, data, offset, keep)
        copy(data, arena + REGION + keep, frames, places[i], size)
        single = 1 if kind == PUT else 0
        table[3 * entry + 1] = np.uint64(arena + REGION)
        table[3 * entry + 2] = np.uint64(keep + size) | np.uint64(given | single) << _SHIFT
        state[1] += room + REGION
        arena += REGION + given
        outcome[i] = DELETED if kind == DELETE else RELOCATED
    state[0] = arena
    return n


@kernel(r_u64, i64, w_i64)
def part_of_keys(keys: Any, parts: Any, out: Any) -> None:
    """Fill `out` with the part that each key belongs to."""
    for i in range(len(keys)):
        out[i] = home(keys[i], parts)


@kernel(r_u64, r_u8, r_i64, r_i64, i64, i64, i64, i64, u32, w_u8, w_i64, w_u64, w_u64)
def place_new(
    keys: Any,
    frames: Any,
    places: Any,
    rows: Any,
    headroom: Any,
    minimum: Any,
    alignment: Any,
    arena: Any,
    seed: Any,
    data: Any,
    state: Any,
    offsets: Any,
    extents: Any,
) -> None:
    """Give each frame of `rows`, whose keys are not in the table, a region from `arena` on.

    The keys are distinct and the arena has room. ``state[0]`` receives the arena's end.
    """
    for j in range(len(rows)):
        i = rows[j]
        size = HEAD + np.int64(load32(frames, places[i] + 4))
        given = allocation(size, headroom, minimum, alignment)
        put_region(data, arena, arena, given, seed)
        copy(data, arena + REGION, frames, places[i], size)
        single = 1 if kind_of(load64(frames, places[i] + 16)) == PUT else 0
        offsets[j] = np.uint64(arena + REGION)
        extents[j] = np.uint64(size) | np.uint64(given | single) << _SHIFT
        arena += REGION + given
    state[0] = arena


@kernel(i64, i64, u32, w_u8)
def fill_region(at: Any, end: Any, seed: Any, data: Any) -> None:
    """Close the gap ``at..end`` with an empty region, so that a walk can step over it."""
    put_region(data, at, at, end - at - REGION, seed)
    if end - at >= REGION + HEAD:
        for word in range(at + REGION, at + REGION + HEAD, 8):
            store64(data, word, np.uint64(0))
