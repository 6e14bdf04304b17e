"""Rows: documents that come as a table or one after the other, and the ids that they can have."""

import datetime
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
from pyroaring import AbstractBitMap

from bitdex.errors import InvalidError
from bitdex.query.cursor import LARGEST_SLOT
from bitdex.silo.integers import as_integers, is_whole, shown

_INTEGERS = {np.dtype(code).type for code in "bhilqBHILQ"}
ONE_EACH: set[type] = {bool, int, float, str, datetime.date, datetime.datetime, np.float32, np.float64}
ONE_EACH |= _INTEGERS  # types of which a column holds what each value by itself would become


def table_of(documents: Any) -> Any:
    """Return the documents of a DataFrame or of anything Arrow reads as an Arrow table; None for others.

    None also for a DataFrame of which a column holds values of several types: `rows_of` keeps them apart.
    """
    kind = type(documents).__module__.partition(".")[0]
    if kind == "pandas":
        table = _table_of_frame(_with_ids(documents))
        if table is None:
            return None
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
    if type(documents).__module__.partition(".")[0] == "pandas":
        frame = _with_ids(documents)
        columns = [_objects(column) for _, column in frame.items()]
        pairs = (zip(frame.columns, row) for row in zip(*columns))
        return [{name: value for name, value in row if value is not None} for row in pairs]
    if hasattr(documents, "to_pylist"):
        rows = _rows_of_table(documents)
        return [{name: value for name, value in row.items() if value is not None} for row in rows]
    if not isinstance(documents, Iterable):
        raise InvalidError(f"documents: expected a table or mappings, found {type(documents).__name__}")
    return list(documents)


def columns_of(rows: list[Any], names: Collection[str], needed: str = "id") -> Any:
    """Return mappings as an Arrow table of those of some columns that they have; other keys are left out.

    None if a column would make other values of them than they are (`array_of`), or one that is needed lacks.
    """
    import pyarrow as pa

    if not all(isinstance(row, Mapping) for row in rows):
        return None
    columns = {}
    for name in names:
        values = [row.get(name) for row in rows]
        if name == needed or any(value is not None for value in values):
            columns[name] = array_of(values)
            if columns[name] is None:
                return None
    return pa.table(columns)


def array_of(values: list[Any]) -> Any:
    """Return values, None for none, as an Arrow array; None unless all have one type that stays what it is.

    Arrow makes a date of a moment, and a number of a boolean, where others in the column are such.
    """
    import pyarrow as pa

    types = set(map(type, values)) - {type(None)}
    if types <= {list, tuple}:
        plain = {type(one) for value in values if value is not None for one in value} <= {int}
    elif types == {np.ndarray}:
        plain = all(one.ndim == 1 and one.dtype.type in _INTEGERS for one in values if one is not None)
    else:
        plain = types == {int, float} or (len(types) == 1 and types <= ONE_EACH)
    try:
        return pa.array(values) if plain else None
    except (pa.ArrowException, OverflowError, TypeError, ValueError):
        return None


def _with_ids(frame: Any) -> Any:
    """Return a DataFrame with its ids in a column."""
    return frame.reset_index() if frame.index.name == "id" and "id" not in frame.columns else frame


def _table_of_frame(frame: Any) -> Any:
    import pyarrow as pa

    columns = []
    for name, column in frame.items():
        categories = getattr(column.dtype, "categories", column)
        if categories.dtype.type is np.object_:
            array = array_of(_objects(column))
            if array is None:
                return None
        else:
            try:
                array = pa.array(column, from_pandas=True)
            except (pa.ArrowException, ValueError, OverflowError) as error:
                raise InvalidError(f"documents: the column {name!r} cannot be used: {error}") from None
        columns.append(array)
    return pa.table(columns, list(map(str, frame.columns)))


def _rows_of_table(table: Any) -> list[dict[str, Any]]:
    """Return the rows of a table; what Python cannot hold is an error that names it."""
    try:
        rows: list[dict[str, Any]] = table.to_pylist()
        return rows
    except (ValueError, OverflowError):
        ids = table.column("id")
        for name, row in ((name, row) for row in range(len(table)) for name in table.column_names):
            try:
                table.column(name)[row].as_py()
            except (ValueError, OverflowError) as error:
                where = "id" if name == "id" else f"id {ids[row].as_py()}: field {name!r}"
                raise InvalidError(f"{where}: a value of the column cannot be used: {error}") from None
        raise


def _objects(column: Any) -> list[Any]:
    """Return the values of a Series as Python has them, None where there is none."""
    return [None if null else value for value, null in zip(column.astype(object), column.isna())]


def is_slot(id: Any) -> bool:
    """Tell whether a document can have this id."""
    return is_whole(id) and bool(0 <= id <= LARGEST_SLOT)


def slot_of(id: Any) -> int:
    """Return an id as the slot of its document, or refuse it."""
    if not is_slot(id):
        raise InvalidError(f"id: {shown(id)} is no whole number from 0 to {LARGEST_SLOT}")
    return int(id)


def ids_of(ids: Any, name: str = "ids") -> np.ndarray:
    """Return ids, in any form that several come in, as uint32, shape (n,), in their order; or refuse them."""
    if isinstance(ids, AbstractBitMap):
        return np.frombuffer(ids.to_array(), np.uint32)
    if isinstance(ids, np.ndarray) and ids.dtype == np.uint32 and ids.ndim == 1:
        return ids.copy()  # none of them can be wrong
    return as_integers(ids, name, LARGEST_SLOT).astype(np.uint32)
