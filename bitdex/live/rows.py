"""Rows: documents that come as a table or one after the other."""

from collections.abc import Iterable, Mapping
from typing import Any

from bitdex.errors import InvalidError


def rows_of(documents: Any) -> Iterable[Mapping[str, Any]]:
    """Return documents as mappings, without the columns that are null in a row of a table.

    Parameters
    ----------
    documents : DataFrame, Arrow table, or iterable of mappings
    """
    if isinstance(documents, Mapping | str | bytes):
        raise InvalidError("documents: expected several, found one; put takes one document")
    table = _table(documents)
    if table is None:
        if not isinstance(documents, Iterable):
            raise InvalidError(f"documents: expected a table or mappings, found {type(documents).__name__}")
        return documents
    if "id" not in table.column_names:
        raise InvalidError(f'documents: no column "id" among {", ".join(table.column_names)}')
    return ({name: value for name, value in row.items() if value is not None} for row in _rows(table))


def _table(documents: Any) -> Any:
    """Return an Arrow table of the same columns, or None where it is no table."""
    kind = type(documents).__module__.partition(".")[0]
    if kind == "pandas":
        import pyarrow as pa

        if documents.index.name == "id" and "id" not in documents.columns:
            documents = documents.reset_index()
        return pa.Table.from_pandas(documents, preserve_index=False)
    if kind == "pyarrow" or hasattr(documents, "__arrow_c_stream__"):
        import pyarrow as pa

        return documents if isinstance(documents, pa.Table) else pa.table(documents)
    return None


def _rows(table: Any) -> Iterable[dict[str, Any]]:
    for batch in table.to_batches(max_chunksize=10_000):
        yield from batch.to_pylist()
