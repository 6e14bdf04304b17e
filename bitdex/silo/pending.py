"""The operations that wait in the ops logs: found by key, and never more of them than a state shows."""

import os
import threading
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bitdex.kernels import apart
from bitdex.kernels import pending as kernels
from bitdex.silo.operations import Operations

if TYPE_CHECKING:
    from bitdex.silo.log import OpsLog


class PendingTable:
    """The newest operation of every key of one log, and the one before each; any thread may ask.

    A read costs the operations of its key. The table grows with the log when somebody reads, and
    is built anew only when it is half full. It may know more than the reader is to see: each
    question says how many operations count.
    """

    def __init__(self) -> None:
        self._empty()
        _tables.add(self)

    def _empty(self) -> None:
        self._lock = threading.Lock()
        self._keys = np.empty(0, np.uint64)
        self._heads = np.zeros(16, np.int64)
        self._previous = np.empty(0, np.int64)
        self._linked = 0

    def find(self, columns: Operations, count: int, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the newest of the first `count` operations on each key (-1: none), and all their links."""
        newest = np.empty(len(wanted), np.int64)
        with self._lock:
            self._link(columns, count)
            kernels.find_newest(wanted, self._keys, self._heads, self._previous, count, newest)
            return newest, self._previous

    def find_one(self, columns: Operations, count: int, key: int) -> int:
        """Return the newest of the first `count` operations on one key, or -1."""
        with self._lock:
            if self._linked < count:
                self._link(columns, count)
            return kernels.find_newest_of_one(np.uint64(key), self._keys, self._heads, self._previous, count)

    def _link(self, columns: Operations, count: int) -> None:
        linked = self._linked
        if linked >= count:
            return
        self._linked = 0  # until it is done: an operation that is linked twice is one that follows itself
        if not linked or len(columns) > len(self._previous) or 2 * count > len(self._heads):
            linked = 0
            self._heads = apart.zeros(1 << max(4, (4 * count).bit_length()), np.int64)
            self._previous = apart.zeros(len(columns), np.int64)
        self._keys = columns.keys
        kernels.link_operations(self._keys, linked, count, self._heads, self._previous)
        self._linked = count


_tables: "weakref.WeakSet[PendingTable]" = weakref.WeakSet()


def _begin_anew() -> None:
    """Let a fork build its tables again: a thread that it lacks may have been in the middle of it."""
    for table in _tables:
        table._empty()


os.register_at_fork(after_in_child=_begin_anew)


@dataclass(frozen=True, slots=True)
class Waiting:
    """The first `count` operations of a log, which ``data.bin`` does not hold, and the bytes they lie in."""

    log: "OpsLog"
    columns: Operations
    count: int
    mapped: np.ndarray

    @property
    def operations(self) -> Operations:
        """The operations, oldest first."""
        return self.columns[: self.count]

    @property
    def last_sequence(self) -> int:
        """The sequence of the newest operation."""
        return int(self.columns.words[self.count - 1]) >> 8

    def find_one(self, key: int) -> int:
        """Return the number of the newest operation on a key, or -1."""
        return self.log.table.find_one(self.columns, self.count, key)

    def find(self, keys: np.ndarray) -> "Chains":
        """Return the operations on a batch of keys."""
        return Chains(self, *self.log.table.find(self.columns, self.count, keys))


@dataclass(frozen=True, slots=True)
class Chains:
    """The operations of one log on a batch of keys: the newest of each (-1: none), and those before it."""

    waiting: Waiting
    newest: np.ndarray
    previous: np.ndarray

    def rows(self, rows: np.ndarray) -> "Chains":
        """Return the same for some of the keys."""
        return Chains(self.waiting, self.newest[rows], self.previous)

    def measure(self) -> tuple[np.ndarray, np.ndarray]:
        """Return how many frames each record has after its last cut, and whether what is older counts."""
        counts, based = np.empty(len(self.newest), np.int64), np.empty(len(self.newest), np.uint64)
        words = self.waiting.columns.words
        kernels.measure_chains(self.newest, self.previous, words, counts, based)
        return counts, based.astype(bool)

    def list(self, counts: np.ndarray, ends: np.ndarray, out: np.ndarray) -> None:
        """Write the newest ``counts[i]`` operations of each key, oldest first, to end before ``ends[i]``."""
        kernels.list_chains(self.newest, self.previous, counts, ends, out)
