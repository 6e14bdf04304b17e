"""One ops log: appending batches of frames, and finding them again (layout: `formats.oplog`)."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bitdex import filesystem
from bitdex.errors import CorruptError
from bitdex.formats import frame, oplog
from bitdex.kernels import frames as kernels
from bitdex.silo.scratch import scratch
from bitdex.silo.threads import each

CHUNK = 4 << 20  # bytes encoded and written at a time
SCAN = 1 << 20  # frames scanned at a time


@dataclass(frozen=True, slots=True)
class Operations:
    """Frames of a log in order: keys and order words uint64, places and payload sizes int64."""

    keys: np.ndarray
    places: np.ndarray
    sizes: np.ndarray
    words: np.ndarray

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, rows: slice) -> "Operations":
        return Operations(self.keys[rows], self.places[rows], self.sizes[rows], self.words[rows])

    @staticmethod
    def empty(count: int) -> "Operations":
        """Return columns to be filled."""
        dtypes = (np.uint64, np.int64, np.int64, np.uint64)
        return Operations(*(np.empty(count, dtype) for dtype in dtypes))

    @staticmethod
    def join(parts: list["Operations"]) -> "Operations":
        """Return the operations of several batches as one."""
        if len(parts) == 1:
            return parts[0]
        columns = (np.concatenate([getattr(p, name) for p in parts]) for name in Operations.__slots__)
        return Operations(*columns)


class GrowingOperations:
    """Operations in columns with room for more; what `operations` has returned never changes.

    Columns grow eightfold: pages that nobody has written to cost nothing, copies do.
    """

    def __init__(self, operations: Operations):
        self.columns = operations
        self.count = len(operations)

    @property
    def operations(self) -> Operations:
        """The operations entered so far."""
        return self.columns[: self.count]

    def room(self, count: int) -> Operations:
        """Return columns for `count` more operations; raising `count` afterwards makes them visible."""
        needed = self.count + count
        if needed > len(self.columns):
            grown = Operations.empty(max(needed, 8 * len(self.columns), 1024))
            for name in Operations.__slots__:
                getattr(grown, name)[: self.count] = getattr(self.columns, name)[: self.count]
            self.columns = grown
        return self.columns[self.count : needed]


class OpsLog:
    """A log of one store. Appended to by one thread at a time; read by any through `map`.

    Attributes
    ----------
    generation : int
        The sequence at which the log was emptied last.
    cut : bool
        Whether whole batches were left out, because they lie above the sequence to open at.
    """

    def __init__(self, path: Path, identity: int):
        self.path = path
        self.seed = np.uint32(frame.seed(identity))
        self.identity = identity
        self.end = oplog.START
        self.last_sequence = 0
        self.generation = 0
        self.cut = False
        self._entered = GrowingOperations(Operations.empty(0))
        self._descriptor: int | None = None
        self._lock = threading.Lock()
        self._mapped = np.empty(0, np.uint8)

    @classmethod
    def create(cls, path: Path, identity: int, generation: int, durable: bool) -> "OpsLog":
        """Put an empty log in the place of whatever is at `path`, and open it for appending."""
        filesystem.write_whole(path, oplog.encode_header(identity, generation), durable)
        log = cls(path, identity)
        log._descriptor = filesystem.open_write(path)
        return log

    @classmethod
    def read(cls, path: Path, identity: int, applied: int, at: int | None, writable: bool) -> "OpsLog":
        """Open an existing log: take its committed batches above `applied`, and not above `at`."""
        log = cls(path, identity)
        log._scan(applied, at)
        if writable:
            log._descriptor = filesystem.open_write(path)
            log._blank_tail()
        return log

    @property
    def operations(self) -> Operations:
        """The frames that are in this log and not in ``data.bin``."""
        return self._entered.operations

    @property
    def columns(self) -> Operations:
        """The columns of `operations` with the room behind them."""
        return self._entered.columns

    def __len__(self) -> int:
        return self._entered.count

    def map(self) -> np.ndarray:
        """Return the log's bytes up to its end, read-only."""
        with self._lock:  # of two threads, the one with the shorter map must not come last
            if len(self._mapped) < self.end:
                self._mapped = filesystem.map_read(self.path)
            return self._mapped[: self.end]

    def append(
        self, keys: np.ndarray, values: np.ndarray, offsets: np.ndarray, word: int, pool: ThreadPoolExecutor
    ) -> None:
        """Append one batch of frames, all with the order word `word`; the last gets the COMMIT flag."""
        entered = self._entered.room(len(keys))
        end = kernels.enter_operations(
            keys,
            offsets,
            self.end,
            np.uint64(word),
            entered.keys,
            entered.places,
            entered.sizes,
            entered.words,
        )
        words = np.array([word], np.uint64)

        def write(bounds: tuple[int, int]) -> None:
            lo, hi = bounds
            base = int(entered.places[lo])
            out = scratch.take((end if hi == len(keys) else int(entered.places[hi])) - base)
            kernels.write_frames(keys, values, offsets, words, self.seed, entered.places, lo, hi, base, out)
            if lo == 0:
                kernels.mark_frame(out, 0, np.uint64(frame.BEGIN), self.seed)
            if hi == len(keys):
                kernels.mark_frame(out, entered.places[hi - 1] - base, np.uint64(frame.COMMIT), self.seed)
            filesystem.write_at(self._writable(), out, base)

        each(pool, write, _chunks(entered.places, end))
        self.end = end  # before the count, which is what makes a reader look at the bytes
        self.last_sequence = word >> 8
        self._entered.count += len(keys)

    def sync(self) -> None:
        """Force what was appended to the device."""
        filesystem.sync(self._writable())

    def close(self) -> None:
        """Close the descriptor; maps stay valid while somebody holds them."""
        if self._descriptor is not None:
            filesystem.close(self._descriptor)
            self._descriptor = None

    def _writable(self) -> int:
        assert self._descriptor is not None, "the log was opened for reading"
        return self._descriptor

    def _scan(self, applied: int, at: int | None) -> None:
        data = filesystem.map_read(self.path)
        head = oplog.decode_header(data, str(self.path))
        if int(head["identity"]) != self.identity:
            raise CorruptError(
                f"{self.path}: offset 16: expected identity {self.identity}, found {head['identity']} "
                "(another store's file)"
            )
        self.generation = int(head["generation"])
        found = _scan_frames(data, self.seed)
        stops = np.flatnonzero(found.words & np.uint64(frame.COMMIT)) + 1
        sequences = found.words >> np.uint64(8)
        self._refuse_disorder(found, sequences)
        complete = len(stops)
        if at is not None:
            stops = stops[sequences[stops - 1] <= at]
        self.cut = len(stops) < complete
        count = int(stops[-1]) if len(stops) else 0
        if count:
            self.end = int(found.places[count - 1] + frame.padded(found.sizes[count - 1]))
            self.last_sequence = int(sequences[count - 1])
        after = int(found.places[-1] + frame.padded(found.sizes[-1])) if len(found) else oplog.START
        self._refuse_damage(data, after, sequences, at)
        keep = slice(int(np.searchsorted(sequences[:count], applied, "right")), count)
        self._entered = GrowingOperations(found[keep])

    def _refuse_disorder(self, found: Operations, sequences: np.ndarray) -> None:
        """Refuse a log in which batches do not come in the order of their sequences."""
        begins = found.words & np.uint64(frame.BEGIN) != 0
        wrong = np.flatnonzero(
            np.where(begins[1:], sequences[1:] <= sequences[:-1], sequences[1:] != sequences[:-1])
        )
        if len(wrong):
            row = int(wrong[0]) + 1
            raise CorruptError(
                f"{self.path}: offset {found.places[row]}: expected a batch above sequence "
                f"{sequences[row - 1]}, found {sequences[row]}"
            )

    def _refuse_damage(self, data: np.ndarray, after: int, sequences: np.ndarray, at: int | None) -> None:
        """Refuse a log in which a frame that holds, of a later batch, follows one that does not."""
        last = int(sequences[-1]) if len(sequences) else 0
        place = kernels.find_later_frame(data, after, len(data), np.uint64(last), self.seed)
        if place >= 0 and at is None:
            raise CorruptError(
                f"{self.path}: offset {after}: expected a frame with a right checksum, found damaged bytes; "
                f"a later batch follows at offset {place}"
            )

    def _blank_tail(self) -> None:
        """Overwrite the torn tail of a writer that died, so that its frames cannot come back."""
        tail = filesystem.size(self.path) - self.end
        for start in range(0, tail, CHUNK):
            filesystem.write_at(self._writable(), bytes(min(CHUNK, tail - start)), self.end + start)


def _chunks(places: np.ndarray, end: int) -> list[tuple[int, int]]:
    """Cut frames that end at `end` into ranges of about CHUNK bytes."""
    cuts = np.arange(places[0] + CHUNK, end, CHUNK)
    edges = np.unique(np.concatenate(([0], np.searchsorted(places, cuts), [len(places)])))
    return list(zip(edges[:-1].tolist(), edges[1:].tolist()))


def _scan_frames(data: np.ndarray, seed: np.uint32) -> Operations:
    parts = []
    at = oplog.START
    room = min(SCAN, len(data) // frame.SIZE + 1)
    while True:
        keys, words = np.empty(room, np.uint64), np.empty(room, np.uint64)
        places, sizes = np.empty(room, np.int64), np.empty(room, np.int64)
        count = kernels.scan_frames(data, at, len(data), seed, keys, places, sizes, words)
        parts.append(Operations(keys[:count], places[:count], sizes[:count], words[:count]))
        if count < room:
            return Operations.join(parts)
        at = int(places[-1] + frame.padded(sizes[-1]))
