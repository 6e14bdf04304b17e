"""Running a function to its end, whatever a person or a timer wants meanwhile.

Python runs the handlers of signals in the main thread, between any two of its steps; what a handler raises
(`KeyboardInterrupt` first of all) would leave a write half done. So while a function runs, something else
stands in the place of every handler, and notes that its signal came::

    handler --> PutOff(handler) --> function --> ended --> handler --> those called whose signal came

From `ended` on, which is one assignment, what stands in the place of a handler calls it at once: that one
handler raises while the others are being put back does no harm. Threads other than the main one are
never interrupted.
"""

import _signal  # what `signal` wraps: its members of enumerations take 2 us a call
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

from bitdex.errors import WriteFailedError

Result = TypeVar("Result")
Handler = Callable[[int, FrameType | None], Any]
_NAMES = "INT TERM HUP QUIT ALRM VTALRM PROF USR1 USR2 BREAK"  # no system has all
SIGNALS = [int(getattr(signal, f"SIG{name}")) for name in _NAMES.split() if hasattr(signal, f"SIG{name}")]


def _nothing() -> None:
    """Let a function go on that is to be interrupted behind its end."""


def uninterrupted(function: Callable[[], Result], upon: Callable[[], None] = _nothing) -> Result:
    """Run a function to its end; what interrupts the caller meanwhile is raised behind it.

    A `WriteFailedError` of the function's own goes before an interrupt. ``upon()`` is called when a signal
    comes, whose handler may raise behind the end, or may not. Inside another such function it never is.
    """
    if threading.current_thread() is not threading.main_thread():
        return function()
    run = _Run(upon)
    for number in SIGNALS:
        handler = _signal.getsignal(number)
        if callable(handler):
            if isinstance(handler, PutOff):
                if not handler.run.ended:
                    return function()  # this is inside another
                handler = handler.handler
            run.puts_off.append(PutOff(number, handler, run))
    failed = False
    try:
        for one in run.puts_off:
            _signal.signal(one.number, one)
        return function()
    except WriteFailedError:
        failed = True
        raise
    finally:
        run.ended = True
        try:
            run.end()
        except BaseException:
            if not failed:
                raise


class _Run:
    """One function that runs, and what stands in the place of handlers meanwhile."""

    def __init__(self, upon: Callable[[], None]):
        self.upon = upon
        self.ended = False
        self.puts_off: list[PutOff] = []

    def end(self, begin: int = 0) -> None:
        """Put handlers back, and call those whose signal came, all of them whatever one raises."""
        if begin < len(self.puts_off):
            one = self.puts_off[begin]
            try:
                _signal.signal(one.number, one.handler)
                if one.came:
                    frame, one.frame = one.frame, None
                    one.handler(one.number, frame)
            finally:
                self.end(begin + 1)
        else:
            self.puts_off = []  # which hold this: else both would stay until a collection


class PutOff:
    """In the place of a handler, which is called later."""

    def __init__(self, number: int, handler: Handler, run: _Run):
        self.number, self.handler, self.run = number, handler, run
        self.came = False
        self.frame: FrameType | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Note the signal; a run that has ended has left this behind."""
        if self.run.ended:
            self.handler(number, frame)
        elif not self.came:
            self.came, self.frame = True, frame
            self.run.upon()
