"""Compiled kernels on disk: of this version, this machine and this user, or not kept at all."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import bitdex
from bitdex.kernels import cache

PACKAGE = Path(bitdex.__file__).parent
CALL = """
import numpy as np
from bitdex.kernels import layers, probes  # what is imported first counts
{between}
from bitdex.kernels import scratchpad
print(scratchpad.limited(7 * np.ones(1, np.int64)))
"""
KERNEL = """
from bitdex.kernels.jit import i64, kernel, r_i64
LIMIT = {limit}

@kernel(r_i64, returns=i64)
def limited(values):
    return min(values[0], LIMIT)
"""


@pytest.fixture
def package(tmp_path):
    """Return a copy of the package that has one more kernel."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, tmp_path / "lib" / "bitdex", ignore=ignored)
    (tmp_path / "lib/bitdex/kernels/scratchpad.py").write_text(KERNEL.format(limit=5))
    return tmp_path / "lib"


def run(package, code, **environment):
    environment = {"BITDEX_CACHE_DIR": str(package.parent / "cache"), **environment}
    wanted = {name: value for name, value in (os.environ | environment).items() if value is not None}
    command = [sys.executable, "-B", "-c", code]
    done = subprocess.run(
        command, env=wanted | {"PYTHONPATH": str(package)}, capture_output=True, text=True, cwd=package.parent
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr


def test_what_is_compiled_behind_an_upgrade_is_not_taken_for_the_new_version(package):
    """The digest was taken of the files at the first call: old code lay under the new name for ever."""
    upgraded = f"""
import pathlib
from bitdex.kernels import scratchpad
pathlib.Path(scratchpad.__file__).write_text({KERNEL.format(limit=3)!r})
"""
    assert run(package, CALL.format(between=upgraded))[0] == "5"
    assert run(package, CALL.format(between=""))[0] == "3"
    assert len(list((package.parent / "cache").iterdir())) == 2, "a directory for each"


def test_kernels_are_compiled_once_and_a_damaged_one_again(package):
    code = CALL.format(between="")
    assert "compiling kernels" in run(package, code)[1]
    assert run(package, code) == ("5", "")
    for path in (package.parent / "cache").rglob("*scratchpad*.nbc"):
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    found, said = run(package, code)
    assert found == "5" and "compiling kernels" in said


def test_nothing_is_kept_where_there_is_no_home(package, monkeypatch):
    """The directory was one of the name ~ below the current one, from which pickles were run."""
    code = "import os.path; os.path.expanduser = lambda path: path\n" + CALL.format(between="")
    found, said = run(package, code, BITDEX_CACHE_DIR=None, XDG_CACHE_HOME=None)
    assert found == "5" and "BITDEX_CACHE_DIR can name another" in said
    assert not (package.parent / "~").exists()


def test_a_cache_that_cannot_be_written_is_told_of_once(package):
    (package.parent / "cache").write_text("no directory")
    again = "layers.r = [one.compile() for one in __import__('bitdex.kernels.jit').kernels.jit.registry[:3]]"
    found, said = run(package, CALL.format(between=again))
    assert found == "5" and said.count("not cached") == 1


def test_nothing_is_kept_without_sources_to_tell_versions_by(monkeypatch, capsys):
    monkeypatch.setattr(cache, "SOURCES", None)
    monkeypatch.setattr(cache, "told", set())
    cache.cache_directory.cache_clear()
    assert cache.cache_directory() is None and cache.cache_of(run, False) is None
    assert "sources of this package" in capsys.readouterr().err
    cache.cache_directory.cache_clear()


def test_machines_of_other_processors_have_directories_of_their_own(monkeypatch):
    cache.cache_directory.cache_clear()
    mine = cache.cache_directory()
    monkeypatch.setattr(cache.llvm, "get_host_cpu_name", lambda: "another")
    cache.cache_directory.cache_clear()
    assert mine is not None and cache.cache_directory() not in (mine, None)
    cache.cache_directory.cache_clear()
