"""Filling: a store works on a small disk until that is full, and goes on when there is room again.

The disk is a directory under a `Quota`, or a real file system in memory (`MemoryDisk`), on which a store
through a map to space that was never allocated ends the process with SIGBUS.
"""

import errno
import json
import os
import subprocess
import sys
from contextlib import suppress
from itertools import count
from pathlib import Path

import pandas as pd
import pytest

from bitdex.errors import LockedError, WriteFailedError
from tests import macos
from tests.crash.cutting import SwallowedSyncs
from tests.crash.failing_work import IndexCourse, SiloCourse
from tests.crash.index_work import Load
from tests.scale import FIRST_SEED
from tests.system import Quota, install

PLENTY = 1 << 26
SILO_STEPS = ["put", *["merge"] * 7, "compact", "merge", "phase", "merge", "rewrite", "merge", "compact"] * 25
AFTERWARDS = 4  # steps that are done when there is room again


class QuotaDisk:
    """Room for some bytes below a directory, on a system that `put` puts below the seam."""

    def __init__(self, root, monkeypatch, put=install):
        self._quota = Quota(root, PLENTY)
        put(monkeypatch, self._quota, SwallowedSyncs())

    def leave(self, free):
        """Leave room for so many bytes more than there are."""
        self._quota.limit = self._quota.used + free

    def clear(self):
        """Make room."""
        self._quota.limit = PLENTY


class MemoryDisk:
    """A file system in memory that is mounted on a directory; only a user who may mount can make one."""

    def __init__(self, root):
        self._root = str(root)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={PLENTY}", "none", self._root], check=True)

    def leave(self, free):
        """Leave room for so many bytes more than there are."""
        found = os.statvfs(self._root)
        self._resize((found.f_blocks - found.f_bfree) * found.f_frsize + free)

    def clear(self):
        """Make room."""
        self._resize(PLENTY)

    def _resize(self, size):
        subprocess.run(["mount", "-o", f"remount,size={size}", "none", self._root], check=True)

    def remove(self):
        """Unmount it, as soon as nobody has a map of its files any more."""
        subprocess.run(["umount", "--lazy", self._root], check=True)


class Grown(Load):
    """A phase that is loaded anew with more and more rows."""

    def __init__(self, number):
        self.phase = "rows"
        rows = [(id, id % 5, "abcde"[id % 5], f"{number}" * 999) for id in range(20 * number)]
        self.table = self._source = pd.DataFrame(rows, columns=["id", "n", "kind", "url"])


def course_of(kind, path):
    """Return a course that is longer than the disk is large."""
    if kind == "index":
        return IndexCourse(path, [step for number in range(1, 30) for step in (Grown(number), "backup")], {})
    return SiloCourse(path, SiloCourse.draw(SILO_STEPS, FIRST_SEED), {})


def fill(kind, disk, root, free):
    """Work until the disk is full; return how many steps were acknowledged, after all that has to hold."""
    course = course_of(kind, root / "store")
    course.make(course.path)
    disk.leave(free)
    with suppress(OSError):
        course.open()
    done = _work(course) if course.writer is not None else 0
    course.close()
    allowed = {done, done + 1}
    _look(course, "r", allowed)
    with suppress(WriteFailedError):  # to open for writing may need room
        _look(course, "w", allowed)
    disk.clear()
    _go_on(course, allowed)
    return done


def _work(course):
    """Do steps until one fails; return how many were acknowledged."""
    for done in count():
        try:
            course.do(course.steps[done])
        except OSError as error:
            assert isinstance(error, WriteFailedError) and error.errno == errno.ENOSPC, repr(error)
            shown = course.prefixes(course.writer)
            assert {done, done + 1} & set(shown), f"is shown as after {shown} steps, {done} were acknowledged"
            if course.steps[done] != "backup":  # which leaves the store as it is
                _see_refusals(course, str(error))
                return done


def _see_refusals(course, failure):
    for write in course.ways_to_write():
        with pytest.raises(LockedError) as caught:
            write()
        assert failure in str(caught.value)


def _look(course, mode, allowed):
    """See that the store holds what it may hold, and return after which steps it does."""
    store = course.opened(mode)
    try:
        found = course.prefixes(store)
        assert allowed & set(found), f"holds what it held after {found} steps, not {allowed}"
        assert not course.errors(store)
        return found
    finally:
        store.close()


def _go_on(course, allowed):
    done = max(allowed & set(_look(course, "w", allowed)))
    course.open()
    try:
        for step in course.steps[done : done + AFTERWARDS]:
            course.do(step)
        assert done + AFTERWARDS in course.prefixes(course.writer)
    finally:
        course.close()


def may_mount(directory):
    """Whether a child process may mount a file system on a directory."""
    command = ["unshare", "-rm", "mount", "-t", "tmpfs", "-o", "size=64k", "none", str(directory)]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def fill_memory_disks(directory, kind, sizes, as_macos=False):
    """Fill real disks of these sizes, in a child process that may mount them; return what `fill` does."""
    ended = subprocess.run(
        ["unshare", "-rm", sys.executable, "-c", "from tests.crash.filling import main; main()"],
        input=json.dumps([str(directory), kind, list(sizes), as_macos]),
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, f"ended with {ended.returncode}: {ended.stderr[-9000:]}"
    return json.loads(ended.stdout)


def main():
    """Be that child."""
    directory, kind, sizes, as_macos = json.loads(sys.stdin.read())
    done = []
    if as_macos:
        macos.install(pytest.MonkeyPatch())
    for free in sizes:
        disk = MemoryDisk(directory)
        try:
            done.append(fill(kind, disk, Path(directory), free))
        except Exception as error:
            raise AssertionError(f"BITDEX_SEED={FIRST_SEED}, {free} bytes free") from error
        disk.remove()
    print(json.dumps(done))
