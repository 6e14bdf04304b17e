"""Ranking: which of the matching documents a page shows, in order, and where the next begins.

The order is (value, slot), both in the sort's direction; documents without a value come
last in both directions, or where the field says (`Sort.absent`), by slot in the direction. Without a sort,
the newest slot comes first. The cursor is the last row, so a chain of pages is one long page in pieces.
"""

from dataclasses import dataclass

import numpy as np
from pyroaring import BitMap

from bitdex.bitmaps import sort_word
from bitdex.errors import InvalidError
from bitdex.query.cursor import Cursor
from bitdex.query.snapshot import Snapshot
from bitdex.schema import Field

_BEHIND = (-1, -1)


@dataclass(frozen=True, slots=True)
class Sort:
    """A sort: field name (None: by slot) and direction."""

    field: str | None
    descending: bool

    @classmethod
    def parse(cls, sort: str | None) -> "Sort":
        """Read ``"field"``, ``"-field"`` or None (newest slot first)."""
        if sort is None:
            return cls(None, True)
        if not isinstance(sort, str) or not sort.strip("-+ "):
            raise InvalidError(f'sort: {sort!r} is no field name; write "-reactionCount" or "reactionCount"')
        name = sort.strip()
        descending = name.startswith("-")
        name = name.lstrip("+-")
        return cls(None if name == "id" else name, descending)

    def __str__(self) -> str:
        return f"{'-' if self.descending else ''}{self.field or 'id'}"


def rank(
    snapshot: Snapshot, found: BitMap, sort: Sort, limit: int, after: Cursor | None
) -> tuple[np.ndarray, Cursor | None]:
    """Return the slots (uint32) of the next `limit` rows after a cursor, and the cursor behind them."""
    if sort.field is None:
        slots = by_slot(found, sort.descending, limit, None if after is None else after.slot)
        return slots, Cursor(None, int(slots[-1])) if len(slots) else None
    field = snapshot.schema.field(sort.field)
    if field.sort is None:
        known = ", ".join(one.name for one in snapshot.schema.sort_fields)
        raise InvalidError(f"sort: field {sort.field!r} is not a sort field; those are {known}")
    return _by_value(snapshot, field, found, sort.descending, limit, after)


def _by_value(
    snapshot: Snapshot, field: Field, found: BitMap, descending: bool, limit: int, after: Cursor | None
) -> tuple[np.ndarray, Cursor | None]:
    """Take rows from those with a value and those without, in the order in which the field has them."""
    assert field.sort is not None
    slots, cursor = np.empty(0, np.uint32), None
    without_value = [True, False] if field.sort.absent_first(descending) else [False, True]
    if after is not None and (after.value is None) != without_value[0]:
        del without_value[0]
    for absent in without_value:
        if len(slots) == limit:
            break
        take = _absent if absent else _valued
        more, last = take(snapshot, field, found, descending, limit - len(slots), after)
        slots, cursor, after = np.concatenate((slots, more)), last or cursor, None
    return slots, cursor


def _valued(
    snapshot: Snapshot, field: Field, found: BitMap, descending: bool, limit: int, after: Cursor | None
) -> tuple[np.ndarray, Cursor | None]:
    """Return the next rows of those with a value, and the cursor behind them."""
    place = _place(snapshot, field, after, descending)
    if place == _BEHIND:
        return np.empty(0, np.uint32), None
    slots, words = snapshot.column(field.name).top(found, limit, descending, place)
    return slots, Cursor(snapshot.sort_value(field, int(words[-1])), int(slots[-1])) if len(slots) else None


def _absent(
    snapshot: Snapshot, field: Field, found: BitMap, descending: bool, limit: int, after: Cursor | None
) -> tuple[np.ndarray, Cursor | None]:
    """Return the next rows of those without a value, and the cursor behind them."""
    if len(snapshot.column(field.name)) == len(snapshot.alive):
        return np.empty(0, np.uint32), None
    below = None if after is None else after.slot
    slots = by_slot(found & snapshot.missing(field.name), descending, limit, below)
    return slots, Cursor(None, int(slots[-1])) if len(slots) else None


def _place(
    snapshot: Snapshot, field: Field, after: Cursor | None, descending: bool
) -> tuple[int, int] | None:
    """Return the cursor in the column's terms: None before all rows, _BEHIND behind all that have a value."""
    if after is None:
        return None
    assert field.sort is not None and after.value is not None
    if field.kind == "float":
        return sort_word(field, float(after.value)), after.slot
    if isinstance(after.value, float):
        raise InvalidError(f"after: {field.name} holds integers, and the cursor's value is {after.value!r}")
    if field.sort.low <= after.value <= field.sort.high:
        return sort_word(field, after.value), after.slot
    return None if (after.value > field.sort.high) == descending else _BEHIND


def by_slot(found: BitMap, descending: bool, limit: int, after: int | None) -> np.ndarray:
    """Return the next `limit` slots in slot order."""
    total = len(found)
    if descending:
        stop = total if after is None else (found.rank(after - 1) if after else 0)
        first = max(0, stop - limit)
    else:
        first = 0 if after is None else found.rank(after)
        stop = min(total, first + limit)
    if stop <= first:
        return np.empty(0, np.uint32)
    picked = np.frombuffer(found[first:stop].to_array(), np.uint32)
    return picked[::-1].copy() if descending else picked.copy()
