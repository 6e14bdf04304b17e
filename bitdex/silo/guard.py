"""Guard: whether a store may be read and written, and why not."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bitdex.errors import ClosedError, LockedError, WriteFailedError


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

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Run a block that writes; remember a write that fails."""
        self.check_writable()
        try:
            yield
        except WriteFailedError as error:
            self.failure = self.failure or error
            raise
