"""System: what stands in for the operating system below `bitdex.filesystem`, and the plugs put into it.

::

    Silo, Index --> bitdex.filesystem --> System --> plug --> plug --> os, mmap
                                            |
                                            knows the path of every open descriptor

`install` puts a System with plugs in the place of the modules `os` and `mmap` of the file-system
seam, for as long as the monkeypatch lasts. A plug is an object with one method::

    around(call, proceed) -> what the system returns

It sees every call that touches files (`CALLS`) as a `Call`. To let it through it returns
``proceed(call)``; it may as well pass on another call, raise in its stead, or act afterwards. The
first plug is the outermost one. A call that would change files and is not known here is refused,
so that no change goes unseen when the seam learns new calls.

The plugs::

    Killer   the process dies at a change: that call and all that follow raise Killed
    Faulty   one change fails, or writes short and then fails
    Quota    the bytes below a directory are limited: the disk is full
    Tracer   everything that happens to the files below a directory, in order (in `tests.tracer`)
"""

import errno as errors
import mmap
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field
from dataclasses import replace as changed
from functools import partial
from pathlib import Path
from typing import Any

from bitdex import filesystem

CHANGES = (
    "open",  # with O_CREAT
    "mmap",  # for writing
    "pwrite",
    "posix_fallocate",
    "fsync",
    "fdatasync",
    "replace",
    "unlink",
    "makedirs",
)
CALLS = (*CHANGES, "close", "read", "pread", "stat", "fstat", "listdir")
BY_DESCRIPTOR = ("mmap", "pwrite", "posix_fallocate", "fsync", "fdatasync", "close", "read", "pread", "fstat")
UNSEEN = ("write", "writev", "pwritev", "sendfile", "copy_file_range", "truncate", "ftruncate", "rename")
UNSEEN = (*UNSEEN, "renames", "remove", "mkdir", "rmdir", "removedirs", "link", "symlink", "fdopen")


@dataclass(frozen=True)
class Call:
    """One call of a function of the system.

    Attributes
    ----------
    name : str
        One of `CALLS`; ``mmap`` is the making of a map.
    path : Path
        What it is about: that of the descriptor, or the first path among the arguments.
    arguments : tuple
    options : dict
    """

    name: str
    path: Path
    arguments: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def changes(self) -> bool:
        """Whether it changes files or makes changes durable."""
        if self.name == "open":
            return bool(self.arguments[1] & os.O_CREAT)
        if self.name == "mmap":
            return self.options.get("access") != mmap.ACCESS_READ
        return self.name in CHANGES

    def writing(self, count: int) -> "Call":
        """Return this ``pwrite`` with the first `count` of its bytes only."""
        descriptor, data, offset = self.arguments
        return changed(self, arguments=(descriptor, memoryview(data)[:count], offset))


class System:
    """Stands in for `os` and `mmap`: forwards everything, calls that touch files through the plugs."""

    def __init__(self, *plugs: Any):
        self.plugs = plugs
        self.opened: dict[int, Path] = {}
        self.mmap = _mapping(self)

    def __getattr__(self, name: str) -> Any:
        assert name not in UNSEEN, f"os.{name} changes files: teach tests.system to see it"
        function = getattr(os, name)  # an AttributeError where the system has none
        return partial(self.call, function, name) if name in CALLS else function

    def call(self, function: Callable[..., Any], name: str, *arguments: Any, **options: Any) -> Any:
        """Call a function of the system through the plugs."""
        path = self.path_of(arguments[0]) if name in BY_DESCRIPTOR else arguments[0]
        path = path if isinstance(path, Path) else Path(path)
        proceed = partial(self._call, function)
        for plug in reversed(self.plugs):
            proceed = partial(plug.around, proceed=proceed)
        return proceed(Call(name, path, arguments, options))

    def path_of(self, descriptor: int) -> Path:
        """Return the path of an open descriptor, also of one that was opened before this system came."""
        return self.opened.get(descriptor) or Path(os.readlink(f"/proc/self/fd/{descriptor}"))

    def bury(self) -> None:
        """Close what a dead process leaves to the system to close.

        The numbers stay taken until the objects of the dead are forgotten, which then close them.
        """
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor, path in self.opened.items():
            with suppress(OSError):  # else its number may be another's by now
                if Path(os.readlink(f"/proc/self/fd/{descriptor}")) == path:
                    os.dup2(nothing, descriptor, inheritable=False)
        os.close(nothing)
        self.opened.clear()

    def _call(self, function: Callable[..., Any], call: Call) -> Any:
        if call.name == "close":  # before its number can be another's
            self.opened.pop(call.arguments[0], None)
        found = function(*call.arguments, **call.options)
        if call.name == "open":
            self.opened[found] = call.path
        elif call.name == "replace":
            self._move(*map(Path, call.arguments))
        return found

    def _move(self, source: Path, target: Path) -> None:
        for descriptor, path in list(self.opened.items()):
            if path == source:
                self.opened[descriptor] = target


def _mapping(system: System) -> type[mmap.mmap]:
    """Return the class of maps that are made through a system."""

    class Mapping(mmap.mmap):
        def __new__(cls, descriptor: int, length: int, **options: Any) -> "Mapping":
            if descriptor == -1:  # memory, and no file
                return mmap.mmap.__new__(cls, descriptor, length, **options)
            return system.call(partial(mmap.mmap.__new__, cls), "mmap", descriptor, length, **options)

    return Mapping


class MapModule:
    """The module `mmap`, with another class of maps."""

    def __init__(self, system: System):
        self.mmap = system.mmap

    def __getattr__(self, name: str) -> Any:
        return getattr(mmap, name)


def install(monkeypatch: Any, *plugs: Any) -> System:
    """Put a system with these plugs below `bitdex.filesystem`, until the monkeypatch is undone."""
    system = System(*plugs)
    monkeypatch.setattr(filesystem, "os", system)
    monkeypatch.setattr(filesystem, "mmap", MapModule(system))
    return system


class Killed(BaseException):
    """The process is dead; every file call from now on raises this."""


class Killer:
    """Lets `allowed` changes through; the next one and every later call raise: the process is dead.

    Descriptors can still be closed, as the system does for the dead; what stays open is for `System.bury`.
    With `once` the process lives on, and only that one change raises `error`.

    Attributes
    ----------
    calls : int
        Changes asked for, those that raised among them.
    """

    def __init__(self, allowed: int, error: BaseException | None = None, once: bool = False):
        self.allowed, self.calls = allowed, 0
        self._error, self._once = error or Killed(), once
        self._lock = threading.Lock()

    def around(self, call: Call, proceed: Callable[[Call], Any]) -> Any:
        with self._lock:
            self.calls += call.changes
            dead = self.calls > self.allowed
            if self._once:
                dead = call.changes and self.calls == self.allowed + 1
        if dead and call.name != "close":
            raise copy(self._error)  # a traceback would keep files open
        return proceed(call)


class Faulty:
    """Makes the `n`-th change fail, once; what comes after it goes well again.

    Parameters
    ----------
    n : int
        Counted from 1, over the calls in `among`; 0 counts without failing.
    errno : int
        The error: EIO, ENOSPC, EDQUOT, ... The call has no effect then.
    short : bool
        A ``pwrite`` writes the first half of its bytes and says so, and the next one to the same
        descriptor fails with ENOSPC. Calls other than ``pwrite`` fail with `errno`.
    among : names of calls
        Which calls are counted, out of `CHANGES`: ``("fsync", "fdatasync")`` for the n-th sync.

    Attributes
    ----------
    calls : int
        How many there were: when it stays below `n`, nothing has failed.
    failed : Call or None
        The one that failed.
    """

    def __init__(
        self, n: int, errno: int = errors.EIO, short: bool = False, among: tuple[str, ...] = CHANGES
    ):
        self.n, self.errno, self.short, self.among = n, errno, short, among
        self.calls, self.failed = 0, None
        self._full: int | None = None  # the descriptor whose next write fails
        self._lock = threading.Lock()

    def around(self, call: Call, proceed: Callable[[Call], Any]) -> Any:
        with self._lock:
            self._end_short_write(call)
            self.calls += call.changes and call.name in self.among
            if self.calls == self.n and not self.failed:
                self.failed = call
                return self._fail(call, proceed)
        return proceed(call)

    def _fail(self, call: Call, proceed: Callable[[Call], Any]) -> Any:
        if not self.short or call.name != "pwrite":
            raise _error(self.errno)
        half = len(call.arguments[1]) // 2
        if not half:
            raise _error(errors.ENOSPC)
        self._full = call.arguments[0]
        return proceed(call.writing(half))

    def _end_short_write(self, call: Call) -> None:
        if call.name == "pwrite" and call.arguments[0] == self._full:
            self._full = None
            raise _error(errors.ENOSPC)


class Quota:
    """A disk with room for `limit` bytes below `root`: what goes beyond fails with ENOSPC.

    A write that fits in part writes that part and says so, and the next one fails; an allocation
    that does not fit allocates nothing. Bytes are the lengths of the files that have a name; what
    is unlinked, or replaced by a rename, is free at once. Raise `limit` to make room again.

    Attributes
    ----------
    limit : int
    refused : int
        Calls that failed.
    """

    def __init__(self, root: Path, limit: int):
        self.root, self.limit, self.refused = Path(root), limit, 0
        self._lock = threading.RLock()

    @property
    def used(self) -> int:
        """Bytes below the directory."""
        return sum(path.stat().st_size for path in self.root.rglob("*") if path.is_file())

    def around(self, call: Call, proceed: Callable[[Call], Any]) -> Any:
        if call.name not in ("pwrite", "posix_fallocate") or self.root not in call.path.parents:
            return proceed(call)
        with self._lock:
            return self._write(call, proceed) if call.name == "pwrite" else self._allocate(call, proceed)

    def _write(self, call: Call, proceed: Callable[[Call], Any]) -> Any:
        descriptor, data, offset = call.arguments
        fits = len(data) - self._missing(descriptor, offset + len(data))
        if fits < len(data) and fits <= 0:
            self._refuse()
        return proceed(call.writing(fits))

    def _allocate(self, call: Call, proceed: Callable[[Call], Any]) -> Any:
        descriptor, offset, length = call.arguments
        if self._missing(descriptor, offset + length):
            self._refuse()
        return proceed(call)

    def _missing(self, descriptor: int, end: int) -> int:
        """Return how many bytes are missing for a file to reach `end`."""
        growth = max(0, end - os.fstat(descriptor).st_size)
        return max(0, growth - max(0, self.limit - self.used)) if growth else 0

    def _refuse(self) -> None:
        self.refused += 1
        raise _error(errors.ENOSPC)


def _error(errno: int) -> OSError:
    return OSError(errno, os.strerror(errno))
