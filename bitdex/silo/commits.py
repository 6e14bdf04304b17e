"""Commits: how a silo is opened, how a new state becomes the state, and what a crash leaves.

The order of a commit::

    1  data.bin (new, or in place behind committed lengths), synced
    2  index.bin.new, synced
    3  meta.bin: the other record, synced     the state is the new one, or prepared
    4  files renamed, logs emptied            `finish`; the next opener does it otherwise

Between 3 and 4 a state is prepared: a store of several silos makes it count by writing
its own commit record, and opens each silo at the sequence that this record names.
"""

import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from bitdex import filesystem
from bitdex.errors import CorruptError, InvalidError
from bitdex.formats import data, hash_index, header
from bitdex.formats import meta as meta_format
from bitdex.kernels.jit import THREADS
from bitdex.silo.base import Base
from bitdex.silo.compaction import Geometry, NewData, write_cold, write_folded
from bitdex.silo.files import SiloFiles
from bitdex.silo.log import OpsLog
from bitdex.silo.merge_writer import MergeWriter
from bitdex.silo.pending import Pending
from bitdex.silo.rules import rule

ATTEMPTS = 8  # at reading a state while a writer commits


class Commits:
    """The state of a silo: files, base, logs; how it is loaded and replaced."""

    def __init__(self, files: SiloFiles, mode: str, sync: str, at: int | None):
        self.files = files
        self.mode = mode
        self._sync = sync
        self._pool = ThreadPoolExecutor(THREADS, "bitdex")
        self._pending = Pending()
        self._closed = False
        self._load(at)

    def reload(self, at: int | None = None) -> None:
        """Go back to a committed state, forgetting what was appended or prepared after it."""
        for log in self._logs:
            log.close()
        self._load(at)

    def _load(self, at: int | None) -> None:
        for _ in range(ATTEMPTS):
            meta = self.files.read_meta(at)
            self.identity = int(meta["identity"][0])
            self.rule = meta["rule"][0].decode()
            self._fold = rule(self.rule)
            self._pending = Pending()
            self._base = Base.open(self.files, meta)
            applied, writable = int(meta["applied"][0]), self.mode == "w"
            if writable:
                self._finish_renames(meta)
                self._take_over(meta)
            self._logs = tuple(self._open_log(path, applied, at, writable) for path in self.files.logs)
            newer = [log for log in self._logs if log.generation > applied]
            if not newer:
                break  # else a writer emptied a log after the commit record was read: read it again
        else:
            raise CorruptError(
                f"{newer[0].path}: offset 24: expected generation {applied} or below, "
                f"found {newer[0].generation}"
            )
        self._active = max(range(2), key=lambda i: self._logs[i].last_sequence)
        full = int(self._base.meta["aborted_count"][0]) == meta_format.MAX_ABORTED
        if writable and (full or any(log.cut for log in self._logs)) and self._base.count:
            self._rewrite(None)  # no frame that must not count is left in the new file

    def _take_over(self, meta: np.ndarray) -> None:
        """Write a record for what another writer left: a merge it began, or a state it prepared and never
        committed. The sequence of such a merge is listed as aborted, so that its frames never count."""
        newest = self.files.read_meta(None)
        record = meta.copy()
        if int(newest["commit"][0]) != int(meta["commit"][0]):
            record["commit"] = newest["commit"] + 2  # into the place of the newest
        elif int(meta["pending"][0]):
            record["commit"] += 1
        else:
            return
        if int(meta["pending"][0]):
            count = int(record["aborted_count"][0])
            record["aborted"][0][count] = record["pending"][0]
            record["aborted_count"], record["pending"] = count + 1, 0
        self.files.write_meta(record, self._durable)
        self._base = replace(self._base, meta=record)

    def _open_log(self, path: Path, applied: int, at: int | None, writable: bool) -> OpsLog:
        if filesystem.exists(path):
            return OpsLog.read(path, self.identity, applied, at, writable)
        raise CorruptError(f"{path}: expected an ops log, found no file")

    def _finish_renames(self, meta: np.ndarray) -> None:
        for path, magic, name in (
            (self.files.data, data.MAGIC, "data_generation"),
            (self.files.index, hash_index.MAGIC, "index_generation"),
        ):
            self.files.finish(path, magic, int(meta[name][0]), self._durable)

    def finish(self) -> None:
        """Make a prepared compaction or merge final: give the files their names, empty the logs."""
        self._finish_renames(self._base.meta)
        applied = int(self._base.meta["applied"][0])
        for i, log in enumerate(self._logs):
            if log.last_sequence and log.last_sequence <= applied:
                self._replace_log(i)

    @property
    def _durable(self) -> bool:
        return self._sync != "none"

    def _compact_log(self, log: OpsLog, commit: bool) -> int:
        self._active = 1 - self._logs.index(log)
        operations, applied = log.operations, log.last_sequence
        if self._base.count == 0:
            generation = int(self._base.meta["data_generation"][0]) + 1
            new = write_cold(
                self.files, operations, log.map(), self._base.meta, generation, self._pool, self._durable
            )
            fields = {"sequence": applied, "applied": applied, "dead_bytes": 0}
            self._commit(new, "data_generation", fields, commit)
            return len(operations)
        writer = MergeWriter(self.files, self._base, applied, self._pool)
        try:  # begun without a mark: what a crash leaves are frames of the log, above the committed sequence
            writer.apply_frames(operations.keys, log.map(), operations.places)
            new = writer.finish(self._durable)
        except BaseException:
            writer.close()
            self.reload()
            raise
        fields = {"sequence": applied, "applied": applied, "dead_bytes": writer.dead_bytes}
        self._commit(new, None, fields, commit)
        return len(operations)

    def _rewrite(self, headroom: float | None) -> None:
        """Write the data file anew, without what must not count and without waste."""
        generation = int(self._base.meta["data_generation"][0]) + 1
        new = self._write_folded(self._geometry(headroom), generation)
        self._commit(new, "data_generation", {"dead_bytes": 0, "aborted_count": 0, "aborted": 0})

    def _begin(self, sequence: int) -> None:
        record = self._base.meta.copy()
        record["pending"] = sequence
        record["commit"] += 1
        self.files.write_meta(record, self._durable)
        self._base = replace(self._base, meta=record)

    def _write_folded(self, geometry: Geometry, generation: int) -> NewData:
        return write_folded(
            self.files, self._base, self._fold, geometry, generation, self._pool, self._durable
        )

    def _geometry(self, headroom: float | None = None) -> Geometry:
        """Return how regions are sized, with another headroom if one is given."""
        geometry = Geometry.of(self._base.meta)
        return geometry if headroom is None else replace(geometry, headroom=per_mille_of(headroom))

    def _commit(self, new: NewData, generation: str | None, fields: dict, commit: bool = True) -> None:
        """Write the index and the commit record of a new state, and take it over."""
        record = self._base.meta.copy()
        record["commit"] += 1
        record["index_generation"] += 1
        record["data_end"] = new.end
        for name, value in fields.items():
            record[name] = value
        if generation:
            record[generation] += 1
        self._write_index(new, int(record["index_generation"][0]))
        if self._durable:
            filesystem.sync_directory(self.files.directory)
        self.files.write_meta(record, self._durable)
        mapped = self._base.data
        if generation or new.end != len(mapped):  # a new map begins without pages
            mapped = self.files.map_data(int(record["data_generation"][0]), self.identity, new.end)
        self._base = Base(mapped, new.table, record, new.count, str(self.files.data))
        if commit:
            self.finish()

    def _write_index(self, new: NewData, generation: int) -> None:
        path = self.files.unfinished(self.files.index)
        filesystem.remove(path)
        descriptor = filesystem.open_write(path)
        try:
            encoded = self._pool.submit(
                hash_index.encode, new.table, new.count, self.identity, generation
            )  # its checksum, while the table is written
            filesystem.write_at(descriptor, new.table.view(np.uint8), header.SIZE)
            filesystem.write_at(descriptor, encoded.result()[0], 0)
            if self._durable:
                filesystem.sync(descriptor)
        finally:
            filesystem.close(descriptor)

    def _replace_log(self, i: int) -> None:
        log = self._logs[i]
        log.close()
        empty = OpsLog.create(log.path, self.identity, log.last_sequence, self._durable)
        self._logs = tuple(empty if j == i else other for j, other in enumerate(self._logs))

    def _state(self) -> tuple[list[OpsLog], Base]:
        """Return the logs whose operations are not in the base, oldest first, and the base.

        The logs are taken first: should a commit come in between, the base says that it has them.
        """
        logs = self._logs
        base = self._base
        waiting = [log for log in logs if len(log) and log.last_sequence > base.applied]
        if len(waiting) > 1:
            waiting.sort(key=lambda log: log.last_sequence)
        return waiting, base


def per_mille_of(headroom: float) -> int:
    """Return headroom, a multiple of the record, as the thousandths on top of it."""
    if not 1.0 <= headroom <= 60.0:
        raise InvalidError(f"headroom: {headroom} is outside 1.0 to 60.0")
    return round((headroom - 1.0) * 1000)


def create(files: SiloFiles, name: str, headroom: float, minimum: int, alignment: int, durable: bool) -> None:
    """Make the files of an empty silo."""
    rule(name)
    per_mille = per_mille_of(headroom)
    if not 0 <= minimum < 1 << 24:
        raise InvalidError(f"minimum: {minimum} is outside 0 to {(1 << 24) - 1}")
    if alignment not in (8, 16, 32):
        raise InvalidError(f"alignment: {alignment} is none of 8, 16, 32")
    filesystem.make_directory(files.directory)
    identity = secrets.randbits(63) + 1
    record = meta_format.blank(identity, name, per_mille, minimum, alignment)
    for path in files.logs:
        OpsLog.create(path, identity, 0, durable).close()
    filesystem.write_whole(
        files.meta, meta_format.encode(record).ljust(meta_format.FILE_SIZE, b"\0"), durable
    )
