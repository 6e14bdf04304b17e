"""Grouping frames into records and laying records out in regions (layout: `formats.data`)."""

from typing import Any

import numpy as np

from bitdex.kernels.checksum import crc_word
from bitdex.kernels.frames import frame_holds, put_frame
from bitdex.kernels.jit import device, i64, kernel, r_i64, r_u8, r_u64, u32, w_i64, w_u8, w_u64
from bitdex.kernels.memory import copy, load32, load64, prefetch, store32

PUT, MERGE, DELETE, KIND_MASK = 1, 2, 3, np.uint64(0x0F)
HEAD = 24
REGION = 8
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
def allocation(length: Any, headroom: Any, minimum: Any, alignment: Any) -> Any:
    """Return the bytes a region gives to a record: per-mille headroom, a minimum, whole alignments."""
    wanted = max(length + length * headroom // 1000, minimum)
    return (wanted + REGION + alignment - 1) // alignment * alignment - REGION


@kernel(r_u64, w_i64, w_i64, w_i64, returns=i64)
def order_keys(keys: Any, order: Any, scratch: Any, counts: Any) -> Any:
    """Fill `order` with the stable ascending order of `keys`; return 1 when it was there already.

    A least-significant-digit radix sort that skips digits in which all keys agree.
    """
    n = len(keys)
    ascending = 1
    common_and = ~np.uint64(0)
    common_or = np.uint64(0)
    for i in range(n):
        order[i] = i
        common_and &= keys[i]
        common_or |= keys[i]
        if i and keys[i] < keys[i - 1]:
            ascending = 0
    if ascending:
        return 1
    varying = common_and ^ common_or
    source, target = order, scratch
    for digit in range(4):
        shift = np.uint64(16 * digit)
        if (varying >> shift) & np.uint64(0xFFFF) == np.uint64(0):
            continue
        for value in range(65536):
            counts[value] = 0
        for i in range(n):
            counts[np.int64((keys[i] >> shift) & np.uint64(0xFFFF))] += 1
        total = 0
        for value in range(65536):
            here = counts[value]
            counts[value] = total
            total += here
        for i in range(n):
            value = np.int64((keys[source[i]] >> shift) & np.uint64(0xFFFF))
            target[counts[value]] = source[i]
            counts[value] += 1
        source, target = target, source
    if source is not order:
        for i in range(n):
            order[i] = source[i]
    return 0


@kernel(r_u64, r_i64, r_u64, w_i64, w_i64, returns=i64)
def cut_records(keys: Any, order: Any, words: Any, starts: Any, kept: Any) -> Any:
    """Group ordered frames by key and drop what a later PUT or DELETE cuts off.

    `kept` receives the frames that stay, record after record, `starts` (records + 1)
    where each record begins in it. Returns the number of records.
    """
    n = len(order)
    records = 0
    used = 0
    i = 0
    while i < n:
        j = i
        first = i
        alive = True
        while j < n and keys[order[j]] == keys[order[i]]:
            kind = kind_of(words[order[j]])
            if kind == PUT:
                first = j
                alive = True
            elif kind == DELETE:
                first = j + 1
                alive = False
            else:
                alive = True
            j += 1
        if alive:
            starts[records] = used
            for frame in range(first, j):
                kept[used] = order[frame]
                used += 1
            records += 1
        i = j
    starts[records] = used
    return records


@kernel(r_i64, r_i64, r_i64, r_u64, i64, i64, i64, i64, w_i64, w_u64, w_u64)
def lay_out(
    starts: Any,
    kept: Any,
    sizes: Any,
    words: Any,
    start: Any,
    headroom: Any,
    minimum: Any,
    alignment: Any,
    regions: Any,
    lengths: Any,
    allocated: Any,
) -> None:
    """Give each record a region from file offset `start` on; `regions` (records + 1) ends with the end.

    `allocated` carries the SINGLE flag in bit 0 (`formats.hash_index`).
    """
    at = start
    for record in range(len(starts) - 1):
        length = 0
        for i in range(starts[record], starts[record + 1]):
            length = (length + 7) // 8 * 8 + HEAD + sizes[kept[i]]
        room = allocation(length, headroom, minimum, alignment)
        single = starts[record + 1] - starts[record] == 1 and kind_of(words[kept[starts[record]]]) == PUT
        regions[record] = at
        lengths[record] = np.uint64(length)
        allocated[record] = np.uint64(room) | np.uint64(single)
        at += REGION + room
    regions[len(starts) - 1] = at


@kernel(r_u8, r_i64, r_i64, r_i64, r_i64, r_i64, i64, i64, u32, w_u8, returns=i64)
def copy_records(
    log: Any,
    places: Any,
    sizes: Any,
    starts: Any,
    kept: Any,
    regions: Any,
    lo: Any,
    hi: Any,
    seed: Any,
    out: Any,
) -> Any:
    """Write the regions of the records ``lo..hi`` into `out`, verifying every frame.

    Returns the log place of the first frame that does not hold, or -1. `out` must be zero.
    """
    base = regions[lo]
    for record in range(lo, hi):
        at = regions[record] - base
        put_region(out, at, regions[record], regions[record + 1] - regions[record] - REGION, seed)
        at += REGION
        for i in range(starts[record], starts[record + 1]):
            if i + AHEAD < starts[hi]:
                prefetch(log, places[kept[i + AHEAD]])
                prefetch(log, places[kept[i + AHEAD]] + 64)
            frame = kept[i]
            if not frame_holds(log, places[frame], len(log), seed):
                return places[frame]
            whole = HEAD + sizes[frame]
            copy(out, at, log, places[frame], whole)
            at += (whole + 7) & ~7
    return -1


@kernel(r_u64, r_u8, r_i64, r_u64, r_i64, r_u64, i64, i64, u32, w_u8)
def write_records(
    keys: Any,
    values: Any,
    offsets: Any,
    words: Any,
    regions: Any,
    allocated: Any,
    lo: Any,
    hi: Any,
    seed: Any,
    out: Any,
) -> None:
    """Write regions of one frame each for the values ``lo..hi``; `out` must be zero."""
    base = regions[lo]
    for i in range(lo, hi):
        at = regions[i] - base
        put_region(out, at, regions[i], np.int64(allocated[i] & ~np.uint64(7)), seed)
        size = offsets[i + 1] - offsets[i]
        put_frame(keys[i], words[i], values, offsets[i], size, seed, out, at + REGION)


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
