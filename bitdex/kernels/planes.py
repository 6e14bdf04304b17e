"""Planes: the bits of codes of few values, and how many documents of a set have each, or each two of them.

    planes    chunk 0: bit p - 1 of all codes, 1,024 words; ... bit 0     chunk 1: ...

Of a chunk of the set the half without and the half with a bit are taken, of each of these the halves without
and with the next bit, and so on; what is empty is not gone into. The last three bits are counted at once.
Words are joined, no document is looked at.
"""

from typing import Any

import numpy as np

from bitdex.kernels.jit import device, i64, kernel, r_u8, r_u64, w_i64, w_u64
from bitdex.kernels.roaring import popcount
from bitdex.kernels.words import WORDS

LAST = 3  # bits that are counted at once


@kernel(r_u8, i64, i64, i64, w_u64)
def fill_planes(codes: Any, bits: Any, lo: Any, hi: Any, planes: Any) -> None:
    """Write the planes of chunks [lo, hi); slots behind the end of `codes` have code 0."""
    for chunk in range(lo, hi):
        for i in range(WORDS):
            slot = (chunk << 16) + 64 * i
            for bit in range(bits):
                word = np.uint64(0)
                for j in range(min(64, len(codes) - slot)):
                    one = np.uint64(codes[slot + j]) >> np.uint64(bits - 1 - bit)
                    word |= (one & np.uint64(1)) << np.uint64(j)
                planes[(chunk * bits + bit) * WORDS + i] = word


@device
def halve(above: Any, plane: Any, kept: Any, below: Any) -> Any:
    """Write the part of a mask that has a bit (`kept` 0), or has it not (all ones); return its size."""
    total = np.int64(0)
    for i in range(WORDS):
        word = above[i] & (plane[i] ^ kept)
        below[i] = word
        total += popcount(word)
    return total


@device
def eighth(mask: Any, one: Any, two: Any, three: Any, size: Any, code: Any, counts: Any) -> None:
    """Add how many slots of a mask, `size` in all, have each of the eight combinations of three bits.

    How many have some of the bits, whatever the others, tells how many have those and no others.
    """
    n1, n2, n3, n12, n13, n23, n123 = (
        np.int64(0),
        np.int64(0),
        np.int64(0),
        np.int64(0),
        np.int64(0),
        np.int64(0),
        np.int64(0),
    )
    for i in range(WORDS):
        a, b, c = mask[i] & one[i], mask[i] & two[i], mask[i] & three[i]
        n1 += popcount(a)
        n2 += popcount(b)
        n3 += popcount(c)
        n12 += popcount(a & b)
        n13 += popcount(a & c)
        n23 += popcount(b & c)
        n123 += popcount(a & b & c)
    counts[code] += size - n1 - n2 - n3 + n12 + n13 + n23 - n123
    counts[code + 1] += n3 - n13 - n23 + n123
    counts[code + 2] += n2 - n12 - n23 + n123
    counts[code + 3] += n23 - n123
    counts[code + 4] += n1 - n12 - n13 + n123
    counts[code + 5] += n13 - n123
    counts[code + 6] += n12 - n123
    counts[code + 7] += n123


@device
def count_chunk(
    rows: Any, row_levels: Any, columns: Any, levels: Any, places: Any, masks: Any, sizes: Any, counts: Any
) -> None:
    """Add the codes of the slots in the first mask to the counts.

    The planes of the first levels are in `rows`, the others in `columns`, each at its place.
    """
    code, level, last = np.int64(0), np.int64(0), levels - LAST
    while code < 1 << levels:
        while level < last and sizes[level] > 0:
            kept = np.uint64(0) if (code >> (levels - 1 - level)) & 1 else ~np.uint64(0)
            here, below = level * WORDS, (level + 1) * WORDS
            at = places[level]
            plane = rows[at : at + WORDS] if level < row_levels else columns[at : at + WORDS]
            sizes[level + 1] = halve(masks[here:below], plane, kept, masks[below : below + WORDS])
            level += 1
        if sizes[level] > 0:
            mask = masks[level * WORDS : (level + 1) * WORDS]
            x, y, z = places[last], places[last + 1], places[last + 2]
            one = rows[x : x + WORDS] if last < row_levels else columns[x : x + WORDS]
            two = rows[y : y + WORDS] if last + 1 < row_levels else columns[y : y + WORDS]
            three = rows[z : z + WORDS] if last + 2 < row_levels else columns[z : z + WORDS]
            eighth(mask, one, two, three, sizes[level], code, counts)
        code += 1 << (levels - level)  # behind all codes that begin so
        before, level = code - 1, np.int64(0)  # up to where the next code differs from the one before
        while level < last and (code ^ before) >> (levels - 1 - level) == 0:
            level += 1


@kernel(r_u64, i64, i64, r_u64, i64, i64, r_u64, i64, i64, w_u64, w_i64, w_i64, w_i64)
def count_planes(
    words: Any,
    lo: Any,
    hi: Any,
    rows: Any,
    row_bits: Any,
    row_levels: Any,
    columns: Any,
    column_bits: Any,
    column_levels: Any,
    masks: Any,
    sizes: Any,
    places: Any,
    counts: Any,
) -> None:
    """Count the slots of chunks [lo, hi) of a set (`words`) by their code in one or two sets of planes.

    Of the planes of each the last levels are looked at, of the columns' none or some, of both three at least.
    `counts`, by row code << column_levels | column code, is added to; `masks` has room for a chunk a level,
    `sizes` and `places` for a number.
    """
    for chunk in range(lo, hi):
        total = np.int64(0)
        for i in range(WORDS):
            word = words[chunk * WORDS + i]
            masks[i] = word
            total += popcount(word)
        sizes[0] = total
        for level in range(row_levels):
            places[level] = ((chunk + 1) * row_bits - row_levels + level) * WORDS
        for level in range(column_levels):
            places[row_levels + level] = ((chunk + 1) * column_bits - column_levels + level) * WORDS
        count_chunk(rows, row_levels, columns, row_levels + column_levels, places, masks, sizes, counts)
