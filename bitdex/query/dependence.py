"""Dependence: what can alter the answer of a query, as the tokens that `bitdex.cache.Epochs` follows.

A token is the key of a bitmap, or stands for all values of a field, or for the sort values of one::

    x == 5, x in [5, 6]      the bitmaps of 5 and of 6
    x >= 5                   the sort values of x; of a field that has none, all its values
    x is null, a default     the bitmap of the documents that have a value
    not, !=, null, id        who is alive, unless the clause stands beside a positive one

Whether a visible document is in a clause follows from its bits in the bitmaps of these tokens. Which
documents are visible alters an answer only if one without any such bit can be in it: one that is put must
set a bit, and one that is deleted must clear it, to come into a positive clause or to leave it.
"""

from collections.abc import Hashable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from bitdex.formats import bitmap as format_
from bitdex.query.clauses import (
    And,
    Between,
    Clause,
    Eq,
    Gte,
    In,
    IsNotNull,
    Lte,
    Not,
    NotEq,
    NotIn,
    Or,
    fields_of,
)

if TYPE_CHECKING:
    from bitdex.query.snapshot import Snapshot

FEW = 64  # values of a field that are told apart
FEW_KEYS = 100  # that are sooner looked at one by one than as an array

_Found = tuple[set[Hashable], bool]  # tokens, and whether documents without any of their bits can be in it


def key_of(clause: Clause) -> Hashable:
    """Return what bound clauses of one meaning share: members in any order, nested or repeated.

    Examples
    --------
    >>> a, b = Eq("a", 1), Eq("b", 2)
    >>> key_of(And((a, And((b, a))))) == key_of(And((b, a)))
    True
    """
    kind = type(clause)
    if kind is And or kind is Or:
        members = frozenset(_members(kind, clause))
        return next(iter(members)) if len(members) == 1 else (kind, members)
    if kind is Not:
        return (Not, key_of(clause.clause))  # type: ignore[attr-defined]
    return clause


def _members(kind: type, clause: Any) -> list[Hashable]:
    members: list[Hashable] = []
    for member in clause.clauses:
        if type(member) is kind:
            members += _members(kind, member)
        else:
            members.append(key_of(member))
    return members


def weight(clause: Any) -> int:
    """Return about how many bytes a clause takes in memory."""
    members = getattr(clause, "clauses", None)
    if members is not None:
        return 100 + sum(map(weight, members))
    return 200 + 40 * len(getattr(clause, "values", ()))


def dependencies(snapshot: "Snapshot", clause: Clause, sort: str | None) -> frozenset[Hashable] | None:
    """Return the tokens of a bound clause, and of the order by a sort field.

    None where a field has no number yet: nothing was written, and what will alter it cannot be told.
    """
    names = fields_of(clause) - {"id"} if sort is None else fields_of(clause) - {"id"} | {sort}
    if not all(name in snapshot.registry for name in names):
        return None
    tokens, open_ = _find(snapshot, clause)
    if open_:
        tokens.add(format_.alive_key())
    if sort is not None:
        tokens.add(_words(snapshot, sort))
    return frozenset(tokens)


def altered_tokens(keys: np.ndarray, fields: Iterable[int]) -> set[Hashable]:
    """Return the tokens that a commit alters: bitmaps by key (u64), sort values by field number."""
    listed = keys.tolist()
    tokens: set[Hashable] = set(listed)
    many = len(listed) > FEW_KEYS
    numbers = np.unique(keys >> np.uint64(48)).tolist() if many else {key >> 48 for key in listed}
    tokens.update([("values", number) for number in numbers])
    tokens.update([("words", number) for number in fields])
    return tokens


def _find(snapshot: "Snapshot", clause: Any) -> _Found:
    kind = type(clause)
    if kind is And:
        found = [_find(snapshot, member) for member in clause.clauses]
        return set().union(*[tokens for tokens, _ in found]), all(open_ for _, open_ in found)
    if kind is Or:
        found = [_find(snapshot, member) for member in clause.clauses]
        return set().union(*[tokens for tokens, _ in found]), any(open_ for _, open_ in found)
    if kind is Not:
        return _find(snapshot, clause.clause)[0], True
    if clause.field == "id":
        return set(), True
    if kind is NotEq or kind is NotIn:
        return _holding(snapshot, clause.field, _values(clause))[0], True
    if kind is Eq or kind is In:
        return _holding(snapshot, clause.field, _values(clause))
    if kind is Gte or kind is Lte or kind is Between:
        return _within(snapshot, clause.field)
    return {_present(snapshot, clause.field)}, kind is not IsNotNull or _has_default(snapshot, clause.field)


def _values(clause: Any) -> tuple[Any, ...]:
    return (clause.value,) if isinstance(clause, Eq | NotEq) else clause.values


def _holding(snapshot: "Snapshot", name: str, values: tuple[Any, ...]) -> _Found:
    """Return what the documents with one of these values depend on."""
    if snapshot.schema.field(name).filter is None:
        return _within(snapshot, name)
    number = snapshot.registry.number(name)
    tokens: set[Hashable] = set()
    for value in values[: FEW + 1]:
        stored = snapshot.bitmaps.stored_value(number, value)
        if stored is None or len(values) > FEW:  # one that nothing has had yet has no bitmap either
            tokens = {("values", number)}
            break
        tokens.add(format_.filter_key(number, stored))
    if not snapshot.defaults(name):
        return tokens, False
    tokens.add(_present(snapshot, name))
    return tokens, True


def _within(snapshot: "Snapshot", name: str) -> _Found:
    """Return what the documents whose value lies in a range depend on."""
    if snapshot.schema.field(name).sort is not None:
        return {_words(snapshot, name)}, _has_default(snapshot, name)
    tokens: set[Hashable] = {("values", snapshot.registry.number(name))}
    return (tokens | {_present(snapshot, name)}, True) if snapshot.defaults(name) else (tokens, False)


def _words(snapshot: "Snapshot", name: str) -> Hashable:
    return ("words", snapshot.registry.number(name))


def _present(snapshot: "Snapshot", name: str) -> int:
    return format_.present_key(snapshot.registry.number(name))


def _has_default(snapshot: "Snapshot", name: str) -> bool:
    return bool(snapshot.defaults(name))
