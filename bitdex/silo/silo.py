"""Silo: a durable map from u64 keys to byte values, made for millions of keys a call.

::

    put, merge, delete --> ops log --compact--> data.bin + index.bin
    merge_writer ------------------------------^
    get = what data.bin holds, and what the logs add to it, folded by the merge rule

One process writes. A silo object may be read from any number of threads while one of
them writes; every read sees the state before or after a commit.
"""

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bitdex import filesystem
from bitdex.errors import ClosedError, InvalidError, LockedError, NotFoundError
from bitdex.formats import data, frame, hash_index, header
from bitdex.formats import meta as meta_format
from bitdex.kernels import hash_index as index_kernels
from bitdex.kernels.jit import THREADS
from bitdex.silo import inspect
from bitdex.silo.base import Base
from bitdex.silo.check import Finding, check
from bitdex.silo.compaction import Geometry, NewData, write_cold, write_folded
from bitdex.silo.files import SiloFiles
from bitdex.silo.log import OpsLog
from bitdex.silo.merge_writer import MergeWriter
from bitdex.silo.pending import Pending
from bitdex.silo.read import read_values, view_value
from bitdex.silo.rules import rule
from bitdex.silo.values import Values, as_keys, as_packed

if TYPE_CHECKING:
    import pandas as pd

SYNC_MODES = ("always", "batch", "none")


class Silo:
    """A key-value store in one directory: uint64 keys, byte values, merges by a named rule.

    Use `Silo.open`; close it, or use it as a context manager.

    Examples
    --------
    >>> import tempfile, numpy as np, bitdex
    >>> silo = bitdex.Silo.open(tempfile.mkdtemp(), mode="w", rule="concatenate")
    >>> silo.put_many([7, 8], [b"seven", b"eight"])
    1
    >>> silo.merge(7, b", and more")
    2
    >>> silo.get(7)
    b'seven, and more'
    >>> list(silo.get_many(np.array([8, 9])))
    [b'eight', None]
    >>> silo.close()
    """

    def __init__(self, files: SiloFiles, mode: str, sync: str, at: int | None):
        self.files = files
        self.mode = mode
        self._sync = sync
        self._pool = ThreadPoolExecutor(THREADS, "bitdex")
        self._pending = Pending()
        self._prepared: list[tuple[Path, bytes, int]] = []
        self._closed = False
        self._load(at)

    @classmethod
    def open(
        cls,
        path: str | Path,
        mode: str = "r",
        rule: str | None = None,
        headroom: float = 1.25,
        minimum: int = 0,
        alignment: int = 8,
        sync: str = "batch",
        at: int | None = None,
    ) -> "Silo":
        """Open a silo, or make it with mode ``"w"``.

        Parameters
        ----------
        path : directory
        mode : {"r", "w"}
            Read, or read and write; ``"w"`` makes the silo where there is none.
        rule : {"replace", "concatenate", "documents", "bitmap"}, optional
            How merges fold. Stored with the silo; later openers need not name it.
        headroom : float
            Space a new region gets, as a multiple of its record (1.0 to 60.0).
        minimum : int
            Smallest region in bytes.
        alignment : {8, 16, 32, 64}
            Of payloads in the data file.
        sync : {"always", "batch", "none"}
            When a write returns: after its own fsync, after the fsync of its batch, or
            when the bytes are with the operating system.
        at : int, optional
            Open at the newest commit not above this sequence.

        Raises
        ------
        NotFoundError, InvalidError, CorruptError, VersionError
        """
        files = SiloFiles(Path(path))
        if mode not in ("r", "w"):
            raise InvalidError(f'mode: {mode!r} is unknown; use "r" or "w"')
        if sync not in SYNC_MODES:
            raise InvalidError(f"sync: {sync!r} is unknown; use one of {', '.join(SYNC_MODES)}")
        if not filesystem.exists(files.meta):
            if mode == "r":
                raise NotFoundError(f"{path}: there is no silo here (no meta.bin)")
            _create(files, rule or "replace", headroom, minimum, alignment, sync != "none")
        silo = cls(files, mode, sync, at)
        if rule is not None and rule != silo.rule:
            silo.close()
            raise InvalidError(f"rule: {path} was made with {silo.rule!r}, not {rule!r}")
        return silo

    def reload(self, at: int | None = None) -> None:
        """Go back to a committed state, forgetting what was appended or prepared after it."""
        for log in self._logs:
            log.close()
        self._load(at)

    def _load(self, at: int | None) -> None:
        meta = self.files.read_meta(at)
        self.identity = int(meta["identity"][0])
        self.rule = meta["rule"][0].decode()
        self._fold = rule(self.rule)
        self._pending, self._prepared = Pending(), []
        self._base = Base.open(self.files, meta)
        writable = self.mode == "w"
        if writable:
            self._finish_renames(meta)
            self._take_over(meta)
        applied = int(meta["applied"][0])
        self._logs = tuple(self._open_log(path, applied, at, writable) for path in self.files.logs)
        self._active = max(range(2), key=lambda i: self._logs[i].last_sequence)
        if int(self._base.meta["aborted_count"][0]) == meta_format.MAX_ABORTED:
            self._rewrite(None)

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
        if writable:
            return OpsLog.create(path, self.identity, applied, self._durable)
        return OpsLog(path, self.identity)

    def _finish_renames(self, meta: np.ndarray) -> None:
        for path, magic, name in (
            (self.files.data, data.MAGIC, "data_generation"),
            (self.files.index, hash_index.MAGIC, "index_generation"),
        ):
            self.files.finish(path, magic, int(meta[name][0]), self._durable)

    # -- reading -------------------------------------------------------------------------

    @property
    def sequence(self) -> int:
        """The newest sequence that this silo holds."""
        return max(int(self._base.meta["sequence"][0]), *(log.last_sequence for log in self._logs))

    @property
    def next_sequence(self) -> int:
        """The lowest sequence that no batch, committed or given up, has used."""
        meta = self._base.meta
        return max(self.sequence, int(meta["pending"][0]), int(meta["aborted"][0].max())) + 1

    @property
    def data(self) -> np.ndarray:
        """The bytes of the data file up to its committed end, read-only uint8."""
        return self._base.data

    @property
    def pending(self) -> int:
        """Number of operations in the logs that the data file does not hold."""
        return sum(map(len, self._state()[0]))

    def get_many(self, keys: Any) -> Values:
        """Return the values of `keys` (integers, shape (n,)) in their order, verified."""
        self._check_open()
        keys = as_keys(keys)
        logs, base = self._state()
        touched = self._pending.find(logs, keys) if logs else None
        return read_values(base, touched, self._fold, keys)

    def get(self, key: int) -> bytes | None:
        """Return the value of one key, or None."""
        value = self.view(key)
        return None if value is None else value.tobytes()

    def view(self, key: int) -> np.ndarray | None:
        """Return the value of one key, verified, as read-only uint8; None where there is none.

        Where ``data.bin`` holds the value as it is, nothing is copied: the array lies in the map.
        """
        self._check_open()
        if not 0 <= key < 1 << 64:
            raise InvalidError(f"key: {key} is outside 0 to 2^64-1")
        logs, base = self._state()
        touched = self._pending.find(logs, np.array([key], np.uint64)) if logs else None
        if touched is None:
            settled, value = view_value(base, key)
            if settled:
                return value
        values = read_values(base, touched, self._fold, np.array([key], np.uint64))
        values.data.flags.writeable = False
        return values.data if values.found[0] else None

    def find_many(self, keys: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return where records lie in `data`: offsets and lengths of their frames, int64; -1 if absent.

        Pending operations are not looked at. The payload of a record of one frame
        begins 24 bytes behind its offset.
        """
        return index_kernels.find_records(self._base.table, as_keys(keys))

    def keys(self) -> np.ndarray:
        """Return all keys that have a value, ascending, uint64."""
        self._check_open()
        logs, base = self._state()
        held = np.sort(base.entries()["key"])
        if not logs:
            return held
        touched = self._pending.keys(logs)
        operations = self._pending.find(logs, touched)
        assert operations is not None
        counts, based = operations.chains()
        alive = (counts > 0) | (based & np.isin(touched, held, assume_unique=True))
        kept = held[~np.isin(held, touched, assume_unique=True)]
        return np.sort(np.concatenate((kept, touched[alive])))

    def __len__(self) -> int:
        return len(self.keys()) if self.pending else self._base.count

    # -- looking into it -----------------------------------------------------------------

    def stats(self) -> dict[str, Any]:
        """Return counts, sizes and index figures (`silo.inspect.stats`)."""
        return inspect.stats(self)

    def check(self) -> Iterator[Finding]:
        """Read everything; yield what is not as it was written, never raise for damage."""
        return check(self)

    def index_frame(self) -> "pd.DataFrame":
        """Return the entries of the hash index (`silo.inspect.index_frame`)."""
        return inspect.index_frame(self)

    def records_frame(self, keys: Any = None) -> "pd.DataFrame":
        """Return the frames of all or of some records (`silo.inspect.records_frame`)."""
        return inspect.records_frame(self, keys)

    def ops_frame(self) -> "pd.DataFrame":
        """Return the operations that still lie in the logs (`silo.inspect.ops_frame`)."""
        return inspect.ops_frame(self)

    # -- writing -------------------------------------------------------------------------

    def put_many(self, keys: Any, values: Any, offsets: Any = None, sequence: int | None = None) -> int:
        """Set the values of `keys` in one batch; return its sequence.

        Parameters
        ----------
        keys : integers, shape (n,)
        values : uint8, shape (bytes,), with `offsets` int64 of shape (n + 1,); or n bytes objects
        """
        return self._append(keys, values, offsets, frame.PUT, sequence)

    def merge_many(self, keys: Any, values: Any, offsets: Any = None, sequence: int | None = None) -> int:
        """Merge values into the records of `keys` by the silo's rule; return the batch's sequence."""
        return self._append(keys, values, offsets, frame.MERGE, sequence)

    def delete_many(self, keys: Any, sequence: int | None = None) -> int:
        """Delete `keys`; those that are not there are no error. Returns the batch's sequence."""
        keys = as_keys(keys)
        nothing = np.empty(0, np.uint8), np.zeros(len(keys) + 1, np.int64)
        return self._append(keys, *nothing, frame.DELETE, sequence)

    def put(self, key: int, value: bytes) -> int:
        """Set the value of one key."""
        return self.put_many([key], [value])

    def merge(self, key: int, value: bytes) -> int:
        """Merge into the record of one key."""
        return self.merge_many([key], [value])

    def delete(self, key: int) -> int:
        """Delete one key."""
        return self.delete_many([key])

    def _append(self, keys: Any, values: Any, offsets: Any, kind: int, sequence: int | None) -> int:
        self._check_writable()
        keys = as_keys(keys)
        values, offsets = as_packed(values, offsets, len(keys))
        sequence = self.next_sequence if sequence is None else sequence
        if sequence < self.sequence or sequence <= self._base.applied:
            raise InvalidError(
                f"sequence: {sequence} is below {self.sequence}, which this silo holds already"
            )
        if len(keys):
            log = self._logs[self._active]
            log.append(keys, values, offsets, frame.order(sequence, kind), self._pool)
            if self._durable:
                log.sync()
        return sequence

    @contextmanager
    def merge_writer(self, sequence: int | None = None, commit: bool = True) -> Iterator[MergeWriter]:
        """Merge straight into the data file: visible as a whole when the block ends, or not at all.

        Pending operations are compacted first. With ``commit=False`` the result is only
        prepared: it is durable, and `finish` makes it the silo's state.
        """
        self._check_writable()
        if self.pending:
            self.compact()
        if not int(self._base.meta["data_generation"][0]):
            self._commit(self._write_folded(self._geometry(), 1), "data_generation", {})
        sequence = self.next_sequence if sequence is None else sequence
        self._begin(sequence)
        writer = MergeWriter(self.files, self._base, sequence, self._pool)
        try:
            yield writer
            new = writer.finish(self._durable)
            fields = {"sequence": sequence, "pending": 0, "dead_bytes": writer.dead_bytes}
            self._commit(new, None, fields, commit)
        except BaseException:
            writer.close()
            self.reload()
            raise

    def compact(self, commit: bool = True) -> int:
        """Move the operations of the logs into the data file; return how many there were."""
        self._check_writable()
        return sum(self._compact_log(log, commit) for log in self._state()[0])

    @property
    def waste(self) -> float:
        """Share of the data file that no record uses: dead regions and headroom."""
        entries = self._base.entries()
        return 1 - int(entries["length"].sum()) / max(1, len(self._base.data))

    @property
    def dead_ratio(self) -> float:
        """Share of the data file that lies in regions nothing points at."""
        return int(self._base.meta["dead_bytes"][0]) / max(1, len(self._base.data))

    def rewrite(self, headroom: float | None = None) -> None:
        """Write the data file anew: one frame a record, dead space reclaimed, headroom restored.

        `headroom` gives the new regions another multiple of their record than the silo's own.
        """
        self._check_writable()
        self.compact()
        self._rewrite(headroom)

    def _rewrite(self, headroom: float | None) -> None:
        generation = int(self._base.meta["data_generation"][0]) + 1
        new = self._write_folded(self._geometry(headroom), generation)
        self._commit(new, "data_generation", {"dead_bytes": 0, "aborted_count": 0, "aborted": 0})

    def finish(self) -> None:
        """Make a prepared compaction or merge final: give the files their names, empty the logs."""
        for path, magic, generation in self._prepared:
            self.files.finish(path, magic, generation, self._durable)
        self._prepared = []
        applied = int(self._base.meta["applied"][0])
        for i, log in enumerate(self._logs):
            if log.last_sequence and log.last_sequence <= applied:
                self._replace_log(i)

    def close(self) -> None:
        """Release files and threads. Closing twice is allowed."""
        if not self._closed:
            self._closed = True
            self._pool.shutdown()
            for log in self._logs:
                log.close()

    def __enter__(self) -> "Silo":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # -- committing ----------------------------------------------------------------------

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
        self._begin(applied)
        writer = MergeWriter(self.files, self._base, applied, self._pool)
        try:
            writer.apply_frames(operations.keys, log.map(), operations.places)
            new = writer.finish(self._durable)
        except BaseException:
            writer.close()
            self.reload()
            raise
        fields = {
            "sequence": applied,
            "applied": applied,
            "pending": 0,
            "dead_bytes": writer.dead_bytes,
        }
        self._commit(new, None, fields, commit)
        return len(operations)

    def _begin(self, sequence: int) -> None:
        record = self._base.meta.copy()
        record["pending"] = sequence
        record["commit"] += 1
        self.files.write_meta(record, self._durable)
        self._base = Base(self._base.data, self._base.table, record, self._base.count)

    def _write_folded(self, geometry: Geometry, generation: int) -> NewData:
        return write_folded(
            self.files, self._base, self._fold, geometry, generation, self._pool, self._durable
        )

    def _geometry(self, headroom: float | None = None) -> Geometry:
        """Return how regions are sized, with another headroom if one is given."""
        geometry = Geometry.of(self._base.meta)
        return geometry if headroom is None else replace(geometry, headroom=_per_mille(headroom))

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
            self._prepared.append((self.files.data, data.MAGIC, int(record["data_generation"][0])))
        self._write_index(new, int(record["index_generation"][0]))
        if self._durable:
            filesystem.sync_directory(self.files.directory)
        self.files.write_meta(record, self._durable)
        mapped = self.files.map_data(int(record["data_generation"][0]), self.identity, new.end)
        self._base = Base(mapped, new.table, record, new.count)
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
        self._prepared.append((self.files.index, hash_index.MAGIC, generation))

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

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError(f"{self.files.directory}: the silo was closed")

    def _check_writable(self) -> None:
        self._check_open()
        if self.mode != "w":
            raise LockedError(f'{self.files.directory}: opened for reading; open it with mode="w"')


def _per_mille(headroom: float) -> int:
    """Return headroom, a multiple of the record, as the thousandths on top of it."""
    if not 1.0 <= headroom <= 60.0:
        raise InvalidError(f"headroom: {headroom} is outside 1.0 to 60.0")
    return round((headroom - 1.0) * 1000)


def _create(files: SiloFiles, name: str, headroom: float, minimum: int, alignment: int, durable: bool) -> None:
    rule(name)
    per_mille = _per_mille(headroom)
    if not 0 <= minimum < 1 << 24:
        raise InvalidError(f"minimum: {minimum} is outside 0 to {(1 << 24) - 1}")
    if alignment not in (8, 16, 32, 64):
        raise InvalidError(f"alignment: {alignment} is none of 8, 16, 32, 64")
    filesystem.make_directory(files.directory)
    identity = secrets.randbits(63) + 1
    record = meta_format.blank(identity, name, per_mille, minimum, alignment)
    filesystem.write_whole(
        files.meta, meta_format.encode(record).ljust(meta_format.FILE_SIZE, b"\0"), durable
    )
