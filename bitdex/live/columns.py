"""Columns: the values of many documents that come as a table, converted as `live.values` converts one.

What a whole column can be asked (its type, its least and greatest value) decides at once. A column that is
not plainly right is converted value by value, so that both ways accept the same and say the same.
"""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bitdex.columns import ARROW, is_text
from bitdex.documents import column_kind
from bitdex.dump.casts import is_unicode, seconds_of
from bitdex.errors import InvalidError
from bitdex.kernels.pairs import sort_pairs
from bitdex.live.lists import list_array
from bitdex.live.sheet import Sheet, counted
from bitdex.live.values import HIGH, LOW, Values, bounds_of
from bitdex.live.writer import Writer
from bitdex.query.cursor import LARGEST_SLOT
from bitdex.schema import Field

FIRST, LAST = -62_135_596_800, 253_402_300_799  # seconds of the moments that Python has, as rows have them
Plain = Callable[[Field, pa.Array], pa.Array | None]


def sheet_of(table: pa.Table, writer: Writer) -> Sheet | None:
    """Return the documents of a table as they are held; None if it has to be looked at row by row.

    That is so where it is not plainly right: then the rows tell which id is wrong, and in what.
    """
    if not all(name == "id" or writer.store.schema.has(name) for name in table.column_names):
        return None
    ids = table.column("id").combine_chunks()
    if not pa.types.is_integer(ids.type) or ids.null_count or not len(ids):
        return None
    if not 0 <= pc.min(ids).as_py() <= pc.max(ids).as_py() <= LARGEST_SLOT:
        return None
    slots, last = np.unique(ids.to_numpy().astype(np.uint32)[::-1], return_index=True)
    chosen = pa.array(len(ids) - 1 - last)
    columns: dict[int, pa.Array] = {}
    for name in table.column_names:
        if name == "id":
            continue
        number, convert = writer.values.known(name)
        column = table.column(name).combine_chunks()
        if convert is not None:
            try:
                held = held_column(writer.values, writer.fields[number], column)
            except (pa.ArrowException, ValueError, OverflowError):  # `InvalidError` is one of value
                return None
            columns[number] = held.take(chosen)
    for number, sources in writer.exist.items():
        told = columns.get(number, pa.nulls(len(slots), pa.bool_())).fill_null(False)
        there = [np.asarray(pc.is_valid(columns[source])) for source in sources if source in columns]
        columns[number] = pa.array(np.logical_or.reduce([np.asarray(told), *there]))
    sheet = Sheet(slots, columns)
    try:
        for _, field in writer.computed:
            counted(field, writer, slots, sheet.given)
    except InvalidError:
        return None
    return sheet


def held_column(values: Values, field: Field, column: pa.Array) -> pa.Array:
    """Return a column as documents hold it: of the Arrow type of its kind, null where there is no value.

    Raises
    ------
    InvalidError
        Naming the field, the value and what is accepted.
    """
    target = ARROW[column_kind(field)]
    if column.null_count == len(column):
        return pa.nulls(len(column), target)
    if pa.types.is_dictionary(column.type) and not field.is_text:
        column = column.dictionary_decode()
    texts = column.dictionary if pa.types.is_dictionary(column.type) else column
    if is_text(texts.type) and not is_unicode(texts):
        raise InvalidError(f"field {field.name!r}: bytes of the column are no UTF-8")
    if is_text(column.type):
        column = column.cast(pa.large_string())
    if field.kind in ("low_cardinality_string", "mapped_string"):
        return _numbered(values, field, column)
    plain = _PLAIN[field.kind](field, column)
    return _one_by_one(values, field, column) if plain is None else plain


def _one_by_one(values: Values, field: Field, column: pa.Array) -> pa.Array:
    convert = values.converter(field)
    held = [None if value is None else convert(value) for value in column.to_pylist()]
    return pa.array(held, ARROW[column_kind(field)])


def _numbered(values: Values, field: Field, column: pa.Array) -> pa.Array:
    """Convert each distinct text once."""
    if pa.types.is_dictionary(column.type) and column.dictionary.null_count:
        column = column.dictionary_decode()
    if not pa.types.is_dictionary(column.type):
        if not is_text(column.type):
            return _one_by_one(values, field, column)
        column = column.dictionary_encode()
    used = pc.drop_null(pc.unique(column.indices))
    numbers = np.zeros(len(column.dictionary), np.int64)
    texts = column.dictionary.take(used)
    numbers[used.to_numpy()] = _one_by_one(values, field, texts).to_numpy(zero_copy_only=False)
    return pa.array(numbers).take(column.indices)


def _integers(field: Field, column: pa.Array) -> pa.Array | None:
    low, high = bounds_of(field)
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        column = seconds_of(column)
        low, high = max(low, FIRST), min(high, LAST)
    if pa.types.is_floating(column.type):
        column = column.cast(pa.float64())
        whole = pc.floor(column)
        if not pc.all(pc.equal(column, whole)).as_py() or not abs(pc.max(pc.abs(whole)).as_py()) < 1 << 53:
            return None
        column = whole.cast(pa.int64())
    if not pa.types.is_integer(column.type):
        return None
    found = pc.min_max(column).as_py()
    return column.cast(pa.int64()) if low <= found["min"] and found["max"] <= high else None


def _floats(field: Field, column: pa.Array) -> pa.Array | None:
    if pa.types.is_integer(column.type):
        return column.cast(pa.float64(), safe=False)
    if not pa.types.is_floating(column.type):
        return None
    column = column.cast(pa.float64())
    return None if field.sort is not None and pc.any(pc.is_nan(column)).as_py() else column


def _booleans(field: Field, column: pa.Array) -> pa.Array | None:
    return column if pa.types.is_boolean(column.type) else None


def _texts(field: Field, column: pa.Array) -> pa.Array | None:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return column.cast(pa.large_string()) if is_text(column.type) else None


def _lists(field: Field, column: pa.Array) -> pa.Array | None:
    kind = column.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        return None
    elements = column.flatten()
    if not pa.types.is_integer(kind.value_type) or elements.null_count:
        return None
    if len(elements) and not LOW <= pc.min(elements).as_py() <= pc.max(elements).as_py() <= HIGH:
        return None
    counts = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    return list_array(*_distinct(counts, elements.cast(pa.int64()).to_numpy()))


def _distinct(counts: np.ndarray, elements: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return lists, of so many elements each, without those that came before in the same list."""
    rows = np.repeat(np.arange(len(counts), dtype=np.uint32), counts)
    ordered, places = sort_pairs(elements.view(np.uint64), rows)
    twice = np.unique(places[1:][(ordered[1:] == ordered[:-1]) & (places[1:] == places[:-1])])
    if not len(twice):
        return counts, elements
    ends, kept = np.cumsum(counts), np.ones(len(elements), bool)
    for row in twice.tolist():
        first = int(ends[row] - counts[row])
        _, firsts = np.unique(elements[first : ends[row]], return_index=True)
        kept[first : ends[row]] = False
        kept[first + firsts] = True
    return np.bincount(rows[kept], minlength=len(counts)), elements[kept]


_PLAIN: dict[str, Plain] = {
    "integer": _integers,
    "float": _floats,
    "boolean": _booleans,
    "exists_boolean": _booleans,
    "string": _texts,
    "integer_array": _lists,
}
