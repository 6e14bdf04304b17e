"""Silo: a durable map from u64 keys to byte values, made for millions of keys a call.

::

    put, merge, delete --> ops log --compact--> data.bin + index.bin
    merge_writer ------------------------------^
    get = what data.bin holds, and what the logs add to it, folded by the merge rule

One process writes. A silo object may be read from any number of threads while one of
them writes; every read sees the state before or after a commit.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bitdex import filesystem
from bitdex.errors import ClosedError, InvalidError, LockedError, NotFoundError
from bitdex.formats import frame
from bitdex.kernels import hash_index as index_kernels
from bitdex.silo import inspect
from bitdex.silo.check import Finding, check
from bitdex.silo.commits import Commits, create
from bitdex.silo.files import SiloFiles
from bitdex.silo.merge_writer import MergeWriter
from bitdex.silo.read import read_values, view_value
from bitdex.silo.values import Values, as_keys, as_packed

if TYPE_CHECKING:
    import pandas as pd

SYNC_MODES = ("always", "batch", "none")


class Silo(Commits):
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
        alignment : {8, 16, 32}
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
            create(files, rule or "replace", headroom, minimum, alignment, sync != "none")
        silo = cls(files, mode, sync, at)
        if rule is not None and rule != silo.rule:
            silo.close()
            raise InvalidError(f"rule: {path} was made with {silo.rule!r}, not {rule!r}")
        return silo

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
        if sequence < self.next_sequence:
            raise InvalidError(f"sequence: {sequence} was used before; the next one is {self.next_sequence}")
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
        if sequence is not None and sequence < self.next_sequence:
            raise InvalidError(f"sequence: {sequence} was used before; the next one is {self.next_sequence}")
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

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError(f"{self.files.directory}: the silo was closed")

    def _check_writable(self) -> None:
        self._check_open()
        if self.mode != "w":
            raise LockedError(f'{self.files.directory}: opened for reading; open it with mode="w"')
