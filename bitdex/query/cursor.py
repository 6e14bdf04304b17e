"""The cursor: the place in an order after which the next page begins.

It is the last row's sort value and slot, so rows that come and go elsewhere do not move it. As
text it is ``value:slot``: ``1700000500:8``, ``0.25:8``, ``null:8`` where the row has no value of
the sort field, or where there is no sort and the slot alone is the order.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bitdex.errors import InvalidError

LARGEST_SLOT = 2**32 - 1

_TEXT = re.compile(
    r"(null|-?\d{1,20}|-?\d{1,25}(?:\.\d{1,25})?(?:e[+-]?\d{1,3})?|-?inf):(\d{1,10})", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in an order: the sort value (None: the document has none, or no sort) and the slot.

    Examples
    --------
    >>> str(Cursor(1700000500, 8))
    '1700000500:8'
    >>> Cursor.parse("null:8")
    Cursor(value=None, slot=8)
    """

    value: int | float | None
    slot: int

    def __post_init__(self) -> None:
        if not _is_integer(self.slot) or not 0 <= self.slot <= LARGEST_SLOT:
            raise InvalidError(
                f"A cursor's slot is a whole number from 0 to {LARGEST_SLOT}, not {self.slot!r}"
            )
        if isinstance(self.value, float) and not math.isnan(self.value):
            return
        if self.value is not None and not (_is_integer(self.value) and -(2**63) <= self.value < 2**64):
            raise InvalidError(f"A cursor's value is a number of 64 bits or null, not {self.value!r}")

    def __str__(self) -> str:
        return f"{'null' if self.value is None else repr(self.value)}:{self.slot}"

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Return the cursor that a text stands for; anything else is an `InvalidError`."""
        match = _TEXT.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise InvalidError(
                f"A cursor is 'value:slot' as the last page returned it, not {str(text)[:60]!r}"
            )
        value, slot = match.groups()
        return cls(_number(value), int(slot))

    @classmethod
    def of(cls, cursor: Any) -> "Cursor | None":
        """Return a cursor given as such, as text, as ``{"sort_value", "slot_id"}``, or None."""
        if cursor is None or isinstance(cursor, cls):
            return cursor
        if not isinstance(cursor, Mapping):
            return cls.parse(cursor)
        if cursor.keys() != {"sort_value", "slot_id"}:
            raise InvalidError(
                f"A cursor has the keys sort_value and slot_id, not {sorted(map(str, cursor))}"
            )
        return cls(cursor["sort_value"], cursor["slot_id"])

    def to_mapping(self) -> dict[str, int | float | None]:
        """Return the native JSON form: ``{"sort_value", "slot_id"}``."""
        return {"sort_value": self.value, "slot_id": self.slot}


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(text: str) -> int | float | None:
    if text == "null":
        return None
    return float(text) if any(mark in text for mark in ".en") else int(text)
