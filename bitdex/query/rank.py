"""Ranking: which of the matching documents a page shows, in order, and where the next begins.

The order is (value, slot), both in the sort's direction; documents without a value come
last in both directions, or where the field says (`Sort.absent`), by slot in the direction. Without a sort,
the newest slot comes first. A cursor is a row, so a chain of pages is one long page in pieces.
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
    words : ndarray of uint64, shape (m,)
        The sort values of m consecutive rows, order-preserving; the others have none, or there is no sort.
    lead : int
        Rows without a value that come before those.
    """

    slots: np.ndarray
    words: np.ndarray
    lead: int = 0

    def __len__(self) -> int:
        return len(self.slots)

    def __getitem__(self, part: slice) -> "Rows":
        first, stop, _ = part.indices(len(self.slots))
        words = self.words[max(0, first - self.lead) : max(0, stop - self.lead)]
        return Rows(self.slots[first:stop].copy(), words.copy(), max(0, min(self.lead, stop) - first))

    def followed_by(self, others: "Rows") -> "Rows":
        """Return these rows and those that come behind them."""
        slots, words = map(np.concatenate, ((self.slots, others.slots), (self.words, others.words)))
        return Rows(slots, words, self.lead if len(self.words) else self.lead + others.lead)

    def cursor(self, snapshot: Snapshot, sort: Sort) -> Cursor | None:
        """Return the cursor behind the last row; None if there is none."""
        if not len(self.slots):
            return None
        word, value = self._word(len(self.slots) - 1), None
        if sort.field is not None and word is not None:
            value = snapshot.sort_value(snapshot.schema.field(sort.field), word)
        return Cursor(value, int(self.slots[-1]))

    def behind(self, snapshot: Snapshot, sort: Sort, cursor: Cursor) -> int | None:
        """Return the place of the row behind the one that a cursor names, or None if that is not here."""
        places = np.flatnonzero(self.slots == cursor.slot)
        if not len(places):
            return None
        place = int(places[0])
        if sort.field is None:
            return place + 1
        word = self._word(place)
        if word is None or cursor.value is None:
            return None if word is not None or cursor.value is not None else place + 1
        known = _place(snapshot, snapshot.schema.field(sort.field), cursor, sort.descending)
        return place + 1 if known is not None and known[0] == word else None

    def _word(self, place: int) -> int | None:
        """Return the sort value of a row, or None where it has none."""
        return int(self.words[place - self.lead]) if 0 <= place - self.lead < len(self.words) else None


_NO_WORDS = np.empty(0, np.uint64)


def rank(snapshot: Snapshot, found: BitMap, sort: Sort, limit: int, after: Cursor | None) -> Rows:
    """Return the next `limit` rows after a cursor."""
    if sort.field is None:
        return Rows(by_slot(found, sort.descending, limit, None if after is None else after.slot), _NO_WORDS)
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
    absent_first, rows = field.sort.absent_first(descending), Rows(np.empty(0, np.uint32), _NO_WORDS)
    parts = [True, False] if absent_first else [False, True]
    if after is not None and (after.value is None) != parts[0]:
        del parts[0]
    for absent in parts:
        left = limit - len(rows)
        if not left:
            break
        if absent:
            slots = _absent(snapshot, field, found, descending, left, after)
            more = Rows(slots, _NO_WORDS, len(slots) if absent_first else 0)
        else:
            more = _valued(snapshot, field, found, descending, left, after)
        rows, after = rows.followed_by(more) if len(rows) else more, None
    return rows


def _valued(
    snapshot: Snapshot, field: Field, found: BitMap, descending: bool, limit: int, after: Cursor | None
) -> Rows:
    """Return the next rows of those with a value."""
    place = _place(snapshot, field, after, descending)
    if place == _BEHIND:
        return Rows(np.empty(0, np.uint32), _NO_WORDS)
    return Rows(*snapshot.column(field.name).top(found, limit, descending, place))


def _absent(
    snapshot: Snapshot, field: Field, found: BitMap, descending: bool, limit: int, after: Cursor | None
) -> np.ndarray:
    """Return the next slots of those without a value."""
    if len(snapshot.column(field.name)) == len(snapshot.alive):
        return np.empty(0, np.uint32)
    below = None if after is None else after.slot
    return by_slot(found & snapshot.missing(field.name), descending, limit, below)


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
