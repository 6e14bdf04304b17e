"""The frame: its bytes, and that no part of it can change unseen."""

import numpy as np
import pytest

from bitdex.formats import frame
from bitdex.kernels.checksum import crc32c
from bitdex.kernels.frames import scan_frames
from tests.formats.goldens import golden, register
from tests.formats.suite import check_golden

IDENTITY = 0x1122334455667788
FRAMES = {
    "empty": (0, b"", frame.order(1, frame.PUT)),
    "small": (7, b"seven", frame.order(2, frame.MERGE)),
    "eight": (2**64 - 1, b"12345678", frame.order(3, frame.PUT, commit=True)),
    "delete": (2**63, b"", frame.order(2**56 - 1, frame.DELETE, commit=True)),
    "large": (300, bytes(range(256)) * 3, frame.order(4, frame.PUT)),
}

for name, (key, payload, order) in FRAMES.items():
    register("frame", "v1", name)(lambda fields=(key, payload, order): frame.encode(*fields, IDENTITY))


def scan(data, identity=IDENTITY):
    """Return the frames (key, place, size, order) that hold one after the other."""
    data, room = np.frombuffer(data, np.uint8), 16
    keys, words = np.empty(room, np.uint64), np.empty(room, np.uint64)
    places, sizes = np.empty(room, np.int64), np.empty(room, np.int64)
    seed = np.uint32(frame.seed(identity))
    count = scan_frames(data, 0, len(data), seed, keys, places, sizes, words)
    return [column[:count].tolist() for column in (keys, places, sizes, words)]


def test_frames_are_encoded_as_they_were_stored():
    check_golden("frame")


@pytest.mark.parametrize("case", FRAMES)
def test_stored_frames_are_read(case):
    key, payload, order = FRAMES[case]
    data = golden("frame", case)
    assert scan(data) == [[key], [0], [len(payload)], [order]]
    assert data[frame.SIZE : frame.SIZE + len(payload)] == payload


def test_the_head_is_what_the_specification_says():
    data = frame.encode(7, b"seven", frame.order(2, frame.MERGE), IDENTITY)
    assert len(data) == 32 and data[29:] == bytes(3)
    assert data[4:8] == (5).to_bytes(4, "little")
    assert data[8:16] == (7).to_bytes(8, "little")
    assert data[16:24] == (2 << 8 | 2).to_bytes(8, "little")
    seed = crc32c(IDENTITY.to_bytes(8, "little"))
    assert int.from_bytes(data[:4], "little") == crc32c(data[4:29], seed)


@pytest.mark.parametrize(("length", "size"), [(0, 24), (1, 32), (8, 32), (9, 40), (2**32 - 64, 2**32 - 40)])
def test_padded_sizes(length, size):
    assert frame.padded(length) == size
    assert frame.padded(np.array([length])).tolist() == [size]


def test_the_largest_frame_fits_its_length_field():
    assert frame.MAX_PAYLOAD < 2**32
    assert frame.order(2**56 - 1, frame.DELETE, True) < 2**64


@pytest.mark.parametrize("case", FRAMES)
def test_a_frame_cut_anywhere_does_not_hold(case):
    data, whole = golden("frame", case), frame.SIZE + len(FRAMES[case][1])
    assert scan(data[:whole])[0] == [FRAMES[case][0]]
    for length in range(whole):
        assert scan(data[:length])[0] == [], length


@pytest.mark.parametrize("case", FRAMES)
def test_a_frame_with_a_flipped_bit_does_not_hold(case):
    data = bytearray(golden("frame", case))
    for bit in range(8 * (frame.SIZE + len(FRAMES[case][1]))):
        data[bit >> 3] ^= 1 << (bit & 7)
        assert scan(bytes(data))[0] == [], bit
        data[bit >> 3] ^= 1 << (bit & 7)


def test_a_frame_of_another_store_does_not_hold():
    data = golden("frame", "small")
    assert scan(data, IDENTITY ^ 1)[0] == []
    assert scan(data + golden("frame", "eight"))[0] == [7, 2**64 - 1]
