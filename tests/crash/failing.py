"""Failing: a plug of `tests.system` that lets file calls fail, and remembers what was called after that."""

import errno
import os
import threading
from dataclasses import dataclass

from tests.system import CALLS

NEVER = 1 << 60


@dataclass(frozen=True)
class Fault:
    """What goes wrong: the `n`-th of some calls fails with `error`, once or with all that follow it.

    With `short`, a write is done by half and says so; the next one to the same file fails.
    A file that cannot be closed is closed all the same.
    """

    n: int
    error: int = errno.EIO
    lasting: bool = False
    short: bool = False
    among: tuple = CALLS

    def __str__(self):
        which = f"call {self.n} and all after it" if self.lasting else f"call {self.n}"
        return f"{which}: {'half of it, then ' if self.short else ''}{errno.errorcode[self.error]}"


class Failing:
    """Lets the calls of a `Fault` fail.

    Attributes
    ----------
    failed : tests.system.Call or None
        The first that failed.
    later : list of tests.system.Call
        What has tried to change files after a change had failed.
    counted : list of (str, bool)
        The name of each call among those that can fail, and whether it changes files.
    trace : list of str
        All calls.
    """

    def __init__(self, fault):
        self.fault, self.failed = fault, None
        self.later, self.counted, self.trace = [], [], []
        self._torn = None  # the descriptor whose next write fails
        self._lock = threading.Lock()

    def around(self, call, proceed):
        with self._lock:
            if self.failed and self.failed.changes and call.changes:
                self.later.append(call)
            fails = self._fails(call)
            self.trace.append(f"{'!' if fails else ' '} {len(self.counted)}: {call.name} {call.path.name}")
        if not fails:
            return proceed(call)
        half = len(call.arguments[1]) // 2 if call.name == "pwrite" and call is self.failed else 0
        if self.fault.short and half:
            self._torn = call.arguments[0]
            return proceed(call.writing(half))
        if call.name == "close":
            proceed(call)
        raise OSError(self.fault.error, os.strerror(self.fault.error))

    def _fails(self, call):
        """Count a call, and tell whether it is to fail."""
        if call.name == "pwrite" and call.arguments[0] == self._torn:
            self._torn = None
            return True
        if call.name not in self.fault.among:
            return False
        self.counted.append((call.name, call.changes))
        if len(self.counted) == self.fault.n:
            self.failed = call
            return True
        return self.fault.lasting and self.failed is not None and call.name != "close"
