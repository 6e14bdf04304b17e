"""Delimited text with quotes: where a row ends.

A quote opens at the beginning of a cell only; inside, two quotes are one, and line breaks
and delimiters are text. What follows the closing quote is read as it is, as the parser does.
"""

from typing import Any

import numpy as np

from bitdex.kernels.jit import i64, kernel, r_u8, u8

NEWLINE, RETURN, QUOTE = np.uint8(10), np.uint8(13), np.uint8(34)


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
                if at < len(text) and text[at] == QUOTE:
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
