"""Sheet: documents that one call puts as a whole, compared with what is stored in columns.

::

    ids of the sheet --> documents before --> columns --+
                                                        +--> pairs of key and slot, sort values
    columns that are put, and computed ones ------------+
                                            +--> documents after

What it notes is what `Batch` would note of each document: the fewest alterations of bitmaps. A document
whose bytes are the same as before is not written again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyroaring import BitMap

from bitdex.bitmaps import sort_words
from bitdex.columns import ARROW, Column, decode_columns, encode_columns
from bitdex.computed import compute
from bitdex.documents import column_kind
from bitdex.formats import bitmap as format_
from bitdex.formats import frame
from bitdex.kernels.pairs import sort_pairs, subtract_pairs
from bitdex.live.alterations import Notes
from bitdex.live.writer import Writer
from bitdex.query.edited import Edits
from bitdex.query.order import bitmap_of
from bitdex.query.snapshot import Snapshot
from bitdex.schema import Field
from bitdex.silo.values import Values
from bitdex.store import Writes

Columns = dict[int, pa.Array]  # field number -> values of the Arrow type of its kind, one a document
Pairs = tuple[np.ndarray, np.ndarray]  # stored values (u64) and slots (u32)


@dataclass(frozen=True, slots=True)
class Sheet:
    """Documents by slot (u32, ascending and distinct), in columns; what is null they do not have."""

    slots: np.ndarray
    columns: Columns

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

    def __contains__(self, slot: int) -> bool:
        return self._place(slot) is not None

    def _place(self, slot: int) -> int | None:
        at = int(np.searchsorted(self.slots, np.uint32(slot)))
        return at if at < len(self.slots) and int(self.slots[at]) == slot else None

    def row(self, slot: int) -> dict[int, Any]:
        """Return the fields of one of its documents, by number."""
        at = self._place(slot)
        assert at is not None
        held = {number: column[at].as_py() for number, column in self.columns.items()}
        return {number: value for number, value in held.items() if value is not None}

    def without(self, slots: BitMap) -> "Sheet":
        """Return it without the documents of some slots."""
        mine = bitmap_of(self.slots)
        if mine.isdisjoint(slots):
            return self
        kept = ~np.isin(self.slots, np.frombuffer((mine & slots).to_array(), np.uint32))
        chosen = pa.array(kept)
        columns = {number: column.filter(chosen) for number, column in self.columns.items()}
        return Sheet(self.slots[kept], columns)


class Settling:
    """Notes what the documents of a sheet alter, and writes them.

    Attributes
    ----------
    reveals : bool
        Whether a document that was stored and not visible is put.
    """

    def __init__(self, sheet: Sheet, writer: Writer, snapshot: Snapshot, now: float):
        self._writer, self._snapshot, self._now = writer, snapshot, now
        self._slots, self._members = sheet.slots, bitmap_of(sheet.slots)
        self._after = dict(sheet.columns)
        for number, field in writer.computed:
            self._after[number] = self._value(field)
        self._stored = writer.store.documents.silo.get_many(sheet.slots.astype(np.uint64))
        self.reveals = bool(bitmap_of(sheet.slots[self._stored.found]) - snapshot.alive)

    def note(self, notes: Notes, documents: Writes) -> None:
        """Note everything."""
        self._note_states(notes)
        roles, bits = self._writer.roles, self._writer.bits
        kept = [number for number in roles.fields if number not in bits.fields]
        kinds = [(number, column_kind(roles.fields[number])) for number in kept]
        before = dict(zip(kept, decode_columns(self._stored.data, self._stored.offsets, kinds)))
        for number, field in roles.fields.items():
            after = self._column(number, field)
            if number in before:
                self._compare(number, field, before[number], after, notes)
            else:
                self._compare_bits(number, field, after, notes)
        self._write(documents)

    # -- visibility ------------------------------------------------------------------------

    def _note_states(self, notes: Notes) -> None:
        """Note which documents are visible and which wait, and that no phase owns them any more."""
        waits = self._waits()
        for key, held, inside in (
            (format_.alive_key(), self._snapshot.stored_alive, ~waits),
            (format_.deferred_key(), self._snapshot.stored_deferred, waits),
        ):
            wanted = bitmap_of(self._slots[inside])
            self._note_members(notes, key, (held & self._members) - wanted, wanted - held)
        for key, owned in self._writer.phases().items():
            self._note_members(notes, key, owned & self._members, BitMap())

    def _note_members(self, notes: Notes, key: int, leaving: BitMap, entering: BitMap) -> None:
        for slots, inside in ((leaving, False), (entering, True)):
            notes.put_many(key, np.frombuffer(slots.to_array(), np.uint32), inside)

    def _waits(self) -> np.ndarray:
        deferral = self._writer.store.schema.deferred
        if deferral is None:
            return np.zeros(len(self._slots), bool)
        due = self._value(self._writer.store.schema.field(deferral.source_field))
        limit = self._now * (1000 if deferral.ms_to_seconds else 1)
        return np.asarray(pc.fill_null(pc.greater(due, limit), False))

    # -- values ----------------------------------------------------------------------------

    def _value(self, field: Field) -> pa.Array:
        """Return what counts as a field's values: the computed ones, those given, the default."""
        schema = self._writer.store.schema
        if field.sort is not None and field.sort.computed is not None:
            sources = [self._value(schema.field(name)) for name in field.sort.computed.sources]
            return compute(field, self._slots, sources).cast(ARROW[column_kind(field)])
        values = self._column(self._writer.store.registry.number(field.name), field)
        return values if field.default is None else values.fill_null(field.default)

    def _column(self, number: int, field: Field) -> pa.Array:
        if number not in self._after:
            self._after[number] = pa.nulls(len(self._slots), ARROW[column_kind(field)])
        return self._after[number]

    def _compare(self, number: int, field: Field, before: pa.Array, after: pa.Array, notes: Notes) -> None:
        """Note how the bits of a field differ, given its values before and after."""
        had, has = _validity(before), _validity(after)
        if field.filter is not None:
            if field.is_list:
                held, given = self._elements(number, before), self._elements(number, after)
            else:
                held, given = self._distinct(number, before, had, after, has)
            self._note_pairs(number, held, given, notes)
        if field.sort is not None:
            self._note_words(number, _words(field, before), had, _words(field, after), has, notes)
        self._note_presence(number, had, has, notes)

    def _compare_bits(self, number: int, field: Field, after: pa.Array, notes: Notes) -> None:
        """Note how the bits of a field that no document stores differ from those that there are."""
        had, has = np.zeros(len(self._slots), bool), _validity(after)
        present = self._writer.store.bitmaps.present(number) & self._members
        had[np.searchsorted(self._slots, np.frombuffer(present.to_array(), np.uint32))] = True
        if field.filter is not None:
            held = self._writer.bits.pairs_of(number, self._slots)
            self._note_pairs(number, held, self._elements(number, after), notes)
        if field.sort is not None:
            words = self._writer.bits.words_of(number, self._slots)
            self._note_words(number, words, had, _words(field, after), has, notes)
        self._note_presence(number, had, has, notes)

    def _elements(self, number: int, values: pa.Array) -> Pairs:
        """Return the pairs of stored value and slot of a column of lists or single values."""
        slots = self._slots
        if pa.types.is_large_list(values.type):
            counts = pc.fill_null(pc.list_value_length(values), 0).to_numpy(zero_copy_only=False)
            slots, values = np.repeat(slots, counts), values.flatten()
        else:
            slots, values = slots[_validity(values)], values.drop_null()
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

    def _write(self, documents: Writes) -> None:
        schema = self._writer.fields
        columns = [
            Column(number, column_kind(schema[number]), values)
            for number, values in self._after.items()
            if schema[number].stored and values.null_count < len(values)
        ]
        data, ends = encode_columns(columns, len(self._slots))
        sizes = np.diff(ends)
        other = ~_same_bytes(self._stored, data, sizes)
        packed = np.concatenate(([0], np.cumsum(sizes[other])))
        documents.add_many(
            frame.PUT, self._slots[other].astype(np.uint64), data[np.repeat(other, sizes)], packed
        )


def _same_bytes(stored: Values, data: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Tell which values that were read are these, packed with these sizes."""
    same = stored.found & (np.diff(stored.offsets) == sizes)
    rows = np.repeat(np.arange(len(sizes)), np.where(same, sizes, 0))
    before = stored.data[np.repeat(same, np.diff(stored.offsets))]
    other = rows[before != data[np.repeat(same, sizes)]]
    same[other] = False
    return same


def _validity(values: pa.Array) -> np.ndarray:
    return np.asarray(pc.is_valid(values))


def _integers(values: pa.Array) -> np.ndarray:
    """Return integers or booleans as int64, 0 for null."""
    if not pa.types.is_integer(values.type):
        values = values.cast(pa.int64())
    return values.fill_null(0).to_numpy() if values.null_count else values.to_numpy()


def _words(field: Field, values: pa.Array) -> np.ndarray:
    """Return sort values in order-preserving unsigned form (u64), 0 for null."""
    if field.kind == "float":
        numbers = values.fill_null(0.0).to_numpy(zero_copy_only=False)
    else:
        numbers = _integers(values)
    return np.where(_validity(values), sort_words(field, numbers), np.uint64(0))


def _bits(words: np.ndarray) -> list[int]:
    """Return the bits that one of the words has, ascending."""
    some = int(np.bitwise_or.reduce(words, initial=np.uint64(0)))
    return [bit for bit in range(64) if some >> bit & 1]
