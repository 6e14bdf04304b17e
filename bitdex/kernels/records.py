"""Grouping frames into records and laying records out in regions (layout: `formats.data`)."""

from typing import Any

import numpy as np

from bitdex.kernels.checksum import crc_word
from bitdex.kernels.frames import frame_holds, is_frame_of, put_frame
from bitdex.kernels.jit import device, i64, kernel, r_i64, r_u8, r_u64, u32, w_i64, w_u8, w_u64
from bitdex.kernels.memory import copy, load32, load64, prefetch, store32, store64

PUT, MERGE, DELETE, KIND_MASK = 1, 2, 3, np.uint64(0x0F)
KIND_BITS = 7
HEAD = 24
REGION = 8
MAX_ALLOCATED = (1 << 32) - 64
AHEAD = 12


@device
def kind_of(order: Any) -> Any:
    """Return PUT, MERGE or DELETE of an order word."""
    return np.int64(order & KIND_MASK)


@device
def region_check(offset: Any, allocated: Any, seed: Any) -> Any:
    """Return the check word of the region at `offset`."""
    state = crc_word(np.uint32(~seed), np.uint64(offset))
    return np.uint32(~crc_word(state, np.uint64(allocated)))


@device
def put_region(out: Any, at: Any, offset: Any, allocated: Any, seed: Any) -> None:
    """Write the header of the region at file offset `offset` into ``out[at:]``."""
    store32(out, at, np.uint32(allocated))
    store32(out, at + 4, region_check(offset, allocated, seed))


@device
def _aligned(length: Any, alignment: Any) -> Any:
    """Return the least room from `length` on behind which the next region is aligned."""
    return (length + REGION + alignment - 1) // alignment * alignment - REGION


@device
def allocation(length: Any, headroom: Any, minimum: Any, alignment: Any) -> Any:
    """Return the bytes a region gives to a record: per-mille headroom, a minimum, whole alignments.

    They are more than MAX_ALLOCATED only where the record is by itself: the headroom gives way before.
    """
    given = _aligned(max(length + length * headroom // 1000, minimum), alignment)
    if given > MAX_ALLOCATED:
        most = (MAX_ALLOCATED + REGION) // alignment * alignment - REGION
        given = max(_aligned(length, alignment), most)
    return given


@kernel(r_u64, r_i64, r_i64, w_u64, w_i64, w_i64, w_i64, returns=i64)
def cut_records(
    keys: Any, frames: Any, sizes: Any, records: Any, starts: Any, kept: Any, kept_sizes: Any
) -> Any:
    """Group ordered frames by key and drop what a later PUT or DELETE cuts off.

    `frames` holds places and kinds. `kept` receives the frames that stay, record after
    record, `starts` (records + 1) where each record begins in it, `records` its key.
    Returns the number of records.
    """
    n = len(keys)
    found = 0
    used = 0
    i = 0
    while i < n:
        key = keys[i]
        begin = used
        alive = False
        while i < n and keys[i] == key:
            kind = frames[i] & KIND_BITS
            if kind != MERGE:
                used = begin
            alive = kind != DELETE
            if alive:
                kept[used] = frames[i]
                kept_sizes[used] = sizes[i]
                used += 1
            i += 1
        if alive:
            starts[found] = begin
            records[found] = key
            found += 1
    starts[found] = used
    return found


@kernel(r_i64, r_i64, r_i64, i64, i64, i64, i64, w_i64, w_u64, returns=i64)
def lay_out(
    starts: Any,
    frames: Any,
    sizes: Any,
    start: Any,
    headroom: Any,
    minimum: Any,
    alignment: Any,
    regions: Any,
    extents: Any,
) -> Any:
    """Give each record a region from file offset `start` on; `regions` (records + 1) ends with the end.

    `frames` carries the kinds. `extents` receives length and allocation as in the index, with
    the SINGLE flag (`formats.hash_index`). Returns the first record that is too long, or -1.
    """
    at = start
    for record in range(len(starts) - 1):
        length = 0
        for i in range(starts[record], starts[record + 1]):
            length = ((length + 7) & ~7) + HEAD + sizes[i]
        room = allocation(length, headroom, minimum, alignment)
        if room > MAX_ALLOCATED:
            return record
        first = starts[record]
        single = starts[record + 1] - first == 1 and frames[first] & KIND_BITS == PUT
        regions[record] = at
        extents[record] = np.uint64(length) | np.uint64(room | np.int64(single)) << np.uint64(32)
        at += REGION + room
    regions[len(starts) - 1] = at
    return -1


@device
def _clear(out: Any, at: Any, end: Any) -> None:
    for word in range(at, end, 8):
        store64(out, word, np.uint64(0))


@kernel(r_u8, r_u64, r_i64, r_i64, r_i64, r_i64, i64, i64, i64, u32, w_u8, returns=i64)
def copy_records(
    log: Any,
    keys: Any,
    starts: Any,
    frames: Any,
    sizes: Any,
    regions: Any,
    base: Any,
    lo: Any,
    hi: Any,
    seed: Any,
    out: Any,
) -> Any:
    """Write the regions of the records ``lo..hi`` into `out`, verifying every frame.

    Region offsets count from file offset `base`. Returns the log place of the first frame
    that does not hold, or -1.
    """
    for record in range(lo, hi):
        at = regions[record] - regions[lo]
        end = regions[record + 1] - regions[lo]
        put_region(out, at, base + regions[record], end - at - REGION, seed)
        at += REGION
        for i in range(starts[record], starts[record + 1]):
            if i + AHEAD < starts[hi]:
                _warm_frame(log, frames[i + AHEAD], sizes[i + AHEAD])
            place = frames[i] & ~KIND_BITS
            if not is_frame_of(keys[record], sizes[i], log, place, seed):
                return place
            whole = HEAD + sizes[i]
            store64(out, at + (whole - 1 & ~7), np.uint64(0))  # the padding, then what precedes it
            copy(out, at, log, place, whole)
            at += (whole + 7) & ~7
        _clear(out, at, end)
    return -1


@device
def _warm_frame(log: Any, place: Any, size: Any) -> None:
    for line in range(0, min(HEAD + size, 512), 64):
        prefetch(log, place + line)


@kernel(r_u64, r_u8, r_i64, r_u64, r_i64, i64, i64, u32, w_u8)
def write_records(
    keys: Any, values: Any, offsets: Any, words: Any, regions: Any, lo: Any, hi: Any, seed: Any, out: Any
) -> None:
    """Write regions of one frame each for the values ``lo..hi``."""
    for i in range(lo, hi):
        at = regions[i] - regions[lo]
        end = regions[i + 1] - regions[lo]
        put_region(out, at, regions[i], end - at - REGION, seed)
        at += REGION
        size = offsets[i + 1] - offsets[i]
        at += put_frame(keys[i], words[i], values, offsets[i], size, seed, out, at)
        _clear(out, at, end)


@device
def region_holds(data: Any, at: Any, end: Any, seed: Any) -> Any:
    """Tell whether a region header with a right check lies at `at` and its region ends by `end`."""
    if at + REGION > end:
        return False
    room = np.int64(load32(data, at))
    return at + REGION + room <= end and load32(data, at + 4) == region_check(at, room, seed)


@kernel(r_u8, i64, i64, u32, r_u64, r_u64, w_u64, w_u64, w_u64, w_u64, w_i64, returns=i64)
def walk_regions(
    data: Any,
    start: Any,
    end: Any,
    seed: Any,
    committed: Any,
    aborted: Any,
    keys: Any,
    offsets: Any,
    lengths: Any,
    allocated: Any,
    stop: Any,
) -> Any:
    """Rebuild index entries from the regions in ``data[start:end]`` (rules: `formats.data`).

    One entry per region that holds frames, in file order; a deleted record has length 0.
    ``stop[0]`` receives where the walk ended: `end`, the place to go on from when the
    output is full, or a place where no region holds (then ``stop[1]`` is 1).
    """
    at = start
    count = 0
    stop[1] = 0
    while at < end and count < len(keys):
        if not region_holds(data, at, end, seed):
            stop[1] = 1
            break
        room = np.int64(load32(data, at))
        first = at + REGION
        limit = first + room
        frame = first
        record = first
        length = 0
        frames = 0
        kind = 0
        while frame_holds(data, frame, limit, seed):
            word = load64(data, frame + 16)
            if not _counts(word >> np.uint64(8), committed[0], aborted):
                break
            if frame > first and load64(data, frame + 8) != load64(data, first + 8):
                break
            kind = kind_of(word)
            size = HEAD + np.int64(load32(data, frame + 4))
            if kind == PUT:
                record = frame
                frames = 0
            frames += 1
            length = frame - record + size
            frame += (size + 7) & ~7
        if length:
            single = frames == 1 and kind == PUT
            keys[count] = load64(data, first + 8)
            offsets[count] = np.uint64(record)
            lengths[count] = np.uint64(0 if kind == DELETE else length)
            allocated[count] = np.uint64(limit - record) | np.uint64(single)
            count += 1
        at = limit
    stop[0] = at
    return count


@device
def _counts(sequence: Any, committed: Any, aborted: Any) -> Any:
    if sequence > committed:
        return False
    for i in range(len(aborted)):
        if aborted[i] == sequence:
            return False
    return True
