"""Guard: whether a store may be read and written, and why not."""

import errno
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from bitdex.errors import ClosedError, LockedError, WriteFailedError
from bitdex.holding import holding
from bitdex.uninterrupted import uninterrupted

Result = TypeVar("Result")


class Guard:
    """Whether a silo or an index is open, for writing, in the process that opened it, and has not failed.

    After a write or a sync that failed nobody knows what the device holds: trying again could
    succeed and still have lost something. So the store takes no more writes until it is opened
    again, which looks at what is there.

    Attributes
    ----------
    failure : WriteFailedError or None
        The first one.
    """

    failure: WriteFailedError | None = None

    def __init__(self, directory: Path, mode: str, what: str):
        self.directory, self.mode, self.what = directory, mode, what
        self.closed = False
        self._process = os.getpid()

    def close(self) -> None:
        """Refuse everything from now on."""
        self.closed = True

    def check_open(self) -> None:
        """Raise `ClosedError` if the store was closed."""
        if self.closed:
            raise ClosedError(f"{self.directory}: the {self.what} was closed")

    @property
    def here(self) -> bool:
        """Whether this is the process that opened the store, and no fork of it."""
        return os.getpid() == self._process

    def check_writable(self) -> None:
        """Raise `LockedError` with the reason if nothing may be written."""
        self.check_open()
        if self.mode != "w":
            raise LockedError(f'{self.directory}: opened for reading; open it with mode="w"')
        if self.failure is not None:
            raise LockedError(
                f"{self.directory}: read-only since a write failed: {self.failure}; open it again"
            )
        if not self.here:
            raise LockedError(
                f"{self.directory}: opened for writing by process {self._process}, of which this is a fork; "
                "a fork may read"
            )

    @holding
    def writing(self) -> Iterator[None]:
        """Run a block that writes; remember a write that fails, whatever else is raised behind it."""
        self.check_writable()
        handled = sys.exc_info()[1]  # by the caller: nothing of ours
        try:
            yield
        except BaseException as error:
            self.failure = self.failure or _write_that_failed(error, handled)
            raise

    def whole(self, function: Callable[[], Result]) -> Result:
        """Run a function that writes, and is not interrupted; remember a write that fails."""

        def write() -> Result:
            with self.writing():
                return function()

        return uninterrupted(write)

    def fail(self, error: BaseException, path: Path) -> None:
        """Take no more writes: an error has left what nobody knows in a file."""
        if not isinstance(error, WriteFailedError):
            error = WriteFailedError(errno.EIO, f"{type(error).__name__}: {error}", str(path))
        self.failure = self.failure or error


def _write_that_failed(error: BaseException | None, handled: BaseException | None) -> WriteFailedError | None:
    """Return an error, or the one that it was raised behind, if that is a write that failed.

    `handled` is one before all of them.
    """
    while error is not None and error is not handled:
        if isinstance(error, WriteFailedError):
            return error
        error = error.__context__
    return None
