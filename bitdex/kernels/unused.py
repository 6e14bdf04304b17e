"""Directories of compiled kernels that nobody uses any more.

Every version, processor and set of flags has a directory of its own, of some megabytes, and most are
never asked for again::

    ~/.cache/bitdex/
      numba-0.66.0-numpy-2.4.1-0123456789abcdef-01234567/
        used              an empty file: its time is when a process has last used the directory, to the day
        *.nbi, *.nbc      compiled kernels
      numba-...-01234567.unused/      being removed, or left by a process that died while it removed it

Once a day a process that uses its own directory says so, and removes those beside it that nobody has used
for `KEPT` seconds. A directory gets another name first, so that nobody finds half of it; a process that wants
it at that moment compiles anew. What does not look exactly as above is somebody else's and is left alone,
and so is everything where an error comes up: the worst that can happen is that something stays.
"""

import os
import re
import stat
import time
from contextlib import suppress
from pathlib import Path

DAY = 24 * 60 * 60.0
KEPT = 60 * DAY
USED = "used"
GOING = ".unused"

_OURS = re.compile(r"numba-[^/]+-numpy-[^/]+-[0-9a-f]{16}-[0-9a-f]{8}(\.unused)?")
_KERNEL = re.compile(r".+\.nb[ic](\.tmp\.[0-9a-f]+)?")
_noted: dict[Path, float] = {}  # when this process has last looked after a directory


def note_use(directory: Path, now: float | None = None) -> None:
    """Say that a directory is used, and remove those beside it that are not; at most once a day."""
    now = time.time() if now is None else now
    if abs(now - _noted.get(directory, -DAY)) < DAY:
        return
    with suppress(OSError):  # it is not there yet, or cannot be written
        if abs(now - _last_use(directory)) >= DAY or not (directory / USED).exists():
            _touch(directory / USED, now)
            remove_unused(directory.parent, now, directory.name)
        _noted[directory] = now


def remove_unused(root: Path, now: float, but: str = "") -> list[str]:
    """Remove the directories below `root` that nobody has used; return their names."""
    removed = []
    for name in sorted(os.listdir(root)):
        if name != but and _OURS.fullmatch(name):
            with suppress(OSError):
                if _remove(root / name, now):
                    removed.append(name)
    return removed


def _remove(directory: Path, now: float) -> bool:
    """Remove a directory of this user's that holds nothing but kernels, if it has not been used."""
    if not _is_own(directory) or not all(_is_kernel(directory / name) for name in os.listdir(directory)):
        return False
    if not directory.name.endswith(GOING):
        if now - _last_use(directory) < KEPT:
            return False
        going = directory.with_name(directory.name + GOING)
        os.rename(directory, going)  # refused where one of that name is still being removed
        directory = going
    for name in os.listdir(directory):
        os.unlink(directory / name)
    os.rmdir(directory)
    return True


def _is_own(directory: Path) -> bool:
    found = os.lstat(directory)  # a link leads elsewhere
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()


def _is_kernel(path: Path) -> bool:
    ours = path.name == USED or _KERNEL.fullmatch(path.name)
    return bool(ours) and stat.S_ISREG(os.lstat(path).st_mode)


def _last_use(directory: Path) -> float:
    """Return when a directory was last used; where nobody has said so, when it was last written to."""
    try:
        return os.stat(directory / USED).st_mtime
    except FileNotFoundError:
        return os.stat(directory).st_mtime


def _touch(path: Path, now: float) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    os.utime(path, (now, now))
