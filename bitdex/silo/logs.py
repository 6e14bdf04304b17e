"""Both ops logs of a writer: one takes the batches while the other is compacted.

::

    append --> active log --sync--> shown, acknowledged
               frozen log --compact--> data.bin, then an empty file takes its place

A batch is acknowledged, and shown to readers, when it is as durable as its mode promises:

    none     when the bytes are with the operating system
    batch    when a sync covers it; whoever comes while one runs shares the next one
    always   when its own sync is done, and nobody else's batch has come in between

Nothing here is interrupted in the middle (`uninterrupted`): a batch is there, in the file as in memory, or it
is not. One that fails is settled before anything else happens: what lies whole in the file counts, since
another process may have read it.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

from bitdex.errors import InvalidError, WriteFailedError
from bitdex.holding import holding
from bitdex.silo.guard import Guard
from bitdex.silo.log import OpsLog
from bitdex.silo.pending import Waiting
from bitdex.uninterrupted import uninterrupted


class OpsLogs:
    """The logs of one silo; any number of threads may append.

    Parameters
    ----------
    logs : tuple of two OpsLog
    sync : {"always", "batch", "none"}
    next_sequence : int
        The lowest that no batch has had.
    show : callable
        Called when there are more operations to be seen.
    """

    def __init__(
        self,
        logs: tuple[OpsLog, OpsLog],
        sync: str,
        next_sequence: int,
        guard: Guard,
        show: Callable[[], None],
    ):
        self.both = logs
        self.next_sequence = next_sequence
        self._sync, self._guard, self._show = sync, guard, show
        self._active = max(range(2), key=lambda i: logs[i].last_sequence)
        self._entering = threading.RLock()
        self._appending = threading.Lock()
        self._syncing = threading.Lock()

    @property
    def active(self) -> OpsLog:
        """The log that takes the batches."""
        return self.both[self._active]

    @property
    def last_sequence(self) -> int:
        """The newest sequence in the logs."""
        return max(log.last_sequence for log in self.both)

    @property
    def synced_sequence(self) -> int:
        """The newest sequence that is known to be on the device, with all before it."""
        return max(log.synced_sequence for log in self.both)

    def waiting(self, applied: int) -> tuple[Waiting, ...]:
        """Return the operations above sequence `applied` that readers may see, the older log first."""
        found = [one for log in self.both if (one := log.waiting(applied)) is not None]
        if len(found) > 1:
            found.sort(key=lambda one: one.last_sequence)
        return tuple(found)

    def _take_sequence(self, wanted: int | None) -> int:
        """Give a sequence out, which nobody gets again."""
        if wanted is not None and wanted < self.next_sequence:
            raise InvalidError(f"sequence: {wanted} was used before; the next one is {self.next_sequence}")
        given = self.next_sequence if wanted is None else wanted
        self.next_sequence = given + 1
        return given

    def reserve(self, wanted: int | None) -> int | None:
        """Give a sequence to a merge, which has to come after all operations; None if some wait."""
        with self._appending:
            return None if any(log.appended for log in self.both) else self._take_sequence(wanted)

    @holding
    def held(self) -> Iterator[None]:
        """Let other threads wait before they append."""
        with self._entering:
            yield

    def append(self, write: Callable[[OpsLog, int], None], sequence: int | None) -> int:
        """Append one batch, which ``write(log, sequence)`` does, and acknowledge it; return its sequence."""
        return uninterrupted(partial(self._append, write, sequence))

    def _append(self, write: Callable[[OpsLog, int], None], sequence: int | None) -> int:
        with self._entering, self._appending, self._guard.writing():
            sequence = self._take_sequence(sequence)
            log = self.active
            try:
                write(log, sequence)
            except WriteFailedError:
                raise
            except BaseException:
                self._settle_failed(log)
                raise
            count = log.appended
            if self._sync == "none":
                self._acknowledge(log, count)
            elif self._sync == "always":
                log.sync()
                self._acknowledge(log, count)
        if self._sync == "batch":
            self._settle(log, count)
        return sequence

    def _settle_failed(self, log: OpsLog) -> None:
        """Take or blank what a batch that failed has left, durably: it must not come, or go, later on."""
        if log.unsettled:
            try:
                log.settle_failed()
                log.sync()
                self._acknowledge(log, log.appended)
            except BaseException as error:
                self._guard.fail(error, log.path)
                raise

    def _settle(self, log: OpsLog, count: int) -> None:
        """Return when the first `count` operations of a log are acknowledged, by this thread or another."""
        with self._syncing, self._guard.writing():  # refuses after a sync that failed for somebody else
            if log.shown < count:
                count = log.appended
                log.sync()
                self._acknowledge(log, count)

    def _acknowledge(self, log: OpsLog, count: int) -> None:
        log.shown = max(log.shown, count)
        self._show()

    def freeze(self) -> OpsLog:
        """Let the batches go to the other log, which is empty; return the one that has taken them so far.

        It is synced before, so that what comes later is never on the device without it.
        """
        return uninterrupted(self._freeze)

    def _freeze(self) -> OpsLog:
        with self._appending, self._guard.writing():
            log = self.active
            log.sync()
            self._acknowledge(log, log.appended)
            self._active = 1 - self._active
            return log

    def sync(self) -> None:
        """Force what was appended to the device, whatever the mode."""
        uninterrupted(self._sync_both)

    def _sync_both(self) -> None:
        with self._appending, self._guard.writing():
            for log in self.both:
                if log.appended and log.synced_sequence < log.last_sequence:
                    log.sync()

    def replace(self, log: OpsLog, empty: OpsLog) -> None:
        """Put an empty log in the place of one that was compacted, and close that."""
        with self._appending, self._syncing:  # somebody may be about to sync it, who need not any more
            self.both = tuple(empty if one is log else one for one in self.both)  # type: ignore[assignment]
            log.close()

    def close(self) -> None:
        """Close the files, when nobody is writing to them, and let go of the silo."""
        self._show = _nothing  # else silo and logs would hold each other, and the maps, until a collection
        with self._appending, self._syncing, ExitStack() as ending:
            for log in self.both:
                ending.callback(log.close)


def _nothing() -> None:
    """Show nothing."""
