"""Bits of the ops in a log: those that the plain definition finds, and none of what is damaged."""

import numpy as np
import pytest
from pyroaring import BitMap

from bitdex.formats import bitmap, frame
from bitdex.kernels.bit_ops import bits_of
from tests.kernels.frame_store import SEED, frames_at

MERGE = frame.order(5, frame.MERGE)
OPS = [
    [(bitmap.SET, BitMap([1, 2, 70_000]))],
    [(bitmap.SET, BitMap([3])), (bitmap.CLEAR, BitMap(range(100_000))), (bitmap.SET, BitMap([0]))],
    [(bitmap.CLEAR, BitMap([2**32 - 1]))],
    [(bitmap.SET, BitMap())],
    [(bitmap.SET, BitMap(range(0, 200_000, 3)))],
]


def found(payloads, most=1 << 20, spoil=None):
    data, places = frames_at([(key, payload, MERGE) for key, payload in enumerate(payloads)], 64)
    if spoil is not None:
        data[spoil(places)] ^= 1
    sizes = np.array([len(payload) for payload in payloads], np.int64)
    return bits_of(data, np.arange(len(payloads), dtype=np.uint64), places, sizes, SEED, most)


def test_every_bit_is_found_in_order():
    keys, slots, sets = found([bitmap.encode_ops(ops) for ops in OPS])
    expected = [
        (row, slot, op == bitmap.SET)
        for row, ops in enumerate(OPS)
        for op, members in ops
        for slot in members
    ]
    assert list(zip(keys.tolist(), slots.tolist(), sets.tolist())) == expected


def test_no_frames_have_no_bits():
    keys, slots, sets = found([])
    assert len(keys) == len(slots) == len(sets) == 0


def test_more_bits_than_are_wanted_are_not_listed():
    payload = bitmap.encode_ops([(bitmap.SET, BitMap(range(100)))])
    assert found([payload, payload], most=199) is None
    assert len(found([payload, payload], most=200)[0]) == 200


@pytest.mark.parametrize(
    "payload",
    [
        b"\x01",
        b"\x03" + bitmap.encode_op(bitmap.SET, [1])[1:],
        bitmap.encode_op(bitmap.SET, [1])[:-1],
        bitmap.encode_op(bitmap.SET, [1]) + b"\x01\xff\xff\xff\xff",
        bitmap.OP.pack(bitmap.SET, 0xFFFFFFFF),
        bitmap.OP.pack(bitmap.SET, 0),
    ],
)
def test_a_payload_that_is_no_ops_has_none(payload):
    whole = bitmap.encode_op(bitmap.SET, [1])
    assert found([whole, payload, whole]) is None and len(found([whole])[0]) == 1


def test_a_frame_with_a_wrong_checksum_has_none():
    whole = bitmap.encode_op(bitmap.SET, [1])
    assert found([whole, whole, whole], spoil=lambda places: places[2] + 26) is None
