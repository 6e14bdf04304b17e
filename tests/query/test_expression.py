"""Queries in Python: every comparison, every misuse, and values from NumPy and pandas."""

import datetime
import enum
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from bitdex.errors import InvalidError
from bitdex.query.clauses import (
    EVERYTHING,
    And,
    Between,
    Clause,
    Eq,
    Gt,
    Gte,
    In,
    IsNotNull,
    IsNull,
    Lt,
    Lte,
    Not,
    NotEq,
    NotIn,
    Or,
)
from bitdex.query.expression import field as f
from bitdex.query.expression import to_clause

UNITS = ["s", "ms", "us", "ns"]
NOON = datetime.datetime(2026, 1, 31, 12)


class Kind(str, enum.Enum):  # noqa: UP042  # a StrEnum is shown as its text
    VIDEO = "video"


class Level(enum.IntEnum):
    HIGH = 3


MADE = [
    (f.a == 1, Eq("a", 1)),
    (f.a != "x", NotEq("a", "x")),
    (f.a < 1, Lt("a", 1)),
    (f.a <= 1, Lte("a", 1)),
    (f.a > 1.5, Gt("a", 1.5)),
    (f.a >= 1, Gte("a", 1)),
    (f.a < 5, Lt("a", 5)),
    (f["my field"].has(3), Eq("my field", 3)),
    (f.a.isin([1, 2]), In("a", (1, 2))),
    (f.a.isin({3}), In("a", (3,))),
    (f.a.isin(range(3)), In("a", (0, 1, 2))),
    (f.a.notin(["x"]), NotIn("a", ("x",))),
    (f.a.has_any((1, 2)), In("a", (1, 2))),
    (f.a.has_all([1, 2]), And((Eq("a", 1), Eq("a", 2)))),
    (f.a.has_all([1]), Eq("a", 1)),
    (f.a.between(1, 2), Between("a", 1, 2)),
    (f.a.isnull(), IsNull("a")),
    (f.a.notnull(), IsNotNull("a")),
    (~f.poi, Eq("poi", False)),
    (f.poi & f.minor, And((Eq("poi", True), Eq("minor", True)))),
    (f.poi | ~f.minor, Or((Eq("poi", True), Eq("minor", False)))),
    ((f.a == 1) & f.poi, And((Eq("a", 1), Eq("poi", True)))),
    (f.poi & (f.a == 1) & (f.b == 2), And((Eq("poi", True), Eq("a", 1), Eq("b", 2)))),
    (~(f.a == 1), Not(Eq("a", 1))),
    (f.a == np.int64(7), Eq("a", 7)),
    (f.a > np.float32(0.5), Gt("a", 0.5)),
    (f.a == np.True_, Eq("a", True)),
    (f.a == np.str_("x"), Eq("a", "x")),
    (f.a.isin(np.array([1, 2], np.uint8)), In("a", (1, 2))),
    (f.a.isin(pd.Series(["x", "y"])), In("a", ("x", "y"))),
    (f.a.isin(pa.array([1, None])), In("a", (1, None))),
    (f.a.isin([np.int64(1), 2]), In("a", (1, 2))),
    (f.a >= datetime.date(2026, 1, 31), Gte("a", "2026-01-31")),
    (f.a >= datetime.datetime(2026, 1, 31, 12), Gte("a", "2026-01-31T12:00:00")),
    (f.a >= pd.Timestamp("2026-01-31", tz="UTC"), Gte("a", "2026-01-31T00:00:00+00:00")),
    (f.a >= np.datetime64("2026-01-31T12", "ns"), Gte("a", "2026-01-31T12:00:00.000000000")),
    (f.a == Kind.VIDEO, Eq("a", "video")),
    (f.a[Kind.VIDEO], Eq("a", "video")),
    (f.a.isin([Kind.VIDEO, "x"]), In("a", ("video", "x"))),
    (f.a != Level.HIGH, NotEq("a", 3)),
    *((f.a.isin(np.array([NOON], f"M8[{unit}]")), In("a", ("2026-01-31T12:00:00",))) for unit in UNITS),
    (f.a.notin(np.array(["2026-01-31"], "M8[D]")), NotIn("a", ("2026-01-31T00:00:00",))),
    (f.a.isin(np.array([NOON, None], "M8[ns]")), In("a", (NOON.isoformat(), None))),
    (f.a.isin(pd.Series([NOON])), In("a", (NOON.isoformat(),))),
]


@pytest.mark.parametrize(("made", "expected"), MADE)
def test_makes_clauses_of_plain_values(made: Clause, expected: Clause) -> None:
    assert repr(made) == repr(expected)


MISUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: (f.a == 1) and (f.b == 2), "& | ~"),
    (lambda: f.poi and f.minor, "& | ~"),
    (lambda: not f.poi, "& | ~"),
    (lambda: 1 < f.a < 5, r"\.between\(low, high\)"),
    (lambda: f.a in [1, 2], r"\.isin\(values\)"),
    (lambda: 304 in f.tagIds, r"field\.tagIds\.has\(304\)"),
    (lambda: f.a == 1 & f.b == 2, r"parentheses, as in \(f\.a == 1\) & \(f\.b > 2\)"),
    (lambda: (f.a == 1) & f.b > 2, "parentheses"),
    (lambda: (f.a == 1) & "poi", "found 'poi'"),
    (lambda: 0 | f.poi, "found 0"),
    (lambda: f.a == [1, 2], r"not \[1, 2\]"),
    (lambda: f.a == object(), "a value is a number, string, boolean, date or None"),
    (lambda: f.a == np.timedelta64(5, "ns"), "a value is a number, string, boolean, date or None"),
    (lambda: f.a.isin(np.array([5], "m8[ns]")), "a value is a number, string, boolean, date or None"),
    (lambda: f.a.isin("abc"), "Expected a list of values, not 'abc'"),
    (lambda: f.a.isin(5), r"use == or \.has\(value\)"),
    (lambda: f[3], "name is a string, not 3"),
    (lambda: to_clause((f.a == 1) & f.b == 2), "each comparison in parentheses"),
    (lambda: to_clause(5), "A query is an expression of bitdex.field, text, a JSON filter or None, not 5"),
]


@pytest.mark.parametrize(("misuse", "message"), MISUSED)
def test_misuse_says_what_to_write(misuse: Callable[[], object], message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        misuse()


def test_all_forms_give_the_same_tree() -> None:
    clause = (f.nsfwLevel == 1) & f.tagIds.has(304) & ~f.poi
    assert to_clause(clause) is clause
    assert to_clause("nsfwLevel == 1 and tagIds has 304 and not poi") == clause
    assert to_clause({"nsfwLevel": 1, "tagIds": 304, "poi": False}) == clause
    assert to_clause([{"Eq": ["nsfwLevel", 1]}, {"Eq": ["tagIds", 304]}, {"Eq": ["poi", False]}]) == clause
    assert to_clause(f.poi) == Eq("poi", True)
    assert to_clause(None) == EVERYTHING


def test_names_that_begin_with_an_underscore_are_left_to_python() -> None:
    with pytest.raises(AttributeError, match="_repr_html_"):
        f._repr_html_  # noqa: B018
    assert repr(f["_x"]) == "field['_x']"


def test_importing_loads_no_heavy_library() -> None:
    code = (
        "import sys, bitdex.query.expression, bitdex.query.text, bitdex.query.json, bitdex.query.bind\n"
        "print({'numba', 'pandas', 'pyarrow'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "set()\n"
