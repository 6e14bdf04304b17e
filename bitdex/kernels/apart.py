"""Large arrays apart from the heap: their memory goes back to the system when they go.

malloc takes memory for what is large from the system and returns it, but what counts as large grows with what
a program frees, up to 32 MiB. Smaller arrays lie between others, in a heap of each thread, whose end is not
given back: a thread that has built a table of 25 MiB once would keep as much for ever. And what fits a
gap of a heap is put there, however large it is, and cleared: pages that nobody needs are taken for it.
"""

from typing import Any

import numpy as np

from bitdex import filesystem

LEAST = 1 << 20  # bytes of an array that is worth it


def zeros(count: int, dtype: Any) -> np.ndarray:
    """Return zeros, shape (count,), in memory of their own if they are many; untouched pages cost nothing."""
    size = count * np.dtype(dtype).itemsize
    return filesystem.memory(size).view(dtype) if size >= LEAST else np.zeros(count, dtype)
