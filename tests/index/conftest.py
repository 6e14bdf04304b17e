"""Indexes below a temporary folder, closed and walked through when a test ends."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import bitdex
from bitdex.index import Index
from bitdex.silo.check import check_files


class Indexes:
    """Makes indexes below one directory; what they leave there has to pass `check`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.damaged = False  # a test that damages files says so
        self._opened: list[Index] = []

    def create(self, schema: Any, name: str = "index") -> Index:
        """Make an index that is open for writing."""
        index = bitdex.create(self.root / name, schema, sync="none")
        self._opened.append(index)
        return index

    def open(self, name: str = "index", mode: str = "r") -> Index:
        """Open an index that was made before."""
        index = bitdex.open(self.root / name, mode, sync="none")
        self._opened.append(index)
        return index

    def reopen(self, index: Index) -> Index:
        """Close an index and open it again for writing."""
        index.close()
        return self.open(index.path.name, "w")

    def load(
        self, schema: Any, phases: Any, files: Mapping[str, str], now: float = 0, name: str = "index"
    ) -> Index:
        """Make an index and load phases from files that are given as text."""
        index = self.create(schema, name)
        index.dump(phases, source=self.write(files, f"{name}-files"), now=now)
        return index

    def write(self, files: Mapping[str, str | bytes], name: str = "files") -> Path:
        """Write files into a directory of that name, and return it."""
        directory = self.root / name
        directory.mkdir(exist_ok=True)
        for file, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            (directory / file).write_bytes(data)
        return directory

    def finish(self) -> None:
        """Close all indexes, and check their silos."""
        for index in self._opened:
            index.close()
        silos = [silo.files for index in self._opened for silo in (index.documents.silo, index.bitmaps.silo)]
        self._opened.clear()
        if not self.damaged:
            findings = [
                one for files in {f.directory: f for f in silos}.values() for one in check_files(files)
            ]
            assert not findings, "\n".join(map(str, findings))


@pytest.fixture
def indexes(tmp_path: Path) -> Iterator[Indexes]:
    """Make, open and load indexes; `Indexes` says how."""
    maker = Indexes(tmp_path)
    yield maker
    maker.finish()
