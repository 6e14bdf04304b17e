"""The merge writer (DumpMergeWriter): merging straight into ``data.bin``, without a log.

The order of steps, and what a crash leaves behind::

    1  meta: pending = S, synced        nothing else happened: S is listed as aborted
    2  frames into headroom and arenas  bytes that no committed length covers
    3  data synced
    4  index.bin.new written, synced    a file that no commit names
    5  meta: sequence = S, synced       committed
    6  index.bin.new renamed            the next opener does it otherwise

Readers keep the old index and see old lengths; committed bytes are not touched. An arena is space behind the
committed end that was allocated before. What goes there is gathered in memory and written when the
arena is full; the headroom is reached through the map.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import astuple
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from bitdex import filesystem
from bitdex.errors import ClosedError, CorruptError, InvalidError, WriteFailedError
from bitdex.formats import data, frame
from bitdex.holding import holding
from bitdex.kernels import apart, merge
from bitdex.kernels import frames as frame_kernels
from bitdex.kernels.jit import THREADS
from bitdex.silo.base import Base
from bitdex.silo.compaction import Geometry, NewData
from bitdex.silo.files import SiloFiles
from bitdex.silo.key_index import NOTHING
from bitdex.silo.operations import Operations
from bitdex.silo.scratch import scratch
from bitdex.silo.threads import begun, each, ended
from bitdex.silo.values import as_keys, as_packed
from bitdex.silo.working_index import WorkingIndex
from bitdex.uninterrupted import uninterrupted

LEAST_ARENAS, FIRST_ARENAS, LAST_ARENA = (
    1 << 12,
    1 << 18,
    4 << 20,
)  # bytes reserved at first for all threads, at last for one
TOO_LONG = f"its region would have more than {data.MAX_ALLOCATED} bytes"
RELEASE_EVERY = 1 << 20  # keys
BLOCK = 1 << 17  # keys encoded at a time
EARLY = 16 << 20  # bytes behind the end that are worth a sync while others are still being made


class Arena:
    """Space at the end of the file that one thread fills: its bytes, and the words that kernels keep.

    What is left of it in the end is dead. So the first is small, and the next twice as large each time.

    Attributes
    ----------
    coming : int
        Bytes of the next one, unless a region needs more.
    """

    def __init__(self, first: int) -> None:
        self.coming = first
        self.buffer = np.empty(0, np.uint8)
        self.state = np.zeros(5, np.int64)

    def begin(self, start: int, end: int) -> None:
        """Hold the bytes ``start..end`` of the file from now on."""
        if not end - start <= len(self.buffer) <= LAST_ARENA:  # a large one is not kept
            self.buffer = apart.zeros(end - start, np.uint8)
        self.state[[merge.ARENA, merge.BASE, merge.ARENA_END]] = start, start, end

    @property
    def at(self) -> int:
        """Where the next region begins."""
        return int(self.state[merge.ARENA])

    @property
    def end(self) -> int:
        """Where the space ends."""
        return int(self.state[merge.ARENA_END])


class MergeWriter:
    """Merges into a silo's data file; made by `Silo.merge_writer`, used by one thread at a time.

    Attributes
    ----------
    counts : dict
        Frames by outcome: in_place, relocated, inserted, deleted, ignored (deletes of absent keys).
    """

    def __init__(
        self,
        files: SiloFiles,
        base: Base,
        pool: ThreadPoolExecutor,
        sequence: int = 0,
        coming: int = 0,
        first: np.ndarray = NOTHING,
    ):
        self.counts = dict.fromkeys(("in_place", "relocated", "inserted", "deleted", "ignored"), 0)
        self.sequence = sequence
        self._failure: BaseException | None = None
        self._base = base
        self._pool = pool
        self._geometry = Geometry.of(base.meta)
        self._index = WorkingIndex(base.index, pool, coming)
        self._dead = int(base.meta["dead_bytes"][0])
        self._end = int(base.meta["data_end"][0])
        self._sizing = np.array([*astuple(self._geometry), self._end], np.int64)
        path = files.of_generation(files.data, data.MAGIC, int(base.meta["data_generation"][0]))
        assert path is not None
        self._syncer = ThreadPoolExecutor(1, "bitdex-sync")
        self._descriptor = filesystem.open_write(path)
        try:
            filesystem.fill_holes(self._descriptor)
            self._data = filesystem.map_write(self._descriptor, max(self._end, filesystem.size(path)))
        except BaseException:
            self.close()
            raise
        self._first, self._ready = len(first), begun(self._syncer, self._index.prepare, first)
        self._syncing: Future[None] | None = None
        self._unsynced = 0
        room = min(max(self._end >> 8, LEAST_ARENAS), FIRST_ARENAS) // THREADS
        self._arenas = [Arena(room) for _ in range(THREADS)]
        self._since_release = 0
        self._lock = threading.Lock()

    def merge_many(self, keys: Any, values: Any, offsets: Any = None) -> None:
        """Merge values (packed uint8 and int64 offsets (n + 1), or a sequence of bytes) into records."""
        self._apply(keys, values, offsets, frame.MERGE)

    def put_many(self, keys: Any, values: Any, offsets: Any = None) -> None:
        """Replace the records of these keys."""
        self._apply(keys, values, offsets, frame.PUT)

    def delete_many(self, keys: Any) -> None:
        """Delete the records of these keys."""
        self._apply(keys, np.empty(0, np.uint8), np.zeros(len(keys) + 1, np.int64), frame.DELETE)

    def apply_frames(self, operations: Operations, frames: np.ndarray, name: str, last: bool = False) -> None:
        """Verify and apply ready frames, in order: their columns, and the bytes of the file that they lie in.

        `name` is that file's, `last` says that no others follow.
        """
        self._prepare(operations.keys)
        while len(operations):
            keys, places, sizes = operations.keys, operations.places, operations.sizes
            outcome = self._run(keys, partial(merge.merge_frames, keys, frames, places, sizes), last)
            _refuse_damaged(operations, outcome, name)
            missing = np.flatnonzero(outcome == merge.MISSING)
            if not len(missing):
                self._remove(keys, outcome)
                return
            operations = self._insert(operations, frames, outcome, missing)

    def finish(self) -> NewData:
        """Return the new index, which the caller commits.

        What was written is being synced meanwhile: `NewData.settle` waits for that.
        """
        self._check_open()
        for arena in sorted(self._arenas, key=lambda arena: arena.end, reverse=True):
            self._write_out(arena)
        filesystem.release(self._data)  # else the sync interrupts both threads for every page it takes
        self._begin_sync()
        ended(self._ready)
        index, changed = self._index.finish()
        return NewData(index, self._end, self._dead, changed, self._settle)

    def _settle(self) -> None:
        if self._syncing is not None:
            self._syncing.result()

    def _prepare(self, keys: np.ndarray, coming: int = 0) -> None:
        """Make sure that the index has the entries of these keys, behind the first ones."""
        ended(self._ready)  # else two threads would change it
        self._index.prepare(keys[self._first :], coming)
        self._first = 0

    def _begin_sync(self) -> None:
        self._unsynced = 0
        self._syncing = begun(self._syncer, self._sync, self._syncing)

    def _sync(self, earlier: "Future[None] | None") -> None:
        if earlier is not None:
            earlier.result()  # nothing is synced behind a sync that has failed
        filesystem.sync(self._descriptor)

    def _sync_early(self) -> None:
        """Let the device begin with what was written, where there is much of it and it is idle."""
        with self._lock:
            if self._unsynced > EARLY and (self._syncing is None or self._syncing.done()):
                self._begin_sync()

    def close(self) -> None:
        """Give up the file; without a commit nothing of the merge is ever visible."""
        uninterrupted(self._close)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1  # closed once, also where that is told to fail
        self._failure = None  # its traceback leads here
        if descriptor >= 0:
            self._syncer.shutdown()
            filesystem.close(descriptor)

    def _check_open(self) -> None:
        if self._descriptor < 0:
            raise ClosedError("the merge writer was closed, or its silo")
        if isinstance(self._failure, WriteFailedError):
            raise self._failure
        if self._failure is not None:
            raise InvalidError(
                f"the merge is not committed: a part of it was refused ({self._failure}); begin it again"
            ) from self._failure

    @holding
    def _whole(self) -> Iterator[None]:
        """Run a block that merges; if it fails nothing more is merged, and nothing committed."""
        try:
            yield
        except BaseException as error:
            self._failure = error
            raise

    def _apply(self, keys: Any, values: Any, offsets: Any, kind: int) -> None:
        self._check_open()
        keys = as_keys(keys)
        values, offsets = as_packed(values, offsets, len(keys))
        with self._whole():
            for lo in range(0, len(keys), BLOCK):
                hi = min(lo + BLOCK, len(keys))
                self._prepare(keys[lo:hi], len(keys) - lo)
                self._apply_block(keys[lo:hi], values, offsets[lo : hi + 1], frame.order(self.sequence, kind))
                self._since_release += hi - lo
                if self._since_release > RELEASE_EVERY:
                    filesystem.release(self._data, 1 << 29)  # merges in random order would miss them
                    self._since_release = 0

    def _apply_block(self, keys: np.ndarray, values: np.ndarray, offsets: np.ndarray, word: int) -> None:
        """Merge values; what belongs to keys that are not there yet goes on as frames."""
        outcome = self._run(keys, partial(merge.merge_values, keys, values, offsets, np.uint64(word)))
        missing = np.flatnonzero(outcome == merge.MISSING)
        if len(missing):
            operations, frames = self._encode(keys, values, offsets, word)
            self.apply_frames(self._insert(operations, frames, outcome, missing), frames, "memory")
        else:
            self._remove(keys, outcome)

    def _encode(
        self, keys: np.ndarray, values: np.ndarray, offsets: np.ndarray, word: int
    ) -> tuple[Operations, np.ndarray]:
        places = np.empty(len(keys) + 1, np.int64)
        frame_kernels.place_frames(offsets, 0, places)
        frames = np.empty(places[-1], np.uint8)
        words = np.array([word], np.uint64)
        edges = [part * len(keys) // THREADS for part in range(THREADS + 1)]

        def encode(rows: tuple[int, int]) -> None:
            frame_kernels.write_frames(
                keys, values, offsets, words, self._base.seed, places, *rows, 0, frames
            )

        each(self._pool, encode, pairwise(edges))
        sizes = offsets[1:] - offsets[:-1]
        return Operations(keys, places[:-1], sizes, np.full(len(keys), word, np.uint64)), frames

    def _run(self, keys: np.ndarray, apply: Callable[..., int], last: bool = False) -> np.ndarray:
        """Apply the frames of `keys`, each thread those of its keys; return what happened to each."""
        outcome = np.zeros(len(keys), np.uint8)

        def work(part: int) -> int:
            rows, ring = scratch.take(8 * len(keys)).view(np.int64), np.empty(merge.AHEAD, np.int64)
            rows = rows[: merge.own_rows(keys, part, THREADS, rows)]
            arena = self._arenas[part]
            arena.state[merge.DEAD] = at = 0
            while True:
                target = (self._sizing, self._base.seed, self._index.table, self._data, arena.buffer)
                at = apply(rows, at, *target, arena.state, ring, outcome)
                if at == len(rows):
                    return int(arena.state[merge.DEAD])
                needed = int(arena.state[merge.NEEDED])
                self._reserve(arena, needed, needed * (len(rows) - at) if last else LAST_ARENA, last)

        dead = sum(each(self._pool, work, range(THREADS)))
        self._dead += dead  # after the work, which counts closed arenas in it as well
        rows = np.flatnonzero(outcome == merge.TOO_LONG)
        if len(rows):
            raise InvalidError(f"merge into key {keys[rows[0]]}: {TOO_LONG}")
        return outcome

    def _reserve(self, arena: Arena, needed: int, most: int = LAST_ARENA, last: bool = False) -> None:
        """Write an arena out and give it new space: for `needed` bytes at least, and not above `most`."""
        self._write_out(arena)
        if last:
            self._sync_early()
        size = -(-max(min(arena.coming, most), needed) // 64) * 64
        arena.coming = min(2 * arena.coming, LAST_ARENA)
        with self._lock:
            start, self._end = self._end, self._end + size
            if self._end > len(self._data):  # a new map begins without pages: make few of them
                self._extend(max(self._end, len(self._data) + len(self._data) // 8))
        arena.begin(start, start + size)

    def _extend(self, end: int) -> None:
        filesystem.allocate(self._descriptor, len(self._data), end - len(self._data))
        self._data = filesystem.map_write(self._descriptor, end)

    def _write_out(self, arena: Arena) -> None:
        """Write what an arena holds; give the rest back if it is the last one, else close the gap."""
        start = int(arena.state[merge.BASE])
        with self._lock:
            if arena.end == self._end:
                self._end = arena.at
            else:
                self._dead += arena.end - arena.at
                merge.fill_arena(self._base.seed, arena.buffer, arena.state)
            self._unsynced += arena.at - start
        if arena.at > start:
            filesystem.write_at(self._descriptor, arena.buffer[: arena.at - start], start)
        arena.begin(0, 0)

    def _insert(
        self, operations: Operations, frames: np.ndarray, outcome: np.ndarray, missing: np.ndarray
    ) -> Operations:
        """Give the first frame of every new key a region; return the frames still to be merged."""
        keys = operations.keys
        deletes = operations.words[missing] & np.uint64(frame.KIND_MASK) == frame.DELETE
        rows = missing[~deletes]
        first = np.sort(rows[np.unique(keys[rows], return_index=True)[1]]) if len(rows) else rows
        parts = np.empty(len(first), np.int64)
        merge.part_of_keys(keys[first], THREADS, parts)
        for part in np.unique(parts):
            self._place(operations, frames, first[parts == part], int(part))
        early = missing[deletes]
        if len(first):  # a delete behind the first frame of its key still has to be applied
            order = np.searchsorted(np.sort(keys[first]), keys[early])
            at_first = first[np.argsort(keys[first], kind="stable")]
            order = np.minimum(order, len(first) - 1)
            behind = (keys[at_first[order]] == keys[early]) & (at_first[order] < early)
            early = early[~behind]
        self.counts["ignored"] += len(early)
        left = np.setdiff1d(missing, np.concatenate((first, early)))
        self._remove(keys, outcome)
        return operations[left]

    def _place(self, operations: Operations, frames: np.ndarray, rows: np.ndarray, part: int) -> None:
        """Give frames of new keys a region each, as many at a time as an arena takes."""
        geometry = self._geometry
        rooms = np.maximum(operations.sizes[rows] + 32, geometry.minimum) * (1000 + geometry.headroom) // 1000
        rooms += frame.SIZE + 2 * geometry.alignment
        np.minimum(rooms, data.MAX_ALLOCATED + data.REGION_SIZE, out=rooms)  # headroom gives way
        ends = np.cumsum(rooms)
        cuts = np.searchsorted(ends, np.arange(LAST_ARENA, ends[-1], LAST_ARENA))
        for lo, hi in pairwise(np.unique([0, *cuts, len(rows)]).tolist()):
            self._place_some(operations, frames, rows[lo:hi], part, int(rooms[lo:hi].sum()))

    def _place_some(
        self, operations: Operations, frames: np.ndarray, rows: np.ndarray, part: int, bound: int
    ) -> None:
        arena = self._arenas[part]
        if arena.end - arena.at < bound:
            self._reserve(arena, bound)
        offsets, extents = np.empty(len(rows), np.uint64), np.empty(len(rows), np.uint64)
        target = (self._sizing, self._base.seed, arena.buffer, arena.state)
        keys, places, sizes = operations.keys, operations.places, operations.sizes
        bad = merge.place_new(frames, places, sizes, rows, *target, offsets, extents)
        if bad >= 0:
            raise InvalidError(f"merge into key {keys[bad]}: {TOO_LONG}")
        self._index.insert(keys[rows], offsets, extents)
        self.counts["inserted"] += len(rows)

    def _remove(self, keys: np.ndarray, outcome: np.ndarray) -> None:
        """Count outcomes, and take keys out of the index whose last frame was a DELETE."""
        for code, name in enumerate(merge.OUTCOMES):
            if name in self.counts:
                self.counts[name] += int(np.count_nonzero(outcome == code))
        if not (outcome == merge.DELETED).any():
            return
        applied = np.flatnonzero(outcome != merge.MISSING)
        last = len(applied) - 1 - np.unique(keys[applied][::-1], return_index=True)[1]
        gone = applied[last][outcome[applied[last]] == merge.DELETED]
        rooms = (self._index.delete(keys[gone]) >> np.uint64(32)) & ~np.uint64(7)
        self._dead += int(rooms.sum()) + data.REGION_SIZE * len(gone)


def _refuse_damaged(operations: Operations, outcome: np.ndarray, name: str) -> None:
    for row in np.flatnonzero(outcome == merge.DAMAGED)[:1]:
        raise CorruptError.at(
            name,
            operations.places[row],
            f"expected a frame of key {operations.keys[row]} with "
            f"{operations.sizes[row]} bytes and a right checksum, found another",
        )
