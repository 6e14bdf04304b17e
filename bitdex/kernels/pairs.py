"""Radix grouping of (value, slot) pairs: from the columns of a dump to sorted runs of slots.

Pairs are sorted by value, then slot, by stable passes over 8-bit digits, least significant
first. Only bits that vary are looked at: slots that arrive ascending cost nothing, and
values that differ in a span of at most 32 bits travel with their slot in one word:

    packed = (value >> low) << 32 | slot        low = lowest bit that varies

Wider values travel beside their slots in two arrays. Either way a digit is named by its
position in the 96-bit number value << 32 | slot.
"""

from typing import Any

import numpy as np

from bitdex.kernels.jit import boolean, i64, kernel, r_i64, r_u32, r_u64, u64, w_i64, w_u32, w_u64

DIGIT_BITS = 8

_Digits = list[tuple[int, int]]


def _survey(values: Any, slots: Any, varying: Any) -> None:
    """Write the bits in which values differ, those in which slots differ, and whether slots ever descend."""
    first_value, first_slot = values[0], slots[0]
    value_bits = first_value ^ first_value
    slot_bits = first_slot ^ first_slot
    descents = 0
    for i in range(1, len(values)):
        value_bits |= values[i] ^ first_value
        slot_bits |= slots[i] ^ first_slot
        descents += slots[i] < slots[i - 1]
    varying[0] = np.uint64(value_bits)
    varying[1] = np.uint64(slot_bits)
    varying[2] = np.uint64(descents)


def _pack(values: Any, slots: Any, low: Any, mask: Any, packed: Any) -> None:
    """Put the masked value, moved down by `low` bits, above its slot."""
    for i in range(len(values)):
        value = (np.uint64(values[i]) & mask) >> low
        packed[i] = (value << np.uint64(32)) | np.uint64(slots[i])


survey32 = kernel(r_u32, r_u32, w_u64)(_survey)
survey64 = kernel(r_u64, r_u32, w_u64)(_survey)
pack32 = kernel(r_u32, r_u32, u64, u64, w_u64)(_pack)
pack64 = kernel(r_u64, r_u32, u64, u64, w_u64)(_pack)


@kernel(r_u64, u64, u64, w_i64, w_u64)
def scatter_packed(source: Any, shift: Any, mask: Any, counts: Any, out: Any) -> None:
    """Sort packed pairs, stably, by one digit."""
    counts[:] = 0
    for i in range(len(source)):
        counts[(source[i] >> shift) & mask] += 1
    total = 0
    for digit in range(len(counts)):
        counts[digit], total = total, total + counts[digit]
    for i in range(len(source)):
        digit = (source[i] >> shift) & mask
        at = counts[digit]
        counts[digit] = at + 1
        out[np.uint64(at)] = source[i]


@kernel(r_u64, r_u32, i64, u64, w_i64, w_u64, w_u32)
def scatter_wide(
    values: Any, slots: Any, shift: Any, mask: Any, counts: Any, out_values: Any, out_slots: Any
) -> None:
    """Sort pairs in two arrays, stably, by one digit of the slot (shift < 32) or of the value."""
    by_slot = shift < 32
    move = np.uint64(shift if by_slot else shift - 32)
    counts[:] = 0
    for i in range(len(values)):
        word = np.uint64(slots[i]) if by_slot else values[i]
        counts[(word >> move) & mask] += 1
    total = 0
    for digit in range(len(counts)):
        counts[digit], total = total, total + counts[digit]
    for i in range(len(values)):
        word = np.uint64(slots[i]) if by_slot else values[i]
        digit = (word >> move) & mask
        at = np.uint64(counts[digit])
        counts[digit] += 1
        out_values[at] = values[i]
        out_slots[at] = slots[i]


@kernel(r_u64, u64, u64, w_u64, w_u32)
def unpack(packed: Any, low: Any, constant: Any, values: Any, slots: Any) -> None:
    """Undo `pack`: give every value its constant bits back."""
    for i in range(len(packed)):
        values[i] = ((packed[i] >> np.uint64(32)) << low) | constant
        slots[i] = np.uint32(packed[i] & np.uint64(0xFFFFFFFF))


@kernel(r_u64, w_i64)
def count_packed(packed: Any, counts: Any) -> None:
    """Count the distinct values and the distinct pairs of sorted packed pairs."""
    values = pairs = 1
    for i in range(1, len(packed)):
        values += (packed[i] >> np.uint64(32)) != (packed[i - 1] >> np.uint64(32))
        pairs += packed[i] != packed[i - 1]
    counts[0] = values
    counts[1] = pairs


@kernel(r_u64, r_u32, w_i64)
def count_wide(values: Any, slots: Any, counts: Any) -> None:
    """Count the distinct values and the distinct pairs of sorted pairs."""
    distinct = pairs = 1
    for i in range(1, len(values)):
        changed = values[i] != values[i - 1]
        distinct += changed
        pairs += changed | (slots[i] != slots[i - 1])
    counts[0] = distinct
    counts[1] = pairs


@kernel(r_u64, u64, u64, w_u64, w_i64, w_u32)
def split_packed(packed: Any, low: Any, constant: Any, values: Any, offsets: Any, slots: Any) -> None:
    """Write each distinct value once, where its slots begin, and its distinct slots."""
    group = pair = 0
    for i in range(len(packed)):
        if i > 0 and packed[i] == packed[i - 1]:
            continue
        value = packed[i] >> np.uint64(32)
        if i == 0 or value != packed[i - 1] >> np.uint64(32):
            values[group] = (value << low) | constant
            offsets[group] = pair
            group += 1
        slots[pair] = np.uint32(packed[i] & np.uint64(0xFFFFFFFF))
        pair += 1
    offsets[group] = pair


@kernel(r_u64, r_u32, w_u64, w_i64, w_u32)
def split_wide(values: Any, slots: Any, out_values: Any, offsets: Any, out_slots: Any) -> None:
    """Write each distinct value once, where its slots begin, and its distinct slots."""
    group = pair = 0
    for i in range(len(values)):
        if i == 0 or values[i] != values[i - 1]:
            out_values[group] = values[i]
            offsets[group] = pair
            group += 1
        elif slots[i] == slots[i - 1]:
            continue
        out_slots[pair] = slots[i]
        pair += 1
    offsets[group] = pair


@kernel(r_u32, r_i64, r_i64, r_u32, w_u32)
def copy_groups(slots: Any, starts: Any, counts: Any, turn: Any, out: Any) -> None:
    """Copy groups of slots one after the other, in the order of `turn`."""
    filled = 0
    for i in range(len(turn)):
        start = starts[turn[i]]
        for step in range(counts[turn[i]]):
            out[filled + step] = slots[start + step]
        filled += counts[turn[i]]


@kernel(r_u32, r_i64, returns=boolean)
def groups_ascend(slots: Any, offsets: Any) -> Any:
    """Tell whether the slots of every group ascend without a repetition."""
    descents = 0
    for group in range(len(offsets) - 1):
        for i in range(offsets[group] + 1, offsets[group + 1]):
            descents += slots[i] <= slots[i - 1]
    return descents == 0


@kernel(r_u64, r_u32, r_u64, r_u32, w_u64, w_u32, returns=i64)
def subtract_sorted(values: Any, slots: Any, others: Any, other_slots: Any, out: Any, out_slots: Any) -> Any:
    """Write the sorted pairs that are not among other sorted pairs, each once; return how many."""
    j = filled = 0
    for i in range(len(values)):
        value, slot = values[i], slots[i]
        if i > 0 and value == values[i - 1] and slot == slots[i - 1]:
            continue
        while j < len(others) and (others[j] < value or (others[j] == value and other_slots[j] < slot)):
            j += 1
        if j == len(others) or others[j] != value or other_slots[j] != slot:
            out[filled] = value
            out_slots[filled] = slot
            filled += 1
    return filled


def _digits(value_bits: int, slot_bits: int) -> _Digits:
    """Cut the bits that vary into (shift, width), slots first; no digit holds bits of both."""
    return _cut(slot_bits, 0) + _cut(value_bits, 32)


def _cut(varying: int, base: int) -> _Digits:
    digits, at = [], 0
    while varying >> at:
        at += ((varying >> at) & -(varying >> at)).bit_length() - 1
        span = varying.bit_length() - at
        width = -(-span // -(-span // DIGIT_BITS))
        digits.append((base + at, width))
        at += width
    return digits


class _Sorted:
    """Sorted pairs, packed (`slots` is None) or wide, and what unpacks their values."""

    def __init__(self, values: np.ndarray, slots: np.ndarray):
        varying = np.zeros(3, np.uint64)
        (survey32 if values.dtype == np.uint32 else survey64)(values, slots, varying)
        value_bits, slot_bits, descents = (int(word) for word in varying)
        self.low = np.uint64((value_bits & -value_bits).bit_length() - 1 if value_bits else 0)
        span = value_bits.bit_length() - int(self.low)
        if not descents:
            slot_bits = 0
        self.slots: np.ndarray | None = None
        if span <= 32:
            self._sort_packed(values, slots, span, _digits(value_bits >> int(self.low), slot_bits))
        else:
            self._sort_wide(values, slots, _digits(value_bits, slot_bits))

    def _sort_packed(self, values: np.ndarray, slots: np.ndarray, span: int, digits: _Digits) -> None:
        mask = np.uint64(((1 << span) - 1) << int(self.low))
        self.constant = np.uint64(values[0]) & ~mask
        packed = np.empty(len(values), np.uint64)
        (pack32 if values.dtype == np.uint32 else pack64)(values, slots, self.low, mask, packed)
        spare = np.empty(len(values) if digits else 0, np.uint64)
        for shift, width in digits:
            counts = np.empty(1 << width, np.int64)
            scatter_packed(packed, np.uint64(shift), np.uint64((1 << width) - 1), counts, spare)
            packed, spare = spare, packed
        self.words = packed

    def _sort_wide(self, values: np.ndarray, slots: np.ndarray, digits: _Digits) -> None:
        words, spare_words = values, np.empty_like(values)
        low_words, spare_slots = slots, np.empty_like(slots)
        for step, (shift, width) in enumerate(digits):
            counts, mask = np.empty(1 << width, np.int64), np.uint64((1 << width) - 1)
            scatter_wide(words, low_words, shift, mask, counts, spare_words, spare_slots)
            if step == 0:
                words, low_words = np.empty_like(values), np.empty_like(slots)
            words, spare_words = spare_words, words
            low_words, spare_slots = spare_slots, low_words
        self.words, self.slots = words, low_words


def _checked(values: np.ndarray, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    wanted = np.uint32 if values.dtype == np.uint32 else np.uint64
    if len(values) != len(slots):
        raise ValueError(f"{len(values)} values but {len(slots)} slots")
    return np.ascontiguousarray(values, wanted), np.ascontiguousarray(slots, np.uint32)


def sort_pairs(values: np.ndarray, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return values (u64) and slots (u32) sorted by value, then slot; equal pairs stay.

    >>> [part.tolist() for part in sort_pairs(np.array([7, 5, 7], "u8"), np.array([2, 9, 1], "u4"))]
    [[5, 7, 7], [9, 1, 2]]
    """
    values, slots = _checked(values, slots)
    if not len(values):
        return np.empty(0, np.uint64), np.empty(0, np.uint32)
    done = _Sorted(values, slots)
    if done.slots is not None:
        return done.words, done.slots
    out = np.empty(len(values), np.uint64), np.empty(len(values), np.uint32)
    unpack(done.words, done.low, done.constant, *out)
    return out


def subtract_pairs(
    pairs: tuple[np.ndarray, np.ndarray], others: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs (values u64, slots u32) that are not among others; both as of `sort_pairs`.

    >>> one = np.array([5, 7, 7], "u8"), np.array([1, 1, 2], "u4")
    >>> [part.tolist() for part in subtract_pairs(one, (np.array([7], "u8"), np.array([1], "u4")))]
    [[5, 7], [1, 2]]
    """
    out = np.empty(len(pairs[0]), np.uint64), np.empty(len(pairs[0]), np.uint32)
    filled = subtract_sorted(*pairs, *others, *out)
    return out[0][:filled], out[1][:filled]


def group_pairs(values: np.ndarray, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Group pairs by value; slots ascend within a group and occur once.

    Parameters
    ----------
    values : ndarray of uint32 or uint64, shape (n,)
    slots : ndarray of uint32, shape (n,)
        Any order; ascending slots save the passes that would sort them.

    Returns
    -------
    values : ndarray of uint64, shape (k,)
        The distinct values, ascending.
    offsets : ndarray of int64, shape (k + 1,)
        Group i is ``slots[offsets[i]:offsets[i + 1]]``.
    slots : ndarray of uint32, shape (offsets[-1],)

    Examples
    --------
    >>> values, slots = np.array([7, 5, 7, 7], "u8"), np.array([2, 9, 1, 2], "u4")
    >>> [part.tolist() for part in group_pairs(values, slots)]
    [[5, 7], [0, 1, 3], [9, 1, 2]]
    """
    values, slots = _checked(values, slots)
    if not len(values):
        return np.empty(0, np.uint64), np.zeros(1, np.int64), np.empty(0, np.uint32)
    done, counts = _Sorted(values, slots), np.empty(2, np.int64)
    if done.slots is None:
        count_packed(done.words, counts)
    else:
        count_wide(done.words, done.slots, counts)
    groups, pairs = (int(count) for count in counts)
    out = np.empty(groups, np.uint64), np.empty(groups + 1, np.int64), np.empty(pairs, np.uint32)
    if done.slots is None:
        split_packed(done.words, done.low, done.constant, *out)
    else:
        split_wide(done.words, done.slots, *out)
    return out


def merge_groups(
    values: list[np.ndarray], offsets: list[np.ndarray], slots: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Join several results of `group_pairs` into one.

    Groups of equal value are appended in the order of the lists; only where their slots do
    not ascend then are the pairs sorted again.

    >>> first, second = group_pairs(np.array([7], "u8"), np.array([1], "u4")), group_pairs(
    ...     np.array([7, 5], "u8"), np.array([2, 2], "u4"))
    >>> [part.tolist() for part in merge_groups(*map(list, zip(first, second)))]
    [[5, 7], [0, 1, 3], [2, 1, 2]]
    """
    counts = np.concatenate([np.diff(part) for part in offsets])
    starts = np.cumsum(counts) - counts
    keys, turn = sort_pairs(np.concatenate(values), np.arange(len(counts), dtype=np.uint32))
    joined = np.empty(counts.sum(), np.uint32)
    copy_groups(np.concatenate(slots), starts, counts, turn, joined)
    ends = np.concatenate([[0], np.cumsum(counts[turn])])
    heads = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    merged = np.append(ends[heads], ends[-1])
    if groups_ascend(joined, merged):
        return keys[heads], merged, joined
    return group_pairs(np.repeat(keys[heads], np.diff(merged)), joined)
