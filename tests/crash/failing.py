"""Failing: a plug of `tests.system` that lets file calls fail, and remembers what was called after that."""

import errno
import os
import threading
from dataclasses import dataclass

FOR_GOOD = 1 << 60


@dataclass(frozen=True)
class Fault:
    """What goes wrong: the `n`-th call fails with `error`, once or with all that follow it.

    With `short`, a write is done by half and says so; the next one to the same file fails.
    A file that cannot be closed is closed all the same.
    """

    n: int
    error: int
    lasting: bool = False
    short: bool = False

    def __str__(self):
        how = "half of it, then " if self.short else ""
        return (
            f"call {self.n}{' and all after it' if self.lasting else ''}: {how}{errno.errorcode[self.error]}"
        )


class Failing:
    """Lets the calls of a `Fault` fail.

    Attributes
    ----------
    calls : int
        How many there were.
    failed : tests.system.Call or None
        The first that failed.
    changes : list of tests.system.Call
        What has tried to change files after a change had failed.
    """

    def __init__(self, fault):
        self.fault, self.calls, self.failed = fault, 0, None
        self.changes, self.trace = [], []
        self._short = None
        self._lock = threading.Lock()

    @property
    def error(self):
        """The number of the error that calls fail with."""
        return self.fault.error

    def around(self, call, proceed):
        with self._lock:
            fails = self._fails(call)
            if self.failed and self.failed.changes and call.changes and call is not self.failed:
                self.changes.append(call)
            self.trace.append(f"{'! ' if fails else '  '}{self.calls}: {call.name} {call.path.name}")
        if not fails:
            return proceed(call)
        if self.fault.short and call.name == "pwrite" and call is self.failed and len(call.arguments[1]) > 1:
            self._short = call.arguments[0]
            return proceed(call.writing(len(call.arguments[1]) // 2))
        if call.name == "close":
            proceed(call)
        raise OSError(self.error, os.strerror(self.error))

    def _fails(self, call):
        """Count a call, and tell whether it is to fail."""
        self.calls += 1
        n = self.fault.n
        if self.calls == n:
            self.failed = call
            return True
        if self._short is not None and call.name == "pwrite" and call.arguments[0] == self._short:
            self._short = None
            return True
        return self.fault.lasting and self.calls > n and call.name != "close"
