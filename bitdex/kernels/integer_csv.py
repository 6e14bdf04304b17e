"""Delimited text that holds nothing but integers: the tables that join ids.

One pass over the bytes, several times as fast as a general reader. Anything else in a
block (a quote, a letter, an empty cell, a ragged row, more than 18 digits) makes the
kernel give up, and the block goes to the general reader.
"""

from typing import Any

import numpy as np

from bitdex.kernels.jit import device, i64, kernel, r_i64, r_u8, u8, w_i64

NEWLINE, RETURN, MINUS, ZERO = np.uint8(10), np.uint8(13), np.uint8(45), np.uint8(48)
MAX_DIGITS = 18


@kernel(r_u8, returns=i64)
def count_lines(text: Any) -> Any:
    """Return the number of line breaks."""
    lines = 0
    for byte in text:
        lines += byte == NEWLINE
    return lines


@device
def _read_cell(text: Any, at: Any, out: Any, place: Any) -> Any:
    """Read an integer into ``out[place]``; return where it ends, or -1."""
    negative = text[at] == MINUS
    if negative:
        at += 1
    start = at
    value = np.int64(0)
    while at < len(text):
        digit = text[at] - ZERO
        if digit > np.uint8(9):
            break
        value = value * 10 + np.int64(digit)
        at += 1
    if at == start or at - start > MAX_DIGITS:
        return -1
    out[place] = -value if negative else value
    return at


@kernel(r_u8, u8, r_i64, i64, w_i64, returns=i64)
def parse_integers(text: Any, delimiter: Any, targets: Any, rows: Any, out: Any) -> Any:
    """Parse whole rows of ``len(targets)`` cells; return their number, or -1 to give up.

    Column c of row r goes to ``out[targets[c] * rows + r]``; `out` has a place for every
    target, also for columns that nobody wants. `rows` is the most there can be.
    """
    columns = len(targets)
    size = len(text)
    at = 0
    row = 0
    while at < size:
        if row == rows:
            return -1
        for column in range(columns):
            if at >= size:
                return -1
            at = _read_cell(text, at, out, targets[column] * rows + row)
            if at < 0:
                return -1
            last = column == columns - 1
            if last and at < size and text[at] == RETURN:
                at += 1
            if at == size:
                if not last:
                    return -1
            elif text[at] != (NEWLINE if last else delimiter):
                return -1
            else:
                at += 1
        row += 1
    return row
