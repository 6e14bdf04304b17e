"""Arrow columns to documents and back, and the folding of records.

These functions prepare arrays, call the kernels block by block (on several threads,
for kernels release the GIL) and say in words what a kernel refused. Documents are
packed: document i is ``data[offsets[i]:offsets[i + 1]]``. Any thread may call them.

Caveats: an empty list and a null write nothing, so both come back as null. Strings come
back as large_string, lists as large_list<int64>, whatever they were.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bitdex.errors import CorruptError, InvalidError
from bitdex.formats.document import (
    FALSE,
    FLOAT,
    INTEGER,
    LIST,
    LIST_APPEND,
    MAX_FIELD,
    MAX_LENGTH,
    STRING,
    decode_document,
)
from bitdex.kernels import document_decode as decoding
from bitdex.kernels import document_encode as encoding
from bitdex.kernels.blocks import each_block
from bitdex.kernels.document_fold import fold_documents

__all__ = ["Column", "decode_columns", "encode_columns", "fold_documents", "scan_fields"]

BLOCK = 8192  # rows whose documents and scratch stay in the cache of a core
ARROW = {
    "integer": pa.int64(),
    "boolean": pa.bool_(),
    "float": pa.float64(),
    "string": pa.large_string(),
    "list": pa.large_list(pa.int64()),
}
_FIXED = {"integer": np.int64, "boolean": np.bool_, "float": np.float64}


@dataclass(frozen=True, slots=True)
class Column:
    """A field of many documents: one value a row, null where the document has none.

    `kind` is one of "integer", "boolean", "float", "string", "list"; a list column
    replaces what the documents hold, or with `append` is put behind it.
    """

    field_id: int
    kind: str
    array: pa.Array
    append: bool = False


def _check_field(field: int, kind: str) -> None:
    if kind not in ARROW:
        raise InvalidError(f"field {field}: unknown kind {kind!r}; accepted are {', '.join(ARROW)}")
    if not 1 <= field <= MAX_FIELD:
        raise InvalidError(f"field id {field} is outside 1..{MAX_FIELD}")


# ---- encode

_TAGS = {"integer": INTEGER, "boolean": FALSE, "float": FLOAT, "string": STRING, "list": LIST}
_ENTRY_SIZE = {"boolean": 3, "float": 11}
_SIZE = {"integer": encoding.size_integers, "string": encoding.size_strings, "list": encoding.size_lists}
_WRITE = {
    "integer": encoding.write_integers,
    "boolean": encoding.write_booleans,
    "float": encoding.write_floats,
    "string": encoding.write_strings,
    "list": encoding.write_lists,
}


class _Source:
    """The arrays of one column as kernels take them: per row, whole, and which rows are valid."""

    def __init__(self, column: Column, rows: int):
        array = _cast(column, rows)
        self.kind = column.kind
        self.head = column.field_id | (LIST_APPEND if column.append else _TAGS[column.kind]) << 16
        self.valid = _booleans(pc.is_valid(array)) if array.null_count else np.ones(rows, np.bool_)
        self.extra = int(column.kind not in _FIXED)  # offsets: one more than rows
        self.whole: tuple[np.ndarray, ...] = ()
        if column.kind == "boolean":
            self.rows = _booleans(array.fill_null(False))
        else:
            self.rows = _buffer(array, 1, _FIXED.get(column.kind, np.int64), self.extra)
        if column.kind in ("string", "list"):
            self.whole = (_text(array) if column.kind == "string" else _elements(column, array),)
        if self.extra and np.diff(self.rows).max(initial=0) > MAX_LENGTH:
            raise InvalidError(f"field {column.field_id}: a value is longer than {MAX_LENGTH}")

    def size(self, lo: int, hi: int, sizes: np.ndarray) -> None:
        """Add this column's entries to the sizes of documents `lo..hi-1`."""
        if self.kind in _ENTRY_SIZE:
            sizes += self.valid[lo:hi] * np.int64(_ENTRY_SIZE[self.kind])
        else:
            whole = self.whole if self.kind == "list" else ()  # a string's offsets tell its size
            _SIZE[self.kind](self.rows[lo : hi + self.extra], *whole, self.valid[lo:hi], sizes)

    def write(self, lo: int, hi: int, cursors: np.ndarray, out: np.ndarray) -> None:
        """Write this column's entries at the cursors of documents `lo..hi-1`."""
        rows = self.rows[lo : hi + self.extra]
        _WRITE[self.kind](rows, *self.whole, self.valid[lo:hi], self.head, cursors, out)


def _buffer(array: pa.Array, number: int, dtype: Any, extra: int = 0) -> np.ndarray:
    """Return a buffer of `array` as far as its rows (and `extra` more) use it."""
    buffer = array.buffers()[number]
    if buffer is None or not buffer.size:
        return np.zeros(len(array) + extra, dtype)
    return np.frombuffer(buffer, dtype)[array.offset : array.offset + len(array) + extra]


def _booleans(array: pa.Array) -> np.ndarray:
    return np.ascontiguousarray(array.to_numpy(zero_copy_only=False), np.bool_)


def _text(array: pa.Array) -> np.ndarray:
    buffer = array.buffers()[2]
    return np.empty(0, np.uint8) if buffer is None else np.frombuffer(buffer, np.uint8)


def _elements(column: Column, array: pa.Array) -> np.ndarray:
    if array.values.null_count and array.flatten().null_count:
        raise InvalidError(f"field {column.field_id}: a list holds a null; drop or fill it first")
    return _buffer(array.values, 1, np.int64)


def is_text(found: pa.DataType) -> bool:
    """Tell whether an Arrow type holds text."""
    return pa.types.is_string(found) or pa.types.is_large_string(found) or pa.types.is_string_view(found)


def _accepts(kind: str, found: pa.DataType) -> bool:
    if kind in ("integer", "boolean"):
        return pa.types.is_integer(found) if kind == "integer" else pa.types.is_boolean(found)
    if kind == "float":
        return pa.types.is_floating(found) or pa.types.is_integer(found)
    if kind == "string":
        return is_text(found)
    lists = pa.types.is_list(found) or pa.types.is_large_list(found) or pa.types.is_fixed_size_list(found)
    return lists and (pa.types.is_integer(found.value_type) or pa.types.is_null(found.value_type))


def _cast(column: Column, rows: int) -> pa.Array:
    array, name = column.array, f"field {column.field_id}"
    _check_field(column.field_id, column.kind)
    if column.append and column.kind != "list":
        raise InvalidError(f"{name}: a {column.kind} column cannot append; only a list column can")
    if len(array) != rows:
        raise InvalidError(f"{name}: {len(array)} values for {rows} rows")
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if not _accepts(column.kind, array.type) and not pa.types.is_null(array.type):
        raise InvalidError(f"{name}: a column of {array.type} is no {column.kind} column; cast it first")
    try:
        return array.cast(ARROW[column.kind])
    except pa.ArrowInvalid as error:
        raise InvalidError(f"{name}: a value does not fit {ARROW[column.kind]}: {error}") from None


def encode_columns(columns: Sequence[Column], rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Encode `rows` documents, whose entries stand in the order of the columns.

    Integers of any width, floats, strings (dictionary-encoded ones too) and lists of
    integers are accepted, sliced or not.

    Returns
    -------
    data : ndarray of uint8
    offsets : ndarray of int64, shape (rows + 1,)

    Raises
    ------
    InvalidError
        If a column's kind, type, length or field id is not accepted, or a value does not
        fit (an unsigned integer above 2**63 - 1, a null inside a list).

    Examples
    --------
    >>> data, offsets = encode_columns([Column(1, "integer", pa.array([7, None]))], 2)
    >>> data.tobytes().hex(" "), offsets.tolist()
    ('01 00 21 07', [0, 4, 4])
    """
    sources = [_Source(column, rows) for column in columns]
    offsets = np.zeros(rows + 1, np.int64)

    def size(lo: int, hi: int) -> None:
        for source in sources:
            source.size(lo, hi, offsets[lo + 1 : hi + 1])

    def write(lo: int, hi: int) -> None:
        cursors, block = offsets[lo:hi].copy(), out[: offsets[hi]]
        for source in sources:
            source.write(lo, hi, cursors, block)

    each_block(rows, BLOCK, size)
    np.cumsum(offsets, out=offsets)
    out = np.empty(int(offsets[-1]), np.uint8)
    each_block(rows, BLOCK, write)
    return out, offsets


# ---- decode


class _Fixed:
    """A column of numbers or booleans."""

    def __init__(self, kind: str, rows: int):
        self.kind = kind
        self.values: np.ndarray = np.empty(rows, _FIXED[kind])
        self.valid = np.empty(rows, np.bool_)

    def take(self, data: np.ndarray, lo: int, hi: int, tags: np.ndarray, positions: np.ndarray) -> int:
        """Take the block's values over; return the first row of another kind or -1."""
        values, valid = self.values[lo:hi], self.valid[lo:hi]
        if self.kind == "boolean":
            return decoding.read_booleans(tags, values, valid)
        read = decoding.read_integers if self.kind == "integer" else decoding.read_floats
        return read(data, tags, positions, values, valid)

    def finish(self, data: np.ndarray) -> pa.Array:
        """Return the Arrow array of all rows."""
        values = np.packbits(self.values, bitorder="little") if self.kind == "boolean" else self.values
        return pa.Array.from_buffers(
            ARROW[self.kind], len(self.valid), [_validity(self.valid), pa.py_buffer(values)]
        )


class _Variable:
    """A column of strings or lists: found block by block, copied at the end."""

    def __init__(self, kind: str, rows: int):
        self.kind = kind
        self.starts = np.empty(rows, np.int64)
        self.tags = np.empty(rows, np.uint8)
        self.offsets = np.zeros(rows + 1, np.int64)
        self.valid = np.empty(rows, np.bool_)

    def take(self, data: np.ndarray, lo: int, hi: int, tags: np.ndarray, positions: np.ndarray) -> int:
        """Find the block's values; return the first row of another kind or -1."""
        self.tags[lo:hi] = tags
        lengths, valid = self.offsets[lo + 1 : hi + 1], self.valid[lo:hi]
        lists = self.kind == "list"
        return decoding.measure(data, tags, positions, lists, self.starts[lo:hi], lengths, valid)

    def finish(self, data: np.ndarray) -> pa.Array:
        """Return the Arrow array of all rows."""
        np.cumsum(self.offsets, out=self.offsets)
        rows, lists = len(self.valid), self.kind == "list"
        out: np.ndarray = np.empty(int(self.offsets[-1]), np.int64 if lists else np.uint8)

        def read(lo: int, hi: int) -> None:
            starts, offsets = self.starts[lo:hi], self.offsets[lo : hi + 1]
            if lists:
                decoding.read_lists(data, starts, self.tags[lo:hi], offsets, out)
            else:
                decoding.read_strings(data, starts, offsets, out)

        each_block(rows, BLOCK, read)
        buffers, values = [_validity(self.valid), pa.py_buffer(self.offsets)], pa.py_buffer(out)
        if not lists:
            return pa.Array.from_buffers(ARROW["string"], rows, [*buffers, values])
        elements = pa.Array.from_buffers(pa.int64(), len(out), [None, values])
        return pa.Array.from_buffers(ARROW["list"], rows, buffers, children=[elements])


def _validity(valid: np.ndarray) -> pa.Buffer | None:
    return None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))


def _field_table(fields: Sequence[tuple[int, str]]) -> np.ndarray:
    table = np.full(MAX_FIELD + 1, -1, np.int32)
    for column, (field, kind) in enumerate(fields):
        _check_field(field, kind)
        if table[field] >= 0:
            raise InvalidError(f"field {field} is asked for twice")
        table[field] = column
    return table


def _refuse_document(data: np.ndarray, offsets: np.ndarray, row: int) -> NoReturn:
    decoding.refuse(f"document row {row}", data, offsets[row : row + 2].tolist())


def _refuse_kind(data: np.ndarray, offsets: np.ndarray, row: int, field: int, kind: str) -> NoReturn:
    try:
        value = decode_document(data[offsets[row] : offsets[row + 1]].tobytes())[field]
    except CorruptError:
        _refuse_document(data, offsets, row)
    raise InvalidError(
        f"document row {row}, field {field}: {type(value).__name__} {value!r:.80} is no {kind};"
        " ask for the kind that it is"
    )


def decode_columns(
    data: np.ndarray, offsets: np.ndarray, fields: Sequence[tuple[int, str]]
) -> list[pa.Array]:
    """Decode the named fields of packed documents, one Arrow array for each.

    Parameters
    ----------
    data : ndarray of uint8
    offsets : ndarray of int64, shape (documents + 1,)
    fields : sequence of (field id, kind)
        Kinds as in `Column`. Booleans are read as integers, and integers as floats where
        no digit is lost; a document without the field gives null.

    Raises
    ------
    CorruptError
        If a document is damaged; names its row and offset.
    InvalidError
        If a document holds a value of another kind; names row, field and value.

    Examples
    --------
    >>> data, offsets = encode_columns([Column(1, "integer", pa.array([7, None]))], 2)
    >>> decode_columns(data, offsets, [(1, "integer")])[0].to_pylist()
    [7, None]
    """
    data, offsets = decoding.packed(data, offsets)
    table, rows = _field_table(fields), len(offsets) - 1
    targets = [_Fixed(kind, rows) if kind in _FIXED else _Variable(kind, rows) for _, kind in fields]

    def read(lo: int, hi: int) -> bool:
        size = hi - lo
        tags = np.empty(size * len(fields), np.uint8)
        positions = np.empty(size * len(fields), np.int64)
        bad = decoding.locate(data, offsets, lo, hi, table, tags, positions)
        if bad >= 0:
            _refuse_document(data, offsets, bad)
        if (tags == decoding.FOLD_FIRST).any():
            return False
        for column, (target, (field, kind)) in enumerate(zip(targets, fields)):
            cut = slice(column * size, (column + 1) * size)
            bad = target.take(data, lo, hi, tags[cut], positions[cut])
            if bad >= 0:
                _refuse_kind(data, offsets, lo + bad, field, kind)
        return True

    if not all(each_block(rows, BLOCK, read)):
        return decode_columns(*fold_documents(data, offsets, np.arange(rows + 1)), fields)
    arrays = [target.finish(data) for target in targets]
    for array in arrays:
        _check_text(array, data, offsets)
    return arrays


def _check_text(array: pa.Array, data: np.ndarray, offsets: np.ndarray) -> None:
    if not pa.types.is_large_string(array.type):
        return
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        for row, text in enumerate(array.cast(pa.large_binary())):
            try:
                (text.as_py() or b"").decode()
            except UnicodeDecodeError:
                _refuse_document(data, offsets, row)


def scan_fields(data: np.ndarray, offsets: np.ndarray) -> list[int]:
    """Return the ids of the fields that packed documents hold, ascending.

    Raises
    ------
    CorruptError
        If a document is damaged; names its row and offset.
    """
    data, offsets = decoding.packed(data, offsets)
    seen = np.zeros(MAX_FIELD + 1, np.uint8)
    bad = decoding.mark_fields(data, offsets, seen)
    if bad >= 0:
        _refuse_document(data, offsets, bad)
    return np.flatnonzero(seen).tolist()
