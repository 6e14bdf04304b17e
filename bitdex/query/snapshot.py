"""Snapshot: one committed state of an index as queries see it.

Bitmaps are decoded once and kept, already intersected with the alive bitmap, so every
set that comes out of here holds visible documents only. Sort columns are built when a
field is first sorted or compared. Nothing a snapshot returns may be changed.
"""

import math
import time
from typing import Any

import numpy as np
from pyroaring import BitMap

from bitdex.bitmaps import BitmapSilo
from bitdex.documents import DocSilo
from bitdex.formats import bitmap as format_
from bitdex.query.order import SortColumn
from bitdex.schema import Deferred, Field, Schema

KEPT_BYTES = 1 << 30  # decoded bitmaps kept, by estimated size
EMPTY = BitMap()
UNNUMBERED = 0  # a default label that no document holds; dictionaries number from 1


class Snapshot:
    """Cached views of the bitmaps of one commit; any number of threads may use it."""

    def __init__(self, schema: Schema, documents: DocSilo, bitmaps: BitmapSilo):
        self.schema, self.documents, self.bitmaps = schema, documents, bitmaps
        self.registry, self.dictionaries = documents.registry, documents.dictionaries
        self.stored_alive = self.alive = bitmaps.alive()
        self.stored_deferred = self.deferred = self.activated = EMPTY
        self._due = math.inf
        if schema.deferred is not None:
            self._activate(schema.deferred)
        self._values: dict[tuple[str, int], BitMap] = {}
        self._missing: dict[str, BitMap] = {}
        self._columns: dict[str, SortColumn] = {}
        self._defaults = {f.name: self._default_keys(f) for f in schema.fields.values()}
        self._kept = 0
        self.dense_bytes = 8192 * (1 + (self.alive.max() >> 16)) if self.alive else 0  # of a dense bitmap

    def is_over(self) -> bool:
        """Tell whether the time of a document that waits has come since."""
        return time.time() >= self._due

    def _activate(self, deferral: Deferred) -> None:
        """Show the documents that wait no longer."""
        self.stored_deferred = self.bitmaps.get(format_.deferred_key())
        if not self.stored_deferred:
            return
        unit = 1000 if deferral.ms_to_seconds else 1
        slots = np.frombuffer(self.stored_deferred.to_array(), np.uint32)
        times = self._times(slots, self.schema.field(deferral.source_field)) / unit
        due = times <= time.time()
        self.activated = BitMap(slots[due])
        self.deferred = self.stored_deferred - self.activated
        self.alive = self.stored_alive | self.activated
        self._due = float(times[~due].min()) if not due.all() else math.inf

    def _times(self, slots: np.ndarray, field: Field) -> np.ndarray:
        """Return the values of a field as float64; 0 for a document without one."""
        found = np.full(len(slots), 0.0 if field.default is None else field.default)
        if field.sort is not None:
            held, words = self.bitmaps.layers(self.registry.number(field.name))
            places = np.minimum(np.searchsorted(held, slots), max(len(held) - 1, 0))
            inside = held[places] == slots if len(held) else np.zeros(len(slots), bool)
            values = [float(self.sort_value(field, word)) for word in words[places[inside]].tolist()]
            found[inside] = values
            return found
        for i, document in enumerate(self.documents.get_many(slots, [field.name])):
            found[i] = document.get(field.name) or found[i]
        return found

    def label(self, field: Field, text: str) -> int | None:
        """Return the number of a label, or None where no document ever had it; 0 for a default like that."""
        number = None
        if field.name in self.registry:
            number = self.dictionaries.find(self.registry.number(field.name), text, field.case_sensitive)
        if number is None and _is_default(field, text):
            return UNNUMBERED
        return number

    def having(self, name: str, value: int) -> BitMap:
        """Return the documents whose filter field holds a value (a bound key)."""
        found = self._values.get((name, value))
        if found is None:
            found = self._keep((name, value), self._load(name, value))
        return found

    def having_each(self, name: str, values: tuple[int, ...]) -> list[BitMap]:
        """Return the documents for each of several values, read in one go."""
        cache = self._values
        unseen = [value for value in values if (name, value) not in cache]
        if len(unseen) > 1 and not self._defaults[name] and name in self.registry:
            loaded = self.bitmaps.get_values(self.registry.number(name), unseen)
            for value, bitmap in zip(unseen, loaded):
                self._keep((name, value), bitmap & self.alive)
        return [self.having(name, value) for value in values]

    def missing(self, name: str) -> BitMap:
        """Return the documents without a value of a field; none where the schema has a default."""
        if name not in self._missing:
            if self._defaults[name]:
                self._missing[name] = EMPTY
            else:
                self._missing[name] = self._absent(name)
        return self._missing[name]

    def values(self, name: str) -> np.ndarray:
        """Return the values that occur in a filter field, as bound keys (int64)."""
        found = np.empty(0, np.int64)
        if name in self.registry:
            number = self.registry.number(name)
            found = self.bitmaps.decode_values(number, self.bitmaps.stored_values(number))
        return np.union1d(found, np.array(self._defaults[name], np.int64))

    def column(self, name: str) -> SortColumn:
        """Return the values of a sort field, for the documents that have one."""
        if name not in self._columns:
            self._columns[name] = self._build_column(self.schema.field(name))
        return self._columns[name]

    def sort_word(self, field: Field, value: Any) -> int:
        """Return a sort value in order-preserving unsigned form."""
        assert field.sort is not None
        if field.kind == "float":
            return int(format_.to_ordered(np.array([value], np.float64))[0])
        return int(value) + (1 << 63) if field.sort.signed else int(value)

    def sort_value(self, field: Field, word: int) -> int | float:
        """Return the sort value of an unsigned form."""
        assert field.sort is not None
        if field.kind == "float":
            return float(format_.from_ordered(np.array([word], np.uint64), np.float64)[0])
        return int(word) - (1 << 63) if field.sort.signed else int(word)

    def _load(self, name: str, value: int) -> BitMap:
        found = EMPTY
        if name in self.registry:
            number = self.registry.number(name)
            stored = self.bitmaps.stored_value(number, value)
            if stored is not None:
                found = self.bitmaps.get(format_.filter_key(number, stored)) & self.alive
        return found | self._absent(name) if value in self._defaults[name] else found

    def _absent(self, name: str) -> BitMap:
        if name not in self.registry:
            return self.alive
        return self.alive - self.bitmaps.present(self.registry.number(name))

    def _keep(self, key: tuple[str, int], bitmap: BitMap) -> BitMap:
        size = 64 + min(2 * len(bitmap), self.dense_bytes)
        if self._kept + size > KEPT_BYTES:
            self._values.clear()
            self._kept = 0
        self._values[key] = bitmap
        self._kept += size
        return bitmap

    def _build_column(self, field: Field) -> SortColumn:
        slots, words = np.empty(0, np.uint32), np.empty(0, np.uint64)
        if field.name in self.registry:
            slots, words = self.bitmaps.layers(self.registry.number(field.name))
            slots, words = _visible(slots, words, self.alive)
        default = self._defaults[field.name]
        if default and len(slots) < len(self.alive):
            absent = np.frombuffer(self._absent(field.name).to_array(), np.uint32)
            filled = np.full(len(absent), self.sort_word(field, default[0]), np.uint64)
            slots, words = np.concatenate((slots, absent)), np.concatenate((words, filled))
            order = np.argsort(slots, kind="stable")
            slots, words = slots[order], words[order]
        return SortColumn(slots, words)

    def _default_keys(self, field: Field) -> tuple[Any, ...]:
        """Return the values that count where a document has none, as bound keys."""
        if field.default is None or not field.indexed:
            return ()
        if field.is_list:
            return tuple(field.default)
        if field.is_labelled:
            return (self.label(field, str(field.default)),)
        if field.kind == "mapped_string":
            return ((field.string_map or {}).get(str(field.default)),)
        return (int(field.default) if isinstance(field.default, bool) else field.default,)


def _is_default(field: Field, text: str) -> bool:
    default = field.default
    return default == text or (
        default is not None and not field.case_sensitive and default.lower() == text.lower()
    )


def _visible(slots: np.ndarray, words: np.ndarray, alive: BitMap) -> tuple[np.ndarray, np.ndarray]:
    """Leave out the slots that are not alive."""
    kept = np.frombuffer(alive.to_array(), np.uint32)
    if len(kept) >= len(slots) and np.array_equal(kept, slots):
        return slots, words
    places = np.searchsorted(slots, kept)
    inside = places < len(slots)
    inside[inside] = slots[places[inside]] == kept[inside]
    return kept[inside], words[places[inside]]
