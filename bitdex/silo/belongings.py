"""Belongings: what a silo holds of the system, let go of when it is closed, or forgotten."""

import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from bitdex.silo.lock import WriterLock
from bitdex.silo.logs import OpsLogs


class Belongings:
    """The threads, the files and the lock of one silo.

    Who forgets a silo without closing it (``del``, a function that fails, a cell of a notebook) loses
    nothing that was acknowledged; what it holds must not stay until the process ends. So nothing
    here leads back to the owner: it would never be forgotten.

    Attributes
    ----------
    logs : OpsLogs or None
    """

    def __init__(self, owner: object, pool: ThreadPoolExecutor, lock: WriterLock | None):
        self.logs: OpsLogs | None = None
        self._pool, self._lock = pool, lock
        self._forgotten = weakref.finalize(owner, self._let_go, wait=False)
        self._forgotten.atexit = False  # the system does it, when all threads have ended

    def let_go(self) -> None:
        """End the threads, close the files, release the lock; once."""
        if self._forgotten.detach() is not None:
            self._let_go(wait=True)

    def _let_go(self, wait: bool) -> None:
        with ExitStack() as ending:  # all of it, whatever fails
            if self._lock is not None:
                ending.callback(self._lock.release)
            for log in self.logs.both if self.logs is not None else ():
                ending.callback(log.close)
            ending.callback(self._pool.shutdown, wait)


def weakly(method: Callable[[], Any]) -> Callable[[], Any]:
    """Return a function that calls a method of an object, as long as that is there, and does not keep it."""
    reference = weakref.WeakMethod(method)

    def call() -> Any:
        found = reference()
        return None if found is None else found()

    return call
