"""``meta.bin``: two places with two copies of a record each; the newest of which a copy holds counts."""

import numpy as np
import pytest

from bitdex.errors import CorruptError, VersionError
from bitdex.formats import meta
from bitdex.kernels.checksum import crc32c
from tests.formats.goldens import cases, golden, register, stored
from tests.formats.suite import check_truncated, refuses
from tests.scale import scale

COPIES = [0, 512, 4096, 4608]
PADDING = [*range(1024, 4096), *range(5120, 8192)]
BITS = [8 * at + bit for start in COPIES for at in range(start, start + 512) for bit in range(8)]
BITS += [8 * at + at % 8 for at in scale(PADDING[::7], PADDING)]


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
        content[at : at + 1024] = meta.encode(one)
    return bytes(content)


def decode(data):
    return meta.decode(data, None, "meta.bin")


def commits(content, at=None):
    return int(meta.decode(content, at)["commit"][0])


def found(content):
    """Return offset and severity of every fault, which has to say what and what to do."""
    faults = list(meta.faults(content))
    assert all("expected" in one.what and "found" in one.what and one.remedy for one in faults)
    return [(one.offset, one.severity) for one in faults]


def flipped(content, *bits):
    changed = bytearray(content)
    for bit in bits:
        changed[bit >> 3] ^= 1 << (bit & 7)
    return bytes(changed)


@register("meta", "v2", "first")
def first() -> bytes:
    return file_of(record(0))


@register("meta", "v2", "second")
def second() -> bytes:
    aborted = np.zeros((1, meta.MAX_ABORTED), np.uint64)
    aborted[0, :2] = 7, 9
    newer = record(
        5, sequence=10, applied=8, floor=12, pending=11, data_generation=2, index_generation=6,
        data_end=2**40, delta_end=2**33, dead_bytes=99, aborted_count=2, aborted=aborted,
    )  # fmt: skip
    return file_of(record(4, sequence=6), newer)


def test_records_are_encoded_as_they_were_stored():
    assert stored("meta", "v2") == set(cases("meta", "v2"))
    for case, make in cases("meta", "v2").items():
        assert make() == golden("meta", case, "v2"), case


def test_stored_records_are_read():
    newest = meta.decode(golden("meta", "second", "v2"))
    expected = {"commit": 5, "sequence": 10, "applied": 8, "floor": 12, "pending": 11}
    expected |= {"data_end": 2**40, "delta_end": 2**33, "dead_bytes": 99}
    assert {name: int(newest[name][0]) for name in expected} == expected
    assert newest["aborted"][0][: int(newest["aborted_count"][0])].tolist() == [7, 9]
    assert newest["rule"][0] == b"concatenate" and int(newest["identity"][0]) == 12345
    assert commits(golden("meta", "first", "v2")) == 0


def test_files_of_the_version_before_are_refused_as_such():
    assert stored("meta", "v1") == {"first", "second"}
    for case in stored("meta", "v1"):
        with pytest.raises(VersionError, match=r"meta\.bin: format version 1; this package reads 2"):
            decode(golden("meta", case, "v1"))


def test_commits_alternate_between_two_places_and_write_each_record_twice():
    assert [meta.place_of(record(commit)) for commit in range(4)] == [0, 4096, 0, 4096]
    raw = meta.encode(record(3))
    assert len(raw) == 1024 and raw[:512] == raw[512:]
    assert [at for at, _ in meta.copies(first())] == COPIES
    assert [one is not None for _, one in meta.copies(first())] == [True, True, False, False]
    assert [int(one["commit"][0]) for _, one in meta.copies(second())] == [4, 4, 5, 5]


def test_the_newest_record_counts_and_an_earlier_one_can_be_asked_for():
    content = file_of(record(1, sequence=3), record(2, sequence=8))
    assert commits(content) == 2 and commits(content, 8) == 2
    assert commits(content, 7) == 1 and commits(content, 3) == 1
    with pytest.raises(
        CorruptError,
        match=r"meta\.bin: offset 0: expected a record at or below sequence 2, found none below 3",
    ):
        meta.decode(content, 2)


@pytest.mark.parametrize("make", [first, second])
def test_every_flipped_bit_is_reported_at_its_copy_and_changes_no_state(make):
    """The regression: with one copy a flipped bit in the newest record brought the state before it back."""
    content = make()
    assert found(content) == []
    for bit in BITS:
        at = bit >> 3
        damaged = flipped(content, bit)
        assert commits(damaged) == commits(content), bit
        fault = (at, "note") if at in PADDING else (at // 512 * 512, "warning")
        assert found(damaged) == [fault], bit


def test_a_lost_sector_is_reported_and_changes_no_state():
    zeroed = first()[:512] + bytes(512) + first()[1024:]
    assert commits(zeroed) == 0 and found(zeroed) == [(512, "warning")]
    content = second()
    for place in COPIES:
        for sector in (
            bytes(512),
            b"\xff" * 512,
            np.random.default_rng(place).bytes(512),
            content[1024:1536],
        ):
            damaged = content[:place] + sector + content[place + 512 :]
            assert commits(damaged) == 5
            assert found(damaged) == [(place, "warning")]


def test_a_place_without_a_copy_that_holds_may_have_been_the_newest():
    content = second()
    for place, left in ((0, 5), (4096, 4)):
        damaged = flipped(content, 8 * place + 100, 8 * (place + 512) + 2000)
        assert commits(damaged) == left
        assert found(damaged) == [(place, "error")]
        zeroed = content[:place] + bytes(1024) + content[place + 1024 :]
        assert commits(zeroed) == left
        assert found(zeroed) == [(place, "error")]


def test_the_second_place_is_empty_until_it_is_written():
    assert found(first()) == []
    assert found(file_of(record(0), record(1))) == []
    half = file_of(record(0), record(1))[:4608] + bytes(meta.FILE_SIZE - 4608)
    assert commits(half) == 1 and found(half) == [(4608, "warning")]
    torn = file_of(record(0), record(1))[:4300] + bytes(meta.FILE_SIZE - 4300)
    assert commits(torn) == 0 and found(torn) == [(4096, "warning")]


def test_a_file_made_with_a_later_commit_has_no_empty_place():
    assert meta.whole(record(0)) == first()
    for commit in (1, 2, 7):
        content = meta.whole(record(commit, sequence=9))
        assert commits(content) == commit and commits(content, 9) == commit
        assert [int(one["sequence"][0]) for _, one in meta.copies(content)] == [9] * 4
        assert found(content) == []
        for place in meta.PLACES:
            zeroed = content[:place] + bytes(4096) + content[place + 4096 :]
            assert int(meta.decode(zeroed)["sequence"][0]) == 9
            assert found(zeroed) == ([] if (place, commit) == (4096, 1) else [(place, "error")])


def test_a_write_torn_at_any_byte_leaves_the_new_record_or_the_other_place():
    old = file_of(record(4, sequence=6), record(5, sequence=10))
    new = file_of(record(6, sequence=12), record(5, sequence=10))
    for length in range(1, 1024):
        for torn in (new[:length] + old[length:], old[:length] + new[length:1024] + old[1024:]):
            whole = any(torn[at : at + 512] == new[:512] for at in (0, 512))
            assert commits(torn) == (6 if whole else 5), length
            assert len(found(torn)) == (torn not in (old, new)), length
            assert all(severity in ("warning", "note") for _, severity in found(torn)), length


def test_a_half_written_commit_does_not_bring_back_the_one_before_the_last():
    """The other copy holds a record whose files are gone: it is no state to open at."""
    old, new = file_of(record(4, sequence=6), record(5, sequence=10)), file_of(record(6, sequence=12))
    for torn, stale in ((new[:512] + old[512:], 512), (old[:512] + new[512:1024] + old[1024:], 0)):
        assert commits(torn) == 6 and commits(torn, 11) == 5
        assert found(torn) == [(stale, "note")]
        with pytest.raises(CorruptError, match="at or below sequence 9, found none below 10"):
            meta.decode(torn, 9)


def test_every_other_length_is_refused():
    check_truncated(second(), decode, "meta.bin")
    for more in (1, 512, 8192):
        refuses(decode, second() + bytes(more), "meta.bin", f"{more} bytes more")


def test_no_copy_that_holds_is_refused():
    damaged = flipped(second(), *(8 * at + 100 for at in COPIES))
    refuses(decode, damaged, "meta.bin", "all flipped")
    refuses(decode, bytes(meta.FILE_SIZE), "meta.bin", "zeroed")
    refuses(decode, second()[4096:] + second()[:4096], "meta.bin", "places swapped")


def test_a_newer_version_is_refused_as_such():
    newer = record(1, version=3)
    with pytest.raises(VersionError, match="format version 3; this package reads 2"):
        meta.decode(file_of(newer))


def test_the_checksum_is_over_all_bytes_before_it():
    raw = meta.encode(record(3))[:512]
    assert int.from_bytes(raw[508:], "little") == crc32c(raw[:508])
