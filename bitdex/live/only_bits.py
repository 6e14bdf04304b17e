"""Fields that no document stores: their values are read back from the bitmaps, and kept."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from bitdex.bitmaps import BitmapSilo
from bitdex.formats import bitmap as format_
from bitdex.live.alterations import Alterations
from bitdex.live.inverse import Inverse
from bitdex.live.words import Words
from bitdex.schema import Field


class OnlyBits:
    """The filter-only fields of an index, by number.

    The bitmaps of a field are decoded when it is first asked for, which takes as long as reading them; what
    was made of them then follows the commits.
    """

    def __init__(self, bitmaps: BitmapSilo, fields: Mapping[int, Field]):
        self.fields = fields
        self._bitmaps = bitmaps
        self._held: dict[int, Inverse] = {}
        self._sorted: dict[int, Words] = {}

    def values_of(self, number: int, slots: list[int]) -> dict[int, Any]:
        """Return what documents hold of a field, by slot; those without a value are left out."""
        field = self.fields[number]
        if field.filter is None:
            return self._sort_values(number, field, slots)
        inverse, found = self._inverse(number), {}
        for slot in slots:
            stored = inverse.values_of(slot)
            if stored:
                values = self._bitmaps.decode_values(number, np.array(stored, np.uint64)).tolist()
                one = bool(values[0]) if field.is_boolean else values[0]
                found[slot] = values if field.is_list else one
        return found

    def pairs_of(self, number: int, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the pairs of stored value (u64) and slot (u32) that documents hold of a filter field.

        `slots` are ascending and distinct, uint32.
        """
        return self._inverse(number).pairs_of(slots)

    def words_of(self, number: int, slots: np.ndarray) -> np.ndarray:
        """Return sort values (u64) of slots (u32), 0 for none."""
        return self._words(number).of(slots)[0]

    def note(self, altered: Alterations) -> None:
        """Follow a commit."""
        touched = np.unique(altered.keys >> np.uint64(48)).tolist() if self._held else []
        for number in self._held.keys() & touched:
            self._held[number].note(altered, (number + 1) << 48)
        for number in self._sorted.keys() & altered.edits.keys() if self._sorted else ():
            self._sorted[number].note(altered.edits[number])

    def _inverse(self, number: int) -> Inverse:
        if number not in self._held:
            keys = format_.filter_keys(number, self._bitmaps.stored_values(number))
            bitmaps = self._bitmaps.get_many(keys.tolist())
            self._held[number] = Inverse(number << 48, keys, bitmaps)
        return self._held[number]

    def _words(self, number: int) -> Words:
        if number not in self._sorted:
            self._sorted[number] = Words(*self._bitmaps.layers(number))
        return self._sorted[number]

    def _sort_values(self, number: int, field: Field, slots: list[int]) -> dict[int, Any]:
        assert field.sort is not None
        words, inside = self._words(number).of(np.array(slots, np.uint32))
        dtype = np.float64 if field.kind == "float" else np.int64 if field.sort.signed else np.uint64
        values = format_.from_ordered(words, dtype).tolist()
        return {
            slot: bool(value) if field.is_boolean else value
            for slot, value, there in zip(slots, values, inside.tolist())
            if there
        }
