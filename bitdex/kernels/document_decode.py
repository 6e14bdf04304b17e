"""Documents to columns: one walk over the payloads of a block, then one pass a column.

The walk checks every entry against the end of its payload and notes, per column and
row, the tag and the position of the value (`tags`, `positions`: column-major, rows of
the block). What the passes read afterwards lies inside the payloads. The walk does not
look into strings and mixed lists. Strings and lists are measured first and copied when
the offsets of all blocks are known.

`bitdex.formats.document` specifies the entries.
"""

from itertools import pairwise
from typing import Any, NoReturn

import numpy as np

from bitdex.errors import CorruptError, InvalidError
from bitdex.formats.document import (
    CLEAR,
    COMBINES,
    ENTRY_SIZES,
    FLOAT,
    INTEGER,
    LIST,
    LIST_REMOVE,
    LONG,
    NEGATIVE,
    REPLACES,
    STRING,
    TRUE,
    decode_document,
)
from bitdex.kernels.jit import (
    boolean,
    device,
    i64,
    kernel,
    r_i32,
    r_i64,
    r_u8,
    w_bool,
    w_f64,
    w_i64,
    w_u8,
)
from bitdex.kernels.memory import copy, load16, load32, load64

SIZES = np.array(ENTRY_SIZES, np.int64)
FOLD_FIRST = 0xFF  # in `tags`: an entry that combines with an earlier one of this payload


def packed(data: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the arrays as kernels take them, after checking that `offsets` stays inside `data`."""
    data = np.ascontiguousarray(data, np.uint8)
    return data, ascending(offsets, len(data))


def ascending(offsets: np.ndarray, end: int) -> np.ndarray:
    """Return `offsets` as kernels take them, after checking that they ascend and end by `end`."""
    offsets = np.ascontiguousarray(offsets, np.int64)
    if not len(offsets) or offsets[0] < 0 or offsets[-1] > end or (offsets[1:] < offsets[:-1]).any():
        raise InvalidError(f"the {len(offsets)} offsets are not ascending numbers from 0 to {end}")
    return offsets


def refuse(what: str, data: np.ndarray, bounds: list[int]) -> NoReturn:
    """Raise, in the words of the Python decoder, for the damaged one of the payloads between `bounds`."""
    for start, stop in pairwise(bounds):
        try:
            decode_document(data[start:stop].tobytes())
        except CorruptError as error:
            raise CorruptError(f"{what} at byte {start}: {error}") from None
    raise CorruptError(f"{what} at byte {bounds[0]}: damaged")


@device
def entry_end(data: Any, at: Any, stop: Any) -> Any:
    """Return where the entry at `at` ends, or -1 if it is damaged or runs beyond `stop`."""
    if stop - at < 3:
        return np.int64(-1)
    tag = data[at + 2]
    end = at + SIZES[tag]
    if end > stop or end == at or load16(data, at) == 0:
        return np.int64(-1)
    if tag < STRING:
        if tag & 0xEF == INTEGER + 8 and data[end - 1] > 127:
            return np.int64(-1)
        return end
    length = np.int64(data[at + 3])
    if length == LONG:
        end += 4
        if end > stop:
            return np.int64(-1)
        length = np.int64(load32(data, at + 4))
    if tag & 0x30 == 0x20:
        length <<= np.int64(tag & 3)
    return end + length if end + length <= stop else np.int64(-1)


@device
def value_start(data: Any, at: Any) -> Any:
    """Return where the bytes of the string or the elements of the list of the entry at `at` begin."""
    return at + 8 if data[at + 3] == LONG else at + 4


@device
def _stored(data: Any, at: Any, width: Any) -> Any:
    if at + 8 <= len(data):
        shift = np.uint64(8 * (8 - width))
        return np.int64(load64(data, at) << shift >> shift) if width else np.int64(0)
    value = np.int64(0)
    for k in range(width):
        value |= np.int64(data[at + k]) << np.int64(8 * k)
    return value


@device
def element(data: Any, at: Any, code: Any) -> Any:
    """Return the list element at `at`, which lies in `data` whole, as an int64."""
    if code == 0:
        return np.int64(data[at])
    if code == 1:
        return np.int64(load16(data, at))
    if code == 2:
        return np.int64(load32(data, at))
    if code == 4:
        return np.int64(data[at]) - ((np.int64(data[at]) & 0x80) << 1)
    if code == 5:
        return np.int64(load16(data, at)) - ((np.int64(load16(data, at)) & 0x8000) << 1)
    if code == 6:
        return np.int64(load32(data, at)) - ((np.int64(load32(data, at)) & 0x80000000) << 1)
    return np.int64(load64(data, at))


@device
def get_elements(data: Any, at: Any, code: Any, count: Any, out: Any, to: Any) -> None:
    """Write `count` list elements to `out[to:]`; the ordinary format has a loop of its own."""
    if code == 1:
        for k in range(count):
            out[to + k] = np.int64(load16(data, at + 2 * k))
        return
    for k in range(count):
        out[to + k] = element(data, at + (k << (code & 3)), code)


@kernel(r_u8, r_i64, i64, i64, r_i32, w_u8, w_i64, returns=i64)
def locate(data: Any, offsets: Any, lo: Any, hi: Any, table: Any, tags: Any, positions: Any) -> Any:
    """Note where the values of documents `lo..hi-1` stand; return the first bad document or -1.

    `table` gives a field's column or -1. A value that has to be folded with an earlier
    one of its own payload gets the tag `FOLD_FIRST`.
    """
    rows = hi - lo
    tags[:] = CLEAR
    for row in range(lo, hi):
        at, stop = offsets[row], offsets[row + 1]
        while at < stop:
            end = entry_end(data, at, stop)
            if end < 0:
                return row
            column = np.int64(table[load16(data, at)])
            if column >= 0:
                slot = column * rows + row - lo
                tag = data[at + 2]
                if tag < COMBINES:
                    tags[slot], positions[slot] = tag, at
                elif tags[slot] != CLEAR:
                    tags[slot] = FOLD_FIRST
                elif tag < LIST_REMOVE:
                    tags[slot], positions[slot] = tag ^ REPLACES, at
            at = end
    return np.int64(-1)


@kernel(r_u8, r_u8, r_i64, w_i64, w_bool, returns=i64)
def read_integers(data: Any, tags: Any, positions: Any, values: Any, valid: Any) -> Any:
    """Read integers, booleans as 0 and 1; return the first row that holds something else or -1."""
    for i in range(len(values)):
        tag = np.int64(tags[i])
        valid[i] = tag != CLEAR
        values[i] = 0
        if tag & 0xE0 == INTEGER:
            stored = _stored(data, positions[i] + 3, tag & 15)
            values[i] = stored if tag < NEGATIVE else ~stored
        elif tag == TRUE:
            values[i] = 1
        elif tag > TRUE:
            return np.int64(i)
    return np.int64(-1)


@kernel(r_u8, w_bool, w_bool, returns=i64)
def read_booleans(tags: Any, values: Any, valid: Any) -> Any:
    """Read booleans; return the first row that holds something else or -1."""
    for i in range(len(values)):
        valid[i] = tags[i] != CLEAR
        values[i] = tags[i] == TRUE
        if tags[i] > TRUE:
            return np.int64(i)
    return np.int64(-1)


@kernel(r_u8, r_u8, r_i64, w_f64, w_bool, returns=i64)
def read_floats(data: Any, tags: Any, positions: Any, values: Any, valid: Any) -> Any:
    """Read floats and the integers that one can hold; return the first other row or -1."""
    words = values.view(np.uint64)
    for i in range(len(values)):
        tag = np.int64(tags[i])
        valid[i] = tag != CLEAR
        values[i] = 0.0
        if tag == FLOAT:
            words[i] = load64(data, positions[i] + 3)
        elif tag & 0xE0 == INTEGER:
            stored = _stored(data, positions[i] + 3, tag & 15)
            value = stored if tag < NEGATIVE else ~stored
            values[i] = np.float64(value)
            # 2.0**63 is no int64: what the cast gives differs between machines
            if values[i] == 2.0**63 or np.int64(values[i]) != value:
                return np.int64(i)
        elif tag != CLEAR:
            return np.int64(i)
    return np.int64(-1)


@kernel(r_u8, r_u8, r_i64, boolean, w_i64, w_i64, w_bool, returns=i64)
def measure(data: Any, tags: Any, positions: Any, lists: Any, starts: Any, lengths: Any, valid: Any) -> Any:
    """Find the bytes of strings or the elements of integer lists; return the first other row or -1."""
    for i in range(len(starts)):
        tag, at = tags[i], positions[i]
        valid[i] = tag != CLEAR
        starts[i] = lengths[i] = 0
        if tag == CLEAR:
            continue
        if (tag & 0xF0 != LIST) if lists else (tag != STRING):
            return np.int64(i)
        starts[i] = value_start(data, at)
        lengths[i] = np.int64(load32(data, at + 4)) if data[at + 3] == LONG else np.int64(data[at + 3])
    return np.int64(-1)


@kernel(r_u8, r_i64, r_i64, w_u8)
def read_strings(data: Any, starts: Any, offsets: Any, out: Any) -> None:
    """Copy measured strings to their offsets."""
    for i in range(len(starts)):
        copy(out, offsets[i], data, starts[i], offsets[i + 1] - offsets[i])


@kernel(r_u8, r_i64, r_u8, r_i64, w_i64)
def read_lists(data: Any, starts: Any, tags: Any, offsets: Any, out: Any) -> None:
    """Copy the elements of measured lists to their offsets."""
    for i in range(len(starts)):
        get_elements(data, starts[i], tags[i] & 7, offsets[i + 1] - offsets[i], out, offsets[i])


@kernel(r_u8, r_i64, w_u8, returns=i64)
def mark_fields(data: Any, offsets: Any, seen: Any) -> Any:
    """Set `seen[field]` of every field that is given a value; return the first bad document or -1."""
    for row in range(len(offsets) - 1):
        at, stop = offsets[row], offsets[row + 1]
        while at < stop:
            end = entry_end(data, at, stop)
            if end < 0:
                return np.int64(row)
            if data[at + 2] != CLEAR and data[at + 2] < LIST_REMOVE:
                seen[load16(data, at)] = 1
            at = end
    return np.int64(-1)
