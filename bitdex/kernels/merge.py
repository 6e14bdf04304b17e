"""Merging frames into ``data.bin`` in place: into the headroom, or relocated to an arena.

Several threads work on one table and one map without locks: each owns the keys whose
mixed value falls into its part, takes all their frames in order, and writes only their
entries, their headroom and its own arenas. Arenas of a part ascend in the file, so of
two regions of one key the later one is the valid one.

A frame passes three stages, each far enough behind the one before that what it needs has
arrived from memory: fetch the home of its key, find the entry and fetch the headroom,
write. Entries found wait in a ring.

What is relocated goes into a buffer, `arena`, which holds the bytes of an arena from
``state[BASE]`` on until the caller writes them to the file: a whole new page costs a third of
what it costs to store it through a map.
"""

from typing import Any

import numpy as np

from bitdex.kernels.frames import is_frame_of, put_frame
from bitdex.kernels.hash_index import GONE, find_entry, home, homes_of, warm
from bitdex.kernels.jit import device, i64, kernel, r_i64, r_u8, r_u64, u32, u64, w_i64, w_u8, w_u64
from bitdex.kernels.memory import copy, load64, prefetch, store64
from bitdex.kernels.records import (
    DELETE,
    HEAD,
    MAX_ALLOCATED,
    MERGE,
    PUT,
    REGION,
    allocation,
    kind_of,
    put_region,
)

AHEAD = 16  # frames between two stages; the size of the ring
_RING = AHEAD - 1
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)
_ZERO = np.uint64(0)

# what happened to a frame: `outcome`
WAITING, IN_PLACE, RELOCATED, MISSING, DELETED, TOO_LONG, DAMAGED = 0, 1, 2, 3, 4, 5, 6
OUTCOMES = ("waiting", "in_place", "relocated", "missing", "deleted", "too_long", "damaged")
ARENA, ARENA_END, BASE, DEAD, NEEDED = 0, 1, 2, 3, 4  # words of `state`
HEADROOM, MINIMUM, ALIGNMENT, FRESH = 0, 1, 2, 3  # words of `geometry`; regions of this merge begin at FRESH
AGAIN = 500  # per mille of headroom, at least, for a record that the same merge relocates once more


@kernel(r_u64, i64, i64, w_i64, returns=i64)
def own_rows(keys: Any, part: Any, parts: Any, out: Any) -> Any:
    """Fill `out` with the rows whose key belongs to `part` of `parts`; return how many there are."""
    count = 0
    for i in range(len(keys)):
        out[count] = i
        count += home(keys[i], parts) == part
    return count


@device
def _begin(keys: Any, rows: Any, start: Any, table: Any, data: Any, ring: Any) -> None:
    """Take the first frames through the first two stages."""
    homes = homes_of(table)
    for j in range(start, min(start + 2 * AHEAD, len(rows))):
        warm(table, home(keys[rows[j]], homes))
    for j in range(start, min(start + AHEAD, len(rows))):
        _find(keys[rows[j]], homes, table, data, ring, j)


@device
def _go_on(keys: Any, rows: Any, j: Any, table: Any, data: Any, ring: Any) -> Any:
    """Take later frames one stage further, and return the entry of frame j."""
    homes = homes_of(table)
    entry = ring[j & _RING]
    if j + 2 * AHEAD < len(rows):
        warm(table, home(keys[rows[j + 2 * AHEAD]], homes))
    if j + AHEAD < len(rows):
        _find(keys[rows[j + AHEAD]], homes, table, data, ring, j + AHEAD)
    return entry


@device
def _find(key: Any, homes: Any, table: Any, data: Any, ring: Any, j: Any) -> None:
    entry = find_entry(table, home(key, homes), key)
    if entry >= 0 and table[3 * entry + 2] == GONE:
        entry = -1
    ring[j & _RING] = entry
    if entry >= 0:
        place = np.int64(table[3 * entry + 1] + (table[3 * entry + 2] & _LOW))
        prefetch(data, place)
        prefetch(data, place + 64)


@device
def _make_room(
    entry: Any,
    kind: Any,
    size: Any,
    geometry: Any,
    seed: Any,
    table: Any,
    data: Any,
    arena: Any,
    state: Any,
) -> Any:
    """Enter a frame of `size` bytes at the end of a record; return where it has to be written.

    The outcome comes with it. `WAITING` says that the arena ran out: nothing was changed,
    and ``state[NEEDED]`` is the room that it takes.
    """
    offset = np.int64(table[3 * entry + 1])
    length = np.int64(table[3 * entry + 2] & _LOW)
    room = np.int64((table[3 * entry + 2] >> _SHIFT) & ~np.uint64(7))
    tail = (length + 7) & ~7
    if tail + size <= room and (kind != PUT or geometry[ALIGNMENT] <= 8):
        if kind == PUT:
            table[3 * entry + 1] = np.uint64(offset + tail)
            table[3 * entry + 2] = np.uint64(size) | np.uint64(room - tail | 1) << _SHIFT
            state[DEAD] += tail
        else:
            table[3 * entry + 2] = np.uint64(tail + size) | np.uint64(room) << _SHIFT
        return offset + tail, DELETED if kind == DELETE else IN_PLACE
    keep = tail if kind == MERGE else 0
    headroom = geometry[HEADROOM]
    if keep and offset >= geometry[FRESH]:  # else many merges into one key would copy it as many times
        headroom = max(headroom, AGAIN)
    given = allocation(keep + size, headroom, geometry[MINIMUM], geometry[ALIGNMENT])
    if given > MAX_ALLOCATED:
        return -1, TOO_LONG
    region = state[ARENA]
    if region + REGION + given > state[ARENA_END]:
        state[NEEDED] = REGION + given
        return -1, WAITING
    at = region - state[BASE]
    put_region(arena, at, region, given, seed)
    if keep and _in_arena(offset, state):
        copy(arena, at + REGION, arena, offset - state[BASE], keep)
    elif keep:
        copy(arena, at + REGION, data, offset, keep)
    _clear(arena, at + REGION + keep + (size & ~7), at + REGION + given)
    table[3 * entry + 1] = np.uint64(region + REGION)
    table[3 * entry + 2] = np.uint64(keep + size) | np.uint64(given | (kind == PUT)) << _SHIFT
    state[DEAD] += room + REGION
    state[ARENA] = region + REGION + given
    return region + REGION + keep, DELETED if kind == DELETE else RELOCATED


@device
def _clear(out: Any, at: Any, end: Any) -> None:
    for word in range(at, end, 8):
        store64(out, word, _ZERO)


@device
def _in_arena(at: Any, state: Any) -> Any:
    """Tell whether a place in the file lies in the open arena, whose bytes are not in the file yet."""
    return at >= state[BASE] and at < state[ARENA_END]


@kernel(
    r_u64, r_u8, r_i64, r_i64, r_i64, i64, r_i64, u32, w_u64, w_u8, w_u8, w_i64, w_i64, w_u8, returns=i64
)  # fmt: skip
def merge_frames(
    keys: Any,
    frames: Any,
    places: Any,
    sizes: Any,
    rows: Any,
    start: Any,
    geometry: Any,
    seed: Any,
    table: Any,
    data: Any,
    arena: Any,
    state: Any,
    ring: Any,
    outcome: Any,
) -> Any:
    """Verify the frames ``rows[start:]``, which lie at `places` with payloads of `sizes`, and apply them.

    Returns the row at which the arena ``state[ARENA]..state[ARENA_END]`` of the file ran out, or
    ``len(rows)``; ``state[DEAD]`` counts dead bytes.
    """
    _begin(keys, rows, start, table, data, ring)
    for j in range(start, len(rows)):
        i = rows[j]
        entry = _go_on(keys, rows, j, table, data, ring)
        if not is_frame_of(keys[i], sizes[i], frames, places[i], seed):
            outcome[i] = DAMAGED
            continue
        if entry < 0:
            outcome[i] = MISSING
            continue
        kind = kind_of(load64(frames, places[i] + 16))
        size = HEAD + sizes[i]
        at, outcome[i] = _make_room(entry, kind, size, geometry, seed, table, data, arena, state)
        if outcome[i] == WAITING:
            return j
        if at >= 0 and _in_arena(at, state):
            copy(arena, at - state[BASE], frames, places[i], size)
        elif at >= 0:
            copy(data, at, frames, places[i], size)
    return len(rows)


@kernel(r_u64, r_u8, r_i64, u64, r_i64, i64, r_i64, u32, w_u64, w_u8, w_u8, w_i64, w_i64, w_u8, returns=i64)
def merge_values(
    keys: Any,
    values: Any,
    offsets: Any,
    word: Any,
    rows: Any,
    start: Any,
    geometry: Any,
    seed: Any,
    table: Any,
    data: Any,
    arena: Any,
    state: Any,
    ring: Any,
    outcome: Any,
) -> Any:
    """As `merge_frames`, for values that become frames, with the order word `word`, where they belong."""
    kind = kind_of(word)
    _begin(keys, rows, start, table, data, ring)
    for j in range(start, len(rows)):
        i = rows[j]
        entry = _go_on(keys, rows, j, table, data, ring)
        if entry < 0:
            outcome[i] = MISSING
            continue
        size = offsets[i + 1] - offsets[i]
        at, outcome[i] = _make_room(entry, kind, HEAD + size, geometry, seed, table, data, arena, state)
        if outcome[i] == WAITING:
            return j
        if at >= 0 and _in_arena(at, state):
            put_frame(keys[i], word, values, offsets[i], size, seed, arena, at - state[BASE])
        elif at >= 0:
            put_frame(keys[i], word, values, offsets[i], size, seed, data, at)
    return len(rows)


@kernel(r_u64, i64, w_i64)
def part_of_keys(keys: Any, parts: Any, out: Any) -> None:
    """Fill `out` with the part that each key belongs to."""
    for i in range(len(keys)):
        out[i] = home(keys[i], parts)


@kernel(r_u8, r_i64, r_i64, r_i64, r_i64, u32, w_u8, w_i64, w_u64, w_u64, returns=i64)
def place_new(
    frames: Any,
    places: Any,
    sizes: Any,
    rows: Any,
    geometry: Any,
    seed: Any,
    arena: Any,
    state: Any,
    offsets: Any,
    extents: Any,
) -> Any:
    """Give each frame of `rows`, verified before, whose keys are not in the table, a region in the arena.

    The keys are distinct and the arena has room. Returns the first row whose region would be too
    long, or -1.
    """
    for j in range(len(rows)):
        i = rows[j]
        size = HEAD + sizes[i]
        given = allocation(size, geometry[HEADROOM], geometry[MINIMUM], geometry[ALIGNMENT])
        if given > MAX_ALLOCATED:
            return i
        region = state[ARENA]
        at = region - state[BASE]
        put_region(arena, at, region, given, seed)
        _clear(arena, at + REGION + (size & ~7), at + REGION + given)
        copy(arena, at + REGION, frames, places[i], size)
        single = 1 if kind_of(load64(frames, places[i] + 16)) == PUT else 0
        offsets[j] = np.uint64(region + REGION)
        extents[j] = np.uint64(size) | np.uint64(given | single) << _SHIFT
        state[ARENA] = region + REGION + given
    return -1


@kernel(u32, w_u8, w_i64)
def fill_arena(seed: Any, arena: Any, state: Any) -> None:
    """Close what is left of the arena with an empty region, so that a walk can step over it."""
    at, end = state[ARENA], state[ARENA_END]
    if at < end:
        put_region(arena, at - state[BASE], at, end - at - REGION, seed)
        _clear(arena, at - state[BASE] + REGION, end - state[BASE])
        state[ARENA] = end
