"""``data.bin``: the plain definition of a region, and what a walk makes of good and bad ones."""

import numpy as np
import pytest

from bitdex.errors import CorruptError
from bitdex.formats import data, frame, header
from bitdex.formats import meta as meta_format
from bitdex.kernels.checksum import crc32c
from bitdex.silo.base import rebuild_index
from tests.formats.goldens import golden, register
from tests.formats.suite import check_bit_flips, check_golden, check_truncated

IDENTITY = 77


def region(at, frames, headroom=0):
    """Return the bytes of a region at file offset `at`."""
    body = b"".join(frame.encode(*fields, IDENTITY) for fields in frames) + bytes(headroom)
    check = crc32c(at.to_bytes(8, "little") + len(body).to_bytes(8, "little"), frame.seed(IDENTITY))
    return np.array([(len(body), check)], data.REGION).tobytes() + body


def data_file(*regions):
    """Return a data file of regions, each (frames, headroom)."""
    content = data.encode_header(IDENTITY, 1)
    for frames, headroom in regions:
        content += region(len(content), frames, headroom)
    return content


def put(key, payload, sequence=1):
    return key, payload, frame.order(sequence, frame.PUT)


def merge(key, payload, sequence=1):
    return key, payload, frame.order(sequence, frame.MERGE)


def delete(key, sequence=1):
    return key, b"", frame.order(sequence, frame.DELETE)


def rebuilt(content, sequence=10, aborted=()):
    """Return {key: (offset, length, allocated, single)} of the index rebuilt from a data file."""
    meta = meta_format.blank(IDENTITY, "concatenate", 0, 0, 8)
    meta["sequence"], meta["aborted_count"] = sequence, len(aborted)
    meta["aborted"][0][: len(aborted)] = aborted
    mapped = np.frombuffer(content, np.uint8)
    entries = rebuild_index(mapped, meta).entries()
    return {int(e[0]): (int(e[1]), int(e[2]), int(e[3]) & ~7, int(e[3]) & 7) for e in entries}


@register("data", "v1", "small")
def small() -> bytes:
    return data_file(
        ([put(1, b"one"), merge(1, b"more", 2)], 16),
        ([put(0, b"")], 0),
        ([], 40),
        ([put(2**64 - 1, b"x" * 100, 3)], 0),
    )


def test_data_files_are_encoded_as_they_were_stored():
    check_golden("data")


def test_stored_data_files_are_read():
    found = rebuilt(golden("data", "small"))
    assert found == {1: (72, 60, 80, 0), 0: (160, 24, 24, 1), 2**64 - 1: (240, 124, 128, 1)}


def test_the_header_cannot_change_unseen():
    content = data.encode_header(IDENTITY, 1)

    def decode(raw):
        return data.decode_header(np.frombuffer(raw, np.uint8), "data.bin")

    assert int(decode(content)["identity"]) == IDENTITY
    check_truncated(content, decode, "data.bin")
    check_bit_flips(content, decode, "data.bin")


def test_a_file_without_regions_holds_nothing():
    assert rebuilt(data_file()) == {}


def test_the_last_region_of_a_key_wins():
    content = data_file(([put(1, b"old")], 0), ([put(2, b"")], 0), ([put(1, b"newer", 2)], 0))
    assert rebuilt(content) == {1: (72 + 40 + 32, 29, 32, 1), 2: (112, 24, 24, 1)}


def test_a_record_begins_at_its_last_put():
    content = data_file(([put(1, b"old"), merge(1, b"x", 2), put(1, b"new!", 3), merge(1, b"y", 4)], 8))
    assert rebuilt(content) == {1: (72 + 64, 32 + 25, 72, 0)}


def test_a_record_that_ends_in_a_delete_is_gone():
    assert rebuilt(data_file(([put(1, b"a")], 0), ([put(1, b"b"), delete(1, 2)], 0))) == {}
    assert rebuilt(data_file(([put(1, b"b"), delete(1, 2), merge(1, b"c", 3)], 0)))[1][1] > 0


@pytest.mark.parametrize(("sequence", "aborted"), [(3, ()), (10, (4,)), (10, (9, 4))])
def test_frames_that_were_not_committed_do_not_count(sequence, aborted):
    content = data_file(([put(1, b"a"), merge(1, b"b", 4)], 0), ([put(2, b"c", 4)], 0))
    assert rebuilt(content, sequence, aborted) == {1: (72, 25, 64, 0 | 1)}
    assert rebuilt(content)[1][1] == 32 + 25


def test_a_frame_of_another_key_in_the_headroom_does_not_count():
    content = data_file(([put(1, b"a"), merge(2, b"b", 1)], 0))
    assert rebuilt(content) == {1: (72, 25, 64, 1)}


def test_damaged_region_headers_are_refused():
    """Every bit of every region header, in a file of several regions."""
    content = small()
    places = [64, 152, 184, 232]
    bits = [8 * at + bit for at in places for bit in range(64)]
    check_bit_flips(content, rebuilt, "data.bin", bits)


def test_a_region_at_another_place_is_refused():
    moved = data_file(([put(1, b"a")], 0)) + region(64, [put(2, b"b")])
    with pytest.raises(CorruptError, match=r"data\.bin: offset 104: expected a region header"):
        rebuilt(moved)


def test_a_region_that_passes_the_end_is_refused():
    content = small()
    for length in range(header.SIZE + 1, len(content)):
        if length in (152, 184, 232):
            assert len(rebuilt(content[:length])) == {152: 1, 184: 2, 232: 2}[length]
        else:
            with pytest.raises(CorruptError, match=r"data\.bin: offset (64|152|184|232): expected"):
                rebuilt(content[:length])
