"""Directories of silos: copies as a crash leaves them, and file calls that stop at any moment."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from bitdex import filesystem
from bitdex.silo.silo import Silo

CALLS = (
    "open_write",
    "write_at",
    "write_whole",
    "allocate",
    "map_write",
    "replace",
    "remove",
    "sync",
    "sync_directory",
)


class Killed(BaseException):
    """The process is dead; every file call from now on raises this."""


class Killer:
    """Lets `allowed` file calls through and stops all that follow, or only the next one; counts them."""

    def __init__(self, monkeypatch, allowed, error=None, once=False):
        self.allowed, self.calls = allowed, 0
        self._error, self._once = error or Killed(), once
        self._opened = {}
        for name in CALLS:
            monkeypatch.setattr(filesystem, name, self._counted(getattr(filesystem, name)))
        close = filesystem.close

        def closing(descriptor):  # its number may be a map's by the time of the burial
            close(descriptor)
            self._opened.pop(descriptor, None)

        monkeypatch.setattr(filesystem, "close", closing)

    def _counted(self, function):
        def call(*arguments, **options):
            self.calls += 1
            if self.calls == self.allowed + 1 or (self.calls > self.allowed and not self._once):
                raise self._error
            found = function(*arguments, **options)
            if function.__name__ == "open_write":
                self._opened[found] = os.readlink(f"/proc/self/fd/{found}")
            return found

        return call

    def bury(self):
        """Close what a dead process leaves to the system."""
        for descriptor, path in self._opened.items():
            with suppress(OSError):
                if os.readlink(f"/proc/self/fd/{descriptor}") == path:
                    os.close(descriptor)


def copy_of(silo, target):
    """Return the path of a copy of a silo's directory as it stands, without closing the silo."""
    shutil.copytree(silo.files.directory, target)
    return Path(target)


def content(path, mode="r", **options):
    """Open a silo and return {key: value} and the findings of `check` that are errors."""
    with Silo.open(path, mode, sync="none", **options) as silo:
        keys = silo.keys()
        found = dict(zip(keys.tolist(), silo.get_many(keys)))
        errors = [one for one in silo.check() if one.severity == "error"]
    assert not errors, errors
    return found
