"""The filters of the three JSON formats, read into the clause tree; `bitdex.query.json` describes them."""

from collections.abc import Callable, Mapping
from typing import Any

from bitdex.errors import InvalidError
from bitdex.query.clauses import (
    EVERYTHING,
    MAX_DEPTH,
    MAX_VALUES,
    And,
    Between,
    Clause,
    Combination,
    Comparison,
    Eq,
    Gt,
    Gte,
    In,
    IsNotNull,
    IsNull,
    Lt,
    Lte,
    Membership,
    Not,
    NotEq,
    NotIn,
    Or,
    Presence,
    Value,
    Within,
    all_of,
    any_of,
)
from bitdex.query.expression import as_value
from bitdex.query.text import Parser

CLAUSES: dict[str, Any] = {
    kind.__name__: kind
    for kind in (Eq, NotEq, Gt, Gte, Lt, Lte, In, NotIn, Between, Within, And, Or, Not, IsNull, IsNotNull)
}
_TAGS: dict[str, tuple[type, ...]] = {
    "Integer": (int,),
    "Float": (float, int),
    "Bool": (bool,),
    "String": (str,),
}
_OPERATORS: dict[str, type[Comparison]] = {
    "$eq": Eq,
    "$ne": NotEq,
    "$gt": Gt,
    "$gte": Gte,
    "$lt": Lt,
    "$lte": Lte,
}
_LISTS: dict[str, type[Membership]] = {"$in": In, "$nin": NotIn}
_MEILISEARCH_WORDS = frozenset({"and", "or", "not", "true", "false", "null"})


def read_native(filters: Any, depth: int = 0) -> Clause:
    """Return the clause tree of a native clause or list of clauses."""
    if isinstance(filters, Mapping):
        return _native_clause(filters, depth)
    if filters is None:
        return EVERYTHING
    return all_of(_native_clauses(filters, depth, "filters"))


def _native_clauses(clauses: Any, depth: int, where: str) -> list[Clause]:
    if not isinstance(clauses, list | tuple):
        raise InvalidError(f"{where} takes a list of clauses, not {shown(clauses)}")
    return [_native_clause(clause, depth) for clause in clauses]


def _native_clause(clause: Any, depth: int) -> Clause:
    _check_depth(depth)
    if not isinstance(clause, Mapping) or len(clause) != 1:
        raise InvalidError(
            f'A clause is an object with one key, as {{"Eq": ["field", 1]}}, not {shown(clause)}'
        )
    [(name, content)] = clause.items()
    kind = CLAUSES.get(name)
    if kind is None:
        raise InvalidError(f"Unknown clause {name!r}: use {', '.join(CLAUSES)}")
    if kind is Not:
        return Not(_native_clause(content, depth + 1))
    if issubclass(kind, Combination):
        return kind(tuple(_native_clauses(content, depth + 1, name)))
    if issubclass(kind, Presence):
        return kind(read_name(content, name))
    return _native_leaf(kind, name, content)


def _native_leaf(kind: Any, name: str, content: Any) -> Clause:
    count = 3 if kind is Between else 2
    if not isinstance(content, list | tuple) or len(content) != count:
        form = '["field", low, high]' if count == 3 else '["field", value]'
        raise InvalidError(f"{name} takes {form}, not {shown(content)}")
    field = read_name(content[0], name)
    if issubclass(kind, Membership):
        return kind(field, _values(content[1], name, _tagged))
    if kind is Within:
        return Within(field, read_window(_tagged(content[1], name), field))
    return kind(field, *(_tagged(value, name) for value in content[1:]))


def _tagged(value: Any, where: str) -> Value:
    if not isinstance(value, Mapping):
        return as_value(value, where)
    if len(value) == 1:
        [(tag, content)] = value.items()
        if type(content) in _TAGS.get(tag, ()):
            return content
    raise InvalidError(f'{where}: a value is plain or tagged, as {{"Integer": 1}}, not {shown(value)}')


def read_compact(filter: Any, depth: int = 0) -> Clause:
    """Return the clause tree of an object of fields and operators."""
    if filter is None:
        return EVERYTHING
    _check_depth(depth)
    if not isinstance(filter, Mapping):
        raise InvalidError(f"A compact filter is an object of fields, not {shown(filter)}")
    return all_of([_compact_item(key, value, depth) for key, value in filter.items()])


def _compact_item(key: Any, value: Any, depth: int) -> Clause:
    if key == "$not":
        return Not(read_compact(value, depth + 1))
    if key in ("$and", "$or"):
        if not isinstance(value, list):
            raise InvalidError(f"{key} takes a list of filters, not {shown(value)}")
        return (And if key == "$and" else Or)(tuple(read_compact(member, depth + 1) for member in value))
    if isinstance(key, str) and key.startswith("$"):
        raise InvalidError(f"Unknown operator {key!r} beside fields: use $and, $or, $not")
    return _compact_field(read_name(key, "filter"), value, depth)


def _compact_field(field: str, value: Any, depth: int) -> Clause:
    if isinstance(value, list | tuple):
        return In(field, _values(value, field, as_value))
    if not isinstance(value, Mapping):
        return Eq(field, as_value(value, field))
    if not value:
        raise InvalidError(f"{field} takes a value, a list or an object of operators such as $gte, not {{}}")
    return all_of([_compact_operator(field, key, operand, depth) for key, operand in value.items()])


def _compact_operator(field: str, key: Any, operand: Any, depth: int) -> Clause:
    if key in _OPERATORS:
        return _OPERATORS[key](field, as_value(operand, f"{field} {key}"))
    if key in _LISTS:
        return _LISTS[key](field, _values(operand, f"{field} {key}", as_value))
    if key == "$exists" and isinstance(operand, bool):
        return (IsNotNull if operand else IsNull)(field)
    if key == "$within":
        return Within(field, read_window(operand, f"{field} $within"))
    if key == "$not":
        _check_depth(depth + 1)
        return Not(_compact_field(field, operand, depth + 1))
    if key == "$exists":
        raise InvalidError(f"{field} $exists takes true or false, not {shown(operand)}")
    known = ", ".join([*_OPERATORS, *_LISTS, "$within", "$exists", "$not"])
    raise InvalidError(f"Unknown operator {key!r} of {field}: use {known}")


class _MeilisearchParser(Parser):
    """The text form with ``a TO b`` and with values that need no quotes."""

    def predicate(self, name: str) -> Clause:
        if self.tokens[self.index][0] in ("number", "string"):
            low = self.value()
            self.expect("to")
            return Between(name, low, self.value())
        return super().predicate(name)

    def value(self) -> Value:
        kind, text, _ = self.tokens[self.index]
        if kind != "word" or text.lower() in _MEILISEARCH_WORDS:
            return super().value()
        self.index += 1
        return text


def read_meilisearch(filter: Any, depth: int = 0) -> Clause:
    """Return the clause tree of a filter text, or of lists of them."""
    if filter is None:
        return EVERYTHING
    _check_depth(depth)
    if isinstance(filter, str):
        return _MeilisearchParser(filter).parse()
    if not isinstance(filter, list | tuple):
        raise InvalidError(f"A filter is text or a list of texts and lists, not {shown(filter)}")
    join = all_of if depth % 2 == 0 else any_of
    return join([read_meilisearch(member, depth + 1) for member in filter])


def read_name(value: Any, where: str) -> str:
    """Return the name of a field."""
    if not isinstance(value, str) or not value:
        raise InvalidError(f"{where} takes the name of a field, not {shown(value)}")
    return value


def read_window(value: Any, where: str) -> str:
    """Return the name of a window."""
    if not isinstance(value, str):
        raise InvalidError(f"{where} takes the name of a window, as '7d', not {shown(value)}")
    return value


def shown(value: Any) -> str:
    """Return a value as an error shows it."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _values(values: Any, where: str, read: Callable[[Any, str], Value]) -> tuple[Value, ...]:
    if not isinstance(values, list | tuple):
        raise InvalidError(f"{where} takes a list of values, not {shown(values)}")
    if len(values) > MAX_VALUES:
        raise InvalidError(f"{where} takes at most {MAX_VALUES:,} values, not {len(values):,}")
    return tuple([read(value, where) for value in values])


def _check_depth(depth: int) -> None:
    if depth >= MAX_DEPTH:
        raise InvalidError(f"The filter nests more than {MAX_DEPTH} levels deep")
