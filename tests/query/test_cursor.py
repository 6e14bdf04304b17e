"""Cursors: their text form, and what is refused of it."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitdex.errors import InvalidError
from bitdex.query.cursor import Cursor


@pytest.mark.parametrize(
    ("text", "cursor"),
    [
        ("1700000500:8", Cursor(1700000500, 8)),
        ("-3:0", Cursor(-3, 0)),
        ("null:4294967295", Cursor(None, 2**32 - 1)),
        ("0.25:1", Cursor(0.25, 1)),
        ("-1e+300:1", Cursor(-1e300, 1)),
        ("inf:1", Cursor(float("inf"), 1)),
        ("18446744073709551615:1", Cursor(2**64 - 1, 1)),
    ],
)
def test_text(text: str, cursor: Cursor) -> None:
    assert repr(Cursor.parse(text)) == repr(cursor)
    assert str(cursor) == text


@settings(max_examples=200, derandomize=True, deadline=None)
@given(
    st.none() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False),
    st.integers(0, 2**32 - 1),
)
def test_round_trip(value: Any, slot: int) -> None:
    cursor = Cursor(value, slot)
    assert repr(Cursor.parse(str(cursor))) == repr(cursor)
    assert Cursor.of(cursor.to_mapping()) == cursor
    assert Cursor.of(str(cursor)) == Cursor.of(cursor) == cursor


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("8", "A cursor is 'value:slot' as the last page returned it, not '8'"),
        ("1:2:3", "value:slot"),
        (" 1:2", "value:slot"),
        ("1:-2", "value:slot"),
        ("٣:1", "value:slot"),
        ("nan:1", "value:slot"),
        ("1" * 5000 + ":1", "value:slot"),
        ("1:4294967296", "slot is a whole number from 0 to 4294967295, not 4294967296"),
        ("99999999999999999999:1", "number of 64 bits or null, not 99999999999999999999"),
        (5, "value:slot"),
        ({"sort_value": 1}, r"keys sort_value and slot_id, not \['sort_value'\]"),
        ({"sort_value": "1", "slot_id": 2}, "number of 64 bits or null, not '1'"),
        ({"sort_value": True, "slot_id": 2}, "not True"),
        ({"sort_value": float("nan"), "slot_id": 2}, "not nan"),
        ({"sort_value": 1, "slot_id": 2.0}, r"not 2\.0"),
    ],
)
def test_refuses(given: Any, message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        Cursor.of(given)


def test_none_is_the_beginning() -> None:
    assert Cursor.of(None) is None
