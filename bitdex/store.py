"""The store behind an index: its files, both silos, names and labels, and the commit that joins them.

::

    schema.json          the index definition, in all its versions
    commit.bin           the sequence that counts, in two alternating records
    fields.bin           field name -> number
    dictionaries.bin     label -> number
    dumps.json           the phases that were loaded
    writer.lock          who has it open for writing
    documents/  bitmaps/ two silos
    cache/               answers of queries (`cache_silo`): derived, and not part of a commit
    temporary/           pairs that a phase has spilled; a writer removes those of one that was killed

A phase: both silos prepare (their meta records name the new sequence), dictionaries and
the record of phases are written, then ``commit.bin``. A batch of changes: its frames go into the logs of
both silos under one sequence, then ``commit.bin`` names it. Each silo is opened at the sequence that
``commit.bin`` names, so they agree after a crash at any step. Only then do readers in this process see it:
`committed` is replaced by one assignment.

A change of the schema writes what follows from it into both silos, as a phase does, then ``schema.json`` with
the new version beside the ones before, then ``commit.bin``.

Every batch is in both logs, so each tells how far it reaches. Where the power was lost under
``sync="none"``, they may reach less far than ``commit.bin`` says: then the lesser reach counts. A compaction
would put an end to that choice, so everything is synced before one begins.
"""

import secrets
import weakref
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from bitdex import filesystem
from bitdex.bitmaps import BitmapSilo
from bitdex.dictionaries import Dictionaries
from bitdex.documents import SETTLED_HEADROOM, DocSilo
from bitdex.errors import InvalidError, WriteFailedError
from bitdex.formats import meta as meta_format
from bitdex.holding import holding
from bitdex.phase_log import PhaseLog
from bitdex.registry import FieldRegistry
from bitdex.remains import BITMAPS, DOCUMENTS, check_vacant, missing
from bitdex.schema import Schema
from bitdex.schema_versions import SchemaVersions
from bitdex.silo.files import Lasting, SiloFiles
from bitdex.silo.guard import Guard
from bitdex.silo.lock import WriterLock
from bitdex.silo.modes import check_sync
from bitdex.silo.steadily import steadily
from bitdex.silo.turn import Turn
from bitdex.silo.writes import Writes
from bitdex.store_opened import Committed, Opened, close_silos, committed, read_commit
from bitdex.uninterrupted import uninterrupted

WASTE = 0.2  # share of unused bytes from which a silo is rewritten


class Store:
    """Everything an index keeps on disk, opened at one committed sequence.

    Attributes
    ----------
    record, lasting, versions, schema, registry, dictionaries, log
        Of the newest commit (`store_opened`).
    documents : DocSilo
        As the writer sees them, with what is not committed yet.
    bitmaps : BitmapSilo
    committed : Committed
        What readers see.
    guard : Guard
    temporary : Path
        Where the one who changes the index may spill; its files do not outlive it.
    """

    record: np.ndarray
    lasting: Lasting
    sequence: int
    versions: SchemaVersions
    schema: Schema
    registry: FieldRegistry
    dictionaries: Dictionaries
    log: PhaseLog
    documents: DocSilo
    bitmaps: BitmapSilo
    committed: Committed

    def __init__(self, directory: Path, mode: str, sync: str):
        directory = directory.resolve()  # once: the process may go to another directory
        self.directory, self.mode, self.sync = directory, mode, sync
        self._commit_path = directory / "commit.bin"
        self.temporary = directory / "temporary"
        self._descriptor: int | None = None
        self._writer = secrets.randbits(64)
        self._closing: weakref.finalize[..., Store] | None = None
        self._opened: Opened | None = None
        if mode not in ("r", "w"):
            raise InvalidError(f'mode: {mode!r} is unknown; use "r" or "w"')
        if not filesystem.exists(self._commit_path):
            raise missing(directory)
        self.guard = Guard(directory, mode, "index")
        self.turn = Turn(f"{directory}: this thread is changing the index already; let that end first")
        self.maintenance = Turn(f"{directory}: this thread is compacting the index; let that end first")
        self._lock = WriterLock(directory) if mode == "w" else None
        try:
            self._open()
            if mode == "w":
                self._clear_temporary()
        except BaseException:
            self._release()
            raise

    @classmethod
    def create(cls, directory: Path, schema: Schema, sync: str) -> None:
        """Make an empty store in a new or empty directory, to be opened with this mode of syncing."""
        check_sync(sync)
        check_vacant(directory)
        filesystem.make_directory(directory)
        lock = WriterLock(directory)
        try:
            check_vacant(directory)  # somebody may have been faster
            cls._fill(directory, schema)
        finally:
            lock.release()

    @staticmethod
    def _fill(directory: Path, schema: Schema) -> None:
        SchemaVersions.create(directory / "schema.json", schema)
        record = meta_format.blank(_new_identity(directory), "index", 0, 0, 8)
        padded = meta_format.encode(record).ljust(meta_format.FILE_SIZE, b"\0")
        identity = int(record["identity"][0])
        FieldRegistry.create(directory / "fields.bin", identity)
        Dictionaries.create(directory / "dictionaries.bin", identity)
        PhaseLog.create(directory / "dumps.json")
        registry = FieldRegistry(directory / "fields.bin", identity)
        dictionaries = Dictionaries(directory / "dictionaries.bin", identity)
        BitmapSilo.open(directory / BITMAPS, "w", None, "batch", dictionaries).silo.close()
        DocSilo.open(directory / DOCUMENTS, "w", None, "batch", schema, registry, dictionaries).silo.close()
        filesystem.write_whole(directory / "commit.bin", padded)  # last: now there is an index

    def _open(self) -> None:
        """Open the committed state; a writer may be committing the next one meanwhile."""

        def attempt() -> Opened:
            return Opened(self.directory, self.mode, self.sync, self._opened)

        opened = attempt() if self.mode == "w" else steadily(attempt, self._look)
        before = vars(self).copy()  # let go of behind the next step, which is one, and not in it
        vars(self).update(vars(opened), _opened=opened if self.mode == "r" else None)
        del before
        if self.mode == "w":
            self._take_over()

    def _take_over(self) -> None:
        """Let what was opened be what counts: nothing that a writer has left behind it comes back."""
        try:
            if self.sequence < int(self.record["sequence"][0]):
                self._name(self.sequence)
            self.settle_logs()
            self.versions.forget()
            self.log.forget()
        except BaseException:
            self._close_silos()
            raise

    def _clear_temporary(self) -> None:
        """Remove what a writer that was killed has spilled."""
        names = filesystem.list_directory(self.temporary) if filesystem.exists(self.temporary) else []
        for name in names:
            if name.endswith(".spill"):
                filesystem.remove(self.temporary / name)

    def _look(self) -> tuple[object, ...]:
        """Return what is other when something was committed since."""
        silos = (SiloFiles(self.directory / name) for name in (DOCUMENTS, BITMAPS))
        return (filesystem.read(self._commit_path), *(files.look() for files in silos))

    def _publish(self) -> None:
        """Let readers see the state of both silos."""
        self.committed = committed(self.sequence, self.log, self.documents, self.bitmaps)

    def commit(
        self, sequence: int, schema: Schema | None = None, registry: FieldRegistry | None = None
    ) -> None:
        """Make `sequence` the committed one; the silos are prepared, everything else is on disk.

        From it on another schema may count, and a registry without the fields that it has not any more.
        """
        self.guard.check_writable()

        def commit() -> None:
            self._name(sequence)
            if schema is not None:
                self.schema, self.registry = schema, registry or self.registry
                silo = self.documents.silo
                self.documents = DocSilo(silo, self.schema, self.registry, self.dictionaries)
            self._publish()
            self.documents.silo.finish()
            self.bitmaps.silo.finish()

        self.guard.whole(commit)

    def write(self, documents: Writes, bitmaps: Writes) -> int:
        """Write one batch into both silos and commit it; return its sequence.

        When it fails, nothing more is written if one of them has it: it must not count with the next.
        """
        self.guard.check_writable()
        sequence = max(self.documents.silo.next_sequence, self.bitmaps.silo.next_sequence)

        def write() -> None:
            try:
                self.dictionaries.save()
                documents.append(self.documents.silo, sequence)
                bitmaps.append(self.bitmaps.silo, sequence)
                self._name(sequence, self.sync != "none")
                self._publish()
            except BaseException as error:
                if max(self.documents.silo.sequence, self.bitmaps.silo.sequence) >= sequence:
                    self.guard.fail(error, self.directory)
                raise

        self.guard.whole(write)
        return sequence

    def _name(self, sequence: int, durable: bool = True) -> None:
        """Write the commit record of a sequence."""
        record = meta_format.copied(self.record)
        record["sequence"], record["labels"] = sequence, self.dictionaries.saved
        record["writer"] = self._writer
        record["commit"] += 1
        descriptor = self._open_commit()
        filesystem.write_at(descriptor, meta_format.encode(record), meta_format.place_of(record))
        if durable:
            filesystem.sync(descriptor)
        self.record, self.sequence = record, sequence

    @property
    def mark(self) -> str:
        """What the newest commit has in common with no other one, of whatever history."""
        return f"{self.record['commit'][0]}.{self.record['writer'][0]:016x}"

    def _open_commit(self) -> int:
        """Return the descriptor of the file of commit records; it stays open for all of them."""
        if self._descriptor is None:
            self._descriptor = filesystem.open_write(self._commit_path)
            self._closing = weakref.finalize(self, filesystem.close, self._descriptor)  # when it is forgotten
            self._closing.atexit = False
        return self._descriptor

    def settle_logs(self) -> None:
        """Force the batches that lie in the logs to the device, in any mode of syncing."""
        if self.documents.silo.pending or self.bitmaps.silo.pending:
            self.guard.whole(self._sync_all)

    def _sync_all(self) -> None:
        self.documents.silo.sync()
        self.bitmaps.silo.sync()
        filesystem.sync(self._open_commit())

    def refresh(self) -> bool:
        """Move a reader on to the newest commit; return whether there is another than before."""
        record = read_commit(self.directory)
        same = int(record["commit"][0]) == int(self.record["commit"][0]) and self.lasting.lasts()
        if self.mode == "w" or same:
            return False
        self.reopen()
        return True

    def reopen(self) -> None:
        """Open the committed state anew, forgetting what failed on the way to the next one.

        Not after a write that failed: opening for writing writes.
        """
        if self.guard.closed or self.failure is not None:
            return

        def reopen() -> None:
            if self.mode == "w":  # their locks have to be free; what is committed can be read meanwhile
                self._close_silos()
            self._open()

        uninterrupted(reopen)

    def settle(self) -> None:
        """Rewrite a silo of which merges have left more than a fifth unused."""
        if self.documents.silo.waste > WASTE:
            self.documents.silo.rewrite(SETTLED_HEADROOM)
        if self.bitmaps.silo.dead_ratio > WASTE:
            self.bitmaps.silo.rewrite()
        self._publish()

    @property
    def needs_compaction(self) -> bool:
        """Whether one of the silos does."""
        return self.documents.silo.needs_compaction or self.bitmaps.silo.needs_compaction

    def compact(self, progress: bool = False) -> None:
        """Compact both silos: operations of the logs go into the data files, dead space is reclaimed.

        Batches of other threads go on meanwhile.
        """
        for silo in (self.documents.silo, self.bitmaps.silo):
            silo.compact(progress=progress, holding=self._between_batches)
        with self.turn.awaited():
            self._publish()

    @holding
    def _between_batches(self) -> Iterator[None]:
        with self.turn.awaited():
            self.settle_logs()
            yield

    def close(self) -> None:
        """Release files, threads and the lock."""
        if not self.guard.closed:  # by a thread that was faster
            uninterrupted(self._end)

    def _end(self) -> None:
        self.guard.close()
        with ExitStack() as ending:
            ending.callback(self._release)
            self._close_silos()

    @property
    def failure(self) -> WriteFailedError | None:
        """The write that failed, of the index or a silo, or None."""
        return self.guard.failure or self.documents.silo.failure or self.bitmaps.silo.failure

    def _close_silos(self) -> None:
        close_silos(self.documents, self.bitmaps, self.failure)

    def _release(self) -> None:
        self._descriptor = None
        try:
            if self._closing is not None:
                self._closing()  # once
        finally:
            if self._lock is not None:
                self._lock.release()


def _new_identity(directory: Path) -> int:
    """Return a new number, or that of the silo which a creation that died has left."""
    files = SiloFiles(directory / BITMAPS)
    if filesystem.exists(files.meta):
        return int(files.read_meta(None)["identity"][0]) - 1
    return secrets.randbits(62) + 1
