"""Grouping frames into records and laying them out, against definitions in plain Python."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitdex.formats import data as data_format
from bitdex.formats import frame
from bitdex.kernels import records
from bitdex.kernels.checksum import crc32c
from tests.kernels.frame_store import IDENTITY, SEED, frames_at, packed, read_frames, u64

PUT, MERGE, DELETE = frame.PUT, frame.MERGE, frame.DELETE
quick = settings(max_examples=80, derandomize=True, deadline=None)
keys = st.one_of(st.integers(0, 4), st.sampled_from([2**63, 2**64 - 1]), st.integers(0, 2**64 - 1))
operations = st.lists(
    st.tuples(keys, st.sampled_from([PUT, MERGE, DELETE]), st.binary(max_size=20)), max_size=20
)
geometries = st.tuples(
    st.sampled_from([0, 1, 250, 2000]), st.sampled_from([0, 64, 200]), st.sampled_from([8, 32])
)


def ordered(wanted):
    order, scratch = np.empty(len(wanted), np.int64), np.empty(len(wanted), np.int64)
    flag = records.order_keys(wanted, order, scratch, np.empty(1 << 16, np.int64))
    return order, flag


@quick
@given(st.lists(keys, max_size=40))
def test_ordering_is_a_stable_sort(wanted):
    order, flag = ordered(u64(wanted))
    assert order.tolist() == sorted(range(len(wanted)), key=wanted.__getitem__)
    assert bool(flag) == (wanted == sorted(wanted))


@pytest.mark.parametrize("digits", [(0,), (3,), (0, 2), (1, 2, 3), (0, 1, 2, 3)])
def test_ordering_by_any_digits(digits):
    """Digits in which all keys agree are skipped; an odd and an even number of passes end in `order`."""
    rng = np.random.default_rng(0)
    wanted = np.full(500, 0x0101_0101_0101_0101, np.uint64)
    for digit in digits:
        wanted ^= rng.integers(0, 9, 500, np.uint64) << np.uint64(16 * digit)
    assert np.array_equal(ordered(wanted)[0], np.argsort(wanted, kind="stable"))


def cut(ops):
    """Return {key: numbers of the frames that count}, as the specification says it."""
    kept = {}
    for number, (key, kind, _) in enumerate(ops):
        if kind == DELETE:
            kept.pop(key, None)
        elif kind == PUT:
            kept[key] = [number]
        else:
            kept.setdefault(key, []).append(number)
    return kept


def cut_by_kernel(ops):
    wanted = u64(key for key, _, _ in ops)
    words = u64(frame.order(1 + i, kind) for i, (_, kind, _) in enumerate(ops))
    starts, kept = np.empty(len(ops) + 1, np.int64), np.empty(len(ops), np.int64)
    found = records.cut_records(wanted, ordered(wanted)[0], words, starts, kept)
    return wanted, words, starts[: found + 1], kept


@quick
@given(operations)
def test_records_are_cut_at_puts_and_deletes(ops):
    wanted, _, starts, kept = cut_by_kernel(ops)
    found = {int(wanted[kept[lo]]): kept[lo:hi].tolist() for lo, hi in pairwise(starts)}
    assert found == cut(ops)
    assert list(found) == sorted(found)


def allocated(length, headroom, minimum, alignment):
    """Return what a region gives: whole alignments with its header, in integers of any size."""
    wanted = max(length * (1000 + headroom) // 1000, minimum)
    return -(-(wanted + 8) // alignment) * alignment - 8


def lay_out(starts, kept, sizes, words, start, geometry):
    count = len(starts) - 1
    regions = np.empty(count + 1, np.int64)
    lengths, given_ = np.empty(count, np.uint64), np.empty(count, np.uint64)
    records.lay_out(starts, kept, sizes, words, start, *geometry, regions, lengths, given_)
    return regions, lengths, given_


@quick
@given(operations, geometries)
def test_regions_follow_each_other_and_hold_their_records(ops, geometry):
    _, words, starts, kept = cut_by_kernel(ops)
    sizes = np.array([len(payload) for _, _, payload in ops], np.int64)
    regions, lengths, given_ = lay_out(starts, kept, sizes, words, 64, geometry)
    at = 64
    for row, (key, numbers) in enumerate(sorted(cut(ops).items())):
        length = sum(int(frame.padded(sizes[i])) for i in numbers[:-1]) + 24 + int(sizes[numbers[-1]])
        room = allocated(length, *geometry)
        single = len(numbers) == 1 and ops[numbers[0]][1] == PUT
        assert (regions[row], lengths[row], given_[row]) == (at, length, room | single), key
        assert room >= length and (at + 8 + 24) % geometry[2] == 0
        at += 8 + room
    assert regions[-1] == at


@pytest.mark.parametrize("payload", [20_000_001, 2**24 + 1, 2**32 - 64 - 24, 123_456_789])
@pytest.mark.parametrize("headroom", [0, 1, 250])
def test_defect_25_sizes_are_integers(payload, headroom):
    """In float32, 20,000,001 bytes at ratio 1.0 got 20,000,000."""
    one = np.array([0, 1]), np.array([0]), np.array([payload]), u64([frame.order(1, PUT)])
    regions, lengths, given_ = lay_out(*one, 64, (headroom, 0, 8))
    assert int(lengths[0]) == payload + 24
    assert int(given_[0]) & ~7 == allocated(payload + 24, headroom, 0, 8) >= payload + 24
    assert regions[1] == 64 + 8 + (int(given_[0]) & ~7)


def region_header(at, room):
    check = crc32c(at.to_bytes(8, "little") + room.to_bytes(8, "little"), int(SEED))
    return np.array([(room, check)], data_format.REGION).tobytes()


@quick
@given(operations, geometries, st.data())
def test_copying_records_and_walking_them(ops, geometry, draw):
    _, words, starts, kept = cut_by_kernel(ops)
    log, places = frames_at([(key, payload, int(word)) for (key, _, payload), word in zip(ops, words)], 64)
    sizes = np.array([len(payload) for _, _, payload in ops], np.int64)
    regions, lengths, given_ = lay_out(starts, kept, sizes, words, 64, geometry)
    out = np.zeros(regions[-1], np.uint8)
    middle = draw.draw(st.integers(0, len(lengths)))
    for lo, hi in ((0, middle), (middle, len(lengths))):
        if lo < hi:
            part = out[regions[lo] : regions[hi]]
            assert records.copy_records(log, places, sizes, starts, kept, regions, lo, hi, SEED, part) == -1
    for row, (key, numbers) in enumerate(sorted(cut(ops).items())):
        at = int(regions[row])
        assert out[at : at + 8].tobytes() == region_header(at, int(regions[row + 1]) - at - 8)
        expected = [(key, ops[i][1], ops[i][2]) for i in numbers]
        assert read_frames(out, at + 8, at + 8 + int(lengths[row])) == expected
        assert not out[at + 8 + int(lengths[row]) : regions[row + 1]].any()
    found = walk(out, len(lengths))
    expected_keys = u64(sorted(cut(ops)))
    assert [column.tolist() for column in found] == [
        column.tolist() for column in (expected_keys, u64(regions[:-1] + 8), lengths, given_)
    ]


def walk(content, room, start=64, stop=None):
    columns = [np.empty(room, np.uint64) for _ in range(4)]
    stop = np.zeros(2, np.int64) if stop is None else stop
    aborted = np.empty(0, np.uint64)
    count = records.walk_regions(content, start, len(content), SEED, u64([2**40]), aborted, *columns, stop)
    assert stop[1] == 0
    return [column[:count] for column in columns]


def test_a_damaged_frame_of_the_log_is_not_copied():
    log, places = frames_at([(i, b"payload", frame.order(1, PUT)) for i in range(3)])
    log[places[1] + 24] ^= 1
    starts, kept, sizes = np.arange(4), np.arange(3), np.full(3, 7)
    regions, _, _ = lay_out(starts, kept, sizes, u64([1] * 3), 64, (0, 0, 8))
    out = np.zeros(regions[3] - 64, np.uint8)
    assert records.copy_records(log, places, sizes, starts, kept, regions, 0, 3, SEED, out) == places[1]


@quick
@given(st.lists(st.binary(max_size=40), max_size=8), geometries)
def test_written_records_are_one_put_each(payloads, geometry):
    values, offsets = packed(payloads)
    count = len(payloads)
    wanted, words = u64(range(5, 5 + count)), u64(frame.order(7 + i, PUT) for i in range(count))
    sizes = np.diff(offsets)
    regions, _, given_ = lay_out(np.arange(count + 1), np.arange(count), sizes, words, 64, geometry)
    out = np.zeros(regions[-1] - 64, np.uint8)
    records.write_records(wanted, values, offsets, words, regions, given_, 0, count, SEED, out)
    for row, payload in enumerate(payloads):
        at = int(regions[row]) - 64
        assert out[at : at + 8].tobytes() == region_header(at + 64, int(given_[row]) & ~7)
        whole = frame.encode(5 + row, payload, int(words[row]), IDENTITY)
        assert out[at + 8 : at + 8 + len(whole)].tobytes() == whole
    assert (given_ & np.uint64(1) == 1).all()


def test_a_walk_goes_on_where_the_output_was_full():
    payloads = [b"x" * i for i in range(5)]
    values, offsets = packed(payloads)
    words = u64([frame.order(1, PUT)] * 5)
    regions, _, given_ = lay_out(np.arange(6), np.arange(5), np.diff(offsets), words, 64, (0, 0, 8))
    content = np.zeros(regions[-1], np.uint8)
    records.write_records(u64(range(5)), values, offsets, words, regions, given_, 0, 5, SEED, content[64:])
    stop, at, found = np.zeros(2, np.int64), 64, []
    while at < len(content):
        found += walk(content, 2, at, stop)[0].tolist()
        at = int(stop[0])
    assert found == [0, 1, 2, 3, 4]
