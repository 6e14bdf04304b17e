"""Planes: the bits of codes of few values, and how many documents of a set have each, or each two of them.

    planes    chunk 0: bit p - 1 of all codes, 1,024 words; ... bit 0     chunk 1: ...

Of a chunk of the set the half without and the half with a bit are taken, of each of these the halves without
and with the next bit, and so on; what is empty is not gone into. Words are joined, no document is looked at.
"""

from typing import Any

import numpy as np

from bitdex.kernels.jit import device, i64, kernel, r_u8, r_u64, w_i64, w_u64
from bitdex.kernels.layers import expand_container
from bitdex.kernels.roaring import container, open_payload, popcount

WORDS = 1024  # of a chunk


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
def quarter(mask: Any, one: Any, other: Any) -> Any:
    """Return how many slots of a mask have one bit, the other, and both."""
    first, second, both = np.int64(0), np.int64(0), np.int64(0)
    for i in range(WORDS):
        here = mask[i] & one[i]
        first += popcount(here)
        second += popcount(mask[i] & other[i])
        both += popcount(here & other[i])
    return first, second, both


@device
def count_chunk(
    rows: Any, row_bits: Any, columns: Any, bits: Any, places: Any, masks: Any, sizes: Any, counts: Any
) -> None:
    """Add the codes of the slots in the first mask to the counts.

    The planes of the first levels are in `rows`, the others in `columns`, each at its place. The last two
    bits, of two at least, are counted together.
    """
    code, level = np.int64(0), np.int64(0)
    while code < 1 << bits:
        while level < bits - 2 and sizes[level] > 0:
            kept = np.uint64(0) if (code >> (bits - 1 - level)) & 1 else ~np.uint64(0)
            here, below, at = level * WORDS, (level + 1) * WORDS, places[level]
            plane = rows[at : at + WORDS] if level < row_bits else columns[at : at + WORDS]
            sizes[level + 1] = halve(masks[here:below], plane, kept, masks[below : below + WORDS])
            level += 1
        if sizes[level] > 0:
            here, at, last = level * WORDS, places[bits - 2], places[bits - 1]
            plane = rows[at : at + WORDS] if bits - 2 < row_bits else columns[at : at + WORDS]
            second = rows[last : last + WORDS] if bits - 1 < row_bits else columns[last : last + WORDS]
            one, other, both = quarter(masks[here : here + WORDS], plane, second)
            counts[code] += sizes[level] - one - other + both
            counts[code + 1] += other - both
            counts[code + 2] += one - both
            counts[code + 3] += both
        code += 1 << (bits - level)  # behind all codes that begin so
        before, level = code - 1, np.int64(0)  # up to where the next code differs from the one before
        while level < bits - 2 and (code ^ before) >> (bits - 1 - level) == 0:
            level += 1


@kernel(r_u8, i64, i64, r_u64, i64, r_u64, i64, w_u64, w_i64, w_i64, w_i64, returns=i64)
def count_planes(
    data: Any,
    lo: Any,
    hi: Any,
    rows: Any,
    row_bits: Any,
    columns: Any,
    column_bits: Any,
    masks: Any,
    sizes: Any,
    places: Any,
    counts: Any,
) -> Any:
    """Count the slots of containers [lo, hi) of a payload by their code in one or two sets of planes.

    `counts`, by row code << column_bits | column code, is added to; `masks` has room for a chunk a bit,
    `sizes` and `places` for a number a bit. Columns of no bits are left out. Slots in chunks without planes
    have code 0. Returns 0 or a fault.
    """
    stop, bits, chunks = np.int64(len(data)), row_bits + column_bits, len(rows) // (WORDS * row_bits)
    if column_bits > 0:
        chunks = min(chunks, len(columns) // (WORDS * column_bits))
    containers, runs, descriptors, at = open_payload(data, np.int64(0), stop)
    if containers < 0:
        return containers
    for index in range(min(hi, containers)):
        key, kind, count, end = container(data, runs, descriptors, index, at, stop)
        if end < 0:
            return end
        if index >= lo and key < chunks:
            fault = expand_container(data, kind, count, at, masks[:WORDS])
            if fault < 0:
                return fault
            sizes[0] = count
            for level in range(row_bits):
                places[level] = (key * row_bits + level) * WORDS
            for level in range(column_bits):
                places[row_bits + level] = (key * column_bits + level) * WORDS
            count_chunk(rows, row_bits, columns, bits, places, masks, sizes, counts)
        elif index >= lo:
            counts[0] += count
        at = end
    return np.int64(0)
