"""The operating system: every file call of a store goes through this module.

Bytes are appended with write calls and read through read-only maps. A writable map is
handed out only over space that has been allocated before, so that a full disk is an
`OSError` here and never a signal. Files are replaced by rename and never truncated,
because somebody may have them mapped. A call that fails to change something raises
`WriteFailedError`, which tells a writer that it must not go on.

Systems differ in two things, told by what they have and not by their names::

    sync       fcntl(F_FULLFSYNC)   macOS, where fsync leaves the bytes in the drive's own memory
               fdatasync            else, where there is one
               fsync                else, and where a file system refuses the first
    allocate   posix_fallocate      where there is one, and the file system has it
               zeros are written    else; within the file, what is there is written again

The system is reached through this module's `os`, `mmap` and `fcntl` alone: tests put a
recorder, a fault injector or a quota in the place of `os`.
"""

import errno
import fcntl
import mmap
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from bitdex.errors import WriteFailedError

HUGE_FROM = 4 << 20  # bytes of memory that are asked for in huge pages
WRITTEN = 1 << 20  # bytes at once, where space is allocated by writing it
REFUSED = {errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTTY, errno.ENOSYS}  # not known there

_names: dict[int, Path] = {}  # of open descriptors, for errors
_locks: set[int] = set()  # descriptors whose locks a fork must not keep


@contextmanager
def _changing(path: Path | None) -> Iterator[None]:
    """Say of an error of the system which file it befell, and that a change is at stake."""
    try:
        yield
    except OSError as error:
        raise _failed(error, path) from error


def _failed(error: OSError, path: Path | None) -> WriteFailedError:
    return WriteFailedError(error.errno, error.strerror, str(path))


def make_directory(path: Path) -> None:
    """Create a directory and its parents, durably; an existing one is left as it is."""
    missing = [one for one in (path, *path.parents) if not os.path.exists(one)]
    with _changing(path):
        os.makedirs(path, exist_ok=True)
    for one in missing:
        sync_directory(one.parent)


def exists(path: Path) -> bool:
    """Tell whether a file or directory is there."""
    return os.path.exists(path)


def is_directory(path: Path) -> bool:
    """Tell whether a directory is there."""
    return os.path.isdir(path)


def list_directory(path: Path) -> list[str]:
    """Return the sorted names in a directory."""
    return sorted(os.listdir(path))


def size(path: Path) -> int:
    """Return a file's length in bytes."""
    return os.stat(path).st_size


def sizes(path: Path) -> Iterator[tuple[str, int]]:
    """Yield names and lengths of the files below a directory; those that go meanwhile are left out."""
    with suppress(FileNotFoundError):
        for name in list_directory(path):
            if is_directory(path / name):
                yield from ((f"{name}/{inside}", length) for inside, length in sizes(path / name))
            else:
                with suppress(FileNotFoundError):
                    yield name, size(path / name)


def number(path: Path) -> int:
    """Return the number the system gives a file, another when it was replaced; 0 where there is none."""
    try:
        found = os.stat(path)
        return found.st_dev << 64 | found.st_ino
    except FileNotFoundError:
        return 0


def read(path: Path) -> bytes:
    """Return the whole content of a file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts, room = [], os.fstat(descriptor).st_size + 1
        while part := os.read(descriptor, min(room, 1 << 30)):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(descriptor)


def read_parts(path: Path, *parts: tuple[int, int | None]) -> list[bytes]:
    """Return stretches of a file, each from an offset on so many bytes, or all."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        end = os.fstat(descriptor).st_size
        return [_read_at(descriptor, at, end - at if size is None else size) for at, size in parts]
    finally:
        os.close(descriptor)


def _read_at(descriptor: int, at: int, size: int) -> bytes:
    """Return so many bytes from an offset on, fewer where the file ends."""
    parts = []
    os.lseek(descriptor, at, os.SEEK_SET)
    while size > 0 and (part := os.read(descriptor, min(size, 1 << 30))):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def open_write(path: Path) -> int:
    """Open or create a file for reading and writing; return its descriptor."""
    with _changing(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    _names[descriptor] = path
    return descriptor


def close(descriptor: int) -> None:
    """Close a descriptor."""
    _names.pop(descriptor, None)
    _locks.discard(descriptor)
    os.close(descriptor)


def write_at(descriptor: int, data: np.ndarray | bytes, offset: int) -> None:
    """Write all of `data` at `offset`."""
    view = memoryview(data).cast("B")  # type: ignore[arg-type]
    try:
        while len(view):
            written = os.pwrite(descriptor, view[: 1 << 30], offset)
            if not written:
                raise OSError(errno.EIO, "nothing was written")
            view = view[written:]
            offset += written
    except OSError as error:
        raise _failed(error, _names.get(descriptor)) from error


def allocate(descriptor: int, offset: int, length: int) -> None:
    """Reserve space on disk, so that later stores through a map cannot run out of it.

    What lies in it stays as it is, and is zero where nothing was.
    """
    if length > 0 and not _reserved(descriptor, offset, length):
        _write_again(descriptor, offset, length)


def _reserved(descriptor: int, offset: int, length: int) -> bool:
    """Let the system reserve space; return False if it, or the file system, has no call for that."""
    if not hasattr(os, "posix_fallocate"):
        return False
    try:
        os.posix_fallocate(descriptor, offset, length)
    except OSError as error:
        if error.errno not in REFUSED:
            raise _failed(error, _names.get(descriptor)) from error
        return False
    return True


def _write_again(descriptor: int, offset: int, length: int) -> None:
    """Write what a range of a file holds, zeros behind its end and in its holes: then it has its space."""
    for start in range(offset, offset + length, WRITTEN):
        count = min(WRITTEN, offset + length - start)
        with _changing(_names.get(descriptor)):
            held = os.pread(descriptor, count, start)
        write_at(descriptor, held.ljust(count, b"\0"), start)


def fill_holes(descriptor: int) -> None:
    """Allocate what is not: a copied file may have holes, in which a store through a map can fail."""
    found = os.fstat(descriptor)
    if found.st_blocks * 512 < found.st_size:
        allocate(descriptor, 0, found.st_size)


def lock(descriptor: int, wait: bool = True) -> bool:
    """Take the lock of an open file until it is closed; tell whether it was taken.

    It belongs to the open file and ends with the last descriptor of it, at the latest with the process.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    _locks.add(descriptor)
    return True


def _give_up_locks() -> None:
    for descriptor in _locks:
        os.close(descriptor)
        _names.pop(descriptor, None)
    _locks.clear()


os.register_at_fork(after_in_child=_give_up_locks)


def is_running(process: int) -> bool:
    """Tell whether a process of this machine lives."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def host() -> str:
    """Return the name of this machine."""
    return os.uname().nodename


def sync(descriptor: int) -> None:
    """Force a file's bytes and length to the device."""
    with _changing(_names.get(descriptor)):
        if _flushed(descriptor):
            return
        if hasattr(os, "fdatasync"):  # leaves out the times, whose journal costs a third
            os.fdatasync(descriptor)
        else:
            os.fsync(descriptor)


def _flushed(descriptor: int) -> bool:
    """Let the system flush the drive too; return False if it, or the file system, has no call for that."""
    command = getattr(fcntl, "F_FULLFSYNC", None)
    if command is None:
        return False
    try:
        fcntl.fcntl(descriptor, command)
    except OSError as error:
        if error.errno not in REFUSED:
            raise
        return False
    return True


def sync_directory(path: Path) -> None:
    """Force a directory's entries (creations, renames) to the device."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with _changing(path):
            if not _flushed(descriptor):
                os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace(source: Path, target: Path) -> None:
    """Rename `source` over `target`."""
    with _changing(target):
        os.replace(source, target)


def remove(path: Path) -> None:
    """Unlink a file if it is there."""
    with _changing(path), suppress(FileNotFoundError):
        os.unlink(path)


def write_whole(path: Path, data: bytes, durable: bool = True) -> None:
    """Replace a small file at once: temporary name, write, sync, rename, sync the directory."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}")
    try:
        descriptor = open_write(temporary)
        try:
            write_at(descriptor, data, 0)
            if durable:
                sync(descriptor)
        finally:
            close(descriptor)
        replace(temporary, path)
    except OSError:
        with suppress(OSError):  # the first error counts
            remove(temporary)
        raise
    if durable:
        sync_directory(path.parent)


def map_read(path: Path) -> np.ndarray:
    """Map a file; return its bytes as a read-only uint8 array, which keeps the map alive."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        length = os.fstat(descriptor).st_size
        if length == 0:
            return np.empty(0, np.uint8)
        mapped = mmap.mmap(descriptor, length, access=mmap.ACCESS_READ)
    finally:
        os.close(descriptor)
    return np.frombuffer(mapped, np.uint8)


def map_open(descriptor: int, length: int) -> np.ndarray:
    """Map the first bytes of an open file, allocated before, for reading; later writes show through."""
    return np.frombuffer(mmap.mmap(descriptor, length, access=mmap.ACCESS_READ), np.uint8)


def memory(size: int) -> np.ndarray:
    """Return zeros in private memory that is no file's, uint8, shape (size,); never to be released."""
    mapped = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if size >= HUGE_FROM and hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a system without them
            mapped.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(mapped, np.uint8)


def release(mapped: np.ndarray, larger_than: int = 1 << 27) -> None:
    """Take a large map's pages out of this process; they stay in the system's cache until touched again.

    Without it a pass over a file counts as memory of the process, up to the file's size.
    """
    owner: object = mapped
    while owner is not None and not isinstance(owner, mmap.mmap):
        owner = getattr(owner, "base", None) if isinstance(owner, np.ndarray) else getattr(owner, "obj", None)
    if owner is not None and len(owner) > larger_than and hasattr(mmap, "MADV_DONTNEED"):
        owner.madvise(mmap.MADV_DONTNEED)


def map_write(descriptor: int, length: int) -> np.ndarray:
    """Map allocated space for writing; return a uint8 array over the first `length` bytes."""
    with _changing(_names.get(descriptor)):
        return np.frombuffer(mmap.mmap(descriptor, length), np.uint8)
