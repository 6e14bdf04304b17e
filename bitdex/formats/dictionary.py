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

from bitdex.errors import CorruptError
from bitdex.formats import header
from bitdex.kernels.checksum import crc32c

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
    parts = []
    for entry in labels:
        text = entry.text.encode()
        parts.append(np.array([(entry.field, entry.label, len(text))], ENTRY).tobytes() + text)
    body = b"".join(parts)
    head = header.encode(MAGIC, VERSION, identity, 0, count=len(labels), body_crc=crc32c(body))
    return head + body


def decode(data: bytes, identity: int | None = None, name: str = "dictionaries.bin") -> list[Label]:
    """Return the labels of a dictionary file, or refuse it."""
    head = header.decode(data, MAGIC, VERSION, name)
    header.check_body(data, head, name, identity)
    labels, at = [], header.SIZE
    for _ in range(int(head["count"])):
        if at + ENTRY.itemsize > len(data):
            raise CorruptError(f"{name}: offset {at}: expected an entry, found the end of the file")
        entry = np.frombuffer(data, ENTRY, 1, at)[0]
        at += ENTRY.itemsize
        size = int(entry["size"])
        text = header.text(data[at : at + size], size, name, at)
        labels.append(Label(int(entry["field"]), int(entry["label"]), text))
        at += size
    return labels
