"""Cells of text tables: columns of text become columns of a kind, and which rows fit.

A "number" is what an expression computes with: in texts an integer, as only such are exact. A "key" is a
column of ids or keys that is also used as text: it spells integers, and stays as it is.
"""

import codecs

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

TRUE = ["t", "true", "True", "TRUE", "T", "1"]
FALSE = ["f", "false", "False", "FALSE", "F", "0"]
TYPES = {
    "integer": pa.int64(),
    "number": pa.int64(),
    "boolean": pa.bool_(),
    "key": pa.string(),
    "string": pa.string(),
    "float": pa.float64(),
    "any": pa.string(),
}
NOT_UTF8 = "\U0010ffff"  # stands for bytes that are no text; it is no character itself
EXPECTED = {
    "integer": "an integer",
    "number": "an integer",
    "key": "an integer",
    "boolean": "a boolean (t, f, true, false, 0, 1)",
    "float": "a number",
    "string": "UTF-8",
    "any": "UTF-8",
}
_PATTERNS = {
    pa.int64(): r"^-?\d{1,19}$",
    pa.float64(): r"^-?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|(?i:nan|inf|infinity))$",
}


def marked_text(data: bytes) -> str:
    """Return bytes as text, with `NOT_UTF8` for those that are none."""
    return data.decode(errors="bitdex-mark")


codecs.register_error("bitdex-mark", lambda error: (NOT_UTF8, error.end))  # type: ignore[attr-defined]


def convert_text(cells: pa.Array, kind: str) -> tuple[pa.Array, np.ndarray]:
    """Convert a text column; return it and which rows fit (a cell that does not fit becomes null).

    A cell fits where `pyarrow.csv` would have read it, so that a row does not change with its neighbours; but
    for hexadecimal integers, which `text_source` keeps from it.
    """
    if kind in ("string", "any"):
        return cells, ~np.asarray(pc.fill_null(pc.match_substring(cells, NOT_UTF8), False))
    if kind == "key":
        return cells, convert_text(cells, "integer")[1]
    trimmed = pc.utf8_trim_whitespace(cells)
    if kind == "boolean":
        truths = pc.is_in(trimmed, pa.array(TRUE))
        good = pc.or_(pc.or_(truths, pc.is_in(trimmed, pa.array(FALSE))), pc.is_null(cells))
        return pc.if_else(pc.and_(good, pc.is_valid(cells)), truths, None), np.asarray(good)
    text = pc.replace_substring_regex(trimmed, r"^\+", "")
    text = _within_64_bits(text) if TYPES[kind] == pa.int64() else text
    fits = pc.fill_null(pc.match_substring_regex(text, _PATTERNS[TYPES[kind]]), False)
    good = pc.or_(fits, pc.is_null(cells))
    return pc.if_else(fits, text, None).cast(TYPES[kind]), np.asarray(good)


def _within_64_bits(text: pa.Array) -> pa.Array:
    """Return integers without leading zeros, and null for those that have more than 64 bits."""
    text = pc.replace_substring_regex(text, r"^(-?)0+(\d)", r"\1\2")
    long = pc.fill_null(pc.match_substring_regex(text, r"^-?\d{19}$"), False)
    if not pc.any(long).as_py():
        return text
    digits = pc.if_else(long, text, None).cast(pa.decimal128(38, 0))
    low, high = (pa.scalar(bound).cast(digits.type) for bound in (-(2**63), 2**63 - 1))
    fits = pc.and_(pc.less_equal(low, digits), pc.less_equal(digits, high))
    return pc.if_else(pc.and_(long, pc.invert(pc.fill_null(fits, False))), None, text)
