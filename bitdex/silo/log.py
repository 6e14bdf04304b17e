"""One ops log: appending batches of frames, and reading them again (layout: `formats.oplog`)."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from bitdex import filesystem
from bitdex.errors import CorruptError
from bitdex.formats import frame, oplog
from bitdex.kernels import frames as kernels
from bitdex.silo.operations import GrowingOperations, Operations
from bitdex.silo.pending import PendingTable, Waiting
from bitdex.silo.replay import sequences_of, whole_batches
from bitdex.silo.scratch import scratch
from bitdex.silo.threads import each
from bitdex.uninterrupted import uninterrupted

CHUNK = 4 << 20  # bytes encoded and written at a time
MOST_ROOM = 16 << 20  # bytes allocated ahead of what is written
PAGE = 4096


class OpsLog:
    """A log of one store. Appended to by one thread at a time; what is shown is read by any.

    Space is allocated and mapped ahead, so that a batch that is read was mapped before it came.

    Attributes
    ----------
    end : int
        Where the next batch begins.
    appended : int
        Operations that lie in the file.
    shown : int
        Those of them that readers may see: the batches that were acknowledged.
    generation : int
        The sequence at which the log was emptied last.
    synced_sequence : int
        The newest sequence that is known to be on the device.
    cut : bool
        Whether whole batches lie behind the end that were left out, because they are above the sequence to
        open at.
    table : PendingTable
    """

    def __init__(self, path: Path, identity: int):
        self.path = path
        self.seed = np.uint32(frame.seed(identity))
        self.identity = identity
        self.end = self._touched = self._synced = oplog.START
        self.synced_sequence = 0
        self.shown = 0
        self.last_sequence = 0
        self.generation = 0
        self.cut = False
        self.table = PendingTable()
        self._applied = 0
        self._entered = GrowingOperations(Operations.empty(0))
        self._descriptor: int | None = None
        self._mapped = np.empty(0, np.uint8)

    @classmethod
    def create(cls, path: Path, identity: int, generation: int) -> "OpsLog":
        """Put an empty log in the place of whatever is at `path`, and open it for appending."""
        filesystem.write_whole(path, oplog.encode_header(identity, generation))
        log = cls(path, identity)
        log.generation = log.last_sequence = log.synced_sequence = generation
        log._mapped = filesystem.map_read(path)
        log._descriptor = filesystem.open_write(path)
        return log

    @classmethod
    def read(
        cls,
        path: Path,
        identity: int,
        applied: int,
        at: int | None,
        writable: bool,
        before: "OpsLog | None" = None,
    ) -> "OpsLog":
        """Open an existing log: take its committed batches above `applied`, and not above `at`.

        Those that a reader of the same directory has taken `before` are not read again.
        """
        log = cls(path, identity)
        log._replay(applied, at, before)
        if writable:
            log._descriptor = filesystem.open_write(path)
            try:
                log._make_whole()
                if not log.cut:
                    log.blank()
            except BaseException:
                log.close()
                raise
        return log

    def blank(self) -> None:
        """Overwrite what lies behind the end, durably, so that its frames cannot come back.

        Batches that were `cut` tell a writer that frames of theirs may lie in the data file: those go first.
        """
        if self._blank(len(self._mapped)):
            filesystem.sync(self._writable())
        self.cut = False

    @property
    def appended(self) -> int:
        """Number of operations in the file that were not applied when it was opened."""
        return self._entered.count

    def waiting(self, applied: int) -> Waiting | None:
        """Return the operations that are shown, or None if there are none above sequence `applied`."""
        count, columns = self.shown, self._entered.columns
        if not count or int(columns.words[count - 1]) >> 8 <= applied:
            return None
        return Waiting(self, columns, count, self._mapped)

    def append(
        self,
        keys: np.ndarray,
        values: np.ndarray,
        offsets: np.ndarray,
        words: np.ndarray,
        pool: ThreadPoolExecutor,
    ) -> None:
        """Append one batch of frames with the order words `words`, one each or one for all (uint64).

        All have one sequence; the first gets the BEGIN flag and the last the COMMIT flag.
        Nobody sees it before `shown` is raised. What one that failed has left is settled before the next.
        """
        entered = self._entered.room(len(keys))
        end = kernels.enter_operations(
            keys,
            offsets,
            self.end,
            words[0],
            entered.keys,
            entered.places,
            entered.sizes,
            entered.words,
        )
        if len(words) > 1:
            entered.words[:] = words
        self._make_room(end)
        begin = self._begin_flags()

        def write(bounds: tuple[int, int]) -> None:
            lo, hi = bounds
            base = int(entered.places[lo])
            out = scratch.take((end if hi == len(keys) else int(entered.places[hi])) - base)
            kernels.write_frames(keys, values, offsets, words, self.seed, entered.places, lo, hi, base, out)
            if lo == 0:
                kernels.mark_frame(out, 0, np.uint64(begin), self.seed)
            if hi == len(keys):
                kernels.mark_frame(out, entered.places[hi - 1] - base, np.uint64(frame.COMMIT), self.seed)
            filesystem.write_at(self._writable(), out, base)

        entered.words[0] |= np.uint64(begin)
        entered.words[-1] |= np.uint64(frame.COMMIT)
        self._touched = end
        each(pool, write, _chunks(entered.places, end))
        self._entered.count += len(keys)
        self.last_sequence = int(words[0]) >> 8
        self.end = end

    def append_few(self, operations: list[frame.Operation], sequence: int) -> None:
        """Append one batch as `append` does, of operations that are given one by one."""
        frames = np.frombuffer(frame.pack(operations, sequence), np.uint8)
        end = self.end + len(frames)
        self._entered.grow(len(operations))
        columns = self._entered.columns
        kernels.seal_frames(
            frames,
            self.end,
            self._begin_flags(),
            frame.COMMIT,
            self.seed,
            self._entered.count,
            columns.keys,
            columns.places,
            columns.sizes,
            columns.words,
        )
        self._make_room(end)
        self._touched = end
        filesystem.write_at(self._writable(), frames, self.end)
        self._entered.count += len(operations)
        self.last_sequence = sequence
        self.end = end

    def _begin_flags(self) -> int:
        """Return the flags of the first frame of the batch that comes next."""
        return frame.BEGIN | frame.SYNCED if self._synced == self.end else frame.BEGIN

    @property
    def unsettled(self) -> bool:
        """Whether a batch that failed has left something behind the end."""
        return self._touched > self.end

    def settle_failed(self) -> None:
        """Take what a batch that failed has left, if it is whole, else blank it."""
        touched = self._touched
        self._take(self._mapped[:touched])  # a reader in another process may have seen it whole
        self._blank(touched)

    def sync(self) -> None:
        """Force what was appended to the device."""
        end, sequence = self.end, self.last_sequence
        filesystem.sync(self._writable())
        self._synced, self.synced_sequence = end, sequence

    def close(self) -> None:
        """Close the descriptor; maps stay valid while somebody holds them."""
        descriptor, self._descriptor = self._descriptor, None  # closed once, also where that is told to fail
        if descriptor is not None:
            filesystem.close(descriptor)

    def follow(self) -> bool:
        """Take the batches that its writer has appended since; return False if the log was replaced."""
        mapped = filesystem.map_read(self.path)
        if int(oplog.decode_header(mapped, str(self.path))["generation"]) != self.generation:
            return False
        self._mapped = mapped
        self._take(mapped)
        self.shown = self._entered.count
        return True

    def _take(self, data: np.ndarray) -> None:
        """Enter the whole batches that lie behind the end."""
        found = whole_batches(
            data, self.end, max(self.last_sequence, self.generation), self.seed, str(self.path)
        )

        def enter() -> None:
            self._entered.add(found)
            self._pass(found)

        uninterrupted(enter)  # else they would be taken once more

    def _writable(self) -> int:
        assert self._descriptor is not None, "the log was opened for reading"
        return self._descriptor

    def _make_room(self, end: int) -> None:
        """Allocate and map space up to `end` and some more."""
        mapped = len(self._mapped)
        if end > mapped:
            length = -(-(end + min(end, MOST_ROOM)) // PAGE) * PAGE
            filesystem.allocate(self._writable(), mapped, length - mapped)
            self._mapped = filesystem.map_open(self._writable(), length)

    def _make_whole(self) -> None:
        """Allocate what is missing of the last page: a file that was cut may end inside of a frame."""
        length = len(self._mapped)
        rest = -length % PAGE if length > oplog.START else 0
        if rest:
            filesystem.allocate(self._writable(), length, rest)
            self._mapped = filesystem.map_open(self._writable(), length + rest)

    def _replay(self, applied: int, at: int | None, before: "OpsLog | None") -> None:
        name = str(self.path)
        self._applied = applied
        data = filesystem.map_read(self.path)
        head = oplog.decode_header(data, name)
        if int(head["identity"]) != self.identity:
            raise CorruptError.at(
                name,
                16,
                f"expected identity {self.identity}, found {head['identity']} (another store's file)",
            )
        self.generation = int(head["generation"])
        self._mapped = data
        if before is not None and before._goes_on_in(self, at):
            self.end, self.last_sequence = before.end, before.last_sequence
            self.table, self._entered = before.table, before._entered.again()
        found = whole_batches(data, self.end, max(self.last_sequence, self.generation), self.seed, name)
        sequences = sequences_of(found)
        count = len(found) if at is None else int(np.searchsorted(sequences, at, "right"))
        self.cut = count < len(found)
        self._entered.add(found[int(np.searchsorted(sequences, applied, "right")) : count])
        self._pass(found[:count])
        self.shown = self._entered.count

    def _goes_on_in(self, later: "OpsLog", at: int | None) -> bool:
        """Tell whether this log, as it was read later, begins with all that was taken here."""
        same = (self.generation, self._applied) == (later.generation, later._applied)
        return same and self.end <= len(later._mapped) and (at is None or self.last_sequence <= at)

    def _pass(self, found: Operations) -> None:
        """Note that the log ends behind these operations."""
        if len(found):
            self.end = self._touched = int(found.places[-1] + frame.padded(found.sizes[-1]))
            self.last_sequence = int(found.words[-1]) >> 8

    def _blank(self, stop: int) -> bool:
        """Overwrite what an unfinished batch has left behind the end, so that its frames cannot come back."""
        blanked = False
        tail = self._mapped[self.end : stop]
        for start in range(0, len(tail), CHUNK):
            part = tail[start : start + CHUNK]
            if part.any():
                filesystem.write_at(self._writable(), bytes(len(part)), self.end + start)
                blanked = True
        self._touched = self.end
        return blanked


def _chunks(places: np.ndarray, end: int) -> list[tuple[int, int]]:
    """Cut frames that end at `end` into ranges of about CHUNK bytes."""
    if end - places[0] <= CHUNK:
        return [(0, len(places))]
    cuts = np.arange(places[0] + CHUNK, end, CHUNK)
    edges = np.unique(np.concatenate(([0], np.searchsorted(places, cuts), [len(places)])))
    return list(zip(edges[:-1].tolist(), edges[1:].tolist()))
