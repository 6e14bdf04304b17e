"""The writer's lock of a directory: an OS lock on ``writer.lock``, which says who holds it.

The lock belongs to the open file and ends with the process, however it ends: a file that a dead
process has left blocks nobody and is never removed. A fork of the holder gives its copy up. It ends
too when its holder is forgotten, as an object that a cell of a notebook has made and the next run replaces.
"""

import gc
import json
import os
import time
import weakref
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bitdex import filesystem
from bitdex.errors import LockedError

RECORD = 512  # bytes, so that a shorter record covers a longer one
PATIENCE = 0.2  # seconds until a holder has said who it is


class WriterLock:
    """The right to write to a directory, from when it is made until it is released.

    Raises
    ------
    LockedError
        If another process, or another object of this one, has it; with pid, host and since when.
    """

    def __init__(self, directory: Path):
        path = directory / "writer.lock"
        self._process = os.getpid()
        self._descriptor = filesystem.open_write(path)
        try:
            if not self._take(path):
                raise LockedError(f"{directory}: {_holder(path)}")
            record = {
                "pid": self._process,
                "host": filesystem.host(),
                "since": datetime.now(UTC).isoformat(timespec="seconds"),
            }
            filesystem.write_at(self._descriptor, json.dumps(record).ljust(RECORD).encode(), 0)
        except BaseException:
            filesystem.close(self._descriptor)
            raise
        self._forgotten = weakref.finalize(self, _close, self._descriptor, self._process)
        self._forgotten.atexit = False

    def _take(self, path: Path) -> bool:
        if filesystem.lock(self._descriptor, wait=False):
            return True
        if not _is_ours(_read(path)):
            return False
        gc.collect()  # it may belong to an object that was forgotten, but not collected yet
        return filesystem.lock(self._descriptor, wait=False)

    def release(self) -> None:
        """Let others write."""
        if self._forgotten.detach() is not None and os.getpid() == self._process:
            try:
                with suppress(OSError):  # the next holder says who it is; nobody is to be told of this one
                    filesystem.write_at(self._descriptor, b" " * RECORD, 0)
            finally:
                filesystem.close(self._descriptor)


def _close(descriptor: int, process: int) -> None:
    """Close the file of a lock that was forgotten; a fork has given it up already."""
    if os.getpid() == process:
        filesystem.close(descriptor)


def _holder(path: Path) -> str:
    """Return who holds the lock, as the record says, and what to do; it may come a moment after the lock."""
    for _ in range(20):
        record = _read(path)
        if record:
            who = f"process {record['pid']} on {record['host']}, since {record['since']},"
            ours = _is_ours(record)
            remedy = "that is this process: close the other object" if ours else "open it for reading"
            return f"{who} has it open for writing; {remedy}"
        time.sleep(PATIENCE / 20)
    return "another process has it open for writing; open it for reading"


def _read(path: Path) -> dict[str, Any]:
    """Return what the record says of the holder: pid, host and since; empty if nothing, or of a dead one."""
    try:
        record = json.loads(filesystem.read(path))
        here = record["host"] == filesystem.host()
        alive = not here or filesystem.is_running(record["pid"])
        return {name: record[name] for name in ("pid", "host", "since")} if alive else {}
    except (ValueError, KeyError, TypeError):
        return {}


def _is_ours(record: dict[str, Any]) -> bool:
    return bool(record) and record["pid"] == os.getpid() and record["host"] == filesystem.host()
