"""Blocks of rows, worked on side by side by the threads of one pool, which the whole process shares.

Starting a thread takes 0.1 ms and more, as long as the kernels take for some thousand rows.
"""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

from bitdex.kernels.jit import THREADS

Result = TypeVar("Result")

_pool: ThreadPoolExecutor | None = None
_starting = threading.Lock()
_here = threading.local()  # `working` is set in the threads of the pool


def each_block(rows: int, longest: int, work: Callable[[int, int], Result]) -> list[Result]:
    """Return what ``work(lo, hi)`` returns for blocks of rows, of about equal length and not above `longest`.

    Raises the first error, in order; nobody works any more by then.
    """
    count = -(-rows // longest)
    edges = [block * rows // count for block in range(count + 1)] if count else [0]
    bounds = list(zip(edges, edges[1:]))
    alone = THREADS == 1 or getattr(_here, "working", False)  # in the pool one would wait for oneself
    if alone or count < 2:
        return [work(lo, hi) for lo, hi in bounds]
    futures = [pool().submit(work, lo, hi) for lo, hi in bounds[1:]]
    try:
        return [work(*bounds[0]), *[future.result() for future in futures]]
    finally:
        for future in futures:
            future.cancel()
        wait(futures)


def pool() -> ThreadPoolExecutor:
    """Return the pool, which has `THREADS` threads."""
    global _pool
    with _starting:
        if _pool is None:
            _pool = ThreadPoolExecutor(THREADS, "blocks", _begin)
        return _pool


def _begin() -> None:
    _here.working = True


def _forget() -> None:
    """Let a fork, which has none of the threads, start its own."""
    global _pool, _starting
    _pool, _starting = None, threading.Lock()
    _here.working = False


os.register_at_fork(after_in_child=_forget)
