"""Kinds: as what documents hold the fields that the schema does not know, and how a column shows them.

Such fields hold what the columns of phases were, which may be other kinds in other phases. Numbers that a
float64 can hold beside floats are a column of those; other mixtures are a column of texts.
"""

import json
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa

from bitdex.formats.document import (
    CLEAR,
    FALSE,
    FLOAT,
    INTEGER,
    LIST,
    MAX_FIELD,
    NEGATIVE,
    STRING,
    TRUE,
    decode_document,
)
from bitdex.kernels import document_decode as decoding
from bitdex.silo.values import Values

ANY = "any"  # several kinds, or lists of several: texts
BLOCK = 8192  # documents that are looked at together
EXACT = 6  # bytes of an integer that a float64 holds whatever it is

_Tags = set[int]


def kinds_of(parts: Iterable[Values], numbers: Sequence[int]) -> dict[int, str]:
    """Return the kinds of columns (`bitdex.columns`, or `ANY`) that show some fields of documents."""
    held: dict[int, _Tags] = {number: set() for number in numbers}
    for values in parts if numbers else ():
        for number, tags in zip(numbers, _tags(values, numbers)):
            held[number] |= tags
    return {number: _kind(tags - {CLEAR}) for number, tags in held.items()}


def texts_of(values: Values, number: int) -> pa.Array:
    """Return what documents hold in a field as texts; those of other kinds as in JSON."""
    found = (decode_document(payload or b"").get(number) for payload in values)
    texts = [one if one is None or isinstance(one, str) else json.dumps(one) for one in found]
    return pa.array(texts, pa.large_string())


def _tags(values: Values, numbers: Sequence[int]) -> list[_Tags]:
    """Return the tags (`formats.document`) of each field in some documents."""
    table = np.full(MAX_FIELD + 1, -1, np.int32)
    table[list(numbers)] = np.arange(len(numbers))
    data, offsets = decoding.packed(values.data, values.offsets)
    held: list[_Tags] = [set() for _ in numbers]
    for lo in range(0, len(offsets) - 1, BLOCK):
        hi = min(lo + BLOCK, len(offsets) - 1)
        tags = np.empty(len(numbers) * (hi - lo), np.uint8)
        bad = decoding.locate(data, offsets, lo, hi, table, tags, np.empty(len(tags), np.int64))
        if bad >= 0:
            decoding.refuse(f"document row {bad}", data, offsets[bad : bad + 2].tolist())
        for one, found in zip(held, tags.reshape(len(numbers), hi - lo)):
            one.update(np.flatnonzero(np.bincount(found)).tolist())
    return held


def _kind(tags: _Tags) -> str:
    """Return the kind of a column that can show all of these."""
    names = {_name(tag) for tag in tags}
    if len(names) < 2:
        return names.pop() if names else "string"
    if names == {"boolean", "integer"}:
        return "integer"
    exact = all(tag & 15 <= EXACT for tag in tags if tag & ~0x1F == INTEGER)
    return "float" if names == {"integer", "float"} and exact else ANY


def _name(tag: int) -> str:
    if tag in (FALSE, TRUE):
        return "boolean"
    if tag == decoding.FOLD_FIRST:
        return "list"
    kinds = {INTEGER: "integer", NEGATIVE: "integer", FLOAT: "float", STRING: "string", LIST: "list"}
    return kinds.get(tag & 0xF0, ANY)
