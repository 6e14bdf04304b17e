"""Commits: how a silo is opened, how a new state becomes the state, and what a crash leaves.

The order of a commit::

    1  data.bin (new, or in place behind committed lengths), synced
    2  index.bin.new, or a block of index.delta behind its committed end, synced
    3  meta.bin: the other record, synced     the state is the new one, or prepared
    4  the new state is published: readers see it
    5  files renamed, logs emptied            `finish`; the next opener does it otherwise

Between 3 and 5 a state is prepared: a store of several silos makes it count by writing
its own commit record, and opens each silo at the sequence that this record names. Steps 2 to 5 are not
interrupted half-way (`bitdex.uninterrupted`).

Batches go on while a commit is prepared: they lie in the log that is not being compacted, and carry
sequences above the one that is committed.
"""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from bitdex import filesystem
from bitdex.errors import CorruptError, WriteFailedError
from bitdex.formats import data, hash_index, index_delta
from bitdex.formats import meta as meta_format
from bitdex.holding import holding
from bitdex.kernels.jit import THREADS
from bitdex.silo.base import Base
from bitdex.silo.belongings import Belongings, weakly
from bitdex.silo.compaction import NewData
from bitdex.silo.files import Lasting, SiloFiles
from bitdex.silo.guard import Guard
from bitdex.silo.index_writer import write_delta, write_index
from bitdex.silo.key_index import KeyIndex
from bitdex.silo.lock import WriterLock
from bitdex.silo.log import OpsLog
from bitdex.silo.logs import OpsLogs
from bitdex.silo.rules import rule
from bitdex.silo.state import State
from bitdex.silo.steadily import steadily
from bitdex.silo.turn import Turn
from bitdex.uninterrupted import uninterrupted


class Commits:
    """The state of a silo: files, base, logs; how it is loaded and replaced."""

    def __init__(
        self,
        files: SiloFiles,
        mode: str,
        sync: str,
        at: int | None,
        reclaim: float,
        before: "Commits | None" = None,
    ):
        self.files = files
        self.mode = mode
        self._sync = sync
        self._guard = Guard(files.directory, mode, "silo")
        lock = WriterLock(files.directory) if mode == "w" else None
        self._pool = ThreadPoolExecutor(THREADS, "bitdex")
        self._belongings = Belongings(self, self._pool, lock)
        self._turn = Turn(f"{files.directory}: a merge is under way in this thread; end it first")
        self._publishing = threading.Lock()
        self._prepared = False
        self._reclaim = reclaim
        self._base: Base
        self._lasting: Lasting
        self._logs: OpsLogs
        try:
            self._load(at, before)
        except BaseException:
            self._belongings.let_go()
            raise

    # -- opening -------------------------------------------------------------------------

    def reload(self, at: int | None = None) -> None:
        """Go back to a committed state, forgetting what was appended or prepared after it."""
        self._guard.check_open()
        self._logs.close()
        self._load(at, self)

    def __repr__(self) -> str:
        if self._guard.closed:
            return f"<Silo {self.files.directory}, closed>"
        return f"<Silo {self.files.directory}: {len(self._state):,} keys>"

    def _load(self, at: int | None, before: "Commits | None") -> None:
        """Open the newest state, or the one at a sequence; a writer may be committing meanwhile.

        What was read `before` in the same directory, and nobody has changed since, is not read again.
        """
        if self.mode == "w":
            self._open_state(at, before)
        else:
            steadily(partial(self._open_state, at, before), self.files.look)

    def _open_state(self, at: int | None, before: "Commits | None") -> None:
        lasting, meta = Lasting(self.files.meta), self.files.read_meta(at)
        if before is not None and not before._lasting.lasts():
            before = None
        self.identity = int(meta["identity"][0])
        self.rule = meta["rule"][0].decode()
        self._fold = rule(self.rule)
        base = Base.open(self.files, meta, None if before is None else before._base)
        read = [None, None] if before is None or self.mode == "w" else before._logs.both
        if self.mode == "w":
            self._finish_renames(meta)
            base = self._take_over(base, at)
            self.files.drop_unfinished()
        applied = int(meta["applied"][0])
        logs: list[OpsLog] = []
        try:
            for path, log in zip(self.files.logs, read):
                logs.append(self._open_log(path, applied, at, log))
            both_known = self.mode == "w" or at is not None or _follow_all((logs[0], logs[1]))
            if not both_known or self._passed(meta, at):
                raise CorruptError(f"{self.files.directory}: expected the logs of commit {meta['commit'][0]}")
            _check_floor(self.files, meta, at, logs)
        except BaseException:
            for log in logs:
                log.close()
            raise
        self._base, self._prepared, self._lasting = base, False, lasting
        both = (logs[0], logs[1])
        following = _next_sequence(base.meta, both)
        self._logs = OpsLogs(both, self._sync, following, self._guard, weakly(self._publish))
        self._belongings.logs = self._logs
        self._publish()

    def _take_over(self, base: Base, at: int | None) -> Base:
        """Write a record for what another writer left: a merge it began, or a state it prepared and never
        committed. The sequence of such a merge is listed as aborted, so that its frames never count."""
        meta = base.meta
        newest = self.files.read_meta(None)
        record = meta.copy()
        if int(newest["commit"][0]) != int(meta["commit"][0]):
            record["commit"] = newest["commit"] + 2  # into the place of the newest
        elif int(meta["pending"][0]) or (at is not None and at < int(meta["floor"][0])):
            record["commit"] += 1
        else:
            return base
        if int(meta["pending"][0]) and int(meta["aborted_count"][0]) < meta_format.MAX_ABORTED:
            list_aborted(record)  # else the data file is about to be written without its frames
        if at is not None:
            record["floor"] = min(int(record["floor"][0]), at)
        self.files.write_meta(record)
        return replace(base, meta=record)

    def _open_log(self, path: Path, applied: int, at: int | None, before: OpsLog | None) -> OpsLog:
        if not filesystem.exists(path):
            raise CorruptError(f"{path}: expected an ops log, found no file")
        log = OpsLog.read(path, self.identity, applied, at, self.mode == "w", before)
        if log.generation > applied:  # emptied after the commit record was read
            log.close()
            raise CorruptError.at(path, 24, f"expected generation {applied} or below, found {log.generation}")
        return log

    def _follow(self) -> bool:
        """Move on to the newest committed state; return whether there is another than before."""
        meta, lasting = self.files.read_meta(None), self._lasting
        before = self._state.sequence, int(self._base.meta["commit"][0])
        same = int(meta["commit"][0]) == before[1] and lasting.lasts()
        if same and _follow_all(self._logs.both) and not self._passed(meta, None):
            self._publish()
        else:
            self.reload()
        after = self._state.sequence, int(self._base.meta["commit"][0])
        return after != before or self._lasting.number != lasting.number

    def _passed(self, meta: np.ndarray, at: int | None) -> bool:
        """Tell whether a writer has committed since: the logs may then hold batches behind that commit."""
        if self.mode == "w" or at is not None:
            return False
        return int(self.files.read_meta(None)["commit"][0]) != int(meta["commit"][0])

    # -- publishing ----------------------------------------------------------------------

    def _publish(self, base: Base | None = None) -> None:
        """Let readers see what is committed now: one assignment, so that nobody sees half of it."""
        with self._publishing:
            if base is not None:
                self._base = base
            waiting = self._logs.waiting(self._base.applied)
            self._state = State(self._base, waiting, self._fold)

    # -- the commit: one at a time, beside readers and appending writers -------------------

    @holding
    def _maintaining(self) -> Iterator[None]:
        """Hold off other compactions, merges and rewrites; those of other threads wait."""
        with self._turn.taken(), self._guard.writing():
            yield

    def _write_record(self, record: np.ndarray) -> None:
        def write() -> None:
            self.files.write_meta(record)
            self._publish(replace(self._base, meta=record))

        self._guard.whole(write)

    def _commit(self, new: NewData, fields: dict[str, int], finish: bool = True) -> None:
        """Write the index and the commit record of a new state, and publish it."""

        def commit() -> None:
            record = self._base.meta.copy()
            record["commit"] += 1
            record["data_end"], record["dead_bytes"] = new.end, new.dead
            for name, value in fields.items():
                record[name] = value
            try:
                index = self._write_index(new, record)
                filesystem.sync_directory(self.files.directory)
            except BaseException:
                with suppress(OSError):  # the first error counts
                    self.files.drop_unfinished()
                raise
            record["floor"] = max(int(record["floor"][0]), self._logs.synced_sequence)
            mapped = self._base.data
            if "data_generation" in fields or new.end != len(mapped):  # a new map begins without pages
                mapped = self.files.map_data(int(record["data_generation"][0]), self.identity, new.end)
            self.files.write_meta(record)
            self._prepared = True
            self._publish(Base(mapped, index, record, str(self.files.data)))
            if finish:
                self._finish()

        self._guard.whole(commit)

    def _write_index(self, new: NewData, record: np.ndarray) -> KeyIndex:
        """Write what has changed in the index, or all of it; return the one that readers use."""
        if new.changed is not None and self._base.indexed:
            end = write_delta(self.files, new, self._base.meta)
            if end:
                record["delta_end"] = end
                return new.index
        if len(new.index.recent):
            new = replace(new, index=KeyIndex.whole(new.index.merged(self._pool), new.index.count))
        record["index_generation"] += 1
        record["delta_end"] = 0
        generation = int(record["index_generation"][0])
        table = write_index(self.files, new, self.identity, generation, self._pool)
        return KeyIndex.whole(table, new.index.count)

    def finish(self) -> None:
        """Make a prepared compaction or merge final: give the files their names, empty the logs."""
        with self._maintaining():
            self._guard.whole(self._finish)

    def _finish(self) -> None:
        if not self._prepared:
            return
        self._finish_renames(self._base.meta)
        for log in self._logs.both:
            if log.appended and log.last_sequence <= self._base.applied:
                empty = OpsLog.create(log.path, self.identity, log.last_sequence)
                self._logs.replace(log, empty)
        self._prepared = False

    def _finish_renames(self, meta: np.ndarray) -> None:
        index = int(meta["index_generation"][0])
        self.files.finish(self.files.data, data.MAGIC, int(meta["data_generation"][0]))
        self.files.finish(self.files.index, hash_index.MAGIC, index)
        if int(meta["delta_end"][0]):
            self.files.finish(self.files.delta, index_delta.MAGIC, index)
        else:
            filesystem.remove(self.files.delta)  # of a table that is no more

    # -- closing -------------------------------------------------------------------------

    def _conclude(self) -> None:
        """Note how far the logs reach, so that a shorter log is damage and not a torn write."""
        if self._prepared or not self._state.waiting:
            return
        self._logs.sync()
        record = self._base.meta.copy()
        if int(record["floor"][0]) < self._logs.synced_sequence:
            record["commit"] += 1
            record["floor"] = self._logs.synced_sequence
            self._write_record(record)

    def close(self, failed: WriteFailedError | None = None) -> None:
        """Release files, threads and the lock. Closing twice is allowed.

        A compaction of another thread is awaited; a merge writer of this one is closed with the silo. Nothing
        is written after a write that `failed`, here or in the store that the silo is a part of.
        """
        if self._guard.closed:
            return
        self._guard.failure = self._guard.failure or failed
        if not self._guard.here:  # a fork: the locks of its parent's threads never open here
            self._guard.close()
            self._belongings.let_go()
            return
        with self._turn.awaited():
            if not self._guard.closed:  # another thread may have been faster
                uninterrupted(self._end)

    def _end(self) -> None:
        with ExitStack() as ending:  # all of it, whatever fails
            ending.callback(self._belongings.let_go)
            ending.callback(self._logs.close)
            ending.callback(self._guard.close)
            if self.mode == "w" and self._guard.failure is None:
                self._conclude()


def _follow_all(logs: tuple[OpsLog, OpsLog]) -> bool:
    """Take what was appended to the logs; return False if one was replaced.

    What the newer log has comes behind all of the older: the older has to be looked at after it.
    """
    before, last = logs
    if not before.follow():
        return False
    while last.follow():
        if last.last_sequence <= before.last_sequence:
            return True
        before, last = last, before  # this one is the newer
    return False


def _check_floor(files: SiloFiles, meta: np.ndarray, at: int | None, logs: list[OpsLog]) -> None:
    floor = int(meta["floor"][0])
    reached = max(int(meta["applied"][0]), *(log.last_sequence for log in logs))
    if reached < floor and (at is None or at >= floor) and int(meta["sequence"][0]) < floor:
        newest = max(logs, key=lambda log: log.last_sequence)
        raise CorruptError.at(
            newest.path,
            newest.end,
            f"expected batches up to sequence {floor}, which were acknowledged, found them up to {reached}",
        )


def _next_sequence(meta: np.ndarray, logs: tuple[OpsLog, OpsLog]) -> int:
    """Return the lowest sequence that no batch, committed or given up, has used."""
    used = [int(meta[name][0]) for name in ("sequence", "pending", "floor")]
    return max(*used, int(meta["aborted"][0].max()), *(log.last_sequence for log in logs)) + 1


def list_aborted(record: np.ndarray) -> None:
    count = int(record["aborted_count"][0])
    record["aborted"][0][count] = record["pending"][0]
    record["aborted_count"], record["pending"] = count + 1, 0
