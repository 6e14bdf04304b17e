"""Running a function to its end, whatever a person or a timer wants meanwhile.

Python runs the handlers of signals in the main thread, between any two of its steps; what a handler raises
(`KeyboardInterrupt` first of all) would leave a commit half done. Where Ctrl-C is all that can, it is put off
until the function has ended. Where other signals have handlers too, no order of putting several back is safe
from the others: then the function runs in a thread of its own, which they do not reach and which costs about
0.1 ms more. Threads other than the main one are never interrupted.
"""

import _signal  # what `signal` wraps: its members of enumerations take 2 us a call
import _thread
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from types import FrameType
from typing import Any, TypeVar

Result = TypeVar("Result")
_NAMES = "TERM HUP QUIT ALRM VTALRM PROF USR1 USR2 BREAK"  # no system has all
OTHERS = [int(getattr(signal, f"SIG{name}")) for name in _NAMES.split() if hasattr(signal, f"SIG{name}")]


def uninterrupted(function: Callable[[], Result]) -> Result:
    """Run a function to its end; what interrupts the caller meanwhile is raised behind it."""
    if threading.current_thread() is not threading.main_thread():
        return function()
    if any(callable(handler) for handler in map(_signal.getsignal, OTHERS)):
        return _elsewhere(function)
    handler = _signal.getsignal(_signal.SIGINT)
    return _putting_off(function, handler) if callable(handler) else function()


def _putting_off(function: Callable[[], Result], handler: Callable[..., Any]) -> Result:
    came = False

    def put_off(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came = True

    try:
        _signal.signal(_signal.SIGINT, put_off)
        return function()
    finally:
        _signal.signal(_signal.SIGINT, handler)
        if came:
            _signal.raise_signal(_signal.SIGINT)


def _elsewhere(function: Callable[[], Result]) -> Result:
    future: Future[Result] = Future()
    once = threading.Lock()

    def run() -> None:
        if once.acquire(blocking=False):
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)

    interruption = None
    while not future.done():
        try:
            if not once.locked():
                _thread.start_new_thread(run, ())
            wait([future])
        except BaseException as error:
            interruption = error
            if isinstance(error, RuntimeError) and not once.locked():  # no thread can be had
                raise
    if interruption is not None:
        raise interruption
    return future.result()
