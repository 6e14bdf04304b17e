"""Codes: the values of each document by slot, made of the payloads of all values; counting by them.

Each value has a code above 0. A field with one value a document has a column of codes, another lists:

    codes[slot]                                0 = no value
    codes[starts[slot]:starts[slot + 1]]       each once

Lists are made from bands of chunks: `spread` sorts the pairs (low half of the slot, code) of a band by chunk,
`arrange` those of a chunk by slot.

Counting goes through ascending slots, all of which lie inside of the column. Two tables take turns, so that a
code that follows itself does not wait for its own count.
"""

from typing import Any

import numpy as np

from bitdex.kernels.jit import (
    device,
    i64,
    kernel,
    r_i64,
    r_u8,
    r_u16,
    r_u32,
    r_u64,
    w_i64,
    w_u8,
    w_u16,
    w_u32,
    w_u64,
)
from bitdex.kernels.memory import prefetch
from bitdex.kernels.roaring import container, open_payload, read_container

TABLES = 2
AHEAD, FAR = 24, 64  # slots fetched ahead; where nothing else waits for them
LINE = 40  # bytes from which on two hardly lie in one line of the cache


def _fill(data: Any, starts: Any, stops: Any, numbers: Any, lo: Any, hi: Any, found: Any, codes: Any) -> Any:
    """Write ``numbers[i]`` for payloads [lo, hi); return how many slots had a code already, or a fault."""
    again = np.int64(0)
    for i in range(lo, hi):
        containers, bits, descriptors, at = open_payload(data, starts[i], stops[i])
        if containers < 0:
            return containers
        for index in range(containers):
            key, kind, count, end = container(data, bits, descriptors, index, at, stops[i])
            if end < 0:
                return end
            held = read_container(data, kind, at, count, key << 16, np.int64(0), found)
            if held < 0:
                return held
            for j in range(held):
                slot = np.int64(found[j])
                if slot < len(codes):
                    again += codes[slot] != 0
                    codes[slot] = numbers[i]
            at = end
    return again


@kernel(r_u8, r_i64, r_i64, i64, i64, w_i64, returns=i64)
def measure_chunks(data: Any, starts: Any, stops: Any, lo: Any, hi: Any, totals: Any) -> Any:
    """Add up how many slots payloads [lo, hi) have in each chunk; return 0 or a fault."""
    for i in range(lo, hi):
        containers, bits, descriptors, at = open_payload(data, starts[i], stops[i])
        if containers < 0:
            return containers
        for index in range(containers):
            key, _, count, at = container(data, bits, descriptors, index, at, stops[i])
            if at < 0:
                return at
            if key < len(totals):
                totals[key] += count
    return np.int64(0)


def _spread(
    data: Any,
    starts: Any,
    stops: Any,
    numbers: Any,
    lo: Any,
    hi: Any,
    first: Any,
    last: Any,
    cursors: Any,
    places: Any,
    found: Any,
    lows: Any,
    codes: Any,
) -> Any:
    """Append the pairs of payloads [lo, hi) in chunks [first, last) at the places of these; 0 or a fault.

    ``cursors[2 * i]`` and the one behind it say which container of payload i comes next, and where it is;
    they are 0 at first.
    """
    for i in range(lo, hi):
        containers, bits, descriptors, begin = open_payload(data, starts[i], stops[i])
        if containers < 0:
            return containers
        index, at = cursors[2 * i], cursors[2 * i + 1]
        if index == 0:
            at = begin
        while index < containers:
            key, kind, count, end = container(data, bits, descriptors, index, at, stops[i])
            if end < 0:
                return end
            if key >= last:
                break
            held = read_container(data, kind, at, count, np.int64(0), np.int64(0), found)
            if held < 0:
                return held
            place = places[key - first]
            if held != count or place + held > len(lows):
                return np.int64(-5)  # roaring.COUNT
            for j in range(held):
                lows[place + j] = found[j]
                codes[place + j] = numbers[i]
            places[key - first] = place + held
            index, at = index + 1, end
        cursors[2 * i], cursors[2 * i + 1] = index, at
    return np.int64(0)


def _arrange(
    lows: Any, codes: Any, lo: Any, hi: Any, base: Any, chunk: Any, places: Any, starts: Any, out: Any
) -> None:
    """Sort the pairs [lo, hi), those of one chunk, by slot; its lists begin at `base` of `out`.

    `starts` receives where the list of each of its slots ends, behind the one before.
    """
    places[:] = 0
    for i in range(lo, hi):
        places[lows[i]] += 1
    at = np.int64(base)
    for low in range(65536):
        count = places[low]
        places[low] = at
        at += count
        starts[(chunk << 16) + low + 1] = at
    for i in range(lo, hi):
        low = lows[i]
        out[places[low]] = codes[i]
        places[low] += 1


@device
def far_apart(slots: Any, lo: Any, hi: Any, size: Any) -> Any:
    """Tell whether what belongs to ``slots[lo:hi]``, of some bytes each, lies in lines of its own."""
    return hi > lo and (np.int64(slots[hi - 1]) - np.int64(slots[lo])) * size > LINE * (hi - lo)


def _count(slots: Any, lo: Any, hi: Any, codes: Any, counts: Any) -> None:
    """Count the codes of ``slots[lo:hi]`` in `TABLES` tables, one behind the other."""
    size = len(counts) // TABLES
    whole = lo + (hi - lo) // TABLES * TABLES
    fetched = whole - FAR if far_apart(slots, lo, hi, codes.itemsize) else np.int64(0)
    for i in range(lo, whole, TABLES):
        if i < fetched:
            for ahead in range(i + FAR, i + FAR + TABLES):
                prefetch(codes, np.int64(slots[ahead]))
        for table in range(TABLES):
            counts[np.uint64(table * size) + np.uint64(codes[slots[i + table]])] += 1
    for i in range(whole, hi):
        counts[np.uint64(codes[slots[i]])] += 1


@kernel(r_u32, i64, i64, r_u8, r_u8, i64, w_i64)
def count_crossed(slots: Any, lo: Any, hi: Any, rows: Any, columns: Any, width: Any, counts: Any) -> None:
    """Count the codes of ``slots[lo:hi]`` in two columns together, as row * width + column (as `_count`)."""
    size = len(counts) // TABLES
    whole = lo + (hi - lo) // TABLES * TABLES
    fetched = whole - FAR if far_apart(slots, lo, hi, np.int64(1)) else np.int64(0)
    for i in range(lo, whole, TABLES):
        if i < fetched:
            for ahead in range(i + FAR, i + FAR + TABLES):
                prefetch(rows, np.int64(slots[ahead]))
                prefetch(columns, np.int64(slots[ahead]))
        for table in range(TABLES):
            slot = slots[i + table]
            place = np.uint64(rows[slot]) * np.uint64(width) + np.uint64(columns[slot])
            counts[np.uint64(table * size) + place] += 1
    for i in range(whole, hi):
        counts[np.uint64(rows[slots[i]]) * np.uint64(width) + np.uint64(columns[slots[i]])] += 1


def _count_lists(slots: Any, lo: Any, hi: Any, starts: Any, codes: Any, counts: Any) -> None:
    """Count the codes in the lists of ``slots[lo:hi]``; the first two lines of a list are fetched ahead."""
    line = 64 // codes.itemsize
    for i in range(lo, hi):
        if i + 2 * AHEAD < hi:
            prefetch(starts, np.int64(slots[i + 2 * AHEAD]))
            ahead = np.int64(starts[slots[i + AHEAD]])
            if ahead + line < len(codes):
                prefetch(codes, ahead)
                prefetch(codes, ahead + line)
        slot = np.int64(slots[i])
        for j in range(np.int64(starts[slot]), np.int64(starts[slot + 1])):
            counts[np.uint64(codes[j])] += 1


@device
def code_row(codes: Any, slot: Any) -> Any:
    """Return where the row of a slot's code begins in a table of `ROW` words a code."""
    return ROW * np.int64(codes[slot])


ROW = 4  # words of a code in the tables of `_sum` and `_extremes`: half a line


def _sum(slots: Any, lo: Any, hi: Any, codes: Any, values: Any, table: Any) -> None:
    """Add up, by code, how many of ``slots[lo:hi]`` there are, and the halves of their values."""
    for i in range(lo, hi):
        if i + AHEAD < hi:
            prefetch(table, code_row(codes, slots[i + AHEAD]))
        at, value = code_row(codes, slots[i]), np.uint64(values[slots[i]])
        table[at] += np.uint64(1)
        table[at + 1] += value & np.uint64(0xFFFFFFFF)
        table[at + 2] += value >> np.uint64(32)


def _extremes(slots: Any, lo: Any, hi: Any, codes: Any, values: Any, table: Any) -> None:
    """Find, by code, how many of ``slots[lo:hi]`` there are, the least complement and the greatest value.

    All words of `table` are 0 before: of the complements of values the greatest is that of the least.
    """
    for i in range(lo, hi):
        if i + AHEAD < hi:
            prefetch(table, code_row(codes, slots[i + AHEAD]))
        at, value = code_row(codes, slots[i]), np.uint64(values[slots[i]])
        table[at] += np.uint64(1)
        table[at + 1] = max(table[at + 1], ~value)
        table[at + 2] = max(table[at + 2], value)


@kernel(r_u8, r_u8, i64, i64, i64, w_u16)
def pair_codes(rows: Any, columns: Any, width: Any, lo: Any, hi: Any, out: Any) -> None:
    """Write row * width + column for slots [lo, hi); 0 where one of them is 0."""
    for slot in range(lo, hi):
        both = np.int64(rows[slot]) * width + np.int64(columns[slot])
        out[slot] = both if rows[slot] != 0 and columns[slot] != 0 else 0


def _tally(codes: Any, lo: Any, hi: Any, counts: Any) -> None:
    """Count the codes of slots [lo, hi)."""
    for slot in range(lo, hi):
        counts[codes[slot]] += 1


def _order(codes: Any, lo: Any, hi: Any, places: Any, out: Any) -> None:
    """Write the slots of [lo, hi) that have a code by it; ``places[code]`` says where the next one goes."""
    for slot in range(lo, hi):
        code = codes[slot]
        if code != 0:
            out[places[code]] = slot
            places[code] += 1


@kernel(r_u32, r_u16, i64, i64, w_i64, w_u32)
def order_lists(starts: Any, codes: Any, lo: Any, hi: Any, places: Any, out: Any) -> None:
    """Write the slots of [lo, hi) by each code of their lists (`_order`)."""
    for slot in range(lo, hi):
        for j in range(np.int64(starts[slot]), np.int64(starts[slot + 1])):
            out[places[codes[j]]] = slot
            places[codes[j]] += 1


tally8 = kernel(r_u8, i64, i64, w_i64)(_tally)
tally16 = kernel(r_u16, i64, i64, w_i64)(_tally)
order8 = kernel(r_u8, i64, i64, w_i64, w_u32)(_order)
order16 = kernel(r_u16, i64, i64, w_i64, w_u32)(_order)
fill8 = kernel(r_u8, r_i64, r_i64, r_i64, i64, i64, w_u32, w_u8, returns=i64)(_fill)
fill32 = kernel(r_u8, r_i64, r_i64, r_i64, i64, i64, w_u32, w_u32, returns=i64)(_fill)
_SPREAD = r_u8, r_i64, r_i64, r_i64, i64, i64, i64, i64, w_i64, w_i64, w_u32, w_u16
spread16 = kernel(*_SPREAD, w_u16, returns=i64)(_spread)
spread32 = kernel(*_SPREAD, w_u32, returns=i64)(_spread)
arrange16 = kernel(r_u16, r_u16, i64, i64, i64, i64, w_i64, w_u32, w_u16)(_arrange)
arrange32 = kernel(r_u16, r_u32, i64, i64, i64, i64, w_i64, w_u32, w_u32)(_arrange)
count8 = kernel(r_u32, i64, i64, r_u8, w_i64)(_count)
count16 = kernel(r_u32, i64, i64, r_u16, w_i64)(_count)
count32 = kernel(r_u32, i64, i64, r_u32, w_i64)(_count)
count_lists16 = kernel(r_u32, i64, i64, r_u32, r_u16, w_i64)(_count_lists)
count_lists32 = kernel(r_u32, i64, i64, r_u32, r_u32, w_i64)(_count_lists)
sum32 = kernel(r_u32, i64, i64, r_u32, r_u32, w_u64)(_sum)
sum64 = kernel(r_u32, i64, i64, r_u32, r_u64, w_u64)(_sum)
extremes32 = kernel(r_u32, i64, i64, r_u32, r_u32, w_u64)(_extremes)
extremes64 = kernel(r_u32, i64, i64, r_u32, r_u64, w_u64)(_extremes)
