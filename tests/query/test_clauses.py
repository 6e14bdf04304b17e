"""The clause tree: joining, canonical form, fields."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitdex.errors import InvalidError
from bitdex.query.clauses import (
    EVERYTHING,
    NOTHING,
    And,
    Between,
    Eq,
    Gt,
    In,
    IsNotNull,
    IsNull,
    Not,
    NotEq,
    NotIn,
    Or,
    canonical,
    fields_of,
    without_none,
)
from tests.oracle import Oracle
from tests.query.trees import DOCUMENTS, SCHEMA, labels, leaves, trees

A, B, C = Eq("a", 1), Eq("b", 2), Eq("c", 3)


def test_operators_flatten_their_own_kind() -> None:
    assert And((A, B, C)) == A & B & C
    assert Or((A, B, C)) == A | (B | C)
    assert And((Or((A, B)), C)) == (A | B) & C
    assert Not(And((A, B))) == ~(A & B)


@pytest.mark.parametrize(
    "misuse", [lambda: A and B, lambda: not A, lambda: A & 5, lambda: 5 | A, lambda: A > B]
)
def test_misuse_says_what_to_write(misuse: object) -> None:
    with pytest.raises(InvalidError, match="parenthes"):
        misuse()  # type: ignore[operator]


@pytest.mark.parametrize(
    ("clause", "expected"),
    [
        (And((B, A, B)), And((A, B))),
        (And((A, And((B, And(()))))), And((A, B))),
        (And((A,)), A),
        (And((A, NOTHING)), NOTHING),
        (Or((A, EVERYTHING)), EVERYTHING),
        (Or((NOTHING, NOTHING)), NOTHING),
        (In("a", (2, 1, 2)), In("a", (1, 2))),
        (In("a", (1, 1)), A),
        (In("a", ()), NOTHING),
        (NotIn("a", (1,)), NotEq("a", 1)),
        (NotIn("a", ()), NotIn("a", ())),  # without nulls where the field is nullable
        (In("a", (1, None)), Or((A, IsNull("a")))),
        (NotIn("a", (1, None)), And((IsNotNull("a"), NotEq("a", 1)))),
        (Eq("a", None), IsNull("a")),
        (Not(Not(A)), A),
        (Not(Eq("a", None)), IsNotNull("a")),
        (Not(EVERYTHING), NOTHING),
        (Not(A), Not(A)),  # NotEq leaves nulls out on nullable fields
        (In("a", (True, 1, "1")), In("a", (True, 1, "1"))),
    ],
)
def test_canonical(clause: And, expected: And) -> None:
    assert repr(canonical(clause)) == repr(expected)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(trees(leaves()), st.lists(DOCUMENTS, max_size=6))
def test_canonical_keeps_the_meaning_and_is_stable(clause: And, documents: list[dict[str, object]]) -> None:
    oracle = Oracle(SCHEMA, labels)
    for slot, document in enumerate(documents):
        oracle.put(slot, document)
    form = canonical(clause)
    assert canonical(form) == form
    assert oracle.query(form) == oracle.query(clause)


def test_fields_of() -> None:
    clause = And((Not(Or((IsNull("a"), Between("b", 1, 2)))), Gt("c", 1), In("d", ())))
    assert fields_of(clause) == {"a", "b", "c", "d"}
    assert fields_of(EVERYTHING) == frozenset()


def test_clauses_are_values() -> None:
    assert hash(And((A, B))) == hash(And((Eq("a", 1), B)))
    assert Eq("a", 1) != NotEq("a", 1)
    assert without_none(A) is A
    with pytest.raises(AttributeError):
        A.value = 2  # type: ignore[misc]
