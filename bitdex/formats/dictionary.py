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

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from bitdex.errors import CorruptError
from bitdex.formats import header
from bitdex.kernels import labels as kernels
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


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """The same with the labels in columns: n of them, whose texts are ``data[offsets[i]:offsets[i + 1]]``.

    Attributes
    ----------
    fields, numbers : ndarray of uint32, shape (n,)
    data : ndarray of uint8
    offsets : ndarray of int64, shape (n + 1,)
    sections, last, end : int
        How many sections, where the last one begins (or the header), and where it ends.
    """

    fields: np.ndarray
    numbers: np.ndarray
    data: np.ndarray
    offsets: np.ndarray
    sections: int
    last: int
    end: int

    def __len__(self) -> int:
        return len(self.fields)

    def labels(self) -> list[Label]:
        """Return the labels one by one."""
        texts = text_array(self.data, self.offsets).to_pylist()
        return list(map(Label, self.fields.tolist(), self.numbers.tolist(), texts))


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
    found = decode_columns(data, least, identity, name)
    return Held(found.labels(), found.sections, found.end)


def decode_columns(
    data: bytes, least: int, identity: int | None = None, name: str = "dictionaries.bin"
) -> Columns:
    """Return what holds of a file that has so many labels at least, in columns, or refuse it."""
    head, found = header.decode(data, MAGIC, VERSION, name), _Entries(data, 0, header.SIZE, name)
    found.take(header.SIZE, len(data), int(head["count"]))
    header.check_body(memoryview(data)[: found.end], head, name, identity)
    found.take_sections(int(head["identity"]))
    if found.count < least:
        what = f"found {len(data) - found.end} bytes that are none"
        raise CorruptError.at(name, found.end, f"expected {least - found.count} more labels, {what}")
    return found.columns()


def decode_more(data: bytes, at: int, identity: int, name: str = "dictionaries.bin") -> Columns:
    """Return the labels in the sections that hold, given the bytes of a file from `at` on."""
    found = _Entries(data, at, at, name)
    found.take_sections(identity)
    return found.columns()


class _Entries:
    """The entries that were found so far in the bytes of a file from `base` on."""

    def __init__(self, data: bytes, base: int, end: int, name: str):
        self._data, self._base, self._name = data, base, name
        self._array = np.frombuffer(data, np.uint8)
        self._found: list[tuple[np.ndarray, ...]] = []  # fields, numbers, places, sizes
        self.count, self.sections, self.last, self.end = 0, 0, 0, end

    def take(self, at: int, stop: int, count: int) -> None:
        """Find so many between two offsets of the file, or refuse them."""
        at, stop, end = at - self._base, stop - self._base, -1
        if count * ENTRY.itemsize <= stop - at:
            one = (*np.zeros((2, count), np.uint32), *np.zeros((2, count), np.int64))
            end = int(kernels.find_entries(self._array, at, stop, count, *one))
        if end < 0:
            self._refuse(at, stop, count)
        self._found.append(one)
        self.count, self.end = self.count + count, end + self._base

    def take_sections(self, identity: int) -> None:
        """Find those of all sections that hold."""
        while (section := _section(self._data, self.end - self._base, self.end, identity)) is not None:
            start = self.end + SECTION.itemsize
            stop = start + int(section["size"])
            self.last = self.end
            self.take(start, stop, int(section["count"]))
            if self.end != stop:
                found = f"found {stop - self.end} bytes"
                raise CorruptError.at(self._name, self.end, f"expected the end of a section, {found}")
            self.sections += 1

    def columns(self) -> Columns:
        """Return them with their texts, or refuse one that is none."""
        empty = (*np.zeros((2, 0), np.uint32), *np.zeros((2, 0), np.int64))
        fields, numbers, places, sizes = map(np.concatenate, zip(empty, *self._found))
        offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes)))
        out = np.empty(int(offsets[-1]), np.uint8)
        kernels.pack_texts(self._array, places, offsets, out)
        try:
            text_array(out, offsets).validate(full=True)
        except pa.ArrowInvalid:
            for place, size in zip(places.tolist(), sizes.tolist()):
                header.text(self._data[place : place + size], size, self._name, place + self._base)
        return Columns(fields, numbers, out, offsets, self.sections, self.last, self.end)

    def _refuse(self, at: int, stop: int, count: int) -> None:
        """Say what is wrong with entries that do not hold."""
        data, base = bytes(self._base) + self._data, self._base
        header.decode_entries(data, ENTRY, count, at + base, stop + base, self._name)


def text_array(data: np.ndarray, offsets: np.ndarray) -> pa.LargeStringArray:
    """Return packed texts as an Arrow array, without a copy."""
    return pa.LargeStringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(data))


def _section(data: bytes, place: int, at: int, identity: int) -> np.void | None:
    """Return the head of the section at an offset of a file, a place in `data`; None if there is none."""
    start = place + SECTION.itemsize
    if start > len(data):
        return None
    section = np.frombuffer(data, SECTION, 1, place)[0]
    stop = start + int(section["size"])
    if section["at"] != at or section["identity"] != identity or stop > len(data):
        return None
    return section if crc32c(data[place : start - 4] + data[start:stop]) == section["crc"] else None


def _rows(labels: list[Label]) -> list[tuple[tuple, str]]:
    return [((entry.field, entry.label), entry.text) for entry in labels]
