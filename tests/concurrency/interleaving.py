"""Interleaving: something else happens in the middle of a call, at a chosen change of the files below it.

Plugs for `tests.system`, with which one thread can show what otherwise takes two and luck.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.system import Call

SYNCS = ("fsync", "fdatasync")


class Socket:
    """A plug that lets another one in for a while."""

    def __init__(self) -> None:
        self._plug: Any = None

    @contextmanager
    def holding(self, plug: Any) -> Iterator[Any]:
        """Let calls through a plug while the block runs."""
        self._plug = plug
        try:
            yield plug
        finally:
            self._plug = None

    def around(self, call: Call, proceed: Callable[[Call], Any]) -> Any:
        return proceed(call) if self._plug is None else self._plug.around(call, proceed)


class Unsynced:
    """Syncs succeed at once: nobody cuts the power here, and a copy sees what was written anyway."""

    def around(self, call: Call, proceed: Callable[[Call], Any]) -> Any:
        return None if call.name in SYNCS else proceed(call)


class Moment:
    """Calls `act` before the n-th change of the files; what it returns is `result`, once it has `come`.

    `act` may read, also through the seam, but not write: the one whose change it is may hold locks.
    """

    def __init__(self, number: int, act: Callable[[], Any]) -> None:
        self.come, self.result = False, None
        self._left, self._act = number, act
        self._error: BaseException | None = None
        self._lock = threading.Lock()

    def around(self, call: Call, proceed: Callable[[Call], Any]) -> Any:
        with self._lock:
            self._left -= call.changes
            now = not self.come and self._left <= 0 and call.changes
            self.come |= now
        if now:
            self._do()
        return proceed(call)

    def _do(self) -> None:
        try:
            self.result = self._act()
        except BaseException as error:  # the store must not see it
            self._error = error

    def seen(self) -> Any:
        """Return what `act` has returned, or raise what it has raised; act now if the moment never came."""
        if not self.come:
            self.come = True
            self._do()
        if self._error is not None:
            raise self._error
        return self.result


@contextmanager
def traced(title: str) -> Iterator[None]:
    """Say of a failure by which seed it can be repeated."""
    try:
        yield
    except BaseException as error:
        error.add_note(title)
        raise
