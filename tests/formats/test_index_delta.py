"""``index.delta``: changed entries in blocks, each of which counts only at its place."""

import numpy as np

from bitdex.formats import index_delta
from bitdex.formats.hash_index import ENTRY
from tests.formats.goldens import golden, register
from tests.formats.suite import check_bit_flips, check_golden, check_truncated

IDENTITY = 7
FIRST = np.array([(1, 72, 28, 32), (2**64 - 1, 2**40, 2**32 - 4096, 2**32 - 64)], ENTRY)
SECOND = np.array([(1, 0, 0, 0)], ENTRY)


@register("index_delta", "v1", "blocks")
def blocks() -> bytes:
    data = index_delta.encode_header(IDENTITY, 3)
    for entries in (FIRST, SECOND, FIRST[:0]):
        data += index_delta.encode(entries, IDENTITY, len(data))
    return data


def decode(data):
    content = np.frombuffer(data, np.uint8)
    index_delta.decode_header(content, "index.delta")
    return list(index_delta.decode(content, len(blocks()), IDENTITY, "index.delta"))


def test_blocks_are_encoded_as_they_were_stored():
    check_golden("index_delta")


def test_stored_blocks_are_read():
    found = decode(golden("index_delta", "blocks"))
    assert [entries.tolist() for entries in found] == [FIRST.tolist(), SECOND.tolist(), []]


def test_only_committed_blocks_are_read():
    content = np.frombuffer(blocks(), np.uint8)
    end = index_delta.START + 16 + FIRST.nbytes
    (found,) = index_delta.decode(content, end, IDENTITY)
    assert found.tolist() == FIRST.tolist()


def test_damage_is_refused():
    check_truncated(blocks(), decode, "index.delta")
    check_bit_flips(blocks(), decode, "index.delta")


def test_a_block_in_another_place_is_refused():
    one, other = (index_delta.encode(entries, IDENTITY, index_delta.START) for entries in (FIRST, FIRST))
    data = index_delta.encode_header(IDENTITY, 3) + one + other
    try:
        found = list(index_delta.decode(np.frombuffer(data, np.uint8), len(data), IDENTITY))
    except OSError as error:
        assert f"offset {index_delta.START + len(one)}" in str(error)
    else:
        raise AssertionError(found)
