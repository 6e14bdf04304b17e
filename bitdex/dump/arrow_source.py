"""Tables that have columns already, in blocks: Parquet and Arrow files, DataFrames, Arrow tables."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bitdex.dump.blocks import EXAMPLES, Block, Rejects
from bitdex.dump.cells import EXPECTED, TYPES, convert_text
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
        for name, kind in self.kinds.items():
            if name not in batch.schema.names:
                raise InvalidError(
                    f"{self.what}: column {name!r} is not there; it has {', '.join(batch.schema.names)}"
                )
            columns[name], good = _cast(batch.column(name), kind)
            bad = np.flatnonzero(~good & usable)
            if len(bad):
                cells = batch.column(name)
                shown = [f"row {first + i}: {name} = {cells[int(i)].as_py()!r}" for i in bad[:EXAMPLES]]
                rejects.add(f"{name}: not {EXPECTED[kind]}", shown, len(bad))
            usable &= good
        if rejects.total:
            columns = {name: array.filter(pa.array(usable)) for name, array in columns.items()}
        return Block(columns, int(usable.sum()), batch.nbytes, first, rejects)


def _cast(array: pa.Array, kind: str) -> tuple[pa.Array, np.ndarray]:
    """Return a column in the wanted kind, and which rows fit it."""
    everything = np.ones(len(array), bool)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        return array, everything
    if (
        pa.types.is_string(array.type)
        or pa.types.is_large_string(array.type)
        or array.type == pa.string_view()
    ):
        return convert_text(_without_empty(array.cast(pa.string())), kind)
    if kind == "boolean" and pa.types.is_integer(array.type):
        good = pc.or_(pc.is_in(array, pa.array([0, 1], array.type)), pc.is_null(array))
        return array.cast(pa.bool_()), np.asarray(good)
    if kind == "any" or array.type == TYPES[kind]:
        return array, everything
    if pa.types.is_floating(array.type) and kind == "integer":
        return _whole_numbers(array)
    if (pa.types.is_timestamp(array.type) or pa.types.is_date(array.type)) and kind == "integer":
        return _seconds(array), everything
    try:
        return array.cast(TYPES[kind]), everything
    except pa.ArrowInvalid:
        return convert_text(array.cast(pa.string()), kind)


def _seconds(moments: pa.Array) -> pa.Array:
    """Return moments as seconds since 1970, rounded down; those without a zone are UTC."""
    moments = moments.cast(pa.timestamp("ms")) if pa.types.is_date(moments.type) else moments
    return pc.floor_temporal(moments, unit="second").cast(pa.timestamp("s", moments.type.tz)).cast(pa.int64())


def _without_empty(texts: pa.Array) -> pa.Array:
    """Return texts with null for empty ones, as an empty cell of a text file is."""
    empty = pc.equal(pc.binary_length(texts), 0)
    return pc.if_else(empty, None, texts) if pc.any(empty).as_py() else texts


def _whole_numbers(array: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Take floats that are whole as integers: pandas keeps integers with gaps as floats, and gaps as NaN."""
    empty = pc.or_(pc.is_null(array), pc.fill_null(pc.is_nan(array), False))
    whole = pc.fill_null(pc.and_(pc.equal(pc.floor(array), array), pc.less(pc.abs(array), 2.0**63)), False)
    good = pc.or_(empty, whole)
    return pc.if_else(whole, array, None).cast(pa.int64()), np.asarray(good)


def open_arrow(path: Path) -> Iterator[pa.RecordBatch]:
    if path.suffix == ".parquet":
        import pyarrow.parquet as parquet

        return parquet.ParquetFile(path).iter_batches(batch_size=ROWS)
    reader = pa.ipc.open_file(pa.memory_map(str(path)))
    return (reader.get_batch(i) for i in range(reader.num_record_batches))


def as_batches(table: Any, what: str) -> Iterator[pa.RecordBatch]:
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
