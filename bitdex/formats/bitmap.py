"""What the bitmap silo stores: keys, payloads, and sort values as unsigned integers.

Keys, 64 bits. Field ids are 1 to 16,383, so the smallest filter key is 2**48:

    alive            0x0000000000000001                     every document that is visible
    deferred         0x0000000000000002                     documents that wait for their time
    hidden           0x0000000000000003                     what phases wrote of no document that is either
    filter value     00 | field 14 | value 48               slots whose field holds the value
    saved set        01 | zero 30 | number 32               slots that a user has saved
    sort layer       10 | zero 16 | field 14 | bit 32       slots whose sort value has the bit set
    present          10 | zero 16 | field 14 | 0xFFFFFFFF   slots whose field has a value at all
    phase            11 | zero 30 | phase 32                slots that a dump phase wrote

A value of more than 48 bits, a negative one or a string has a dictionary number as its value.
Empty layers and values are not stored.

Payloads. A Put frame holds a bitmap in the portable Roaring format, which any Roaring library
reads. A Merge frame holds ops, to be applied in order to what the frames before it gave:

    offset  size  field
    0       u8    op        1 = set these slots, 2 = clear them
    1       u32   length    of the bitmap in bytes
    5       ...   bitmap    portable Roaring
                  and so on with the next op, to the end of the payload

A Roaring bitmap begins with the byte 0x3A or 0x3B and ops do not, so a payload shows which it is.

Sort values. Layers hold unsigned integers that compare as the values do: unsigned ones and
booleans as they are; signed ones plus 2**63; floats by their IEEE bits, all of them flipped if
negative, else only the sign (-0.0 is stored as 0.0; NaN has no place and is not a value).
"""

import struct
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from pyroaring import BitMap

from bitdex.errors import CorruptError, InvalidError
from bitdex.kernels.bit_ops import CLEAR, SET
from bitdex.kernels.roaring import FAULTS, PLAIN_COOKIE, cardinality, encode_runs

FIELD_MAX = (1 << 14) - 1
VALUE_MAX = (1 << 48) - 1
ALIVE, DEFERRED, HIDDEN = 1, 2, 3
PRESENT = 0xFFFFFFFF
SETS, LAYERS, PHASES = 0b01 << 62, 0b10 << 62, 0b11 << 62

OP = struct.Struct("<BI")
_SINGLE = struct.Struct("<BIIIHHIH")  # an op on one slot: a bitmap of one array container with one element
_HEAD = np.dtype([("op", "u1"), ("length", "<u4")])  # the same
FEW = 100  # keys that are sooner looked at one by one than as an array
EMPTY_SIZE = 8  # bytes of a bitmap without members

Payload = bytes | memoryview | np.ndarray

_SIGN = np.uint64(1 << 63)
_COOKIES = (0x3A, 0x3B)


class KeyParts(NamedTuple):
    """What a key stands for: kind, and the field, value, bit or phase where the kind has one."""

    kind: str
    field_id: int | None = None
    value: int | None = None


def alive_key() -> int:
    """Return the key of the bitmap of all visible documents."""
    return ALIVE


def deferred_key() -> int:
    """Return the key of the bitmap of the documents that are to be visible from some time on."""
    return DEFERRED


def hidden_key() -> int:
    """Return the key of the bitmap of the slots that phases wrote, and that are no documents."""
    return HIDDEN


def filter_key(field_id: int, value: int) -> int:
    """Return the key of one value of a filter field.

    >>> hex(filter_key(1, 5))
    '0x1000000000005'
    """
    if not 0 <= value <= VALUE_MAX:
        raise InvalidError(
            f"filter value {value} of field id {field_id} does not fit 48 bits: give it a dictionary number"
        )
    return _field(field_id) << 48 | int(value)


def filter_keys(field_id: int, values: np.ndarray) -> np.ndarray:
    """Return the keys (u64) of many values (u64) of a filter field."""
    if len(values) and values.max() > VALUE_MAX:
        filter_key(field_id, int(values.max()))
    return values.astype(np.uint64) | np.uint64(_field(field_id) << 48)


def layer_key(field_id: int, bit: int) -> int:
    """Return the key of one bit layer of a sort field.

    >>> hex(layer_key(2, 31))
    '0x800000020000001f'
    """
    if not 0 <= bit <= 63:
        raise InvalidError(f"bit {bit} of field id {field_id}: sort values have bits 0 to 63")
    return LAYERS | _field(field_id) << 32 | bit


def present_key(field_id: int) -> int:
    """Return the key of the slots whose field, filter or sort, has a value."""
    return LAYERS | _field(field_id) << 32 | PRESENT


def present_fields(keys: np.ndarray) -> list[int]:
    """Return the field ids of the present keys among keys (u64)."""
    if len(keys) < FEW:
        return [key >> 32 & FIELD_MAX for key in keys.tolist() if key & PRESENT == PRESENT and key >> 62 == 2]
    low, high = keys & np.uint64(PRESENT), keys >> np.uint64(32)
    return (high[(low == PRESENT) & (high >> np.uint64(30) == 0b10)] & np.uint64(FIELD_MAX)).tolist()


def phase_key(phase_id: int) -> int:
    """Return the key of the slots that a dump phase wrote."""
    if not 0 <= phase_id < 1 << 32:
        raise InvalidError(f"phase id {phase_id}: ids are 0 to 2**32 - 1")
    return PHASES | phase_id


def set_key(number: int) -> int:
    """Return the key of a saved set."""
    if not 0 <= number < 1 << 32:
        raise InvalidError(f"number {number} of a saved set: those are 0 to 2**32 - 1")
    return SETS | number


def describe(key: int) -> KeyParts:
    """Return what a key stands for.

    >>> describe(layer_key(2, 31))
    KeyParts(kind='layer', field_id=2, value=31)
    """
    high, low = key >> 32, key & 0xFFFFFFFF
    if key == ALIVE:
        return KeyParts("alive")
    if key == DEFERRED:
        return KeyParts("deferred")
    if key == HIDDEN:
        return KeyParts("hidden")
    if 1 <= key >> 48 <= FIELD_MAX:
        return KeyParts("filter", key >> 48, key & VALUE_MAX)
    if key >> 62 == 0b10 and 1 <= high - (LAYERS >> 32) <= FIELD_MAX:
        field_id = high - (LAYERS >> 32)
        return KeyParts("present", field_id) if low == PRESENT else KeyParts("layer", field_id, low)
    if high == PHASES >> 32:
        return KeyParts("phase", None, low)
    if high == SETS >> 32:
        return KeyParts("set", None, low)
    return KeyParts("unknown", None, key)


def encode(bitmap: BitMap) -> bytes:
    """Return a bitmap as the payload of a Put frame, run-optimised."""
    smallest = bitmap.copy()  # others may be reading the bitmap
    smallest.run_optimize()
    return smallest.serialize()


def decode(payload: Payload) -> BitMap:
    """Return the bitmap of a Put payload; CorruptError if the bytes are not exactly one sound bitmap."""
    data = np.frombuffer(payload, np.uint8)
    count = cardinality(data, 0, len(data))
    if count < 0:
        raise CorruptError(f"bitmap of {len(data)} bytes: {FAULTS[count]}")
    try:
        bitmap = BitMap.deserialize(data.data)  # type: ignore[arg-type]  # any buffer will do
    except (ValueError, IndexError) as error:
        raise CorruptError(f"bitmap of {len(data)} bytes: {error}") from None
    if len(bitmap) != count:
        raise CorruptError(f"bitmap of {len(data)} bytes: expected {count} slots, found {len(bitmap)}")
    return bitmap


def are_void(keys: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Tell which payloads, by key and length, hold no slot and go; those of phases and saved sets stay."""
    return (sizes == EMPTY_SIZE) & ((keys >> np.uint64(62)) & np.uint64(1) == 0)


def encode_ops(ops: Iterable[tuple[int, BitMap]]) -> bytes:
    """Return the payload of a Merge frame: (SET or CLEAR, slots), in the order given.

    >>> fold([encode_ops([(SET, BitMap([1, 2])), (CLEAR, BitMap([2]))])], first_is_put=False)
    BitMap([1])
    """
    parts = []
    for op, slots in ops:
        if op not in (SET, CLEAR):
            raise InvalidError(f"op {op}: a bitmap op is 1 (set) or 2 (clear)")
        body = encode(slots)
        parts += [OP.pack(op, len(body)), body]
    return b"".join(parts)


def encode_op(op: int, slots: list[int]) -> bytes:
    """Return a Merge payload of one op; `slots` are ascending and distinct.

    >>> encode_op(SET, [70_000]) == encode_ops([(SET, BitMap([70_000]))])
    True
    """
    if len(slots) > 1:
        return encode_ops([(op, BitMap(slots))])
    slot = slots[0]
    return _SINGLE.pack(op, _SINGLE.size - OP.size, PLAIN_COOKIE, 1, slot >> 16, 0, 16, slot & 0xFFFF)


def encode_each_op(op: int, slots: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a Merge payload of one op for each run ``slots[offsets[i]:offsets[i + 1]]``, packed.

    Parameters
    ----------
    op : int
        SET or CLEAR.
    slots : ndarray of uint32
        Ascending and distinct within a run, of which none is empty.
    offsets : ndarray of int64, shape (runs + 1,)

    Returns
    -------
    payloads : ndarray of uint8
    offsets : ndarray of int64, shape (runs + 1,)

    Examples
    --------
    >>> payloads, ends = encode_each_op(SET, np.array([1, 2], "u4"), np.array([0, 2]))
    >>> payloads.tobytes() == encode_ops([(SET, BitMap([1, 2]))]), ends.tolist()
    (True, [0, 25])
    """
    payloads, ends = encode_runs(slots, offsets, OP.size)
    heads = np.zeros(len(ends) - 1, _HEAD)
    heads["op"], heads["length"] = op, np.diff(ends) - OP.size
    places = ends[:-1, np.newaxis] + np.arange(OP.size)
    payloads[places] = heads.view(np.uint8).reshape(-1, OP.size)
    return payloads, ends


def decode_ops(payload: Payload) -> list[tuple[int, BitMap]]:
    """Return the ops of a Merge payload; CorruptError if they are damaged."""
    data, at, ops = np.frombuffer(payload, np.uint8).data, 0, []
    while at < len(data):
        if at + OP.size > len(data):
            raise CorruptError(
                f"bitmap ops: expected an op at byte {at} of {len(data)}, found its beginning only"
            )
        op, length = OP.unpack_from(data, at)
        at += OP.size
        if op not in (SET, CLEAR) or length > len(data) - at:
            raise CorruptError(
                f"bitmap ops: expected op 1 or 2 and at most {len(data) - at} bytes"
                f" at byte {at - OP.size}, found op {op} and {length} bytes"
            )
        ops.append((op, decode(data[at : at + length])))
        at += length
    return ops


def fold(payloads: Sequence[Payload], first_is_put: bool) -> BitMap:
    """Apply payloads, oldest first, to each other; without a Put before them they begin with no slots."""
    bitmap = decode(payloads[0]) if first_is_put else BitMap()
    for payload in payloads[1 if first_is_put else 0 :]:
        for op, slots in decode_ops(payload):
            if op == SET:
                bitmap |= slots
            else:
                bitmap -= slots
    return bitmap


def fold_records(
    payloads: np.ndarray, offsets: np.ndarray, starts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Fold packed payloads record by record, the silo's merge rule `bitmap`.

    Parameters
    ----------
    payloads : ndarray of uint8
    offsets : ndarray of int64, shape (payloads + 1,)
    starts : ndarray of int64, shape (records + 1,)
        Record i is payloads ``starts[i]:starts[i + 1]``, oldest first.

    Returns
    -------
    payloads : ndarray of uint8
        One Put payload per record.
    offsets : ndarray of int64, shape (records + 1,)
    """
    folded = []
    for first, stop in pairwise(starts):
        record = [payloads[offsets[i] : offsets[i + 1]] for i in range(first, stop)]
        put = len(record) > 0 and len(record[0]) > 0 and record[0][0] in _COOKIES
        folded.append(record[0] if put and len(record) == 1 else _packed(fold(record, put)))
    ends = np.zeros(len(folded) + 1, np.int64)
    np.cumsum([len(payload) for payload in folded], out=ends[1:])
    return np.concatenate(folded) if folded else np.empty(0, np.uint8), ends


def to_ordered(values: np.ndarray) -> np.ndarray:
    """Return sort values (booleans, integers or floats without NaN) as u64 that compare as they do.

    >>> to_ordered(np.array([-1, 0, 1])).tolist()
    [9223372036854775807, 9223372036854775808, 9223372036854775809]
    """
    kind = values.dtype.kind
    if kind == "f":
        words = (values.astype(np.float64) + 0.0).view(np.uint64)  # -0.0 + 0.0 is 0.0
        return np.where(words & _SIGN, ~words, words | _SIGN)
    if kind == "i":
        return values.astype(np.int64).view(np.uint64) ^ _SIGN
    return values.astype(np.uint64)


def from_ordered(words: np.ndarray, dtype: np.dtype | type) -> np.ndarray:
    """Return sort values of a dtype from their unsigned form (u64), the inverse of `to_ordered`."""
    kind = np.dtype(dtype).kind
    if kind == "f":
        words = np.where(words & _SIGN, words ^ _SIGN, ~words)
        return words.view(np.float64).astype(dtype)
    if kind == "i":
        return (words ^ _SIGN).view(np.int64).astype(dtype)
    return words.astype(dtype)


def _field(field_id: int) -> int:
    if not 1 <= field_id <= FIELD_MAX:
        raise InvalidError(f"field id {field_id}: ids are 1 to {FIELD_MAX}")
    return int(field_id)


def _packed(bitmap: BitMap) -> np.ndarray:
    return np.frombuffer(encode(bitmap), np.uint8)
