"""Sheet: documents that one call puts, changes or deletes, compared with what is stored in columns.

::

    ids of the sheet --> documents before --> columns --+
                                                        +--> pairs of key and slot, sort values
    columns that are put, and computed ones ------------+
                                            +--> documents after: encoded, or folded from before and change

What it notes is what `Batch` would note of each document: the fewest alterations of bitmaps. A document
whose bytes are the same as before is not written again.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyroaring import BitMap

from bitdex.bitmaps import sort_words
from bitdex.columns import ARROW, Column, encode_columns, fold_documents
from bitdex.computed import compute
from bitdex.documents import column_kind
from bitdex.formats import bitmap as format_
from bitdex.formats import frame
from bitdex.formats.document import encode_document
from bitdex.kernels.gather import compare_values, scatter_values
from bitdex.kernels.pairs import sort_pairs, subtract_pairs
from bitdex.live.alterations import Notes
from bitdex.live.before import Before
from bitdex.live.draft import Draft
from bitdex.live.writer import Writer
from bitdex.query.edited import Edits, held_in
from bitdex.query.order import bitmap_of
from bitdex.query.snapshot import Snapshot
from bitdex.schema import Field
from bitdex.silo.writes import Writes

Columns = dict[int, pa.Array]  # field number -> values of the Arrow type of its kind, one a document
Pairs = tuple[np.ndarray, np.ndarray]  # stored values (u64) and slots (u32)
Packed = tuple[np.ndarray, np.ndarray]  # payloads of documents, and their offsets, one more than documents


@dataclass(frozen=True, slots=True)
class Sheet:
    """Documents by slot (u32, ascending and distinct), in columns; what is null they do not have.

    Attributes
    ----------
    keeps : bool
        Whether they have the fields without a column as they are stored, or not at all.
    exist : bool
        Whether there are to be such documents, or none.
    """

    slots: np.ndarray
    columns: Columns
    keeps: bool = False
    exist: bool = True

    @classmethod
    def of_rows(cls, rows: Mapping[int, Mapping[int, Any]], fields: Mapping[int, Field]) -> "Sheet":
        """Return documents that are given one by one, each by field number as it is held."""
        slots = sorted(rows)
        numbers = {number for row in rows.values() for number in row}
        columns = {
            number: pa.array([rows[slot].get(number) for slot in slots], ARROW[column_kind(fields[number])])
            for number in sorted(numbers)
        }
        return cls(np.array(slots, np.uint32), columns)

    def __len__(self) -> int:
        return len(self.slots)

    def change(self, slot: int, draft: Draft) -> None:
        """Let the draft of one of its documents, as it is stored, be as the sheet says."""
        at = int(np.searchsorted(self.slots, np.uint32(slot)))
        held = {number: column[at].as_py() for number, column in self.columns.items()}
        if not self.exist:
            draft.delete()
        elif self.keeps:
            draft.update(held)
        else:
            draft.replace(held)

    def given(self, number: int, field: Field) -> pa.Array:
        """Return a column, of nulls where it has none."""
        column = self.columns.get(number)
        return pa.nulls(len(self), ARROW[column_kind(field)]) if column is None else column

    @property
    def members(self) -> BitMap:
        """The slots of its documents."""
        return bitmap_of(self.slots)

    def without(self, slots: BitMap) -> "Sheet":
        """Return it without the documents of some slots."""
        return self if slots.isdisjoint(self.members) else self._chosen(~held_in(slots, self.slots))

    def within(self, slots: BitMap) -> "Sheet":
        """Return it with no documents but those of some slots."""
        return self if slots.issuperset(self.members) else self._chosen(held_in(slots, self.slots))

    def _chosen(self, kept: np.ndarray) -> "Sheet":
        chosen = pa.array(kept)
        columns = {number: column.filter(chosen) for number, column in self.columns.items()}
        return replace(self, slots=self.slots[kept], columns=columns)


class Settling:
    """Notes what the documents of a sheet alter, and what is to be written of them.

    Attributes
    ----------
    reveals : bool
        As that of `live.batch.Batch`.
    """

    def __init__(self, sheet: Sheet, writer: Writer, snapshot: Snapshot, now: float):
        self._sheet, self._writer, self._snapshot, self._now = sheet, writer, snapshot, now
        self._slots, self._members = sheet.slots, sheet.members
        self._before = Before(writer, sheet.slots)
        self._after = dict(sheet.columns)
        for number, field in writer.computed if sheet.exist else ():
            self._after[number] = self._value(field)
        self.reveals = False

    def note(self, notes: Notes, documents: Writes) -> None:
        """Note everything."""
        self._note_states(notes)
        bits, fields = self._writer.bits.fields, self._writer.roles.fields
        compared = [number for number in fields if number in self._after or not self._sheet.keeps]
        self._before.read(number for number in compared if number not in bits)
        for number in compared:
            after = self._column(number, fields[number])
            if number in bits:
                self._compare_bits(number, fields[number], after, notes)
            else:
                self._compare(number, fields[number], self._before.column(number), after, notes)
        if not self._sheet.exist:
            nothing = np.empty(0, np.uint8), np.zeros(len(self._slots) + 1, np.int64)
            documents.add_many(frame.DELETE, self._slots.astype(np.uint64), *nothing)
        else:
            self._write(documents, *(self._folded() if self._sheet.keeps else self._encoded(self._after)))

    # -- visibility ------------------------------------------------------------------------

    def _note_states(self, notes: Notes) -> None:
        """Note which documents are visible and which wait; those that are renewed no phase owns any more."""
        due = self._due() if self._sheet.exist else np.full(len(self._slots), -math.inf)
        waits, snapshot = due > self._now, self._snapshot
        notes.due = min(notes.due, float(due[waits].min(initial=math.inf)))
        if self._sheet.exist:
            hidden = bitmap_of(self._slots[waits])
            shown = (self._members - hidden) - snapshot.alive
            stored = bitmap_of(self._slots[self._before.stored.found]) | snapshot.deferred
            self.reveals = not shown.isdisjoint(stored) or not hidden.isdisjoint(snapshot.alive)
        for key, held, inside in (
            (format_.alive_key(), self._snapshot.stored_alive, ~waits & self._sheet.exist),
            (format_.deferred_key(), self._snapshot.stored_deferred, waits),
        ):
            wanted = bitmap_of(self._slots[inside])
            self._note_members(notes, key, (held & self._members) - wanted, wanted - held)
        for key, owned in self._writer.phases().items() if not self._sheet.keeps else ():
            self._note_members(notes, key, owned & self._members, BitMap())

    def _note_members(self, notes: Notes, key: int, leaving: BitMap, entering: BitMap) -> None:
        for slots, inside in ((leaving, False), (entering, True)):
            notes.put_many(key, np.frombuffer(slots.to_array(), np.uint32), inside)

    def _due(self) -> np.ndarray:
        """Return when each document becomes visible, in Unix seconds."""
        deferral = self._writer.store.schema.deferred
        if deferral is None:
            return np.full(len(self._slots), -math.inf)
        due = self._value(self._writer.store.schema.field(deferral.source_field))
        times = due.fill_null(0).to_numpy(zero_copy_only=False).astype(np.float64) / deferral.unit
        return np.where(validity_of(due), times, -math.inf)

    # -- values ----------------------------------------------------------------------------

    def _value(self, field: Field) -> pa.Array:
        return counted(field, self._writer, self._slots, self._column)

    def _column(self, number: int, field: Field) -> pa.Array:
        if number in self._after:
            return self._after[number]
        if self._sheet.keeps:
            return self._before.column(number)
        return pa.nulls(len(self._slots), ARROW[column_kind(field)])

    def _compare(self, number: int, field: Field, before: pa.Array, after: pa.Array, notes: Notes) -> None:
        """Note how the bits of a field differ, given its values before and after."""
        had, has = validity_of(before), validity_of(after)
        if field.filter is not None:
            if field.is_list:
                other = pa.array(_differing(before, after))
                slots = self._slots[np.asarray(other)]
                held, given = (self._elements(number, one.filter(other), slots) for one in (before, after))
            else:
                held, given = self._distinct(number, before, had, after, has)
            self._note_pairs(number, held, given, notes)
        if field.sort is not None:
            self._note_words(number, words_of(field, before), had, words_of(field, after), has, notes)
        self._note_presence(number, had, has, notes)

    def _compare_bits(self, number: int, field: Field, after: pa.Array, notes: Notes) -> None:
        """Note how the bits of a field that no document stores differ from those that there are."""
        had, has = np.zeros(len(self._slots), bool), validity_of(after)
        present = self._writer.store.bitmaps.present(number) & self._members
        had[np.searchsorted(self._slots, np.frombuffer(present.to_array(), np.uint32))] = True
        if field.filter is not None:
            held = self._writer.bits.pairs_of(number, self._slots)
            self._note_pairs(number, held, self._elements(number, after, self._slots), notes)
        if field.sort is not None:
            words = self._writer.bits.words_of(number, self._slots)
            self._note_words(number, words, had, words_of(field, after), has, notes)
        self._note_presence(number, had, has, notes)

    def _elements(self, number: int, values: pa.Array, slots: np.ndarray) -> Pairs:
        """Return the pairs of stored value and slot of a column of lists or single values."""
        if pa.types.is_large_list(values.type):
            counts = pc.fill_null(pc.list_value_length(values), 0).to_numpy(zero_copy_only=False)
            slots, values = np.repeat(slots, counts), values.flatten()
        else:
            slots, values = slots[validity_of(values)], values.drop_null()
        return self._writer.store.bitmaps.encode_values(number, _integers(values)), slots

    def _distinct(
        self, number: int, before: pa.Array, had: np.ndarray, after: pa.Array, has: np.ndarray
    ) -> tuple[Pairs, Pairs]:
        """Return the pairs of single values, before and after, where they are not the same."""
        old, new = _integers(before), _integers(after)
        other = (old != new) | (had != has)
        encode = self._writer.store.bitmaps.encode_values
        (held, had_slots), (given, has_slots) = (
            (values[mask], self._slots[mask]) for values, mask in ((old, other & had), (new, other & has))
        )
        return (encode(number, held), had_slots), (encode(number, given), has_slots)

    def _note_pairs(self, number: int, before: Pairs, after: Pairs, notes: Notes) -> None:
        before, after = sort_pairs(*before), sort_pairs(*after)
        for stored, slots, inside in (
            (*subtract_pairs(before, after), False),
            (*subtract_pairs(after, before), True),
        ):
            notes.put_many(format_.filter_keys(number, stored), slots, inside)

    def _note_words(
        self,
        number: int,
        before: np.ndarray,
        had: np.ndarray,
        after: np.ndarray,
        has: np.ndarray,
        notes: Notes,
    ) -> None:
        """Note the layers in which sort values differ, and the values."""
        differing = before ^ after
        for bit in _bits(differing):
            moved = differing >> np.uint64(bit) & np.uint64(1) != 0
            enters = after >> np.uint64(bit) & np.uint64(1) != 0
            for inside in (False, True):
                slots = self._slots[moved & (enters == inside)]
                notes.put_many(format_.layer_key(number, bit), slots, inside)
        others = (differing != 0) | (had != has)
        if others.any():
            notes.words(number, Edits(self._slots[others], after[others], has[others]))

    def _note_presence(self, number: int, had: np.ndarray, has: np.ndarray, notes: Notes) -> None:
        for moved, inside in ((had & ~has, False), (has & ~had, True)):
            notes.put_many(format_.present_key(number), self._slots[moved], inside)

    # -- documents -------------------------------------------------------------------------

    def _encoded(self, columns: Columns) -> Packed:
        """Return what documents store of columns."""
        schema = self._writer.fields
        stored = [
            Column(number, column_kind(schema[number]), values)
            for number, values in columns.items()
            if schema[number].stored and values.null_count < len(values)
        ]
        return encode_columns(stored, len(self._slots))

    def _folded(self) -> Packed:
        """Return the documents as they are stored, with the columns in the place of what they had."""
        stored, schema = self._before.stored, self._writer.fields
        absent = {n: ~validity_of(values) for n, values in self._after.items() if schema[n].stored}
        parts = (stored.data, stored.offsets), _cleared(absent, len(self._slots)), self._encoded(self._after)
        return fold_documents(*_interleaved(parts), len(parts) * np.arange(len(self._slots) + 1))

    def _write(self, documents: Writes, data: np.ndarray, ends: np.ndarray) -> None:
        """Write the documents, packed, that are not stored like this."""
        sizes, stored = np.diff(ends), self._before.stored
        same = np.empty(len(sizes), bool)
        compare_values(data, ends, stored.data, stored.offsets, same)
        other = ~(same & (stored.found | self._sheet.keeps))
        if not other.all():
            data, ends = data[np.repeat(other, sizes)], np.concatenate(([0], np.cumsum(sizes[other])))
        documents.add_many(frame.PUT, self._slots[other].astype(np.uint64), data, ends)


def counted(
    field: Field, writer: Writer, slots: np.ndarray, column: Callable[[int, Field], pa.Array]
) -> pa.Array:
    """Return what counts as a field's values: the computed ones, those given, the default."""
    schema = writer.store.schema
    if field.sort is not None and field.sort.computed is not None:
        sources = [counted(schema.field(name), writer, slots, column) for name in field.sort.computed.sources]
        return compute(field, slots, sources)
    values = column(writer.store.registry.number(field.name), field)
    return values if field.default is None else values.fill_null(field.default)


def _cleared(absent: Mapping[int, np.ndarray], rows: int) -> Packed:
    """Return payloads that clear the fields, by number, of the rows that they are absent from."""
    counts = np.zeros(rows, np.int64)
    for rows_of_it in absent.values():
        counts += rows_of_it
    ends = np.concatenate(([0], 3 * np.cumsum(counts)))
    data, cursors = np.zeros(ends[-1], np.uint8), ends[:-1].copy()
    for number, rows_of_it in absent.items():
        places = cursors[rows_of_it]
        for at, byte in enumerate(encode_document({number: None})):
            data[places + at] = byte
        cursors += 3 * rows_of_it
    return data, ends


def _interleaved(parts: Sequence[Packed]) -> Packed:
    """Return the payloads of several parts row by row: the first of each part, the second of each, ..."""
    rows = len(parts[0][1]) - 1
    sizes = np.stack([np.diff(offsets) for _, offsets in parts], axis=1)
    ends = np.concatenate(([0], np.cumsum(sizes)))
    out = np.empty(ends[-1], np.uint8)
    for place, (data, offsets) in enumerate(parts):
        scatter_values(data, offsets, np.arange(rows) * len(parts) + place, ends, out)
    return out, ends


def _differing(lists: pa.Array, others: pa.Array) -> np.ndarray:
    """Tell which lists have not the same elements in the same order."""
    same = np.empty(len(lists), bool)
    compare_values(*_packed(lists), *_packed(others), same)
    return ~same


def _packed(lists: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    return lists.values.to_numpy(zero_copy_only=False).view(np.uint8), 8 * lists.offsets.to_numpy()


def validity_of(values: pa.Array) -> np.ndarray:
    """Tell which values are not null."""
    return np.asarray(pc.is_valid(values))


def _integers(values: pa.Array) -> np.ndarray:
    """Return integers or booleans as int64, 0 for null."""
    if not pa.types.is_integer(values.type):
        values = values.cast(pa.int64())
    return values.fill_null(0).to_numpy() if values.null_count else values.to_numpy()


def words_of(field: Field, values: pa.Array) -> np.ndarray:
    """Return sort values in order-preserving unsigned form (u64), 0 for null."""
    if field.kind == "float":
        numbers = values.fill_null(0.0).to_numpy(zero_copy_only=False)
    else:
        numbers = _integers(values)
    return np.where(validity_of(values), sort_words(field, numbers), np.uint64(0))


def _bits(words: np.ndarray) -> list[int]:
    """Return the bits that one of the words has, ascending."""
    some = int(np.bitwise_or.reduce(words, initial=np.uint64(0)))
    return [bit for bit in range(64) if some >> bit & 1]
