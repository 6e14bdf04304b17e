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
    """Return keys, starts, frames (ten times their number, and the kind) and sizes of the records."""
    order = sorted(range(len(ops)), key=lambda i: ops[i][0])
    frames = np.array([80 * i | ops[i][1] for i in order], np.int64)
    sizes = np.array([len(ops[i][2]) for i in order], np.int64)
    found, starts = np.empty(len(ops), np.uint64), np.empty(len(ops) + 1, np.int64)
    kept, kept_sizes = np.empty_like(frames), np.empty_like(sizes)
    count = records.cut_records(u64(ops[i][0] for i in order), frames, sizes, found, starts, kept, kept_sizes)
    starts = starts[: count + 1]
    return found[:count], starts, kept[: starts[-1]], kept_sizes[: starts[-1]]


@quick
@given(operations)
def test_records_are_cut_at_puts_and_deletes(ops):
    wanted, starts, kept, sizes = cut_by_kernel(ops)
    found = {int(key): (kept[lo:hi] // 80).tolist() for key, (lo, hi) in zip(wanted, pairwise(starts))}
    assert found == cut(ops)
    assert list(found) == sorted(found)
    assert sizes.tolist() == [len(ops[i][2]) for numbers in found.values() for i in numbers]
    assert (kept & 7).tolist() == [ops[i][1] for numbers in found.values() for i in numbers]


def allocated(length, headroom, minimum, alignment):
    """Return what a region gives: whole alignments with its header, in integers of any size.

    The greatest below the limit where headroom goes beyond it, None where the record does.
    """
    rooms = [
        -(-(wanted + 8) // alignment) * alignment - 8
        for wanted in (length, max(length * (1000 + headroom) // 1000, minimum))
    ]
    if rooms[0] > data_format.MAX_ALLOCATED:
        return None
    return min(rooms[1], (data_format.MAX_ALLOCATED + 8) // alignment * alignment - 8)


def lay_out(starts, frames, sizes, start, geometry):
    """Return regions, lengths and allocations with the flag; None where a region would be too long."""
    count = len(starts) - 1
    regions, extents = np.empty(count + 1, np.int64), np.empty(count, np.uint64)
    bad = records.lay_out(starts, frames, sizes, start, *geometry, regions, extents)
    return None if bad >= 0 else (regions, extents & np.uint64(2**32 - 1), extents >> np.uint64(32))


def one_each(payloads, start, geometry):
    """Lay out one PUT a record."""
    count = len(payloads)
    sizes = np.array([len(payload) for payload in payloads], np.int64)
    return lay_out(np.arange(count + 1), np.full(count, PUT), sizes, start, geometry)


@quick
@given(operations, geometries)
def test_regions_follow_each_other_and_hold_their_records(ops, geometry):
    _, starts, kept, sizes = cut_by_kernel(ops)
    regions, lengths, given_ = lay_out(starts, kept, sizes, 64, geometry)
    at = 64
    for row, (key, numbers) in enumerate(sorted(cut(ops).items())):
        payloads = [len(ops[i][2]) for i in numbers]
        length = sum(int(frame.padded(size)) for size in payloads[:-1]) + 24 + payloads[-1]
        room = allocated(length, *geometry)
        single = len(numbers) == 1 and ops[numbers[0]][1] == PUT
        assert (regions[row], lengths[row], given_[row]) == (at, length, room | single), key
        assert room >= length and (at + 8 + 24) % geometry[2] == 0
        at += 8 + room
    assert regions[-1] == at


@pytest.mark.parametrize("payload", [20_000_001, 2**24 + 1, 2**32 - 128 - 24, 123_456_789])
@pytest.mark.parametrize("headroom", [0, 1, 250])
def test_defect_25_sizes_are_integers(payload, headroom):
    """In float32, 20,000,001 bytes at ratio 1.0 got 20,000,000."""
    laid = lay_out(np.array([0, 1]), np.array([PUT]), np.array([payload]), 64, (headroom, 0, 8))
    room = allocated(payload + 24, headroom, 0, 8)
    if room is None:
        assert laid is None
        return
    regions, lengths, given_ = laid
    assert int(lengths[0]) == payload + 24
    assert int(given_[0]) & ~7 == room >= payload + 24
    assert regions[1] == 64 + 8 + room


@pytest.mark.parametrize("alignment", [8, 16, 32])
@pytest.mark.parametrize("payload", [80 << 20, 3_500_000_000, frame.MAX_PAYLOAD])
def test_headroom_gives_way_where_a_region_would_be_too_long(payload, alignment):
    """A value that was accepted could never be compacted: nor could the log that it was in."""
    for headroom in (0, 250, 59_000):
        laid = lay_out(np.array([0, 1]), np.array([PUT]), np.array([payload]), 64, (headroom, 0, alignment))
        room = int(laid[2][0]) & ~7
        assert room == allocated(payload + 24, headroom, 0, alignment) <= data_format.MAX_ALLOCATED
        assert room >= payload + 24 and (room + 8) % alignment == 0
    sizes = np.array([payload, frame.MAX_PAYLOAD - payload + 100])  # two frames of one record
    kinds, geometry = np.array([PUT, frame.MERGE]), (0, 0, alignment)
    assert lay_out(np.array([0, 2]), kinds, sizes, 64, geometry) is None


def region_header(at, room):
    check = crc32c(at.to_bytes(8, "little") + room.to_bytes(8, "little"), int(SEED))
    return np.array([(room, check)], data_format.REGION).tobytes()


@quick
@given(operations, geometries, st.data())
def test_copying_records_and_walking_them(ops, geometry, draw):
    wanted, starts, kept, sizes = cut_by_kernel(ops)
    log, places = frames_at([(key, payload, frame.order(1, kind)) for key, kind, payload in ops], 64)
    kept = places[kept // 80] | kept & 7
    base = draw.draw(st.sampled_from([64, 4096]))
    regions, lengths, given_ = lay_out(starts, kept, sizes, 0, geometry)
    out = np.full(base + regions[-1], 0xAA, np.uint8)
    middle = draw.draw(st.integers(0, len(lengths)))
    for lo, hi in ((0, middle), (middle, len(lengths))):
        if lo < hi:
            part = out[base + regions[lo] : base + regions[hi]]
            source = (log, wanted, starts, kept, sizes, regions)
            assert records.copy_records(*source, base, lo, hi, SEED, part) == -1
    for row, (key, numbers) in enumerate(sorted(cut(ops).items())):
        at, end = base + int(regions[row]), base + int(regions[row + 1])
        assert out[at : at + 8].tobytes() == region_header(at, end - at - 8)
        expected = [(key, ops[i][1], ops[i][2]) for i in numbers]
        assert read_frames(out, at + 8, at + 8 + int(lengths[row])) == expected
        assert not out[at + 8 + int(lengths[row]) : end].any()
    found = walk(out, len(lengths), base)
    expected_keys = u64(sorted(cut(ops)))
    assert [column.tolist() for column in found] == [
        column.tolist() for column in (expected_keys, u64(base + regions[:-1] + 8), lengths, given_)
    ]


def walk(content, room, start=64, stop=None):
    columns = [np.empty(room, np.uint64) for _ in range(4)]
    stop = np.zeros(2, np.int64) if stop is None else stop
    aborted = np.empty(0, np.uint64)
    count = records.walk_regions(content, start, len(content), SEED, u64([2**40]), aborted, *columns, stop)
    assert stop[1] == 0
    return [column[:count] for column in columns]


@pytest.mark.parametrize("byte", [0, 4, 8, 16, 24, 30])
def test_a_damaged_frame_of_the_log_is_not_copied(byte):
    log, places = frames_at([(i, b"payload", frame.order(1, PUT)) for i in range(3)])
    log[places[1] + byte] ^= 1
    frames, sizes = places | PUT, np.full(3, 7)
    regions, _, _ = lay_out(np.arange(4), frames, sizes, 0, (0, 0, 8))
    out = np.zeros(regions[3], np.uint8)
    source = (log, u64(range(3)), np.arange(4), frames, sizes, regions)
    assert records.copy_records(*source, 64, 0, 3, SEED, out) == places[1]


@pytest.mark.parametrize("place", [-8, 0, 8, 2**40])
def test_a_frame_outside_the_log_is_not_copied(place):
    log, _ = frames_at([(5, b"payload", frame.order(1, PUT))])
    frames, sizes = np.array([place | PUT]), np.array([2**20])
    regions, out = np.array([0, 2**20 + 64]), np.zeros(2**20 + 64, np.uint8)
    source = (log, u64([5]), np.array([0, 1]), frames, sizes, regions)
    assert records.copy_records(*source, 64, 0, 1, SEED, out) == place


@quick
@given(st.lists(st.binary(max_size=40), max_size=8), geometries)
def test_written_records_are_one_put_each(payloads, geometry):
    values, offsets = packed(payloads)
    count = len(payloads)
    wanted, words = u64(range(5, 5 + count)), u64(frame.order(7 + i, PUT) for i in range(count))
    regions, _, given_ = one_each(payloads, 64, geometry)
    out = np.full(regions[-1] - 64, 0xAA, np.uint8)
    records.write_records(wanted, values, offsets, words, regions, 0, count, SEED, out)
    for row, payload in enumerate(payloads):
        at = int(regions[row]) - 64
        assert out[at : at + 8].tobytes() == region_header(at + 64, int(given_[row]) & ~7)
        whole = frame.encode(5 + row, payload, int(words[row]), IDENTITY)
        assert out[at + 8 : at + 8 + len(whole)].tobytes() == whole
        assert not out[at + 8 + len(whole) : regions[row + 1] - 64].any()
    assert (given_ & np.uint64(1) == 1).all()


def test_a_walk_goes_on_where_the_output_was_full():
    payloads = [b"x" * i for i in range(5)]
    values, offsets = packed(payloads)
    words = u64([frame.order(1, PUT)] * 5)
    regions, _, _ = one_each(payloads, 64, (0, 0, 8))
    content = np.zeros(regions[-1], np.uint8)
    records.write_records(u64(range(5)), values, offsets, words, regions, 0, 5, SEED, content[64:])
    stop, at, found = np.zeros(2, np.int64), 64, []
    while at < len(content):
        found += walk(content, 2, at, stop)[0].tolist()
        at = int(stop[0])
    assert found == [0, 1, 2, 3, 4]
