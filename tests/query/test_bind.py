"""Binding: the same documents before and after, and values that need no further care."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitdex.errors import InvalidError
from bitdex.query import clauses as c
from bitdex.query.bind import bind
from bitdex.query.clauses import EVERYTHING, MAX_DEPTH, MAX_VALUES, NOTHING, Clause, canonical
from bitdex.query.expression import to_clause
from bitdex.schema import Schema
from tests.oracle import Oracle
from tests.query.trees import DOCUMENTS, SCHEMA, labels, leaves, trees


@settings(max_examples=1000, derandomize=True, deadline=None)
@given(trees(leaves()), st.lists(DOCUMENTS, max_size=6), st.integers(0, 4))
def test_binding_keeps_the_meaning(clause: Clause, documents: list[dict[str, Any]], first: int) -> None:
    oracle = Oracle(SCHEMA, labels)
    for slot, document in enumerate(documents, first):
        oracle.put(slot, document)
    bound = bind(clause, SCHEMA, labels)
    assert oracle.query(bound) == oracle.query(clause)
    assert oracle.query(canonical(bound)) == oracle.query(clause)
    check_bound(bound)


def check_bound(clause: Any) -> None:
    """Check what `bitdex.query.bind` promises of a bound tree."""
    if isinstance(clause, c.Combination):
        for member in clause.clauses:
            check_bound(member)
    elif isinstance(clause, c.Not):
        check_bound(clause.clause)
    elif isinstance(clause, c.Membership):
        assert len(clause.values) > 1 and list(clause.values) == sorted(set(clause.values))
        check_keys(clause.field, clause.values)
    elif isinstance(clause, c.Between):
        assert clause.low < clause.high
        check_keys(clause.field, (clause.low, clause.high))
    elif isinstance(clause, c.Presence):
        assert clause.field in SCHEMA.fields
    else:
        assert type(clause) in (c.Eq, c.NotEq, c.Gte, c.Lte)
        check_keys(clause.field, (clause.value,))


def check_keys(name: str, values: tuple[Any, ...]) -> None:
    if name == "id":
        low, high = 0, 2**32 - 1
    elif SCHEMA.field(name).sort is None:
        low, high = -(2**63), 2**63 - 1
    else:
        low, high = SCHEMA.field(name).sort.low, SCHEMA.field(name).sort.high
    for value in values:
        assert type(value) is (float if name == "score" else int)
        assert low <= value <= high
        assert math.copysign(1, value) > 0 or value < 0  # no negative zero


BOUND = [
    ("level == 1", "level == 1"),
    ("level == 1.0", "level == 1"),
    ("level == 1.5", "nothing"),
    ("level != 1.5", "everything"),
    ("owner != 1", "owner != 1 and owner is not null"),
    ("owner != 1.5", "owner is not null"),
    ("owner not in []", "owner is not null"),
    ("owner not in [1, null]", "(owner != 1 and owner is not null) and owner is not null"),
    ("owner == null", "owner is null"),
    ("level in [3, 1.0, 1, 2.5]", "level in [1, 3]"),
    ("level in [null, 4]", "level == 4 or level is null"),
    ("tags not in []", "everything"),
    ("tags != 3", "tags != 3"),
    ("type == 'IMAGE'", "type == 1"),
    ("type == 'audio'", "nothing"),
    ("type != 'audio'", "everything"),
    ("model != 'x'", "model is not null"),
    ("type in ['video', 'audio']", "type == 2"),
    ("kind in ['cat', 'DOG']", "kind in [1, 2]"),
    ("kind == 'cow'", "nothing"),
    ("poi", "poi == 1"),
    ("poi == 0", "poi == 0"),
    ("likes > 1.5", "likes >= 2"),
    ("likes >= 1.5", "likes >= 2"),
    ("likes > 1", "likes >= 2"),
    ("likes < 1.5", "likes <= 1"),
    ("likes < 2", "likes <= 1"),
    ("likes > 255", "nothing"),
    ("likes > 254", "likes == 255"),
    ("likes >= 0", "likes is not null"),
    ("likes < 0", "nothing"),
    ("likes <= 1e999", "likes is not null"),
    ("likes == 256", "nothing"),
    ("likes between -5 and 7", "likes <= 7"),
    ("likes between 7 and 5", "nothing"),
    ("likes between 1.1 and 1.9", "nothing"),
    ("likes between 1.1 and 2.9", "likes == 2"),
    ("delta >= -2147483648", "delta is not null"),
    ("delta == -3", "delta == -3"),
    ("tags > 1", "tags >= 2"),
    ("level == 9223372036854775808", "nothing"),
    ("score == 1", "score == 1.0"),
    ("score > 1", "score >= 1.0000000000000002"),
    ("score < -0.0", "score <= -5e-324"),
    ("score >= -0.0", "score >= 0.0"),
    ("score <= 0", "score <= 0.0"),
    ("score == 9007199254740993", "nothing"),
    ("score >= 9007199254740993", "score >= 9007199254740994.0"),
    ("score <= 9007199254740993", "score <= 9007199254740992.0"),
    ("score > 1e999", "nothing"),
    ("score >= 1e999", "score == 1e999"),
    ("at >= '2024-01-01'", "at >= 1704067200"),
    ("at >= '2024-01-01T00:00:00.5'", "at >= 1704067201"),
    ("at == '2024-01-01 01:00+01:00'", "at == 1704067200"),
    ("atUnix > '1969-12-31'", "at >= -86399"),
    ("level < '1970-01-02'", "level <= 86399"),
    ("id == 8", "id == 8"),
    ("id in [1, 5000000000]", "id == 1"),
    ("id >= 0", "everything"),
    ("id < 0", "nothing"),
    ("id is null", "nothing"),
    ("id is not null", "everything"),
]


@pytest.mark.parametrize(("text", "expected"), BOUND)
def test_bound_form(text: str, expected: str) -> None:
    assert str(bind(to_clause(text), SCHEMA, labels)) == expected


WRONG = [
    ("levle == 1", "unknown field 'levle' in index 'everything'; use 'level'"),
    ("url == 'x'", "url is stored but not indexed: documents show it, queries cannot use it"),
    ("url is null", "declare it in filter_fields or sort_fields"),
    ("owner == 'x'", "owner takes a whole number, not 'x'"),
    ("owner == '5'", "owner takes a whole number, not '5'"),
    ("owner == '2024-01-01'", "owner takes a whole number, not '2024-01-01'"),
    ("owner", "owner takes a whole number, not True"),
    ("owner > null", "owner takes a whole number, not None"),
    ("owner between 1 and null", "owner takes a whole number, not None"),
    ("tags has any [1, 'x']", "tags takes a whole number, not 'x'"),
    ("likes > 'yesterday'", "likes takes a whole number or a date such as '2026-01-31', not 'yesterday'"),
    ("at > '2024-13-01'", "at takes a whole number or a date such as '2026-01-31', not '2024-13-01'"),
    ("at > '2024-01-01 noon'", "not '2024-01-01 noon'"),
    ("score == 'x'", "score takes a number, not 'x'"),
    ("score == true", "score takes a number, not True"),
    ("type == 1", "type takes a text in quotes, not 1"),
    ("type in ['image', true]", "type takes a text in quotes, not True"),
    ("type > 'a'", "type has no order: it takes a text in quotes; use ==, != or in"),
    ("type between 'a' and 'b'", "type has no order"),
    ("kind <= 'cat'", "kind has no order"),
    ("poi > 0", "poi has no order: it takes true or false; use ==, != or in"),
    ("poi == 2", "poi takes true or false, not 2"),
    ("poi == 'true'", "poi takes true or false, not 'true'"),
    ("id == 1.5", "id is the number of a document: it takes a whole number, not 1.5"),
    ("id > 1.5", "id is the number of a document"),
    ("id == 'x'", "id is the number of a document: it takes a whole number, not 'x'"),
    ("id", "it takes a whole number, not True"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_refuses(text: str, message: str) -> None:
    with pytest.raises(InvalidError) as caught:
        bind(to_clause(text), SCHEMA, labels)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["owner", "likes", "score", "id", "poi"])
def test_refuses_nan_everywhere(name: str) -> None:
    for clause in (c.Eq(name, math.nan), c.In(name, (1, math.nan)), c.NotEq(name, math.nan)):
        with pytest.raises(InvalidError, match=f"{name} .*not nan"):
            bind(clause, SCHEMA, labels)


def test_limits() -> None:
    with pytest.raises(InvalidError, match="tags: 100,001 values in a list, at most 100,000"):
        bind(c.In("tags", tuple(range(MAX_VALUES + 1))), SCHEMA, labels)
    assert bind(c.In("tags", tuple(range(MAX_VALUES))), SCHEMA, labels).field == "tags"  # type: ignore[attr-defined]


@pytest.mark.parametrize("wrap", [c.Not, lambda clause: c.And((clause,)), lambda clause: c.Or((clause,))])
def test_depth_is_limited(wrap: Callable[[Clause], Clause]) -> None:
    clause: Clause = c.Eq("level", 1)
    for _ in range(MAX_DEPTH - 1):
        clause = wrap(clause)
    assert bind(clause, SCHEMA, labels) == clause
    with pytest.raises(InvalidError, match="nests more than 32 clauses deep"):
        bind(wrap(clause), SCHEMA, labels)


def test_a_declared_field_is_no_alias() -> None:
    sorts = [{"name": "at"}, {"name": "atUnix"}]
    bucket = {"name": "24h", "duration_secs": 86400, "refresh_interval_secs": 300}
    buckets = {"filter_field": "atUnix", "sort_field": "at", "range_buckets": [bucket]}
    schema = Schema.load({"name": "x", "config": {"sort_fields": sorts, "time_buckets": buckets}})
    assert bind(c.Gte("atUnix", 5), schema, labels) == c.Gte("atUnix", 5)


def test_the_empty_combinations_stay() -> None:
    assert bind(EVERYTHING, SCHEMA, labels) == EVERYTHING
    assert bind(NOTHING, SCHEMA, labels) == NOTHING


def test_a_long_value_is_shown_in_part() -> None:
    with pytest.raises(InvalidError) as caught:
        bind(c.Eq("owner", "x" * 10_000), SCHEMA, labels)
    assert len(str(caught.value)) < 150
