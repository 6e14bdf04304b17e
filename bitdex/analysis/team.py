"""Team: work that is long enough is shared by threads, block by block, and can be interrupted between two."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np

from bitdex.kernels.jit import THREADS

ALONE = 3_000_000  # nanoseconds of work up to which another thread would come too late
BLOCK = 20_000_000  # nanoseconds of a block at most


def share(size: int, nanoseconds: float, work: Callable[[int, int, int], None]) -> None:
    """Call ``work(thread, lo, hi)`` until it has done all of ``[0, size)``.

    Calls with one `thread`, a number below `THREADS`, come one after the other.
    """
    if nanoseconds <= min(ALONE, BLOCK):
        if size:
            work(0, 0, size)
        return
    threads = THREADS if nanoseconds > ALONE else 1
    count = max(4 * threads if threads > 1 else 1, int(nanoseconds // BLOCK))
    blocks = iter(list(pairwise(np.linspace(0, size, count + 1).astype(np.int64).tolist())))

    def take(thread: int) -> None:
        for lo, hi in blocks:
            if lo < hi:
                work(thread, lo, hi)

    if threads == 1:
        take(0)
        return
    with ThreadPoolExecutor(threads - 1) as pool:
        others = [pool.submit(take, thread) for thread in range(1, threads)]
        try:
            take(0)
        finally:
            for _ in blocks:  # after an interrupt: nobody finds another
                pass
        for one in others:
            one.result()
