"""Questions: random queries about the columns of a table, with values in it and values beside them."""

from collections.abc import Iterator
from random import Random
from typing import Any

from bitdex.inside.table import Column, Table
from bitdex.query.clauses import (
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

LARGEST = (1 << 63) - 1
DEPTH = 2  # of combinations in each other
NEAR = 10  # how far a range on a filter field reaches, which joins a bitmap for each value


def questions(table: Table, rng: Random, count: int) -> Iterator[tuple[Clause, str | None]]:
    """Yield so many clauses, and the sort to ask for them by."""
    sortable = [name for name, column in table.columns.items() if column.field.sort is not None]
    for _ in range(count):
        sort = rng.choice([None, "id", *sortable, *(f"-{name}" for name in sortable)])
        yield _tree(list(table.columns.values()), rng, DEPTH), sort


def _tree(columns: list[Column], rng: Random, depth: int) -> Clause:
    if depth == 0 or rng.random() < 0.4:
        return _leaf(rng.choice(columns), rng)
    kind = rng.choice([And, And, Or, Not])
    if kind is Not:
        return Not(_tree(columns, rng, depth - 1))
    return kind(tuple(_tree(columns, rng, depth - 1) for _ in range(rng.randint(2, 3))))


def _leaf(column: Column, rng: Random) -> Clause:
    name = column.field.name
    kind = rng.choice(_KINDS if _is_number(column) else _KINDS[:6])
    if kind is IsNull or kind is IsNotNull or not column.examples:
        return (kind if kind in (IsNull, IsNotNull) else IsNull)(name)
    if kind is In or kind is NotIn:
        return kind(name, tuple(_value(column, rng) for _ in range(rng.randint(1, 5))))
    value = _value(column, rng)
    if kind is Eq or kind is NotEq:
        return kind(name, value)
    if column.field.sort is None:
        return Between(name, value, min(value + rng.randint(0, NEAR), LARGEST))
    if kind is Between:
        return Between(name, *sorted((value, _value(column, rng))))
    return kind(name, value)


_KINDS: list[Any] = [Eq, NotEq, In, NotIn, IsNull, IsNotNull, Between, Gt, Gte, Lt, Lte]


def _is_number(column: Column) -> bool:
    return not (column.field.is_text or column.field.is_boolean)


def _value(column: Column, rng: Random) -> Any:
    """Return a value of the column, now and then one beside it."""
    value = rng.choice(column.examples)
    if rng.random() < 0.9 or column.field.is_boolean:
        return value
    return f"{value} " if isinstance(value, str) else _beside(value, rng)


def _beside(value: Any, rng: Random) -> Any:
    return max(-LARGEST - 1, min(value + rng.choice([-1, 1]), LARGEST))
