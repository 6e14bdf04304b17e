"""The operations that lie in the logs, as one table; built when something is first read."""

import numpy as np

from bitdex.kernels import pending as kernels
from bitdex.silo.log import Operations, OpsLog


class Pending:
    """Operations of up to two logs in sequence order, and the newest one of every key.

    A read costs the operations of its key. The table grows with the logs: `refresh`
    enters what was appended since it was last called.
    """

    def __init__(self) -> None:
        self._counts = (0, 0)
        self.operations = Operations.join([])
        self.sources = np.empty(0, np.uint64)
        self._heads = np.zeros(16, np.int64)
        self._previous = np.empty(8, np.int64)

    def __len__(self) -> int:
        return len(self.operations)

    def refresh(self, logs: tuple[OpsLog, ...]) -> "Pending":
        """Bring the table up to date with the logs."""
        counts = (len(logs[0]), len(logs[1]))
        if counts != self._counts:
            self._rebuild(logs)
            self._counts = counts
        return self

    def newest(self, keys: np.ndarray) -> np.ndarray:
        """Return the newest operation on each key, or -1, shape (n,) int64."""
        out = np.empty(len(keys), np.int64)
        kernels.find_newest(keys, self.operations.keys, self._heads, out)
        return out

    def chains(self, latest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return how many pending frames each record has after its last cut, and whether its base counts."""
        counts, based = np.empty(len(latest), np.int64), np.empty(len(latest), np.uint64)
        kernels.measure_chains(latest, self._previous, self.operations.words, counts, based)
        return counts, based.astype(bool)

    def list(self, latest: np.ndarray, counts: np.ndarray, ends: np.ndarray, out: np.ndarray) -> None:
        """Write each record's pending operations, oldest first, so that they end before ``ends[i]``."""
        kernels.list_chains(latest, self._previous, counts, ends, out)

    def _rebuild(self, logs: tuple[OpsLog, ...]) -> None:
        ordered = sorted(range(2), key=lambda i: logs[i].last_sequence)
        known = len(self)
        self.operations = Operations.join([logs[i].operations for i in ordered])
        self.sources = np.concatenate([np.full(len(logs[i]), i + 1, np.uint64) for i in ordered])
        grown = len(self) >= known and not any(len(logs[i]) for i in ordered[:1])
        if not grown or 2 * len(self) > len(self._heads):
            capacity = 1 << max(4, (4 * len(self)).bit_length())
            self._heads, known = np.zeros(capacity, np.int64), 0
            self._previous = np.empty(capacity // 2, np.int64)
        kernels.link_operations(self.operations.keys, known, len(self), self._heads, self._previous)
