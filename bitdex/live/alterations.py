"""Alterations: which slots a batch puts into which bitmaps, and which it takes out of them.

A field's value lies in the bitmap of each filter value, in the layers of the bits of its sort value, and in
the bitmap of the slots that have a value at all (keys: `formats.bitmap`). From a document before and after
follow the fewest alterations: the symmetric difference of lists, the layers in which sort values differ.
`Roles` compares one document, `live.sheet` many at once; both note pairs of key and slot, no pair twice.

A batch writes a frame for what leaves a bitmap, and one for what enters it. A few pairs are kept, grouped and
encoded one by one: for a single patch each call of NumPy would cost more than all of its work.
"""

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pyroaring import BitMap

from bitdex.bitmaps import WIDE, sort_word
from bitdex.cached import cached
from bitdex.dictionaries import Dictionaries
from bitdex.formats import bitmap as format_
from bitdex.formats import frame
from bitdex.kernels.pairs import group_pairs
from bitdex.query.edited import Edits
from bitdex.query.order import bitmap_of
from bitdex.registry import FieldRegistry
from bitdex.schema import Field, Schema
from bitdex.silo.writes import Writes

Held = Mapping[int, Any]  # a document: field number -> value as it is held
Pairs = tuple[np.ndarray, np.ndarray]  # keys (u64) and slots (u32)
PAIR = np.dtype([("key", np.uint64), ("slot", np.uint32)])
_FIRST = np.ones(1, bool)
FEW = 128  # pairs that are sooner looked at one by one than in arrays


@dataclass(frozen=True, slots=True)
class Grouped:
    """Slots by key: those of keys[i] (u64, ascending) are ``slots[offsets[i]:offsets[i + 1]]``, ascending."""

    keys: np.ndarray
    offsets: np.ndarray
    slots: np.ndarray

    @classmethod
    def of(cls, keys: np.ndarray, slots: np.ndarray) -> "Grouped":
        """Group distinct pairs; those that come in order, by key and slot, are not sorted."""
        if not _ascend(keys, slots):
            return cls(*group_pairs(keys, slots))
        heads = np.flatnonzero(np.concatenate((_FIRST, keys[1:] != keys[:-1]))[: len(keys)])
        return cls(keys[heads], np.append(heads, len(keys)), slots)

    def slots_of(self, key: int) -> BitMap | None:
        """Return the slots of a key, or None."""
        at = int(np.searchsorted(self.keys, np.uint64(key)))
        if at == len(self.keys) or self.keys[at] != key:
            return None
        return bitmap_of(self.slots[self.offsets[at] : self.offsets[at + 1]])

    def write(self, op: int, into: Writes) -> None:
        """Write them as ops on the bitmaps of their keys."""
        if len(self.keys):
            into.add_many(frame.MERGE, self.keys, *format_.encode_each_op(op, self.slots, self.offsets))


class FewGrouped:
    """The same of a few pairs, by key in a dict; as arrays where somebody asks for them."""

    def __init__(self, pairs: list[tuple[int, int]]):
        self.by_key: dict[int, list[int]] = defaultdict(list)
        for key, slot in sorted(pairs):
            self.by_key[key].append(slot)

    @property
    def keys(self) -> np.ndarray:
        return np.array(list(self.by_key), np.uint64)

    @property
    def offsets(self) -> np.ndarray:
        return np.cumsum([0, *map(len, self.by_key.values())])

    @property
    def slots(self) -> np.ndarray:
        return np.array([slot for slots in self.by_key.values() for slot in slots], np.uint32)

    def slots_of(self, key: int) -> BitMap | None:
        """Return the slots of a key, or None."""
        slots = self.by_key.get(key)
        return None if slots is None else BitMap(slots)

    def write(self, op: int, into: Writes) -> None:
        """Write them as ops on the bitmaps of their keys."""
        for key, slots in self.by_key.items():
            into.add(frame.MERGE, key, format_.encode_op(op, slots))


@dataclass(frozen=True, slots=True)
class Altered:
    """One bitmap: the slots that enter it, and those that leave."""

    added: BitMap
    removed: BitMap


class Alterations:
    """What a batch alters; who shows it asks for the rest.

    Attributes
    ----------
    entering, leaving : Grouped or FewGrouped
        Slots by the key of the bitmap.
    due : float
        When the first of the documents that are put, and wait, becomes visible; Unix seconds.
    """

    def __init__(
        self,
        entering: Grouped | FewGrouped,
        leaving: Grouped | FewGrouped,
        words: Mapping[int, Mapping[int, int | None]],
        edits: Mapping[int, list[Edits]],
        due: float,
    ):
        self.entering, self.leaving, self.due = entering, leaving, due
        self._words, self._edits = words, edits

    @property
    def few(self) -> bool:
        """Whether they are so few that each is looked at."""
        return isinstance(self.entering, FewGrouped) and isinstance(self.leaving, FewGrouped)

    @cached
    def keys(self) -> np.ndarray:
        """The keys of all bitmaps that are altered, ascending, uint64."""
        if isinstance(self.entering, FewGrouped) and isinstance(self.leaving, FewGrouped):
            return np.array(sorted(self.entering.by_key.keys() | self.leaving.by_key.keys()), np.uint64)
        return np.union1d(self.entering.keys, self.leaving.keys)

    @cached
    def edits(self) -> Mapping[int, Edits]:
        """The sort values that are others, by number of the field."""
        parts = {number: [*edits] for number, edits in self._edits.items()}
        for number, words in self._words.items():
            parts.setdefault(number, []).append(Edits.of(words))
        return {number: Edits.joined(edits) for number, edits in parts.items()}

    def get(self, key: int) -> Altered | None:
        """Return what is altered of one bitmap, or None."""
        added, removed = self.entering.slots_of(key), self.leaving.slots_of(key)
        if added is None and removed is None:
            return None
        return Altered(BitMap() if added is None else added, BitMap() if removed is None else removed)

    def write(self) -> Writes:
        """Return the ops for the silo."""
        writes = Writes()
        self.leaving.write(format_.CLEAR, writes)
        self.entering.write(format_.SET, writes)
        return writes


class Notes:
    """Collects what a batch alters.

    Attributes
    ----------
    due : float
        As that of `Alterations`.
    """

    def __init__(self) -> None:
        self.due = math.inf
        self._pairs: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])  # leaving, entering
        self._many: tuple[list[Pairs], list[Pairs]] = ([], [])
        self._words: dict[int, dict[int, int | None]] = defaultdict(dict)
        self._edits: dict[int, list[Edits]] = defaultdict(list)

    def put(self, key: int, slot: int, inside: bool) -> None:
        """Note that a slot is to be in a bitmap, or not."""
        self._pairs[inside].append((key, slot))

    def put_many(self, keys: np.ndarray | int, slots: np.ndarray, inside: bool) -> None:
        """Note pairs of key (u64, or one for all) and slot (u32), best in order."""
        if len(slots):
            each = np.full(len(slots), keys, np.uint64) if isinstance(keys, int) else keys
            self._many[inside].append((each, slots))

    def word(self, number: int, slot: int, word: int | None) -> None:
        """Note the sort value of a slot, order-preserving and unsigned; None is none."""
        self._words[number][slot] = word

    def words(self, number: int, edits: Edits) -> None:
        """Note the sort values of many slots."""
        self._edits[number].append(edits)

    def alterations(self) -> Alterations:
        """Return what was noted."""
        leaving, entering = map(self._grouped, (False, True))
        return Alterations(entering, leaving, self._words, self._edits, self.due)

    def _grouped(self, inside: bool) -> Grouped | FewGrouped:
        if not self._many[inside] and len(self._pairs[inside]) <= FEW:
            return FewGrouped(self._pairs[inside])
        single = np.array(self._pairs[inside], PAIR)
        parts = [(single["key"], single["slot"]), *sorted(self._many[inside], key=_first_key)]
        return Grouped.of(*(np.concatenate(columns) for columns in zip(*parts)))


def _first_key(part: Pairs) -> int:
    return int(part[0][0])


def _ascend(keys: np.ndarray, slots: np.ndarray) -> bool:
    """Tell whether pairs come by key, then slot."""
    later = (keys[1:] == keys[:-1]) & (slots[1:] > slots[:-1])
    return bool((later | (keys[1:] > keys[:-1])).all())


class Roles:
    """What each field of an index means in its bitmaps."""

    def __init__(self, schema: Schema, registry: FieldRegistry, dictionaries: Dictionaries):
        registry.ensure(list(schema.fields))
        self._dictionaries = dictionaries
        self.fields = {registry.number(f.name): f for f in schema.fields.values() if f.indexed}

    def compare(self, slot: int, before: Held, after: Held, into: Notes) -> None:
        """Note what turns the bits of a document as it was into those of one as it is to be."""
        for number, one in self.fields.items():
            old, new = before.get(number), after.get(number)
            if old == new:
                continue
            if one.filter is not None:
                self._compare_values(slot, number, old, new, into)
            if one.sort is not None:
                self._compare_words(slot, number, one, old, new, into)
            if (old is None) != (new is None):
                into.put(format_.present_key(number), slot, new is not None)

    def filter_key(self, number: int, value: int) -> int:
        """Return the key of a filter value; one outside 47 bits has a number in the dictionary."""
        if 0 <= value < WIDE:
            return format_.filter_key(number, value)
        return format_.filter_key(number, WIDE + self._dictionaries.ensure(number, [str(value)])[0])

    def _compare_values(self, slot: int, number: int, old: Any, new: Any, into: Notes) -> None:
        before, after = _values(old), _values(new)
        for value in before - after:
            into.put(self.filter_key(number, value), slot, False)
        for value in after - before:
            into.put(self.filter_key(number, value), slot, True)

    def _compare_words(self, slot: int, number: int, one: Field, old: Any, new: Any, into: Notes) -> None:
        before, after = (0 if value is None else sort_word(one, value) for value in (old, new))
        differing = before ^ after
        while differing:
            bit = differing.bit_length() - 1
            into.put(format_.layer_key(number, bit), slot, bool(after >> bit & 1))
            differing ^= 1 << bit
        into.word(number, slot, None if new is None else after)


def _values(value: Any) -> set[int]:
    if value is None:
        return set()
    return set(value) if isinstance(value, list) else {int(value)}
