"""The operations that lie in the logs and not in ``data.bin``, found by key."""

import threading
from dataclasses import dataclass

import numpy as np

from bitdex.kernels import pending as kernels
from bitdex.silo.log import Operations, OpsLog

_NOTHING = np.empty(0, np.uint8)


@dataclass(frozen=True, slots=True)
class Touched:
    """The pending operations on a batch of keys: the newest of each key (-1: none), and those before it.

    Operations are numbered in sequence order. Those below `boundary` lie in the log mapped as
    ``maps[0]``, the others in ``maps[1]``.
    """

    latest: np.ndarray
    operations: Operations
    boundary: int
    maps: tuple[np.ndarray, np.ndarray]
    _previous: np.ndarray

    def rows(self, rows: np.ndarray) -> "Touched":
        """Return the same for some of the keys."""
        return Touched(self.latest[rows], self.operations, self.boundary, self.maps, self._previous)

    def chains(self) -> tuple[np.ndarray, np.ndarray]:
        """Return how many pending frames each record has after its last cut, and whether its base counts."""
        counts, based = np.empty(len(self.latest), np.int64), np.empty(len(self.latest), np.uint64)
        kernels.measure_chains(self.latest, self._previous, self.operations.words, counts, based)
        return counts, based.astype(bool)

    def list(self, counts: np.ndarray, ends: np.ndarray, out: np.ndarray) -> None:
        """Write each record's pending operations, oldest first, so that they end before ``ends[i]``."""
        kernels.list_chains(self.latest, self._previous, counts, ends, out)


class Pending:
    """A table of the logs' operations, and the newest one of every key; any thread may ask.

    A read costs the operations of its key: the table grows with the logs, and is built anew
    only when it is half full or when a log was replaced.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._logs: list[OpsLog] = []
        self._columns = self._operations = Operations.empty(0)
        self._heads = np.zeros(16, np.int64)
        self._previous = np.empty(0, np.int64)

    def find(self, logs: list[OpsLog], keys: np.ndarray) -> Touched | None:
        """Return the operations of `logs` (oldest first) on these keys, or None where there are none."""
        latest = np.empty(len(keys), np.int64)
        with self._lock:
            self._refresh(logs)
            if not kernels.find_newest(keys, self._operations.keys, self._heads, latest):
                return None
            operations, previous = self._operations, self._previous
        boundary = len(logs[0]) if len(logs) > 1 else len(operations)
        first, second = logs[0].map(), logs[1].map() if len(logs) > 1 else _NOTHING
        return Touched(latest, operations, boundary, (first, second), previous)

    def keys(self, logs: list[OpsLog]) -> np.ndarray:
        """Return the keys of the operations of `logs`, ascending."""
        with self._lock:
            self._refresh(logs)
            return np.unique(self._operations.keys)

    def _refresh(self, logs: list[OpsLog]) -> None:
        known = len(self._operations)
        if len(logs) == 1:
            operations, columns = logs[0].operations, logs[0].columns
        elif sum(map(len, logs)) == known and logs == self._logs:
            return
        else:
            operations = columns = Operations.join([log.operations for log in logs])
        if columns.keys is not self._columns.keys or 2 * len(operations) > len(self._heads):
            known = 0
            self._heads = np.zeros(1 << max(4, (4 * len(operations)).bit_length()), np.int64)
            self._previous = np.empty(len(columns), np.int64)
        self._logs, self._columns, self._operations = logs, columns, operations
        kernels.link_operations(operations.keys, known, len(operations), self._heads, self._previous)
