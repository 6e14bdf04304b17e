"""Renewal: what fields have in documents and bitmaps, made anew from the documents, a stretch at a time.

::

    documents --> columns --> values as they are to be --> documents, merged in place, where they differ
                                                       \\-> postings, sort values --> bitmaps

A value is the one that is stored; or computed from others; or tells whether others are there; or the number
of a text; or, of documents without one, a default that counted so far. All documents take part, visible or
not. The bitmaps that were there are not read, so damaged ones are replaced as well; but for those of fields
that no document holds, which tell whether there is a value.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyroaring import BitMap

from bitdex.bitmaps import BitmapChanges, BitmapSilo, sort_word
from bitdex.columns import ARROW, Column, decode_columns, encode_columns
from bitdex.computed import compute, observed
from bitdex.documents import column_kind, slots_of
from bitdex.dump.current import CurrentValues
from bitdex.dump.postings import Postings
from bitdex.dump.sinks import FieldSink
from bitdex.errors import InvalidError
from bitdex.formats import bitmap as format_
from bitdex.formats.document import CLEAR, MAX_FIELD, decode_document, encode_document
from bitdex.kernels import document_decode as decoding
from bitdex.live.absent import NoSource
from bitdex.query.order import among, bitmap_of
from bitdex.registry import FieldRegistry
from bitdex.schema import Field, Schema
from bitdex.silo.writes import reach
from bitdex.store import Store

CHUNK = 1 << 17  # documents at a time
MEMORY = 384 << 20  # of the postings
Columns = dict[str, pa.Array]


class Renewal:
    """What one change of the schema does to documents and bitmaps; made, filled, prepared once.

    Parameters
    ----------
    store : Store
    schema, registry
        As they are to be.
    """

    def __init__(self, store: Store, schema: Schema, registry: FieldRegistry):
        self._store, self._schema, self._registry = store, schema, registry
        self._fields: dict[str, Field] = {}
        self._made: dict[str, Callable[[Field, Columns, np.ndarray], pa.Array]] = {}
        self._fills: dict[str, Any] = {}
        self._only_bits: dict[str, Any] = {}
        self._dropped: list[int] = []
        self._states: Mapping[int, BitMap] = {}

    # -- what is to be done ----------------------------------------------------------------

    def renew(self, field: Field) -> None:
        """Make the bitmaps of a field anew from what documents hold."""
        self._fields[field.name] = field

    def compute(self, field: Field) -> None:
        """Give documents a computed field, and make its bitmaps."""
        self.renew(field)
        self._made[field.name] = self._computed

    def observe(self, field: Field) -> None:
        """Give documents a field that tells whether its sources have values."""
        self.renew(field)
        self._made[field.name] = self._exists

    def follow(self, field: Field) -> None:
        """Let a field that tells whether its sources have values say so where they have some by now."""
        self.renew(field)
        self._made[field.name] = self._following

    def number_texts(self, field: Field) -> None:
        """Put numbers into the place of a field's texts."""
        self.renew(field)
        self._made[field.name] = self._numbered

    def fill(self, field: Field, default: Any) -> None:
        """Give the documents without a value of a field what counted as one."""
        held = self._held(field, default)
        if field.stored:
            self.renew(field)
            self._fills[field.name] = held
        else:
            self._only_bits[field.name] = held

    def drop(self, number: int) -> None:
        """Take a field, by number, out of documents and bitmaps."""
        self._dropped.append(number)

    def tell(self, states: Mapping[int, BitMap]) -> None:
        """Let these bitmaps, by key, say which documents there are."""
        self._states = states

    # -- doing it --------------------------------------------------------------------------

    def prepare(self, sequence: int, report: Callable[[int], Any]) -> None:
        """Write everything under a sequence, durably; the caller commits it."""
        store, slots = self._store, self.slots
        numbers = {name: self._registry.number(name) for name in self._fields}
        blank = BitmapSilo(NoSource(), store.dictionaries)  # type: ignore[arg-type]
        with Postings(MEMORY, store.temporary) as postings:
            sink = FieldSink(self._schema, numbers, blank, postings)
            with ExitStack() as stack:
                writer: Any = None
                if self._rewrites and len(slots):
                    writer = stack.enter_context(store.documents.silo.merge_writer(sequence, commit=False))
                if self._fields or self._dropped:
                    for start in range(0, len(slots), CHUNK):
                        part = slots[start : start + CHUNK]
                        self._take(part, sink, writer)
                        report(len(part))
            if writer is None:
                reach(store.documents.silo, sequence)
            changes = BitmapChanges(store.bitmaps)
            sink.write(changes, list(self._fields), BitMap())
            changes.delete(self._stale([*numbers.values(), *self._dropped]))
            for key, told in self._states.items():
                changes.put(key, told)
            for name, held in self._only_bits.items():
                self._fill_bits(changes, self._schema.field(name), held)
            if changes:
                changes.write(sequence)
            else:
                reach(store.bitmaps.silo, sequence)

    @property
    def slots(self) -> np.ndarray:
        """The slots of all documents, ascending uint32."""
        stored, bitmaps = bitmap_of(slots_of(self._store.documents.silo)), self._store.bitmaps
        every = stored | bitmaps.alive() | bitmaps.get(format_.deferred_key())
        return np.frombuffer(every.to_array(), np.uint32)

    @property
    def _rewrites(self) -> bool:
        made = [name for name in self._made if self._fields[name].stored]
        return bool(made or self._fills or self._dropped)

    def _take(self, slots: np.ndarray, sink: FieldSink, writer: Any) -> None:
        values = self._store.documents.silo.get_many(slots.astype(np.uint64))
        data, offsets = values.data, values.offsets
        stored = self._decode(slots, data, offsets)
        columns, changed = {}, []
        for name, field in self._fields.items():
            array = stored.get(name)
            if array is None:
                array = pa.nulls(len(slots), ARROW[column_kind(field)])
            after = array
            if name in self._made:
                after = self._made[name](field, stored, slots)
            elif name in self._fills:
                after = stored[name] = _filled(array, self._fills[name])
            if after is not array and field.stored:
                new = _only(after, _differs(array, after))
                changed.append(Column(self._registry.number(name), column_kind(field), new))
            _check_range(field, slots, after)
            columns[name] = after
        if changed:
            rows = np.logical_or.reduce([np.asarray(pc.is_valid(column.array)) for column in changed])
            keep = pa.array(rows)
            parts = [Column(one.field_id, one.kind, one.array.filter(keep)) for one in changed]
            writer.merge_many(slots[rows].astype(np.uint64), *encode_columns(parts, int(rows.sum())))
        for number in self._dropped:
            self._clear(number, slots, data, offsets, writer)
        sink.add(slots, columns, True)

    def _clear(self, number: int, slots: np.ndarray, data: Any, offsets: Any, writer: Any) -> None:
        rows = holding(data, offsets, number)
        payload = np.frombuffer(encode_document({number: None}), np.uint8)
        ends = np.arange(rows.sum() + 1, dtype=np.int64) * len(payload)
        writer.merge_many(slots[rows].astype(np.uint64), np.tile(payload, int(rows.sum())), ends)

    def _decode(self, slots: np.ndarray, data: np.ndarray, offsets: np.ndarray) -> Columns:
        """Return the columns that are needed, of fields that documents may hold."""
        wanted = {}
        for name, field in self._fields.items():
            sources = field.sort.computed.sources if field.sort and field.sort.computed else ()
            if field.kind == "exists_boolean" and name in self._made:
                sources = tuple(observed(self._schema, field))
            for one in (field, *(self._schema.fields[source] for source in sources)):
                if one.stored:
                    texts = self._made.get(one.name) == self._numbered
                    wanted[one.name] = "string" if texts else column_kind(one)
        known = {name: kind for name, kind in wanted.items() if name in self._registry}
        numbers = {name: self._registry.number(name) for name in known}
        try:
            arrays = decode_columns(data, offsets, [(numbers[name], kind) for name, kind in known.items()])
        except InvalidError:
            _refuse_kind(slots, data, offsets, {numbers[name]: (name, kind) for name, kind in known.items()})
            raise
        return dict(zip(known, arrays))

    # -- values that are made --------------------------------------------------------------

    def _computed(self, field: Field, stored: Columns, slots: np.ndarray) -> pa.Array:
        """Return the greatest or least of a field's sources."""
        assert field.sort is not None and field.sort.computed is not None
        sources = []
        for source in field.sort.computed.sources:
            one = self._schema.field(source)
            array = stored.get(source)
            if array is None:
                array = pa.nulls(len(slots), ARROW[column_kind(one)])
            sources.append(array if one.default is None else array.fill_null(one.default))
        return compute(field, slots, sources)

    def _exists(self, field: Field, stored: Columns, slots: np.ndarray) -> pa.Array:
        """Return whether one of a field's sources has a value; nothing where there are no such fields."""
        sources = observed(self._schema, field)
        if not sources:
            return pa.nulls(len(slots), pa.bool_())
        return pa.array(np.logical_or.reduce([self._has(name, stored, slots) for name in sources]))

    def _following(self, field: Field, stored: Columns, slots: np.ndarray) -> pa.Array:
        """Return the same where it is so, else what there was."""
        before = stored.get(field.name)
        if before is None:
            every, current = np.ones(len(slots), bool), CurrentValues(self._store, (), BitMap(), ())
            before = current.stored(field, slots, every)
        return pc.if_else(self._exists(field, stored, slots), True, before)

    def _has(self, name: str, stored: Columns, slots: np.ndarray) -> np.ndarray:
        """Return which slots have a value of a field."""
        if name in stored:
            return np.asarray(pc.is_valid(stored[name]))
        if name not in self._registry or self._schema.field(name).stored:
            return np.zeros(len(slots), bool)
        if name in self._only_bits:
            return np.ones(len(slots), bool)
        return among(slots, self._store.bitmaps.present(self._registry.number(name)))

    def _numbered(self, field: Field, stored: Columns, slots: np.ndarray) -> pa.Array:
        """Return the numbers of a field's texts."""
        if field.name not in stored:
            return pa.nulls(len(slots), pa.int64())
        encoded = stored[field.name].dictionary_encode()
        numbers = []
        for code, text in enumerate(encoded.dictionary.to_pylist()):
            try:
                numbers.append(self._held(field, text))
            except InvalidError as error:
                row = pc.index(encoded.indices, code).as_py()
                raise InvalidError(f"id {slots[row]}: {error}") from None
        return pa.array(numbers, pa.int64()).take(encoded.indices)

    def _held(self, field: Field, value: Any) -> Any:
        """Return a value of a schema or a text as documents hold it."""
        if field.is_labelled:
            number = self._registry.number(field.name)
            return self._store.dictionaries.ensure(number, [value], field.case_sensitive)[0]
        if field.kind == "mapped_string":
            return mapped(field, value)
        return list(value) if isinstance(value, tuple) else value

    # -- bitmaps ---------------------------------------------------------------------------

    def _stale(self, numbers: Iterable[int]) -> np.ndarray:
        """Return the keys of all bitmaps that these fields have."""
        keys = self._store.bitmaps.silo.keys()
        filters = (keys >= 1 << 48) & (keys < format_.LAYERS)
        layers = (keys >= format_.LAYERS) & (keys < format_.PHASES)
        of_layers = keys >> np.uint64(32) & np.uint64(format_.FIELD_MAX)
        fields = np.where(filters, keys >> np.uint64(48), of_layers)
        return keys[(filters | layers) & np.isin(fields, np.array(list(numbers), np.uint64))]

    def _fill_bits(self, changes: BitmapChanges, field: Field, held: Any) -> None:
        """Put the documents without a value of a field that they do not store into the bitmaps of one."""
        bitmaps, number = self._store.bitmaps, self._registry.number(field.name)
        present = bitmaps.present(number)
        lacking = BitMap(self.slots) - present
        if not lacking:
            return
        if field.filter is not None:
            values = np.array(held if isinstance(held, list) else [held]).astype(np.int64)
            for stored in bitmaps.encode_values(number, values).tolist():
                key = format_.filter_key(number, stored)
                changes.put(key, bitmaps.get(key) | lacking)
        if field.sort is not None:
            slots, words = bitmaps.layers(number)
            more = np.frombuffer(lacking.to_array(), np.uint32)
            slots = np.concatenate((slots, more))
            words = np.concatenate((words, np.full(len(more), sort_word(field, held), np.uint64)))
            order = np.argsort(slots, kind="stable")
            changes.put_layers(number, slots[order], words[order])
        changes.put(format_.present_key(number), present | lacking)


def holding(data: np.ndarray, offsets: np.ndarray, field: int) -> np.ndarray:
    """Return which of packed documents have a value of a field, of any kind; bool, shape (documents,).

    One that has taken the elements of its list away again counts as having it.
    """
    data, offsets = decoding.packed(data, offsets)
    table = np.full(MAX_FIELD + 1, -1, np.int32)
    table[field] = 0
    rows = len(offsets) - 1
    tags, positions = np.empty(rows, np.uint8), np.empty(rows, np.int64)
    bad = decoding.locate(data, offsets, 0, rows, table, tags, positions)
    if bad >= 0:
        decoding.refuse(f"document row {bad}", data, offsets[bad : bad + 2].tolist())
    return tags != CLEAR


def mapped(field: Field, text: str) -> int:
    """Return the number that a text is mapped to, or refuse it."""
    known = field.string_map
    if text not in known and not field.case_sensitive:
        text = next((one for one in known if one.lower() == text.lower()), text)
    if text not in known:
        raise InvalidError(f"field {field.name!r}: {text!r:.80} is no text of its string_map; add it there")
    return known[text]


def _filled(array: pa.Array, value: Any) -> pa.Array:
    """Return a column with a value where it has none."""
    if not array.null_count:
        return array
    rows = np.where(np.asarray(pc.is_valid(array)), np.arange(len(array)), len(array))
    return pa.concat_arrays([array, pa.array([value], array.type)]).take(pa.array(rows))


def _differs(before: pa.Array, after: pa.Array) -> np.ndarray:
    """Return the rows that have another value than before, which is never taken away."""
    had, has = np.asarray(pc.is_valid(before)), np.asarray(pc.is_valid(after))
    if before.type != after.type:
        return has
    if pa.types.is_large_list(after.type):
        return has & ~had
    return has & (~had | np.asarray(pc.fill_null(pc.not_equal(before, after), True)))


def _only(array: pa.Array, rows: np.ndarray) -> pa.Array:
    """Return a column with nulls in all other rows."""
    return array.take(pa.array(np.arange(len(array)), mask=~rows))


def _check_range(field: Field, slots: np.ndarray, array: pa.Array) -> None:
    """Refuse values that the layers cannot hold."""
    if field.sort is None or field.kind not in ("integer", "float") or array.null_count == len(array):
        return
    numbers, valid = np.asarray(array.fill_null(0)), np.asarray(pc.is_valid(array))
    outside = np.isnan(numbers) if field.kind == "float" else ~_between(numbers, field)
    wrong = np.flatnonzero(outside & valid)
    if len(wrong):
        raise InvalidError(
            f"id {slots[wrong[0]]}: field {field.name!r}: {numbers[wrong[0]]} is no number from "
            f"{field.sort.low} to {field.sort.high}; declare other bits or source_type, or patch the document"
        )


def _between(numbers: np.ndarray, field: Field) -> np.ndarray:
    assert field.sort is not None
    low, high = max(int(field.sort.low), -(1 << 63)), min(int(field.sort.high), (1 << 63) - 1)
    return (numbers >= low) & (numbers <= high)


def _refuse_kind(
    slots: np.ndarray, data: np.ndarray, offsets: np.ndarray, fields: dict[int, tuple[str, str]]
) -> None:
    """Name the first document that holds a value of another kind than its field's."""
    ends = offsets.tolist()
    for slot, first, stop in zip(slots.tolist(), ends, ends[1:]):
        document = decode_document(data[first:stop].tobytes())
        for number in document.keys() & fields.keys():
            name, kind = fields[number]
            if not _is_of(document[number], kind):
                raise InvalidError(
                    f"id {slot}: field {name!r}: {document[number]!r:.80} is no {kind}; declare another "
                    "value_type, or patch the document"
                )


def _is_of(value: Any, kind: str) -> bool:
    if kind == "list":
        return isinstance(value, list) and all(type(one) is int for one in value)
    kinds = {"integer": (int, bool), "boolean": (bool,), "float": (float, int), "string": (str,)}
    return type(value) in kinds[kind]
