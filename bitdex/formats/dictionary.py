"""``dictionaries.bin``: the labels of low-cardinality fields, from (field, number) to text.

::

    | header 64 | entry 12 + text | ... | section 32 | entry 12 + text | ... | section 32 | ...

Numbers of a field run from 1 in order of first appearance; 0 stands for no label. The
text is the first spelling seen. The header's `count` is the number of entries behind it,
`body_crc` covers them. Labels that come later are appended, those of a commit together,
as a section with a checksum of its own; it is on the device before ``commit.bin`` tells
how many labels there are (`formats.meta`).

So many must be there. Behind them may be sections of a commit that was given up, or
never came: nothing uses their labels, but they are never reissued for another text. The
first section there that does not hold is one that a writer did not finish; it and all
that follows go when labels are next saved.
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
SECTION = np.dtype(
    [
        ("at", "<u8"),  # 0  its own offset
        ("identity", "<u8"),  # 8  of the store
        ("size", "<u8"),  # 16 bytes of the entries that follow
        ("count", "<u4"),  # 24 of entries
        ("crc", "<u4"),  # 28 CRC-32C of the 28 bytes before it and of the entries
    ]
)
assert SECTION.itemsize == 32


class Label(NamedTuple):
    """One label of a field."""

    field: int
    label: int
    text: str


class Held(NamedTuple):
    """What holds of a file."""

    labels: list[Label]
    sections: int  # behind the entries of the header
    end: int  # of the last one


def encode(labels: list[Label], identity: int) -> bytes:
    """Return the bytes of a dictionary file without sections."""
    return header.encode_named(MAGIC, VERSION, identity, ENTRY, _rows(labels))


def encode_section(labels: list[Label], identity: int, at: int) -> bytes:
    """Return the bytes that append labels to a file which ends at `at`."""
    entries = header.encode_entries(ENTRY, _rows(labels))
    section = np.array([(at, identity, len(entries), len(labels), 0)], SECTION)
    section["crc"] = crc32c(section.tobytes()[:28] + entries)
    return section.tobytes() + entries


def decode(data: bytes, identity: int | None = None, name: str = "dictionaries.bin") -> list[Label]:
    """Return the labels of a dictionary file of which everything holds, or refuse it."""
    found = decode_held(data, 0, identity, name)
    header.check_end(data, found.end, name)
    return found.labels


def decode_held(data: bytes, least: int, identity: int | None = None, name: str = "dictionaries.bin") -> Held:
    """Return what holds of a file that has so many labels at least, or refuse it."""
    head = header.decode(data, MAGIC, VERSION, name)
    entries, end = header.decode_entries(data, ENTRY, int(head["count"]), header.SIZE, len(data), name)
    header.check_body(data[:end], head, name, identity)
    sections = 0
    while (section := _section(data, end, int(head["identity"]))) is not None:
        start = end + SECTION.itemsize
        end = start + int(section["size"])
        more, stop = header.decode_entries(data, ENTRY, int(section["count"]), start, end, name)
        if stop != end:
            found = f"found {end - stop} bytes"
            raise CorruptError.at(name, stop, f"expected the end of a section, {found}")
        entries += more
        sections += 1
    if len(entries) < least:
        found = f"found {len(data) - end} bytes that are none"
        raise CorruptError.at(name, end, f"expected {least - len(entries)} more labels, {found}")
    labels = [Label(field, number, text) for (field, number), text in entries]
    return Held(labels, sections, end)


def _section(data: bytes, at: int, identity: int) -> np.void | None:
    """Return the head of the section at an offset; None if there is none that holds."""
    start = at + SECTION.itemsize
    if start > len(data):
        return None
    section = np.frombuffer(data, SECTION, 1, at)[0]
    stop = start + int(section["size"])
    if section["at"] != at or section["identity"] != identity or stop > len(data):
        return None
    return section if crc32c(data[at : start - 4] + data[start:stop]) == section["crc"] else None


def _rows(labels: list[Label]) -> list[tuple[tuple, str]]:
    return [((entry.field, entry.label), entry.text) for entry in labels]
