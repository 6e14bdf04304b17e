"""The clause tree: what every way of writing a query becomes, and what each clause means.

A clause denotes a set of *alive* documents; *alive minus* below is short for that complement.
A field's value is what the document holds, else the schema's default, else there is none.

==========================  ===============================================================
clause                      documents
==========================  ===============================================================
``And(clauses)``            in every one of them; ``And(())`` is everything
``Or(clauses)``             in any of them; ``Or(())`` is nothing
``Not(clause)``             alive minus the clause, so documents without a value are in it
``Eq(field, value)``        the value is it; multi-value: contains it
``In(field, values)``       the value is one of them; multi-value: contains any of them
``NotEq, NotIn``            alive minus Eq, In; on a *nullable* single-value field also minus
                            IsNull (as in SQL), on every other field documents without a
                            value are in it, and so are multi-value documents with no values
``Gt, Gte, Lt, Lte``        the value compares so; multi-value: any element does
``Between(f, low, high)``   low <= value <= high; multi-value: any one element lies there
``Within(field, window)``   the value lies in a window of time_buckets that ends now
``IsNull(field)``           no value, or an empty list; for filter, sort and boolean fields alike
``IsNotNull(field)``        alive minus IsNull
==========================  ===============================================================

``None`` among the values means *no value*: ``Eq(f, None)`` is IsNull, ``NotEq(f, None)`` is
IsNotNull, ``In`` with None is an Or with IsNull, ``NotIn`` with None also excludes nulls. The
field ``id`` is the slot itself: it is never null, needs no declaration and takes every clause.
The position of a clause never changes its meaning.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from bitdex.errors import InvalidError

MAX_DEPTH = 32  # clauses within clauses
MAX_VALUES = 100_000  # of one In or NotIn

RESERVED = frozenset({"and", "or", "not", "true", "false", "null", "none", "everything", "nothing"})
_PLAIN_NAME = re.compile(r"[^\W\d]\w*")

Value = int | float | bool | str | None


class Combining:
    """What combines with clauses on its own side of ``&`` and ``|`` (`bitdex.selection`)."""

    __slots__ = ()


class Clause:
    """Base of all clauses: combine them with ``&``, ``|`` and ``~``; ``str`` gives the text form."""

    __slots__ = ()

    def __and__(self, other: Any) -> "Clause":
        if isinstance(other, Combining):
            return NotImplemented
        return And(_members(And, self) + _members(And, _operand(other)))

    def __rand__(self, other: Any) -> "Clause":
        return And(_members(And, _operand(other)) + _members(And, self))

    def __or__(self, other: Any) -> "Clause":
        if isinstance(other, Combining):
            return NotImplemented
        return Or(_members(Or, self) + _members(Or, _operand(other)))

    def __ror__(self, other: Any) -> "Clause":
        return Or(_members(Or, _operand(other)) + _members(Or, self))

    def __invert__(self) -> "Clause":
        return Not(self)

    def __lt__(self, other: Any) -> NoReturn:
        _operand(other)  # (f.a == 1) & f.b > 2 compares the whole left side
        raise InvalidError("Clauses have no order: put each comparison in parentheses")

    __le__ = __gt__ = __ge__ = __lt__

    def __bool__(self) -> NoReturn:
        raise InvalidError(
            "A query clause is neither true nor false: combine clauses with & | ~ (each in parentheses) "
            "instead of and, or, not; write .isin(values) or .has(value) instead of `in`, "
            "and .between(low, high) instead of low <= x <= high"
        )

    def __str__(self) -> str:
        return _WRITERS[type(self)](self)


def _operand(other: Any) -> Clause:
    if isinstance(other, Clause):
        return other
    clause = getattr(other, "__clause__", None)  # a bare boolean field
    if clause is None:
        raise InvalidError(
            f"Only clauses combine with & and |, found {other!r}: "
            "put each comparison in parentheses, as in (f.a == 1) & (f.b > 2)"
        )
    return clause()


def _members(kind: type, clause: Clause) -> tuple[Clause, ...]:
    return clause.clauses if type(clause) is kind else (clause,)  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Comparison(Clause):
    """A field beside one value."""

    field: str
    value: Value


class Eq(Comparison):
    """The value is `value`; a multi-value field contains it."""

    __slots__ = ()


class NotEq(Comparison):
    """The complement of Eq, without nulls on a nullable single-value field."""

    __slots__ = ()


class Gt(Comparison):
    """The value is greater than `value`."""

    __slots__ = ()


class Gte(Comparison):
    """The value is at least `value`."""

    __slots__ = ()


class Lt(Comparison):
    """The value is less than `value`."""

    __slots__ = ()


class Lte(Comparison):
    """The value is at most `value`."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Membership(Clause):
    """A field beside several values."""

    field: str
    values: tuple[Value, ...]


class In(Membership):
    """The value is one of `values`; a multi-value field contains any of them."""

    __slots__ = ()


class NotIn(Membership):
    """The complement of In, without nulls on a nullable single-value field."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Between(Clause):
    """The value lies between `low` and `high`, both included."""

    field: str
    low: Value
    high: Value


@dataclass(frozen=True, slots=True)
class Within(Clause):
    """The value lies in a window of time, by its name, that ends at the present of the query."""

    field: str
    window: str


@dataclass(frozen=True, slots=True)
class Presence(Clause):
    """A field alone."""

    field: str


class IsNull(Presence):
    """The document has no value of the field, or an empty list."""

    __slots__ = ()


class IsNotNull(Presence):
    """The document has a value of the field."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Combination(Clause):
    """Several clauses."""

    clauses: tuple[Clause, ...]


class And(Combination):
    """All of the clauses; of none: everything."""

    __slots__ = ()


class Or(Combination):
    """Any of the clauses; of none: nothing."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Not(Clause):
    """Alive documents that are not in the clause."""

    clause: Clause


EVERYTHING = And(())
NOTHING = Or(())


def all_of(clauses: Sequence[Clause]) -> Clause:
    """Join clauses with And; one clause stays itself."""
    return clauses[0] if len(clauses) == 1 else And(tuple(clauses))


def any_of(clauses: Sequence[Clause]) -> Clause:
    """Join clauses with Or; one clause stays itself."""
    return clauses[0] if len(clauses) == 1 else Or(tuple(clauses))


def fields_of(clause: Clause) -> frozenset[str]:
    """Return the names of the fields that a clause reads."""
    if isinstance(clause, Combination):
        return frozenset().union(*map(fields_of, clause.clauses))
    if isinstance(clause, Not):
        return fields_of(clause.clause)
    return frozenset((clause.field,))  # type: ignore[attr-defined]


def without_none(clause: Clause) -> Clause:
    """Replace None among the values of a leaf by the IsNull or IsNotNull that it stands for."""
    if isinstance(clause, Eq) and clause.value is None:
        return IsNull(clause.field)
    if isinstance(clause, NotEq) and clause.value is None:
        return IsNotNull(clause.field)
    if not isinstance(clause, Membership) or None not in clause.values:
        return clause
    rest = tuple(value for value in clause.values if value is not None)
    if isinstance(clause, In):
        return Or((In(clause.field, rest), IsNull(clause.field)))
    return And((NotIn(clause.field, rest), IsNotNull(clause.field)))


def canonical(clause: Clause) -> Clause:
    """Return the one form that equivalent spellings share: flat, sorted, without duplicates.

    Examples
    --------
    >>> print(canonical(And((Eq("b", 1), And((In("a", (2, 1, 2)),))))))
    b == 1 and a in [1, 2]
    """
    clause = without_none(clause)
    if isinstance(clause, Combination):
        return _canonical_combination(type(clause), clause.clauses)
    if isinstance(clause, Not):
        return _canonical_not(canonical(clause.clause))
    if isinstance(clause, Membership):
        return _canonical_membership(clause)
    return clause


def _canonical_combination(kind: type[Combination], clauses: tuple[Clause, ...]) -> Clause:
    members = {member for clause in clauses for member in _members(kind, canonical(clause))}
    absorbing = NOTHING if kind is And else EVERYTHING
    if absorbing in members:
        return absorbing
    return members.pop() if len(members) == 1 else kind(tuple(sorted(members, key=repr)))


def _canonical_not(inner: Clause) -> Clause:
    if isinstance(inner, Not):
        return inner.clause
    if isinstance(inner, Presence):
        return (IsNotNull if isinstance(inner, IsNull) else IsNull)(inner.field)
    if isinstance(inner, Combination) and not inner.clauses:
        return NOTHING if isinstance(inner, And) else EVERYTHING
    return Not(inner)  # Not(Eq) stays: NotEq differs from it on nullable fields


def _canonical_membership(clause: Membership) -> Clause:
    values = sorted({(type(value).__name__, value) for value in clause.values})
    if len(values) == 1:
        return (Eq if isinstance(clause, In) else NotEq)(clause.field, values[0][1])
    if not values and isinstance(clause, In):
        return NOTHING
    return type(clause)(clause.field, tuple(value for _, value in values))


def write_name(name: str) -> str:
    """Return a field name as text, in backquotes where it is not a plain word."""
    if _PLAIN_NAME.fullmatch(name) and name.lower() not in RESERVED:
        return name
    return "`" + name.replace("`", "``") + "`"


def write_value(value: Value) -> str:
    """Return a value as text."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and math.isinf(value):
        return "1e999" if value > 0 else "-1e999"
    return repr(value)


def _write_membership(clause: Any) -> str:
    word = "in" if isinstance(clause, In) else "not in"
    return f"{write_name(clause.field)} {word} [{', '.join(map(write_value, clause.values))}]"


def _write_between(clause: Any) -> str:
    return f"{write_name(clause.field)} between {write_value(clause.low)} and {write_value(clause.high)}"


def _write_combination(clause: Any) -> str:
    word, empty = (" and ", "everything") if isinstance(clause, And) else (" or ", "nothing")
    if len(clause.clauses) < 2:
        return str(clause.clauses[0]) if clause.clauses else empty
    return word.join(f"({c})" if isinstance(c, Combination) and c.clauses else str(c) for c in clause.clauses)


def _comparison_writer(operator: str) -> Callable[[Any], str]:
    return lambda clause: f"{write_name(clause.field)} {operator} {write_value(clause.value)}"


_WRITERS: dict[type, Callable[[Any], str]] = {
    Eq: _comparison_writer("=="),
    NotEq: _comparison_writer("!="),
    Gt: _comparison_writer(">"),
    Gte: _comparison_writer(">="),
    Lt: _comparison_writer("<"),
    Lte: _comparison_writer("<="),
    In: _write_membership,
    NotIn: _write_membership,
    Between: _write_between,
    Within: lambda clause: f"{write_name(clause.field)} within {write_value(clause.window)}",
    IsNull: lambda clause: f"{write_name(clause.field)} is null",
    IsNotNull: lambda clause: f"{write_name(clause.field)} is not null",
    And: _write_combination,
    Or: _write_combination,
    Not: lambda clause: f"not ({clause.clause})",
}
