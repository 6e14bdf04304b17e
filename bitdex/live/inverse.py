"""Inverse: which values each slot has, of one field whose values lie in bitmaps only.

Pairs of slot and value are numbers, ``slot << 32 | place of the value``, in one ascending array. What small
commits alter is kept beside it by slot, and goes into the array when it has become much.
"""

import numpy as np
from pyroaring import BitMap

from bitdex.live.alterations import Alterations, FewGrouped, Grouped

FEW = 4096  # slots kept beside the array
_SHIFT, _LOW = np.uint64(32), np.uint64(0xFFFFFFFF)


class Inverse:
    """Made of the bitmaps of a field, then altered as they are.

    Parameters
    ----------
    first : int
        The lowest key of the field's filter values.
    keys : ndarray of uint64, shape (n,)
        Of all of them that are stored.
    bitmaps : list of BitMap
        One for each.
    """

    def __init__(self, first: int, keys: np.ndarray, bitmaps: list[BitMap]):
        self._first = np.uint64(first)
        self._values = (keys - self._first).tolist()  # by place: as they came
        self._places = {value: place for place, value in enumerate(self._values)}
        slots = [np.frombuffer(one.to_array(), np.uint32) for one in bitmaps]
        places = np.repeat(np.arange(len(slots)), [len(one) for one in slots])
        self._pairs = np.sort(_pairs(np.concatenate([*slots, np.empty(0, np.uint32)]), places))
        self._beside: dict[int, set[int]] = {}

    def values_of(self, slot: int) -> list[int]:
        """Return the stored values of one slot, ascending."""
        return sorted(self._values[place] for place in self._places_of(slot))

    def pairs_of(self, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the pairs of stored value (u64) and slot (u32) of ascending, distinct slots (u32)."""
        begins, ends = self._bounds(slots)
        counts = ends - begins
        beside = [slot for slot in slots.tolist() if slot in self._beside] if self._beside else []
        if beside:
            counts[np.searchsorted(slots, np.array(beside, np.uint32))] = 0
        rows = np.repeat(begins - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        more = [pair for slot in beside for pair in _numbers(slot, self._beside[slot])]
        found = np.concatenate((self._pairs[rows], np.array(more, np.uint64)))
        return np.array(self._values, np.uint64)[found & _LOW], (found >> _SHIFT).astype(np.uint32)

    def note(self, altered: Alterations, stop: int) -> None:
        """Follow a commit; the keys of the field end before `stop`."""
        leaving, entering = (self._noted(part, stop) for part in (altered.leaving, altered.entering))
        if len(leaving) + len(entering) > FEW:
            self._settle()
            kept = self._pairs[~np.isin(self._pairs, leaving)] if len(leaving) else self._pairs
            self._pairs = np.sort(np.concatenate((kept, entering)))
            return
        self._put_beside(np.concatenate((leaving, entering)) >> _SHIFT)
        for pairs, change in ((leaving, set.discard), (entering, set.add)):
            for pair in pairs.tolist():
                change(self._beside[pair >> 32], pair & 0xFFFFFFFF)
        if len(self._beside) > FEW:
            self._settle()

    def _places_of(self, slot: int) -> set[int]:
        if slot in self._beside:
            return self._beside[slot]
        begin, end = self._bounds(np.array([slot], np.uint32))
        return set((self._pairs[begin[0] : end[0]] & _LOW).tolist())

    def _put_beside(self, slots: np.ndarray) -> None:
        """Keep the places of slots beside the array, those that are not there yet."""
        fresh = [slot for slot in np.unique(slots).tolist() if slot not in self._beside]
        begins, ends = self._bounds(np.array(fresh, np.uint32))
        for slot, begin, end in zip(fresh, begins.tolist(), ends.tolist()):
            self._beside[slot] = set((self._pairs[begin:end] & _LOW).tolist())

    def _bounds(self, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where the pairs of each slot begin and end; one search for both, which lie side by side."""
        edges = np.stack((_pairs(slots, 0), _pairs(slots, 0) | _LOW), axis=1)  # no place is that high
        begins, ends = np.searchsorted(self._pairs, edges.ravel()).reshape(-1, 2).T
        return begins, ends

    def _noted(self, groups: Grouped | FewGrouped, stop: int) -> np.ndarray:
        """Return the pairs of the field's groups, giving new values their places."""
        low, high = np.searchsorted(groups.keys, np.array([self._first, stop], np.uint64))
        values = (groups.keys[low:high] - self._first).tolist()
        for value in values:
            if value not in self._places:
                self._places[value] = len(self._values)
                self._values.append(value)
        ends = groups.offsets[low : high + 1]
        places = np.repeat(np.array([self._places[value] for value in values], np.uint64), np.diff(ends))
        return _pairs(groups.slots[ends[0] : ends[-1]] if len(values) else groups.slots[:0], places)

    def _settle(self) -> None:
        """Take what is kept beside the array into it."""
        if self._beside:
            slots = np.array(sorted(self._beside), np.uint64)
            stays = ~np.isin(self._pairs >> _SHIFT, slots)
            more = [pair for slot, places in self._beside.items() for pair in _numbers(slot, places)]
            self._pairs = np.sort(np.concatenate((self._pairs[stays], np.array(more, np.uint64))))
            self._beside = {}


def _pairs(slots: np.ndarray, places: np.ndarray | int) -> np.ndarray:
    return slots.astype(np.uint64) << _SHIFT | np.asarray(places).astype(np.uint64)


def _numbers(slot: int, places: set[int]) -> list[int]:
    return [slot << 32 | place for place in places]
