"""Words: sets of slots as plain words, one set joined to another, and slots listed from them.

    word i     u64, bit j: slot 64 i + j, from slot 0 on; 1,024 words are a chunk

Sets that are joined go equally far.
"""

from typing import Any

import numpy as np

from bitdex.kernels.jit import i64, kernel, r_u64, u64, w_i64, w_u32, w_u64
from bitdex.kernels.memory import add8
from bitdex.kernels.roaring import popcount

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
        total = np.int64(0)
        for i in range(chunk * WORDS, (chunk + 1) * WORDS):
            word = one[i] & (other[i] ^ flip)
            out[i] = word
            total += popcount(word)
        counts[chunk] = total


@kernel(r_u64, r_u64, i64, i64, returns=i64)
def meet(one: Any, other: Any, lo: Any, hi: Any) -> Any:
    """Return how many slots chunks [lo, hi) of two sets have in common."""
    total = np.int64(0)
    for i in range(lo * WORDS, hi * WORDS):
        total += popcount(one[i] & other[i])
    return total


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
