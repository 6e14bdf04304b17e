"""Quarantine: where a repair puts what it takes out of a store, before it takes it out.

::

    quarantine/20260101T120000Z-1/    one directory a repair, made when something is put there
        ops_a.log                     a file that was set aside whole
        data.bin                      bytes that were taken out, at their places; holes between them
"""

import uuid
from datetime import UTC, datetime
from pathlib import Path

from bitdex import filesystem

NAME = "quarantine"
CHUNK = 4 << 20
WHOLE = 1 << 62  # beyond the end of any file


class Quarantine:
    """The quarantine of one repair of the store in a directory; nothing in it is ever changed."""

    def __init__(self, store: Path):
        self._store = store
        self._directory: Path | None = None

    @property
    def directory(self) -> Path:
        """The directory of this repair; it is there and durable."""
        if self._directory is None:
            parent = self._store / NAME
            stamp, number = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ"), 1
            while filesystem.exists(parent / f"{stamp}-{number}"):
                number += 1
            self._directory = parent / f"{stamp}-{number}"
            filesystem.make_directory(self._directory)
            filesystem.sync_directory(self._store)
            filesystem.sync_directory(parent)
        return self._directory

    def move(self, path: Path) -> None:
        """Take a file away."""
        filesystem.replace(path, self.directory / path.name)
        filesystem.sync_directory(self.directory)
        filesystem.sync_directory(self._store)

    def keep(self, path: Path, ranges: list[tuple[int, int]] | None = None) -> None:
        """Copy a file, or only some ranges (start, stop) of its bytes."""
        copy_ranges(path, self.directory / path.name, ranges or [(0, WHOLE)])
        filesystem.sync_directory(self.directory)


def copy_ranges(
    source: Path, target: Path, ranges: list[tuple[int, int]], head: bytes = b"", length: int = 0
) -> None:
    """Copy ranges (start, stop) of a file to the same places of another, which is durable then.

    `head` is written to the beginning, and zeros to the end if it gets shorter than `length`; where
    nothing is copied to are holes.
    """
    content = filesystem.map_read(source)
    descriptor = filesystem.open_write(target)
    try:
        filesystem.write_at(descriptor, head, 0)
        for start, stop in ranges:
            for at in range(start, min(stop, len(content)), CHUNK):
                filesystem.write_at(descriptor, content[at : min(at + CHUNK, stop)], at)
            filesystem.release(content)
        end = min(ranges[-1][1], len(content))
        filesystem.write_at(descriptor, bytes(max(0, length - end)), end)
        filesystem.sync(descriptor)
    finally:
        filesystem.close(descriptor)


def replace_file(path: Path, ranges: list[tuple[int, int]], head: bytes, length: int) -> None:
    """Replace a file at once by these ranges of it, with another beginning, and zeros up to a length."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}")
    copy_ranges(path, temporary, ranges, head, length)
    filesystem.replace(temporary, path)
    filesystem.sync_directory(path.parent)
