"""Table: documents in memory, searched column by column: what queries mean, without any bitmap.

A column is values and whether there is one, row by row; that of a list field is all elements and the rows
they are in. Labels are compared by the number of their folded text, dates as seconds.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyroaring import BitMap

from bitdex.configuration import nearest
from bitdex.errors import InvalidError
from bitdex.live import rows
from bitdex.query.clauses import (
    And,
    Between,
    Combination,
    Eq,
    Gt,
    Gte,
    In,
    IsNotNull,
    IsNull,
    Lt,
    Membership,
    Not,
    NotEq,
    NotIn,
)
from bitdex.query.cursor import LARGEST_SLOT
from bitdex.query.rank import Sort
from bitdex.schema import Field, Schema


@dataclass(frozen=True, slots=True)
class Column:
    """The values of a field.

    Attributes
    ----------
    values : ndarray of int64 or float64, shape (n,)
    rows : ndarray of int64, shape (n,)
        The row that each is in.
    present : ndarray of bool, shape (rows,)
        Whether a row has one.
    key : callable
        The number of a value as a query writes it, or None where no row can have it.
    examples : list
        Some of the values, as a query writes them.
    """

    field: Field
    values: np.ndarray
    rows: np.ndarray
    present: np.ndarray
    key: Callable[[Any], Any]
    examples: list[Any]

    def having(self, hits: np.ndarray) -> np.ndarray:
        """Return which rows have one of the values that are hit."""
        found = np.zeros(len(self.present), bool)
        found[self.rows[hits]] = True
        return found


@dataclass(frozen=True, slots=True)
class Table:
    """Documents by id, ascending (uint32), and their columns by field."""

    ids: np.ndarray
    columns: Mapping[str, Column]

    def matches(self, clause: Any) -> np.ndarray:
        """Return which rows match a clause as it is written."""
        if isinstance(clause, Combination):
            join = np.logical_and if type(clause) is And else np.logical_or
            found = np.full(len(self.ids), type(clause) is And)
            for one in clause.clauses:
                found = join(found, self.matches(one))
            return found
        if isinstance(clause, Not):
            return ~self.matches(clause.clause)
        column, kind = self.columns[clause.field], type(clause)
        if kind is IsNull or kind is IsNotNull:
            return column.present == (kind is IsNotNull)
        if kind is NotEq or kind is NotIn:
            has = self.matches(
                Eq(clause.field, clause.value) if kind is NotEq else In(clause.field, clause.values)
            )
            excluded = column.field.nullable and not column.field.is_list
            return ~has & column.present if excluded else ~has
        return column.having(_hits(column, clause))

    def ordered(self, ids: np.ndarray, sort: str | None, limit: int) -> np.ndarray:
        """Return the first of ascending ids in the order of a sort."""
        order = Sort.parse(sort)
        if order.field is None:
            return (ids[::-1] if order.descending else ids)[:limit]
        column = self.columns[order.field]
        picked = np.searchsorted(self.ids, ids)
        valued = column.present[picked]
        values = column.values[np.searchsorted(column.rows, picked[valued])]
        able = _may_be_first(values, limit, order.descending)
        ascending = ids[valued][able][np.argsort(values[able], kind="stable")]
        absent, step = ids[~valued], -1 if order.descending else 1
        assert column.field.sort is not None
        parts = [ascending[::step], absent[::step]]
        if column.field.sort.absent_first(order.descending):
            parts.reverse()
        return np.concatenate(parts)[:limit]


def _may_be_first(values: np.ndarray, limit: int, descending: bool) -> np.ndarray:
    """Return which values may be among the first: sorting all of many would put off an interrupt."""
    if len(values) <= limit:
        return np.ones(len(values), bool)
    if descending:
        return values >= np.partition(values, len(values) - limit)[len(values) - limit]
    return values <= np.partition(values, limit - 1)[limit - 1]


def _hits(column: Column, clause: Any) -> np.ndarray:
    """Return which values are one of those of Eq or In, or lie in a range."""
    values = column.values
    if isinstance(clause, Eq):
        key = column.key(clause.value)
        return values == key if key is not None else np.zeros(len(values), bool)
    if isinstance(clause, Membership):
        found = np.zeros(len(values), bool)
        for one in clause.values:  # one by one, so that an interrupt is answered in between
            if (key := column.key(one)) is not None:
                found |= values == key
        return found
    if isinstance(clause, Between):
        return (values >= clause.low) & (values <= clause.high)
    if isinstance(clause, Gt | Gte):
        return values > clause.value if type(clause) is Gt else values >= clause.value
    return values < clause.value if type(clause) is Lt else values <= clause.value


def table_of(frame: Any, schema: Schema, waiting: BitMap) -> Table:
    """Return the documents of a DataFrame or Arrow table, without those that wait for their time.

    Raises
    ------
    InvalidError
        If there is no column ``id`` of distinct ids, no column of an indexed field, or one of another type.
    """
    source = rows.table_of(frame)
    if source is None:
        raise InvalidError(f"df: expected a DataFrame or an Arrow table, found {type(frame).__name__}")
    ids = _ids(source.column("id"))
    kept = np.flatnonzero(~np.isin(ids, np.frombuffer(waiting.to_array(), np.uint32)))
    order = kept[np.argsort(ids[kept], kind="stable")]
    if (np.diff(ids[order]) == 0).any():
        raise InvalidError(f"df: id {ids[order][:-1][np.diff(ids[order]) == 0][0]} is there twice")
    known = {one.name: one for one in schema.fields.values() if one.indexed and one.name != "id"}
    names = [name for name in source.column_names if name in known]
    if not names:
        raise InvalidError(f"df: no column is an indexed field of {schema.name!r}; {nearest('', known)}")
    columns = {name: _column(known[name], source.column(name).take(order)) for name in names}
    return Table(ids[order].astype(np.uint32), columns)


def _ids(column: pa.ChunkedArray) -> np.ndarray:
    if not pa.types.is_integer(column.type) or column.null_count:
        raise InvalidError(
            f"df: column 'id' is {column.type} with {column.null_count} nulls; use whole numbers"
        )
    ids = column.to_numpy().astype(np.int64)
    if len(ids) and (ids.min() < 0 or ids.max() > LARGEST_SLOT):
        raise InvalidError(f"df: ids {ids.min()} to {ids.max()} go beyond 0 to {LARGEST_SLOT}")
    return ids


def _column(field: Field, column: pa.ChunkedArray) -> Column:
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # of no chunks
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], column.type)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    try:
        return _list_column(field, array) if field.is_list else _single_column(field, array)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        raise InvalidError(
            f"df: column {field.name!r} is {array.type}, and the field holds {field.kind}: {error}; "
            "convert the column, or leave it out"
        ) from None


def _list_column(field: Field, array: pa.Array) -> Column:
    rows_of = np.asarray(pc.list_parent_indices(array)).astype(np.int64)
    flat = pc.list_flatten(array).cast(pa.int64())
    valid = np.asarray(pc.is_valid(flat))
    values, places = np.asarray(flat.drop_null()), rows_of[valid]
    present = np.zeros(len(array), bool)
    present[places] = True
    absent, default = np.flatnonzero(~present), np.array(field.default or (), np.int64)
    values = np.concatenate([values, np.tile(default, len(absent))])
    places = np.concatenate([places, np.repeat(absent, len(default))])
    present[places] = True
    return Column(field, values, places, present, _number, _examples(values))


def _single_column(field: Field, array: pa.Array) -> Column:
    if field.default is not None:
        array = pc.fill_null(array, pa.scalar(field.default).cast(array.type))
    present = np.asarray(pc.is_valid(array))
    array, places = array.drop_null(), np.flatnonzero(present)
    if field.is_text:
        values, key, examples = _text(field, array)
        return Column(field, values, places, present, key, examples)
    if field.is_boolean:
        values = np.asarray(array.cast(pa.bool_())).astype(np.int64)
        return Column(field, values, places, present, int, [True, False])
    values = np.asarray(array.cast(pa.float64())) if field.kind == "float" else _integers(array)
    return Column(field, values, places, present, _number, _examples(values))


def _integers(array: pa.Array) -> np.ndarray:
    if pa.types.is_temporal(array.type):
        ticks = np.asarray(array.cast(pa.timestamp("us"), safe=False).cast(pa.int64()))
        return ticks // 1_000_000
    return np.asarray(array.cast(pa.int64()))


def _text(field: Field, array: pa.Array) -> tuple[np.ndarray, Callable[[Any], Any], list[Any]]:
    """Return the numbers of texts, what gives that of a text, and some of the texts."""
    encoded = array.cast(pa.large_string()).dictionary_encode()
    texts = encoded.dictionary.to_pylist()
    codes = np.asarray(encoded.indices).astype(np.int64)

    def fold(text: str) -> str:
        return text if field.case_sensitive else text.lower()

    if field.kind == "mapped_string":
        numbers = {fold(text): number for text, number in reversed([*field.string_map.items()])}
        of_each = np.array([numbers.get(fold(text), 0) for text in texts], np.int64)
        return of_each[codes], lambda text: numbers.get(fold(text)), [*field.string_map]
    distinct = {one: number for number, one in enumerate(dict.fromkeys(map(fold, texts)))}
    of_each = np.array([distinct[fold(text)] for text in texts], np.int64)
    return of_each[codes], lambda text: distinct.get(fold(text)), texts


def _number(value: Any) -> Any:
    return value


def _examples(values: np.ndarray) -> list[Any]:
    """Return some of the values, spread over all of them."""
    distinct = np.unique(values[:: max(1, len(values) // 10_000)])
    return distinct[:: max(1, len(distinct) // 500)].tolist()
