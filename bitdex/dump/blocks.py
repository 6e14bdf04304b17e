"""Reading a table in blocks of typed columns: CSV, TSV, Parquet, Arrow files, DataFrames, Arrow tables.

Text files are cut into blocks at line ends outside quotes, so that a quoted line break
never splits a row, and parsed by `pyarrow.csv` with explicit types. A block that does not
fit its types is parsed again as text, and each row that cannot be used is rejected with
its line number and the reason; the others stay. Rows in = rows out + rejects.
"""

import codecs
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv

from bitdex import filesystem
from bitdex.dump.cells import EXPECTED, FALSE, NOT_UTF8, TRUE, TYPES, convert_text
from bitdex.errors import InvalidError, NotFoundError
from bitdex.kernels.csv_rows import find_row_end
from bitdex.kernels.integer_csv import count_lines, parse_integers

BLOCK = 8 << 20  # bytes of text parsed at a time
ROWS = 1 << 19  # rows of a frame taken at a time
EXAMPLES = 3
QUOTE, NEWLINE = 34, 10


class Rejects:
    """Rows that could not be used: how many for each reason, and the first few of them."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = {}

    def add(self, reason: str, examples: Sequence[str], count: int | None = None) -> None:
        """Count rejected rows for one reason."""
        self.counts[reason] += len(examples) if count is None else count
        shown = self.examples.setdefault(reason, [])
        shown.extend(examples[: EXAMPLES - len(shown)])

    @property
    def total(self) -> int:
        """Number of rejected rows."""
        return sum(self.counts.values())

    def to_mapping(self) -> dict[str, Any]:
        """Return counts and examples by reason."""
        return {reason: {"rows": n, "examples": self.examples[reason]} for reason, n in self.counts.items()}


@dataclass
class Block:
    """Some rows of a table.

    Attributes
    ----------
    columns : mapping of name to Arrow array
    rows : int
    size : int
        Bytes read for this block.
    first : int
        Number of the first row in the table, from 1; rejected rows count.
    """

    columns: dict[str, pa.Array]
    rows: int
    size: int
    first: int
    rejects: Rejects = field(default_factory=Rejects)


class Source(Protocol):
    """A table that can be read in blocks."""

    size: int  # bytes, for progress

    def blocks(self) -> Iterator[Block]:
        """Yield the table block by block."""


def open_source(
    table: Any, kinds: Mapping[str, str], names: Sequence[str], delimiter: str, what: str
) -> "TextSource | ArrowSource":
    """Return a source for a path, a DataFrame, an Arrow table or anything that exports an Arrow stream.

    Parameters
    ----------
    table : path or table
    kinds : mapping
        The columns wanted, each with "integer", "boolean", "string", "float" or "any".
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
            return ArrowSource(_open_arrow(path), kinds, what, filesystem.size(path))
        return TextSource(path, kinds, names, delimiter, what)
    return ArrowSource(_as_batches(table, what), kinds, what, _bytes_of(table))


class TextSource:
    """A delimited text file as RFC 4180 has it: quotes, doubled quotes, line breaks in quotes, CR LF."""

    def __init__(self, path: Path, kinds: Mapping[str, str], names: Sequence[str], delimiter: str, what: str):
        self.path, self.kinds, self.what = path, dict(kinds), what
        self.delimiter = delimiter
        self.size = filesystem.size(path)
        self._data = filesystem.map_read(path)
        self._start = 3 if self._data[:3].tobytes() == b"\xef\xbb\xbf" else 0
        self.names = self._header(names)
        self._integers = bool(kinds) and set(kinds.values()) == {"integer"}  # as long as it holds
        missing = [name for name in kinds if name not in self.names]
        if missing:
            raise InvalidError(
                f"{what}: column {missing[0]!r} is not in {path.name}; it has {_listed(self.names)}"
            )

    def blocks(self) -> Iterator[Block]:
        """Yield the file block by block; the last line needs no line break."""
        at, row = self._start, 1
        while at < len(self._data):
            end = cut_rows(self._data, at, BLOCK, self.delimiter)
            unclosed = end < 0
            end = -1 - end if unclosed else end
            if end > at:
                block = self._parse(self._data[at:end], row)
                row += block.rows + block.rejects.total
                yield block
            if unclosed:
                yield self._unclosed(end, row)
                return
            at = end

    def _unclosed(self, start: int, row: int) -> Block:
        rejects, rest = Rejects(), self._data[start:]
        shown = rest[:60].tobytes().decode(errors="replace")
        rejects.add(
            "a quote opens and never closes", [f"row {row}, {len(rest):,} bytes to the end: {shown!r}"]
        )
        return Block(
            {name: pa.nulls(0, TYPES[kind]) for name, kind in self.kinds.items()}, 0, len(rest), row, rejects
        )

    def _header(self, names: Sequence[str]) -> list[str]:
        first, end = b"", self._start
        while not first and end < len(self._data):  # empty lines before the header
            start, end = end, cut_rows(self._data, end, 1, self.delimiter)
            end = len(self._data) if end < 0 else end
            first = self._data[start:end].tobytes().strip(b"\r\n")
        found = self._names_in(first) if first else []
        if not names or found == list(names):
            self._start = end
            names = found
        if len(set(names)) != len(names):
            raise InvalidError(f"{self.what}: {self.path.name} has a column name twice: {_listed(names)}")
        return list(names)

    def _names_in(self, line: bytes) -> list[str]:
        """Return the cells of the first line."""
        try:
            cells = self._read(np.frombuffer(line + b"\n", np.uint8), None, {}).to_pydict().values()
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            raise InvalidError(
                f"{self.what}: the first line of {self.path.name} cannot be read: {error}; "
                "a table is UTF-8 text, one line a row"
            ) from None
        return [str(one[0]).strip() if one and one[0] is not None else "" for one in cells]

    def _parse(self, text: np.ndarray, first: int) -> Block:
        columns = self._parse_integers(text)
        if columns is not None:
            return Block(columns, len(next(iter(columns.values()))), len(text), first)
        marked = _as_utf8(text)
        if marked is text:
            rejects = Rejects()
            try:
                table = self._read(text, rejects, {name: TYPES[kind] for name, kind in self.kinds.items()})
                columns = {name: _one_chunk(table.column(name)) for name in self.kinds}
                return Block(columns, table.num_rows, len(text), first, rejects)
            except pa.ArrowInvalid:
                pass  # a cell does not fit its type
        rejects = Rejects()
        table = self._read(marked, rejects, dict.fromkeys(self.kinds, pa.string()))
        return self._convert(table, first, len(text), rejects)

    def _parse_integers(self, text: np.ndarray) -> dict[str, pa.Array] | None:
        """Return the columns of a block in which every cell is an integer, or None."""
        if not self._integers:
            return None
        wanted = list(self.kinds)
        targets = np.array(
            [wanted.index(n) if n in self.kinds else len(wanted) for n in self.names], np.int64
        )
        rows = count_lines(text) + 1
        out = np.empty(rows * (len(wanted) + 1), np.int64)
        found = parse_integers(text, np.uint8(ord(self.delimiter)), targets, rows, out)
        if found < 0:
            self._integers = False
            return None
        return {
            name: pa.Array.from_buffers(
                pa.int64(), found, [None, pa.py_buffer(out[i * rows : i * rows + found])]
            )
            for i, name in enumerate(wanted)
        }

    def _read(self, text: np.ndarray, rejects: Rejects | None, types: Mapping[str, pa.DataType]) -> pa.Table:
        quoted = bool((text == QUOTE).any())

        def on_bad_row(row: Any) -> str:
            if rejects is None:
                return "error"
            rejects.add(
                f"{row.expected_columns} columns expected, {row.actual_columns} found",
                [f"{row.text[:200]!r}"],
            )
            return "skip"

        return csv.read_csv(
            pa.BufferReader(pa.py_buffer(text)),
            csv.ReadOptions(
                column_names=self.names if types else None,
                autogenerate_column_names=not types,
                block_size=max(1 << 20, len(text) // 4 + 1),
            ),
            csv.ParseOptions(
                delimiter=self.delimiter,
                quote_char='"' if quoted else False,
                newlines_in_values=quoted,
                invalid_row_handler=on_bad_row,
            ),
            csv.ConvertOptions(
                column_types=types,
                include_columns=list(types) or None,
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
                true_values=TRUE,
                false_values=FALSE,
                check_utf8=False,  # `_as_utf8` has
            ),
        )

    def _convert(self, table: pa.Table, first: int, size: int, rejects: Rejects) -> Block:
        """Convert text columns one by one; reject the rows whose cells do not fit."""
        usable = np.ones(table.num_rows, bool)
        columns = {}
        for name, kind in self.kinds.items():
            cells = _one_chunk(table.column(name))
            columns[name], good = convert_text(cells, kind)
            bad = np.flatnonzero(~good & usable)
            if len(bad):
                shown = [f"row {first + i}: {name} = {cells[int(i)].as_py()!r}" for i in bad[:EXAMPLES]]
                rejects.add(f"{name}: not {EXPECTED[kind]}", shown, len(bad))
            usable &= good
        keep = pa.array(usable)
        columns = {name: array.filter(keep) for name, array in columns.items()}
        return Block(columns, int(usable.sum()), size, first, rejects)


def cut_rows(data: np.ndarray, start: int, wanted: int, delimiter: str) -> int:
    """Return the end of the rows that begin at `start` and have about `wanted` bytes.

    A line break inside double quotes does not end a row. Where the quotes of the last
    row never close, return ``-1 -`` the place where it begins.
    """
    least = min(start + wanted, len(data))
    if not (data[start:least] == QUOTE).any():
        end = _find_newline(data, least)
        if not (data[least:end] == QUOTE).any():
            return end
    return int(find_row_end(data, start, least, ord(delimiter)))


def _find_newline(data: np.ndarray, at: int) -> int:
    """Return the place behind the first line break at ``at - 1`` or later."""
    at = max(at - 1, 0)
    while at < len(data):
        found = np.flatnonzero(data[at : at + 65536] == NEWLINE)
        if len(found):
            return at + int(found[0]) + 1
        at += 65536
    return len(data)


def _as_utf8(text: np.ndarray) -> np.ndarray:
    """Return text as it is, or with a mark for bytes that are no UTF-8, for their rows to be rejected."""
    whole = pa.py_buffer(np.array([0, len(text)], np.int64))
    try:
        pa.LargeStringArray.from_buffers(1, whole, pa.py_buffer(text)).validate(full=True)
        return text
    except pa.ArrowInvalid:
        return np.frombuffer(text.tobytes().decode(errors="bitdex-mark").encode(), np.uint8)


codecs.register_error("bitdex-mark", lambda error: (NOT_UTF8, error.end))  # type: ignore[attr-defined]


def _listed(names: Sequence[str]) -> str:
    shown = [name if len(name) <= 40 else name[:40] + "..." for name in names[:20]]
    if not shown:
        return "no columns: it is empty"
    return ", ".join(shown) + (f" and {len(names) - 20:,} more" if len(names) > 20 else "")


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
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type) or array.type == TYPES[kind]:
        return array, everything
    if (
        pa.types.is_string(array.type)
        or pa.types.is_large_string(array.type)
        or array.type == pa.string_view()
    ):
        return convert_text(array.cast(pa.string()), kind)
    if kind == "boolean" and pa.types.is_integer(array.type):
        return array.cast(pa.bool_()), np.asarray(
            pc.fill_null(pc.is_in(array, pa.array([0, 1], array.type)), True)
        )
    if kind == "any":
        return array, everything
    if pa.types.is_floating(array.type) and kind == "integer":
        return _whole_numbers(array)
    if pa.types.is_timestamp(array.type) and kind == "integer":
        return array.cast(pa.timestamp("s"), safe=False).cast(pa.int64()), everything
    try:
        return array.cast(TYPES[kind]), everything
    except pa.ArrowInvalid:
        return convert_text(array.cast(pa.string()), kind)


def _whole_numbers(array: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Take floats that are whole as integers: pandas keeps integers with gaps as floats, and gaps as NaN."""
    empty = pc.or_(pc.is_null(array), pc.fill_null(pc.is_nan(array), False))
    whole = pc.fill_null(pc.and_(pc.equal(pc.floor(array), array), pc.less(pc.abs(array), 2.0**63)), False)
    good = pc.or_(empty, whole)
    return pc.if_else(whole, array, None).cast(pa.int64()), np.asarray(good)


def _open_arrow(path: Path) -> Iterator[pa.RecordBatch]:
    if path.suffix == ".parquet":
        import pyarrow.parquet as parquet

        return parquet.ParquetFile(path).iter_batches(batch_size=ROWS)
    reader = pa.ipc.open_file(pa.memory_map(str(path)))
    return (reader.get_batch(i) for i in range(reader.num_record_batches))


def _as_batches(table: Any, what: str) -> Iterator[pa.RecordBatch]:
    if isinstance(table, pa.Table):
        return iter(table.to_batches(max_chunksize=ROWS))
    if hasattr(table, "__arrow_c_stream__"):
        return iter(pa.RecordBatchReader.from_stream(table))
    if hasattr(table, "columns") and hasattr(table, "iloc"):
        return iter(pa.Table.from_pandas(table, preserve_index=False).to_batches(max_chunksize=ROWS))
    if isinstance(table, Mapping):
        return iter(pa.table(dict(table)).to_batches(max_chunksize=ROWS))
    raise InvalidError(f"{what}: {type(table).__name__} is no path, DataFrame or Arrow table")


def _bytes_of(table: Any) -> int:
    return int(getattr(table, "nbytes", 0) or 0)


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
