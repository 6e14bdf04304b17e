"""``meta.bin``: two records, of which the newest that holds counts."""

import numpy as np
import pytest

from bitdex.errors import CorruptError, VersionError
from bitdex.formats import meta
from bitdex.kernels.checksum import crc32c
from tests.formats.goldens import golden, register
from tests.formats.suite import check_golden, refuses


def record(commit, **fields):
    made = meta.blank(12345, "concatenate", 250, 64, 32)
    for name, value in {"commit": commit, **fields}.items():
        made[name] = value
    return made


def file_of(*records):
    """Return a meta file into which these records were written one after the other."""
    content = bytearray(meta.FILE_SIZE)
    for one in records:
        at = meta.place_of(one)
        content[at : at + meta.META.itemsize] = meta.encode(one)
    return bytes(content)


def commits(content, at=None):
    return int(meta.decode(content, at)["commit"][0])


@register("meta", "v1", "first")
def first() -> bytes:
    return file_of(record(0))


@register("meta", "v1", "second")
def second() -> bytes:
    aborted = np.zeros((1, meta.MAX_ABORTED), np.uint64)
    aborted[0, :2] = 7, 9
    newer = record(
        5, sequence=10, applied=8, pending=11, data_generation=2, index_generation=6, data_end=2**40,
        dead_bytes=99, aborted_count=2, aborted=aborted,
    )  # fmt: skip
    return file_of(record(4, sequence=6), newer)


def test_records_are_encoded_as_they_were_stored():
    check_golden("meta")


def test_stored_records_are_read():
    newest = meta.decode(golden("meta", "second"))
    found = {name: int(newest[name][0]) for name in ("commit", "sequence", "applied", "pending", "data_end")}
    assert found == {"commit": 5, "sequence": 10, "applied": 8, "pending": 11, "data_end": 2**40}
    assert newest["aborted"][0][: int(newest["aborted_count"][0])].tolist() == [7, 9]
    assert newest["rule"][0] == b"concatenate" and int(newest["identity"][0]) == 12345
    assert commits(golden("meta", "first")) == 0


def test_commits_alternate_between_two_places():
    assert [meta.place_of(record(commit)) for commit in range(4)] == [0, 4096, 0, 4096]


def test_the_newest_record_counts_and_an_earlier_one_can_be_asked_for():
    content = file_of(record(1, sequence=3), record(2, sequence=8))
    assert commits(content) == 2 and commits(content, 8) == 2
    assert commits(content, 7) == 1 and commits(content, 3) == 1
    with pytest.raises(CorruptError, match=r"meta\.bin: no record at or below sequence 2"):
        meta.decode(content, 2)


def test_a_flipped_bit_in_one_record_leaves_the_other():
    content = bytearray(second())
    for place, other in ((0, 5), (4096, 4)):
        for bit in range(8 * place, 8 * (place + meta.META.itemsize)):
            content[bit >> 3] ^= 1 << (bit & 7)
            assert commits(bytes(content)) == other, bit
            content[bit >> 3] ^= 1 << (bit & 7)


def test_a_torn_record_leaves_the_other():
    old, new = second(), file_of(record(6, sequence=12), record(5, sequence=10))
    for length in range(meta.META.itemsize):
        torn = new[:length] + old[length:]
        expected = 6 if torn[: meta.META.itemsize] == new[: meta.META.itemsize] else 5
        assert commits(torn) == expected, length


def test_truncation_is_refused_or_leaves_the_first_record():
    content = second()
    for length in (*range(600), *range(4090, 4620)):
        if length < meta.META.itemsize:
            refuses(
                lambda data: meta.decode(data, None, "meta.bin"), content[:length], "meta.bin", str(length)
            )
        else:
            assert commits(content[:length]) == (5 if length >= 4096 + meta.META.itemsize else 4), length


def test_two_damaged_records_are_refused():
    content = bytearray(second())
    content[100] ^= 1
    content[4196] ^= 1
    refuses(lambda data: meta.decode(data, None, "meta.bin"), bytes(content), "meta.bin", "both flipped")


def test_a_newer_version_is_refused_as_such():
    newer = record(1, version=2)
    with pytest.raises(VersionError, match="format version 2; this package reads 1"):
        meta.decode(file_of(newer))


def test_the_checksum_is_over_all_bytes_before_it():
    raw = meta.encode(record(3))
    assert int.from_bytes(raw[508:], "little") == crc32c(raw[:508])
