"""What a phase writes: documents while it reads, bitmaps when it has read everything."""

from contextlib import ExitStack
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyroaring import BitMap

from bitdex.bitmaps import BitmapChanges, BitmapSilo, sort_words
from bitdex.columns import Column, encode_columns
from bitdex.documents import DocSilo, column_kind
from bitdex.dump.grouping import last_of_each
from bitdex.dump.postings import Postings
from bitdex.errors import WriteFailedError
from bitdex.formats import bitmap as format_
from bitdex.formats.document import encode_document
from bitdex.query.order import among, bitmap_of
from bitdex.schema import Field, Schema
from bitdex.silo.writes import reach
from bitdex.uninterrupted import uninterrupted


class DocumentSink:
    """Writes the documents of a phase: through the log into an empty silo, else merged in place.

    Attributes
    ----------
    sequence : int
        The one to commit: of the merge, or of the last batch in the log.
    """

    def __init__(self, documents: DocSilo, sequence: int):
        self._documents = documents
        self._first = sequence
        self.sequence = sequence
        self._stack = ExitStack()
        self._writer: Any = None
        self._last = -1
        silo = documents.silo
        if len(silo) or silo.pending:
            self._writer = self._stack.enter_context(silo.merge_writer(sequence, commit=False))

    def clear(self, slots: np.ndarray, fields: list[int]) -> None:
        """Remove fields from documents that an earlier run of the phase has written."""
        if len(slots) and fields and self._writer is not None:
            payload = np.frombuffer(encode_document(dict.fromkeys(fields)), np.uint8)
            offsets = np.arange(len(slots) + 1, dtype=np.int64) * len(payload)
            self._writer.merge_many(slots.astype(np.uint64), np.tile(payload, len(slots)), offsets)

    def add(self, slots: np.ndarray, columns: list[Column]) -> None:
        """Write fields of documents (slots uint32, ascending)."""
        data, offsets = encode_columns(columns, len(slots))
        keys = slots.astype(np.uint64)
        if self._writer is not None:
            self._writer.merge_many(keys, data, offsets)
        else:
            silo, fresh = self._documents.silo, int(slots[0]) > self._last
            append = silo.put_many if fresh else silo.merge_many
            self.sequence = append(keys, data, offsets, sequence=max(self.sequence, silo.next_sequence))
        self._last = max(self._last, int(slots[-1]))

    def prepare(self) -> None:
        """Make what was written durable, to be committed with the rest."""
        self._stack.close()
        if self._writer is None and self._last < 0:
            reach(self._documents.silo, self.sequence)
        elif self._writer is None:
            self._documents.silo.compact(commit=False)

    def abort(self, error: BaseException) -> None:
        """Give up what was written: the silo is as it was before the phase, or takes no more writes."""
        self._stack.__exit__(type(error), error, error.__traceback__)
        silo = self._documents.silo
        if self._writer is None and not isinstance(error, WriteFailedError) and silo.failure is None:
            uninterrupted(lambda: silo.reload(self._first - 1))


class FieldSink:
    """Collects the filter and sort values of a phase; turns them into bitmap changes at its end.

    In a phase whose rows come one a slot in ascending order, values go to the postings as
    they come. Otherwise single values wait in memory, because the last row of a slot counts.
    """

    def __init__(self, schema: Schema, numbers: dict[str, int], bitmaps: BitmapSilo, postings: Postings):
        self._schema, self._numbers, self._bitmaps, self._postings = schema, numbers, bitmaps, postings
        self._single: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
        self._present: dict[str, list[np.ndarray]] = {}

    def add(self, slots: np.ndarray, columns: dict[str, pa.Array], ordered: bool) -> None:
        """Take the values of distinct slots, one a slot (lists as Arrow lists)."""
        for name, array in columns.items():
            field = self._schema.fields.get(name)
            if field is None or (field.filter is None and field.sort is None):
                continue
            if field.is_list:
                self._add_lists(field, slots, array)
            else:
                self._add_single(field, slots, array, ordered)

    def _add_lists(self, field: Field, slots: np.ndarray, array: pa.LargeListArray) -> None:
        counts = np.diff(np.asarray(array.offsets))
        values = np.asarray(array.flatten())
        self._post(field, np.repeat(slots, counts), values)
        self._present.setdefault(field.name, []).append(slots[counts > 0])

    def _add_single(self, field: Field, slots: np.ndarray, array: pa.Array, ordered: bool) -> None:
        if array.null_count:
            slots = slots[np.asarray(pc.is_valid(array))]
            array = array.drop_null()
        values = np.asarray(array)
        if field.sort is None and ordered:
            self._post(field, slots, values)
            self._present.setdefault(field.name, []).append(slots)
        else:
            self._single.setdefault(field.name, []).append((slots, values))

    def _post(self, field: Field, slots: np.ndarray, values: np.ndarray) -> None:
        number = self._numbers[field.name]
        stored = self._bitmaps.encode_values(number, values.astype(np.int64))
        self._postings.add(number, stored, slots)

    def singles(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the collected values of a single-valued field, the last of each slot, by slot."""
        parts = self._single.get(name, [])
        if not parts:
            return np.empty(0, np.uint32), np.empty(0, np.int64)
        slots, values = (np.concatenate(column) for column in zip(*parts))
        return last_of_each(slots, values)  # type: ignore[return-value]

    def write(self, changes: BitmapChanges, targets: list[str], cleared: BitMap) -> None:
        """Turn everything into changes; `cleared` are the slots whose earlier values are withdrawn."""
        for name in targets:
            field = self._schema.fields.get(name)
            if field is not None and field.sort is not None:
                self.write_sort(changes, field, *self.singles(name), cleared)
            if field is not None and field.filter is not None and name in self._single:
                slots, values = self.singles(name)
                self._post(field, slots, values)
                self._present[name] = [slots]
        written = {name: union_of(parts) for name, parts in self._present.items()}
        fields = {self._numbers[name]: name for name in targets if self._is_filter(name)}
        self._write_filters(changes, fields, written, cleared)

    def write_sort(
        self, changes: BitmapChanges, field: Field, slots: np.ndarray, values: np.ndarray, cleared: BitMap
    ) -> None:
        """Write the layers of a sort field: the new values, and the old ones of other slots."""
        number = self._numbers[field.name]
        words = sort_words(field, values)
        old_slots, old_words = self._bitmaps.layers(number)
        if len(old_slots) and cleared:
            kept = ~among(old_slots, cleared)
            old_slots, old_words = old_slots[kept], old_words[kept]
        if len(old_slots):
            slots, words = last_of_each(
                np.concatenate((old_slots, slots)), np.concatenate((old_words, words))
            )
        changes.put_layers(number, slots, words)
        changes.put(format_.present_key(number), bitmap_of(slots))

    def _is_filter(self, name: str) -> bool:
        return self._schema.has(name) and self._schema.field(name).filter is not None

    def _write_filters(
        self, changes: BitmapChanges, fields: dict[int, str], written: dict[str, BitMap], cleared: BitMap
    ) -> None:
        """Write the values that the phase gives, and take withdrawn or replaced slots out of the others."""
        left = {number: set(self._bitmaps.stored_values(number).tolist()) for number in fields}
        gone = {
            number: cleared if self._schema.field(name).is_list else cleared | written.get(name, BitMap())
            for number, name in fields.items()
        }
        for batch in self._postings.bitmaps():
            number = batch.field_id
            keys = format_.filter_keys(number, batch.values)
            if not left[number]:
                changes.put_packed(keys, batch.payloads, batch.offsets)
                continue
            for i, value in enumerate(batch.values.tolist()):
                bitmap = format_.decode(batch.payloads[batch.offsets[i] : batch.offsets[i + 1]])
                if value in left[number]:
                    left[number].discard(value)
                    bitmap |= self._bitmaps.get(int(keys[i])) - gone[number]
                changes.put(int(keys[i]), bitmap)
        for number, values in left.items():
            if values and gone[number]:
                self._withdraw(changes, number, sorted(values), gone[number])
        for number, name in fields.items():
            before = self._bitmaps.present(number) - cleared
            changes.put(format_.present_key(number), before | written.get(name, BitMap()))

    def _withdraw(self, changes: BitmapChanges, number: int, values: list[int], slots: BitMap) -> None:
        keys = [format_.filter_key(number, value) for value in values]
        for key, bitmap in zip(keys, self._bitmaps.get_many(keys)):
            if bitmap.intersect(slots):
                changes.put(key, bitmap - slots)


def document_columns(schema: Schema, numbers: dict[str, int], columns: dict[str, pa.Array]) -> list[Column]:
    """Return the columns that documents store, lists to be appended."""
    out = []
    for name, array in columns.items():
        field = schema.fields.get(name)
        if field is not None and not field.stored:
            continue
        kind = column_kind(field) if field is not None else _kind_of(array)
        out.append(Column(numbers[name], kind, array, append=kind == "list"))
    return out


def _kind_of(array: pa.Array) -> str:
    if pa.types.is_boolean(array.type):
        return "boolean"
    if pa.types.is_integer(array.type):
        return "integer"
    return "float" if pa.types.is_floating(array.type) else "string"


def union_of(parts: list[np.ndarray]) -> BitMap:
    """Return the bitmap of the slots in several arrays, each ascending and distinct."""
    slots = np.concatenate([*parts, np.empty(0, np.uint32)])
    if (slots[1:] > slots[:-1]).all():
        return bitmap_of(slots)
    return BitMap.union(*map(bitmap_of, parts))
