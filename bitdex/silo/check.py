"""Checking a silo: every byte that counts is read, and what is not as written is a finding.

::

    meta.bin    both records hold
    data.bin    every region header and every committed frame holds; a record's frames carry
                its key; live, headroom and dead bytes add up to the file
    index.bin   is the one the commit names, holds, and equals the one rebuilt from data.bin
    ops_?.log   frames hold up to the last commit, sequences never go down
    in memory   the writer's operations are those of its logs
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bitdex import filesystem
from bitdex.errors import BitdexError, CorruptError
from bitdex.formats import data, hash_index, oplog
from bitdex.formats import meta as meta_format
from bitdex.kernels import probes
from bitdex.silo.base import Base, read_index, rebuild_table
from bitdex.silo.files import SiloFiles
from bitdex.silo.log import PAGE, OpsLog

if TYPE_CHECKING:
    from bitdex.silo.silo import Silo

BLOCK = 1 << 20  # records verified at a time
RESTORE = "restore a backup, or load the data again"
RENEWED = "nothing is lost; the next commit writes it anew"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in a silo's files that is not as it was written.

    Attributes
    ----------
    file : str
    offset : int
        Byte in the file; 0 where the file as a whole is meant.
    what : str
        What was expected and what was found.
    severity : {"warning", "error"}
        Error: values are, or may be, lost.
    remedy : str
    """

    file: str
    offset: int
    what: str
    severity: str
    remedy: str


def check(silo: "Silo") -> Iterator[Finding]:
    """Read everything that the state of this silo rests on; yield what is wrong, never raise for damage.

    A reader beside a writer is opened anew first, because the files of an older state go.
    """
    yield from check_files(silo.files, silo.pin().base.meta)
    if silo.mode == "w":
        yield from _check_memory(silo)


def check_files(files: SiloFiles, meta: np.ndarray | None = None) -> Iterator[Finding]:
    """Check the files of a commit record, or of the newest; works where opening would refuse."""
    try:
        content = filesystem.read(files.meta)
        newest = meta_format.decode(content, None, str(files.meta))
    except (BitdexError, OSError) as error:
        yield _refused(files.meta, error, "error", RESTORE)
        return
    meta = newest if meta is None else meta
    yield from _check_records(files.meta, content)
    if int(meta["data_generation"][0]):
        yield from _check_data(files, meta)
    for path in files.logs:
        if filesystem.exists(path):
            yield from _check_log(path, meta)
        elif int(newest["commit"][0]):
            what = "expected an ops log, found none; operations that were not compacted are lost"
            yield Finding(str(path), 0, what, "error", RESTORE)


def _refused(path: Path, error: Exception, severity: str, remedy: str) -> Finding:
    offset = re.search(r"offset (\d+)", str(error))
    return Finding(str(path), int(offset[1]) if offset else 0, str(error), severity, remedy)


def _check_records(path: Path, content: bytes) -> Iterator[Finding]:
    """Check both commit records; a place that was never written is zero."""
    if len(content) != meta_format.FILE_SIZE:
        what = f"offset {len(content)}: expected {meta_format.FILE_SIZE} bytes, found {len(content)}"
        yield Finding(str(path), len(content), what, "warning", RENEWED)
    for place in meta_format.PLACES:
        raw = content[place : place + meta_format.META.itemsize]
        try:
            if any(raw):
                meta_format.decode(raw, None, str(path))
        except BitdexError:
            what = f"expected a commit record with a right checksum, found {raw[:8]!r} and damaged bytes"
            yield Finding(
                str(path), place, what, "warning", "the other record is used; the next commits renew it"
            )


def _check_data(files: SiloFiles, meta: np.ndarray) -> Iterator[Finding]:
    wanted = (int(meta[name][0]) for name in ("data_generation", "identity", "data_end"))
    try:
        mapped = files.map_data(*wanted)
    except (BitdexError, OSError) as error:
        yield _refused(files.data, error, "error", RESTORE)
        return
    rebuilt = stored = None
    try:
        rebuilt = _entries(mapped, meta, *rebuild_table(mapped, meta))
    except CorruptError as error:
        yield _refused(files.data, error, "error", RESTORE)
    try:
        stored = _entries(mapped, meta, *read_index(files, meta))
    except (BitdexError, OSError) as error:
        yield _refused(files.index, error, "warning", RENEWED)
    entries = rebuilt if stored is None else stored
    if entries is not None:
        yield from _check_frames(files.data, mapped, meta, entries)
        yield from _check_sizes(files.data, meta, entries)
    if stored is not None and rebuilt is not None:
        yield from _check_index(files.index, stored, rebuilt)


def _entries(mapped: np.ndarray, meta: np.ndarray, table: np.ndarray, count: int) -> np.ndarray:
    return np.sort(Base(mapped, table, meta, count).entries(), order="key")


def _check_frames(path: Path, mapped: np.ndarray, meta: np.ndarray, entries: np.ndarray) -> Iterator[Finding]:
    """Verify every frame of every record that the index names."""
    keys = np.ascontiguousarray(entries["key"])
    places, lengths = entries["offset"].astype(np.int64), entries["length"].astype(np.int64)
    counts, bad = np.empty(len(keys), np.int64), np.empty(len(keys), np.int64)
    seed = Base(mapped, np.empty(0, np.uint64), meta, 0).seed
    for lo in range(0, len(keys), BLOCK):
        hi = min(lo + BLOCK, len(keys))
        probes.verify_records(mapped, keys, places, lengths, seed, lo, hi, counts, bad)
    for row in np.flatnonzero(bad >= 0):
        what = f"expected a frame of key {keys[row]} with a right checksum, found damaged bytes"
        yield Finding(str(path), int(bad[row]), what, "error", RESTORE)


def _check_sizes(path: Path, meta: np.ndarray, entries: np.ndarray) -> Iterator[Finding]:
    """Check that headers, the regions in use and the dead bytes make up the file."""
    used = int((entries["allocated"] & ~np.uint32(hash_index.FLAGS)).sum(dtype=np.int64))
    used += data.FIRST_REGION + data.REGION_SIZE * len(entries)
    dead, end = int(meta["dead_bytes"][0]), int(meta["data_end"][0])
    if used + dead != end:
        what = f"expected {end - used} dead bytes beside {used} in use, found {dead} counted"
        yield Finding(str(path), 0, what, "warning", "rewrite the silo; it counts anew")


def _check_index(path: Path, stored: np.ndarray, rebuilt: np.ndarray) -> Iterator[Finding]:
    """Compare the index with the one that data.bin tells."""
    for key in np.setxor1d(stored, rebuilt)["key"]:
        found, expected = (side[side["key"] == key] for side in (stored, rebuilt))
        what = f"key {key}: expected {_shown(expected)} as data.bin tells, found {_shown(found)}"
        yield Finding(str(path), 0, what, "error", "compare the value with its source; then rewrite the silo")


def _shown(entry: np.ndarray) -> str:
    if not len(entry):
        return "no entry"
    return "(offset {1}, length {2}, allocated {3})".format(*entry[0].item())


def _check_log(path: Path, meta: np.ndarray) -> Iterator[Finding]:
    try:
        log = OpsLog.read(path, int(meta["identity"][0]), 0, None, False)
    except (BitdexError, OSError) as error:
        yield _refused(path, error, "error", RESTORE)
        return
    content = filesystem.map_read(path)
    if len(content) % PAGE and len(content) != oplog.START:
        what = f"expected whole pages of {PAGE} bytes, found {len(content)} bytes"
        yield Finding(str(path), len(content), what, "note", "nothing: the space behind the end was cut")
    tail = content[log.end :]
    if tail.any():
        what = f"expected the end of the log, found {len(tail)} bytes of a batch without its commit"
        yield Finding(
            str(path), log.end, what, "warning", "nothing acknowledged is lost; the next writer drops it"
        )


def _check_memory(silo: "Silo") -> Iterator[Finding]:
    """Compare the operations that the writer holds in memory with those in its logs."""
    state = silo.pin()
    for held in state.waiting:
        path = held.log.path
        try:
            log = OpsLog.read(path, silo.identity, state.base.applied, held.last_sequence, False)
        except (BitdexError, OSError):
            continue  # `check_files` found it
        stored = log.waiting(state.base.applied)
        if stored is None or not all(
            np.array_equal(getattr(held.operations, name), getattr(stored.operations, name))
            for name in ("keys", "places", "sizes")
        ):
            found = stored.count if stored else 0
            what = f"expected {found} operations as in the file, found {held.count} in memory, or others"
            yield Finding(str(path), 0, what, "error", "close the silo and open it again")
