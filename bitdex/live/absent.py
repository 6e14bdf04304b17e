"""NoSource: a silo without bitmaps, in the place of one whose bitmaps are not to be looked at."""

import numpy as np

from bitdex.silo.values import Values


class NoSource:
    """What `BitmapSilo` reads from, and finds nothing."""

    sequence = 0
    data = np.empty(0, np.uint8)

    def view(self, key: int) -> None:
        """Return the value of a key: none."""

    def keys(self) -> np.ndarray:
        """Return the keys, uint64: none."""
        return np.empty(0, np.uint64)

    def get_many(self, keys: np.ndarray) -> Values:
        """Return the values of keys: none is found."""
        return Values(self.data, np.zeros(len(keys) + 1, np.int64), np.zeros(len(keys), bool))
