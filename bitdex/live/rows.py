"""Rows: documents that come as a table or one after the other, and the ids that they can have."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from bitdex.errors import InvalidError
from bitdex.query.cursor import LARGEST_SLOT


def table_of(documents: Any) -> Any:
    """Return the documents of a DataFrame or of anything Arrow reads as an Arrow table; None for others."""
    kind = type(documents).__module__.partition(".")[0]
    if kind == "pandas":
        import pyarrow as pa

        if documents.index.name == "id" and "id" not in documents.columns:
            documents = documents.reset_index()
        try:
            table = pa.Table.from_pandas(documents, preserve_index=False)
        except (pa.ArrowException, ValueError, OverflowError) as error:
            raise InvalidError(f"documents: the columns cannot be used: {error}") from None
    elif kind == "pyarrow" or hasattr(documents, "__arrow_c_stream__"):
        import pyarrow as pa

        table = documents if isinstance(documents, pa.Table) else pa.table(documents)
    else:
        return None
    names = table.column_names
    if "id" not in names:
        raise InvalidError(f'documents: no column "id" among {", ".join(names)}')
    if len(set(names)) < len(names):
        raise InvalidError(f"documents: a column is there several times among {', '.join(names)}")
    return table


def rows_of(documents: Any) -> list[Any]:
    """Return the documents of an Arrow table or an iterable one by one; nulls of a table are left out."""
    if isinstance(documents, Mapping | str | bytes):
        raise InvalidError("documents: expected several, found one; put takes one document")
    if hasattr(documents, "to_pylist"):
        names = documents.column_names
        rows = zip(*(listed(name, documents.column(name)) for name in names))
        return [{n: value for n, value in zip(names, row) if value is not None} for row in rows]
    if not isinstance(documents, Iterable):
        raise InvalidError(f"documents: expected a table or mappings, found {type(documents).__name__}")
    return list(documents)


def listed(name: str, column: Any) -> list[Any]:
    """Return the values of a column, as Python has them."""
    try:
        return column.to_pylist()
    except (ValueError, OverflowError) as error:  # bytes that are no text, moments beyond those of Python
        raise InvalidError(f"field {name!r}: a value of the column cannot be used: {error}") from None


def columns_of(rows: list[Any], needed: str = "id") -> Any:
    """Return mappings as an Arrow table; None if they do not make columns of one type each, or lack one."""
    import pyarrow as pa

    if not all(isinstance(row, Mapping) for row in rows):
        return None
    names = dict.fromkeys(name for row in rows for name in row)
    try:
        columns = {name: pa.array([row.get(name) for row in rows]) for name in names}
    except (pa.ArrowException, OverflowError, TypeError, ValueError):
        return None
    return pa.table(columns) if needed in columns else None


def is_slot(id: Any) -> bool:
    """Tell whether a document can have this id."""
    whole = isinstance(id, int | np.integer) and not isinstance(id, bool)
    return whole and bool(0 <= id <= LARGEST_SLOT)


def slot_of(id: Any) -> int:
    """Return an id as the slot of its document, or refuse it."""
    if not is_slot(id):
        raise InvalidError(f"id: {id!r} is no whole number from 0 to {LARGEST_SLOT}")
    return int(id)
