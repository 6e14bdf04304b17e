"""``fields.bin``: the field registry, from field name to a number that is never reused.

::

    | header 64 | entry 8 + name | entry 8 + name | ...

Numbers run from 1 to 16383 in the order in which names were first used. A dropped field
keeps its number and its entry; using its name again makes a new entry. The header's
`count` is the number of entries, `body_crc` covers all of them.
"""

from typing import NamedTuple

import numpy as np

from bitdex.errors import CorruptError
from bitdex.formats import header
from bitdex.kernels.checksum import crc32c

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
    parts = []
    for entry in entries:
        name = entry.name.encode()
        parts.append(np.array([(entry.field, entry.dropped, len(name))], ENTRY).tobytes() + name)
    body = b"".join(parts)
    head = header.encode(MAGIC, VERSION, identity, 0, count=len(entries), body_crc=crc32c(body))
    return head + body


def decode(data: bytes, identity: int | None = None, name: str = "fields.bin") -> list[Entry]:
    """Return the entries of a registry file, or refuse it."""
    head = header.decode(data, MAGIC, VERSION, name)
    header.check_body(data, head, name, identity)
    entries, at = [], header.SIZE
    for _ in range(int(head["count"])):
        if at + ENTRY.itemsize > len(data):
            raise CorruptError(f"{name}: offset {at}: expected an entry, found the end of the file")
        entry = np.frombuffer(data, ENTRY, 1, at)[0]
        at += ENTRY.itemsize
        size = int(entry["size"])
        text = header.text(data[at : at + size], size, name, at)
        entries.append(Entry(int(entry["field"]), text, bool(entry["dropped"])))
        at += size
    return entries
