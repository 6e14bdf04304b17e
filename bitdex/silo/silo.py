"""Silo: a durable map from u64 keys to byte values, made for millions of keys a call.

::

    put, merge, delete --> ops log --compact--> data.bin + index.bin
    merge_writer ------------------------------^
    get = what data.bin holds, and what the logs add to it, folded by the merge rule

One process writes, and holds the lock of the directory. Any number of threads may use a silo object: they
append side by side and share syncs, they read committed states, and one of them may compact meanwhile.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bitdex import filesystem
from bitdex.errors import InvalidError, NotFoundError, WriteFailedError
from bitdex.formats import frame
from bitdex.progress import counter
from bitdex.silo import inspect, plots
from bitdex.silo.backup import write_backup
from bitdex.silo.check import Finding, check
from bitdex.silo.creation import Settings, create
from bitdex.silo.files import SiloFiles
from bitdex.silo.maintenance import Maintenance
from bitdex.silo.modes import check_sync
from bitdex.silo.panel import silo_panel
from bitdex.silo.state import State
from bitdex.silo.vacant import vacant
from bitdex.silo.values import Values, as_keys, as_packed, as_sequence
from bitdex.staying import Staying

if TYPE_CHECKING:
    import pandas as pd


class Silo(Maintenance, Staying):
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
        headroom: float | None = None,
        minimum: int | None = None,
        alignment: int | None = None,
        sync: str = "batch",
        at: int | None = None,
        reclaim: float = 0.25,
        identity: int | None = None,
        before: "Silo | None" = None,
    ) -> "Silo":
        """Open a silo, or make it with mode ``"w"``.

        Parameters
        ----------
        path : directory
        mode : {"r", "w"}
            Read, or read and write; ``"w"`` makes the silo where there is none.
        rule : {"replace", "concatenate", "documents", "bitmap"}, optional
            How merges fold, "replace" by default. Stored with the silo, as are the next three: later
            openers need not name them, and are refused if they name others.
        headroom : float, optional
            Space a new region gets, as a multiple of its record: 1.0 to 60.0, by default 1.25.
        minimum : int, optional
            Smallest region in bytes, by default 0.
        alignment : {8, 16, 32}, optional
            Of payloads in the data file, by default 8.
        sync : {"always", "batch", "none"}
            When a write is acknowledged: after a sync of its own, after one that it may share with
            other threads' writes, or when the bytes are with the operating system. Compactions and
            merges are always synced.
        at : int, optional
            Open a silo that is there at the newest commit not above this sequence. With mode ``"w"``
            all that was acknowledged after that commit is given up, for good.
        reclaim : float
            Share of the data file that may be dead; `compact` rewrites the file when there is more.
        identity : int, optional
            The number (1 to 2^64-1) in every file of the silo; a new one gets it, another is refused.
        before : Silo, optional
            A reader of this directory. What it has read, and nobody has changed since, is not read again.

        Raises
        ------
        NotFoundError, InvalidError, CorruptError, VersionError
        LockedError
            If somebody else has it open for writing.
        """
        files = SiloFiles(Path(path))
        settings = Settings(rule, headroom, minimum, alignment, identity)
        settings.check()
        if mode not in ("r", "w"):
            raise InvalidError(f'mode: {mode!r} is unknown; use "r" or "w"')
        check_sync(sync)
        if not filesystem.exists(files.meta):
            if mode == "r" or at is not None:
                raise NotFoundError(f"{path}: there is no silo here (no meta.bin)")
            create(files, settings)
        settings.check_same(files)
        return cls(files, mode, sync, at, reclaim, before)

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
        return inspect.stats(self.pin(), self.files)

    def check(self) -> Iterator[Finding]:
        """Read everything; yield what is not as it was written, never raise for damage."""
        return check(self)

    def index_frame(self) -> "pd.DataFrame":
        """Return the entries of the hash index (`silo.inspect.index_frame`)."""
        return inspect.index_frame(self.pin())

    def records_frame(self, keys: Any = None) -> "pd.DataFrame":
        """Return the frames of all or of some records (`silo.inspect.records_frame`)."""
        return inspect.records_frame(self.pin(), keys)

    def ops_frame(self) -> "pd.DataFrame":
        """Return the operations that still lie in the logs (`silo.inspect.ops_frame`)."""
        return inspect.ops_frame(self.pin())

    def plot(self, what: str = "space", ax: Any = None) -> Any:
        """Draw what lies in the silo (`silo.plots`); return the axes of matplotlib.

        Parameters
        ----------
        what : {"space", "probes", "headroom", "log"}
        ax : matplotlib axes, optional
            New ones by default. Without matplotlib: `MissingError`.
        """
        return plots.draw({self.files.directory.name: self.pin()}, what, ax)

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
        kinds, keys = np.asarray(kinds, np.uint64), as_keys(keys)
        known = (kinds >= frame.PUT) & (kinds <= frame.DELETE)
        if kinds.shape != keys.shape or not known.all():
            raise InvalidError(f"kinds: expected 1, 2 or 3 for each of {len(keys)} keys, found {kinds!r}")
        return self._write(keys, values, offsets, kinds, sequence)

    def apply_few(self, operations: list[frame.Operation], sequence: int | None = None) -> int:
        """Write a few operations, each as (kind, key, value), as `apply_many` does; a call costs less."""
        self._guard.check_writable()
        sequence = as_sequence(sequence)
        if not operations:
            return self._logs.next_sequence if sequence is None else sequence
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
        sequence = as_sequence(sequence)
        if not len(keys):
            return self._logs.next_sequence if sequence is None else sequence
        kinds = np.atleast_1d(np.asarray(kinds, np.uint64))
        return self._logs.append(
            lambda log, given: log.append(keys, values, offsets, np.uint64(given << 8) | kinds, self._pool),
            sequence,
        )

    @property
    def failure(self) -> WriteFailedError | None:
        """The write that failed and made this silo read-only, or None."""
        return self._guard.failure

    def _instead(self) -> tuple[str, str]:
        path = str(self.files.directory)
        return f"{self!r}", f"hand on its path and open it there: bitdex.Silo.open({path!r})"

    def __enter__(self) -> "Silo":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
