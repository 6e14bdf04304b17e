"""Delimited text with quotes: where a row ends, and whether a cell is hexadecimal.

A quote opens at the beginning of a cell only; inside, two quotes are one, and line breaks
and delimiters are text. What follows the closing quote is read as it is, as the parser does.
"""

from typing import Any

import numpy as np

from bitdex.kernels.jit import device, i64, kernel, r_bool, r_u8, u8

NEWLINE, RETURN, QUOTE = np.uint8(10), np.uint8(13), np.uint8(34)
BLANK, TAB, PLUS, MINUS, ZERO, X, SMALL = (np.uint8(byte) for byte in b" \t+-0x ")


@kernel(r_u8, i64, i64, u8, returns=i64)
def find_row_end(text: Any, start: Any, least: Any, delimiter: Any) -> Any:
    """Return the end of the first row, of those from `start` on, that ends at `least` or behind it.

    That is the end of the text where no line break is left, and ``-1 - row`` where the row
    that begins at `row` has a quote that never closes.
    """
    at, row = start, start
    beginning, quoted = True, False
    while at < len(text):
        byte = text[at]
        at += 1
        if quoted:
            if byte == QUOTE:
                if _is_quote(text, at):
                    at += 1
                else:
                    quoted = beginning = False
        elif byte == NEWLINE:
            if at >= least:
                return at
            row, beginning = at, True
        elif byte == QUOTE and beginning:
            quoted = True
        else:
            beginning = byte == delimiter or byte == RETURN
    return -1 - row if quoted else at


@device
def _is_quote(text: Any, at: Any) -> Any:
    return at < len(text) and text[at] == QUOTE


@kernel(r_u8, u8, r_bool, returns=i64)
def find_hexadecimal(text: Any, delimiter: Any, wanted: Any) -> Any:
    """Return where the first cell of the columns that are `wanted` begins that reads as ``0x1F`` does; or -1.

    Before the zero there may be blanks, signs and a quote.
    """
    alike = 0
    for i in range(1, len(text)):
        alike += ((text[i] | SMALL) == X) & (text[i - 1] == ZERO)
    at = column = 0
    while alike and at < len(text):
        quoted = text[at] == QUOTE
        if column < len(wanted) and wanted[column]:
            digit = at + quoted
            while digit < len(text) and text[digit] in (BLANK, TAB, PLUS, MINUS):
                digit += 1
            if digit + 1 < len(text) and text[digit] == ZERO and (text[digit + 1] | SMALL) == X:
                return at
        at += quoted
        while quoted and at < len(text) and (text[at] != QUOTE or _is_quote(text, at + 1)):
            at += 2 if text[at] == QUOTE else 1
        while at < len(text) and text[at] != delimiter and text[at] != NEWLINE and text[at] != RETURN:
            at += 1
        column = column + 1 if at < len(text) and text[at] == delimiter else 0
        at += 1
    return -1
