"""Snapshot: one committed state of an index as queries see it.

Bitmaps are decoded once and kept, already intersected with the alive bitmap, so every
set that comes out of here holds visible documents only. Sort columns are built when a
field is first sorted or compared. Nothing a snapshot returns may be changed.
"""

import math
import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
from pyroaring import BitMap

from bitdex.bitmaps import BitmapSilo, sort_word
from bitdex.cache import Epochs
from bitdex.documents import DocSilo
from bitdex.formats import bitmap as format_
from bitdex.query.dependence import altered_tokens
from bitdex.query.edited import Column, Edits, edited
from bitdex.query.kept import KeptBitmaps, Later, behind, in_order
from bitdex.query.line import Altering, Changed, EditsOf, Line
from bitdex.query.order import SortColumn
from bitdex.schema import Deferred, Field, Schema
from bitdex.staying import Staying

Commit = tuple[DocSilo, BitmapSilo, Altering | None]  # what a commit shows, and what it alters
_NOTHING: tuple[Any, None] = (None, None)
EMPTY = BitMap()
UNNUMBERED = 0  # a default label of an index that is only read and has none; dictionaries number from 1


class Snapshot(Staying):
    """Cached views of the bitmaps of one commit; any number of threads may use it."""

    def __init__(self, schema: Schema, documents: DocSilo, bitmaps: BitmapSilo):
        self.schema, self.documents, self.bitmaps = schema, documents, bitmaps
        self.registry, self.dictionaries = documents.registry, documents.dictionaries
        self.stored_alive = self.alive = bitmaps.alive()
        self.stored_deferred = self.deferred = self.activated = EMPTY
        self._due = math.inf
        if schema.deferred is not None:
            self._activate(schema.deferred)
        self._values = KeptBitmaps()
        self._missing: dict[str, BitMap] = {}
        self._columns: dict[str, tuple[Column, Later]] = {}
        self._defaults = {f.name: self._default_keys(f) for f in schema.fields.values()}
        self.derived: dict[Any, Any] = {}  # what others keep of the files; snapshots that follow share it
        self.epochs = Epochs(self.sequence)  # of this snapshot and those that follow it by `after`
        self._line = Line(self.sequence)  # the same
        self._measure()

    @classmethod
    def of(
        cls, schema: Schema, documents: DocSilo, bitmaps: BitmapSilo, before: "Snapshot | None"
    ) -> "Snapshot":
        """Return the snapshot of a commit: the one before, if it still shows the same."""
        if before is None or before.sequence != documents.source.sequence or before.is_over():
            return cls(schema, documents, bitmaps)
        if before.documents is documents:
            return before
        if before.dictionaries is not documents.dictionaries:  # reopened: new labels may have other numbers
            return cls(schema, documents, bitmaps)
        return before.after([(documents, bitmaps, None)])  # a compaction: only the files are others

    def after(self, commits: Iterable[Commit]) -> "Snapshot":
        """Return the snapshot that follows by commits, which keeps all of this one that they do not alter.

        No document that was stored before becomes visible by them, and no visible one waits. One that shows
        documents by the clock is not followed: who has committed may not have known of them, and nothing says
        that they are visible.
        """
        commits = list(commits)
        if self.activated and any(altered is not None for _, _, altered in commits):
            documents, bitmaps, _ = commits[-1]
            return Snapshot(documents.schema, documents, bitmaps)
        following = Snapshot.__new__(Snapshot)
        following.__dict__.update(self.__dict__)
        following._values, following._columns = self._values.following(), dict(self._columns)
        for documents, bitmaps, altered in commits:
            following.documents, following.bitmaps = documents, bitmaps
            if altered is not None:
                self.epochs.note(following.sequence, altered_tokens(altered.keys, altered.edits))
                edits = following._follow(altered)
                self._line.note(following.sequence, altered, edits)
        return following

    def _follow(self, altered: Altering) -> EditsOf:
        """Take over what a commit altered; return what it changes of sort columns."""
        unlike: set[str] = set()  # fields whose documents without a value are others
        lives = altered.get(format_.alive_key())
        if lives is not None:
            self.stored_alive = self.alive = (self.alive - lives.removed) | lives.added
            self._measure()
            unlike.update(self.schema.fields)
        waiting = altered.get(format_.deferred_key())
        if waiting is not None:
            self.stored_deferred = self.deferred = (self.deferred - waiting.removed) | waiting.added
        self._due = min(self._due, altered.due)
        unlike.update(self.registry.name(number) or "" for number in format_.present_fields(altered.keys))
        for key, kept in self._altered_values(altered):
            change = altered.get(key)
            if change is not None:
                self._values.put_off(kept, change)
        edits = self._edits(altered, lives)
        for name in edits.keys() & self._columns.keys():
            column, later = self._columns.pop(name)
            later = behind(later, edits[name])
            if later is not None:
                self._columns[name] = column, later
        self._missing = {name: one for name, one in self._missing.items() if name not in unlike}
        for name in unlike:
            for value in self._defaults.get(name, ()):
                self._values.drop((name, value))
        return edits

    def _edits(self, altered: Altering, lives: Changed | None) -> dict[str, Edits]:
        """Return what a commit changes of sort columns, by field, given who is visible behind it.

        Where a field has a default, documents that come without a value get it, and those that go lose it.
        """
        edits = {self.registry.name(number) or "": one for number, one in altered.edits.items()}
        moved = [] if lives is None else [Edits.none(lives.added | lives.removed)]
        for field in self.schema.sort_fields:
            default = self._defaults[field.name]
            parts = [*moved, *(one for one in (edits.get(field.name),) if one is not None)]
            if default and parts:
                edits[field.name] = Edits.joined(parts).filled(sort_word(field, default[0]))
        return {name: one.within(self.alive) for name, one in edits.items()}

    def _altered_values(self, altered: Altering) -> Iterator[tuple[int, tuple[str, int]]]:
        """Yield keys of filter values and how they are kept: those that are altered, or all kept ones."""
        keys = altered.keys
        if len(self._values) < len(keys):
            for name, value in self._values:
                known = name in self.registry
                stored = self.bitmaps.stored_value(self.registry.number(name), value) if known else None
                if stored is not None:
                    yield format_.filter_key(self.registry.number(name), stored), (name, value)
            return
        for key in keys.tolist():
            kind, number, stored = format_.describe(key)
            field = self.registry.name(number) if kind == "filter" and number is not None else None
            if field is not None and number is not None:
                decoded = self.bitmaps.decode_values(number, np.array([stored], np.uint64))
                yield key, (field, int(decoded[0]))

    @property
    def sequence(self) -> int:
        """The commit that it shows."""
        return self.documents.source.sequence

    def is_over(self) -> bool:
        """Tell whether the time of a document that waits has come since."""
        return time.time() >= self._due

    def _measure(self) -> None:
        self.dense_bytes = 8192 * (1 + (self.alive.max() >> 16)) if self.alive else 0  # of a dense bitmap

    def _activate(self, deferral: Deferred) -> None:
        """Show the documents that wait no longer."""
        self.stored_deferred = self.bitmaps.get(format_.deferred_key())
        if not self.stored_deferred:
            return
        slots = np.frombuffer(self.stored_deferred.to_array(), np.uint32)
        times = self._times(slots, self.schema.field(deferral.source_field)) / deferral.unit
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
        if not field.stored:
            for value in self._stored_values(field.name).tolist():
                inside = self._load_stored(field.name, value) & self.stored_deferred
                found[np.searchsorted(slots, np.frombuffer(inside.to_array(), np.uint32))] = value
            return found
        for i, document in enumerate(self.documents.get_many(slots, [field.name])):
            value = document.get(field.name)
            found[i] = found[i] if value is None else value
        return found

    def label(self, field: Field, text: str) -> int | None:
        """Return the number of a label, or None where no document ever had it."""
        number = None
        if field.name in self.registry:
            number = self.dictionaries.find(self.registry.number(field.name), text, field.case_sensitive)
        if number is None and _is_default(field, text):
            return UNNUMBERED
        return number

    def having(self, name: str, value: int) -> BitMap:
        """Return the documents whose filter field holds a value (a bound key)."""
        found = self._values.get((name, value), self._changed)
        if found is None:
            handed, later = self._handed((name, value), partial(self._change_of, name, value))
            if handed is None:
                return self._keep((name, value), self._load(name, value))
            found = self._values.keep((name, value), self._changed(handed, later), self.dense_bytes)
        return found

    def _changed(self, found: BitMap, later: Later) -> BitMap:
        """Return a bitmap with changes that were put off."""
        found = found.copy()
        for change in in_order(later):
            found -= change.removed
            found |= change.added & self.alive if self.deferred else change.added
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

    def keeps(self, name: str, values: Iterable[Any]) -> bool:
        """Tell whether the documents for each of some values are in memory."""
        return all((name, value) in self._values for value in values)

    def keeps_missing(self, name: str) -> bool:
        """Tell whether the documents without a value of a field are in memory."""
        return name in self._missing

    def keeps_column(self, name: str) -> bool:
        """Tell whether the values of a sort field are in memory."""
        return name in self._columns

    def defaults(self, name: str) -> tuple[Any, ...]:
        """Return the values that count where a document has none, as bound keys."""
        return self._defaults[name]

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
        found = self._stored_values(name)
        if not self._defaults[name] and (found[1:] > found[:-1]).all():
            return found
        return np.union1d(found, np.array(self._defaults[name], np.int64))

    def column(self, name: str) -> Column:
        """Return the values of a sort field, for the documents that have one."""
        column, later = self._columns.get(name, _NOTHING)
        if column is None or later is not None:
            if column is None:
                column, later = self._handed(name, lambda _, edits: edits.get(name))
            if column is None:
                column = self._build_column(self.schema.field(name))
                self._hand(name, column)
            elif later is not None:
                column = edited(column, Edits.joined(in_order(later)))
            self._columns[name] = column, None
        return column

    @property
    def kept(self) -> dict[str, int]:
        """Bytes of decoded bitmaps, by estimate, and of the values of sort columns in memory."""
        columns = [column for column, _ in self._columns.values()]
        return {"bitmaps": self._values.nbytes, "columns": sum(one.nbytes for one in columns)}

    def forget(self, name: str) -> None:
        """Forget the column of a sort field: it is built anew from the stored layers."""
        self._columns.pop(name, None)
        self._line.forget(name)

    # -- what snapshots hand over --------------------------------------------------------------

    def _hand(self, key: Hashable, one: Any) -> None:
        """Let snapshots that have begun meanwhile have what was read for this one."""
        if self._line.latest > self.sequence:
            self._line.hand(key, self.sequence, one)

    def _handed(self, key: Hashable, change_of: Callable[[Altering, EditsOf], Any]) -> tuple[Any, Later]:
        """Return what another snapshot has handed over, with the changes to be made; (None, None) if none."""
        one, changes = self._line.take(key, self.sequence) or (None, [])
        later: Later = None
        for change in (change_of(*altered) for altered in changes):
            if change is not None:
                later = change, later, 1 if later is None else later[2] + 1
        return one, later

    def _change_of(self, name: str, value: int, altered: Altering, _: EditsOf) -> Changed | None:
        """Return what a commit changes of the bitmap of a value."""
        stored = None
        if name in self.registry:
            stored = self.bitmaps.stored_value(self.registry.number(name), value)
        if stored is None:
            return None
        return altered.get(format_.filter_key(self.registry.number(name), stored))

    def settle(self, name: str, low: Any, high: Any) -> tuple[Any, Any] | None:
        """Return bounds of a sort field that leave the same documents, and change only with them; or None."""
        field = self.schema.field(name)
        words = self.column(name).settle(sort_word(field, low), sort_word(field, high))
        return None if words is None else tuple(self.sort_value(field, word) for word in words)  # type: ignore[return-value]

    def sort_value(self, field: Field, word: int) -> int | float:
        """Return the sort value of an unsigned form."""
        assert field.sort is not None
        if field.kind == "float":
            return float(format_.from_ordered(np.array([word], np.uint64), np.float64)[0])
        return int(word) - (1 << 63) if field.sort.signed else int(word)

    def _load(self, name: str, value: int) -> BitMap:
        found = self._load_stored(name, value) & self.alive
        return found | self._absent(name) if value in self._defaults[name] else found

    def _load_stored(self, name: str, value: int) -> BitMap:
        """Return who has a value, visible or not; a default is none."""
        number = self.registry.number(name) if name in self.registry else None
        stored = None if number is None else self.bitmaps.stored_value(number, value)
        if number is None or stored is None:
            return EMPTY
        return self.bitmaps.get(format_.filter_key(number, stored))

    def _stored_values(self, name: str) -> np.ndarray:
        """Return the values that are stored of a filter field (int64)."""
        if name not in self.registry:
            return np.empty(0, np.int64)
        number = self.registry.number(name)
        return self.bitmaps.decode_values(number, self.bitmaps.stored_values(number))

    def _absent(self, name: str) -> BitMap:
        if name not in self.registry:
            return self.alive
        return self.alive - self.bitmaps.present(self.registry.number(name))

    def _keep(self, key: tuple[str, int], bitmap: BitMap) -> BitMap:
        if not self._defaults[key[0]]:  # its values follow from who is alive, too
            self._hand(key, bitmap)
        return self._values.keep(key, bitmap, self.dense_bytes)

    def _build_column(self, field: Field) -> SortColumn:
        slots, words = np.empty(0, np.uint32), np.empty(0, np.uint64)
        if field.name in self.registry:
            slots, words = self.bitmaps.layers(self.registry.number(field.name))
            slots, words = _visible(slots, words, self.alive)
        default = self._defaults[field.name]
        if default and len(slots) < len(self.alive):
            absent = np.frombuffer(self._absent(field.name).to_array(), np.uint32)
            filled = np.full(len(absent), sort_word(field, default[0]), np.uint64)
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
