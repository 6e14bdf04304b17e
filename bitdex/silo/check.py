"""Checking a silo: every byte of every file is read, and what is not as written is a finding.

::

    meta.bin      every copy of its records holds, and what is between them is zero
    data.bin      every region header and every committed frame holds; a record's frames carry
                  its key; live, headroom and dead bytes add up to the file; what no record
                  uses is zero, or frames that hold (`silo.survey`)
    index.bin     with index.delta it is the one the commit names, holds, and equals the one
                  rebuilt from data.bin; behind the committed blocks come others that hold
    ops_?.log     frames hold up to the last commit, sequences never go down, the logs reach
                  as far as the commit says; behind their end is nothing
    other files   are known
    in memory     the writer's operations are those of its logs

What cannot be seen: space allocated behind the end of data.bin or a log that was cut off, and
blocks cut off an index.delta that no commit names any more. No record has ever used them.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bitdex import filesystem
from bitdex.errors import BitdexError, CorruptError
from bitdex.formats import data, frame, hash_index, index_delta, oplog
from bitdex.formats import meta as meta_format
from bitdex.silo import survey
from bitdex.silo.base import rebuild_index
from bitdex.silo.files import SiloFiles
from bitdex.silo.key_index import KeyIndex, read_index
from bitdex.silo.log import PAGE, OpsLog

if TYPE_CHECKING:
    from bitdex.silo.silo import Silo

LISTED = 100  # differences of the index that are told one by one
RESTORE = "restore a backup, or load the data again; bitdex.repair keeps what is whole"
RENEWED = "nothing is lost; bitdex.repair or the next commit writes it anew"
HARMLESS = "nothing: no commit accounts for it, and nothing is lost; a rewrite of the silo leaves it out"
QUARANTINE, LOCK = "quarantine", "writer.lock"


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
    severity : {"note", "warning", "error"}
        Error: values are, or may be, lost. Warning: something is damaged, and nothing lost. Note:
        something that no commit accounts for.
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
    """Check the files of a commit record, or of the newest; works where opening would refuse.

    A writer at work beside it may leave a note: bytes of a commit that is still to come.
    """
    try:
        content = filesystem.read(files.meta)
        newest = meta_format.decode(content, None, str(files.meta))
    except (BitdexError, OSError) as error:
        yield refused(error, "error", RESTORE, files.meta)
        return
    meta = newest if meta is None else meta
    for fault in meta_format.faults(content):
        yield Finding(str(files.meta), *fault)
    yield from _check_names(files, meta, newest)
    if int(meta["data_generation"][0]):
        yield from _check_data(files, meta)
    yield from _check_logs(files, meta, newest)


def refused(error: Exception, severity: str, remedy: str, *paths: Path) -> Finding:
    """Return the finding for a file that was refused: the one of `paths` that the error names."""
    text = str(error)
    file = next((str(path) for path in paths if text.startswith(str(path))), str(paths[0]))
    if isinstance(error, CorruptError) and error.file is not None:
        what = text.removeprefix(f"{error.file}: offset {error.offset}: ")
        return Finding(file, error.offset, what, severity, remedy)
    return Finding(file, 0, text.removeprefix(f"{file}: "), severity, remedy)


# -- files ---------------------------------------------------------------------------------


def committed_paths(files: SiloFiles, meta: np.ndarray) -> dict[Path, Path | None]:
    """Return where the files of a commit lie, under their final names or not yet; None: nowhere."""
    wanted = [
        (files.data, data.MAGIC, "data_generation"),
        (files.index, hash_index.MAGIC, "index_generation"),
    ]
    if int(meta["delta_end"][0]):
        wanted.append((files.delta, index_delta.MAGIC, "index_generation"))
    return {path: files.of_generation(path, magic, int(meta[name][0])) for path, magic, name in wanted}


def leftovers(files: SiloFiles, *records: np.ndarray) -> Iterator[Path]:
    """Yield what is left of a file, or of a commit, that was not finished; the commits of `records` count."""
    used = {path for record in records for path in committed_paths(files, record).values()}
    final = {path.name for path in (files.data, files.index, files.delta, files.meta, *files.logs)}
    for name in filesystem.list_directory(files.directory):
        unfinished = name.endswith(".new") and files.directory / name not in used
        stem = name.removesuffix(".new") if unfinished else re.sub(r"^\.(.*)\.[0-9a-f]{12}$", r"\1", name)
        if stem != name and stem in final:
            yield files.directory / name


def _check_names(files: SiloFiles, meta: np.ndarray, newest: np.ndarray) -> Iterator[Finding]:
    left = set(leftovers(files, meta, newest))
    for path in sorted(left):
        what = "expected no file of this name, found one of a commit that was not finished"
        remedy = "nothing; a later commit replaces it, or bitdex.repair sets it aside"
        yield Finding(str(path), 0, what, "note", remedy)
    known = {files.data, files.index, files.delta, files.meta, *files.logs, *left}
    known |= {*map(files.unfinished, known), files.directory / QUARANTINE, files.directory / LOCK}
    for name in filesystem.list_directory(files.directory):
        if files.directory / name not in known:
            what = "expected files of a silo only, found one of another name"
            yield Finding(str(files.directory / name), 0, what, "note", "nothing; a silo does not touch it")


# -- data.bin and its index ----------------------------------------------------------------


def _check_data(files: SiloFiles, meta: np.ndarray) -> Iterator[Finding]:
    wanted = (int(meta[name][0]) for name in ("data_generation", "identity", "data_end"))
    try:
        path, whole = files.map_whole(*wanted)
    except (BitdexError, OSError) as error:
        yield refused(error, "error", RESTORE, files.unfinished(files.data), files.data)
        return
    rebuilt = stored = None
    mapped = whole[: int(meta["data_end"][0])]
    try:
        rebuilt = in_key_order(rebuild_index(mapped, meta))
    except CorruptError as error:
        yield refused(error, "error", RESTORE, files.data)
    paths = [*map(files.unfinished, (files.delta, files.index)), files.delta, files.index]
    try:
        stored = in_key_order(read_index(files, meta))
    except (BitdexError, OSError) as error:
        yield refused(error, "warning", RENEWED, *reversed(paths))
    yield from _check_delta(files, meta)
    entries = rebuilt if stored is None else stored
    if entries is not None:
        yield from _check_frames(path, whole, meta, survey.in_order(entries, "offset"))
        yield from _check_sizes(files.data, meta, entries)
    if stored is not None and rebuilt is not None:
        yield from _check_index(files.index, stored, rebuilt)


def in_key_order(index: KeyIndex) -> np.ndarray:
    """Return the entries of an index (formats.hash_index.ENTRY) by key."""
    return survey.in_order(index.entries(), "key")


def _check_delta(files: SiloFiles, meta: np.ndarray) -> Iterator[Finding]:
    """Check the blocks of index.delta that no commit names: of a commit that died, or of an older file."""
    if not filesystem.exists(files.delta):
        return
    end = int(meta["delta_end"][0])
    try:
        content = filesystem.map_read(files.delta)
        index_delta.decode_header(content, str(files.delta))
        for _ in index_delta.decode(content, len(content), int(meta["identity"][0]), str(files.delta)):
            pass
    except (BitdexError, OSError) as error:
        found = refused(error, "note", HARMLESS, files.delta)
        if found.offset >= end:
            yield found


def _check_frames(path: Path, whole: np.ndarray, meta: np.ndarray, entries: np.ndarray) -> Iterator[Finding]:
    """Verify every frame of every record that the index names, and look at what lies between records."""
    seed = np.uint32(frame.seed(int(meta["identity"][0])))
    mapped = whole[: int(meta["data_end"][0])]
    bad = survey.find_damage(mapped, entries, seed)
    for row in np.flatnonzero(bad >= 0):
        what = f"expected a frame of key {entries['key'][row]} with a right checksum, found damaged bytes"
        yield Finding(str(path), int(bad[row]), what, "error", RESTORE)
    loose = survey.find_padding(mapped, entries[bad < 0])
    if loose >= 0:
        what = "expected zeros behind a frame, found other bytes there or behind later ones"
        yield Finding(str(path), loose, what, "note", HARMLESS)
    strays, sizes = survey.find_strays(whole, *survey.gaps_between(entries, len(whole)), seed)
    if (strays >= 0).any():
        what = f"expected zeros or whole frames where no record lies, found {sizes.sum()} other bytes "
        what += f"in {np.count_nonzero(strays >= 0)} places; this is the first"
        yield Finding(str(path), int(strays[strays >= 0][0]), what, "note", HARMLESS)


def _check_sizes(path: Path, meta: np.ndarray, entries: np.ndarray) -> Iterator[Finding]:
    """Check that headers, the regions in use and the dead bytes make up the file."""
    used, dead, end = used_bytes(entries), int(meta["dead_bytes"][0]), int(meta["data_end"][0])
    if used + dead != end:
        what = f"expected {end - used} dead bytes beside {used} in use, found {dead} counted"
        yield Finding(str(path), 0, what, "warning", "bitdex.repair counts anew, as does a rewrite")


def used_bytes(entries: np.ndarray) -> int:
    """Return the bytes of a data file that are not dead: its header and the regions of these records."""
    rooms = (entries["allocated"] & ~np.uint32(hash_index.FLAGS)).sum(dtype=np.int64)
    return int(rooms) + data.FIRST_REGION + data.REGION_SIZE * len(entries)


def _check_index(path: Path, stored: np.ndarray, rebuilt: np.ndarray) -> Iterator[Finding]:
    """Compare the index with the one that data.bin tells."""
    keys = survey.differing_keys(stored, rebuilt)
    remedy = "compare the values with their source; bitdex.repair makes the index anew"
    for key in keys[:LISTED]:
        found, expected = (side[side["key"] == key] for side in (stored, rebuilt))
        what = f"key {key}: expected {_shown(expected)} as data.bin tells, found {_shown(found)}"
        yield Finding(str(path), 0, what, "error", remedy)
    if len(keys) > LISTED:
        what = f"{len(keys) - LISTED} more keys are not in it as data.bin tells, {keys[LISTED]} to {keys[-1]}"
        yield Finding(str(path), 0, what, "error", remedy)


def _shown(entry: np.ndarray) -> str:
    if not len(entry):
        return "no entry"
    return "(offset {1}, length {2}, allocated {3})".format(*entry[0].item())


# -- logs ----------------------------------------------------------------------------------


def _check_logs(files: SiloFiles, meta: np.ndarray, newest: np.ndarray) -> Iterator[Finding]:
    identity, applied = int(meta["identity"][0]), int(meta["applied"][0])
    logs = []
    for path in files.logs:
        try:
            logs.append(OpsLog.read(path, identity, 0, None, False))
        except FileNotFoundError:
            what = "expected an ops log, found none; operations that were not compacted are lost"
            yield Finding(str(path), 0, what, "error", RESTORE)
        except (BitdexError, OSError) as error:
            yield refused(error, "error", RESTORE, path)
    for log in logs:
        if log.generation > applied:
            what = f"expected generation {applied} or below, found {log.generation}: the commit is older"
            yield Finding(str(log.path), 24, what, "error", RESTORE)
        yield from _check_log(log)
    if int(newest["commit"][0]) == int(meta["commit"][0]) and len(logs) == len(files.logs):
        yield from _check_floor(max(logs, key=lambda log: log.last_sequence), meta)


def _check_floor(log: OpsLog, meta: np.ndarray) -> Iterator[Finding]:
    """Check that the logs, of which this one goes further, reach as far as the commit says."""
    applied, sequence, floor = (int(meta[name][0]) for name in ("applied", "sequence", "floor"))
    reached = max(applied, log.last_sequence)
    if max(reached, sequence) < floor:
        what = f"expected batches up to sequence {floor}, which were acknowledged, found them up to {reached}"
        yield Finding(str(log.path), log.end, what, "error", RESTORE)


def _check_log(log: OpsLog) -> Iterator[Finding]:
    path, content = str(log.path), filesystem.map_read(log.path)
    frames = np.zeros(1, hash_index.ENTRY)
    frames["offset"], frames["length"] = oplog.START, log.end - oplog.START
    loose = survey.find_padding(content, frames)
    if loose >= 0:
        what = "expected zeros behind a frame, found other bytes there or behind later ones"
        yield Finding(path, loose, what, "note", HARMLESS)
    if len(content) % PAGE and len(content) != oplog.START:
        what = f"expected whole pages of {PAGE} bytes, found {len(content)} bytes"
        yield Finding(path, len(content), what, "note", "nothing: the space behind the end was cut")
    tail = content[log.end :]
    if tail.any():
        what = f"expected the end of the log, found {len(tail)} bytes of a batch without its commit"
        remedy = "nothing acknowledged is lost; the next writer drops it"
        yield Finding(path, log.end, what, "warning", remedy)


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
