"""Keys and payloads of the bitmap silo: published numbers, algebra of ops, damage, order of values."""

import struct
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroaring import BitMap

from bitdex.errors import CorruptError, InvalidError
from bitdex.formats import bitmap
from bitdex.formats.bitmap import CLEAR, SET, KeyParts, describe, encode_ops, fold, from_ordered, to_ordered
from tests.formats.goldens import cases, golden, register, stored
from tests.kernels.slot_sets import quick, slot_sets

OPS = st.lists(st.tuples(st.sampled_from([SET, CLEAR]), st.sets(st.integers(0, 30))), max_size=6)


@register("bitmap", "v1", "keys")
def _keys() -> bytes:
    keys = [
        bitmap.alive_key(),
        bitmap.filter_key(1, 5),
        bitmap.filter_key(16383, 2**48 - 1),
        bitmap.layer_key(2, 31),
        bitmap.layer_key(16383, 63),
        bitmap.present_key(2),
        bitmap.phase_key(0),
        bitmap.phase_key(7),
    ]
    return struct.pack("<8Q", *keys)


@register("bitmap", "v1", "put")
def _put() -> bytes:
    return bitmap.encode(BitMap([1, 5, 70000]) | BitMap(range(200_000, 201_000)))


@register("bitmap", "v1", "merge")
def _merge() -> bytes:
    return encode_ops([(SET, BitMap([1, 2, 70000])), (CLEAR, BitMap([2])), (SET, BitMap())])


@register("bitmap", "v1", "ordered")
def _ordered() -> bytes:
    signed = to_ordered(np.array([-(2**63), -1, 0, 7], np.int64))
    floats = to_ordered(np.array([-np.inf, -1.5, -0.0, 0.0, 2.5, np.inf]))
    return signed.astype("<u8").tobytes() + floats.astype("<u8").tobytes()


@quick
@given(st.sampled_from([SET, CLEAR]), st.sets(st.integers(0, 2**32 - 1), min_size=1, max_size=5))
def test_one_op_is_encoded_as_several_are(op, slots):
    assert bitmap.encode_op(op, sorted(slots)) == encode_ops([(op, BitMap(slots))])


@pytest.mark.parametrize("case", sorted(cases("bitmap") | dict.fromkeys(stored("bitmap"))))
def test_the_published_bytes(case: str) -> None:
    assert cases("bitmap")[case]() == golden("bitmap", case)


def test_stored_payloads_are_still_read() -> None:
    put = golden("bitmap", "put")
    assert bitmap.decode(put) == BitMap([1, 5, 70000]) | BitMap(range(200_000, 201_000))
    assert fold([put, golden("bitmap", "merge")], True) == bitmap.decode(put) - BitMap([2]) | BitMap([1])


KEYS = [
    (bitmap.alive_key(), 0x1, KeyParts("alive")),
    (bitmap.deferred_key(), 0x2, KeyParts("deferred")),
    (bitmap.hidden_key(), 0x3, KeyParts("hidden")),
    (bitmap.filter_key(1, 5), 0x1000000000005, KeyParts("filter", 1, 5)),
    (bitmap.filter_key(16383, 2**48 - 1), 0x3FFFFFFFFFFFFFFF, KeyParts("filter", 16383, 2**48 - 1)),
    (bitmap.layer_key(2, 31), 0x800000020000001F, KeyParts("layer", 2, 31)),
    (bitmap.present_key(2), 0x80000002FFFFFFFF, KeyParts("present", 2)),
    (bitmap.set_key(3), 0x4000000000000003, KeyParts("set", None, 3)),
    (bitmap.phase_key(3), 0xC000000000000003, KeyParts("phase", None, 3)),
    (bitmap.phase_key(2**32 - 1), 0xC0000000FFFFFFFF, KeyParts("phase", None, 2**32 - 1)),
]


@pytest.mark.parametrize(("key", "number", "parts"), KEYS)
def test_keys_and_what_they_stand_for(key: int, number: int, parts: KeyParts) -> None:
    assert key == number
    assert describe(key) == parts


@pytest.mark.parametrize(
    "key", [0, 4, 2**48 - 1, 2**62 | 1 << 32, 2**63, 2**63 | 1 << 46, 0xC000000100000000, 2**64 - 1]
)
def test_other_keys_are_unknown(key: int) -> None:
    assert describe(key) == KeyParts("unknown", None, key)


@pytest.mark.parametrize("repeated", [1, bitmap.FEW])
def test_the_fields_of_the_present_keys_among_others(repeated: int) -> None:
    keys = [key for key, _, _ in KEYS] * repeated
    expected = [parts.field_id for _, _, parts in KEYS if parts.kind == "present"] * repeated
    assert bitmap.present_fields(np.array(keys, np.uint64)) == expected


def test_many_filter_keys_are_the_single_ones() -> None:
    values = np.array([0, 7, 2**48 - 1], np.uint64)
    assert bitmap.filter_keys(3, values).tolist() == [bitmap.filter_key(3, int(value)) for value in values]
    assert bitmap.filter_keys(3, values[:0]).dtype == np.uint64
    with pytest.raises(InvalidError, match=f"filter value {2**48} of field id 3"):
        bitmap.filter_keys(3, np.array([1, 2**48], np.uint64))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bitmap.filter_key(1, 2**48), "does not fit 48 bits"),
        (lambda: bitmap.filter_key(1, -1), "filter value -1"),
        (lambda: bitmap.filter_key(0, 1), "field id 0: ids are 1 to 16383"),
        (lambda: bitmap.layer_key(16384, 1), "field id 16384"),
        (lambda: bitmap.layer_key(1, 64), "bit 64 of field id 1"),
        (lambda: bitmap.phase_key(2**32), "phase id 4294967296"),
        (lambda: encode_ops([(3, BitMap())]), "op 3"),
    ],
)
def test_what_does_not_fit_is_refused(make: object, message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        make()  # type: ignore[operator]


@quick
@given(slot_sets())
def test_a_put_payload_is_portable_and_leaves_its_bitmap_alone(slots: np.ndarray) -> None:
    held = BitMap(slots.tolist())
    before = held.serialize()
    payload = bitmap.encode(held)
    assert held.serialize() == before
    assert BitMap.deserialize(payload) == held == bitmap.decode(payload)
    assert bitmap.decode(np.frombuffer(payload, np.uint8)) == held


@quick
@given(st.one_of(st.none(), st.sets(st.integers(0, 30))), st.lists(OPS, max_size=4))
def test_folding_applies_ops_in_order(
    base: set[int] | None, merges: list[list[tuple[int, set[int]]]]
) -> None:
    expected = set(base or ())
    for op, slots in (op for ops in merges for op in ops):
        expected = expected | slots if op == SET else expected - slots
    payloads = [encode_ops([(op, BitMap(slots)) for op, slots in ops]) for ops in merges]
    if base is not None:
        payloads = [bitmap.encode(BitMap(base)), *payloads]
    assert fold(payloads, base is not None) == BitMap(expected)
    packed, offsets = bitmap.fold_records(*pack([payloads, payloads]))
    halves = [packed[first:stop] for first, stop in pairwise(offsets)]
    assert [bitmap.decode(half) for half in halves] == [BitMap(expected)] * 2


def pack(records: list[list[bytes]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    payloads = [payload for record in records for payload in record]
    offsets = np.cumsum([0, *map(len, payloads)])
    return np.frombuffer(b"".join(payloads), np.uint8), offsets, np.cumsum([0, *map(len, records)])


def test_folding_no_records() -> None:
    packed, offsets = bitmap.fold_records(*pack([]))
    assert len(packed) == 0 and offsets.tolist() == [0]


@quick
@given(slot_sets(min_chunks=1), st.data())
def test_a_damaged_payload_is_corrupt_or_sound(slots: np.ndarray, data: st.DataObject) -> None:
    payload = bitmap.encode(BitMap(slots.tolist()))
    with pytest.raises(CorruptError, match=f"bitmap of {len(payload) + 1} bytes: bytes follow"):
        bitmap.decode(payload + b"\0")
    with pytest.raises(CorruptError):
        bitmap.decode(payload[: data.draw(st.integers(0, len(payload) - 1))])
    damaged = bytearray(payload)
    damaged[data.draw(st.integers(0, min(len(payload), 60) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = bitmap.decode(bytes(damaged))
    except CorruptError:
        return
    assert len(found.to_array()) == len(found)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"\1\0\0", "found its beginning only"),
        (b"\7" + struct.pack("<I", 0), "found op 7 and 0 bytes"),
        (b"\1" + struct.pack("<I", 99) + b"x", "at most 1 bytes at byte 0, found op 1 and 99 bytes"),
        (b"\1" + struct.pack("<I", 8) + b"12345678", "bitmap of 8 bytes: the cookie"),
    ],
)
def test_damaged_ops_are_corrupt(payload: bytes, message: str) -> None:
    with pytest.raises(CorruptError, match=message):
        fold([payload], False)


SIGNED = st.one_of(st.sampled_from([-(2**63), -1, 0, 1, 2**63 - 1]), st.integers(-(2**63), 2**63 - 1))
COLUMNS = st.one_of(
    st.lists(SIGNED, min_size=1).map(lambda values: np.array(values, np.int64)),
    st.lists(st.integers(0, 2**64 - 1), min_size=1).map(lambda values: np.array(values, np.uint64)),
    st.lists(st.integers(-128, 127), min_size=1).map(lambda values: np.array(values, np.int8)),
    st.lists(st.floats(allow_nan=False), min_size=1).map(np.array),
    st.lists(st.floats(allow_nan=False, width=32), min_size=1).map(lambda v: np.array(v, np.float32)),
    st.lists(st.booleans(), min_size=1).map(np.array),
)


@quick
@given(COLUMNS)
def test_ordered_values_compare_as_the_values(column: np.ndarray) -> None:
    words = to_ordered(column)
    assert words.dtype == np.uint64
    values, numbers = column.tolist(), words.tolist()
    for value, number in zip(values, numbers):
        assert (value < values[0], value == values[0]) == (number < numbers[0], number == numbers[0])
    back = from_ordered(words, column.dtype)
    assert back.dtype == column.dtype and back.tolist() == values
