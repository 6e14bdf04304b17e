"""Silo: a durable map from u64 keys to byte values, made for millions of keys a call.

::

    put, merge, delete --> ops log --compact--> data.bin + index.bin
    merge_writer ------------------------------^
    get = what data.bin holds, and what the logs add to it, folded by the merge rule

One process writes, and holds the lock of the directory. Any number of threads may use a silo object: they
append side by side and share syncs, they read committed states, and one of them may compact meanwhile.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bitdex import filesystem
from bitdex.errors import CorruptError, InvalidError, NotFoundError, WriteFailedError
from bitdex.formats import frame
from bitdex.progress import counter
from bitdex.silo import inspect, plots
from bitdex.silo.backup import write_backup
from bitdex.silo.check import Finding, check
from bitdex.silo.creation import create
from bitdex.silo.files import SiloFiles
from bitdex.silo.maintenance import Holding, Maintenance
from bitdex.silo.merge_writer import MergeWriter
from bitdex.silo.panel import silo_panel
from bitdex.silo.state import State
from bitdex.silo.vacant import vacant
from bitdex.silo.values import Values, as_keys, as_packed

if TYPE_CHECKING:
    import pandas as pd

SYNC_MODES = ("always", "batch", "none")
BEHIND = 0.5  # bytes in the logs that call for compaction, as a share of the data file


class Silo(Maintenance):
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
        reclaim: float = 0.25,
        identity: int | None = None,
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
            When a write is acknowledged: after a sync of its own, after one that it may share with
            other threads' writes, or when the bytes are with the operating system. Compactions and
            merges are always synced.
        at : int, optional
            Open at the newest commit not above this sequence.
        reclaim : float
            Share of the data file that may be dead; `compact` rewrites the file when there is more.
        identity : int, optional
            The number (below 2^64) in every file of the silo; a new one gets it, another is refused.

        Raises
        ------
        NotFoundError, InvalidError, CorruptError, VersionError
        LockedError
            If somebody else has it open for writing.
        """
        files = SiloFiles(Path(path))
        if mode not in ("r", "w"):
            raise InvalidError(f'mode: {mode!r} is unknown; use "r" or "w"')
        if sync not in SYNC_MODES:
            raise InvalidError(f"sync: {sync!r} is unknown; use one of {', '.join(SYNC_MODES)}")
        if not filesystem.exists(files.meta):
            if mode == "r":
                raise NotFoundError(f"{path}: there is no silo here (no meta.bin)")
            create(files, rule or "replace", headroom, minimum, alignment, identity)
        silo = cls(files, mode, sync, at, reclaim)
        if rule is not None and rule != silo.rule:
            silo.close()
            raise InvalidError(f"rule: {path} was made with {silo.rule!r}, not {rule!r}")
        if identity is not None and identity != silo.identity:
            silo.close()
            raise CorruptError.at(
                files.meta, 16, f"expected identity {identity}, found {silo.identity} (another store's file)"
            )
        return silo

    # -- reading -------------------------------------------------------------------------

    @property
    def sequence(self) -> int:
        """The newest sequence that this silo holds."""
        return self._state.sequence

    @property
    def next_sequence(self) -> int:
        """The lowest sequence that no batch, committed or given up, has used."""
        return self._logs.next_sequence

    @property
    def data(self) -> np.ndarray:
        """The bytes of the data file up to its committed end, read-only uint8."""
        return self._state.data

    @property
    def pending(self) -> int:
        """Number of operations in the logs that the data file does not hold."""
        return self._state.pending

    def pin(self) -> State:
        """Return what is committed now, to be read like the silo; it stays as it is, also behind `close`."""
        self._guard.check_open()
        return self._state

    def refresh(self) -> bool:
        """Move a reader on to the newest committed state; return whether there is another than before.

        A silo that is open for writing always shows its newest state.
        """
        self._guard.check_open()
        with self._turn.taken():  # of threads that share a reader, one moves it on
            return self.mode == "r" and self._follow()

    def get_many(self, keys: Any) -> Values:
        """Return the values of `keys` (integers, shape (n,)) in their order, verified."""
        self._guard.check_open()
        return self._state.get_many(keys)

    def get(self, key: int) -> bytes | None:
        """Return the value of one key, or None."""
        self._guard.check_open()
        return self._state.get(key)

    def view(self, key: int) -> np.ndarray | None:
        """Return the value of one key, verified, as read-only uint8; None where there is none.

        A value that lies in its file as it is is not copied: the array lies in the map.
        """
        self._guard.check_open()
        return self._state.view(key)

    def find_many(self, keys: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return where records lie in `data`: offsets and lengths of their frames, int64; -1 if absent.

        Pending operations are not looked at. The payload of a record of one frame
        begins 24 bytes behind its offset.
        """
        return self._state.find_many(keys)

    def keys(self) -> np.ndarray:
        """Return all keys that have a value, ascending, uint64."""
        self._guard.check_open()
        return self._state.keys()

    def __len__(self) -> int:
        return len(self._state)

    def sync(self) -> None:
        """Force what was written to the device, whatever the mode."""
        self._logs.sync()

    def backup(self, path: str | Path, progress: bool = False) -> None:
        """Write what is committed now into a new or empty directory, as a silo of its own (`silo.backup`).

        Writes, compactions and merges go on meanwhile. `bitdex.restore` checks a backup and copies it back.

        Raises
        ------
        InvalidError
            If the directory is not empty, or lies inside a store.
        CorruptError
            If a record does not hold, with its file and key; no backup is left.
        WriteFailedError
            If the directory cannot be written to, as on a full disk; the silo itself goes on.
        """
        state = self.pin()
        total = len(state) if progress else 0
        with vacant(path) as directory, counter(progress, directory.name, total, "records") as report:
            write_backup(state, directory, report)

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

    def plot(self, what: str = "space", ax: Any = None) -> Any:
        """Draw what lies in the silo (`silo.plots`); return the axes of matplotlib.

        Parameters
        ----------
        what : {"space", "probes", "headroom", "log"}
        ax : matplotlib axes, optional
            New ones by default. Without matplotlib: `MissingError`.
        """
        self._guard.check_open()
        return plots.plot(self, what, ax)

    def _repr_html_(self) -> str:
        return silo_panel(self)

    # -- writing -------------------------------------------------------------------------

    def put_many(self, keys: Any, values: Any, offsets: Any = None, sequence: int | None = None) -> int:
        """Set the values of `keys` in one batch; return its sequence.

        Parameters
        ----------
        keys : integers, shape (n,)
        values : uint8, shape (bytes,), with `offsets` int64 of shape (n + 1,); or n bytes objects
        """
        return self._write(keys, values, offsets, frame.PUT, sequence)

    def merge_many(self, keys: Any, values: Any, offsets: Any = None, sequence: int | None = None) -> int:
        """Merge values into the records of `keys` by the silo's rule; return the batch's sequence."""
        return self._write(keys, values, offsets, frame.MERGE, sequence)

    def delete_many(self, keys: Any, sequence: int | None = None) -> int:
        """Delete `keys`; those that are not there are no error. Returns the batch's sequence."""
        keys = as_keys(keys)
        offsets = np.zeros(len(keys) + 1, np.int64)
        return self._write(keys, np.empty(0, np.uint8), offsets, frame.DELETE, sequence)

    def apply_many(
        self, kinds: Any, keys: Any, values: Any, offsets: Any = None, sequence: int | None = None
    ) -> int:
        """Write operations of any kinds (PUT, MERGE, DELETE of `formats.frame`), in order, as one batch.

        Returns the batch's sequence.
        """
        kinds = np.asarray(kinds, np.uint64)
        known = (kinds >= frame.PUT) & (kinds <= frame.DELETE)
        if kinds.shape != np.shape(keys) or not known.all():
            raise InvalidError(f"kinds: expected 1, 2 or 3 for each of {len(keys)} keys, found {kinds!r}")
        return self._write(keys, values, offsets, kinds, sequence)

    def apply_few(self, operations: list[frame.Operation], sequence: int | None = None) -> int:
        """Write a few operations, each as (kind, key, value), as `apply_many` does; a call costs less."""
        self._guard.check_writable()
        return self._logs.append(lambda log, given: log.append_few(operations, given), sequence)

    def put(self, key: int, value: bytes) -> int:
        """Set the value of one key."""
        return self.put_many([key], [value])

    def merge(self, key: int, value: bytes) -> int:
        """Merge into the record of one key."""
        return self.merge_many([key], [value])

    def delete(self, key: int) -> int:
        """Delete one key."""
        return self.delete_many([key])

    def _write(self, keys: Any, values: Any, offsets: Any, kinds: Any, sequence: int | None) -> int:
        """Write operations of a kind each, or of one for all."""
        self._guard.check_writable()
        keys = as_keys(keys)
        values, offsets = as_packed(values, offsets, len(keys))
        if not len(keys):
            return self._logs.next_sequence if sequence is None else sequence
        kinds = np.atleast_1d(np.asarray(kinds, np.uint64))
        return self._logs.append(
            lambda log, given: log.append(keys, values, offsets, np.uint64(given << 8) | kinds, self._pool),
            sequence,
        )

    @contextmanager
    def merge_writer(self, sequence: int | None = None, commit: bool = True) -> Iterator[MergeWriter]:
        """Merge straight into the data file: visible as a whole when the block ends, or not at all.

        Pending operations are compacted first. With ``commit=False`` the result is only
        prepared: it is durable, and `finish` makes it the silo's state.
        """
        with self._maintaining():
            sequence = self._begin(sequence)
            try:
                self._merging = MergeWriter(self.files, self._base, self._pool, sequence)
                yield self._merging
                self._commit(self._merging.finish(), {"sequence": sequence, "pending": 0}, commit)
            except WriteFailedError:  # nothing is written after that; the next opener gives the merge up
                raise
            except BaseException:
                self._give_up(sequence)
                raise
            finally:
                if self._merging is not None:
                    self._merging.close()
                    self._merging = None

    def compact(self, commit: bool = True, progress: bool = False, holding: Holding = nullcontext) -> int:
        """Move the operations that wait into the data file; return how many there were.

        If more of the file is dead by then than `reclaim` allows, it is rewritten. Readers and writers go on
        meanwhile. With ``commit=False`` the result is only prepared, as by `merge_writer`. ``holding()`` is
        entered while it is decided which operations take part.
        """
        name = self.files.directory.name
        with self._maintaining():
            with counter(progress, f"compact {name}", self.pending, "operations") as report:
                moved = self._compact_logs(commit, report, holding)
            if commit and self.dead_ratio > self._reclaim:
                with counter(progress, f"rewrite {name}", self._base.count, "records") as report:
                    self._rewrite(None, report)
            return moved

    @property
    def needs_compaction(self) -> bool:
        """Whether more of the data file is dead than `reclaim` allows, or the logs are half as long as it."""
        behind = sum(int(log.operations.sizes.sum()) + frame.SIZE * log.count for log in self._state.waiting)
        return self.dead_ratio > self._reclaim or behind > BEHIND * max(len(self.data), 1 << 20)

    @property
    def waste(self) -> float:
        """Share of the data file that no record uses: dead regions and headroom."""
        base = self._state.base
        return 1 - int(base.index.entries()["length"].sum()) / max(1, len(base.data))

    @property
    def dead_ratio(self) -> float:
        """Share of the data file that lies in regions nothing points at."""
        base = self._state.base
        return int(base.meta["dead_bytes"][0]) / max(1, len(base.data))

    def rewrite(self, headroom: float | None = None) -> None:
        """Write the data file anew: one frame a record, dead space reclaimed, headroom restored.

        `headroom` gives the new regions another multiple of their record than the silo's own.
        """
        with self._maintaining():
            self._compact_logs()
            self._rewrite(headroom)

    @property
    def failure(self) -> WriteFailedError | None:
        """The write that failed and made this silo read-only, or None."""
        return self._guard.failure

    def __enter__(self) -> "Silo":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
