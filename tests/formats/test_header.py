"""The header of every file."""

import pytest

from bitdex.errors import CorruptError, VersionError
from bitdex.formats import header
from tests.formats.goldens import golden, register
from tests.formats.suite import check_bit_flips, check_golden, check_truncated

MAGIC = b"BDXTEST"
FIELDS = {"identity": 2**64 - 1, "generation": 3, "count": 4, "capacity": 2**40, "body_crc": 0xDEADBEEF}


def decode(data):
    return header.decode(data, MAGIC, 1, "some.bin")


@register("header", "v1", "plain")
def plain() -> bytes:
    return header.encode(MAGIC, 1, 5, 0)


@register("header", "v1", "full")
def full() -> bytes:
    return header.encode(MAGIC, 1, **FIELDS)


def test_headers_are_encoded_as_they_were_stored():
    check_golden("header")


def test_stored_headers_are_read():
    assert {name: int(decode(golden("header", "full"))[name]) for name in FIELDS} == FIELDS
    assert int(decode(golden("header", "plain"))["identity"]) == 5


def test_truncation_is_refused():
    check_truncated(full(), decode, "some.bin")


def test_every_flipped_bit_is_refused():
    check_bit_flips(full(), decode, "some.bin")


def test_another_magic_is_refused():
    with pytest.raises(
        CorruptError, match=r"some\.bin: offset 0: expected magic b'BDXDATA', found b'BDXTEST"
    ):
        header.decode(full(), b"BDXDATA", 1, "some.bin")


def test_a_newer_version_is_refused_as_such():
    with pytest.raises(VersionError, match=r"some\.bin: format version 2; this package reads 1"):
        decode(header.encode(MAGIC, 2, 5, 0))


def test_a_body_is_checked_against_its_header():
    body = b"some body"
    data = header.encode(MAGIC, 1, 5, 0, body_crc=header.crc32c(body)) + body
    head = decode(data)
    header.check_body(data, head, "some.bin", 5)
    with pytest.raises(CorruptError, match="offset 16: expected identity 6, found 5"):
        header.check_body(data, head, "some.bin", 6)
    for length in range(header.SIZE, len(data)):
        with pytest.raises(CorruptError, match=r"some\.bin: offset 64: expected checksum"):
            header.check_body(data[:length], head, "some.bin", 5)


@pytest.mark.parametrize(("raw", "size"), [(b"ab", 3), (b"\xff\xfe", 2), (b"\xc3", 1)])
def test_text_that_is_not_there_or_not_utf8_is_refused(raw, size):
    with pytest.raises(CorruptError, match=rf"some\.bin: offset 9: expected {size} bytes of UTF-8, found"):
        header.text(raw, size, "some.bin", 9)
