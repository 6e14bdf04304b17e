"""Bringing operations into key order: a stable radix sort in two steps, made for several threads.

The first step deals operations out to buckets by the highest digit in which the keys differ;
each block of operations has its own counts, so blocks side by side never write to one place.
The second sorts every bucket by the digits below, in the cache. What is sorted is not a
permutation but the operations themselves, so nothing has to be fetched from random places
afterwards: a key, its frame (the place in the log, a multiple of 8, with the kind in the low
bits) and the size of the payload.
"""

from typing import Any

import numpy as np

from bitdex.kernels.jit import device, i64, kernel, r_i64, r_u64, w_i64, w_u64
from bitdex.kernels.records import KIND_MASK

BITS = 11
BUCKETS = 1 << BITS
FEW = 24  # operations that are faster inserted than dealt out
_DIGIT = np.uint64(BUCKETS - 1)


@kernel(r_u64, i64, i64, w_u64)
def survey_keys(keys: Any, lo: Any, hi: Any, out: Any) -> None:
    """Report on ``keys[lo:hi]``: AND of all, OR of all, and 1 when they ascend from ``keys[lo - 1]`` on."""
    every, some = ~np.uint64(0), np.uint64(0)
    ascending = np.uint64(1)
    before = keys[max(lo - 1, 0)]
    for i in range(lo, hi):
        every &= keys[i]
        some |= keys[i]
        if keys[i] < before:
            ascending = np.uint64(0)
        before = keys[i]
    out[0], out[1], out[2] = every, some, ascending


@kernel(r_i64, r_u64, i64, i64, w_i64)
def pack_frames(places: Any, words: Any, lo: Any, hi: Any, frames: Any) -> None:
    """Fill ``frames[lo:hi]`` with the places and kinds of operations."""
    for i in range(lo, hi):
        frames[i] = places[i] | np.int64(words[i] & KIND_MASK)


@kernel(r_u64, i64, i64, i64, w_i64)
def count_buckets(keys: Any, lo: Any, hi: Any, shift: Any, counts: Any) -> None:
    """Count ``keys[lo:hi]`` by bucket; `counts` is zero before."""
    for i in range(lo, hi):
        counts[np.int64((keys[i] >> np.uint64(shift)) & _DIGIT)] += 1


@kernel(r_u64, r_i64, r_i64, r_u64, i64, i64, i64, w_i64, w_u64, w_i64, w_i64)
def deal_out(
    keys: Any,
    places: Any,
    sizes: Any,
    words: Any,
    lo: Any,
    hi: Any,
    shift: Any,
    cursors: Any,
    out: Any,
    frames: Any,
    out_sizes: Any,
) -> None:
    """Move the operations ``lo..hi`` to their buckets; `cursors` says where each bucket goes on."""
    for i in range(lo, hi):
        bucket = np.int64((keys[i] >> np.uint64(shift)) & _DIGIT)
        at = cursors[bucket]
        cursors[bucket] = at + 1
        out[at] = keys[i]
        frames[at] = places[i] | np.int64(words[i] & KIND_MASK)
        out_sizes[at] = sizes[i]


@device
def _insert(keys: Any, frames: Any, sizes: Any, lo: Any, hi: Any) -> None:
    for i in range(lo + 1, hi):
        key, frame, size = keys[i], frames[i], sizes[i]
        at = i
        while at > lo and keys[at - 1] > key:
            keys[at], frames[at], sizes[at] = keys[at - 1], frames[at - 1], sizes[at - 1]
            at -= 1
        keys[at], frames[at], sizes[at] = key, frame, size


@device
def _deal_digit(
    shift: Any,
    lo: Any,
    hi: Any,
    keys: Any,
    frames: Any,
    sizes: Any,
    counts: Any,
    to_keys: Any,
    to_frames: Any,
    to_sizes: Any,
) -> Any:
    """Sort ``lo..hi`` by one digit into the other columns; return False when all have the same digit."""
    for bucket in range(BUCKETS):
        counts[bucket] = 0
    for i in range(lo, hi):
        counts[np.int64((keys[i] >> np.uint64(shift)) & _DIGIT)] += 1
    if counts[np.int64((keys[lo] >> np.uint64(shift)) & _DIGIT)] == hi - lo:
        return False
    at = lo
    for bucket in range(BUCKETS):
        here = counts[bucket]
        counts[bucket] = at
        at += here
    for i in range(lo, hi):
        digit = np.int64((keys[i] >> np.uint64(shift)) & _DIGIT)
        at = counts[digit]
        counts[digit] = at + 1
        to_keys[at], to_frames[at], to_sizes[at] = keys[i], frames[i], sizes[i]
    return True


@kernel(r_i64, i64, i64, i64, w_u64, w_i64, w_i64, w_u64, w_i64, w_i64, w_i64)
def sort_buckets(
    starts: Any,
    first: Any,
    last: Any,
    bits: Any,
    keys: Any,
    frames: Any,
    sizes: Any,
    other_keys: Any,
    other_frames: Any,
    other_sizes: Any,
    counts: Any,
) -> None:
    """Sort each of the buckets ``first..last`` by the low `bits` of the keys, stably."""
    for bucket in range(first, last):
        lo, hi = starts[bucket], starts[bucket + 1]
        if hi - lo <= FEW:
            _insert(keys, frames, sizes, lo, hi)
            continue
        moved = False
        for shift in range(0, bits, BITS):
            if moved:
                dealt = _deal_digit(
                    shift, lo, hi, other_keys, other_frames, other_sizes, counts, keys, frames, sizes
                )
            else:
                dealt = _deal_digit(
                    shift, lo, hi, keys, frames, sizes, counts, other_keys, other_frames, other_sizes
                )
            moved = moved != dealt
        if moved:
            for i in range(lo, hi):
                keys[i], frames[i], sizes[i] = other_keys[i], other_frames[i], other_sizes[i]
