"""``schema.json``: the index definition, in every version it has had (`formats.sealed`).

::

    {"format": 2,
     "versions": [{"sequence": 0, "since": ..., "change": "created", "dropped": [], "schema": {...}},
                  {"sequence": 7, ...}]}

A version carries the sequence of the commit from which it counts. The file is written before that commit;
versions above the committed sequence belong to a change that was given up: they are not taken, and the
next writer takes them out. `dropped` are the numbers of fields that are no more; ``fields.bin`` only grows.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bitdex import filesystem
from bitdex.errors import CorruptError, VersionError
from bitdex.formats import sealed
from bitdex.schema import Schema

FORMAT = 2  # 1 was the definition alone


@dataclass(frozen=True)
class SchemaVersion:
    """An index definition and the commit from which it counts.

    Attributes
    ----------
    sequence : int
    since : str
        When it was made, ISO 8601.
    change : str
        What has made it of the version before.
    dropped : tuple of int
        The numbers of all fields that were dropped so far.
    definition : mapping
        As `Schema.to_mapping` gives it.
    """

    sequence: int
    since: str
    change: str
    dropped: tuple[int, ...]
    definition: Mapping[str, Any]

    @classmethod
    def of(cls, schema: Schema, sequence: int, change: str, dropped: tuple[int, ...] = ()) -> "SchemaVersion":
        """Return the version that a schema is from a commit on."""
        since = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(sequence, since, change, tuple(sorted(dropped)), schema.to_mapping())

    @property
    def schema(self) -> Schema:
        """The definition itself."""
        return Schema.load(self.definition)

    @property
    def version(self) -> int:
        """Its number, `Schema.version`."""
        return int(self.definition["data_schema"]["schema_version"])

    def __repr__(self) -> str:
        return f"<SchemaVersion {self.version} since {self.since}: {self.change}>"


class SchemaVersions:
    """The versions that count at a committed sequence, oldest first."""

    def __init__(self, path: Path, committed: int):
        self._path = path
        every = read(path)
        self._versions = [one for one in every if one.sequence <= committed]
        if not self._versions:
            raise CorruptError.at(path, 0, f"expected a version of commit {committed}, found none")
        self._given_up = len(every) > len(self._versions)

    @classmethod
    def create(cls, path: Path, schema: Schema) -> None:
        """Write the file of a new index."""
        _write(path, [SchemaVersion.of(schema, 0, "created")])

    def __iter__(self) -> Iterator[SchemaVersion]:
        return iter(tuple(self._versions))

    @property
    def last(self) -> SchemaVersion:
        """The version that counts."""
        return self._versions[-1]

    def dropped_since(self, sequence: int) -> set[int]:
        """Return the numbers of the fields that were dropped after a commit."""
        before = [one for one in self._versions if one.sequence <= sequence]
        return {*self.last.dropped} - {*before[-1].dropped}

    def record(self, version: SchemaVersion) -> None:
        """Add a version; it counts once its sequence is committed."""
        versions = [*self._versions, version]
        _write(self._path, versions)
        self._versions = versions

    def forget(self) -> None:
        """Take what was given up out of the file: later commits must not make it count."""
        if self._given_up:
            _write(self._path, self._versions)
            self._given_up = False


def _write(path: Path, versions: list[SchemaVersion]) -> None:
    content = {"format": FORMAT, "versions": [vars(one) for one in versions]}
    filesystem.write_whole(path, sealed.encode(content))


def read(path: Path) -> list[SchemaVersion]:
    """Return all versions in a file, those above the committed sequence too, or refuse it."""
    if not filesystem.exists(path):
        raise CorruptError.at(path, 0, "expected the index definition, found no file")
    content = sealed.decode(filesystem.read(path), str(path))
    if content.get("format") != FORMAT:
        raise VersionError(f"{path}: format version {content.get('format', 1)}; this package reads {FORMAT}")
    try:
        versions = [SchemaVersion(**entry) for entry in content["versions"]]
        for one in versions:
            _ = one.version
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptError.at(path, 0, f"expected the index definition, found {error!r}") from None
    return sorted(versions, key=lambda one: one.sequence)
