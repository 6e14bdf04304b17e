"""Tables that have columns already, in blocks: Parquet and Arrow files, DataFrames, Arrow tables."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bitdex.dump.blocks import EXAMPLES, Block, Rejects
from bitdex.dump.casts import cast_column, shown
from bitdex.dump.cells import EXPECTED
from bitdex.errors import InvalidError

ROWS = 1 << 19  # rows taken at a time


class ArrowSource:
    """A table that already has columns: Arrow batches, cast to the kinds that are wanted."""

    def __init__(self, batches: Iterator[pa.RecordBatch], kinds: Mapping[str, str], what: str, size: int):
        self.kinds, self.what, self.size = dict(kinds), what, size
        self._batches = batches

    def blocks(self) -> Iterator[Block]:
        """Yield the table batch by batch."""
        row = 1
        for batch in self._batches:
            for start in range(0, batch.num_rows, ROWS):
                part = batch.slice(start, ROWS)
                block = self._block(part, row)
                row += part.num_rows
                yield block

    def _block(self, batch: pa.RecordBatch, first: int) -> Block:
        usable, rejects, columns = np.ones(batch.num_rows, bool), Rejects(), {}
        check_names(batch.schema.names, self.kinds, self.what)
        for name, kind in self.kinds.items():
            columns[name], good = cast_column(f"{self.what}: column {name!r}", batch.column(name), kind)
            bad = np.flatnonzero(~good & usable)
            if len(bad):
                cells = batch.column(name)
                examples = [f"row {first + i}: {name} = {shown(cells[int(i)])}" for i in bad[:EXAMPLES]]
                rejects.add(f"{name}: not {EXPECTED[kind]}", examples, len(bad))
            usable &= good
        if rejects.total:
            columns = {name: array.filter(pa.array(usable)) for name, array in columns.items()}
        return Block(columns, int(usable.sum()), batch.nbytes, first, rejects)


def check_names(found: Sequence[str], wanted: Iterable[str], what: str) -> None:
    """Refuse a table that has not all columns that are wanted, each once."""
    for name in wanted:
        if found.count(name) != 1:
            often = "there several times" if name in found else "not there"
            raise InvalidError(f"{what}: column {name!r} is {often}; it has {', '.join(found)}")


def open_arrow(path: Path, wanted: Sequence[str], what: str) -> Iterator[pa.RecordBatch]:
    """Open a file, to read these columns: of a Parquet file no others are decoded."""
    if path.suffix == ".parquet":
        import pyarrow.parquet as parquet

        file = parquet.ParquetFile(path)
        check_names(file.schema_arrow.names, wanted, what)
        return file.iter_batches(batch_size=ROWS, columns=list(wanted))
    reader = pa.ipc.open_file(pa.memory_map(str(path)))
    return (reader.get_batch(i) for i in range(reader.num_record_batches))


def as_batches(table: Any, what: str) -> Iterator[pa.RecordBatch]:
    """Return the batches of a table in memory."""
    try:
        return _batches_of(table, what)
    except InvalidError:
        raise
    except (ValueError, TypeError, OverflowError, pa.ArrowException) as error:
        raise InvalidError(f"{what}: the columns of the table cannot be used: {error}") from None


def _batches_of(table: Any, what: str) -> Iterator[pa.RecordBatch]:
    if isinstance(table, pa.Table):
        return iter(table.to_batches(max_chunksize=ROWS))
    if hasattr(table, "__arrow_c_stream__"):
        return iter(pa.RecordBatchReader.from_stream(table))
    if hasattr(table, "columns") and hasattr(table, "iloc"):
        return iter(pa.Table.from_pandas(table, preserve_index=False).to_batches(max_chunksize=ROWS))
    if isinstance(table, Mapping):
        return iter(pa.table(dict(table)).to_batches(max_chunksize=ROWS))
    raise InvalidError(f"{what}: {type(table).__name__} is no path, DataFrame or Arrow table")


def bytes_of(table: Any) -> int:
    return int(getattr(table, "nbytes", 0) or 0)
