"""Repair of an index or a silo: what is damaged is set aside, what is whole is committed anew.

An index is repaired silo by silo (`silo.repair`), at the sequence that ``commit.bin`` names. A document
that is lost is taken out of all bitmaps first, so that no query finds it, now or when it is put again.
Which documents are visible, or wait, is told anew where that is lost (`repairing_states`).
Saved sets whose names are lost get new ones; names whose sets are lost go. Names of fields,
labels, the definition and the record of phases are told nowhere else: a backup has them. What is kept of
queries goes.
"""

import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pyroaring import BitMap

from bitdex import filesystem, registry_lost, registry_sets
from bitdex.cache_silo import NAME as CACHE
from bitdex.cache_silo import discard
from bitdex.checking import FILES, HALF_WRITTEN, SILOS, check_cache
from bitdex.checking_records import shown
from bitdex.documents import SLOTS
from bitdex.errors import CorruptError, InvalidError, NotFoundError
from bitdex.formats import bitmap, frame
from bitdex.formats import meta as meta_format
from bitdex.repairing_found import (
    find_beyond_repair,
    find_lost_phases,
    find_lost_states,
    find_unlike_sets,
    sets_of,
    unrecorded,
)
from bitdex.repairing_keys import (
    UNRECORDED,
    field_names,
    fields_of,
    of_bitmaps,
    of_documents,
    rebuilt_fields,
    states_of,
)
from bitdex.repairing_states import KEYS
from bitdex.repairing_states import states_of as states_of_documents
from bitdex.silo.check import Finding, refused
from bitdex.silo.files import SiloFiles
from bitdex.silo.lock import WriterLock
from bitdex.silo.quarantine import Quarantine
from bitdex.silo.remedies import AGAIN, BACKUP, NOTHING_LOST, UNTOUCHED, Refused, Repair, of_finding, refusal
from bitdex.silo.repair import find_faults, lost_places, repair_silo
from bitdex.silo.silo import Silo
from bitdex.silo.steadily import confirmed
from bitdex.silo.writes import Writes, reach
from bitdex.store import Store

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["file", "offset", "what", "severity", "remedy", "action"]
SILO_FILES = {"meta.bin", "data.bin", "index.bin", "ops_a.log", "ops_b.log"}


def repair(path: str | Path, dry_run: bool = True) -> "pd.DataFrame":
    """Repair an index or a silo, also one that cannot be opened; or say what would be done.

    Nothing is deleted: files and bytes that are taken out lie in ``quarantine/`` in the directory
    afterwards. What is not damaged reads as before. A repair that was interrupted is begun again.

    Parameters
    ----------
    path : directory
    dry_run : bool
        Change nothing; the rows are the same.

    Returns
    -------
    DataFrame
        One row for everything that is damaged: file, offset, what (expected and found), severity
        ("error": something is lost), remedy (what is left for you to do), action (what the repair
        does). An action that begins with "none" says that the repair leaves that file as it is.

    Raises
    ------
    NotFoundError
        If there is no index and no silo.
    LockedError
        If somebody has it open for writing; not for a dry run.
    VersionError
        If a file was written by another version, which is no damage.
    """
    import pandas as pd

    rows = [{name: asdict(one)[name] for name in COLUMNS} for one in repairs_of(Path(path), dry_run)]
    return pd.DataFrame(rows, columns=COLUMNS)


def repairs_of(directory: Path, dry_run: bool) -> list[Repair]:
    """Repair an index or a silo, or list what would be done, also while somebody writes."""
    names = set(filesystem.list_directory(directory)) if filesystem.is_directory(directory) else set()
    if names & FILES:
        silos = [SiloFiles(directory / name) for name in SILOS]
        if not dry_run:
            return _IndexRepair(directory).run(False)
        return confirmed(lambda: _IndexRepair(directory).run(True), lambda: [one.look() for one in silos])
    if names & SILO_FILES:
        if not dry_run:
            return repair_silo(directory, False)
        return confirmed(lambda: repair_silo(directory), SiloFiles(directory).look)
    raise NotFoundError(f"{directory}: there is no index and no silo here")


class _IndexRepair:
    """The repair of one index."""

    def __init__(self, directory: Path):
        self._directory = directory
        self._commit = directory / "commit.bin"
        self._quarantine = Quarantine(directory)
        self._repairs: list[Repair] = []
        self._renew = False

    def run(self, dry_run: bool) -> list[Repair]:
        """Do it, or find out what would be done."""
        if dry_run:
            return self._run(True)
        lock = WriterLock(self._directory)
        try:
            return self._run(False)
        finally:
            lock.release()

    def _run(self, dry_run: bool) -> list[Repair]:
        try:
            record = self._read_commit()
        except Refused as refused_:
            return [refused_.repair]
        identity, at = (int(record[name][0]) for name in ("identity", "sequence"))
        self._repairs += find_beyond_repair(self._directory, identity, at, int(record["labels"][0]))
        cache = self._directory / CACHE
        leftovers = [
            name for name in filesystem.list_directory(self._directory) if HALF_WRITTEN.fullmatch(name)
        ]
        for name in leftovers:
            what, action = "expected no half-written file, found one", "the file is moved to quarantine"
            path = str(self._directory / name)
            self._repairs.append(Repair(path, 0, what, "note", NOTHING_LOST, action))
        kept = [of_finding(one, "what is kept of queries is removed") for one in check_cache(cache)]
        self._repairs += [one for one in kept if one.severity != "note"]
        if not dry_run:
            discard(cache)  # what it holds may be true no longer
            for name in leftovers:
                self._quarantine.move(self._directory / name)
            if self._renew:
                self._quarantine.keep(self._commit)
                self._write_commit(record)
        self._repair_silos(record, identity, dry_run)
        return self._repairs

    # -- the commit ------------------------------------------------------------------------

    def _read_commit(self) -> np.ndarray:
        """Return the commit record, and list what is damaged of it; `Refused` if it may not be the newest."""
        try:
            content = filesystem.read(self._commit)
            whole = content.ljust(meta_format.FILE_SIZE, b"\0")[: meta_format.FILE_SIZE]
            record = meta_format.decode(whole, None, str(self._commit))
        except (CorruptError, FileNotFoundError) as error:
            raise refusal(refused(error, "error", BACKUP, self._commit)) from None
        for fault in find_faults(content, whole):
            finding = Finding(str(self._commit), *fault)
            self._repairs.append(of_finding(finding, "the commit records are written anew"))
            self._renew = True
        sequence = int(record["sequence"][0])
        if lost_places(whole) and any(self._newest(name) > sequence for name in SILOS):
            what = f"expected the newest commit record, found sequence {sequence}; the silos hold a later one"
            raise refusal(Finding(str(self._commit), 0, what, "error", BACKUP))
        return record

    def _newest(self, name: str) -> int:
        """Return the newest sequence of a silo, or 0."""
        try:
            return int(SiloFiles(self._directory / name).read_meta(None)["sequence"][0])
        except (CorruptError, FileNotFoundError):
            return 0

    def _write_commit(self, record: np.ndarray) -> None:
        record["commit"] += np.uint64(2)
        filesystem.write_whole(self._commit, meta_format.whole(record))

    # -- the silos -------------------------------------------------------------------------

    def _repair_silos(self, record: np.ndarray, identity: int, dry_run: bool) -> None:
        """Repair the bitmaps, take lost documents out of them, and repair the documents."""
        at = int(record["sequence"][0])
        bitmaps = repair_silo(self._directory / "bitmaps", True, at)
        names = field_names(self._directory / "fields.bin", identity)
        made_anew = rebuilt_fields(self._directory, at, names)
        self._repairs += [of_bitmaps(one, names, made_anew) for one in bitmaps]
        if not dry_run:
            self._note_lost(bitmaps, made_anew)
            repair_silo(self._directory / "bitmaps", False, at)
        if not bitmaps:
            self._repairs += find_lost_phases(self._directory, at)
            self._repairs += find_lost_states(self._directory)
        documents = repair_silo(self._directory / "documents", True, at)
        keys = (one.key for one in documents if one.key is not None and one.severity == "error")
        lost = BitMap(key for key in keys if key < SLOTS)
        if not bitmaps and not documents:
            self._repairs += find_unlike_sets(self._directory, at)
            if gone := unrecorded(self._directory, at, names):
                what = f"expected the records of {shown(gone)}, found none"
                path = str(self._directory / "documents" / "data.bin")
                self._repairs.append(Repair(path, 0, what, "error", AGAIN, UNRECORDED))
        refused_ = any(one.action == UNTOUCHED for one in (*bitmaps, *documents))
        self._repairs += [of_documents(one) for one in documents]
        if dry_run:
            return
        prepared = self._newest("documents") > at  # a later sequence would commit that
        if lost and not refused_ and not prepared:
            self._bury(lost, record)
        repair_silo(self._directory / "documents", False, int(record["sequence"][0]))
        if not refused_:
            gone = unrecorded(self._directory, int(record["sequence"][0]), names)
            self._bury(gone | lost, record)
            self._level(record)
            self._settle_sets(record)
            self._tell_states(record)

    def _note_lost(self, bitmaps: list[Repair], made_anew: set[int]) -> None:
        """Write down which bitmaps there are not from now on, before they are taken out."""
        fields = {number for one in bitmaps for number in fields_of(one, made_anew)}
        states = {state for one in bitmaps for state in states_of(one)}
        with suppress(CorruptError):  # which every check tells; rebuilding all fields mends it
            before = registry_lost.read(self._directory)
            if before != before.more(fields, states):
                registry_lost.write(self._directory, before.more(fields, states))

    def _level(self, record: np.ndarray) -> None:
        """Let the documents reach as far as the bitmaps: the lesser reach of both would count."""
        at, path = int(record["sequence"][0]), self._directory / "documents"
        with Silo.open(path, at=at) as silo:
            level = silo.sequence == at
        if not level:
            with Silo.open(path, "w", at=at) as silo:
                Writes().append(silo, at)

    def _settle_sets(self, record: np.ndarray) -> None:
        """Commit a record of the saved sets that has those which have a bitmap."""
        at = int(record["sequence"][0])
        with (
            Silo.open(self._directory / "documents", "w", at=at) as documents,
            Silo.open(self._directory / "bitmaps", "w", "bitmap", at=at) as bitmaps,
        ):
            told, kept = sets_of(documents, bitmaps)
            if kept == told:
                return
            sequence = max(documents.next_sequence, bitmaps.next_sequence)
            writes = Writes()
            writes.add(frame.PUT, registry_sets.KEY, registry_sets.encode(kept))
            writes.append(documents, sequence)
            documents.sync()
            reach(bitmaps, sequence)
        record["sequence"] = sequence
        self._write_commit(record)

    def _tell_states(self, record: np.ndarray) -> None:
        """Commit the bitmaps anew that say which documents there are, where one is lost."""
        try:
            lost = registry_lost.read(self._directory)
            if not lost.states:
                return
            told = self._states(lost.states)
        except (CorruptError, FileNotFoundError, InvalidError):
            return  # which every check tells
        with Silo.open(self._directory / "bitmaps", "w", "bitmap", at=int(record["sequence"][0])) as silo:
            left = {key: bitmap.encode(slots) for key, slots in told.items() if slots}
            self._write_bitmaps(silo, left, [key for key, slots in told.items() if not slots], record)
        self._level(record)
        registry_lost.write(self._directory, lost._replace(states=frozenset()))

    def _states(self, lost: frozenset[str]) -> dict[int, BitMap]:
        store = Store(self._directory, "r", "none")
        try:
            there = {state for state, key in KEYS.items() if store.bitmaps.silo.get(key) is not None}
            return states_of_documents(store, lost - there or lost, time.time())
        finally:
            store.close()

    def _bury(self, lost: BitMap, record: np.ndarray) -> None:
        """Commit all bitmaps without these documents, but for saved sets, which keep ids of any.

        What were left would count again as soon as a document is put in the place of a lost one.
        """
        if not lost:
            return
        at = int(record["sequence"][0])
        with Silo.open(self._directory / "bitmaps", "w", "bitmap", at=at) as silo:
            left, emptied = _without(silo, lost)
            if not left and not emptied:
                return
            self._write_bitmaps(silo, left, emptied, record)

    def _write_bitmaps(
        self, silo: Silo, left: dict[int, bytes], emptied: list[int], record: np.ndarray
    ) -> None:
        """Commit bitmaps by key, and those that are empty."""
        sequence = max(silo.next_sequence, int(record["sequence"][0]) + 1)
        with silo.merge_writer(sequence, commit=False) as writer:
            writer.delete_many(emptied)
            writer.put_many(list(left), list(left.values()))
        record["sequence"] = sequence
        self._write_commit(record)
        silo.finish()


def _without(silo: Silo, lost: BitMap) -> tuple[dict[int, bytes], list[int]]:
    """Return the bitmaps that have some of these slots, by key, without them; and which have no others."""
    left, emptied, keys = {}, [], silo.keys()
    for key in keys[(keys < bitmap.SETS) | (keys >= bitmap.LAYERS)].tolist():
        payload = silo.get(key)
        assert payload is not None
        held = bitmap.decode(payload)
        if not held & lost:
            continue
        if held <= lost and key < bitmap.PHASES:
            emptied.append(key)
        else:
            left[key] = bitmap.encode(held - lost)
    return left, emptied
