"""Documents from columns: two passes over each column of a block of rows.

The first pass adds each value's entry to its document's size. After a prefix sum the
second one writes the entries and moves the documents' cursors on. A column is written
for all rows of the block before the next one, so a wide store has to leave the bytes
behind its entry as they are: the neighbour may be written already.

Writers take the first three bytes of their entries as one integer, ``field | tag << 16``,
to which a value adds what it knows of the tag, and an `out` that ends with the block.

`bitdex.formats.document` specifies the entries.
"""

from typing import Any

import numpy as np

from bitdex.formats.document import INTEGER, LONG, NEGATIVE
from bitdex.kernels.jit import device, i64, kernel, r_bool, r_f64, r_i64, r_u8, w_i64, w_u8
from bitdex.kernels.memory import copy, load64, store16, store32, store64


@device
def _magnitude(value: Any) -> Any:
    return value ^ (value >> 63)


@device
def _width(magnitude: Any) -> Any:
    """Return how many bytes a non-negative integer takes; comparisons, so that rows vectorise."""
    width = np.int64(magnitude > 0)
    for bits in (8, 16, 24, 32, 40, 48, 56):
        width += np.int64(magnitude >> bits > 0)
    return width


@device
def _length_size(length: Any) -> Any:
    return 1 if length < LONG else 5


@device
def _put_head(out: Any, at: Any, head: Any) -> Any:
    store16(out, at, np.uint16(head & 0xFFFF))
    out[at + 2] = np.uint8(head >> 16)
    return at + 3


@device
def _put_length(out: Any, at: Any, length: Any) -> Any:
    if length < LONG:
        out[at] = np.uint8(length)
        return at + 1
    out[at] = np.uint8(LONG)
    store32(out, at + 1, np.uint32(length))
    return at + 5


@device
def element_code_of(least: Any, greatest: Any) -> Any:
    """Return the narrowest element format of a list between two integers."""
    if least >= 0 and greatest <= 0xFFFFFFFF:
        return 0 if greatest <= 0xFF else 1 if greatest <= 0xFFFF else 2
    largest = max(_magnitude(least), _magnitude(greatest))
    return 4 if largest < 1 << 7 else 5 if largest < 1 << 15 else 6 if largest < 1 << 31 else 7


@device
def put_elements(out: Any, at: Any, code: Any, values: Any, first: Any, last: Any) -> Any:
    """Write list elements in the given format; return where they end."""
    if code & 3 == 0:
        for k in range(first, last):
            out[at + k - first] = np.uint8(values[k] & 0xFF)
    elif code & 3 == 1:
        for k in range(first, last):
            store16(out, at + 2 * (k - first), np.uint16(values[k] & 0xFFFF))
    elif code & 3 == 2:
        for k in range(first, last):
            store32(out, at + 4 * (k - first), np.uint32(values[k] & 0xFFFFFFFF))
    else:
        for k in range(first, last):
            store64(out, at + 8 * (k - first), np.uint64(values[k]))
    return at + ((last - first) << (code & 3))


@device
def put_list(out: Any, at: Any, head: Any, code: Any, values: Any, first: Any, last: Any) -> Any:
    """Write the entry of an integer list; return where it ends."""
    at = _put_length(out, _put_head(out, at, head + (code << 16)), last - first)
    return put_elements(out, at, code, values, first, last)


@device
def list_size(code: Any, count: Any) -> Any:
    """Return the bytes of the entry of an integer list."""
    return 3 + _length_size(count) + (count << (code & 3))


@device
def _row_code(values: Any, first: Any, last: Any) -> Any:
    least, greatest = values[first], values[first]
    for k in range(first + 1, last):
        least, greatest = min(least, values[k]), max(greatest, values[k])
    return element_code_of(least, greatest)


# ---- sizes: values of rows 0..n-1 of the block, added to `sizes`


@kernel(r_i64, r_bool, w_i64)
def size_integers(values: Any, valid: Any, sizes: Any) -> None:
    """Add the entries of an integer column to the sizes of its documents."""
    for i in range(len(sizes)):
        sizes[i] += (3 + _width(_magnitude(values[i]))) * np.int64(valid[i])


@kernel(r_i64, r_bool, w_i64)
def size_strings(offsets: Any, valid: Any, sizes: Any) -> None:
    """Add the entries of a string column to the sizes of its documents."""
    for i in range(len(sizes)):
        if valid[i]:
            length = offsets[i + 1] - offsets[i]
            sizes[i] += 3 + _length_size(length) + length


@kernel(r_i64, r_i64, r_bool, w_i64)
def size_lists(offsets: Any, values: Any, valid: Any, sizes: Any) -> None:
    """Add the entries of an integer list column to the sizes of its documents; an empty list has none."""
    for i in range(len(sizes)):
        first, last = offsets[i], offsets[i + 1]
        if valid[i] and last > first:
            sizes[i] += list_size(_row_code(values, first, last), last - first)


# ---- writing: `cursors` are where the documents' next entries begin; they move on


@kernel(r_i64, r_bool, i64, w_i64, w_u8)
def write_integers(values: Any, valid: Any, head: Any, cursors: Any, out: Any) -> None:
    """Write an integer column into its documents; the tag in `head` is INTEGER."""
    for i in range(len(cursors)):
        if not valid[i]:
            continue
        at, value = cursors[i], values[i]
        stored = _magnitude(value)
        width = _width(stored)
        sign = (NEGATIVE - INTEGER) if value < 0 else 0
        cursors[i] = at + 3 + width
        _put_head(out, at, head + ((width + sign) << 16))
        if at + 11 <= len(out) and width < 8:
            behind = load64(out, at + 3) >> np.uint64(8 * width) << np.uint64(8 * width)
            store64(out, at + 3, behind | np.uint64(stored))
        else:
            for k in range(width):
                out[at + 3 + k] = np.uint8((stored >> (8 * k)) & 0xFF)


@kernel(r_bool, r_bool, i64, w_i64, w_u8)
def write_booleans(values: Any, valid: Any, head: Any, cursors: Any, out: Any) -> None:
    """Write a boolean column into its documents; the tag in `head` is FALSE."""
    for i in range(len(cursors)):
        if valid[i]:
            cursors[i] = _put_head(out, cursors[i], head + (np.int64(values[i]) << 16))


@kernel(r_f64, r_bool, i64, w_i64, w_u8)
def write_floats(values: Any, valid: Any, head: Any, cursors: Any, out: Any) -> None:
    """Write a float column into its documents; the tag in `head` is FLOAT."""
    words = values.view(np.uint64)
    for i in range(len(cursors)):
        if valid[i]:
            at = _put_head(out, cursors[i], head)
            store64(out, at, words[i])
            cursors[i] = at + 8


@kernel(r_i64, r_u8, r_bool, i64, w_i64, w_u8)
def write_strings(offsets: Any, data: Any, valid: Any, head: Any, cursors: Any, out: Any) -> None:
    """Write a string column into its documents; the tag in `head` is STRING."""
    for i in range(len(cursors)):
        if valid[i]:
            length = offsets[i + 1] - offsets[i]
            at = _put_length(out, _put_head(out, cursors[i], head), length)
            copy(out, at, data, offsets[i], length)
            cursors[i] = at + length


@kernel(r_i64, r_i64, r_bool, i64, w_i64, w_u8)
def write_lists(offsets: Any, values: Any, valid: Any, head: Any, cursors: Any, out: Any) -> None:
    """Write an integer list column into its documents; the tag in `head` is LIST or LIST_APPEND."""
    for i in range(len(cursors)):
        first, last = offsets[i], offsets[i + 1]
        if valid[i] and last > first:
            code = _row_code(values, first, last)
            cursors[i] = put_list(out, cursors[i], head, code, values, first, last)
