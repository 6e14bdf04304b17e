"""``meta.bin`` and ``commit.bin``: the commit record of a store, in two alternating places, twice in each.

::

    0          512        1024       4096       4608       5120       8192
    | record A | record A | zero ... | record B | record B | zero ... |

A commit writes both copies of its record, with one write of 1,024 bytes, over the place
that does not hold the newest, then syncs. The newest record of which a copy holds is the
state of the store; a reader that was told to open at an earlier sequence takes the newest
one not above it. Commit 0 is written to place A with the file; B is zero until commit 1.

The copies lie in different sectors, because a sector is what a device damages or fails to
write: a flipped bit or a lost sector in the newest record leaves its other copy, and the
state before does not come back unseen. The places lie in different 4 KiB blocks, because
that is what a device or the system may lose of a write that is torn: the record in the
other place, which was committed, is not in it. Where sectors have 4 KiB, one damaged sector
takes both copies; no reader can tell that from a torn write, and `faults` reports it.

The file is made whole, at once, and is overwritten in place from then on: one of another
length is damaged, and refused. One that is made with a later commit (a backup, a repair) has
its record in both places, in the other one numbered one lower, so that none is empty (`whole`).

`sequence` is the last committed batch that changed ``data.bin``; frames in the logs up
to `applied` are already in it. `pending` is the sequence of a merge that was begun and
not committed: the next writer adds it to `aborted`, because its frames may lie in the
headroom of any region. When that is full, ``data.bin`` is written anew, without such frames.
`data_generation` and `index_generation` name the files; a file of the right name and another
generation is an old or an unfinished one, and the right one then has the suffix ``.new``.
`labels` tells a torn end of ``dictionaries.bin`` from a damaged one (`formats.dictionary`).
`writer` and `commit` together are those of one commit alone, also where an older state was put back
and went on to another one under the same sequence.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from bitdex.errors import CorruptError, VersionError
from bitdex.kernels.checksum import crc32c

MAGIC = b"BDXMETA"
VERSION = 2
PLACES = (0, 4096)
COPIES = 2
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
        ("floor", "<u8"),  # 48  log batch that the logs must reach: the last one when a writer
        #                          closed or committed; logs that end below it have lost batches
        ("pending", "<u8"),  # 56  merge begun, or 0
        ("data_generation", "<u8"),  # 64
        ("index_generation", "<u8"),  # 72
        ("data_end", "<u8"),  # 80  committed length of data.bin
        ("delta_end", "<u8"),  # 88  committed length of index.delta, the entries that changed
        #                              since index.bin was written; 0: there is none
        ("dead_bytes", "<u8"),  # 96  regions that no entry points at
        ("headroom", "<u4"),  # 104 per mille of the record's length
        ("minimum", "<u4"),  # 108 smallest region
        ("rule", "S16"),  # 112 name of the merge rule
        ("aborted_count", "<u8"),  # 128
        ("aborted", "<u8", (MAX_ABORTED,)),  # 136
        ("labels", "<u8"),  # 392 labels that dictionaries.bin must hold: of commit.bin, else 0
        ("writer", "<u8"),  # 400 a random number of the opening that wrote it: of commit.bin, else 0
        ("reserved", "V100"),  # 408 zero
        ("crc", "<u4"),  # 508 CRC-32C of bytes 0 .. 507
    ]
)
SIZE = 512
assert META.itemsize == SIZE


class Fault(NamedTuple):
    """Something in the file that commits do not leave there; severity "error", "warning" or "note"."""

    offset: int
    what: str
    severity: str
    remedy: str


def blank(identity: int, rule: str, headroom: int, minimum: int, alignment: int) -> np.ndarray:
    """Return the first record of a new store, shape (1,)."""
    record = np.zeros(1, META)
    record["magic"], record["version"], record["identity"] = MAGIC, VERSION, identity
    record["rule"], record["headroom"] = rule.encode(), headroom
    record["minimum"], record["alignment"] = minimum, alignment
    return record


def encode(record: np.ndarray) -> bytes:
    """Return the 1,024 bytes to be written at the record's place: two copies with their checksum."""
    content = record.tobytes()[:508]
    return COPIES * (content + crc32c(content).to_bytes(4, "little"))


def copied(record: np.ndarray) -> np.ndarray:
    """Return a record of its own; `copy` takes ten times as long, field by field."""
    return np.frombuffer(bytearray(record.tobytes()), META)


def whole(record: np.ndarray) -> bytes:
    """Return a new file of which this record is the state."""
    before, content = record.copy(), bytearray(FILE_SIZE)
    before["commit"] -= before["commit"] > 0
    for one in (before, record):
        place = place_of(one)
        content[place : place + COPIES * SIZE] = encode(one)
    return bytes(content)


def place_of(record: np.ndarray) -> int:
    """Return the offset at which a record is written."""
    return PLACES[int(record["commit"][0]) % 2]


def copies(data: Any) -> list[tuple[int, np.ndarray | None]]:
    """Return every offset of a copy, and the record there, shape (1,), or None where none holds."""
    raw = np.frombuffer(data, np.uint8)
    offsets = [(place, place + copy * SIZE) for place in PLACES for copy in range(COPIES)]
    return [(offset, _record(raw[offset : offset + SIZE], place)) for place, offset in offsets]


def decode(data: Any, at: int | None = None, name: str = "meta.bin") -> np.ndarray:
    """Return the newest record that holds, shape (1,); with `at`, the newest not above that sequence."""
    if len(data) != FILE_SIZE:
        raise CorruptError.at(
            name, min(len(data), FILE_SIZE), f"expected {FILE_SIZE} bytes, found {len(data)}"
        )
    held = copies(data)
    found = [record for _, record in held if record is not None]
    if not found:
        begins = "; ".join(f"offset {at}: {bytes(data[at : at + 8])!r}" for at, _ in held)
        raise CorruptError(
            f"{name}: no record holds: expected magic {MAGIC!r} and a right CRC-32C, found {begins}"
        )
    for record in found:
        if record["version"][0] != VERSION:
            raise VersionError(f"{name}: format version {record['version'][0]}; this package reads {VERSION}")
    states = {place_of(record): record for record in sorted(found, key=_commit)}  # the newer of two copies
    usable = [record for record in states.values() if at is None or int(record["sequence"][0]) <= at]
    if not usable:
        oldest = min(int(record["sequence"][0]) for record in states.values())
        raise CorruptError.at(
            name, 0, f"expected a record at or below sequence {at}, found none below {oldest}"
        )
    return max(usable, key=_commit)


def faults(data: Any) -> Iterator[Fault]:
    """Compare a file that `decode` takes with what commits leave: all copies, and zeros around them."""
    held = dict(copies(data))
    newest = max(_commit(record) for record in held.values() if record is not None)
    for place in PLACES:
        unwritten = place == PLACES[1] and newest == 0
        yield from _faults_of_place(bytes(data), place, held, unwritten)
    for start, stop in zip((place + COPIES * SIZE for place in PLACES), (*PLACES[1:], FILE_SIZE)):
        other = np.flatnonzero(np.frombuffer(data, np.uint8)[start:stop])
        if len(other):
            what = f"expected zeros to offset {stop}, found {len(other)} other bytes"
            yield Fault(start + int(other[0]), what, "note", "nothing: nobody reads these bytes")


def _faults_of_place(
    data: bytes, place: int, held: dict[int, np.ndarray | None], unwritten: bool
) -> Iterator[Fault]:
    offsets = [place + copy * SIZE for copy in range(COPIES)]
    bad = [at for at in offsets if held[at] is None and (any(data[at : at + SIZE]) or not unwritten)]
    records = [record for at in offsets if (record := held[at]) is not None]
    if len(bad) == COPIES:
        what = "expected two copies of a commit record, found neither: the newest commit may have been here"
        yield Fault(place, what, "error", "compare what is newest with its source, or restore a backup")
    elif bad:
        what = (
            f"expected a copy of a commit record with a right checksum, found {data[bad[0] : bad[0] + 8]!r}"
        )
        yield Fault(bad[0], what, "warning", "the other copy is used; the next commits renew it")
    elif len(records) == COPIES and _commit(records[0]) != _commit(records[1]):
        older, newer = sorted(map(_commit, records))
        what = f"expected the record of commit {newer} as in the other copy, found that of commit {older}"
        at = offsets[min(range(COPIES), key=lambda copy: _commit(records[copy]))]
        yield Fault(at, what, "note", "left by a writer that died; the next commits renew it")


def _record(raw: np.ndarray, place: int) -> np.ndarray | None:
    """Return the record in these bytes, or None where it does not hold, or belongs to the other place."""
    if len(raw) < SIZE or raw[:8].tobytes() != MAGIC.ljust(8, b"\0"):
        return None
    record = raw.copy().view(META)
    holds = int(record["crc"][0]) == crc32c(raw[:508]) and place_of(record) == place
    return record if holds else None


def _commit(record: np.ndarray) -> int:
    return int(record["commit"][0])
