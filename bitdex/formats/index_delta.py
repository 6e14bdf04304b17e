"""``index.delta``: the entries that have changed since ``index.bin`` was written, block by block.

::

    file    | header 64 | block | block | ...
    block   | crc u4 | zero u4 | count u8 | entry 24 | entry 24 | ... `count` entries |

A commit that changes few of many keys appends a block instead of writing the whole table. An
entry replaces the one of its key; one whose third word is 0 takes the key out. Blocks apply in
order, entries in any, since all entries of one key in a block are alike. The header's
`generation` is that of the ``index.bin`` they belong to; the commit record says up to which
offset they count. `crc` is the CRC-32C of the block's bytes from `count` on, continued from the
store's identity and the block's offset, so that a block in another place is seen.
"""

from collections.abc import Iterator

import numpy as np

from bitdex.errors import CorruptError
from bitdex.formats import header
from bitdex.formats.hash_index import ANYWHERE, ENTRY, count_entries
from bitdex.kernels.checksum import crc32c

MAGIC = b"BDXDELTA"
VERSION = 1
START = header.SIZE
BLOCK = np.dtype(
    [
        ("crc", "<u4"),  # 0   of bytes 8 .. 16 + 24 * count
        ("reserved", "<u4"),  # 4   zero
        ("count", "<u8"),  # 8   entries
    ]
)
assert BLOCK.itemsize == 16


def encode_header(identity: int, generation: int) -> bytes:
    """Return the header of a file without blocks."""
    return header.encode(MAGIC, VERSION, identity, generation)


def decode_header(data: np.ndarray, name: str = "index.delta") -> np.void:
    """Return the header, or refuse the file."""
    return header.decode(data, MAGIC, VERSION, name)


def encode(entries: np.ndarray, identity: int, offset: int) -> bytes:
    """Return a block of entries (formats.hash_index.ENTRY, shape (n,)) that is to lie at `offset`."""
    block = np.zeros(1, BLOCK)
    block["count"] = len(entries)
    state = crc32c(block.view(np.uint8)[8:], _seed(identity, offset))
    block["crc"] = crc32c(entries.view(np.uint8), state)
    return block.tobytes() + entries.tobytes()


def decode(
    data: np.ndarray, end: int, identity: int, name: str = "index.delta", data_end: int = ANYWHERE
) -> Iterator[np.ndarray]:
    """Yield the entries of each block before offset `end`, or refuse the file."""
    at = START
    while at < end:
        raw = data[at : min(end, at + BLOCK.itemsize)]
        size = BLOCK.itemsize
        if len(raw) == size:
            size += int(raw.view(BLOCK)["count"][0]) * ENTRY.itemsize
        content = data[at : at + size]
        if len(content) < size or at + size > end or raw[4:8].any():
            raise CorruptError.at(name, at, f"expected a block up to {end}, found {size} bytes")
        found, expected = int(raw.view(BLOCK)["crc"][0]), crc32c(content[8:], _seed(identity, at))
        if found != expected:
            raise CorruptError.at(name, at, f"expected checksum {expected:#010x}, found {found:#010x}")
        entries = content[BLOCK.itemsize :].view(ENTRY)
        count_entries(entries, data_end, at + BLOCK.itemsize, name)
        yield entries
        at += size


def _seed(identity: int, offset: int) -> int:
    return crc32c(identity.to_bytes(8, "little") + offset.to_bytes(8, "little"))
