"""The files of one silo: their names, and which of two generations a commit means."""

from pathlib import Path

import numpy as np

from bitdex import filesystem
from bitdex.errors import CorruptError
from bitdex.formats import data, header, meta


class Lasting:
    """A file that is written in place as long as its directory is what it was.

    Where there is another one, as after a backup was restored, generations and sequences are those of
    another history. The map keeps the system from giving the number of this file to that one.

    Attributes
    ----------
    number : int
        That of the file (`filesystem.number`).
    """

    def __init__(self, path: Path):
        self._path, self.number = path, filesystem.number(path)  # before it is mapped
        self._mapped = filesystem.map_read(path)

    def lasts(self) -> bool:
        """Tell whether it is still there."""
        return filesystem.number(self._path) == self.number


class SiloFiles:
    """Names and generations of the files in a silo's directory: the same one wherever the process goes."""

    def __init__(self, directory: Path):
        self.directory = directory = directory.resolve()
        self.data = directory / "data.bin"
        self.index = directory / "index.bin"
        self.delta = directory / "index.delta"
        self.meta = directory / "meta.bin"
        self.logs = (directory / "ops_a.log", directory / "ops_b.log")

    @staticmethod
    def unfinished(path: Path) -> Path:
        """Return the name a file has until its commit is finished."""
        return path.with_name(path.name + ".new")

    def map_generation(self, path: Path, magic: bytes, generation: int) -> tuple[Path, np.ndarray] | None:
        """Map the file, finished or not, whose header has this generation; return its path and its bytes."""
        for candidate in (path, self.unfinished(path), path):  # again, for a rename in between
            mapped = _map_of_generation(candidate, magic, generation)
            if mapped is not None:
                return candidate, mapped
        return None

    def of_generation(self, path: Path, magic: bytes, generation: int) -> Path | None:
        """Return the file, finished or not, whose header has this generation, or None."""
        found = self.map_generation(path, magic, generation)
        return None if found is None else found[0]

    def finish(self, path: Path, magic: bytes, generation: int) -> None:
        """Give the file of this generation its final name."""
        if self.of_generation(path, magic, generation) == self.unfinished(path):
            filesystem.replace(self.unfinished(path), path)
            filesystem.sync_directory(self.directory)

    def drop_unfinished(self) -> None:
        """Remove the files of commits that were not finished; none that counts has such a name any more."""
        for path in filter(filesystem.exists, map(self.unfinished, (self.data, self.index, self.delta))):
            filesystem.remove(path)

    def look(self) -> tuple[object, ...]:
        """Return what is other when something was committed or a file was replaced since."""
        paths = (self.data, self.index, self.delta, *self.logs)
        meta = filesystem.read(self.meta) if filesystem.exists(self.meta) else b""
        return (meta, *map(filesystem.number, paths))

    def read_meta(self, at: int | None) -> np.ndarray:
        """Return the commit record to open at."""
        return meta.decode(filesystem.read(self.meta), at, str(self.meta))

    def write_meta(self, record: np.ndarray) -> None:
        """Write a commit record into the place that does not hold the newest."""
        descriptor = filesystem.open_write(self.meta)
        try:
            filesystem.write_at(descriptor, meta.encode(record), meta.place_of(record))
            filesystem.sync(descriptor)
        finally:
            filesystem.close(descriptor)

    def map_data(self, generation: int, identity: int, end: int) -> np.ndarray:
        """Map the data file of a generation up to its committed end; check that it belongs here."""
        return self.map_whole(generation, identity, end)[1][:end]

    def map_whole(self, generation: int, identity: int, end: int) -> tuple[Path, np.ndarray]:
        """Map the data file of a generation as far as it goes, at least to its committed end.

        The map stays what it is when a writer puts another file in the place of this one.
        """
        found = self.map_generation(self.data, data.MAGIC, generation)
        if found is None:
            raise CorruptError(f"{self.data}: expected generation {generation}, found none")
        path, mapped = found
        head = data.decode_header(mapped, str(path))
        if int(head["identity"]) != identity:
            raise CorruptError.at(
                path, 16, f"expected identity {identity}, found {head['identity']} (another store's file)"
            )
        if len(mapped) < end:
            raise CorruptError(f"{path}: expected at least {end} bytes, found {len(mapped)}")
        return path, mapped


def _map_of_generation(path: Path, magic: bytes, generation: int) -> np.ndarray | None:
    """Return the bytes of a file whose header holds and has this generation; None where there is none."""
    try:
        mapped = filesystem.map_read(path)
        found = int(header.decode(mapped, magic, 1, str(path))["generation"])
    except (FileNotFoundError, CorruptError):
        return None
    return mapped if found == generation else None
