"""A clause tree written anew: as native JSON, and as an expression of `bitdex.field`."""

from typing import Any

import bitdex
from bitdex.query import clauses as c

f = bitdex.field


def as_json(clause: c.Clause) -> dict[str, Any]:
    """Return the native JSON form."""
    name = type(clause).__name__
    if isinstance(clause, c.Combination):
        return {name: [as_json(member) for member in clause.clauses]}
    if isinstance(clause, c.Not):
        return {name: as_json(clause.clause)}
    if isinstance(clause, c.Presence):
        return {name: clause.field}
    if isinstance(clause, c.Between):
        return {name: [clause.field, clause.low, clause.high]}
    return {name: [clause.field, list(clause.values) if isinstance(clause, c.Membership) else clause.value]}


def as_python(clause: c.Clause) -> c.Clause:
    """Build the clause with operators."""
    if isinstance(clause, c.Combination):
        result = c.EVERYTHING if isinstance(clause, c.And) else c.NOTHING
        for member in map(as_python, clause.clauses):
            result = result & member if isinstance(clause, c.And) else result | member
        return result
    if isinstance(clause, c.Not):
        return ~as_python(clause.clause)
    return _leaf(clause, f[clause.field])  # type: ignore[attr-defined]


def _leaf(clause: Any, field: Any) -> c.Clause:
    if isinstance(clause, c.Presence):
        return field.isnull() if isinstance(clause, c.IsNull) else field.notnull()
    if isinstance(clause, c.Between):
        return field.between(clause.low, clause.high)
    if isinstance(clause, c.Membership):
        return field.isin(clause.values) if isinstance(clause, c.In) else field.notin(clause.values)
    operators = {
        c.Eq: field.__eq__,
        c.NotEq: field.__ne__,
        c.Gt: field.__gt__,
        c.Gte: field.__ge__,
        c.Lt: field.__lt__,
        c.Lte: field.__le__,
    }
    return operators[type(clause)](clause.value)
