"""Sealed JSON: a text with its own checksum."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitdex.errors import CorruptError
from bitdex.formats import sealed
from bitdex.kernels.checksum import crc32c
from tests.formats.goldens import golden, register
from tests.formats.suite import check_bit_flips, check_golden, check_round_trip, check_truncated, refuses

CONTENT = {"format": 2, "été": [1, 2.5, None, True], "crc32c": "mine", "nested": {"text": 'a "quote"\n'}}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def decode(data):
    return sealed.decode(data, "dumps.json")


def with_right_seal(rest):
    """Return a text that ends like this, with the checksum it needs."""
    zeros = b'{"crc32c": "00000000' + rest
    return zeros.replace(b"00000000", b"%08x" % crc32c(zeros), 1)


@register("sealed", "v1", "small")
def small() -> bytes:
    return sealed.encode(CONTENT)


@register("sealed", "v1", "empty")
def empty() -> bytes:
    return sealed.encode({})


def test_texts_are_encoded_as_they_were_stored():
    check_golden("sealed")
    assert decode(golden("sealed", "small")) == CONTENT
    assert list(decode(golden("sealed", "small"))) == list(CONTENT)
    assert decode(golden("sealed", "empty")) == {}


@given(st.dictionaries(st.text(), VALUES, max_size=5))
@settings(max_examples=200, derandomize=True, deadline=None)
def test_round_trips(mapping):
    check_round_trip(sealed.encode, decode, [mapping])


def test_the_text_is_json_that_people_can_read():
    content = {"name": "photos", "fields": ["a", "b"]}
    lines = sealed.encode(content).decode().split("\n")
    assert lines[1:] == [' "name": "photos",', ' "fields": [', '  "a",', '  "b"', " ]", "}", ""]
    assert lines[0].startswith('{"crc32c": "') and lines[0].endswith('",') and len(lines[0]) == 22
    assert json.loads(sealed.encode(content)) == content | {"crc32c": lines[0][12:20]}


def test_the_checksum_is_that_of_the_text_with_zeros_for_it():
    raw = small()
    assert int(raw[12:20], 16) == crc32c(raw[:12] + b"00000000" + raw[20:])
    assert with_right_seal(raw[20:]) == raw


@pytest.mark.parametrize("make", [small, empty])
def test_every_flipped_bit_is_refused(make):
    check_bit_flips(make(), decode, "dumps.json")


@pytest.mark.parametrize("make", [small, empty])
def test_truncation_is_refused(make):
    check_truncated(make(), decode, "dumps.json")


@pytest.mark.parametrize("more", [b"\n", b" ", b"\0", b"{}", b"\n" * 100])
def test_trailing_bytes_are_refused(more):
    refuses(decode, small() + more, "dumps.json", f"{more!r} behind the end")


def test_other_forms_are_refused():
    raw = with_right_seal(b'",\n "n": 3\n}\n')
    assert decode(raw) == {"n": 3} and raw[12:20] != raw[12:20].upper()
    for damage, changed in {
        "no seal": b'{\n "n": 3\n}\n',
        "upper case": raw[:12] + raw[12:20].upper() + raw[20:],
        "seven digits": raw[:12] + raw[13:],
        "nine digits": raw[:12] + b"0" + raw[12:],
        "no digits": raw[:12] + raw[20:],
        "a space more": raw.replace(b"crc32c: ", b"crc32c:  ").replace(b": 3", b":  3"),
        "a byte order mark": b"\xef\xbb\xbf" + raw,
        "the seal of another text": sealed.encode({"n": 4})[:20] + raw[20:],
    }.items():
        refuses(decode, changed, "dumps.json", damage)


@pytest.mark.parametrize("rest", [b"", b'"', b'",\n "n": 3', b'", "n": }\n', b'", "n": "\xff"}\n', b'"}}'])
def test_what_is_no_object_is_refused_behind_a_right_seal(rest):
    refuses(decode, with_right_seal(rest), "dumps.json", f"{rest!r} behind the seal")


def test_errors_name_the_place():
    with pytest.raises(
        CorruptError, match=r"dumps\.json: offset 0: expected b'{\"crc32c\": \"', found b'{}'"
    ):
        decode(b"{}")
    with pytest.raises(CorruptError, match=r"offset 12: expected checksum b'1234', found b'5a87e549'"):
        decode(b'{"crc32c": "1234')
    with pytest.raises(CorruptError, match="offset 12: expected checksum b'00000000', found b'f0f69930'"):
        decode(b'{"crc32c": "00000000"}\n')
