"""Alterations: which slots a batch puts into which bitmaps, and which it takes out of them.

A field's value lies in the bitmap of each filter value, in the layers of the bits of its sort value, and in
the bitmap of the slots that have a value at all (keys: `formats.bitmap`). From a document before and after
follow the fewest alterations: the symmetric difference of lists, the layers in which sort values differ.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pyroaring import BitMap

from bitdex.bitmaps import WIDE, sort_word
from bitdex.dictionaries import Dictionaries
from bitdex.formats import bitmap as format_
from bitdex.registry import FieldRegistry
from bitdex.schema import Field, Schema

Held = Mapping[int, Any]  # a document: field number -> value as it is held


@dataclass(frozen=True, slots=True)
class Altered:
    """One bitmap: the slots that go in, and those that leave it."""

    added: BitMap
    removed: BitMap

    def payload(self) -> bytes:
        """Return the ops for the silo."""
        ops = ((format_.CLEAR, self.removed), (format_.SET, self.added))
        return format_.encode_ops((op, slots) for op, slots in ops if slots)


@dataclass(slots=True)
class Alterations:
    """What a batch alters.

    Attributes
    ----------
    bitmaps : dict of int to dict of int to bool
        By key and slot: whether the slot goes in. The last word counts.
    words : dict of int to dict of int to int or None
        By number of a sort field and slot: the new value, order-preserving and unsigned; None is none.
    """

    bitmaps: dict[int, dict[int, bool]] = field(default_factory=lambda: defaultdict(dict))
    words: dict[int, dict[int, int | None]] = field(default_factory=lambda: defaultdict(dict))

    def put(self, key: int, slot: int, inside: bool) -> None:
        """Note that a slot is to be in a bitmap, or not."""
        self.bitmaps[key][slot] = inside

    def by_key(self) -> dict[int, Altered]:
        """Return the alterations of each bitmap."""
        return {
            key: Altered(
                BitMap([slot for slot, inside in slots.items() if inside]),
                BitMap([slot for slot, inside in slots.items() if not inside]),
            )
            for key, slots in self.bitmaps.items()
        }


class Roles:
    """What each field of an index means in its bitmaps."""

    def __init__(self, schema: Schema, registry: FieldRegistry, dictionaries: Dictionaries):
        registry.ensure(list(schema.fields))
        self._dictionaries = dictionaries
        self._fields = {registry.number(f.name): f for f in schema.fields.values() if f.indexed}

    def compare(self, slot: int, before: Held, after: Held, into: Alterations) -> None:
        """Note what turns the bits of a document as it was into those of one as it is to be."""
        for number, one in self._fields.items():
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

    def _compare_values(self, slot: int, number: int, old: Any, new: Any, into: Alterations) -> None:
        before, after = _values(old), _values(new)
        for value in before - after:
            into.put(self.filter_key(number, value), slot, False)
        for value in after - before:
            into.put(self.filter_key(number, value), slot, True)

    def _compare_words(
        self, slot: int, number: int, one: Field, old: Any, new: Any, into: Alterations
    ) -> None:
        before, after = (0 if value is None else sort_word(one, value) for value in (old, new))
        differing = before ^ after
        while differing:
            bit = differing.bit_length() - 1
            into.put(format_.layer_key(number, bit), slot, bool(after >> bit & 1))
            differing ^= 1 << bit
        into.words[number][slot] = None if new is None else after


def _values(value: Any) -> set[int]:
    if value is None:
        return set()
    return set(value) if isinstance(value, list) else {int(value)}
