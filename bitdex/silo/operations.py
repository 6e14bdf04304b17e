"""Operations of a log in columns: what each frame does, to which key, and where it lies."""

from dataclasses import dataclass

import numpy as np

from bitdex.kernels import apart


@dataclass(frozen=True, slots=True)
class Operations:
    """Frames of a log in order: keys and order words uint64, places and payload sizes int64."""

    keys: np.ndarray
    places: np.ndarray
    sizes: np.ndarray
    words: np.ndarray

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, rows: slice | np.ndarray) -> "Operations":
        return Operations(self.keys[rows], self.places[rows], self.sizes[rows], self.words[rows])

    @staticmethod
    def empty(count: int) -> "Operations":
        """Return columns to be filled."""
        dtypes = (np.uint64, np.int64, np.int64, np.uint64)
        return Operations(*(apart.zeros(count, dtype) for dtype in dtypes))

    @staticmethod
    def join(parts: list["Operations"]) -> "Operations":
        """Return the operations of several batches as one."""
        if len(parts) == 1:
            return parts[0]
        columns = (np.concatenate([getattr(p, name) for p in parts]) for name in Operations.__slots__)
        return Operations(*columns)


class GrowingOperations:
    """Operations in columns with room for more; what lies below `count` never changes.

    Columns grow eightfold: pages that nobody has written to cost nothing, copies do.
    """

    def __init__(self, operations: Operations):
        self.columns = operations
        self.count = len(operations)

    def again(self) -> "GrowingOperations":
        """Return the same, to grow by itself: who enters more in both has to enter the same."""
        other = GrowingOperations(self.columns)
        other.count = self.count
        return other

    def room(self, count: int) -> Operations:
        """Return columns for `count` more operations; they are entered by raising `count`."""
        self.grow(count)
        return self.columns[self.count : self.count + count]

    def add(self, operations: Operations) -> None:
        """Enter some, which count when that is done."""
        if not len(self.columns):  # nothing to put them behind: they are taken as they are
            self.columns, self.count = operations, len(operations)
            return
        room = self.room(len(operations))
        for name in Operations.__slots__:
            getattr(room, name)[:] = getattr(operations, name)
        self.count += len(operations)

    def grow(self, count: int) -> None:
        """Let the columns have room for `count` more operations."""
        needed = self.count + count
        if needed > len(self.columns):
            grown = Operations.empty(max(needed, 8 * len(self.columns), 1024))
            for name in Operations.__slots__:
                getattr(grown, name)[: self.count] = getattr(self.columns, name)[: self.count]
            self.columns = grown
