"""Bit layers: the values of a sort field to one Roaring payload per bit, and back.

Layer b holds the slots whose value has bit b set. Both ways go chunk by chunk (65,536
slots with the same high half), so that a chunk's values stay in the cache while all layers
pass over them:

    slots     0 1 2 3 | 65536 65537     present in two chunks
    values    5 1 4 0 |     1     2
    layer 0   0 1     | 65536
    layer 1           |       65537
    layer 2   0   2   |

What a layer says about slots without a value is a fault, not noise: layers and the
`present` bitmap are written together.
"""

from typing import Any

import numpy as np

from bitdex.kernels.jit import device, i64, kernel, r_i64, r_u8, r_u32, r_u64, w_i64, w_u8, w_u32, w_u64
from bitdex.kernels.memory import load16, load64
from bitdex.kernels.roaring import (
    ARRAY,
    BITSET,
    COUNT,
    FAULTS,
    ORDER,
    RUN,
    TRAILING,
    container,
    container_bytes,
    describe_container,
    header_bytes,
    open_payload,
    smallest_kind,
    write_container,
    write_cookie,
)

STRAY = -8
BLOCK = 16  # chunks a call, a million slots: short enough that Ctrl-C is answered
LAYER_FAULTS = FAULTS | {STRAY: "a layer holds slots that have no value"}


@kernel(r_u32, r_u64, r_i64, i64, i64, r_i64, w_i64)
def shape_layers(slots: Any, values: Any, chunks: Any, lo: Any, hi: Any, bits: Any, shapes: Any) -> None:
    """For chunks [lo, hi) and each bit, write the slots that have it: count << 32 | runs."""
    for chunk in range(lo, hi):
        first, stop = chunks[chunk], chunks[chunk + 1]
        for layer in range(len(bits)):
            bit = np.uint64(bits[layer])
            count = (values[first] >> bit) & np.uint64(1)
            joined = np.uint64(0)
            for i in range(first + 1, stop):
                count += (values[i] >> bit) & np.uint64(1)
                both = ((values[i] & values[i - 1]) >> bit) & np.uint64(1)
                joined += both & np.uint64(np.int64(slots[i]) - np.int64(slots[i - 1]) == 1)
            shapes[chunk * len(bits) + layer] = np.int64((count << np.uint64(32)) | (count - joined))


@kernel(r_i64, i64, w_i64, w_i64)
def size_layers(shapes: Any, layers: Any, sizes: Any, forms: Any) -> None:
    """Size each layer's payload; form = containers << 1 | whether one of them is a run."""
    for layer in range(layers):
        containers = any_run = size = 0
        for at in range(layer, len(shapes), layers):
            count, runs = shapes[at] >> 32, shapes[at] & 0xFFFFFFFF
            if count:
                kind = smallest_kind(count, runs)
                size += container_bytes(kind, count, runs)
                any_run |= kind == RUN
                containers += 1
        sizes[layer] = size + header_bytes(containers, any_run)
        forms[layer] = containers << 1 | any_run


@kernel(r_i64, r_i64, w_i64, w_i64, w_u8)
def begin_layers(forms: Any, starts: Any, indexes: Any, places: Any, out: Any) -> None:
    """Write each payload's cookie and note where its first container goes."""
    for layer in range(len(forms)):
        containers, any_run = forms[layer] >> 1, forms[layer] & 1
        write_cookie(containers, any_run, starts[layer], out)
        indexes[layer] = 0
        places[layer] = starts[layer] + header_bytes(containers, any_run)


@kernel(r_u32, r_u64, r_i64, i64, i64, r_i64, r_i64, r_i64, r_i64, w_i64, w_i64, w_u32, w_u8)
def write_layers(
    slots: Any,
    values: Any,
    chunks: Any,
    lo: Any,
    hi: Any,
    bits: Any,
    shapes: Any,
    forms: Any,
    starts: Any,
    indexes: Any,
    places: Any,
    chosen: Any,
    out: Any,
) -> None:
    """Append the containers of chunks [lo, hi) to every layer; `chosen` has room for 65,537 slots."""
    layers = len(bits)
    for chunk in range(lo, hi):
        first, stop = chunks[chunk], chunks[chunk + 1]
        for layer in range(layers):
            shape = shapes[chunk * layers + layer]
            count, runs = shape >> 32, shape & 0xFFFFFFFF
            if count == 0:
                continue
            bit = np.uint64(bits[layer])
            filled = np.uint64(0)
            for i in range(first, stop):
                chosen[filled] = slots[i]
                filled += (values[i] >> bit) & np.uint64(1)
            kind = smallest_kind(count, runs)
            containers, any_run = forms[layer] >> 1, forms[layer] & 1
            key, at = slots[first] >> 16, places[layer]
            describe_container(key, kind, count, indexes[layer], containers, any_run, starts[layer], at, out)
            write_container(chosen, 0, count, kind, runs, at, out)
            indexes[layer] += 1
            places[layer] += container_bytes(kind, count, runs)


@kernel(r_u8, r_i64, w_i64, returns=i64)
def open_layers(data: Any, offsets: Any, cursors: Any) -> Any:
    """Set a cursor (containers, run bits, descriptors, next container, its place) on each payload."""
    for layer in range(len(offsets) - 1):
        containers, bits, descriptors, first = open_payload(data, offsets[layer], offsets[layer + 1])
        if containers < 0:
            return containers
        cursors[5 * layer] = containers
        cursors[5 * layer + 1] = bits
        cursors[5 * layer + 2] = descriptors
        cursors[5 * layer + 3] = 0
        cursors[5 * layer + 4] = first
    return np.int64(0)


@device
def expand_container(data: Any, kind: Any, count: Any, at: Any, words: Any) -> Any:
    """Turn a container into 1,024 words; return 0 or a fault."""
    if kind == BITSET:
        for position in range(1024):
            words[position] = load64(data, at + 8 * position)
        return np.int64(0)
    words[:] = 0
    if kind == ARRAY:
        quarter = count >> 2  # four far from each other: the next of a word waits for the last
        for i in range(quarter):
            for part in range(4):
                low = np.uint64(load16(data, at + 2 * (part * quarter + i)))
                words[low >> np.uint64(6)] |= np.uint64(1) << (low & np.uint64(63))
        for i in range(4 * quarter, count):
            low = np.uint64(load16(data, at + 2 * i))
            words[low >> np.uint64(6)] |= np.uint64(1) << (low & np.uint64(63))
        return np.int64(0)
    for run in range(np.int64(load16(data, at))):
        next_low = np.int64(load16(data, at + 2 + 4 * run))
        last = next_low + np.int64(load16(data, at + 4 + 4 * run))
        if last > 65535:
            return np.int64(ORDER)
        while next_low <= last:
            width = min(64 - (next_low & 63), last - next_low + 1)
            mask = (~np.uint64(0) >> np.uint64(64 - width)) << np.uint64(next_low & 63)
            words[next_low >> 6] |= mask
            next_low += width
    return np.int64(0)


@device
def add_bit(slots: Any, first: Any, stop: Any, words: Any, bit: Any, values: Any) -> Any:
    """Add one bit to the values of the slots that `words` holds; return how many they are."""
    found = np.uint64(0)
    for i in range(first, stop):
        low = np.uint64(slots[i]) & np.uint64(0xFFFF)
        here = (words[low >> np.uint64(6)] >> (low & np.uint64(63))) & np.uint64(1)
        values[i] |= here << bit
        found += here
    return np.int64(found)


@kernel(r_u8, r_i64, r_i64, r_u32, r_i64, i64, i64, w_i64, w_u64, w_u64, returns=i64)
def read_layers(
    data: Any,
    offsets: Any,
    bits: Any,
    slots: Any,
    chunks: Any,
    lo: Any,
    hi: Any,
    cursors: Any,
    words: Any,
    values: Any,
) -> Any:
    """Add the layers' bits to the values of chunks [lo, hi); return 0 or a fault."""
    for chunk in range(lo, hi):
        first, stop = chunks[chunk], chunks[chunk + 1]
        wanted = np.int64(slots[first] >> 16)
        for layer in range(len(bits)):
            index, at = cursors[5 * layer + 3], cursors[5 * layer + 4]
            if index == cursors[5 * layer]:
                continue
            run_bits, descriptors = cursors[5 * layer + 1], cursors[5 * layer + 2]
            key, kind, count, end = container(data, run_bits, descriptors, index, at, offsets[layer + 1])
            if end < 0:
                return end
            if key < wanted:
                return np.int64(STRAY)
            if key > wanted:
                continue
            fault = expand_container(data, kind, count, at, words)
            if fault < 0:
                return fault
            found = add_bit(slots, first, stop, words, np.uint64(bits[layer]), values)
            if found != count:
                return np.int64(STRAY if found < count else COUNT)
            cursors[5 * layer + 3] = index + 1
            cursors[5 * layer + 4] = end
    return np.int64(0)


@kernel(r_i64, r_i64, returns=i64)
def close_layers(offsets: Any, cursors: Any) -> Any:
    """Return 0 if every payload was read to its end, or a fault."""
    for layer in range(len(offsets) - 1):
        if cursors[5 * layer + 3] < cursors[5 * layer]:
            return np.int64(STRAY)
        if cursors[5 * layer + 4] != offsets[layer + 1]:
            return np.int64(TRAILING)
    return np.int64(0)


def chunk_starts(slots: np.ndarray) -> np.ndarray:
    """Return where the chunks of ascending slots begin, and their number of slots at the end."""
    chunks = slots >> 16
    inner = np.flatnonzero(chunks[1:] != chunks[:-1]) + 1
    return np.array([0, *inner, len(slots)] if len(slots) else [0], np.int64)


def encode_layers(slots: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Encode values (u64) of slots (u32, ascending, distinct) as one payload per bit that occurs.

    Returns the bit numbers (int64), the payloads packed in one uint8 array, and the int64
    offsets between them.

    >>> bits, payloads, offsets = encode_layers(np.array([3, 9], "u4"), np.array([5, 4], "u8"))
    >>> bits.tolist()
    [0, 2]
    """
    union = int(np.bitwise_or.reduce(values, initial=0))
    bits = np.array([bit for bit in range(64) if union >> bit & 1], np.int64)
    chunks = chunk_starts(slots)
    blocks = [(lo, min(lo + BLOCK, len(chunks) - 1)) for lo in range(0, len(chunks) - 1, BLOCK)]
    shapes = np.empty((len(chunks) - 1) * len(bits), np.int64)
    for lo, hi in blocks:
        shape_layers(slots, values, chunks, lo, hi, bits, shapes)
    sizes, forms, indexes, places = (np.empty(len(bits), np.int64) for _ in range(4))
    size_layers(shapes, len(bits), sizes, forms)
    offsets = np.zeros(len(bits) + 1, np.int64)
    np.cumsum(sizes, out=offsets[1:])
    out, chosen = np.empty(offsets[-1], np.uint8), np.empty(65537, np.uint32)
    begin_layers(forms, offsets, indexes, places, out)
    for lo, hi in blocks:
        write_layers(
            slots, values, chunks, lo, hi, bits, shapes, forms, offsets, indexes, places, chosen, out
        )
    return bits, out, offsets


def decode_layers(
    bits: np.ndarray, payloads: np.ndarray, offsets: np.ndarray, slots: np.ndarray
) -> np.ndarray:
    """Rebuild the values (u64) of the slots that have one, the inverse of `encode_layers`.

    Raises ValueError if a payload is damaged or holds a slot outside `slots`.
    """
    cursors, words = np.empty(5 * len(bits), np.int64), np.empty(1024, np.uint64)
    values, chunks = np.zeros(len(slots), np.uint64), chunk_starts(slots)
    fault = open_layers(payloads, offsets, cursors)
    for lo in range(0, len(chunks) - 1, BLOCK):
        hi = min(lo + BLOCK, len(chunks) - 1)
        fault = fault or read_layers(payloads, offsets, bits, slots, chunks, lo, hi, cursors, words, values)
    fault = fault or close_layers(offsets, cursors)
    if fault:
        raise ValueError(LAYER_FAULTS[fault])
    return values
