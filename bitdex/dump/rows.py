"""Rows of a phase: from a block of columns to slots and typed field values.

A field's values come out in the form in which the index keeps them: integers, booleans
and labels (dictionary numbers) as Arrow int64 or bool, text as string, lists one element
a row or as Arrow lists.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bitdex.columns import is_text
from bitdex.dictionaries import Dictionaries
from bitdex.dump.blocks import Block, Rejects
from bitdex.dump.casts import cast_column, check_single, is_list, key_column
from bitdex.dump.evaluate import evaluate, to_mask
from bitdex.dump.lookup import LookupTable, level_targets
from bitdex.dump.phases import Phase
from bitdex.errors import InvalidError
from bitdex.registry import FieldRegistry
from bitdex.schema import Field, Schema

LAST_SLOT = (1 << 32) - 1
_KINDS = {"boolean": "boolean", "exists_boolean": "boolean", "float": "float"}


_REASONS = {
    "float": "not a number",
    "boolean": "not a boolean",
    "integer_array": "not an integer, or a list with a null",
}


@dataclass(frozen=True, slots=True)
class Rows:
    """The usable rows of a block: slots (uint32, shape (n,)) and an Arrow array of n for each field."""

    slots: np.ndarray
    fields: dict[str, pa.Array]


class RowMaker:
    """Turns the blocks of one phase into rows."""

    def __init__(
        self,
        phase: Phase,
        schema: Schema,
        tables: list[LookupTable],
        registry: FieldRegistry,
        dictionaries: Dictionaries,
    ):
        self.phase, self.schema, self.tables = phase, schema, tables
        self.filtered = 0
        self.rejects = Rejects()
        self._registry, self._dictionaries = registry, dictionaries
        self._labels: dict[str, _Labels] = {}

    def make(self, block: Block) -> Rows:
        """Filter, compute, join and convert one block."""
        columns, rows = self._usable(block)
        if self.phase.filter is not None and rows:
            mask = to_mask(evaluate(self.phase.filter, columns, rows))
            self.filtered += rows - int(mask.sum())
            columns, rows = _filtered(columns, mask)
        slots = np.asarray(self._slots(columns)).astype(np.uint32)
        raw = level_targets(self.phase, columns, rows, None, None)
        for table in self.tables:
            raw |= table.targets(columns[table.lookup.join_on])
        return self._typed(Rows(slots, raw))

    def _usable(self, block: Block) -> tuple[dict[str, pa.Array], int]:
        """Leave out the rows whose slot is missing or no document id."""
        for reason, count in block.rejects.counts.items():
            self.rejects.add(reason, block.rejects.examples[reason], count)
        name = self.phase.slot_field
        cells = self._slots(block.columns)
        known = np.asarray(pc.is_valid(cells))
        values = np.asarray(pc.fill_null(cells, 0))
        inside = (values >= 0) & (values <= LAST_SLOT)
        if known.all() and inside.all():
            return block.columns, block.rows
        self._reject(f"{name}: empty", np.flatnonzero(~known), block, cells)
        self._reject(
            f"{name}: outside 0 to {LAST_SLOT}, no document id", np.flatnonzero(known & ~inside), block, cells
        )
        return _filtered(block.columns, known & inside)

    def _slots(self, columns: dict[str, pa.Array]) -> pa.Array:
        name = self.phase.slot_field
        return key_column(f"phase {self.phase.name!r}: slot_field {name!r}", columns[name])

    def _reject(self, reason: str, rows: np.ndarray, block: Block, cells: pa.Array) -> None:
        if len(rows):
            name = self.phase.slot_field
            shown = [f"row {block.first + i}: {name} = {cells[int(i)].as_py()!r}" for i in rows[:3]]
            self.rejects.add(reason, shown, len(rows))

    def _typed(self, rows: Rows) -> Rows:
        fields, good = {}, np.ones(len(rows.slots), bool)
        for name, array in rows.fields.items():
            if self.schema.has(name):
                fields[name], fits = self._convert(self.schema.field(name), array)
                if fits is not None and not fits.all():
                    self._reject_values(name, array, rows.slots, good & ~fits)
                    good &= fits
            else:
                fields[name] = _plain(name, array)
        if good.all():
            return Rows(rows.slots, fields)
        keep = pa.array(good)
        return Rows(rows.slots[good], {name: array.filter(keep) for name, array in fields.items()})

    def _reject_values(self, name: str, array: pa.Array, slots: np.ndarray, bad: np.ndarray) -> None:
        field = self.schema.field(name)
        shown = [
            f"{self.phase.slot_field} {slots[i]}: {name} = {array[int(i)].as_py()!r}"
            for i in np.flatnonzero(bad)[:3]
        ]
        self.rejects.add(f"{name}: {_expected(field)}", shown, int(bad.sum()))

    def _convert(self, field: Field, array: pa.Array) -> tuple[pa.Array, np.ndarray | None]:
        """Return a field's values as the index keeps them, and which of them the field accepts."""
        if not field.is_list:
            check_single(f"field {field.name!r}", array)
        if field.kind == "low_cardinality_string":
            return self._labels_of(field).numbers(array), None
        if field.kind == "mapped_string":
            return _mapped(field, array), None
        if field.kind == "string":
            return _cast(field.name, array, pa.large_string()), None
        if is_list(array.type):
            lists = _cast(field.name, array, pa.large_list(pa.int64()))
            return lists, _without_nulls(lists)
        values, fits = cast_column(f"field {field.name!r}", array, _KINDS.get(field.kind, "integer"))
        return values, _within(field, values, fits)

    def _labels_of(self, field: Field) -> "_Labels":
        if field.name not in self._labels:
            number = self._registry.number(field.name)
            self._labels[field.name] = _Labels(number, field, self._dictionaries)
        return self._labels[field.name]


class _Labels:
    """Texts of one field to dictionary numbers, new ones in order of appearance."""

    def __init__(self, number: int, field: Field, dictionaries: Dictionaries):
        self._number, self._field, self._dictionaries = number, field, dictionaries

    def numbers(self, array: pa.Array) -> pa.Array:
        if not pa.types.is_dictionary(array.type):
            array = _as_text(self._field.name, array).dictionary_encode()
        codes = array.indices
        present = np.unique(np.asarray(codes.drop_null()))
        texts = array.dictionary.take(pa.array(present)).to_pylist()
        table = np.zeros(len(array.dictionary), np.int64)
        table[present] = self._dictionaries.ensure(self._number, texts, self._field.case_sensitive)
        return pa.array(table).take(codes)


def _mapped(field: Field, array: pa.Array) -> pa.Array:
    """Look texts up in the field's string map; unknown ones are 0."""
    encoded = _as_text(field.name, array).dictionary_encode()
    known = field.string_map or {}
    if not field.case_sensitive:
        known = {text.lower(): value for text, value in known.items()}
    texts = encoded.dictionary.to_pylist()
    values = [known.get(text if field.case_sensitive else text.lower(), 0) for text in texts]
    return pa.array(values, pa.int64()).take(encoded.indices)


def _as_text(name: str, array: pa.Array) -> pa.Array:
    return array if is_text(array.type) else _cast(name, array, pa.string())


def _without_nulls(lists: pa.LargeListArray) -> np.ndarray:
    """Return which lists hold values only."""
    elements, good = lists.flatten(), np.ones(len(lists), bool)
    if elements.null_count:
        counts = np.asarray(pc.fill_null(pc.list_value_length(lists), 0))
        good[np.repeat(np.arange(len(lists)), counts)[np.asarray(pc.is_null(elements))]] = False
    return good


def _within(field: Field, values: pa.Array, fits: np.ndarray) -> np.ndarray:
    """Reject sort values outside what the field's layers can hold, and NaN."""
    if field.sort is None or field.kind not in ("integer", "float"):
        return fits
    valid = np.asarray(pc.is_valid(values))
    numbers = np.asarray(pc.fill_null(values, 0))
    if field.kind == "float":
        inside = ~np.isnan(numbers) | ~valid
    else:
        low = max(int(field.sort.low), -(2**63))
        high = min(int(field.sort.high), 2**63 - 1)
        inside = ((numbers >= low) & (numbers <= high)) | ~valid
    return inside & fits


def _expected(field: Field) -> str:
    if field.sort is not None and field.kind == "integer":
        return f"outside {field.sort.low} to {field.sort.high}, or not an integer"
    return _REASONS.get(field.kind, "not an integer")


def _plain(name: str, array: pa.Array) -> pa.Array:
    """Return the values of a field outside the schema in a type that documents hold."""
    if pa.types.is_integer(array.type):
        return _cast(name, array, pa.int64())
    if pa.types.is_floating(array.type):
        return array.cast(pa.float64())
    return array if pa.types.is_boolean(array.type) else _cast(name, array, pa.string())


def _cast(name: str, array: pa.Array, kind: pa.DataType) -> pa.Array:
    try:
        return array.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InvalidError(f"field {name!r}: a column of {array.type} is no {kind}: {error}") from None


def _filtered(columns: dict[str, pa.Array], mask: np.ndarray) -> tuple[dict[str, pa.Array], int]:
    keep: Any = pa.array(mask)
    return {name: array.filter(keep) for name, array in columns.items()}, int(mask.sum())
