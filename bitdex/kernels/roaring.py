"""The portable Roaring format: many sorted runs of slots to payloads, and payloads to slots.

    u32 cookie           12346, or 12347 | (n - 1) << 16 if any container is a run
    u32 n                only after cookie 12346
    u8  x ceil(n / 8)    only after cookie 12347: bit j set = container j is a run
    n x (u16 key, u16 count - 1)
    u32 x n  positions   only if n >= 4 or cookie 12346
    n containers         array:  count <= 4096    u16 x count, ascending
                         bitset: count > 4096     8192 bytes
                         run:    u16 runs, then (u16 start, u16 length - 1) x runs

A container holds the slots of one chunk, the 65,536 slots with the same high half. The kind
is the smallest one, with CRoaring's own rule (`run_optimize`), so sizes equal its sizes.
A reader walks containers in order and does not use the positions; every length is checked.
"""

from typing import Any

import numpy as np

from bitdex.kernels.jit import device, i64, kernel, r_i64, r_u8, r_u32, w_i64, w_u8, w_u32
from bitdex.kernels.memory import load16, load32, load64, store16, store32, store64

ARRAY, BITSET, RUN = 0, 1, 2
ARRAY_MAX = 4096
BITSET_BYTES = 8192
PLAIN_COOKIE, RUN_COOKIE = 12346, 12347

TRUNCATED, COOKIE, KEYS, ORDER, COUNT, TRAILING, ROOM = -1, -2, -3, -4, -5, -6, -7
FAULTS = {
    TRUNCATED: "the payload ends too early",
    COOKIE: "the cookie or the number of containers is wrong",
    KEYS: "the container keys do not ascend",
    ORDER: "the slots of a container do not ascend",
    COUNT: "a container does not hold as many slots as it says",
    TRAILING: "bytes follow the last container",
    ROOM: "the output does not have one place for every slot",
}


@device
def popcount(word: Any) -> Any:
    """Return the number of set bits of a u64."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    low = word & np.uint64(0x3333333333333333)
    word = low + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


@device
def lowest_bit(word: Any) -> Any:
    """Return the position of the lowest set bit of a u64 that is not 0."""
    return popcount((word & (~word + np.uint64(1))) - np.uint64(1))


@device
def smallest_kind(count: Any, runs: Any) -> Any:
    """Return the kind of container that CRoaring would choose."""
    run_bytes = 2 + 4 * runs
    if count <= ARRAY_MAX:
        return RUN if run_bytes < 2 + 2 * count else ARRAY
    return RUN if run_bytes < BITSET_BYTES else BITSET


@device
def container_bytes(kind: Any, count: Any, runs: Any) -> Any:
    """Return how many bytes a container takes."""
    if kind == RUN:
        return 2 + 4 * runs
    return 2 * count if kind == ARRAY else BITSET_BYTES


@device
def header_bytes(containers: Any, any_run: Any) -> Any:
    """Return how many bytes lie before the first container."""
    if not any_run:
        return 8 + 8 * containers
    return 4 + (containers + 7) // 8 + (8 if containers >= 4 else 4) * containers


@device
def write_cookie(containers: Any, any_run: Any, at: Any, out: Any) -> None:
    """Write what comes before the descriptors, with all run bits clear."""
    if any_run:
        store32(out, at, np.uint32(RUN_COOKIE | ((containers - 1) << 16)))
        for i in range((containers + 7) // 8):
            out[at + 4 + i] = 0
    else:
        store32(out, at, np.uint32(PLAIN_COOKIE))
        store32(out, at + 4, np.uint32(containers))


@device
def describe_container(
    key: Any, kind: Any, count: Any, index: Any, containers: Any, any_run: Any, start: Any, at: Any, out: Any
) -> None:
    """Enter the container at `at` in the header of the payload at `start`."""
    base = start + 8
    if any_run:
        base = start + 4 + (containers + 7) // 8
        if kind == RUN:
            out[start + 4 + (index >> 3)] |= np.uint8(1 << (index & 7))
    store16(out, base + 4 * index, np.uint16(key))
    store16(out, base + 4 * index + 2, np.uint16(count - 1))
    if containers >= 4 or not any_run:
        store32(out, base + 4 * (containers + index), np.uint32(at - start))


@device
def chunk_end(slots: Any, at: Any, stop: Any) -> Any:
    """Return where the chunk that begins at `at` ends: steps that double, then a binary search."""
    key = slots[at] >> 16
    high = min(stop, at + 65536)
    if slots[high - 1] >> 16 == key:
        return high
    step = np.int64(1)
    while slots[at + step] >> 16 == key:
        at += step
        step = min(2 * step, high - 1 - at)
    low, high = at + 1, at + step
    while low < high:
        middle = (low + high) >> 1
        if slots[middle] >> 16 == key:
            low = middle + 1
        else:
            high = middle
    return low


@device
def count_runs(slots: Any, first: Any, stop: Any) -> Any:
    """Return how many runs of consecutive slots there are."""
    runs = np.int64(1)
    for i in range(first + 1, stop):
        runs += np.uint32(slots[i] - slots[i - 1]) != np.uint32(1)
    return runs


@device
def write_bitset(slots: Any, first: Any, stop: Any, at: Any, out: Any) -> None:
    """Write a bitset container, a word at a time."""
    position = word = np.uint64(0)
    for i in range(first, stop):
        low = np.uint64(slots[i]) & np.uint64(0xFFFF)
        while low >> np.uint64(6) != position:
            store64(out, at + 8 * np.int64(position), word)
            position += np.uint64(1)
            word = np.uint64(0)
        word |= np.uint64(1) << (low & np.uint64(63))
    store64(out, at + 8 * np.int64(position), word)
    for rest in range(np.int64(position) + 1, BITSET_BYTES // 8):
        store64(out, at + 8 * rest, np.uint64(0))


@device
def write_runs(slots: Any, first: Any, stop: Any, runs: Any, at: Any, out: Any) -> None:
    """Write a run container."""
    store16(out, at, np.uint16(runs))
    at -= 2
    previous = np.int64(-2)
    for i in range(first, stop):
        slot = np.int64(slots[i])
        if slot != previous + 1:
            at += 4
            start = slot
            store16(out, at, np.uint16(slot & 0xFFFF))
        store16(out, at + 2, np.uint16(slot - start))
        previous = slot


@device
def write_container(slots: Any, first: Any, stop: Any, kind: Any, runs: Any, at: Any, out: Any) -> None:
    """Write the slots of one chunk as a container of the given kind."""
    if kind == BITSET:
        write_bitset(slots, first, stop, at, out)
    elif kind == RUN:
        write_runs(slots, first, stop, runs, at, out)
    else:
        for i in range(first, stop):
            store16(out, at + 2 * (i - first), np.uint16(slots[i] & 0xFFFF))


@kernel(r_u32, r_i64, i64, i64, w_i64, w_i64)
def measure(slots: Any, offsets: Any, lo: Any, hi: Any, sizes: Any, shapes: Any) -> None:
    """Size the payloads of runs [lo, hi); shape = containers << 1 | whether one of them is a run."""
    for run in range(lo, hi):
        at, stop = offsets[run], offsets[run + 1]
        containers = any_run = size = 0
        while at < stop:
            end = chunk_end(slots, at, stop)
            runs = count_runs(slots, at, end)
            kind = smallest_kind(end - at, runs)
            size += container_bytes(kind, end - at, runs)
            any_run |= kind == RUN
            containers += 1
            at = end
        sizes[run] = size + header_bytes(containers, any_run)
        shapes[run] = containers << 1 | any_run


@kernel(r_u32, r_i64, r_i64, i64, i64, r_i64, w_u8)
def write_payloads(slots: Any, offsets: Any, shapes: Any, lo: Any, hi: Any, starts: Any, out: Any) -> None:
    """Write the payloads of runs [lo, hi) where `starts` says."""
    for run in range(lo, hi):
        at, stop = offsets[run], offsets[run + 1]
        containers, any_run = shapes[run] >> 1, shapes[run] & 1
        write_cookie(containers, any_run, starts[run], out)
        place = starts[run] + header_bytes(containers, any_run)
        index = 0
        while at < stop:
            end = chunk_end(slots, at, stop)
            runs = count_runs(slots, at, end)
            kind = smallest_kind(end - at, runs)
            key = slots[at] >> 16
            describe_container(key, kind, end - at, index, containers, any_run, starts[run], place, out)
            write_container(slots, at, end, kind, runs, place, out)
            place += container_bytes(kind, end - at, runs)
            index += 1
            at = end


@device
def open_payload(data: Any, start: Any, stop: Any) -> Any:
    """Return (containers, run bits or -1, descriptors, first container); containers < 0 is a fault."""
    if start < 0 or stop > len(data) or start + 8 > stop:
        return np.int64(TRUNCATED), np.int64(0), start, start
    cookie = np.int64(load32(data, start))
    if cookie == PLAIN_COOKIE:
        containers, bits, descriptors = np.int64(load32(data, start + 4)), np.int64(-1), start + 8
    elif cookie & 0xFFFF == RUN_COOKIE:
        containers, bits = (cookie >> 16) + 1, start + 4
        descriptors = bits + (containers + 7) // 8
    else:
        return np.int64(COOKIE), np.int64(0), start, start
    if containers > 65536:
        return np.int64(COOKIE), np.int64(0), start, start
    first = start + header_bytes(containers, bits >= 0)
    if first > stop:
        return np.int64(TRUNCATED), np.int64(0), start, start
    return containers, bits, descriptors, first


@device
def container(data: Any, bits: Any, descriptors: Any, index: Any, at: Any, stop: Any) -> Any:
    """Return (key, kind, count, end) of the container at `at`; end < 0 is a fault."""
    key = np.int64(load16(data, descriptors + 4 * index))
    count = np.int64(load16(data, descriptors + 4 * index + 2)) + 1
    kind, runs = ARRAY if count <= ARRAY_MAX else BITSET, np.int64(0)
    if bits >= 0 and (data[bits + (index >> 3)] >> (index & 7)) & 1:
        kind = RUN
        if at + 2 > stop:
            return key, kind, count, np.int64(TRUNCATED)
        runs = np.int64(load16(data, at))
    end = at + container_bytes(kind, count, runs)
    if end > stop:
        end = np.int64(TRUNCATED)
    if index > 0 and key <= np.int64(load16(data, descriptors + 4 * index - 4)):
        end = np.int64(KEYS)
    return key, kind, count, end


@device
def count_payload(data: Any, start: Any, stop: Any) -> Any:
    """Return how many slots ``data[start:stop]`` says it holds, or the fault of its frame."""
    containers, bits, descriptors, at = open_payload(data, start, stop)
    if containers < 0:
        return containers
    total = np.int64(0)
    for index in range(containers):
        _, _, count, at = container(data, bits, descriptors, index, at, stop)
        if at < 0:
            return at
        total += count
    return total if at == stop else np.int64(TRAILING)


@kernel(r_u8, i64, i64, returns=i64)
def cardinality(data: Any, start: Any, stop: Any) -> Any:
    """Return how many slots ``data[start:stop]`` says it holds, or the fault of its frame."""
    return count_payload(data, start, stop)


@device
def read_array(data: Any, at: Any, count: Any, base: Any, filled: Any, out: Any) -> Any:
    """Append the slots of an array container; return how many there are now, or a fault."""
    previous = np.int64(-1)
    faults = np.int64(0)
    for i in range(count):
        low = np.int64(load16(data, at + 2 * i))
        faults += low <= previous
        previous = low
        out[filled + i] = base | low
    return np.int64(ORDER) if faults else filled + count


@device
def read_bitset(data: Any, at: Any, count: Any, base: Any, filled: Any, out: Any) -> Any:
    """Append the slots of a bitset container; return how many there are now, or a fault."""
    end = filled + count
    for position in range(BITSET_BYTES // 8):
        word = load64(data, at + 8 * position)
        if filled + popcount(word) > end:
            return np.int64(COUNT)
        while word != 0:
            out[filled] = base | (64 * position + lowest_bit(word))
            word &= word - np.uint64(1)
            filled += 1
    return filled if filled == end else np.int64(COUNT)


@device
def read_runs(data: Any, at: Any, count: Any, base: Any, filled: Any, out: Any) -> Any:
    """Append the slots of a run container; return how many there are now, or a fault."""
    end = filled + count
    previous = np.int64(-1)
    for run in range(np.int64(load16(data, at))):
        first = np.int64(load16(data, at + 2 + 4 * run))
        length = np.int64(load16(data, at + 4 + 4 * run)) + 1
        if first <= previous or first + length > 65536:
            return np.int64(ORDER)
        if filled + length > end:
            return np.int64(COUNT)
        for i in range(length):
            out[filled + i] = base | (first + i)
        filled += length
        previous = first + length - 1
    return filled if filled == end else np.int64(COUNT)


@device
def read_container(data: Any, kind: Any, at: Any, count: Any, base: Any, filled: Any, out: Any) -> Any:
    """Append the slots of a container, each `base` | low; return how many there are now, or a fault."""
    if kind == ARRAY:
        return read_array(data, at, count, base, filled, out)
    if kind == BITSET:
        return read_bitset(data, at, count, base, filled, out)
    return read_runs(data, at, count, base, filled, out)


@device
def read_payload(data: Any, start: Any, stop: Any, filled: Any, out: Any) -> Any:
    """Append the slots of ``data[start:stop]``, ascending; return how many there are now, or a fault."""
    containers, bits, descriptors, at = open_payload(data, start, stop)
    if containers < 0:
        return containers
    for index in range(containers):
        key, kind, count, end = container(data, bits, descriptors, index, at, stop)
        if end < 0:
            return end
        if filled + count > len(out):
            return np.int64(ROOM)
        filled = read_container(data, kind, at, count, key << 16, filled, out)
        if filled < 0:
            return filled
        at = end
    return filled if at == stop else np.int64(TRAILING)


@kernel(r_u8, i64, i64, w_u32, returns=i64)
def decode(data: Any, start: Any, stop: Any, out: Any) -> Any:
    """Write the slots of ``data[start:stop]``, ascending; return how many, or a fault."""
    filled = read_payload(data, start, stop, np.int64(0), out)
    return filled if filled < 0 or filled == len(out) else np.int64(ROOM)


def encode_runs(slots: np.ndarray, offsets: np.ndarray, room: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Encode each run ``slots[offsets[i]:offsets[i + 1]]`` (u32, ascending, distinct) as a payload.

    Returns the payloads, packed in one uint8 array, and the int64 offsets between them. `room` bytes
    before each payload, which belong to it, are left to the caller.

    >>> payloads, ends = encode_runs(np.array([1, 2, 7], "u4"), np.array([0, 2, 3]))
    >>> payloads[ends[1]:ends[2]].tobytes().hex()
    '3a3000000100000000000000100000000700'
    """
    count = len(offsets) - 1
    sizes, shapes = np.empty(count, np.int64), np.empty(count, np.int64)
    measure(slots, offsets, 0, count, sizes, shapes)
    ends = np.zeros(count + 1, np.int64)
    np.cumsum(sizes + room, out=ends[1:])
    payloads = np.empty(ends[-1], np.uint8)
    write_payloads(slots, offsets, shapes, 0, count, ends + room, payloads)
    return payloads, ends


def decode_slots(payload: np.ndarray) -> np.ndarray:
    """Return the slots (u32, ascending) of one payload (u8); ValueError if it is not one."""
    count = cardinality(payload, 0, len(payload))
    out = np.empty(max(count, 0), np.uint32)
    found = decode(payload, 0, len(payload), out) if count >= 0 else count
    if found < 0:
        raise ValueError(FAULTS[found])
    return out
