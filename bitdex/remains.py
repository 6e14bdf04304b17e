"""Remains: what lies in a directory in which there is no ``commit.bin``.

A creation that died leaves files of an index to which nothing was ever committed; the next one puts its own
in their place. All else belongs to somebody: to an index that has lost its ``commit.bin``, or not to us.
"""

from collections.abc import Callable
from pathlib import Path

from bitdex import filesystem, phase_log, schema_versions
from bitdex.errors import BitdexError, InvalidError, NotFoundError
from bitdex.formats import dictionary, oplog, registry
from bitdex.silo.files import SiloFiles

BITMAPS, DOCUMENTS, LOCK = "bitmaps", "documents", "writer.lock"
SILO_FILES = {"meta.bin", "ops_a.log", "ops_b.log", LOCK}  # of an empty one


def check_vacant(directory: Path) -> None:
    """Raise `InvalidError` if something lies in a directory that a new index would take the place of."""
    names = filesystem.list_directory(directory) if filesystem.exists(directory) else []
    if {*_whole(names)} - {*_HOLDS, LOCK}:
        raise InvalidError(
            f"{directory}: the directory is not empty; open the index in it, or choose another"
        )
    held = _held(directory, names)
    if held is not None:
        raise InvalidError(
            f"{directory}: the directory is not empty; if {held} is of an index that has lost its "
            "commit.bin, restore a backup, else choose another directory"
        )


def missing(directory: Path) -> NotFoundError:
    """Return the error of who looks for an index in a directory without a ``commit.bin``."""
    names = filesystem.list_directory(directory) if filesystem.is_directory(directory) else []
    held = _held(directory, [name for name in names if name != "schema.json"])  # that may be anybody's
    remedy = "bitdex.create makes one"
    if held is not None:
        remedy = f"if {held} is of one that has lost it, restore a backup"
    return NotFoundError(f"{directory}: there is no index here (no commit.bin); {remedy}")


def _held(directory: Path, names: list[str]) -> str | None:
    """Return the name of a file or silo that holds something, or cannot be read; None if there is none."""
    return next((name for name in names if name in _HOLDS and _holds(directory / name)), None)


def _holds(path: Path) -> bool:
    try:
        return _HOLDS[path.name](path)
    except (BitdexError, OSError):  # not written by a creation, which leaves whole files
        return True


def _silo_holds(directory: Path) -> bool:
    files, names = SiloFiles(directory), {*_whole(filesystem.list_directory(directory))}
    if names - SILO_FILES:
        return True
    logs = [path for path in files.logs if path.name in names]
    if any(len(filesystem.read(path)) != oplog.START for path in logs):
        return True
    return files.meta.name in names and int(files.read_meta(None)["commit"][0]) > 0


def _whole(names: list[str]) -> list[str]:
    """Return names without those that files have until they are whole (`filesystem.write_whole`)."""
    starts = tuple(f".{name}." for name in (*_HOLDS, *SILO_FILES, "commit.bin"))
    return [name for name in names if not name.startswith(starts)]


_HOLDS: dict[str, Callable[[Path], bool]] = {
    "schema.json": lambda path: len(schema_versions.read(path)) > 1,
    "fields.bin": lambda path: bool(registry.decode(filesystem.read(path), None, str(path))),
    "dictionaries.bin": lambda path: bool(dictionary.decode(filesystem.read(path), None, str(path))),
    "dumps.json": lambda path: bool(phase_log.read(path)),
    DOCUMENTS: _silo_holds,
    BITMAPS: _silo_holds,
}
