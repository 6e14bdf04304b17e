"""The writer's lock of a directory: an OS lock on ``writer.lock``, which says who holds it.

The lock belongs to the open file and ends with the process, however it ends: a file that a dead
process has left blocks nobody and is never removed. A fork of the holder gives its copy up.
"""

import json
import os
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

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
            if not filesystem.lock(self._descriptor, wait=False):
                raise LockedError(
                    f"{directory}: {_holder(path)} has it open for writing; open it for reading"
                )
            record = {
                "pid": self._process,
                "host": filesystem.host(),
                "since": datetime.now(UTC).isoformat(timespec="seconds"),
            }
            filesystem.write_at(self._descriptor, json.dumps(record).ljust(RECORD).encode(), 0)
        except BaseException:
            filesystem.close(self._descriptor)
            raise

    def release(self) -> None:
        """Let others write."""
        if os.getpid() == self._process:  # a fork has given it up already
            try:
                with suppress(OSError):  # the next holder says who it is; nobody is to be told of this one
                    filesystem.write_at(self._descriptor, b" " * RECORD, 0)
            finally:
                filesystem.close(self._descriptor)


def _holder(path: Path) -> str:
    """Return who holds the lock, as the record says; it may come a moment after the lock."""
    for _ in range(20):
        try:
            record = json.loads(filesystem.read(path))
            if record["host"] == filesystem.host() and not filesystem.is_running(record["pid"]):
                raise ValueError("of a process that died")  # the holder has not said yet who it is
            return f"process {record['pid']} on {record['host']}, since {record['since']},"
        except (ValueError, KeyError, TypeError):
            time.sleep(PATIENCE / 20)
    return "another process"
