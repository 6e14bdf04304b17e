"""Where the tables of a dump are: files in a directory, or frames by name."""

from collections.abc import Mapping, Sequence, Sized
from pathlib import Path
from typing import Any

import pyarrow as pa

from bitdex import filesystem
from bitdex.dump.arrow_source import ArrowSource, as_batches, bytes_of, open_arrow
from bitdex.dump.phases import Level, Phase
from bitdex.dump.text_source import TextSource
from bitdex.errors import InvalidError, NotFoundError

SUFFIXES = ("csv", "tsv", "parquet", "arrow", "feather")


class Sources:
    """The tables of a dump.

    Parameters
    ----------
    source : path, or mapping of name to table, or None
        A directory with one file a phase (``NAME.csv``, ``.tsv``, ``.parquet``, ``.arrow``)
        and a lookup's file under the name it has in the configuration; or DataFrames,
        Arrow tables and paths by phase and lookup name; or nothing, when the phases
        name their files themselves.
    """

    def __init__(self, source: Any):
        self._tables = dict(source) if isinstance(source, Mapping) else None
        self._directory = Path(source) if isinstance(source, str | Path) else None
        if self._tables is None and self._directory is None and source is not None:
            raise InvalidError(
                f"source: expected a directory or tables by name, found {type(source).__name__}"
            )

    def open(self, level: Level, kinds: Mapping[str, str]) -> TextSource | ArrowSource:
        """Open the table of a phase or lookup, to read these columns."""
        what = _named(level)
        table = self._find(level, what)
        tab = level.format == "tsv" or (isinstance(table, Path) and table.suffix == ".tsv")
        return open_source(table, kinds, level.columns, "\t" if tab else ",", what)

    def repeatable(self, level: Level) -> bool:
        """Tell whether a table can be read more than once; a stream or generator cannot."""
        table = self._find(level, _named(level))
        if isinstance(table, Mapping):
            return all(isinstance(column, Sized) for column in table.values())
        return isinstance(table, (Path, pa.Table, pa.RecordBatch)) or hasattr(table, "iloc")

    def size(self, level: Level) -> int:
        """Return the bytes of a table, 0 where it has none on disk."""
        table = self._find(level, _named(level))
        return filesystem.size(table) if isinstance(table, Path) else 0

    def _find(self, level: Level, what: str) -> Any:
        name = level.name if isinstance(level, Phase) else Path(level.source or "").stem
        if self._tables is not None:
            for key in (name, level.source):
                if key in self._tables:
                    table = self._tables[key]
                    return self._existing([Path(table)], what) if isinstance(table, str | Path) else table
            raise NotFoundError(
                f"{what}: there is no table {name!r} in source; it has {', '.join(self._tables)}"
            )
        if level.source is not None:
            return self._existing(
                [self._directory / level.source if self._directory else Path(level.source)], what
            )
        suffixes = dict.fromkeys([level.format, *SUFFIXES])
        directory = self._directory or Path(".")
        return self._existing([directory / f"{name}.{suffix}" for suffix in suffixes], what)

    @staticmethod
    def _existing(paths: list[Path], what: str) -> Path:
        for path in paths:
            if filesystem.exists(path):
                return path
        raise NotFoundError(f"{what}: there is no file {' or '.join(str(path) for path in paths[:3])}")


def open_source(
    table: Any, kinds: Mapping[str, str], names: Sequence[str], delimiter: str, what: str
) -> TextSource | ArrowSource:
    """Return a source for a path, a DataFrame, an Arrow table or anything that exports an Arrow stream.

    Parameters
    ----------
    table : path or table
    kinds : mapping
        The columns wanted, each with a kind of `cells.TYPES`.
    names : sequence of str
        Column names of a text file without header; empty if the header tells them.
    delimiter : str
    what : str
        Names the table in errors.
    """
    if isinstance(table, str | Path):
        path = Path(table)
        if not filesystem.exists(path):
            raise NotFoundError(f"{what}: there is no file {path}")
        if path.suffix in (".parquet", ".arrow", ".feather"):
            try:
                return ArrowSource(open_arrow(path, list(kinds), what), kinds, what, filesystem.size(path))
            except (pa.ArrowInvalid, OSError) as error:
                raise InvalidError(f"{what}: {path} cannot be read: {error}") from None
        return TextSource(path, kinds, names, delimiter, what)
    return ArrowSource(as_batches(table, what), kinds, what, bytes_of(table))


def _named(level: Level) -> str:
    return f"phase {level.name!r}" if isinstance(level, Phase) else f"lookup {level.source!r}"
