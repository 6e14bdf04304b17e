"""EditedColumn: a sort column and the few values that have changed since it was built.

The column stays as it is; what it says of the edited slots counts no more. Every answer is the column's,
without those slots, and theirs merged into it. When there are many, a new column is built of both.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from pyroaring import BitMap

from bitdex.query.order import SortColumn, bitmap_of

MOST = 4096  # edits, or a share of the column
SHARE = 64


@dataclass(frozen=True, slots=True)
class Edits:
    """Other values of some slots.

    Attributes
    ----------
    slots : ndarray of uint32, shape (n,)
        Ascending and distinct.
    words : ndarray of uint64, shape (n,)
        Order-preserving and unsigned; any where there is none.
    present : ndarray of bool, shape (n,)
        Whether the slot has a value.
    """

    slots: np.ndarray
    words: np.ndarray
    present: np.ndarray

    @classmethod
    def of(cls, words: Mapping[int, int | None]) -> "Edits":
        """Return the values by slot, None for none, as edits."""
        slots = sorted(words)
        held = [words[slot] for slot in slots]
        present = np.array([word is not None for word in held], bool)
        return cls(np.array(slots, np.uint32), np.array([word or 0 for word in held], np.uint64), present)

    @classmethod
    def none(cls, slots: BitMap) -> "Edits":
        """Return edits that take the values of slots away."""
        array = np.frombuffer(slots.to_array(), np.uint32)
        return cls(array, np.zeros(len(array), np.uint64), np.zeros(len(array), bool))

    @classmethod
    def joined(cls, parts: list["Edits"]) -> "Edits":
        """Return edits that follow each other as one: the last of a slot counts."""
        if len(parts) == 1:
            return parts[0]
        slots, words, present = (
            np.concatenate([getattr(one, name) for one in reversed(parts)]) for name in cls.__slots__
        )
        distinct, first = np.unique(slots, return_index=True)
        return cls(distinct, words[first], present[first])

    def filled(self, word: int) -> "Edits":
        """Return them with a value for slots that have none."""
        words = np.where(self.present, self.words, np.uint64(word))
        return Edits(self.slots, words, np.ones(len(words), bool))

    def within(self, alive: BitMap) -> "Edits":
        """Return them with no values for slots that are not alive."""
        return Edits(self.slots, self.words, self.present & held_in(alive, self.slots))


def held_in(bitmap: BitMap, slots: np.ndarray) -> np.ndarray:
    """Tell which of ascending, distinct slots (u32) a bitmap holds."""
    if len(slots) == 1:
        return np.array([int(slots[0]) in bitmap])
    inside = np.frombuffer((bitmap_of(slots) & bitmap).to_array(), np.uint32)
    found = np.zeros(len(slots), bool)
    found[np.searchsorted(slots, inside)] = True
    return found


def edited(column: "Column", edits: Edits) -> "Column":
    """Return a column with other values of some slots."""
    base = column
    if isinstance(column, EditedColumn):
        base, edits = column.base, Edits.joined([column.edits, edits])
    assert isinstance(base, SortColumn)
    changed = EditedColumn(base, edits)
    return changed if len(edits.slots) <= max(MOST, len(base) // SHARE) else changed.built()


class EditedColumn:
    """A sort column with edits; it does not change, and any number of threads may use it."""

    def __init__(self, base: SortColumn, edits: Edits):
        self.base, self.edits = base, edits
        self._edited = edits.slots
        self._touched = bitmap_of(self._edited)
        self._slots, self._values = edits.slots[edits.present], edits.words[edits.present]
        self._own = bitmap_of(self._slots)
        self._before, self._held = base.values_of(self._edited)

    def __len__(self) -> int:
        return len(self.base) - int(self._held.sum()) + len(self._slots)

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return self.base.nbytes + self._values.nbytes

    def built(self) -> SortColumn:
        """Return a column of its own."""
        stays = ~np.isin(self.base.slots, self._edited)
        slots = np.concatenate((self.base.slots[stays], self._slots))
        values = np.concatenate((self.base.values[stays].astype(np.uint64), self._values))
        order = np.argsort(slots, kind="stable")
        return SortColumn(slots[order], values[order])

    def values_of(self, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the values (u64, 0 where there is none) of slots (u32), and whether each has one."""
        values, present = self.base.values_of(slots)
        changed = np.isin(slots, self._edited)
        values[changed], present[changed] = 0, False
        if len(self._slots):
            places = np.minimum(np.searchsorted(self._slots, slots), len(self._slots) - 1)
            own = self._slots[places] == slots
            values[own], present[own] = self._values[places[own]], True
        return values, present

    def top(
        self, candidates: BitMap, limit: int, descending: bool, after: tuple[int, int] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the first candidates by (value, slot), both in the direction (`SortColumn.top`)."""
        slots, values = self.base.top(candidates - self._touched, limit, descending, after)
        mine = np.frombuffer((candidates & self._own).to_array(), np.uint32)
        if not len(mine) or limit <= 0:
            return slots, values
        own = self._values[np.searchsorted(self._slots, mine)]
        if after is not None:
            value, slot = np.uint64(after[0]), after[1]
            behind = (own < value) | ((own == value) & (mine < slot))
            behind = behind if descending else (own > value) | ((own == value) & (mine > slot))
            mine, own = mine[behind], own[behind]
        slots, values = np.concatenate((slots, mine)), np.concatenate((values, own))
        order = np.lexsort((slots, values))
        order = (order[::-1] if descending else order)[:limit]
        return slots[order], values[order]

    def range(self, low: int | None = None, high: int | None = None) -> BitMap:
        """Return the slots whose value lies between two bounds, both inclusive; None is open."""
        mine = self._slots[_between(self._values, low, high)]
        return (self.base.range(low, high) - self._touched) | BitMap(mine)

    def settle(self, low: int, high: int) -> tuple[int, int] | None:
        """Return bounds between two others, outside which no value lies between those; None if none does."""
        found = list(self.base.settle(low, high) or ())
        found += self._values[_between(self._values, low, high)].tolist()
        return (min(found), max(found)) if found else None

    def count_range(self, low: int | None = None, high: int | None = None) -> int:
        """Return how many slots `range` would return."""
        gone = np.count_nonzero(_between(self._before, low, high) & self._held)
        return self.base.count_range(low, high) - int(gone) + int(_between(self._values, low, high).sum())


Column = SortColumn | EditedColumn


def _between(values: np.ndarray, low: int | None, high: int | None) -> np.ndarray:
    inside = np.ones(len(values), bool)
    if low is not None:
        inside &= values >= np.uint64(low)
    if high is not None:
        inside &= values <= np.uint64(high)
    return inside
