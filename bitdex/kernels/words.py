"""Words: sets of slots as plain words, one set joined to another, and slots listed from them.

    word i     u64, bit j: slot 64 i + j, from slot 0 on; 1,024 words are a chunk

Sets that are joined go equally far. A set along an order has a bit for each position instead of each slot.
"""

from typing import Any

import numpy as np

from bitdex.kernels.jit import device, i64, kernel, r_i64, r_u32, r_u64, u64, w_i64, w_u32, w_u64
from bitdex.kernels.memory import add8
from bitdex.kernels.roaring import lowest_bit, popcount

WORDS = 1024  # of a chunk
AT_ONCE = 8  # slots of a byte that are written, whether they are there or not
_BITS = (np.arange(256)[:, np.newaxis] >> np.arange(8)) & 1
PLACES = (
    np.argsort(1 - _BITS, axis=1, kind="stable").astype(np.uint32).reshape(-1)
)  # by byte: which bits are set, then the others


@kernel(r_u64, r_u64, u64, i64, i64, w_u64, w_i64)
def join(one: Any, other: Any, flip: Any, lo: Any, hi: Any, out: Any, counts: Any) -> None:
    """Write what two sets share, chunks [lo, hi); with a `flip` of all ones, what the first has alone.

    `counts` receives how many slots each chunk has; `out` may be one of the two.
    """
    for chunk in range(lo, hi):
        first, stop, total = chunk * WORDS, (chunk + 1) * WORDS, np.int64(0)
        left, right, joined = one[first:stop], other[first:stop], out[first:stop]
        for i in range(WORDS):
            word = left[i] & (right[i] ^ flip)
            joined[i] = word
            total += popcount(word)
        counts[chunk] = total


@kernel(r_u64, r_u64, i64, i64, returns=i64)
def meet(one: Any, other: Any, lo: Any, hi: Any) -> Any:
    """Return how many slots chunks [lo, hi) of two sets have in common."""
    total = np.int64(0)
    left, right = one[lo * WORDS : hi * WORDS], other[lo * WORDS : hi * WORDS]
    for i in range(len(left)):
        total += popcount(left[i] & right[i])
    return total


@kernel(r_u64, r_u32, i64, i64, w_u64)
def arrange(words: Any, order: Any, lo: Any, hi: Any, out: Any) -> None:
    """Write words [lo, hi) of a set along an order of slots: bit j of word i tells of ``order[64 * i + j]``.

    Slots behind the words are not in the set; behind the order there are none.
    """
    for i in range(lo, hi):
        made = np.uint64(0)
        for j in range(min(64, len(order) - 64 * i)):
            slot = order[64 * i + j]
            at = np.int64(slot >> np.uint32(6))
            if at < len(words):
                made |= ((words[at] >> np.uint64(slot & np.uint32(63))) & np.uint64(1)) << np.uint64(j)
        out[i] = made


@device
def stretch_of(cuts: Any, at: Any) -> Any:
    """Return between which of ascending cuts a position lies: the last one up to it."""
    first, last = np.int64(0), np.int64(len(cuts) - 1)
    while last - first > 1:
        middle = (first + last) >> 1
        first, last = (middle, last) if cuts[middle] <= at else (first, middle)
    return first


@kernel(r_u64, r_u64, u64, r_i64, i64, i64, w_i64)
def count_between(one: Any, other: Any, flip: Any, cuts: Any, lo: Any, hi: Any, counts: Any) -> None:
    """Add up how many bits of words [lo, hi) of two sets (`join`) are set between each two cuts.

    Cuts are positions, ascending, the first of them 0.
    """
    at, stop = 64 * lo, min(64 * hi, cuts[len(cuts) - 1])
    first = stretch_of(cuts, at)
    while at < stop:
        while cuts[first + 1] <= at:
            first += 1
        end = min(stop, cuts[first + 1])
        total = np.int64(0)
        if at & 63:
            width = min(64 - (at & 63), end - at)
            word = one[at >> 6] & (other[at >> 6] ^ flip)
            total += popcount((word >> np.uint64(at & 63)) << np.uint64(64 - width))
            at += width
        left, right = one[at >> 6 : end >> 6], other[at >> 6 : end >> 6]
        for i in range(len(left)):
            total += popcount(left[i] & (right[i] ^ flip))
        if at >> 6 < end >> 6:
            at = end >> 6 << 6
        if at < end:
            word = one[at >> 6] & (other[at >> 6] ^ flip)
            total += popcount(word << np.uint64(64 - (end - at)))
        counts[first] += total
        at = end


@kernel(r_u64, i64, returns=i64)
def nth_bit(words: Any, n: Any) -> Any:
    """Return where the set bit is that n others come before, or -1."""
    for i in range(len(words)):
        here = popcount(words[i])
        if n < here:
            word = words[i]
            for _ in range(n):
                word &= word - np.uint64(1)
            return 64 * i + lowest_bit(word)
        n -= here
    return np.int64(-1)


@kernel(r_u64, i64, i64, w_u32, returns=i64)
def list_slots(words: Any, lo: Any, hi: Any, out: Any) -> Any:
    """Write the slots of chunks [lo, hi), ascending, with `AT_ONCE` places of room; return how many.

    Of each byte `AT_ONCE` are written, however few it has, without a branch; the next one's go over the rest.
    """
    ones, twos, fours = (
        np.uint64(0x5555555555555555),
        np.uint64(0x3333333333333333),
        np.uint64(0x0F0F0F0F0F0F0F0F),
    )
    filled = np.int64(0)
    for i in range(lo * WORDS, hi * WORDS):
        word = words[i]
        sizes = word - ((word >> np.uint64(1)) & ones)
        sizes = (sizes & twos) + ((sizes >> np.uint64(2)) & twos)
        sizes = ((sizes + (sizes >> np.uint64(4))) & fours) * np.uint64(0x0101010101010101)  # up to each byte
        before = np.uint64(0)
        for byte in range(8):
            first = np.uint32(64 * i + 8 * byte)
            bits = (word >> np.uint64(8 * byte)) & np.uint64(0xFF)
            add8(PLACES, AT_ONCE * np.int64(bits), first, out, filled + np.int64(before))
            before = (sizes >> np.uint64(8 * byte)) & np.uint64(0xFF)
        filled += np.int64(before)
    return filled
