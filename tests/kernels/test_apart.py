"""Arrays apart from the heap: they are zeros, and their memory goes back when they go."""

import ctypes
import threading
from pathlib import Path

import numpy as np
import pytest

from bitdex.kernels import apart
from bitdex.live.upkeep import give_back

MIB = 1 << 20
GNU = hasattr(ctypes.CDLL(None), "malloc_trim")


def resident() -> int:
    """Return the bytes of this process that are no file's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon"))


def in_a_thread(function):
    """Return what a function returns in a thread of its own, which has ended."""
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.uint64])
@pytest.mark.parametrize("size", [0, 8, apart.LEAST - 8, apart.LEAST, 5 * MIB, 40 * MIB])
def test_they_are_zeros_of_the_shape_that_was_asked_for(size, dtype):
    count = size // np.dtype(dtype).itemsize
    for _ in range(2):  # the second time on memory that was written to
        found = apart.zeros(count, dtype)
        assert found.shape == (count,) and found.dtype == dtype
        assert found.flags.c_contiguous and found.flags.writeable and not found.any()
        found[:] = 1


@pytest.mark.skipif(not GNU, reason="not the GNU C library")
def test_their_memory_is_the_systems_again_when_they_go():
    """A heap of a thread keeps its end: 24 MiB of arrays that are gone stayed with the process."""
    np.ones(30 * MIB, np.uint8)  # freed: from now on malloc keeps what is as large in its heaps

    def build() -> int:
        before = resident()
        arrays = [apart.zeros(3 * MIB, np.uint8) for _ in range(8)]
        for one in arrays:
            one[:] = 1
        assert resident() > before + 23 * MIB
        del arrays, one
        return resident() - before

    assert in_a_thread(build) < 2 * MIB


@pytest.mark.skipif(not GNU, reason="not the GNU C library")
def test_they_do_not_lie_in_gaps_of_the_heap():
    """An array that fitted a gap was put there and cleared: all of it was resident."""
    blocks = [np.ones(64 << 10, np.uint8) for _ in range(800)]
    kept = blocks[::799]
    del blocks
    give_back()  # a gap of 50 MiB, of which nothing is resident
    before = resident()
    found = apart.zeros(40 * MIB, np.uint8)
    assert resident() < before + MIB and not found[:: 8 * MIB].any() and len(kept) == 2
