"""State: one committed state of a silo, which never changes while somebody holds it.

::

    base      data.bin up to its committed end, and the index of it
    waiting   the operations of the logs that the base does not hold, the older log first

A silo publishes a new state by one assignment: after every batch, every compaction and every
merge. Who reads takes the state once and keeps it, so no read sees half of a commit, and a state that is
pinned answers the same for ever: files are replaced and grow behind the committed end, but what a state
shows is never overwritten.
"""

from dataclasses import dataclass

import numpy as np

from bitdex.formats import frame
from bitdex.kernels import gather
from bitdex.silo.base import Base
from bitdex.silo.operations import Operations
from bitdex.silo.pending import Waiting
from bitdex.silo.read import damaged, read_values, view_value
from bitdex.silo.replay import sequences_of
from bitdex.silo.rules import Fold
from bitdex.silo.values import Values, as_key, as_keys
from bitdex.staying import Staying


@dataclass(frozen=True, slots=True)
class State(Staying):
    """What a silo holds at one sequence; any number of threads may read it.

    Attributes
    ----------
    base : Base
    waiting : tuple of Waiting
        At most one for each log.
    fold : callable
        The silo's merge rule.
    """

    base: Base
    waiting: tuple[Waiting, ...]
    fold: Fold

    @property
    def sequence(self) -> int:
        """The newest sequence that this state holds."""
        return max(int(self.base.meta["sequence"][0]), *(log.last_sequence for log in self.waiting), 0)

    @property
    def data(self) -> np.ndarray:
        """The bytes of the data file up to its committed end, read-only uint8."""
        return self.base.data

    @property
    def pending(self) -> int:
        """Number of operations in the logs that the data file does not hold."""
        return sum(log.count for log in self.waiting)

    def get_many(self, keys: np.ndarray) -> Values:
        """Return the values of `keys` (integers, shape (n,)) in their order, verified."""
        keys = as_keys(keys)
        return read_values(self.base, [log.find(keys) for log in self.waiting], self.fold, keys)

    def get(self, key: int) -> bytes | None:
        """Return the value of one key, or None."""
        value = self.view(key)
        return None if value is None else value.tobytes()

    def view(self, key: int) -> np.ndarray | None:
        """Return the value of one key, verified, as read-only uint8; None where there is none.

        A value that is one frame is not copied: the array lies in the map of its file.
        """
        key = as_key(key)
        for log in reversed(self.waiting):
            operation = log.find_one(key)
            if operation >= 0:
                return self._view_pending(log, operation, key)
        settled, value = view_value(self.base, key)
        return value if settled else self._folded(key)

    def _view_pending(self, log: Waiting, operation: int, key: int) -> np.ndarray | None:
        """Return the value of a key whose newest operation lies in a log."""
        kind = int(log.columns.words[operation]) & frame.KIND_MASK
        if kind == frame.DELETE:
            return None
        if kind != frame.PUT:
            return self._folded(key)
        place, size = int(log.columns.places[operation]), int(log.columns.sizes[operation])
        if not gather.holds_frame(np.uint64(key), size, log.mapped, place, self.base.seed):
            raise damaged(str(log.log.path), key, place)
        return log.mapped[place + frame.SIZE : place + frame.SIZE + size]

    def _folded(self, key: int) -> np.ndarray | None:
        values = self.get_many(np.array([key], np.uint64))
        values.data.flags.writeable = False
        return values.data if values.found[0] else None

    def find_many(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where records lie in `data`: offsets and lengths of their frames, int64; -1 if absent.

        Pending operations are not looked at. The payload of a record of one frame
        begins 24 bytes behind its offset.
        """
        return self.base.index.find(as_keys(keys))

    def keys(self) -> np.ndarray:
        """Return all keys that have a value, ascending, uint64."""
        held = self.base.index.keys()
        held.sort()
        if not self.waiting:
            return held
        touched = np.unique(self.operations.keys)
        alive, based = np.zeros(len(touched), bool), np.ones(len(touched), bool)
        for log in reversed(self.waiting):
            counts, uncut = log.find(touched).measure()
            alive |= based & (counts > 0)
            based &= uncut
        alive |= based & np.isin(touched, held, assume_unique=True)
        kept = held[~np.isin(held, touched, assume_unique=True)]
        return np.sort(np.concatenate((kept, touched[alive])))

    def __len__(self) -> int:
        return len(self.keys()) if self.waiting else self.base.count

    def since(self, sequence: int, most: int) -> list[tuple[Waiting, Operations]] | None:
        """Return the operations behind a sequence, oldest first, each with the log that it lies in.

        None if there are more than `most`, or if the data file holds some of them.
        """
        if max(self.base.applied, int(self.base.meta["sequence"][0])) > sequence:
            return None
        found = []
        for log in self.waiting:
            every = log.operations
            found.append((log, every[int(np.searchsorted(sequences_of(every), sequence, "right")) :]))
        return found if sum(len(operations) for _, operations in found) <= most else None

    @property
    def operations(self) -> Operations:
        """The pending operations, oldest first; places are those in their log."""
        return Operations.join([log.operations for log in self.waiting] or [Operations.empty(0)])
