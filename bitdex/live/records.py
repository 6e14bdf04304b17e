"""Records: documents as another system writes them, under the keys of their source, one JSON object a line.

What the schema says of a field's source makes a document of a record: `sources` names its key and the one
that counts where that is missing or null, ``ms_to_seconds`` divides the first by 1000 (rounding down), an
``exists_boolean`` tells whether the first is there. Keys that the schema does not name are not looked at.

Blocks of lines are parsed into columns. Where a block does not fit its types, or fields ask for two types of
one key, its lines are looked at one by one, and each that cannot be used is rejected with its number and the
reason; the others stay.
"""

import itertools
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bitdex import filesystem
from bitdex.columns import ARROW
from bitdex.documents import column_kind
from bitdex.dump.blocks import Rejects
from bitdex.errors import InvalidError
from bitdex.live.batch import Batch
from bitdex.live.json_lines import columns_of_lines, object_of
from bitdex.live.rows import columns_of, slot_of
from bitdex.schema import Field, Schema
from bitdex.schema_rules import TEXT_KINDS

BLOCK, ROWS = 16 << 20, 50_000  # bytes of a file, or records, in one commit
_READ = {kind: pa.string() for kind in TEXT_KINDS} | {"integer_array": pa.list_(pa.int64())}


@dataclass
class LoadResult:
    """What loading records did. Rows = applied + rejected; of records with one id the last counts."""

    rows: int = 0
    applied: int = 0
    rejected: int = 0
    seconds: float = 0.0
    rejects: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        text = (
            f"{self.rows:,} records = {self.applied:,} applied + {self.rejected:,} rejected "
            f"in {self.seconds:.1f} s"
        )
        for reason, found in self.rejects.items():
            text += f"\n  rejected {found['rows']:,}: {reason}; for example {'; '.join(found['examples'])}"
        return text


@dataclass(frozen=True, slots=True)
class Lines:
    """Some records: bytes with one a line, or mappings and lines in a list; `size` bytes were read."""

    content: bytes | list[Any]
    size: int


def blocks_of(source: Any) -> Iterator[Lines]:
    """Yield the records of a file by its path, of an open file, or of an iterable of lines or mappings."""
    if isinstance(source, str | Path):
        data, at = filesystem.map_read(Path(source)), 0
        while at < len(data):
            end = _line_end(data, min(at + BLOCK, len(data)))
            yield Lines(data[at:end].tobytes(), end - at)
            filesystem.release(data)
            at = end
        return
    if isinstance(source, Mapping) or not isinstance(source, Iterable):
        raise InvalidError(f"records: expected a path, lines or mappings, found {type(source).__name__}")
    records = iter(source)
    while block := list(itertools.islice(records, ROWS)):
        yield Lines(block, sum(len(one) for one in block if isinstance(one, str | bytes)))


def size_of(source: Any) -> int:
    """Return the bytes of a file, 0 where records come from elsewhere."""
    return filesystem.size(Path(source)) if isinstance(source, str | Path) else 0


def _line_end(data: np.ndarray, at: int) -> int:
    """Return where the line that the byte before `at` belongs to ends."""
    at -= 1
    while at < len(data):
        found = np.flatnonzero(data[at : at + (1 << 16)] == ord("\n"))
        if len(found):
            return at + int(found[0]) + 1
        at += 1 << 16
    return len(data)


class Records:
    """Makes documents of records and puts them into batches."""

    def __init__(self, schema: Schema):
        self._schema = schema
        self._fields = [one for one in schema.fields.values() if one.sort is None or not one.sort.computed]
        self._fields = [one for one in self._fields if one.name != "id"]
        names = [schema.id_field, *(name for one in self._fields for name in one.sources[:2])]
        self._names = dict.fromkeys(names)
        self._types = _types(schema, self._fields, self._names)
        self._rejects, self._begin = Rejects(), time.perf_counter()
        self._rows = self._applied = 0

    @property
    def result(self) -> LoadResult:
        """What was done so far."""
        seconds, rejects = time.perf_counter() - self._begin, self._rejects
        return LoadResult(self._rows, self._applied, rejects.total, seconds, rejects.to_mapping())

    def put(self, lines: Lines, batch: Batch) -> None:
        """Put the documents of some records."""
        table = self._parsed(lines.content)
        if table is not None:
            documents = self._documents(table)
            if documents is not None and batch.put_table(documents) is not None:
                self._rows += len(table)
                self._applied += len(table)
                return
        self._put_one_by_one(lines.content, batch)

    def _parsed(self, content: bytes | list[Any]) -> pa.Table | None:
        """Return records as columns; None where they are no columns of the types of their fields."""
        if isinstance(content, list):
            if all(isinstance(one, Mapping) for one in content):
                return columns_of(content, self._names, self._schema.id_field)
            if not all(isinstance(one, str | bytes) for one in content):
                return None
            lines = [_bytes_of(one) for one in content]
            if any(b"\n" in one for one in lines):
                return None
            content = b"\n".join(lines)
        return None if self._types is None else columns_of_lines(content, self._types)

    def _documents(self, table: pa.Table) -> pa.Table | None:
        """Return columns of fields, made of columns of records; None where that takes a look at each."""
        if self._schema.id_field not in table.column_names:
            return None
        columns = {"id": table[self._schema.id_field]}
        for one in self._fields:
            found = [table[name] if name in table.column_names else None for name in one.sources[:2]]
            try:
                column = _joined(one, found, len(table))
            except pa.ArrowException:
                return None
            if column is not None:
                columns[one.name] = column
        return pa.table(columns)

    def _put_one_by_one(self, content: bytes | list[Any], batch: Batch) -> None:
        lines = content.split(b"\n") if isinstance(content, bytes) else content
        documents: dict[int, dict[int, Any]] = {}
        for line in lines:
            if isinstance(line, str | bytes) and not line.strip():
                continue
            self._rows += 1
            try:
                document = self._document(line if isinstance(line, Mapping) else object_of(line))
                slot, held = slot_of(document["id"]), batch.held(document)
                batch.check(slot, held)
                documents[slot] = held
                self._applied += 1
            except InvalidError as error:
                reason = str(error).partition(": ")[0]
                self._rejects.add(reason, [f"record {self._rows}: {error}"])
        batch.put(documents)

    def _document(self, record: Mapping[str, Any]) -> dict[str, Any]:
        if self._schema.id_field not in record:
            raise InvalidError(f"id: {self._schema.id_field!r} is missing in {dict(record)!r:.80}")
        document = {"id": record[self._schema.id_field]}
        for one in self._fields:
            value = _value(one, [record.get(name) for name in one.sources[:2]])
            if value is not None:
                document[one.name] = value
        return document


def _types(schema: Schema, fields: Iterable[Field], names: Iterable[str]) -> pa.Schema | None:
    """Return the types of the keys of records; None if the fields of one do not agree, or do not tell."""
    found: dict[str, set[pa.DataType]] = {schema.id_field: {pa.int64()}}
    for one in fields:
        kind = _READ[one.kind] if one.kind in _READ else ARROW[column_kind(one)]
        for name in one.sources[:2] if one.kind != "exists_boolean" else ():
            found.setdefault(name, set()).add(kind)
    if any(len(found.get(name, ())) != 1 for name in names):
        return None
    return pa.schema([(name, next(iter(found[name]))) for name in sorted(names)])


def _joined(one: Field, found: list[pa.ChunkedArray | None], rows: int) -> pa.ChunkedArray | None:
    """Return a field's column: the first of its sources, and where that is null the second."""
    first = found[0]
    if one.kind == "exists_boolean":
        return pa.array([False] * rows) if first is None else pc.is_valid(first)
    if first is not None and one.ms_to_seconds:
        first = _floor_divided(first)
    rest = [column for column in (first, *found[1:]) if column is not None]
    if len({column.type for column in rest} - {pa.null()}) > 1:
        raise pa.ArrowInvalid(f"{one.name}: sources of several types")  # one of them would become the other
    return pc.coalesce(*rest) if len(rest) > 1 else rest[0] if rest else None


def _floor_divided(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return integers by 1000, rounded down; Arrow rounds towards zero."""
    if not pa.types.is_integer(column.type) and not pa.types.is_null(column.type):
        raise pa.ArrowInvalid(f"{column.type} is no column of milliseconds")
    least = pc.subtract_checked(column.cast(pa.int64()), pc.if_else(pc.less(column, 0), 999, 0))
    return pc.divide(least, 1000)


def _value(one: Field, found: list[Any]) -> Any:
    if one.kind == "exists_boolean":
        return found[0] is not None
    first = found[0]
    if one.ms_to_seconds and isinstance(first, int | float) and not isinstance(first, bool):
        first = first // 1000
    return next((value for value in (first, *found[1:]) if value is not None), None)


def _bytes_of(line: str | bytes) -> bytes:
    """Return a line without what surrounds it; half a surrogate becomes what is no UTF-8."""
    return (line.encode(errors="surrogatepass") if isinstance(line, str) else line).strip()
