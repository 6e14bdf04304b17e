"""Upkeep: compaction when it is worth it, and documents that are due, in a thread beside everything else."""

import ctypes
import functools
import threading
import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bitdex.errors import BitdexError, InvalidError

if TYPE_CHECKING:
    from bitdex.live.changing import Changing

LEAST, MOST = 0.01, threading.TIMEOUT_MAX  # seconds between two rounds


def check_seconds(seconds: float | None) -> None:
    """Raise `InvalidError` if there can be no such time between two rounds; None stands for no rounds."""
    if seconds is None:
        return
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not number or not LEAST <= seconds <= MOST:  # nan lies nowhere
        raise InvalidError(f"maintenance: {seconds!r} is no number of seconds from {LEAST} to {MOST:.0f}")


class Upkeep:
    """Does a round of `maintain` every so many seconds, until it is stopped or a round fails.

    The index may be forgotten without being closed: then the thread ends by itself.

    Attributes
    ----------
    rounds : int
        Those that are done.
    error : Exception or None
        What ended it; the index says so in `health`.
    """

    def __init__(self, index: "Changing", seconds: float):
        check_seconds(seconds)
        self.seconds, self.rounds = float(seconds), 0
        self.error: Exception | None = None
        self._stop = threading.Event()
        arguments = (weakref.ref(index), self)
        self._thread = threading.Thread(target=_run, args=arguments, name="bitdex-upkeep", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether there will be another round."""
        return self._thread.is_alive() and not self._stop.is_set()

    def stop(self) -> None:
        """End it; a round that is under way is awaited."""
        self._stop.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def wait(self) -> bool:
        """Wait until the next round; return False if there is to be none."""
        return not self._stop.wait(self.seconds)


def give_back() -> None:
    """Hand free memory back to the system: what a compaction took, malloc keeps between what stays."""
    _trimming()(0)


@functools.cache
def _trimming() -> Callable[[int], object]:
    """Return `malloc_trim` of the GNU C library; other libraries have their own ways."""
    return getattr(ctypes.CDLL(None), "malloc_trim", lambda pad: None)


def _run(reference: Any, upkeep: Upkeep) -> None:
    while upkeep.wait():
        index = reference()
        if index is None:
            return
        try:
            index.maintain()
            upkeep.rounds += 1
        except (BitdexError, OSError, MemoryError) as error:
            upkeep.error = error
            return
        del index


def health_of(index: "Changing", upkeep: Upkeep | None) -> dict[str, Any]:
    """Return what `Changing.health` shows."""
    store, snapshot = index._store, index.snapshot
    silos = {"documents": store.documents.silo, "bitmaps": store.bitmaps.silo}
    failure = store.guard.failure or next((one.failure for one in silos.values() if one.failure), None)
    return {
        "writable": store.mode == "w" and failure is None,
        "failure": None if failure is None else str(failure),
        "sequence": store.sequence,
        "documents": len(snapshot.alive),
        "waiting": len(snapshot.deferred),
        "pending": {name: silo.pending for name, silo in silos.items()},
        "dead": {name: round(silo.dead_ratio, 4) for name, silo in silos.items()},
        "needs_compaction": store.needs_compaction,
        "maintenance": None
        if upkeep is None
        else {
            "running": upkeep.running,
            "seconds": upkeep.seconds,
            "rounds": upkeep.rounds,
            "error": None if upkeep.error is None else f"{type(upkeep.error).__name__}: {upkeep.error}",
        },
        "time": time.time(),
    }
