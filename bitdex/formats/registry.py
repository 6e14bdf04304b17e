"""``fields.bin``: the field registry, from field name to a number that is never reused.

::

    | header 64 | entry 8 + name | entry 8 + name | ...

Numbers run from 1 to 16383 in the order in which names were first used. A dropped field
keeps its number and its entry; using its name again makes a new entry. An index does not set
`dropped`, which would count before the commit: its definition tells (`schema_versions`). The header's
`count` is the number of entries, `body_crc` covers all of them.
"""

from typing import NamedTuple

import numpy as np

from bitdex.formats import header

MAGIC = b"BDXFIELD"
VERSION = 1
MAX_FIELD = 16383
ENTRY = np.dtype(
    [
        ("field", "<u2"),  # 0
        ("dropped", "<u2"),  # 2  0 or 1
        ("size", "<u4"),  # 4  bytes of the UTF-8 name that follows
    ]
)


class Entry(NamedTuple):
    """One field of the registry."""

    field: int
    name: str
    dropped: bool = False


def encode(entries: list[Entry], identity: int) -> bytes:
    """Return the bytes of a registry file."""
    rows = [((entry.field, entry.dropped), entry.name) for entry in entries]
    return header.encode_named(MAGIC, VERSION, identity, ENTRY, rows)


def decode(data: bytes, identity: int | None = None, name: str = "fields.bin") -> list[Entry]:
    """Return the entries of a registry file, or refuse it."""
    entries = header.decode_named(data, MAGIC, VERSION, ENTRY, identity, name)
    return [Entry(field, text, bool(dropped)) for (field, dropped), text in entries]
