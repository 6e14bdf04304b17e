"""Writing, verifying and scanning frames: kernels against `formats.frame.encode`."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitdex.formats import frame
from bitdex.kernels import frames
from tests.kernels.frame_store import IDENTITY, SEED, frames_at, packed, u64

quick = settings(max_examples=60, derandomize=True, deadline=None)
keys = st.one_of(st.sampled_from([0, 1, 2**64 - 1]), st.integers(0, 2**64 - 1))
orders = st.builds(frame.order, st.integers(0, 2**56 - 1), st.sampled_from([1, 2, 3]), st.booleans())
operations = st.lists(st.tuples(keys, st.binary(max_size=30), orders), max_size=8)


def write(ops, start=0, each=True):
    """Write operations with the kernel; return the array and the places."""
    values, offsets = packed([payload for _, payload, _ in ops])
    places = np.empty(len(ops) + 1, np.int64)
    frames.place_frames(offsets, start, places)
    out = np.full(places[-1] - start, 0xAA, np.uint8)
    words = u64(word for _, _, word in ops[: None if each else 1])
    wanted = u64(key for key, _, _ in ops)
    frames.write_frames(wanted, values, offsets, words, SEED, places, 0, len(ops), start, out)
    return out, places


def scan(data, room=100):
    """Return the frames that the kernel finds from the start of an array."""
    found, words = np.empty(room, np.uint64), np.empty(room, np.uint64)
    places, sizes = np.empty(room, np.int64), np.empty(room, np.int64)
    count = frames.scan_frames(data, 0, len(data), SEED, found, places, sizes, words)
    return [
        (int(found[i]), data[places[i] + 24 : places[i] + 24 + sizes[i]].tobytes(), int(words[i]))
        for i in range(count)
    ]


@quick
@given(operations, st.integers(0, 100))
def test_writing_equals_encoding(ops, start):
    out, places = write(ops, 8 * start)
    assert out.tobytes() == frames_at(ops)[0].tobytes()
    assert places[:-1].tolist() == (frames_at(ops)[1] + 8 * start).tolist()


def test_one_order_word_serves_all_frames():
    ops = [(key, b"x" * key, frame.order(3, frame.PUT)) for key in range(9)]
    assert write(ops, each=False)[0].tobytes() == frames_at(ops)[0].tobytes()


def test_a_range_of_frames_is_written_alone():
    ops = [(key, b"x" * key, frame.order(3, frame.PUT)) for key in range(9)]
    values, offsets = packed([payload for _, payload, _ in ops])
    whole, places = write(ops)
    out = np.empty(places[6] - places[2], np.uint8)
    wanted, words = u64(range(9)), u64([ops[0][2]])
    frames.write_frames(wanted, values, offsets, words, SEED, places, 2, 6, places[2], out)
    assert out.tobytes() == whole[places[2] : places[6]].tobytes()


@quick
@given(operations)
def test_scanning_finds_what_was_written(ops):
    assert scan(frames_at(ops)[0]) == ops
    assert scan(frames_at(ops)[0], max(len(ops) - 1, 0)) == ops[:-1]


@quick
@given(operations.filter(bool), st.data())
def test_scanning_ends_at_the_first_flipped_bit(ops, draw):
    data, places = frames_at(ops)
    row = draw.draw(st.integers(0, len(ops) - 1))
    bit = draw.draw(st.integers(0, 8 * (24 + len(ops[row][1])) - 1))
    data[places[row] + bit // 8] ^= 1 << bit % 8
    assert scan(data) == ops[:row]


def test_scanning_an_array_cut_anywhere():
    ops = [(1, b"one", frame.order(1, 1)), (2, b"", frame.order(1, 3)), (3, b"12345678", frame.order(2, 2))]
    data, places = frames_at(ops)
    ends = [place + 24 + len(payload) for place, (_, payload, _) in zip(places, ops)]
    for length in range(len(data) + 1):
        assert scan(data[:length]) == ops[: sum(end <= length for end in ends)], length


@quick
@given(operations.filter(bool))
def test_marking_the_commit_sets_the_flag_only(ops):
    data, places = frames_at(ops)
    frames.mark_frame(data, places[-1], np.uint64(frame.COMMIT), SEED)
    key, payload, word = ops[-1]
    assert scan(data) == [*ops[:-1], (key, payload, word | frame.COMMIT)]


@quick
@given(operations.filter(bool), st.integers(0, 2**56 - 1), st.booleans(), st.integers(0, 3))
def test_sealing_what_was_packed_equals_encoding(ops, sequence, synced, row):
    start = 1000
    ops = [(key, payload, word & frame.KIND_MASK) for key, payload, word in ops]
    out = np.frombuffer(frame.pack([(kind, key, payload) for key, payload, kind in ops], sequence), np.uint8)
    columns = [np.zeros(row + len(ops) + 1, dtype) for dtype in ("u8", "i8", "i8", "u8")]
    first = frame.BEGIN | frame.SYNCED * synced
    assert frames.seal_frames(out, start, first, frame.COMMIT, SEED, row, *columns) == len(ops)
    words = [frame.order(sequence, kind) for _, _, kind in ops]
    words[0] |= first
    words[-1] |= frame.COMMIT
    expected, places = frames_at([(key, payload, word) for (key, payload, _), word in zip(ops, words)])
    assert out.tobytes() == expected.tobytes()
    entered = [column[row:-1].tolist() for column in columns]
    sizes = [len(payload) for _, payload, _ in ops]
    assert entered == [[key for key, _, _ in ops], (places + start).tolist(), sizes, words]
    assert not any(column[:row].any() or column[-1] for column in columns)


def begins(sequence):
    """Return the order word of a batch that was begun when all before it was synced."""
    return frame.order(sequence, frame.PUT) | frame.BEGIN | frame.SYNCED


@pytest.mark.parametrize(("sequence", "expected"), [(0, 0), (1, 1), (2, 2), (3, 3), (4, -1), (9, -1)])
def test_the_first_frame_of_a_later_batch_is_found(sequence, expected):
    data, places = frames_at([(i, b"payload", begins(i + 1)) for i in range(4)])
    found = frames.find_later_frame(data, 0, len(data), np.uint64(sequence), SEED)
    assert found == (places[expected] if expected >= 0 else -1)


@pytest.mark.parametrize("flag", [frame.BEGIN, frame.SYNCED, frame.COMMIT])
def test_a_later_frame_that_may_lie_behind_a_torn_one_is_passed_over(flag):
    data, places = frames_at([(1, b"payload", frame.order(1, frame.PUT) | flag), (2, b"", begins(2))])
    assert frames.find_later_frame(data, 0, len(data), np.uint64(0), SEED) == places[1]


def test_a_damaged_later_frame_is_not_found():
    data, places = frames_at([(i, b"payload", begins(i + 1)) for i in range(4)])
    data[places[2] + 30] ^= 1
    assert frames.find_later_frame(data, 0, len(data), np.uint64(2), SEED) == places[3]
    assert frames.find_later_frame(data, 0, places[3] + 30, np.uint64(2), SEED) == -1


def test_a_frame_of_another_store_is_no_frame():
    data = np.frombuffer(frame.encode(1, b"x", frame.order(1, 1), IDENTITY + 1), np.uint8)
    assert scan(data) == []
    assert frames.find_later_frame(data, 0, len(data), np.uint64(0), SEED) == -1
