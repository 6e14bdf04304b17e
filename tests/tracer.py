"""Tracer: a plug of `tests.system` that records what happens to the files below a directory.

Files are numbers, so that a trace tells what is written through a descriptor after its file was
renamed. What a power cut may leave of a trace is for `tests.power` to say.
"""

import mmap
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.system import Call


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to the files below a directory.

    Attributes
    ----------
    kind : str
        ``create``, ``write`` (`data` at `offset`), ``size`` (grows to `offset`), ``sync``, ``rename`` (to
        `target`) and ``unlink`` for files; ``mkdir`` and ``sync directory`` for directories;
        ``acknowledge``: an operation returned to its caller.
    path : Path
        What it is called before the event.
    file : int
        The file, whatever it is called; -1 for directories.
    """

    kind: str
    path: Path = Path()
    file: int = -1
    target: Path = Path()
    offset: int = 0
    data: bytes = b""

    def __str__(self) -> str:
        where = f" at {self.offset}, {len(self.data)} bytes" if self.kind == "write" else ""
        where += f" to {self.offset}" if self.kind == "size" else ""
        where += f" to {self.target}" if self.kind == "rename" else ""
        return f"{self.kind} {self.path}{where}"


class Tracer:
    """Records what happens to the files below `root`, in order. Take `end` when it is over.

    Stores through maps pass by the system: at every event the maps made for writing are compared
    with what they held before, and what differs is recorded as writes.

    Attributes
    ----------
    events : list of Event
        Paths in them are relative to `root`.
    names : dict
        The files there were when it began, and their numbers.
    directories : frozenset of Path
        Likewise.
    """

    def __init__(self, root: Path):
        self.root = Path(root)
        below = sorted(path.relative_to(self.root) for path in self.root.rglob("*"))
        self.directories = frozenset(path for path in below if (self.root / path).is_dir()) | {Path()}
        files = (path for path in below if path not in self.directories)
        self.names = {path: number for number, path in enumerate(files)}
        self.events: list[Event] = []
        self._now, self._made = dict(self.names), set(self.directories)
        self._opened: dict[int, int] = {}
        self._maps: dict[int, tuple[mmap.mmap, Path, np.ndarray]] = {}
        self._count = len(self.names)
        self._lock = threading.RLock()

    def acknowledge(self) -> None:
        """Mark that an operation has returned to its caller."""
        with self._lock:
            self._look_at_maps()
            self.events.append(Event("acknowledge"))

    def end(self) -> list[Event]:
        """Stop looking at maps, and return the events."""
        with self._lock:
            self._look_at_maps()
            self._maps.clear()
            return self.events

    def around(self, call: Call, proceed: Callable[[Call], Any]) -> Any:
        record = getattr(self, f"_{call.name}", None)
        if record is None or not call.path.is_relative_to(self.root):
            return proceed(call)
        with self._lock:
            self._look_at_maps()
            found = proceed(call)
            record(call, found)
            return found

    def _add(self, kind: str, path: Any, file: int = -1, **fields: Any) -> None:
        self.events.append(Event(kind, self._name(path), file, **fields))

    def _name(self, path: Any) -> Path:
        return Path(path).relative_to(self.root)

    def _file(self, call: Call) -> int:
        return self._opened.get(call.arguments[0], self._now.get(self._name(call.path), -1))

    def _open(self, call: Call, found: int) -> None:
        path = self._name(call.path)
        if path in self._made:
            return
        if path not in self._now:
            self._now[path] = self._count
            self._count += 1
            self._add("create", call.path, self._now[path])
        self._opened[found] = self._now[path]

    def _close(self, call: Call, found: None) -> None:
        self._opened.pop(call.arguments[0], None)

    def _pwrite(self, call: Call, found: int) -> None:
        _, data, offset = call.arguments
        file = self._file(call)
        self._add("write", call.path, file, offset=offset, data=bytes(memoryview(data)[:found]))
        if file in self._maps:  # where it shows, and is recorded already
            mapped, _, before = self._maps[file]
            before[offset : offset + found] = np.frombuffer(mapped, np.uint8)[offset : offset + found]

    def _posix_fallocate(self, call: Call, found: None) -> None:
        self._add("size", call.path, self._file(call), offset=sum(call.arguments[1:]))

    def _fdatasync(self, call: Call, found: None) -> None:
        if call.arguments[0] in self._opened or self._name(call.path) in self._now:
            self._add("sync", call.path, self._file(call))
        else:
            self._add("sync directory", call.path)

    _fsync = _fdatasync

    def _replace(self, call: Call, found: None) -> None:
        source, target = map(self._name, call.arguments)
        self._now[target] = self._now.pop(source)
        self._add("rename", call.path, self._now[target], target=target)

    def _unlink(self, call: Call, found: None) -> None:
        self._add("unlink", call.path, self._now.pop(self._name(call.path)))

    def _makedirs(self, call: Call, found: None) -> None:
        for directory in (*reversed(call.path.parents), call.path):
            if directory.is_relative_to(self.root) and self._name(directory) not in self._made:
                self._made.add(self._name(directory))
                self._add("mkdir", directory)

    def _mmap(self, call: Call, found: mmap.mmap) -> None:
        if call.changes:
            file, content = self._file(call), np.frombuffer(found, np.uint8).copy()
            if file in self._maps:  # what another thread has stored since the last look is still to be told
                before = self._maps[file][2]
                content[: len(before)] = before
            self._maps[file] = found, call.path, content

    def _look_at_maps(self) -> None:
        for file, (mapped, path, before) in self._maps.items():
            content = np.frombuffer(mapped, np.uint8)
            for start, stop in _differences(before, content):
                before[start:stop] = content[start:stop]
                self._add("write", path, file, offset=start, data=before[start:stop].tobytes())


def _differences(before: np.ndarray, now: np.ndarray) -> list[tuple[int, int]]:
    """Return the runs of bytes, (start, stop), in which two arrays differ."""
    rows = np.flatnonzero(before != now)
    if not len(rows):
        return []
    breaks = np.flatnonzero(np.diff(rows) > 8)  # a store is more than a byte, and may leave some as they were
    return list(zip(rows[np.r_[0, breaks + 1]].tolist(), (rows[np.r_[breaks, -1]] + 1).tolist()))
