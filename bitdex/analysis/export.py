"""Export: the documents of a set as Arrow record batches, one after the other, in bounded memory."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bitdex import filesystem
from bitdex.documents import DocSilo
from bitdex.errors import InvalidError
from bitdex.frames import extra_kinds, to_arrow

ROWS = 65_536  # of a batch


def columns_of(documents: DocSilo, fields: Sequence[str] | str | None) -> list[str]:
    """Return the names of the columns beside ``id``: those chosen, or all fields that the schema stores."""
    if isinstance(fields, str):
        raise InvalidError(f"fields: expected a list of names, found {fields!r}; write [{fields!r}]")
    if fields is None or list(fields) == ["*"]:
        return [one.name for one in documents.schema.fields.values() if one.stored and one.name != "id"]
    return [documents.known(name) for name in fields]


def reader(
    documents: DocSilo, slots: np.ndarray, fields: Sequence[str] | None, size: int = ROWS
) -> pa.RecordBatchReader:
    """Return the documents of slots (uint32), in their order, as a stream of batches of one schema."""
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
        raise InvalidError(f"size: {size!r} is no number of rows of at least 1")
    names = columns_of(documents, fields)
    cuts = range(0, len(slots), size)
    values = (documents.source.get_many(slots[first : first + size]) for first in cuts)
    kinds = extra_kinds(documents, names, values)  # which looks at all documents if there are such fields
    schema = to_arrow(documents, slots[:0], names, kinds).schema

    def batches() -> Iterator[pa.RecordBatch]:
        for first in cuts:
            table = to_arrow(documents, slots[first : first + size], names, kinds).cast(schema)
            yield from table.combine_chunks().to_batches()

    return pa.RecordBatchReader.from_batches(schema, batches())


def write_parquet(path: str | Path, stream: pa.RecordBatchReader, **options: Any) -> int:
    """Write a stream into a Parquet file, a row group a batch, whole or not at all; return the rows."""
    import pyarrow.parquet as pq

    target = Path(path)
    if not filesystem.is_directory(target.parent):
        raise InvalidError(f"{path}: there is no directory {target.parent}; make it first")
    rows, unfinished = 0, target.with_name(f".{target.name}.unfinished")
    try:
        with pq.ParquetWriter(unfinished, stream.schema, **options) as writer:
            for batch in stream:
                writer.write_batch(batch)
                rows += batch.num_rows
        filesystem.replace(unfinished, target)
    finally:
        filesystem.remove(unfinished)
    return rows
