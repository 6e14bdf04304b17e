"""The document format: round trips, what payloads do to each other, stored bytes, damage."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitdex.errors import CorruptError, InvalidError
from bitdex.formats import document
from bitdex.formats.document import Append, Remove, decode_document, decode_record, encode_document
from tests.formats.goldens import cases, golden, register, stored

EDGES = [0, 1, -1, 127, -128, 128, -129, 255, -256, 256, 2**15, 2**16, 2**31, -(2**31), -(2**31) - 1]
EDGES += [2**32 - 1, 2**32, 2**40, 2**56, 2**62, -(2**62) - 1, 2**63 - 1, -(2**63)]

integers = st.one_of(st.sampled_from(EDGES), st.integers(-(2**63), 2**63 - 1), st.integers(-5, 300))
texts = st.one_of(st.text(max_size=8), st.sampled_from(["", "é" * 127, "x" * 254, "x" * 255, "x" * 300]))
scalars = st.one_of(st.booleans(), integers, st.floats(), texts)
integer_lists = st.one_of(
    st.lists(integers, max_size=5),
    st.lists(st.integers(0, 9), max_size=9),
    st.integers(250, 260).map(lambda count: list(range(count))),
)
mixed_lists = st.lists(st.one_of(scalars, st.lists(scalars, max_size=3)), max_size=4)
values = st.one_of(scalars, integer_lists, mixed_lists)
lists = st.one_of(integer_lists, mixed_lists)
changes = st.one_of(values, st.none(), lists.map(Append), lists.map(Remove))
field_ids = st.one_of(st.integers(1, 5), st.integers(1, 65_535))
documents = st.dictionaries(field_ids, values, max_size=6)

quick = settings(max_examples=150, derandomize=True, deadline=None)


def same(one, other):
    """Equality that tells 1 from True and 1.0, 0.0 from -0.0, and takes NaN for itself."""
    return repr(one) == repr(other)


def apply_by_the_book(held, change):
    """Apply one change to what a field holds (None: nothing), as the specification says it."""
    if isinstance(change, Append):
        if held is None:
            return list(change.values)
        return (held if isinstance(held, list) else [held]) + change.values
    if isinstance(change, Remove):
        if not isinstance(held, list):
            return held
        return [kept for kept in held if not any(equal(kept, gone) for gone in change.values)]
    return change


def equal(one, other):
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(equal(a, b) for a, b in zip(one, other))
    return type(one) is type(other) and one == other


@quick
@given(documents)
def test_a_document_comes_back(fields):
    assert same(decode_document(encode_document(fields)), fields)


@quick
@given(st.lists(st.lists(st.tuples(st.integers(1, 4), changes), max_size=5), max_size=4))
def test_payloads_apply_in_order(record):
    payloads = [b"".join(encode_document(dict([entry])) for entry in payload) for payload in record]
    expected = {}
    for field, change in (entry for payload in record for entry in payload):
        expected[field] = apply_by_the_book(expected.get(field), change)
    expected = {field: value for field, value in expected.items() if value is not None}
    found = decode_record(payloads)
    assert same(sorted(found.items()), sorted(expected.items()))
    assert same(decode_document(b"".join(payloads)), found)


@pytest.mark.parametrize(
    ("value", "size"),
    [(0, 3), (255, 4), (256, 5), (-1, 3), (-256, 4), (2**63 - 1, 11), (-(2**63), 11), (True, 3), (0.5, 11)]
    + [("", 4), ("x" * 254, 258), ("x" * 255, 263), ([], 4), ([255] * 20, 24), ([-1] * 20, 24)]
    + [([256] * 20, 44), ([2**32 - 1], 8), ([2**32], 12), ([-129], 6), ([1] * 255, 263)],
)
def test_values_take_the_bytes_they_need(value, size):
    assert len(encode_document({1: value})) == size


def test_a_typical_document_is_half_of_eight_byte_integers():
    fields = dict(enumerate([3, 40, 200, 7, 0, 1, 9, 80, 12, 512, 768, 1024, 900, 30_000, 10**7], 1))
    fields |= {16 + i: bool(i & 1) for i in range(5)} | {
        21: "x" * 36,
        22: "y" * 36,
        23: list(range(29_980, 30_000)),
    }
    eight_bytes_each = 15 * 11 + 5 * 4 + 2 * (7 + 36) + 7 + 8 * 20
    assert len(encode_document(fields)) <= 0.55 * eight_bytes_each


def test_wider_bytes_than_needed_are_read():
    assert decode_document(bytes.fromhex("010028 0500000000000000 020034 00000000")) == {1: 5, 2: -1}
    assert decode_document(bytes.fromhex("010050 ff02000000 6162 020067 01 ffffffffffffffff")) == {
        1: "ab",
        2: [-1],
    }


def test_numpy_values_count_as_what_they_hold():
    np = pytest.importorskip("numpy")
    given_values = {
        1: np.int64(5),
        2: np.bool_(True),
        3: np.float32(0.5),
        4: np.arange(3),
        5: [np.int8(-1), 2],
    }
    assert same(
        decode_document(encode_document(given_values)), {1: 5, 2: True, 3: 0.5, 4: [0, 1, 2], 5: [-1, 2]}
    )


def nested(depth):
    value = ["x"]
    for _ in range(depth - 1):
        value = [value]
    return value


def test_lists_nest_up_to_the_limit():
    deepest = {1: nested(document.MAX_DEPTH)}
    assert decode_document(encode_document(deepest)) == deepest
    with pytest.raises(InvalidError, match=r"field 1: .*deeper than 16"):
        encode_document({1: nested(document.MAX_DEPTH + 1)})
    body = b"\x50\x00"
    for _ in range(document.MAX_DEPTH + 1):
        body = bytes((document.MIXED, len(body))) + body
    with pytest.raises(CorruptError, match="deeper than 16"):
        decode_document(b"\x01\x00" + body)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({0: 1}, "field id 0 is outside 1..65535"),
        ({65_536: 1}, "field id 65536"),
        ({7: 2**63}, "field 7: .*9223372036854775808.*64 bits"),
        ({7: -(2**63) - 1}, "field 7: .*64 bits"),
        ({7: [1, 2**63]}, "field 7: .*64 bits"),
        ({7: b"bytes"}, "field 7: cannot store a bytes"),
        ({7: [None]}, "field 7: cannot store a NoneType"),
        ({7: {"a": 1}}, "field 7: cannot store a dict"),
        ({7: "\ud800"}, "field 7: .*surrogate"),
    ],
)
def test_what_cannot_be_stored_is_refused(fields, message):
    with pytest.raises(InvalidError, match=message):
        encode_document(fields)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ("01", "byte 0: an entry of 1 bytes"),
        ("0100", "byte 0: an entry of 2 bytes"),
        ("000010", "byte 0: field id 0"),
        ("010011 020012", "byte 5: unknown tag 0x12"),
        ("010001", "byte 2: unknown tag 0x01"),
        ("010029", "byte 2: unknown tag 0x29"),
        ("010063 00", "byte 2: unknown tag 0x63"),
        ("0100c0", "byte 2: unknown tag 0xc0"),
        ("010022 01", "byte 0: an entry ends at byte 5, behind the end at 4"),
        ("010028 0000000000000080", "byte 3: integer 9223372036854775808"),
        ("010038 0000000000000080", "byte 3: integer"),
        ("010050", "byte 0: an entry ends at byte 4"),
        ("010050 02 61", "byte 4: an entry ends at byte 6"),
        ("010050 ff 0200", "byte 3: an entry ends at byte 8"),
        ("010050 02 61ff", "byte 5: a string that is not UTF-8"),
        ("010067 ff ffffffff", "behind the end"),
        ("010070 01 00", "byte 4: tag 0x00 inside a mixed list"),
        ("010070 02 a000", "byte 4: tag 0xa0 inside a mixed list"),
        ("010070 01 21", "behind the end at 5"),
    ],
)
def test_damage_is_named_with_its_offset(payload, message):
    with pytest.raises(CorruptError, match=message):
        decode_document(bytes.fromhex(payload))


SAMPLE = {1: 300, 2: -5, 3: True, 4: 0.5, 5: "héllo", 6: [1, 2, 3], 7: [-1, 2**40], 8: ["é", 1, [2, True]]}


def test_truncation_gives_an_error_or_fewer_fields():
    payload = encode_document(SAMPLE)
    whole = 0
    for length in range(len(payload)):
        try:
            fields = decode_document(payload[:length])
        except CorruptError:
            continue
        whole += 1
        assert list(fields.items()) == list(SAMPLE.items())[: len(fields)]
    assert whole == len(SAMPLE)


def test_a_flipped_bit_gives_an_error_or_a_document():
    payload = encode_document(SAMPLE)
    for bit in range(8 * len(payload)):
        damaged = bytearray(payload)
        damaged[bit >> 3] ^= 1 << (bit & 7)
        try:
            fields = decode_document(bytes(damaged))
        except CorruptError:
            continue
        assert same(decode_document(encode_document(fields)), fields)


# ---- stored bytes

SCALARS = dict(enumerate(EDGES, 1))
SCALARS |= {
    100: True,
    101: False,
    102: 0.1,
    103: -0.0,
    104: math.inf,
    105: "",
    106: "héllo",
    65_535: "x" * 300,
}
LISTS = {1: [], 2: [0, 255], 3: [65_535], 4: [2**32 - 1], 5: [2**32], 6: [-1, 127], 7: [-129], 8: [-40_000]}
LISTS |= {9: [-(2**63), 2**63 - 1], 10: list(range(300)), 11: [1, True, 1.0, "1", [1], ["a", []]]}
CHANGES = {1: None, 2: Append([1, 300]), 3: Remove([-1]), 4: Append(["a", 1]), 5: Remove([True])}


@register("document", "v1", "small")
def small() -> bytes:
    return encode_document({1: 300, 2: True, 3: "ab", 4: [1, 2]})


@register("document", "v1", "scalars")
def scalar_values() -> bytes:
    return encode_document(SCALARS)


@register("document", "v1", "lists")
def list_values() -> bytes:
    return encode_document(LISTS)


@register("document", "v1", "changes")
def change_entries() -> bytes:
    return encode_document(CHANGES)


def test_every_stored_case_is_registered():
    assert stored("document") == set(cases("document"))


@pytest.mark.parametrize("case", cases("document"))
def test_documents_are_encoded_as_they_were_stored(case):
    assert cases("document")[case]() == golden("document", case)


@pytest.mark.parametrize(
    ("case", "fields"),
    [
        ("small", {1: 300, 2: True, 3: "ab", 4: [1, 2]}),
        ("scalars", SCALARS),
        ("lists", LISTS),
        ("changes", {2: [1, 300], 4: ["a", 1]}),
    ],
)
def test_stored_documents_are_read(case, fields):
    assert same(decode_document(golden("document", case)), fields)


def test_stored_changes_apply():
    before = encode_document({1: 5, 2: [7], 3: [-1, 1, -1], 4: [2], 5: [True, 1]})
    after = {2: [7, 1, 300], 3: [1], 4: [2, "a", 1], 5: [1]}
    assert same(decode_record([before, golden("document", "changes")]), after)
