"""macOS, as far as its calls go: no `posix_fallocate`, no `fdatasync`, and a sync that `fcntl` does.

::

    Silo, Index --> bitdex.filesystem --> MacOs --> plug --> os, mmap
                                     `--> Fcntl --> plug --> os.fsync

Plugs see a sync by `fcntl` as an ``fsync``.
"""

import errno as errors
import fcntl
import os
from pathlib import Path
from typing import Any

from bitdex import filesystem
from tests import system
from tests.system import System

MISSING = ("posix_fallocate", "fdatasync")


class MacOs(System):
    """In the place of `os`.

    Attributes
    ----------
    flushed : list of Path
        What was synced by ``F_FULLFSYNC``.
    synced : list of Path
        What was synced by ``fsync``, which is not enough there.
    refusal : int
        The error of ``F_FULLFSYNC``; 0 where it works.
    """

    def __init__(self, *plugs: Any):
        super().__init__(*plugs)
        self.flushed: list[Path] = []
        self.synced: list[Path] = []
        self.refusal = 0

    def __getattr__(self, name: str) -> Any:
        if name in MISSING:
            raise AttributeError(f"module 'os' has no attribute {name!r}")
        return super().__getattr__(name)

    def fsync(self, descriptor: int) -> None:
        """Sync as far as the drive."""
        self.synced.append(self.path_of(descriptor))
        self.call(os.fsync, "fsync", descriptor)


class Fcntl:
    """In the place of `fcntl`."""

    F_FULLFSYNC = 51
    LOCK_EX, LOCK_NB = fcntl.LOCK_EX, fcntl.LOCK_NB
    flock = staticmethod(fcntl.flock)

    def __init__(self, macos: MacOs):
        self._macos = macos

    def fcntl(self, descriptor: int, command: int) -> int:
        """Sync, the drive as well."""
        assert command == self.F_FULLFSYNC
        if self._macos.refusal:
            raise OSError(self._macos.refusal, os.strerror(self._macos.refusal))
        self._macos.flushed.append(self._macos.path_of(descriptor))
        self._macos.call(os.fsync, "fsync", descriptor)
        return 0


def install(monkeypatch: Any, *plugs: Any) -> MacOs:
    """Put macOS with these plugs below `bitdex.filesystem`, until the monkeypatch is undone."""
    macos = MacOs(*plugs)
    monkeypatch.setattr(filesystem, "os", macos)
    monkeypatch.setattr(filesystem, "mmap", system.MapModule(macos))
    monkeypatch.setattr(filesystem, "fcntl", Fcntl(macos))
    return macos


REFUSALS = {name: getattr(errors, name) for name in ("ENOTSUP", "EINVAL", "ENOTTY")}
