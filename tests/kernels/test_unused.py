"""Directories of compiled kernels that nobody uses any more: removed, and nothing else."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bitdex.kernels import unused
from bitdex.kernels.unused import DAY, KEPT, USED, note_use, remove_unused

NOW = 2_000_000_000.0
NAMES = [f"numba-0.68.1-numpy-2.4.6-{digit * 16}-{digit * 8}" for digit in "0123456789"]
MINE = NAMES[0]


@pytest.fixture(autouse=True)
def nothing_noted(monkeypatch):
    monkeypatch.setattr(unused, "_noted", {})


def kernels(root, name, age, stamped=True):
    """Make a directory of kernels that was used so many seconds before NOW."""
    directory = root / name
    directory.mkdir()
    for file in ("layers.fold-12.py311.nbi", "layers.fold-12.py311.1.nbc", "order.walk-9.py311.nbi.tmp.0a1b"):
        (directory / file).write_bytes(b"code")
    if stamped:
        (directory / USED).touch()
        os.utime(directory / USED, (NOW - age, NOW - age))
    os.utime(directory, (NOW - age, NOW - age))
    return directory


def left(root):
    return sorted(os.listdir(root))


@pytest.mark.parametrize("stamped", [True, False], ids=["used", "written to"])
def test_what_was_not_used_for_long_is_removed(tmp_path, stamped):
    """The cache grew by some megabytes with every version, for ever."""
    ages = [0.0, KEPT - 1, KEPT, KEPT + 1, 10 * KEPT, -KEPT]  # the last one by a clock that is ahead
    for name, age in zip(NAMES, ages):
        kernels(tmp_path, name, age, stamped)
    assert remove_unused(tmp_path, NOW) == NAMES[2:5]
    assert left(tmp_path) == NAMES[:2] + NAMES[5:6]


def test_who_uses_a_directory_keeps_it_and_removes_others(tmp_path):
    mine, old = kernels(tmp_path, MINE, 2 * KEPT), kernels(tmp_path, NAMES[1], 2 * KEPT)
    note_use(mine, NOW)
    assert left(tmp_path) == [MINE] and not old.exists()
    assert (mine / USED).stat().st_mtime == NOW
    assert remove_unused(tmp_path, NOW + KEPT - 1) == []


def test_it_is_looked_after_once_a_day(tmp_path, monkeypatch):
    mine = kernels(tmp_path, MINE, DAY - 2)
    looked = []
    monkeypatch.setattr(unused, "remove_unused", lambda root, now, but: looked.append(now))
    for seconds in (0, 1, 3, DAY - 1, DAY, DAY + 1, 2 * DAY - 1, 2 * DAY):
        note_use(mine, NOW + seconds)
    assert looked == [NOW + DAY, NOW + 2 * DAY]
    monkeypatch.setattr(unused, "_noted", {})  # another process
    note_use(mine, NOW + 2 * DAY + 1)
    assert len(looked) == 2
    note_use(mine, NOW + 3 * DAY + 1)
    assert len(looked) == 3


FOREIGN = {
    "a file of somebody": lambda at: (at / NAMES[1] / "notes.txt").write_text("mine"),
    "a directory in it": lambda at: (at / NAMES[1] / "a.py311.1.nbc.d").mkdir(),
    "a directory like a kernel": lambda at: (at / NAMES[1] / "a.nbc").mkdir(),
    "a link in it": lambda at: (at / NAMES[1] / "a.nbc").symlink_to(at / "elsewhere"),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_what_holds_something_else_is_left_alone(tmp_path, what):
    old = kernels(tmp_path, NAMES[1], 2 * KEPT)
    FOREIGN[what](tmp_path)
    os.utime(old, (NOW - 2 * KEPT,) * 2)
    before = left(old)
    assert remove_unused(tmp_path, NOW) == []
    assert left(old) == before


def test_what_is_called_something_else_is_left_alone(tmp_path):
    others = ["numba-0.68.1-numpy-2.4.6", f"{NAMES[1]}-copy", f"x{NAMES[1]}", f"{NAMES[1]}.old", "numba"]
    for name in others:
        kernels(tmp_path, name, 2 * KEPT)
    (tmp_path / NAMES[2]).write_bytes(b"a file")
    os.utime(tmp_path / NAMES[2], (0, 0))
    assert remove_unused(tmp_path, NOW) == []
    assert left(tmp_path) == sorted([*others, NAMES[2]])


def test_what_a_link_leads_to_is_left_alone(tmp_path):
    (tmp_path / "root").mkdir()
    target = kernels(tmp_path, NAMES[1], 2 * KEPT)
    (tmp_path / "root" / NAMES[1]).symlink_to(target)
    assert remove_unused(tmp_path / "root", NOW) == []
    assert len(left(target)) == 4 and left(tmp_path / "root") == [NAMES[1]]


def test_what_belongs_to_another_user_is_left_alone(tmp_path, monkeypatch):
    kernels(tmp_path, NAMES[1], 2 * KEPT)
    monkeypatch.setattr(unused.os, "getuid", lambda: os.stat(tmp_path).st_uid + 1)
    assert remove_unused(tmp_path, NOW) == [] and left(tmp_path) == [NAMES[1]]


def test_a_removal_that_was_killed_is_finished_by_the_next(tmp_path, monkeypatch):
    mine, old = kernels(tmp_path, MINE, 0), kernels(tmp_path, NAMES[1], 2 * KEPT)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(unused.os, "unlink", raising(KeyboardInterrupt))
        remove_unused(tmp_path, NOW)
    assert not old.exists(), "nobody finds half of it"
    kernels(tmp_path, NAMES[1], 0)  # made anew meanwhile
    assert remove_unused(tmp_path, NOW) == [f"{NAMES[1]}.unused"]
    assert left(tmp_path) == [MINE, NAMES[1]] and len(left(mine)) == 4


@pytest.mark.parametrize("call", ["listdir", "lstat", "stat", "rename", "unlink", "rmdir", "utime", "open"])
def test_errors_are_nobodys_concern(tmp_path, monkeypatch, call):
    mine = kernels(tmp_path, MINE, 2 * DAY)
    kernels(tmp_path, NAMES[1], 2 * KEPT)
    kernels(tmp_path, NAMES[2], 2 * KEPT)
    with monkeypatch.context() as patched:
        patched.setattr(unused.os, call, raising(PermissionError(13, "told to fail")))
        note_use(mine, NOW)
        note_use(tmp_path / "there is none", NOW)
    assert len(left(mine)) == 4
    monkeypatch.setattr(unused, "_noted", {})
    note_use(mine, NOW + DAY)
    assert left(tmp_path) == [MINE]


def raising(error):
    def fail(*arguments):
        raise error

    return fail


def test_several_remove_at_once(tmp_path):
    for name in NAMES:
        kernels(tmp_path, name, 2 * KEPT)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: remove_unused(tmp_path, NOW), range(16)))
    remove_unused(tmp_path, NOW)
    assert left(tmp_path) == []


CALL = """
import sys
from bitdex.kernels import cache, jit, words
import numpy as np
one = jit.registry[0]
one.compile()
print(cache.cache_directory().name)
"""


def test_a_process_says_what_it_uses(tmp_path):
    """Both one that compiles and one that finds what is compiled; what is removed is compiled again."""
    old = kernels(tmp_path, NAMES[1], 2 * KEPT + 10 * 365 * DAY)
    name = run(tmp_path)
    mine = tmp_path / name
    assert left(tmp_path) == [name] and not old.exists()
    files = left(mine)
    assert USED in files and len(files) == 3
    os.utime(mine / USED, (0, 0))
    run(tmp_path)
    assert (mine / USED).stat().st_mtime > 0
    os.utime(mine / USED, (0, 0))
    assert remove_unused(tmp_path, NOW) == [name]
    run(tmp_path)
    assert left(mine) == files


def run(cache: Path) -> str:
    environment = {**os.environ, "BITDEX_CACHE_DIR": str(cache)}
    command = [sys.executable, "-c", CALL]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()
