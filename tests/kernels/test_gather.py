"""Reading records: kernels against definitions in plain Python, and what they do with damaged bytes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitdex.formats import frame
from bitdex.kernels import gather, hash_index
from bitdex.kernels.jit import THREADS
from tests.kernels.frame_store import SEED, frames_at, packed, u64

PUT, MERGE, DELETE = frame.PUT, frame.MERGE, frame.DELETE
quick = settings(max_examples=80, derandomize=True, deadline=None)
operations = st.tuples(st.sampled_from([PUT, MERGE, DELETE]), st.binary(max_size=12))
record_kinds = st.lists(st.lists(operations, min_size=1, max_size=4), max_size=5)


def singles(payloads):
    """Return data, keys, places and offsets of records of one frame; None stands for an absent key."""
    there = [(key, payload) for key, payload in enumerate(payloads) if payload is not None]
    data, found = frames_at([(key, payload, frame.order(1, PUT)) for key, payload in there], 72)
    places = np.full(len(payloads), -1, np.int64)
    places[[key for key, _ in there]] = found
    _, offsets = packed([payload or b"" for payload in payloads])
    return data, u64(range(len(payloads))), places, offsets


def test_singles_are_measured_and_others_left_to_fold():
    table = hash_index.new_table(3)
    extents = u64([24 + 7 | (32 | 1) << 32, 60 | 64 << 32, 24 | (24 | 1) << 32])
    hash_index.insert_entries(u64([5, 6, 7]), u64([72, 200, 300]), extents, table)
    entries = hash_index.lookup(table, u64([7, 5, 9, 6, 5]))
    places, offsets = np.empty(5, np.int64), np.empty(6, np.int64)
    assert gather.measure_singles(table, entries, places, offsets) == 1
    assert places.tolist() == [300, 72, -1, -2, 72]
    assert offsets.tolist() == [0, 0, 7, 7, 7, 14]


@quick
@given(st.lists(st.none() | st.binary(max_size=90), max_size=25))
def test_payloads_are_copied_side_by_side_or_in_a_row(payloads):
    data, keys, places, offsets = singles(payloads)
    expected = b"".join(payload or b"" for payload in payloads)
    serial, parallel = np.empty(offsets[-1], np.uint8), np.empty(offsets[-1], np.uint8)
    assert gather.copy_singles_serial(data, keys, places, offsets, SEED, serial) == -1
    bad = np.empty(THREADS, np.int64)
    gather.copy_singles_parallel(data, keys, places, offsets, SEED, THREADS, parallel, bad)
    assert serial.tobytes() == parallel.tobytes() == expected
    assert (bad == -1).all()


def test_a_flipped_bit_is_never_copied():
    data, keys, places, offsets = singles([b"zero", b"one!", b"two"])
    out = np.empty(offsets[-1], np.uint8)
    for bit in range(8 * (24 + 4)):
        data[places[1] + bit // 8] ^= 1 << bit % 8
        assert gather.copy_singles_serial(data, keys, places, offsets, SEED, out) == 1, bit
        data[places[1] + bit // 8] ^= 1 << bit % 8
    assert gather.copy_singles_serial(data, keys, places, offsets, SEED, out) == -1


@pytest.mark.parametrize("change", ["key", "place", "size", "beyond"])
def test_a_frame_that_is_not_the_wanted_one_is_refused(change):
    data, keys, places, offsets = singles([b"four", b"four", b"four"])
    if change == "key":
        keys[1] = 9
    elif change == "place":
        places[1] = places[0]
    elif change == "size":
        offsets[2:] += 1
    else:
        places[1] = len(data) - 20
    out = np.empty(offsets[-1], np.uint8)
    assert gather.copy_singles_serial(data, keys, places, offsets, SEED, out) == 1
    bad = np.empty(3, np.int64)
    gather.copy_singles_parallel(data, keys, places, offsets, SEED, 3, out, bad)
    assert bad.tolist() == [-1, 1, -1]


def store(kinds):
    """Return data with one record a key, and places, lengths; some keys have none."""
    data, places, lengths = np.zeros(64, np.uint8), [], []
    for key, ops in enumerate(kinds):
        frames, _ = frames_at(
            [(key, payload, frame.order(3 + i, kind)) for i, (kind, payload) in enumerate(ops)]
        )
        places.append(len(data))
        lengths.append(len(frames) - (-len(ops[-1][1]) % 8))
        data = np.concatenate((data, frames))
    return data, np.array(places, np.int64), np.array(lengths, np.int64)


def kept_frames(ops):
    kept = []
    for kind, payload in ops:
        kept = [] if kind != MERGE else kept
        kept += [payload] if kind != DELETE else []
    return kept


@quick
@given(record_kinds)
def test_frames_of_records_are_listed_measured_and_copied(kinds):
    data, places, lengths = store(kinds)
    keys = u64(range(len(kinds)))
    counts = np.empty(len(kinds), np.int64)
    assert gather.count_base_frames(data, keys, places, lengths, SEED, counts) == -1
    expected = [kept_frames(ops) for ops in kinds]
    assert counts.tolist() == [len(kept) for kept in expected]
    starts = np.cumsum(counts) - counts
    listed = np.empty(int(counts.sum()), np.int64)
    gather.list_base_frames(data, places, lengths, counts, starts, listed)
    nothing = np.empty(0, np.uint8)
    sources, offsets = np.zeros(len(listed), np.uint64), np.empty(len(listed) + 1, np.int64)
    gather.measure_frames(data, nothing, nothing, listed, sources, offsets)
    out = np.empty(offsets[-1], np.uint8)
    assert gather.copy_frames(data, nothing, nothing, listed, sources, offsets, SEED, out) == -1
    flat = [payload for kept in expected for payload in kept]
    assert out.tobytes() == b"".join(flat)
    assert np.diff(offsets).tolist() == [len(payload) for payload in flat]


def test_keys_without_a_record_have_no_frames():
    counts = np.empty(1, np.int64)
    nothing = np.zeros(64, np.uint8)
    assert gather.count_base_frames(nothing, u64([1]), np.array([-1]), np.array([0]), SEED, counts) == -1
    assert counts.tolist() == [0]


@pytest.mark.parametrize("row", [0, 1, 2])
def test_a_record_with_a_flipped_bit_is_refused(row):
    data, places, lengths = store([[(PUT, b"a"), (MERGE, b"bc")]] * 3)
    counts, keys = np.empty(3, np.int64), u64(range(3))
    for at in range(24 + 1), range(32, 32 + 26):
        for byte in at:
            data[places[row] + byte] ^= 0x10
            assert gather.count_base_frames(data, keys, places, lengths, SEED, counts) == row, byte
            data[places[row] + byte] ^= 0x10
    assert gather.count_base_frames(data, keys, places, lengths + 2**40, SEED, counts) == 0
    assert gather.count_base_frames(data, keys + np.uint64(1), places, lengths, SEED, counts) == 0


def test_frames_come_from_the_data_and_from_both_logs():
    word = frame.order(1, MERGE)
    origins = [frames_at([(i, f"file {i}, {j}".encode(), word) for j in range(3)], 64) for i in range(3)]
    files = [data for data, _ in origins]
    picks = [(2, 1), (0, 0), (1, 2), (2, 0)]
    listed = np.array([origins[source][1][row] for source, row in picks])
    sources, offsets = u64(source for source, _ in picks), np.empty(5, np.int64)
    gather.measure_frames(*files, listed, sources, offsets)
    out = np.empty(offsets[-1], np.uint8)
    assert gather.copy_frames(*files, listed, sources, offsets, SEED, out) == -1
    assert out.tobytes() == b"".join(f"file {i}, {j}".encode() for i, j in picks)
    files[1][listed[2] + 24] ^= 1
    assert gather.copy_frames(*files, listed, sources, offsets, SEED, out) == 2


def test_values_are_scattered_to_their_rows():
    values, offsets = packed([b"ab", b"", b"cde"])
    out = np.zeros(10, np.uint8)
    gather.scatter_values(values, offsets, np.array([3, 1, 0]), np.array([7, 5, 9, 1]), out)
    assert out.tobytes() == b"\0ab\0\0\0\0cde"


def test_the_last_word_is_a_put_at_the_sequence_of_the_last_frame():
    data, places, lengths = store([[(PUT, b"a")], [(MERGE, b"b"), (MERGE, b"c"), (MERGE, b"d")]])
    out = np.empty(2, np.uint64)
    gather.last_words(data, places.astype(np.uint64), lengths.astype(np.uint64) | np.uint64(64 << 32), out)
    assert out.tolist() == [frame.order(3, PUT), frame.order(5, PUT)]
