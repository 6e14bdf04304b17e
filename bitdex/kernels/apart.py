"""Large arrays apart from the heap: their memory goes back to the system when they go.

malloc takes memory for what is large from the system and returns it, but what counts as large grows with what
a program frees, up to 32 MiB. Smaller arrays lie between others, in a heap of each thread, whose end is not
given back: a thread that has built a table of 25 MiB once would keep as much for ever. What is asked for
beyond those 32 MiB is always apart, and pages of it that nobody touches cost nothing.
"""

from typing import Any

import numpy as np

LEAST = 1 << 20  # bytes of an array that is worth it
ALWAYS = (32 << 20) + 1  # bytes that malloc keeps apart, whatever was freed before (the GNU C library)


def zeros(count: int, dtype: Any) -> np.ndarray:
    """Return zeros, shape (count,), in memory of their own if they are many."""
    dtype = np.dtype(dtype)
    if not LEAST <= count * dtype.itemsize < ALWAYS:
        return np.zeros(count, dtype)
    return np.zeros(-(-ALWAYS // dtype.itemsize), dtype)[:count]
