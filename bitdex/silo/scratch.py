"""Buffers that threads keep between calls: fresh pages cost more than what is written into them."""

import threading

import numpy as np

LARGEST = 16 << 20  # bytes kept


class Scratch(threading.local):
    """A buffer of every thread's own."""

    def __init__(self) -> None:
        self._buffer = np.empty(0, np.uint8)

    def take(self, size: int) -> np.ndarray:
        """Return `size` bytes of unknown content; they are the caller's until it takes again."""
        if size > LARGEST:
            return np.empty(size, np.uint8)
        if size > len(self._buffer):
            self._buffer = np.empty(max(size, 2 * len(self._buffer)), np.uint8)
        return self._buffer[:size]


scratch = Scratch()
