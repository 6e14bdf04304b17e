"""Ranking: which of the matching documents a page shows, in order, and where the next begins.

The order is (value, slot), both in the sort's direction; documents without a value come
last in both directions, or where the field says (`Sort.absent`), by slot in the direction.
Without a sort, the newest slot comes first. A cursor is a row, so a chain of pages is one
long page in pieces.
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


@dataclass(frozen=True, slots=True)
class Rows:
    """Consecutive rows of an order.

    Attributes
    ----------
    slots : ndarray of uint32, shape (n,)
    words : ndarray of uint64, shape (n,)
        The sort values, order-preserving; 0 where there is none, or no sort.
    valued : ndarray of bool, shape (n,)
        Whether the row has a sort value.
    """

    slots: np.ndarray
    words: np.ndarray
    valued: np.ndarray

    @classmethod
    def without_values(cls, slots: np.ndarray) -> "Rows":
        """Return rows of slots that have no sort value."""
        return cls(slots, np.zeros(len(slots), np.uint64), np.zeros(len(slots), np.bool_))

    def __len__(self) -> int:
        return len(self.slots)

    def __getitem__(self, part: slice) -> "Rows":
        return Rows(self.slots[part].copy(), self.words[part].copy(), self.valued[part].copy())

    @property
    def nbytes(self) -> int:
        """Bytes of the rows."""
        return self.slots.nbytes + self.words.nbytes + self.valued.nbytes

    def followed_by(self, others: "Rows") -> "Rows":
        """Return these rows and those that come behind them."""
        if not len(others):
            return self
        columns = (self.slots, others.slots), (self.words, others.words), (self.valued, others.valued)
        return Rows(*map(np.concatenate, columns))

    def cursor(self, snapshot: Snapshot, sort: Sort) -> Cursor | None:
        """Return the cursor behind the last row; None if there is none."""
        if not len(self.slots):
            return None
        value = None
        if sort.field is not None and self.valued[-1]:
            value = snapshot.sort_value(snapshot.schema.field(sort.field), int(self.words[-1]))
        return Cursor(value, int(self.slots[-1]))

    def behind(self, snapshot: Snapshot, sort: Sort, cursor: Cursor) -> int | None:
        """Return the place of the row behind the one that a cursor names, or None if that is not here."""
        places = np.flatnonzero(self.slots == cursor.slot)
        if not len(places):
            return None
        place = int(places[0])
        if sort.field is None:
            return place + 1
        if not self.valued[place] or cursor.value is None:
            return None if self.valued[place] or cursor.value is not None else place + 1
        known = _place(snapshot, snapshot.schema.field(sort.field), cursor, sort.descending)
        return place + 1 if known is not None and known[0] == int(self.words[place]) else None


def rank(snapshot: Snapshot, found: BitMap, sort: Sort, limit: int, after: Cursor | None) -> Rows:
    """Return the next `limit` rows after a cursor."""
    if sort.field is None:
        below = None if after is None else after.slot
        return Rows.without_values(by_slot(found, sort.descending, limit, below))
    field = snapshot.schema.field(sort.field)
    if field.sort is None:
        known = ", ".join(one.name for one in snapshot.schema.sort_fields)
        raise InvalidError(f"sort: field {sort.field!r} is not a sort field; those are {known}")
    return _by_value(snapshot, field, found, sort.descending, limit, after)


def _by_value(
    snapshot: Snapshot, field: Field, found: BitMap, descending: bool, limit: int, after: Cursor | None
) -> Rows:
    """Take rows from those with a value and those without, in the order in which the field has them."""
    assert field.sort is not None
    first, second = (_absent, _valued) if field.sort.absent_first(descending) else (_valued, _absent)
    rows = Rows.without_values(np.empty(0, np.uint32))
    if after is None or (after.value is None) == (first is _absent):
        rows, after = first(snapshot, field, found, descending, limit, after), None
    if len(rows) == limit:
        return rows
    more = second(snapshot, field, found, descending, limit - len(rows), after)
    return rows.followed_by(more) if len(rows) else more


def _valued(
    snapshot: Snapshot, field: Field, found: BitMap, descending: bool, limit: int, after: Cursor | None
) -> Rows:
    """Return the next rows of those with a value."""
    place = _place(snapshot, field, after, descending)
    if place == _BEHIND:
        return Rows.without_values(np.empty(0, np.uint32))
    slots, words = snapshot.column(field.name).top(found, limit, descending, place)
    return Rows(slots, words, np.ones(len(slots), np.bool_))


def _absent(
    snapshot: Snapshot, field: Field, found: BitMap, descending: bool, limit: int, after: Cursor | None
) -> Rows:
    """Return the next rows of those without a value."""
    if len(snapshot.column(field.name)) == len(snapshot.alive):
        return Rows.without_values(np.empty(0, np.uint32))
    below = None if after is None else after.slot
    absent = found & snapshot.missing(field.name)
    return Rows.without_values(by_slot(absent, descending, limit, below))


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
