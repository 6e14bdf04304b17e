"""Fields that no document stores: their values are read back from the bitmaps, and kept."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from pyroaring import BitMap

from bitdex.bitmaps import BitmapSilo
from bitdex.formats import bitmap as format_
from bitdex.live.alterations import Alterations
from bitdex.schema import Field

FEW = 8  # documents that are looked for one by one


class OnlyBits:
    """The filter-only fields of an index, by number.

    The bitmaps of a field are decoded when it is first asked for, which takes as long as reading them, and
    then follow the commits.
    """

    def __init__(self, bitmaps: BitmapSilo, fields: Mapping[int, Field]):
        self.fields = fields
        self._bitmaps = bitmaps
        self._held: dict[int, dict[int, BitMap]] = {}

    def values_of(self, number: int, slots: list[int]) -> dict[int, Any]:
        """Return what documents hold of a field, by slot; those without a value are left out."""
        field = self.fields[number]
        if field.filter is None:
            return self._sort_values(number, field, slots)
        found: dict[int, list[int]] = {}
        wanted, few = BitMap(slots), len(slots) < FEW
        for key, bitmap in self._values(number).items():
            for slot in [one for one in slots if one in bitmap] if few else bitmap & wanted:
                found.setdefault(slot, []).append(key & format_.VALUE_MAX)
        decoded = {
            slot: self._bitmaps.decode_values(number, np.array(stored, np.uint64)).tolist()
            for slot, stored in found.items()
        }
        if field.is_list:
            return decoded
        return {slot: bool(one[0]) if field.is_boolean else one[0] for slot, one in decoded.items()}

    def pairs_of(self, number: int, slots: BitMap) -> tuple[np.ndarray, np.ndarray]:
        """Return the pairs of stored value (u64) and slot (u32) that documents hold of a filter field."""
        values, parts = [], [np.empty(0, np.uint32)]
        for key, bitmap in self._values(number).items():
            found = bitmap & slots
            if found:
                values.append(key & format_.VALUE_MAX)
                parts.append(np.frombuffer(found.to_array(), np.uint32))
        stored = np.array(values, np.uint64)
        return np.repeat(stored, [len(part) for part in parts[1:]]), np.concatenate(parts)

    def words_of(self, number: int, slots: np.ndarray) -> np.ndarray:
        """Return sort values (u64) of ascending slots (u32), 0 for none."""
        held, words = self._bitmaps.layers(number)
        found = np.zeros(len(slots), np.uint64)
        places = np.searchsorted(held, slots)
        inside = places < len(held)
        inside[inside] = held[places[inside]] == slots[inside]
        found[inside] = words[places[inside]]
        return found

    def note(self, altered: Alterations) -> None:
        """Keep the bitmaps as they were committed."""
        for number, held in self._held.items():
            keys = altered.keys
            first, stop = np.searchsorted(keys, np.array([number << 48, (number + 1) << 48], np.uint64))
            for key in keys[first:stop].tolist():
                change = altered.get(key)
                if change is not None:
                    held[key] = (held.get(key, BitMap()) - change.removed) | change.added

    def _values(self, number: int) -> dict[int, BitMap]:
        if number not in self._held:
            keys = format_.filter_keys(number, self._bitmaps.stored_values(number)).tolist()
            self._held[number] = dict(zip(keys, self._bitmaps.get_many(keys)))
        return self._held[number]

    def _sort_values(self, number: int, field: Field, slots: list[int]) -> dict[int, Any]:
        assert field.sort is not None
        held, words = self._bitmaps.layers(number)
        dtype = np.float64 if field.kind == "float" else np.int64 if field.sort.signed else np.uint64
        found = {}
        for slot in slots:
            place = int(np.searchsorted(held, slot))
            if place < len(held) and held[place] == slot:
                value = format_.from_ordered(words[place : place + 1], dtype)[0].item()
                found[slot] = bool(value) if field.is_boolean else value
        return found
