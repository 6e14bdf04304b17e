"""Fixtures: silos that are checked when a test ends, and nothing left open behind it."""

import gc
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

OPEN_FILES = "/proc/self/fd"


def open_files() -> dict[str, str]:
    """Return the descriptors of this process that are regular files, and their paths; fonts may stay open."""
    found = {}
    for descriptor in os.listdir(OPEN_FILES) if os.path.exists(OPEN_FILES) else ():
        try:
            path = os.readlink(f"{OPEN_FILES}/{descriptor}")
        except FileNotFoundError:  # the one that lists
            continue
        if (
            path.startswith("/")
            and not path.startswith(("/dev/", "/proc/", "/memfd:"))
            and path[-4:] != ".ttf"
        ):
            found[descriptor] = path
    return found


def silo_threads() -> list[str]:
    """Return the names of living threads that silos have started."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("bitdex")]


LONGEST = "model", "planted_faults", "notebooks", "histories", "power_loss", "kill", "failing_calls", "cached"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest: no worker is to end with one while the other is idle."""
    items.sort(key=lambda item: not any(name in item.path.name for name in LONGEST))


def pytest_collection_finish() -> None:
    """Let the collector pass over what stays until the end: that was a tenth of the time of the models."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)


FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Remember whether the test failed: its traceback then keeps its variables alive."""
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


@pytest.fixture(autouse=True)
def nothing_left_open(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves files open or threads running."""
    before, threads = open_files(), silo_threads()
    yield
    left = open_files().items() - before.items()
    if left and not request.node.stash.get(FAILED, False):
        request.node.funcargs.clear()
        gc.collect()  # maps close with the last array that looks at them
        left = open_files().items() - before.items()
        assert not left, f"left open: {sorted(left)}"
    assert len(silo_threads()) <= len(threads), f"left running: {silo_threads()}"


class Silos:
    """Opens silos below one directory; what they leave there has to pass `check`."""

    def __init__(self, root: Path):
        self.root = root
        self.damaged = False  # a test that damages files says so
        self._opened: list[Any] = []

    def __call__(self, name: str = "silo", mode: str = "w", **options: Any) -> Any:
        from bitdex.silo.silo import Silo

        if not (self.root / name).exists():
            options.setdefault("rule", "concatenate")
        silo = Silo.open(self.root / name, mode, **{"sync": "none", **options})
        self._opened.append(silo)
        return silo

    def finish(self) -> None:
        """Close all silos, and check their directories."""
        from bitdex.silo.check import check_files

        findings = []
        if not self.damaged:
            writers = [silo for silo in self._opened if silo.mode == "w" and not silo._guard.closed]
            findings = [one for silo in writers for one in silo.check()]
        for silo in self._opened:
            silo.close()
        paths = {silo.files.directory: silo.files for silo in self._opened}
        self._opened.clear()
        if not self.damaged:
            findings += [one for files in paths.values() for one in check_files(files)]
        assert not findings, "\n".join(map(str, findings))


@pytest.fixture
def silos(tmp_path: Path) -> Iterator[Silos]:
    """Open silos with ``silos(name, mode, **options)``: by default one, for writing, that concatenates."""
    maker = Silos(tmp_path)
    yield maker
    maker.finish()


@pytest.fixture
def silo(silos: Silos) -> Any:
    """Return an empty silo that concatenates merges."""
    return silos()
