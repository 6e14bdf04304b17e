"""``index.bin``: a table in a file."""

import numpy as np

from bitdex.formats import hash_index
from bitdex.kernels.hash_index import build_index, lookup
from tests.formats.goldens import golden, register
from tests.formats.suite import check_bit_flips, check_golden, check_truncated, refuses

KEYS = np.array([0, 1, 7 << 48 | 3, 2**64 - 1], np.uint64)
OFFSETS = np.array([72, 200, 2**40, 400], np.uint64)
LENGTHS = np.array([24, 25, 2**32 - 4096, 30], np.uint64)
ALLOCATED = np.array([24 | 1, 32, 2**32 - 64, 32 | 1], np.uint64)


@register("hash_index", "v1", "small")
def small() -> bytes:
    table = build_index(KEYS, OFFSETS, LENGTHS, ALLOCATED)
    return b"".join(map(bytes, hash_index.encode(table, len(KEYS), 5, 2)))


@register("hash_index", "v1", "empty")
def empty() -> bytes:
    return b"".join(map(bytes, hash_index.encode(build_index(*[KEYS[:0]] * 4), 0, 5, 2)))


def decode(data):
    return hash_index.decode(np.frombuffer(data, np.uint8), "index.bin")


def test_tables_are_encoded_as_they_were_stored():
    check_golden("hash_index")


def test_stored_tables_are_read():
    head, table = decode(golden("hash_index", "small"))
    assert (int(head["count"]), int(head["identity"]), int(head["generation"])) == (4, 5, 2)
    entries = table.view(hash_index.ENTRY)[lookup(table, KEYS)]
    for name, column in (("key", KEYS), ("offset", OFFSETS), ("length", LENGTHS), ("allocated", ALLOCATED)):
        assert entries[name].tolist() == column.tolist(), name
    assert lookup(table, np.array([2, 2**63], np.uint64)).tolist() == [-1, -1]
    assert int(decode(golden("hash_index", "empty"))[0]["count"]) == 0


def test_truncation_is_refused():
    check_truncated(small(), decode, "index.bin")


def test_every_flipped_bit_is_refused():
    check_bit_flips(small(), decode, "index.bin")


def test_bytes_behind_the_table_are_refused():
    refuses(decode, small() + b"\0", "index.bin", "one byte more")
    refuses(decode, small() + small()[-24:], "index.bin", "one entry more")
