"""Values by slot, slots by value, and the first few of a candidate set in either direction.

A column is the sorted slots that have a value, and their values by position. The position
of a slot is found through its chunk (65,536 slots with the same high half):

    shape CONTIGUOUS   position = first + slot - first slot of the chunk
    shape SEARCHED     binary search (few slots)
    shape ABSENT       no slot
    shape n >= 0       position = first + rank of the word + set bits below, in block n of 1,024
                       words (`masks`: which slots are there; `ranks`: how many before a word)

Candidates come as a portable Roaring payload, which takes microseconds to write and lets a
kernel test membership (`walk`) or run through the slots (`gather`) without an array of them.
"""

from typing import Any

import numpy as np

from bitdex.kernels.jit import (
    boolean,
    device,
    i64,
    kernel,
    r_i64,
    r_u8,
    r_u16,
    r_u32,
    r_u64,
    u32,
    u64,
    w_bool,
    w_i64,
    w_u16,
    w_u32,
    w_u64,
)
from bitdex.kernels.memory import load16, load64
from bitdex.kernels.roaring import ARRAY, BITSET, container, open_payload, popcount, read_container

CONTIGUOUS, SEARCHED, ABSENT = -1, -2, -3
MASKED_MIN = 1024  # slots of a chunk that make 10 KB of masks and ranks worth their space


@kernel(r_u32, r_i64, r_i64, w_u64, w_u16)
def fill_masks(slots: Any, starts: Any, shapes: Any, masks: Any, ranks: Any) -> None:
    """Write masks (zero before) and ranks of the chunks that have a block."""
    for chunk in range(len(shapes)):
        if shapes[chunk] < 0:
            continue
        base = 1024 * shapes[chunk]
        for i in range(starts[chunk], starts[chunk + 1]):
            low = np.int64(slots[i] & 0xFFFF)
            masks[base + (low >> 6)] |= np.uint64(1) << np.uint64(low & 63)
        before = np.int64(0)
        for word in range(base, base + 1024):
            ranks[word] = before
            before += popcount(masks[word])


@device
def find_places(
    wanted: Any, lo: Any, hi: Any, starts: Any, shapes: Any, slots: Any, masks: Any, ranks: Any, places: Any
) -> None:
    """Write the positions of ``wanted[lo:hi]``, slots of one chunk, to the front of `places`; -1 = none."""
    chunk = np.int64(wanted[lo] >> 16)
    shape = shapes[chunk] if chunk < len(shapes) else ABSENT
    if shape == ABSENT:
        places[: hi - lo] = -1
        return
    first, stop = starts[chunk], starts[chunk + 1]
    if shape == CONTIGUOUS:
        begin, count = np.int64(slots[first]), stop - first
        for i in range(hi - lo):
            at = np.int64(wanted[lo + i]) - begin
            places[i] = first + at if 0 <= at < count else -1
    elif shape == SEARCHED:
        for i in range(hi - lo):
            low, high = first, stop
            while low < high:
                middle = (low + high) >> 1
                below = slots[middle] < wanted[lo + i]
                low, high = (middle + 1, high) if below else (low, middle)
            places[i] = low if low < stop and slots[low] == wanted[lo + i] else -1
    else:
        for i in range(hi - lo):
            low = np.int64(wanted[lo + i] & 0xFFFF)
            word = masks[1024 * shape + (low >> 6)]
            bit = np.uint64(1) << np.uint64(low & 63)
            at = first + np.int64(ranks[1024 * shape + (low >> 6)]) + popcount(word & (bit - np.uint64(1)))
            places[i] = at if word & bit else -1


def _look_up(
    wanted: Any,
    starts: Any,
    shapes: Any,
    slots: Any,
    masks: Any,
    ranks: Any,
    values: Any,
    places: Any,
    out: Any,
    present: Any,
) -> None:
    """Write the value of each wanted slot (0 if it has none) and whether it has one."""
    lo = 0
    while lo < len(wanted):
        hi = lo + 1
        while hi < len(wanted) and hi - lo < len(places) and wanted[hi] >> 16 == wanted[lo] >> 16:
            hi += 1
        find_places(wanted, lo, hi, starts, shapes, slots, masks, ranks, places)
        for i in range(lo, hi):
            at = places[i - lo]
            present[i] = at >= 0
            out[i] = np.uint64(values[at]) if at >= 0 else np.uint64(0)
        lo = hi


def _rank(
    order: Any,
    starts: Any,
    shapes: Any,
    slots: Any,
    masks: Any,
    ranks: Any,
    values: Any,
    value: Any,
    slot: Any,
    places: Any,
) -> Any:
    """Return how many entries of the order come before (value, slot)."""
    low, high = np.int64(0), np.int64(len(order))
    while low < high:
        middle = (low + high) >> 1
        find_places(order, middle, middle + 1, starts, shapes, slots, masks, ranks, places)
        found = np.uint64(values[places[0]])
        if found < value or (found == value and np.int64(order[middle]) < slot):
            low = middle + 1
        else:
            high = middle
    return low


@device
def select(values: Any, slots: Any, count: Any, limit: Any) -> None:
    """Move the `limit` least (value, slot) pairs to the front, in no order (Hoare's selection)."""
    low, high = np.int64(0), count - 1
    while low < high:
        middle = (low + high) >> 1
        value, slot = values[middle], slots[middle]
        i, j = low, high
        while i <= j:
            while values[i] < value or (values[i] == value and slots[i] < slot):
                i += 1
            while values[j] > value or (values[j] == value and slots[j] > slot):
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                slots[i], slots[j] = slots[j], slots[i]
                i += 1
                j -= 1
        if limit - 1 <= j:
            high = j
        elif limit - 1 >= i:
            low = i
        else:
            return


@device
def greatest(values: Any, slots: Any, count: Any) -> Any:
    """Return the greatest (value, slot) pair."""
    value, slot = values[0], slots[0]
    for i in range(1, count):
        if values[i] > value or (values[i] == value and slots[i] > slot):
            value, slot = values[i], slots[i]
    return value, slot


def _gather(
    data: Any,
    starts: Any,
    shapes: Any,
    slots: Any,
    masks: Any,
    ranks: Any,
    values: Any,
    flip: Any,
    after: Any,
    after_value: Any,
    after_slot: Any,
    limit: Any,
    found: Any,
    places: Any,
    best_values: Any,
    best_slots: Any,
) -> Any:
    """Keep the `limit` least pairs, (value, slot) XOR `flip`, after the cursor; return how many, or a fault.

    `flip` is 0 to ascend, all ones to descend. The outputs, longer than `limit`, hold the pairs
    as flipped, in no order; `found` and `places` have room for a chunk.
    """
    flip_slot = np.uint32(flip & np.uint64(0xFFFFFFFF))
    worst_value, worst_slot = ~np.uint64(0), np.uint32(0xFFFFFFFF)
    kept = np.int64(0)
    containers, bits, descriptors, at = open_payload(data, np.int64(0), np.int64(len(data)))
    if containers < 0:
        return containers
    for index in range(containers):
        key, kind, count, end = container(data, bits, descriptors, index, at, np.int64(len(data)))
        if end < 0:
            return end
        if key >= len(shapes):
            break
        fault = read_container(data, kind, at, count, key << 16, np.int64(0), found)
        if fault < 0:
            return fault
        at = end
        find_places(found, 0, count, starts, shapes, slots, masks, ranks, places)
        for i in range(count):
            if places[i] < 0:
                continue
            value, slot = np.uint64(values[places[i]]) ^ flip, np.uint32(found[i] ^ flip_slot)
            if value > worst_value or (value == worst_value and slot > worst_slot):
                continue
            if after and (value < after_value or (value == after_value and slot <= after_slot)):
                continue
            best_values[kept] = value
            best_slots[kept] = slot
            kept += 1
            if kept == len(best_values):
                select(best_values, best_slots, kept, limit)
                kept = limit
                worst_value, worst_slot = greatest(best_values, best_slots, kept)
    if kept > limit:
        select(best_values, best_slots, kept, limit)
    return min(kept, limit)


_column32 = (r_i64, r_i64, r_u32, r_u64, r_u16, r_u32)
_column64 = (r_i64, r_i64, r_u32, r_u64, r_u16, r_u64)
_after = (u64, boolean, u64, u32, i64, w_u32, w_i64, w_u64, w_u32)

look_up32 = kernel(r_u32, *_column32, w_i64, w_u64, w_bool)(_look_up)
look_up64 = kernel(r_u32, *_column64, w_i64, w_u64, w_bool)(_look_up)
rank32 = kernel(r_u32, *_column32, u64, i64, w_i64, returns=i64)(_rank)
rank64 = kernel(r_u32, *_column64, u64, i64, w_i64, returns=i64)(_rank)
gather32 = kernel(r_u8, *_column32, *_after, returns=i64)(_gather)
gather64 = kernel(r_u8, *_column64, *_after, returns=i64)(_gather)


@device
def holds(data: Any, at: Any, kind: Any, count: Any, low: Any) -> Any:
    """Tell whether the container at `at` holds a slot with this low half."""
    if kind == BITSET:
        word = load64(data, at + 8 * (low >> 6))
        return (word >> np.uint64(low & 63)) & np.uint64(1) != 0
    stride = 2 if kind == ARRAY else 4
    first, last = np.int64(0), count if kind == ARRAY else np.int64(load16(data, at))
    begin = at if kind == ARRAY else at + 2
    while first < last:
        middle = (first + last) >> 1
        if np.int64(load16(data, begin + stride * middle)) <= low:
            first = middle + 1
        else:
            last = middle
    if first == 0:
        return False
    start = np.int64(load16(data, begin + stride * (first - 1)))
    if kind == ARRAY:
        return start == low
    return low <= start + np.int64(load16(data, begin + stride * (first - 1) + 2))


@kernel(r_u8, r_u32, i64, i64, i64, w_i64, w_u32, returns=i64)
def walk(data: Any, order: Any, at: Any, step: Any, steps: Any, table: Any, found: Any) -> Any:
    """Take candidates in order from position `at`, at most `steps` positions, until `found` is full.

    Returns how many were found, or a fault. `table` has three entries per chunk of the column: -1,
    or place, kind and count of the candidates' container.
    """
    table[:] = -1
    stop = np.int64(len(data))
    containers, bits, descriptors, place = open_payload(data, np.int64(0), stop)
    if containers < 0:
        return containers
    for index in range(containers):
        key, kind, count, end = container(data, bits, descriptors, index, place, stop)
        if end < 0:
            return end
        if 3 * key >= len(table):
            break
        table[3 * key] = place
        table[3 * key + 1] = kind
        table[3 * key + 2] = count
        place = end
    filled = seen = np.int64(0)
    while seen < steps and filled < len(found):
        slot = np.int64(order[at])
        entry = 3 * (slot >> 16)
        if table[entry] >= 0 and holds(data, table[entry], table[entry + 1], table[entry + 2], slot & 0xFFFF):
            found[filled] = slot
            filled += 1
        at += step
        seen += 1
    return filled
