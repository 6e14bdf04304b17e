"""Stored bytes of published formats, one file a case: ``tests/golden/<format>/<version>/<case>.bin``.

A module of tests registers how a case is made today and compares it with what was stored
when the format was published. ``python -m tests.formats.goldens --write`` stores cases
that have no file yet; an existing file is never changed, because a published format
never changes meaning. A missing file is a failure.
"""

import importlib
import pkgutil
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent / "golden"

_cases: dict[tuple[str, str, str], Callable[[], bytes]] = {}


def register(format_name: str, version: str, case: str) -> Callable:
    """Register the function below as the maker of a case's bytes."""

    def add(make: Callable[[], bytes]) -> Callable[[], bytes]:
        _cases[format_name, version, case] = make
        return make

    return add


def cases(format_name: str, version: str = "v1") -> dict[str, Callable[[], bytes]]:
    """Return the registered cases of a format and how they are made."""
    return {case: make for (name, at, case), make in _cases.items() if (name, at) == (format_name, version)}


def golden(format_name: str, case: str, version: str = "v1") -> bytes:
    """Return the stored bytes of a case."""
    path = _path(format_name, version, case)
    assert path.exists(), f"{path} is missing; `python -m tests.formats.goldens --write` stores new cases"
    return path.read_bytes()


def stored(format_name: str, version: str = "v1") -> set[str]:
    """Return the names of the cases that have a file."""
    return {path.stem for path in (ROOT / format_name / version).glob("*.bin")}


def _path(format_name: str, version: str, case: str) -> Path:
    return ROOT / format_name / version / f"{case}.bin"


def write() -> list[Path]:
    """Import every module of format tests and store the cases that have no file; return their paths."""
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if module.name.startswith("test_"):
            importlib.import_module(f"tests.formats.{module.name}")
    new = [(_path(*key), make) for key, make in _cases.items() if not _path(*key).exists()]
    for path, make in new:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make())
    return [path for path, _ in new]


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit(__doc__)
    from tests.formats import goldens  # the registry that the tests fill, not that of __main__

    print(*goldens.write(), sep="\n")
