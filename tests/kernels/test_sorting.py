"""Bringing operations into key order, in blocks as threads do it, against Python's stable sort."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitdex.kernels import sorting

quick = settings(max_examples=25, derandomize=True, deadline=None)
keys = st.one_of(st.integers(0, 4), st.sampled_from([2**63, 2**64 - 1]), st.integers(0, 2**64 - 1))


def survey(wanted, edges):
    """Return AND, OR and whether all ascend, of the keys in blocks."""
    out = np.empty((len(edges) - 1, 3), np.uint64)
    for block, (lo, hi) in enumerate(pairwise(edges)):
        sorting.survey_keys(wanted, lo, hi, out[block])
    return int(np.bitwise_and.reduce(out[:, 0])), int(np.bitwise_or.reduce(out[:, 1])), bool(out[:, 2].all())


def ordered(wanted, blocks=1):
    """Return keys, numbers, kinds and sizes in key order."""
    count = len(wanted)
    places = np.arange(count, dtype=np.int64) * 8
    words = (np.arange(count) % 3 + 1).astype(np.uint64) | np.uint64(0xAB00)
    sizes = np.arange(count, dtype=np.int64) + 1000
    edges = [block * count // blocks for block in range(blocks + 1)]
    every, some, _ = survey(wanted, edges)
    shift = max(0, (every ^ some).bit_length() - sorting.BITS)
    counts = np.zeros((blocks, sorting.BUCKETS), np.int64)
    for block, (lo, hi) in enumerate(pairwise(edges)):
        sorting.count_buckets(wanted, lo, hi, shift, counts[block])
    ends = np.cumsum(counts.T.reshape(-1)).reshape(-1, blocks)
    cursors = np.ascontiguousarray(ends.T - counts)
    columns = np.empty(count, np.uint64), np.empty(count, np.int64), np.empty(count, np.int64)
    for block, (lo, hi) in reversed(list(enumerate(pairwise(edges)))):
        sorting.deal_out(wanted, places, sizes, words, lo, hi, shift, cursors[block], *columns)
    starts = np.concatenate(([0], ends[:, -1]))
    others, scratch = [np.empty_like(c) for c in columns], np.empty(sorting.BUCKETS, np.int64)
    middle = sorting.BUCKETS // 3
    for first, last in ((middle, sorting.BUCKETS), (0, middle)):
        sorting.sort_buckets(starts, first, last, shift, *columns, *others, scratch)
    sorted_keys, frames, sorted_sizes = columns
    return sorted_keys, frames // 8, frames & 7, sorted_sizes


def check(wanted, blocks):
    found, numbers, kinds, sizes = ordered(wanted, blocks)
    expected = np.argsort(wanted, kind="stable")
    assert np.array_equal(numbers, expected)
    assert np.array_equal(found, wanted[expected])
    assert np.array_equal(kinds, expected % 3 + 1) and np.array_equal(sizes, expected + 1000)


@quick
@given(st.lists(keys, min_size=1, max_size=90), st.sampled_from([1, 2, 3]))
def test_operations_come_into_a_stable_order(wanted, blocks):
    check(np.array(wanted, np.uint64), blocks)


@pytest.mark.parametrize("bits", [(0,), (40,), (0, 12), (0, 11, 22), (5, 30, 60), (3, 14, 25, 36, 47, 58)])
def test_order_by_any_digits(bits):
    """Digits in which a bucket agrees are skipped; odd and even numbers of passes end in the same columns."""
    rng = np.random.default_rng(0)
    wanted = np.full(3000, 0x0101_0101_0101_0101, np.uint64)
    for bit in bits:
        wanted ^= rng.integers(0, 5, 3000, np.uint64) << np.uint64(bit)
    check(wanted, 2)


@quick
@given(st.lists(keys, min_size=1, max_size=30), st.sampled_from([1, 2, 4]))
def test_a_survey_tells_what_differs_and_whether_it_ascends(wanted, blocks):
    edges = [block * len(wanted) // blocks for block in range(blocks + 1)]
    every, some, ascending = survey(np.array(wanted, np.uint64), edges)
    assert ascending == (wanted == sorted(wanted))
    for key in wanted:
        assert key & every == every and key | some == some
    assert every ^ some == 0 if len(set(wanted)) == 1 else every != some


def test_frames_are_packed_with_their_kinds():
    places, words = np.array([64, 96, 128]), np.array([0x101, 0x212, 0x303], np.uint64)
    frames = np.full(3, -1)
    sorting.pack_frames(places, words, 1, 3, frames)
    assert frames.tolist() == [-1, 96 | 2, 128 | 3]
