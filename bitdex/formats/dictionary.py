"""``dictionaries.bin``: the labels of low-cardinality fields, from (field, number) to text.

::

    | header 64 | entry 12 + text | entry 12 + text | ...

Numbers of a field run from 1 in order of first appearance; 0 stands for no label. The
text is the first spelling seen. The header's `count` is the number of entries,
`body_crc` covers all of them. A file may hold labels that nothing uses (a phase that
was given up); they are never reissued for another text.
"""

from typing import NamedTuple

import numpy as np

from bitdex.formats import header

MAGIC = b"BDXLABEL"
VERSION = 1
ENTRY = np.dtype(
    [
        ("field", "<u4"),  # 0  number in the field registry
        ("label", "<u4"),  # 4
        ("size", "<u4"),  # 8  bytes of the UTF-8 text that follows
    ]
)


class Label(NamedTuple):
    """One label of a field."""

    field: int
    label: int
    text: str


def encode(labels: list[Label], identity: int) -> bytes:
    """Return the bytes of a dictionary file."""
    rows = [((entry.field, entry.label), entry.text) for entry in labels]
    return header.encode_named(MAGIC, VERSION, identity, ENTRY, rows)


def decode(data: bytes, identity: int | None = None, name: str = "dictionaries.bin") -> list[Label]:
    """Return the labels of a dictionary file, or refuse it."""
    entries = header.decode_named(data, MAGIC, VERSION, ENTRY, identity, name)
    return [Label(field, number, text) for (field, number), text in entries]
