"""``meta.bin``: the commit record of a store, in two alternating places.

::

    0          512        4096       4608      8192
    | record A | zero ... | record B | zero ... |

A commit writes the record that is not the newest, then syncs: a torn write leaves the
other one whole. The newest record that holds is the state of the store; a reader that
was told to open at an earlier sequence takes the newest one not above it.

`sequence` is the last committed batch that changed ``data.bin``; frames in the logs up
to `applied` are already in it. `pending` is the sequence of a merge that was begun and
not committed: the next writer adds it to `aborted`, because its frames may lie in the
headroom of any region. `data_generation` and `index_generation` name the files; a file
of the right name and another generation is an old or an unfinished one, and the right
one then has the suffix ``.new``.
"""

from typing import Any

import numpy as np

from bitdex.errors import CorruptError, VersionError
from bitdex.kernels.checksum import crc32c

MAGIC = b"BDXMETA"
VERSION = 1
PLACES = (0, 4096)
FILE_SIZE = 8192
MAX_ABORTED = 32

META = np.dtype(
    [
        ("magic", "S8"),  # 0
        ("version", "<u4"),  # 8
        ("alignment", "<u4"),  # 12  of payloads
        ("identity", "<u8"),  # 16
        ("commit", "<u8"),  # 24  counts the records written; the higher is the newer
        ("sequence", "<u8"),  # 32  last batch in data.bin
        ("applied", "<u8"),  # 40  last log batch that data.bin holds
        ("pending", "<u8"),  # 48  merge begun, or 0
        ("data_generation", "<u8"),  # 56
        ("index_generation", "<u8"),  # 64
        ("data_end", "<u8"),  # 72  committed length of data.bin
        ("dead_bytes", "<u8"),  # 80  regions that no entry points at
        ("headroom", "<u4"),  # 88  per mille of the record's length
        ("minimum", "<u4"),  # 92  smallest region
        ("rule", "S16"),  # 96  name of the merge rule
        ("aborted_count", "<u8"),  # 112
        ("aborted", "<u8", (MAX_ABORTED,)),  # 120
        ("delta_end", "<u8"),  # 376 committed length of index.delta; 0: there is none
        ("floor", "<u8"),  # 384 the log batch that the logs reach at least
        ("reserved", "V116"),  # 392 zero
        ("crc", "<u4"),  # 508 CRC-32C of bytes 0 .. 507
    ]
)
assert META.itemsize == 512


def blank(identity: int, rule: str, headroom: int, minimum: int, alignment: int) -> np.ndarray:
    """Return the first record of a new store, shape (1,)."""
    record = np.zeros(1, META)
    record["magic"], record["version"], record["identity"] = MAGIC, VERSION, identity
    record["rule"], record["headroom"] = rule.encode(), headroom
    record["minimum"], record["alignment"] = minimum, alignment
    return record


def encode(record: np.ndarray) -> bytes:
    """Return the 512 bytes of a record with its checksum."""
    sealed = record.copy()
    sealed["crc"] = crc32c(sealed.view(np.uint8)[:508])
    return sealed.tobytes()


def decode(data: Any, at: int | None = None, name: str = "meta.bin") -> np.ndarray:
    """Return the newest record that holds, shape (1,); with `at`, the newest not above that sequence."""
    found, states = [], []
    for place in PLACES:
        raw = np.frombuffer(data, np.uint8)[place : place + META.itemsize].copy()
        if len(raw) == META.itemsize and raw[:8].tobytes() == MAGIC.ljust(8, b"\0"):
            record = raw.view(META)
            if int(record["crc"][0]) == crc32c(raw[:508]):
                found.append(record)
        states.append(f"offset {place}: {raw[:8].tobytes()!r} and {len(raw)} bytes")
    if not found:
        raise CorruptError(
            f"{name}: neither record holds: expected magic {MAGIC!r} and a right CRC-32C, "
            f"found {'; '.join(states)}"
        )
    for record in found:
        if record["version"][0] != VERSION:
            raise VersionError(f"{name}: format version {record['version'][0]}; this package reads {VERSION}")
    usable = [r for r in found if at is None or int(r["sequence"][0]) <= at]
    if not usable:
        raise CorruptError(f"{name}: no record at or below sequence {at}")
    return max(usable, key=lambda r: int(r["commit"][0]))


def place_of(record: np.ndarray) -> int:
    """Return the offset at which a record is written."""
    return PLACES[int(record["commit"][0]) % 2]
