"""Team: work that is long enough is shared by threads, block by block, and can be interrupted between two.

Nobody waits for a thread that has not begun: on a busy machine that takes longer than the work.
"""

from collections.abc import Callable
from itertools import pairwise

from bitdex.kernels.blocks import pool
from bitdex.kernels.jit import THREADS

ALONE = 1_000_000  # nanoseconds of work up to which another thread would come too late
BLOCK = 20_000_000  # nanoseconds of a block at most


def share(size: int, nanoseconds: float, work: Callable[[int, int, int], None]) -> None:
    """Call ``work(thread, lo, hi)`` until it has done all of ``[0, size)``.

    Calls with one `thread`, a number below `THREADS`, come one after the other.
    """
    threads = THREADS if nanoseconds > ALONE else 1
    count = max(4 * threads if threads > 1 else 1, int(nanoseconds // BLOCK))
    blocks = iter(list(pairwise([size * i // count for i in range(count + 1)])))

    def take(thread: int) -> None:
        for lo, hi in blocks:
            if lo < hi:
                work(thread, lo, hi)

    started = [pool().submit(take, thread) for thread in range(1, threads)]
    try:
        take(0)
    finally:
        for _ in blocks:  # after an interrupt: nobody finds another
            pass
        begun = [one for one in started if not one.cancel()]
    for one in begun:
        one.result()
