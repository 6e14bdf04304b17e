"""Documents as bytes: {field id -> typed value}, each integer in the bytes it needs.

A payload is a sequence of entries, little-endian, without padding; an empty payload is
an empty document:

    +----------+-----+------------------------------------+
    | field id | tag | value                              |
    |   u16    | u8  | 0 .. bytes, as the tag says        |
    +----------+-----+------------------------------------+

    tag          value                          meaning
    00           nothing                        clear: the field is no longer there
    10, 11       nothing                        false, true
    20 + w       w bytes, unsigned, w = 0..8    integer v, 0 <= v < 2**63
    30 + w       w bytes, unsigned, w = 0..8    integer v < 0, stored as -1 - v
    40           8 bytes                        IEEE 754 double
    50           length, UTF-8                  string
    60 + c       count, elements                integer list: replaces what was there
    a0 + c       count, elements                ... is appended to what was there
    e0 + c       count, elements                ... every equal element is removed
    70, b0, f0   length, elements               mixed list: replaces, appends, removes

A length (bytes) or count (elements) is one byte; 255 says that the number follows as
u32. The elements of an integer list share the format c: 0, 1, 2 are unsigned integers
of 1, 2, 4 bytes, 4, 5, 6, 7 signed ones of 1, 2, 4, 8. An element of a mixed list is a
tag and a value without a field id, a list among them one that replaces; lists nest up
to `MAX_DEPTH` deep. Field ids begin at 1. Any other tag is damage.

Entries apply in order, those of one payload and those of a record's next payload:
scalars replace. Appending to nothing makes the list, appending to a scalar makes the
list of it and the new elements. Removing compares type and value, and leaves scalars
and missing fields alone. A list without anything but integers is an integer list.
"""

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from struct import Struct
from typing import Any

from bitdex.errors import CorruptError, InvalidError

VERSION = 1

CLEAR, FALSE, TRUE = 0x00, 0x10, 0x11
INTEGER, NEGATIVE, FLOAT, STRING = 0x20, 0x30, 0x40, 0x50
LIST, LIST_APPEND, LIST_REMOVE = 0x60, 0xA0, 0xE0
MIXED, MIXED_APPEND, MIXED_REMOVE = 0x70, 0xB0, 0xF0
COMBINES = 0x80  # this tag and those above change what the field holds
REPLACES = 0xC0  # xor: append -> replace
LONG = 255
MAX_DEPTH = 16
MAX_FIELD = 0xFFFF
MAX_LENGTH = 0xFFFFFFFF
ELEMENTS = {0: "B", 1: "H", 2: "I", 4: "b", 5: "h", 6: "i", 7: "q"}  # c -> type code of array, memoryview


def _entry_sizes() -> list[int]:
    sizes = [0] * 256
    for tag in (CLEAR, FALSE, TRUE):
        sizes[tag] = 3
    for width in range(9):
        sizes[INTEGER + width] = sizes[NEGATIVE + width] = 3 + width
    sizes[FLOAT] = 11
    for tag in (STRING, MIXED, MIXED_APPEND, MIXED_REMOVE):
        sizes[tag] = 4
    for code in ELEMENTS:
        sizes[LIST + code] = sizes[LIST_APPEND + code] = sizes[LIST_REMOVE + code] = 4
    return sizes


ENTRY_SIZES = _entry_sizes()  # tag -> bytes of an entry, or the least of a string or list; 0: no such tag

_ORDINARY = frozenset({bool, int, float, str, list})
_DOUBLE = Struct("<d")
_from_bytes = int.from_bytes


@dataclass(frozen=True, slots=True)
class Append:
    """Elements to put behind what a field holds."""

    values: list


@dataclass(frozen=True, slots=True)
class Remove:
    """Elements to take out of a list field, wherever they occur."""

    values: list


# ---- encode


def encode_document(fields: Mapping[int, Any]) -> bytes:
    """Encode a document, or changes to one, as a payload.

    Parameters
    ----------
    fields : mapping of int to bool, int, float, str, list, None, Append or Remove
        Field ids from 1 to 65,535. None clears the field; NumPy scalars and arrays count
        as the Python values they hold.

    Raises
    ------
    InvalidError
        If an id, an integer or a length is out of range, or a value has another type.

    Examples
    --------
    >>> encode_document({1: 300, 2: True, 3: "ab", 4: [1, 2]}).hex(" ", 1)
    '01 00 22 2c 01 02 00 11 03 00 50 02 61 62 04 00 60 02 01 02'
    """
    out = bytearray()
    for field, value in fields.items():
        if not 1 <= field <= MAX_FIELD:
            raise InvalidError(f"field id {field} is outside 1..{MAX_FIELD}")
        kind = type(value)
        if kind is int and 0 <= value < 1 << 32:  # the ordinary cases first
            width = value.bit_length() + 7 >> 3
            out += (field | INTEGER + width << 16 | value << 24).to_bytes(3 + width, "little")
            continue
        if kind is bool:
            out += (field | (TRUE if value else FALSE) << 16).to_bytes(3, "little")
            continue
        out += field.to_bytes(2, "little")
        try:
            out += b"\x00" if value is None else _encode_change(value)
        except InvalidError as error:
            raise InvalidError(f"field {field}: {error}") from None
    return bytes(out)


def _encode_change(value: Any) -> bytes:
    if type(value) in _ORDINARY:
        return _encode_value(value, 0)
    if isinstance(value, Append):
        return _encode_list(value.values, LIST_APPEND, MIXED_APPEND, 1)
    if isinstance(value, Remove):
        return _encode_list(value.values, LIST_REMOVE, MIXED_REMOVE, 1)
    return _encode_value(value, 0)


def _encode_value(value: Any, depth: int) -> bytes:
    if isinstance(value, bool):
        return b"\x11" if value else b"\x10"
    if isinstance(value, int):
        return _encode_integer(value)
    if isinstance(value, float):
        return bytes((FLOAT,)) + _DOUBLE.pack(value)
    if isinstance(value, str):
        return _encode_string(value)
    if isinstance(value, (list, tuple)):
        return _encode_list(value, LIST, MIXED, depth + 1)
    plain = _plain(value)
    if plain is value:
        raise InvalidError(
            f"cannot store a {type(value).__name__}: {value!r:.80};"
            " accepted are bool, int, float, str and list"
        )
    return _encode_value(plain, depth)


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def _encode_integer(value: int) -> bytes:
    stored, kind = (value, INTEGER) if value >= 0 else (-1 - value, NEGATIVE)
    width = (stored.bit_length() + 7) >> 3
    if stored >> 63:
        raise InvalidError(f"the integer {value} does not fit 64 bits: -2**63..2**63-1 is accepted")
    return bytes((kind + width,)) + stored.to_bytes(width, "little")


def _encode_string(value: str) -> bytes:
    try:
        text = value.encode()
    except UnicodeEncodeError:
        raise InvalidError(f"the string {value!r:.80} is not Unicode text (lone surrogate)") from None
    return bytes((STRING,)) + _encode_length(len(text)) + text


def _encode_length(length: int) -> bytes:
    if length > MAX_LENGTH:
        raise InvalidError(f"{length} bytes or elements are too many: {MAX_LENGTH} are accepted")
    return bytes((length,)) if length < LONG else bytes((LONG,)) + length.to_bytes(4, "little")


def _encode_list(values: Iterable, integers: int, mixed: int, depth: int) -> bytes:
    if depth > MAX_DEPTH:
        raise InvalidError(f"the list nests deeper than {MAX_DEPTH}")
    elements = [value if type(value) is int else _plain(value) for value in values]
    if all(type(value) is int for value in elements):
        code = element_code(min(elements, default=0), max(elements, default=0))
        body = array(ELEMENTS[code], elements).tobytes()
        return bytes((integers + code,)) + _encode_length(len(elements)) + body
    body = b"".join(_encode_value(value, depth) for value in elements)
    return bytes((mixed,)) + _encode_length(len(body)) + body


def element_code(least: int, greatest: int) -> int:
    """Return the narrowest element format of a list between two integers."""
    if least >= 0 and greatest <= 0xFFFFFFFF:
        return 0 if greatest <= 0xFF else 1 if greatest <= 0xFFFF else 2
    for code in (4, 5, 6, 7):
        bits = 8 << (code & 3)
        if -1 << (bits - 1) <= least and greatest < 1 << (bits - 1):
            return code
    raise InvalidError(f"the list {least}..{greatest} does not fit 64 bits: -2**63..2**63-1 is accepted")


# ---- decode


def decode_document(payload: bytes) -> dict[int, Any]:
    """Decode the document that one payload makes.

    Raises
    ------
    CorruptError
        If the bytes are not a payload; names the offset and what stands there.

    Examples
    --------
    >>> decode_document(bytes.fromhex("01 00 22 2c 01 02 00 11 04 00 a0 02 01 02"))
    {1: 300, 2: True, 4: [1, 2]}
    """
    fields: dict[int, Any] = {}
    cleared = _apply(payload if type(payload) is bytes else bytes(payload), fields)
    return _without_cleared(fields) if cleared else fields


def decode_record(payloads: Iterable[bytes]) -> dict[int, Any]:
    """Decode the document that a record's payloads make, applied in order.

    Raises
    ------
    CorruptError
        As `decode_document`.

    Examples
    --------
    >>> decode_record([encode_document({1: 5, 2: [7]}), encode_document({1: None, 2: Append([8])})])
    {2: [7, 8]}
    """
    fields: dict[int, Any] = {}
    for payload in payloads:
        _apply(bytes(payload), fields)
    return _without_cleared(fields)


def _without_cleared(fields: dict[int, Any]) -> dict[int, Any]:
    return {field: value for field, value in fields.items() if value is not None}


def _apply(data: bytes, fields: dict[int, Any]) -> bool:
    """Apply a payload's entries; a cleared field stays as None, and True is returned if there is one."""
    at, size, cleared = 0, len(data), False
    while at < size:
        if size - at < 3:
            raise CorruptError(f"document byte {at}: an entry of {size - at} bytes; at least 3 expected")
        field = data[at] | data[at + 1] << 8
        tag = data[at + 2]
        if not field:
            raise CorruptError(f"document byte {at}: field id 0; ids begin at 1")
        if INTEGER < tag < INTEGER + 8 and at + tag - 29 <= size:  # the ordinary case first: 3 + tag - 32
            fields[field] = _from_bytes(data[at + 3 : at + tag - 29], "little")
            at += tag - 29
        elif tag < COMBINES:
            fields[field], at = _value(data, at, size, 0)
            cleared |= tag == CLEAR
        else:
            values, at = _value(data, at, size, 0)
            _combine(fields, field, values, tag < LIST_REMOVE)
    return cleared


def _combine(fields: dict[int, Any], field: int, values: list, appends: bool) -> None:
    held = fields.get(field)
    if appends:
        if held is None:
            fields[field] = values
        else:
            fields[field] = held + values if isinstance(held, list) else [held, *values]
    elif isinstance(held, list):
        fields[field] = [value for value in held if not any(_same(value, gone) for gone in values)]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and one == other


def _value(data: bytes, at: int, stop: int, depth: int) -> tuple[Any, int]:
    """Return the value of the entry at `at`, whose field id is not looked at, and where it ends."""
    tag = data[at + 2]
    size = ENTRY_SIZES[tag]
    if not size:
        raise CorruptError(f"document byte {at + 2}: unknown tag 0x{tag:02x}")
    start, end = at + 3, at + size
    if end > stop:
        raise _overrun(at, end, stop)
    if tag >= STRING:
        return _sized_value(data, tag, end, stop, depth)
    if tag <= TRUE:
        return (None if tag == CLEAR else tag == TRUE), end
    if tag == FLOAT:
        return _DOUBLE.unpack_from(data, start)[0], end
    stored = _from_bytes(data[start:end], "little")
    if stored >> 63:
        raise CorruptError(f"document byte {start}: integer {stored}; at most 2**63-1 expected")
    return (stored if tag < NEGATIVE else -1 - stored), end


def _sized_value(data: bytes, tag: int, start: int, stop: int, depth: int) -> tuple[Any, int]:
    length = data[start - 1]
    if length == LONG:
        start += 4
        if start > stop:
            raise _overrun(start - 5, start, stop)
        length = _from_bytes(data[start - 4 : start], "little")
    kind = tag & 0x30
    end = start + (length << (tag & 3) if kind == 0x20 else length)
    if end > stop:
        raise _overrun(start, end, stop)
    if kind == 0x20:
        return memoryview(data)[start:end].cast(ELEMENTS[tag & 7]).tolist(), end  # type: ignore[call-overload]
    return (_text(data, start, end) if tag == STRING else _mixed(data, start, end, depth + 1)), end


def _text(data: bytes, start: int, end: int) -> str:
    try:
        return data[start:end].decode()
    except UnicodeDecodeError as error:
        raise CorruptError(f"document byte {start + error.start}: a string that is not UTF-8") from None


def _mixed(data: bytes, at: int, stop: int, depth: int) -> list:
    if depth > MAX_DEPTH:
        raise CorruptError(f"document byte {at}: lists nest deeper than {MAX_DEPTH}")
    values = []
    while at < stop:
        if data[at] == CLEAR or data[at] >= COMBINES:
            raise CorruptError(f"document byte {at}: tag 0x{data[at]:02x} inside a mixed list")
        value, at = _value(data, at - 2, stop, depth)
        values.append(value)
    return values


def _overrun(at: int, end: int, stop: int) -> CorruptError:
    return CorruptError(f"document byte {at}: an entry ends at byte {end}, behind the end at {stop}")
