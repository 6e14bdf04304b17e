"""Repair of a silo: what is damaged is set aside, what is whole is committed anew.

::

    diagnose    reads only: which commit counts, what stays of the data file and of the logs
    carry out   1  bytes and files that are to go are copied to quarantine/, synced
                2  files that no commit names are moved there
                3  a key whose value is lost while a log adds to it: logs first, in which it is deleted
                4  data.bin.new and index.bin.new are written, synced
                5  meta.bin is replaced: this is the repair
                6  they get their names; the logs are replaced

A repair that dies before 5 has changed nothing that counts, and one that dies later is begun again:
each step leaves a silo that is diagnosed anew. New data files come from the code that compacts a log, whose
frames are copied as they are; a value that cannot be folded stays as it is.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from bitdex import filesystem
from bitdex.errors import CorruptError
from bitdex.formats import data, frame, hash_index, index_delta, oplog
from bitdex.formats import meta as meta_format
from bitdex.kernels import frames as kernels
from bitdex.kernels import hash_index as index_kernels
from bitdex.kernels.jit import THREADS
from bitdex.silo.check import Finding, leftovers, used_bytes
from bitdex.silo.compaction import NewData, write_cold
from bitdex.silo.files import SiloFiles
from bitdex.silo.index_writer import write_index
from bitdex.silo.key_index import KeyIndex
from bitdex.silo.lock import WriterLock
from bitdex.silo.log import PAGE, OpsLog
from bitdex.silo.operations import Operations
from bitdex.silo.quarantine import Quarantine, replace_file
from bitdex.silo.remedies import AGAIN, NOTHING_LOST, Refused, Repair, of_finding, refusal, untouched
from bitdex.silo.replay import sequences_of
from bitdex.silo.salvage import Salvage, frames_of, salvage
from bitdex.silo.salvage_log import LogSalvage, salvage_logs


def repair_silo(directory: Path, dry_run: bool = True, at: int | None = None) -> list[Repair]:
    """Repair a silo, or say what would be done; `at` is the sequence that counts, if not the newest."""
    files = SiloFiles(directory)
    if dry_run or not filesystem.is_directory(directory):
        return diagnose(files, at).repairs
    lock = WriterLock(directory)
    try:
        diagnosis = diagnose(files, at)
        if not diagnosis.refused:
            _Surgery(files, diagnosis, at).run()
        return diagnosis.repairs
    finally:
        lock.release()


@dataclass(slots=True)
class Diagnosis:
    """What is damaged in a silo, and what is to be done.

    Attributes
    ----------
    record : ndarray of formats.meta.META, shape (1,)
        The commit that counts.
    newest : ndarray of formats.meta.META, shape (1,)
        Another one, if that one was prepared only.
    renew : bool
        Whether the file of commit records has to be written anew for its own sake.
    doubtful : bool
        Whether frames of batches that are lost, or that nobody knows, may lie in the data file.
    kept : Salvage or None
        None where there is no data file yet.
    logs : list of LogSalvage
    deleted : list of int
        Keys whose value is lost and to which a log adds.
    left : list of Path
        Files to be moved away.
    """

    record: np.ndarray = field(default_factory=lambda: np.zeros(1, meta_format.META))
    newest: np.ndarray = field(default_factory=lambda: np.zeros(1, meta_format.META))
    renew: bool = False
    doubtful: bool = False
    kept: Salvage | None = None
    logs: list[LogSalvage] = field(default_factory=list)
    deleted: list[int] = field(default_factory=list)
    left: list[Path] = field(default_factory=list)
    repairs: list[Repair] = field(default_factory=list)
    refused: bool = False


def diagnose(files: SiloFiles, at: int | None) -> Diagnosis:
    """Read everything and decide what is to be done; nothing is changed."""
    found = Diagnosis()
    try:
        _read_records(found, files, at)
        _read_logs(found, files, at)
        if int(found.record["data_generation"][0]):
            _read_data(found, files, at)
    except Refused as refused:
        found.refused = True
        found.repairs = [refused.repair, *map(untouched, found.repairs)]
    return found


def _read_records(found: Diagnosis, files: SiloFiles, at: int | None) -> None:
    """Choose the commit that counts, and see whether the file of commit records is whole."""
    try:
        content = filesystem.read(files.meta)
        whole = content.ljust(meta_format.FILE_SIZE, b"\0")[: meta_format.FILE_SIZE]
        found.newest = meta_format.decode(whole, None, str(files.meta))
        found.record = meta_format.decode(whole, at, str(files.meta))
    except (CorruptError, FileNotFoundError) as error:
        raise refusal(Finding(str(files.meta), 0, str(error), "error", "")) from None
    for fault in find_faults(content, whole):
        finding = Finding(str(files.meta), *fault)
        remedy = fault.remedy if fault.severity == "error" else NOTHING_LOST
        found.repairs.append(of_finding(finding, "the commit records are written anew", remedy))
        found.renew = True
    for path in leftovers(files, found.record, found.newest):
        what = "expected no file of this name, found one of a commit that was not finished"
        found.repairs.append(
            Repair(str(path), 0, what, "note", NOTHING_LOST, "the file is moved to quarantine")
        )
        found.left.append(path)
    found.doubtful = bool(lost_places(whole))
    if _surpassed(files, found.newest, found.doubtful):
        what = "expected the newest commit record, found an older one; the index is that of a later commit"
        raise refusal(Finding(str(files.meta), 0, what, "error", ""))


def find_faults(content: bytes, whole: bytes) -> Iterator[meta_format.Fault]:
    """Compare a file of commit records with what commits leave; `whole` is it in the right length."""
    if len(content) != len(whole):
        what = f"expected {len(whole)} bytes, found {len(content)}"
        yield meta_format.Fault(len(content), what, "warning", "")
    yield from meta_format.faults(whole)


def lost_places(content: bytes) -> set[int]:
    """Return the places where both copies of the commit record are lost."""
    copies = meta_format.copies(content)
    held = {meta_format.place_of(record) for _, record in copies if record is not None}
    newest = max(int(record["commit"][0]) for _, record in copies if record is not None)
    return set(meta_format.PLACES[: 1 + (newest > 0)]) - held


def _surpassed(files: SiloFiles, record: np.ndarray, lost: bool) -> bool:
    """Tell whether a later commit has changed the index, or, where a record is lost, may have."""
    generation, end = int(record["index_generation"][0]), int(record["delta_end"][0])
    for path in (files.index, files.unfinished(files.index))[: 1 + lost]:
        if files.of_generation(path, hash_index.MAGIC, generation + 1) == path:
            return True
    delta = files.of_generation(files.delta, index_delta.MAGIC, generation)
    if delta is None or not lost:
        return False
    content, reached = filesystem.map_read(delta), index_delta.START
    with suppress(CorruptError):  # of a last block that was torn
        for entries in index_delta.decode(content, len(content), int(record["identity"][0]), str(delta)):
            reached += index_delta.BLOCK.itemsize + entries.nbytes
    return reached > max(end, index_delta.START)


def _read_logs(found: Diagnosis, files: SiloFiles, at: int | None) -> None:
    """See what stays of the logs, and whether that is less than the commit says."""
    found.logs = salvage_logs(files, found.record)
    found.repairs += [repair for log in found.logs for repair in log.repairs]
    found.doubtful = found.doubtful or any(log.broken for log in found.logs)
    newest = max(found.logs, key=lambda log: log.last_sequence)
    applied, sequence, floor = (int(found.record[name][0]) for name in ("applied", "sequence", "floor"))
    reached = max(applied, sequence, newest.last_sequence)
    if reached >= floor or (at is not None and at < floor):
        return
    what = f"expected batches up to sequence {floor}, which were acknowledged, found them up to {reached}"
    action = "the batches above are given up, and the commit record says so"
    found.repairs.append(Repair(str(newest.path), newest.end, what, "error", AGAIN, action))
    found.record["floor"] = reached
    found.renew = found.doubtful = True


def _read_data(found: Diagnosis, files: SiloFiles, at: int | None) -> None:
    """See what stays of the data file, and of the operations that rest on what is lost."""
    found.kept = kept = salvage(files, found.record)
    kept.rewrite = kept.rewrite or found.doubtful
    cut, based = _pending_keys(found, at)
    for repair in kept.repairs:
        if repair.key in cut:
            what = f"{repair.what}; a log holds a later value"
            repair = replace(repair, what=what, severity="warning", remedy=NOTHING_LOST)
        found.repairs.append(repair)
    known = set(kept.entries["key"].tolist()) if kept.nameless and based else based
    found.deleted = sorted(based & set(kept.lost) | based - known)
    for key in found.deleted:
        what = f"key {key}: expected the record that operations in the log add to, found none that holds"
        action = f"key {key} is deleted in the log"
        found.repairs.append(Repair(str(kept.path), 0, what, "error", AGAIN, action, key))


def _pending_keys(found: Diagnosis, at: int | None) -> tuple[set[int], set[int]]:
    """Return the keys that a log puts or deletes, and those that it only adds to."""
    joined = Operations.join([log.kept for log in found.logs])
    sequences = sequences_of(joined)
    waiting = sequences > found.record["applied"][0]
    if at is not None:
        waiting &= sequences <= np.uint64(at)
    kinds = joined.words & np.uint64(frame.KIND_MASK)
    cut = set(joined.keys[waiting & (kinds != frame.MERGE)].tolist())
    return cut, set(joined.keys[waiting].tolist()) - cut


class _Surgery:
    """The steps of a repair, for which the lock is held."""

    def __init__(self, files: SiloFiles, found: Diagnosis, at: int | None):
        self._files, self._found, self._at = files, found, at
        self._record, self._identity = found.record.copy(), int(found.record["identity"][0])
        self._quarantine = Quarantine(files.directory)

    def run(self) -> None:
        """Do what the diagnosis says."""
        found, kept = self._found, self._found.kept
        self._set_aside()
        with ThreadPoolExecutor(THREADS, "bitdex-repair") as pool:
            if found.deleted:
                self._replace_logs()
            if kept is not None and (kept.rewrite or kept.reindex):
                self._write_data(kept, pool)
                self._write_records()
                self._finish_names()
            elif found.renew or (kept is not None and kept.recount):
                self._write_records()
            if not found.deleted:
                self._replace_logs()

    def _set_aside(self) -> None:
        found, files, quarantine = self._found, self._files, self._quarantine
        for path in found.left:
            quarantine.move(path)
        if found.renew:
            quarantine.keep(files.meta)
        for log in found.logs:
            if (log.renew or len(self._deleted_in(log))) and filesystem.exists(log.path):
                quarantine.keep(log.path)
        if found.kept is None:
            return
        if found.kept.ranges:
            quarantine.keep(found.kept.path, found.kept.ranges)
        if found.kept.reindex:
            for path in filter(filesystem.exists, (files.index, files.delta)):
                quarantine.move(path)

    def _replace_logs(self) -> None:
        for log in self._found.logs:
            head = oplog.encode_header(self._identity, log.generation)
            length = -(-log.end // PAGE) * PAGE
            if len(deleted := self._deleted_in(log)):
                content = np.zeros(length, np.uint8)
                content[: log.end] = log.mapped[: log.end]
                if log.renew:
                    content[: oplog.START] = np.frombuffer(head, np.uint8)
                seed = np.uint32(frame.seed(self._identity))
                for place in deleted.tolist():
                    kernels.mark_frame(content, place, np.uint64(frame.MERGE ^ frame.DELETE), seed)
                filesystem.write_whole(log.path, content.tobytes())
            elif log.renew and len(log.kept):
                replace_file(log.path, [(oplog.START, log.end)], head, length)
            elif log.renew:
                OpsLog.create(log.path, self._identity, log.generation).close()

    def _deleted_in(self, log: LogSalvage) -> np.ndarray:
        """Return the places of the frames that add to lost values: each of them becomes a delete.

        Nothing is better than a part. They keep their batch and their length, so that nothing moves.
        """
        kept, deleted = log.kept, np.array(self._found.deleted, np.uint64)
        waiting = sequences_of(kept) > self._record["applied"][0]
        merges = kept.words & np.uint64(frame.KIND_MASK) == frame.MERGE
        return kept.places[waiting & merges & np.isin(kept.keys, deleted)]

    def _write_data(self, kept: Salvage, pool: ThreadPoolExecutor) -> None:
        """Write the unfinished data file and index of the new commit."""
        files, record = self._files, self._record
        self._finish_names()
        if kept.path != files.data and filesystem.exists(kept.path):  # without a header it has no generation
            self._quarantine.move(files.data)
            filesystem.replace(kept.path, files.data)
        if kept.rewrite:
            generation = 1 + max(int(one["data_generation"][0]) for one in (record, self._found.newest))
            operations = frames_of(kept, self._identity)
            new = write_cold(files, operations, kept.mapped, record, generation, pool)
            record["data_generation"], record["data_end"] = generation, new.end
            record["aborted_count"] = record["aborted"] = record["pending"] = 0
        else:
            columns = (kept.entries[name].astype(np.uint64) for name in hash_index.ENTRY.names or ())
            table = index_kernels.build_index(*columns)
            index = KeyIndex.whole(table, len(kept.entries))
            new = NewData(index, int(record["data_end"][0]))
        generation = 1 + max(int(one["index_generation"][0]) for one in (record, self._found.newest))
        write_index(files, new, self._identity, generation, pool)
        record["index_generation"], record["delta_end"] = generation, 0
        filesystem.sync_directory(files.directory)

    def _write_records(self) -> None:
        """Write a new file of commit records, both places in one."""
        record, kept = self._record, self._found.kept
        if kept is not None:
            dead = int(record["data_end"][0]) - used_bytes(kept.entries)
            record["dead_bytes"] = 0 if kept.rewrite else dead
        if self._at is not None:
            record["floor"] = min(int(record["floor"][0]), self._at)
        record["commit"] = self._found.newest["commit"] + np.uint64(2)
        filesystem.write_whole(self._files.meta, meta_format.whole(record))

    def _finish_names(self) -> None:
        index = int(self._record["index_generation"][0])
        self._files.finish(self._files.data, data.MAGIC, int(self._record["data_generation"][0]))
        self._files.finish(self._files.index, hash_index.MAGIC, index)
        if int(self._record["delta_end"][0]):
            self._files.finish(self._files.delta, index_delta.MAGIC, index)
        else:
            filesystem.remove(self._files.delta)  # of a table that is no more
