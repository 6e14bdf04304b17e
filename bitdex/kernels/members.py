"""Members: which slots of many Roaring payloads, or of an order, lie in one set, and their values.

The set is expanded, so that a slot is tested by one look at one word:

    table    -1    0    -1    1       for each chunk of 65,536 slots, as far as the set goes
    words        1,024      1,024     u64, bit j of word i: slot 64 i + j of the chunk
    ranks        1,024      1,024     how many slots of the set lie before each word

Threads take every other payload, or chunk; each writes to places of its own.
"""

from typing import Any

import numpy as np

from bitdex.kernels.jit import (
    boolean,
    device,
    i64,
    kernel,
    prange,
    r_i64,
    r_u8,
    r_u32,
    r_u64,
    u64,
    w_i64,
    w_u8,
    w_u16,
    w_u32,
    w_u64,
)
from bitdex.kernels.layers import expand_container
from bitdex.kernels.memory import load16, load64
from bitdex.kernels.roaring import (
    ARRAY,
    BITSET,
    ORDER,
    container,
    open_payload,
    popcount,
)
from bitdex.kernels.words import WORDS, stretch_of

BLOCK = 256  # steps along an order that are counted together


@kernel(r_u8, w_i64, w_u64, returns=i64)
def expand(data: Any, table: Any, words: Any) -> Any:
    """Expand a payload, with room in `table` and `words`; return how many chunks it has, or a fault."""
    table[:] = -1
    stop = np.int64(len(data))
    containers, bits, descriptors, at = open_payload(data, np.int64(0), stop)
    if containers < 0:
        return containers
    for index in range(containers):
        key, kind, count, end = container(data, bits, descriptors, index, at, stop)
        if end < 0:
            return end
        fault = expand_container(data, kind, count, at, words[WORDS * index : WORDS * (index + 1)])
        if fault < 0:
            return fault
        table[key] = index
        at = end
    return containers


@device
def in_array(data: Any, at: Any, count: Any, base: Any, words: Any) -> Any:
    """Return how many slots of an array container lie in the set."""
    total = np.uint64(0)
    for i in range(count):
        low = np.uint64(load16(data, at + 2 * i))
        total += (words[base + np.int64(low >> np.uint64(6))] >> (low & np.uint64(63))) & np.uint64(1)
    return np.int64(total)


@device
def in_runs(data: Any, at: Any, base: Any, words: Any) -> Any:
    """Return how many slots of a run container lie in the set, or a fault."""
    total = np.int64(0)
    for run in range(np.int64(load16(data, at))):
        low = np.int64(load16(data, at + 2 + 4 * run))
        last = low + np.int64(load16(data, at + 4 + 4 * run))
        if last > 65535:
            return np.int64(ORDER)
        while low <= last:
            width = min(64 - (low & 63), last - low + 1)
            mask = (~np.uint64(0) >> np.uint64(64 - width)) << np.uint64(low & 63)
            total += popcount(words[base + (low >> 6)] & mask)
            low += width
    return total


@device
def count_in(data: Any, start: Any, stop: Any, table: Any, words: Any) -> Any:
    """Return how many slots of the payload ``data[start:stop]`` lie in the set, or a fault."""
    containers, bits, descriptors, at = open_payload(data, start, stop)
    if containers < 0:
        return containers
    total = np.int64(0)
    for index in range(containers):
        key, kind, count, end = container(data, bits, descriptors, index, at, stop)
        if end < 0:
            return end
        if key >= len(table):
            return total
        if table[key] >= 0:
            base = WORDS * table[key]
            if kind == ARRAY:
                total += in_array(data, at, count, base, words)
            elif kind == BITSET:
                for i in range(WORDS):
                    total += popcount(load64(data, at + 8 * i) & words[base + i])
            else:
                found = in_runs(data, at, base, words)
                if found < 0:
                    return found
                total += found
        at = end
    return total


@kernel(r_u8, r_i64, r_i64, i64, i64, i64, r_i64, r_u64, w_i64, parallel=True)
def count_members(
    data: Any,
    starts: Any,
    stops: Any,
    lo: Any,
    hi: Any,
    threads: Any,
    table: Any,
    words: Any,
    counts: Any,
) -> None:
    """Count, for payloads [lo, hi), ``data[starts[i]:stops[i]]``, the slots in the set, or a fault."""
    for thread in prange(threads):
        for i in range(lo + thread, hi, threads):
            counts[i] = count_in(data, starts[i], stops[i], table, words)


@device
def list_word(word: Any, here: Any, rank: Any, filled: Any, out: Any) -> Any:
    """Append the ranks of the slots of `word` in the word `here` of the set; return how many now."""
    while word != 0:
        below = (word & (~word + np.uint64(1))) - np.uint64(1)
        out[filled] = rank + popcount(here & below)
        filled += 1
        word &= word - np.uint64(1)
    return filled


@device
def list_container(
    data: Any, kind: Any, at: Any, count: Any, base: Any, words: Any, ranks: Any, filled: Any, out: Any
) -> Any:
    """Append the ranks of a container's slots in the set; return how many there are now."""
    if kind == BITSET:
        for i in range(WORDS):
            here = words[base + i]
            filled = list_word(load64(data, at + 8 * i) & here, here, ranks[base + i], filled, out)
    elif kind == ARRAY:
        for i in range(count):
            low = np.int64(load16(data, at + 2 * i))
            here = words[base + (low >> 6)]
            bit = np.uint64(1) << np.uint64(low & 63)
            if here & bit:
                out[filled] = ranks[base + (low >> 6)] + popcount(here & (bit - np.uint64(1)))
                filled += 1
    else:
        for run in range(np.int64(load16(data, at))):
            low = np.int64(load16(data, at + 2 + 4 * run))
            last = low + np.int64(load16(data, at + 4 + 4 * run))
            while low <= last:
                width = min(64 - (low & 63), last - low + 1)
                mask = (~np.uint64(0) >> np.uint64(64 - width)) << np.uint64(low & 63)
                here = words[base + (low >> 6)]
                filled = list_word(here & mask, here, ranks[base + (low >> 6)], filled, out)
                low += width
    return filled


@kernel(r_u8, r_i64, r_i64, i64, i64, i64, r_i64, r_u64, r_i64, r_i64, w_u32, parallel=True)
def list_members(
    data: Any,
    starts: Any,
    stops: Any,
    lo: Any,
    hi: Any,
    threads: Any,
    table: Any,
    words: Any,
    ranks: Any,
    places: Any,
    out: Any,
) -> None:
    """Write, for payloads [lo, hi) that were counted, the ranks of their slots in the set."""
    for thread in prange(threads):
        for i in range(lo + thread, hi, threads):
            containers, bits, descriptors, at = open_payload(data, starts[i], stops[i])
            filled = places[i]
            for index in range(containers):
                key, kind, count, end = container(data, bits, descriptors, index, at, stops[i])
                if key >= len(table):
                    break
                if table[key] >= 0:
                    base = WORDS * table[key]
                    filled = list_container(data, kind, at, count, base, words, ranks, filled, out)
                at = end


@device
def is_member(slot: Any, table: Any, words: Any) -> Any:
    """Return 1 if a slot lies in the set, else 0 (u64)."""
    chunk = np.int64(slot >> 16)
    if chunk >= len(table) or table[chunk] < 0:
        return np.uint64(0)
    low = np.uint64(slot) & np.uint64(0xFFFF)
    word = words[WORDS * table[chunk] + np.int64(low >> np.uint64(6))]
    return (word >> (low & np.uint64(63))) & np.uint64(1)


@kernel(r_u32, i64, i64, i64, i64, r_i64, r_u64, returns=i64)
def nth_member(order: Any, start: Any, stop: Any, step: Any, n: Any, table: Any, words: Any) -> Any:
    """Return where from `start` on, before `stop`, the slot of the set is that n others come before, or -1.

    A step of 1 goes up in the order, -1 down.
    """
    at = start
    while at != stop:
        size = min(BLOCK, abs(stop - at))
        here = np.int64(0)
        for i in range(size):
            here += np.int64(is_member(order[at + i * step], table, words))
        if n < here:
            break
        n -= here
        at += size * step
    while at != stop:
        if is_member(order[at], table, words):
            if n == 0:
                return at
            n -= 1
        at += step
    return np.int64(-1)


@kernel(r_u32, r_i64, i64, i64, r_u64, w_i64)
def count_stretches(order: Any, cuts: Any, lo: Any, hi: Any, words: Any, counts: Any) -> None:
    """Add up how many slots of ``order[lo:hi]`` lie in the set, by the stretch between two cuts.

    `words` holds the set from slot 0 on, as far as there are slots in the order; lo and hi lie between the
    first cut and the last.
    """
    first = stretch_of(cuts, lo)
    while lo < hi:
        stop = min(hi, cuts[first + 1])
        total = np.uint64(0)
        part = order[lo:stop]
        for i in range(len(part)):
            slot = part[i]
            total += (words[slot >> np.uint32(6)] >> np.uint64(slot & np.uint32(63))) & np.uint64(1)
        counts[first] += np.int64(total)
        lo = max(lo, stop)
        first += 1


def _total(words: Any, keys: Any, values: Any, threads: Any, out: Any) -> None:
    """Write, for each thread, count, sums of the low and high halves, least and greatest of the values.

    The set is ``words`` of the chunks `keys`; ``values[slot]`` is that of a slot, with room for whole words.
    """
    for thread in prange(threads):
        count, low, high = np.uint64(0), np.uint64(0), np.uint64(0)
        least, greatest = ~np.uint64(0), np.uint64(0)
        for chunk in range(thread, len(keys), threads):
            for i in range(WORDS):
                word, slot = words[WORDS * chunk + i], (keys[chunk] << 16) + 64 * i
                if word == 0:
                    continue
                count += np.uint64(popcount(word))
                for j in range(64):  # without a branch: the compiler makes vectors of it
                    value = np.uint64(values[slot + j])
                    kept = np.uint64(0) - ((word >> np.uint64(j)) & np.uint64(1))
                    low += value & kept & np.uint64(0xFFFFFFFF)
                    high += (value & kept) >> np.uint64(32)
                    least = min(least, value | ~kept)
                    greatest = max(greatest, value & kept)
        out[5 * thread] = count
        out[5 * thread + 1] = low
        out[5 * thread + 2] = high
        out[5 * thread + 3] = least
        out[5 * thread + 4] = greatest


@device
def bin_of(value: Any, edges: Any, shift: Any, table: Any, fine: Any) -> Any:
    """Return which bin ``[edges[i], edges[i + 1])`` a value lies in, or -1.

    A value, edges[0] subtracted and shifted right, is n: it lies in one of the bins from ``table[n]`` to
    ``table[n + 1]``, both included. They are two at most if the table is `fine`.
    """
    if value < edges[0] or value >= edges[len(edges) - 1]:
        return np.int64(-1)
    n = (value - edges[0]) >> shift
    first, last = table[n], table[n + np.uint64(1)]
    if fine:
        return first + np.int64(value >= edges[first + 1])
    while first < last:
        middle = (first + last + 1) >> 1
        above = value < edges[middle]
        first, last = (first, middle - 1) if above else (middle, last)
    return first


def _bin(
    slots: Any, lo: Any, hi: Any, values: Any, edges: Any, shift: Any, table: Any, fine: Any, counts: Any
) -> None:
    """Count the values of ``slots[lo:hi]`` in each bin (`bin_of`)."""
    for i in range(lo, hi):
        at = bin_of(np.uint64(values[slots[i]]), edges, shift, table, fine)
        if at >= 0:
            counts[at] += 1


def _code(
    slots: Any, lo: Any, hi: Any, values: Any, edges: Any, shift: Any, table: Any, fine: Any, codes: Any
) -> None:
    """Write the bins of ``slots[lo:hi]`` (`bin_of`) as codes, from 1 on; 0 outside of all."""
    for i in range(lo, hi):
        codes[slots[i]] = bin_of(np.uint64(values[slots[i]]), edges, shift, table, fine) + 1


total32 = kernel(r_u64, r_i64, r_u32, i64, w_u64, parallel=True)(_total)
total64 = kernel(r_u64, r_i64, r_u64, i64, w_u64, parallel=True)(_total)
bin32 = kernel(r_u32, i64, i64, r_u32, r_u64, u64, r_i64, boolean, w_i64)(_bin)
bin64 = kernel(r_u32, i64, i64, r_u64, r_u64, u64, r_i64, boolean, w_i64)(_bin)
_CODE = r_u64, u64, r_i64, boolean
code8_32 = kernel(r_u32, i64, i64, r_u32, *_CODE, w_u8)(_code)
code8_64 = kernel(r_u32, i64, i64, r_u64, *_CODE, w_u8)(_code)
code16_32 = kernel(r_u32, i64, i64, r_u32, *_CODE, w_u16)(_code)
code16_64 = kernel(r_u32, i64, i64, r_u64, *_CODE, w_u16)(_code)
