"""A new or empty directory to put a store into, held while it is filled."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from bitdex import filesystem
from bitdex.errors import InvalidError
from bitdex.holding import holding
from bitdex.silo.lock import WriterLock

COMMITS = ("commit.bin", "meta.bin")  # the file that makes a directory an index or a silo
LOCK = "writer.lock"


@holding
def vacant(path: str | Path, *inside: str) -> Iterator[Path]:
    """Hold a new or empty directory for a block that fills it, and directories of these names inside.

    If the block fails, what it has written is removed: a full disk has room again. A process that is
    killed leaves files without a commit record, which nothing opens.

    Raises
    ------
    InvalidError
        If something is there, or the directory lies inside a store.
    LockedError
        If somebody else is filling it.
    """
    check_vacant(path)
    directory = Path(path).resolve()
    filesystem.make_directory(directory)
    lock = WriterLock(directory)
    try:
        check_vacant(directory)  # somebody may have been faster
        with _cleared([directory, *(directory / name for name in inside)]):
            yield directory
    finally:
        lock.release()


def check_vacant(path: str | Path) -> None:
    """Raise `InvalidError` if a directory is not there to be filled."""
    directory = Path(path).resolve()
    for parent in directory.parents:
        if any(filesystem.exists(parent / name) for name in COMMITS):
            raise InvalidError(f"{directory}: lies inside the index or silo {parent}; choose another place")
    if not filesystem.exists(directory):
        return
    if not filesystem.is_directory(directory):
        raise InvalidError(f"{directory}: is a file; choose a new or empty directory")
    if any(filesystem.exists(directory / name) for name in COMMITS):
        raise InvalidError(f"{directory}: there is an index or silo already; choose a new or empty directory")
    if not all(_is_left_over(directory / name) for name in filesystem.list_directory(directory)):
        raise InvalidError(
            f"{directory}: not empty; choose a new or empty directory "
            "(what a backup has left that was killed may be removed)"
        )


def _is_left_over(path: Path) -> bool:
    """Whether it is something that `_cleared` leaves."""
    if path.name == LOCK:
        return True
    return filesystem.is_directory(path) and not filesystem.list_directory(path)


@holding
def _cleared(directories: list[Path]) -> Iterator[None]:
    """Remove the files in these directories if the block fails, as far as the system lets us."""
    try:
        yield
    except BaseException:
        with suppress(OSError):  # the first error counts
            for directory in filter(filesystem.is_directory, directories):
                _remove_files(directory)
        raise


def _remove_files(directory: Path) -> None:
    for name in filesystem.list_directory(directory):
        if name != LOCK and not filesystem.is_directory(directory / name):
            filesystem.remove(directory / name)
