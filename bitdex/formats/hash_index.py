"""``index.bin``: a hash table from key to the place of its record in ``data.bin``.

::

    | header 64 | entry 24 | entry 24 | ... `capacity` entries | 256 more |

Open addressing with linear probing, upwards, without wrap-around: runs that pass the
last home spill into the 256 entries behind it, of which the last four stay empty. The
home of a key is ``((mix(key) >> 32) + turn) % 2**32 * capacity >> 32``, where ``mix`` is
the two-multiplication finaliser in `kernels.hash_index`; neighbouring keys land far apart.
An entry whose third word is 0 is empty, so every u64 is a usable key. There are no
tombstones: a commit writes a new table.

`turn` is the first word of the last entry. It is 0, unless so many keys were made to share
the last homes that they would not fit behind those: it brings the homes of such a crowd to
a place from which all keys fit, as there always is one.

`allocated` is a multiple of 8; its low bits are flags. SINGLE says that the record is
one PUT frame, so that its payload is ``length - 24`` bytes at ``offset + 24``.
`length` ends at the last payload byte, before the padding.

The header's `count` is the number of keys, `body_crc` the CRC-32C of the table.

A right checksum does not make a table sound. A reader refuses one whose last four entries have
anything but the turn, whose entries are not as many as it says, or of which one is no record: shorter than
a frame, longer than its region, or in a region that ends behind the data. Kernels rely on it.
"""

import numpy as np

from bitdex.errors import CorruptError
from bitdex.formats import header
from bitdex.kernels.checksum import crc32c
from bitdex.kernels.probes import check_entries

MAGIC = b"BDXINDEX"
VERSION = 1
ENTRY = np.dtype(
    [
        ("key", "<u8"),  # 0
        ("offset", "<u8"),  # 8   of the record's first frame in data.bin
        ("length", "<u4"),  # 16  committed bytes, first frame to last payload byte
        ("allocated", "<u4"),  # 20  bytes of the region from `offset`, and flags in bits 0-2
    ]
)
assert ENTRY.itemsize == 24

SINGLE = 1
SPILL = 256
EMPTY = 4  # entries at the end that stay so
FLAGS = 7
ANYWHERE = 1 << 62  # a data end that refuses no place kernels can compute with


def encode(table: np.ndarray, count: int, identity: int, generation: int) -> list[np.ndarray | bytes]:
    """Return the pieces of an index file: header, table (shape (3 * (capacity + SPILL),), uint64)."""
    body = table.view(np.uint8)
    head = header.encode(
        MAGIC,
        VERSION,
        identity,
        generation,
        count=count,
        capacity=len(table) // 3 - SPILL,
        body_crc=crc32c(body),
    )
    return [head, body]


def decode(data: np.ndarray, name: str = "index.bin", data_end: int = ANYWHERE) -> tuple[np.void, np.ndarray]:
    """Return header and table (shape (3 * (capacity + SPILL),), uint64), or refuse the file."""
    head = header.decode(data, MAGIC, VERSION, name)
    size = (int(head["capacity"]) + SPILL) * ENTRY.itemsize
    if len(data) != header.SIZE + size:
        raise CorruptError.at(
            name,
            min(len(data), header.SIZE + size),
            f"expected {header.SIZE + size} bytes, found {len(data)}",
        )
    body = data[header.SIZE :]
    found, expected = crc32c(body), int(head["body_crc"])
    if found != expected:
        raise CorruptError.at(name, header.SIZE, f"expected checksum {expected:#010x}, found {found:#010x}")
    table = body.view(np.uint64)
    used = count_entries(table.view(ENTRY), data_end, header.SIZE, name)
    if used != int(head["count"]):
        raise CorruptError.at(name, 32, f"expected {used} keys, as there are entries, found {head['count']}")
    if table[-3 * EMPTY : -3].any() or table[-3] >> np.uint64(32) or table[-2:].any():
        place = len(data) - EMPTY * ENTRY.itemsize
        raise CorruptError.at(name, place, f"expected {EMPTY} empty entries, found others")
    return head, table


def count_entries(entries: np.ndarray, data_end: int, at: int, name: str) -> int:
    """Return how many entries (ENTRY, shape (n,), at offset `at` of a file) are in use, or refuse them."""
    used = check_entries(entries.view(np.uint64), np.uint64(data_end))
    if used < 0:
        entry = -1 - used
        raise CorruptError.at(
            name,
            at + entry * ENTRY.itemsize,
            f"expected a record inside its region, which ends by {data_end}, found {entries[entry]}",
        )
    return used
