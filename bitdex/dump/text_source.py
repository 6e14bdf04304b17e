"""Text files in blocks: CSV and TSV.

They are cut into blocks at line ends outside quotes, so that a quoted line break
never splits a row, and parsed by `pyarrow.csv` with explicit types. A block that does not
fit its types is parsed again as text, and each row that cannot be used is rejected with
its line number and the reason; the others stay.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from csv import Error, reader
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv

from bitdex import filesystem
from bitdex.dump.blocks import EXAMPLES, Block, Rejects, one_chunk
from bitdex.dump.cells import EXPECTED, FALSE, TRUE, TYPES, convert_text, marked_text
from bitdex.errors import InvalidError
from bitdex.kernels.csv_rows import find_hexadecimal, find_row_end
from bitdex.kernels.integer_csv import count_lines, parse_integers

BLOCK = 8 << 20  # bytes of text parsed at a time
MARK = b"\xef\xbb\xbf"  # byte order mark
QUOTE, NEWLINE = 34, 10


class TextSource:
    """A delimited text file as RFC 4180 has it: quotes, doubled quotes, line breaks in quotes, CR LF."""

    def __init__(self, path: Path, kinds: Mapping[str, str], names: Sequence[str], delimiter: str, what: str):
        self.path, self.kinds, self.what = path, dict(kinds), what
        self.delimiter = delimiter
        self.size = filesystem.size(path)
        self._data = filesystem.map_read(path)
        self._start = 3 if self._data[:3].tobytes() == MARK else 0
        self.names = self._header(names)
        self._numbers = [name for name, kind in kinds.items() if TYPES[kind] == pa.int64()]
        self._integers = bool(kinds) and len(self._numbers) == len(kinds)  # as long as it holds
        self._plain = "key" not in kinds.values()  # whether Arrow tells what does not fit
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
                filesystem.release(self._data)
                row += block.rows + block.rejects.total
                yield block
            if unclosed:
                yield self._unclosed(end, row)
                return
            at = end

    def _unclosed(self, start: int, row: int) -> Block:
        """Reject the last row; refuse a file in which more of them cannot be told from its text."""
        rejects, rest = Rejects(), self._data[start:]
        shown = rest[:60].tobytes().decode(errors="replace")
        if (rest[:-1] == NEWLINE).any():
            raise InvalidError(
                f"{self.what}: row {row} of {self.path.name}: a quote opens and never closes, so that "
                f"{len(rest):,} bytes to the end are one cell: {shown!r}; close it, or double it"
            )
        rejects.add("a quote opens and never closes", [f"row {row}: {shown!r}"])
        return Block(
            {name: pa.nulls(0, TYPES[kind]) for name, kind in self.kinds.items()}, 0, len(rest), row, rejects
        )

    def _header(self, names: Sequence[str]) -> list[str]:
        first, end = b"", self._start
        while not first and end < len(self._data):  # empty lines before the header
            start, end = end, cut_rows(self._data, end, 1, self.delimiter)
            end = len(self._data) if end < 0 else end
            first = self._data[start:end].tobytes().strip(b"\r\n")
        found = self._names_in(first, not names) if first else []
        if not names or found == list(names):
            self._start = end
            names = found
        if len(set(names)) != len(names):
            raise InvalidError(f"{self.what}: {self.path.name} has a column name twice: {_listed(names)}")
        return list(names)

    def _names_in(self, line: bytes, needed: bool) -> list[str]:
        """Return the cells of the first line; where it need not be a header it may be unreadable."""
        try:
            text = io.StringIO(line.decode(), newline="")
            return [cell.strip() for cell in next(reader(text, delimiter=self.delimiter))]
        except (Error, UnicodeDecodeError) as error:
            if not needed:
                return []
            raise InvalidError(
                f"{self.what}: the first line of {self.path.name} cannot be read: {error}; "
                "a table is UTF-8 text, one line a row"
            ) from None

    def _parse(self, text: np.ndarray, first: int) -> Block:
        columns = self._parse_integers(text)
        if columns is not None:
            return Block(columns, len(next(iter(columns.values()))), len(text), first)
        marked = _as_utf8(text)
        if marked is text and self._plain and not self._has_hexadecimal(text):
            rejects = Rejects()
            try:
                types = {name: TYPES[kind] for name, kind in self.kinds.items()}
                table = self._read(text, rejects, types, 4)
                columns = {name: one_chunk(table.column(name)) for name in self.kinds}
                return Block(columns, table.num_rows, len(text), first, rejects)
            except pa.ArrowInvalid:
                pass  # a cell does not fit its type, or a row the piece
        rejects = Rejects()
        table = self._read(marked, rejects, dict.fromkeys(self.kinds, pa.string()), 1)
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

    def _has_hexadecimal(self, text: np.ndarray) -> bool:
        """Tell whether a number is written as ``0x1F``, which Arrow takes for an integer and wraps."""
        if not self._numbers:
            return False
        wanted = np.array([name in self._numbers for name in self.names])
        return int(find_hexadecimal(text, ord(self.delimiter), wanted)) >= 0

    def _read(
        self, text: np.ndarray, rejects: Rejects, types: Mapping[str, pa.DataType], pieces: int
    ) -> pa.Table:
        quoted = bool((text == QUOTE).any())
        if text[:3].tobytes() == MARK:  # Arrow would take it off every block
            text = np.concatenate((np.frombuffer(b"\n", np.uint8), text))

        def on_bad_row(row: Any) -> str:
            rejects.add(
                f"{row.expected_columns} columns expected, {row.actual_columns} found",
                [f"{row.text[:200]!r}"],
            )
            return "skip"

        return csv.read_csv(
            pa.BufferReader(pa.py_buffer(text)),
            csv.ReadOptions(
                column_names=self.names,
                block_size=max(1 << 20, len(text) // pieces + 1),  # no row may be longer
            ),
            csv.ParseOptions(
                delimiter=self.delimiter,
                quote_char='"' if quoted else False,
                newlines_in_values=quoted,
                invalid_row_handler=on_bad_row,
            ),
            csv.ConvertOptions(
                column_types=types,
                include_columns=list(types),
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
            cells = one_chunk(table.column(name))
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
        return np.frombuffer(marked_text(text.tobytes()).encode(), np.uint8)


def _listed(names: Sequence[str]) -> str:
    shown = [name if len(name) <= 40 else name[:40] + "..." for name in names[:20]]
    if not shown:
        return "no columns: it is empty"
    return ", ".join(shown) + (f" and {len(names) - 20:,} more" if len(names) > 20 else "")
