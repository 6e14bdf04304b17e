"""The 64-byte header that begins every file of a store.

::

    0        8        12       16       24         32      40         48        60   64
    | magic  | version| bodycrc| identity| generation| count | capacity| reserved | crc |

`identity` is a random number given to the store when it is made; it seeds the checksum
of every frame, so that a file or block of another store is seen. `generation` tells
which of several files of one name a commit means. `count`, `capacity` and `body_crc`
belong to the format; where it has no use for them they are zero. `crc` is the CRC-32C
of the 60 bytes before it.

A reader refuses a wrong magic, a version it does not know and a wrong checksum.
"""

from collections.abc import Sequence
from struct import Struct
from typing import Any

import numpy as np

from bitdex.errors import CorruptError, VersionError
from bitdex.kernels.checksum import crc32c

HEADER = np.dtype(
    [
        ("magic", "S8"),  # 0   names the format
        ("version", "<u4"),  # 8   of the format, not of the package
        ("body_crc", "<u4"),  # 12  CRC-32C of what follows, where the format says so
        ("identity", "<u8"),  # 16  of the store
        ("generation", "<u8"),  # 24
        ("count", "<u8"),  # 32
        ("capacity", "<u8"),  # 40
        ("reserved", "V12"),  # 48  zero
        ("crc", "<u4"),  # 60  of bytes 0..59
    ]
)
SIZE = 64
assert HEADER.itemsize == SIZE


def encode(magic: bytes, version: int, identity: int, generation: int, **fields: int) -> bytes:
    """Return the 64 bytes of a header."""
    header = np.zeros(1, HEADER)
    header["magic"], header["version"] = magic, version
    header["identity"], header["generation"] = identity, generation
    for name, value in fields.items():
        header[name] = value
    header["crc"] = crc32c(header.view(np.uint8)[:60])
    return header.tobytes()


def decode(data: Any, magic: bytes, version: int, name: str) -> np.void:
    """Return the header record at the start of `data`, or refuse it."""
    if len(data) < SIZE:
        raise CorruptError.at(name, 0, f"expected a {SIZE}-byte header, found {len(data)} bytes")
    raw = np.frombuffer(data, np.uint8, SIZE)
    header = raw.view(HEADER)[0]
    if raw[:8].tobytes() != magic.ljust(8, b"\0"):
        raise CorruptError.at(name, 0, f"expected magic {magic!r}, found {raw[:8].tobytes()!r}")
    found, expected = int(header["crc"]), crc32c(raw[:60])
    if found != expected:
        raise CorruptError.at(name, 60, f"expected checksum {expected:#010x}, found {found:#010x}")
    if header["version"] != version:
        raise VersionError(f"{name}: format version {header['version']}; this package reads {version}")
    return header


def check_body(data: Any, head: np.void, name: str, identity: int | None) -> None:
    """Refuse a file whose body has another checksum, or which belongs to another store."""
    found, expected = crc32c(np.frombuffer(data, np.uint8)[SIZE:]), int(head["body_crc"])
    if found != expected:
        raise CorruptError.at(name, SIZE, f"expected checksum {expected:#010x}, found {found:#010x}")
    if identity is not None and int(head["identity"]) != identity:
        raise CorruptError.at(name, 16, f"expected identity {identity}, found {head['identity']}")


def encode_named(
    magic: bytes, version: int, identity: int, dtype: np.dtype, rows: Sequence[tuple[tuple, str]]
) -> bytes:
    """Return a file of entries, each a record of `dtype` (its last field the size) and a UTF-8 text."""
    body = encode_entries(dtype, rows)
    return encode(magic, version, identity, 0, count=len(rows), body_crc=crc32c(body)) + body


def encode_entries(dtype: np.dtype, rows: Sequence[tuple[tuple, str]]) -> bytes:
    """Return entries, each a record of `dtype` (its last field the size) and a UTF-8 text."""
    pack, parts = _struct(dtype).pack, []
    for fields, written in rows:
        raw = written.encode()
        parts.append(pack(*fields, len(raw)) + raw)
    return b"".join(parts)


def decode_named(
    data: bytes, magic: bytes, version: int, dtype: np.dtype, identity: int | None, name: str
) -> list[tuple[tuple, str]]:
    """Return the entries of such a file, their fields but for the size and their texts, or refuse it."""
    head = decode(data, magic, version, name)
    check_body(data, head, name, identity)
    entries, end = decode_entries(data, dtype, int(head["count"]), SIZE, len(data), name)
    check_end(data, end, name)
    return entries


def decode_entries(
    data: bytes, dtype: np.dtype, count: int, at: int, stop: int, name: str
) -> tuple[list[tuple[tuple, str]], int]:
    """Return so many entries between two offsets, and where they end, or refuse them."""
    unpack, found = _struct(dtype).unpack_from, []
    for _ in range(count):
        if at + dtype.itemsize > stop:
            raise CorruptError.at(name, at, "expected an entry, found the end of the file")
        *fields, size = unpack(data, at)
        at += dtype.itemsize
        found.append((tuple(fields), text(data[at : min(at + size, stop)], size, name, at)))
        at += size
    return found, at


def check_end(data: bytes, end: int, name: str) -> None:
    """Refuse a file that does not end here."""
    if end != len(data):
        found = f"found {len(data) - end} bytes"
        raise CorruptError.at(name, end, f"expected the end of the file, {found}")


def _struct(dtype: np.dtype) -> Struct:
    """Return a dtype of little-endian unsigned integers for one record at a time, which is faster so."""
    return Struct("<" + "".join({2: "H", 4: "I", 8: "Q"}[dtype[name].itemsize] for name in dtype.names or ()))


def text(raw: bytes, size: int, name: str, at: int) -> str:
    """Return UTF-8 text of `size` bytes, or refuse it."""
    try:
        if len(raw) == size:
            return raw.decode()
    except UnicodeDecodeError:
        pass
    raise CorruptError.at(name, at, f"expected {size} bytes of UTF-8, found {raw[:20]!r}")
