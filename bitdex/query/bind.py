"""Binding: a query meets a schema, and comes out with values as the index keeps them.

In a bound tree

* every field exists and is indexed; the alias of the time buckets has become its sort field;
* the field ``id`` is the slot, compared with integers from 0 to 2^32 - 1;
* values are integers (labels and booleans too) within what the field can hold, or floats on
  float fields: nothing has to be converted, clipped or refused any more;
* ranges are inclusive and single: only Gte, Lte and Between occur, ``width > 511.5`` is
  ``width >= 512``. What no value can fulfil is ``Or(())``, what every value fulfils IsNotNull;
* nulls are spelled out: no None among the values, and NotEq and NotIn are plain complements,
  with IsNotNull beside them where the field is nullable;
* the values of an In or NotIn are sorted and distinct, and there is at least one.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bitdex.errors import InvalidError
from bitdex.query.clauses import (
    EVERYTHING,
    MAX_DEPTH,
    MAX_VALUES,
    NOTHING,
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
    Membership,
    Not,
    NotEq,
    NotIn,
    Or,
    Within,
    without_none,
)
from bitdex.query.domain import Domain, Labels, domain_of
from bitdex.query.windows import Moment, snapped, window_of
from bitdex.schema import Field, Schema


def bind(clause: Clause, schema: Schema, labels: Labels, moment: Moment | None = None) -> Clause:
    """Return the clause tree with checked names and typed values.

    Parameters
    ----------
    clause : Clause
        As written; `bitdex.query.expression.to_clause` makes one of any form.
    schema : Schema
    labels : callable
        The number of a text of a low-cardinality string field, or None if it has none yet.
    moment : Moment, optional
        The present, where windows end; that of the clock if it is not given.

    Raises
    ------
    InvalidError
        For an unknown or unindexed field, a value of the wrong type, a range on labels or
        booleans, NaN, too many values, or too deep a tree; it says what the field accepts.

    Examples
    --------
    >>> schema = Schema.load({"name": "pictures", "config": {"sort_fields": [{"name": "width"}]}})
    >>> print(bind(Gt("width", 511.5), schema, lambda field, text: None))
    width >= 512
    """
    return _bind(clause, schema, labels, 0, moment or Moment())


def _bind(clause: Any, schema: Schema, labels: Labels, depth: int, moment: Moment) -> Clause:
    if depth >= MAX_DEPTH:
        raise InvalidError(f"The query nests more than {MAX_DEPTH} clauses deep; write it flatter")
    kind = type(clause)
    if kind is And or kind is Or:
        return kind(tuple([_bind(member, schema, labels, depth + 1, moment) for member in clause.clauses]))
    if kind is Not:
        inner = replace(moment, snap=False) if moment.snap else moment
        return Not(_bind(clause.clause, schema, labels, depth + 1, inner))
    if kind is Within:
        return _within(clause, schema, labels, moment)
    explicit = without_none(clause)
    if type(explicit) is not kind:
        return _bind(explicit, schema, labels, depth, moment)
    domain = domain_of(clause.field, schema, labels)
    bound = _LEAVES[kind](clause, domain)
    wider = _snapped(clause, domain, schema, moment) if moment.snap else None
    return bound if wider is None else wider


def _within(clause: Within, schema: Schema, labels: Labels, moment: Moment) -> Clause:
    buckets, window = window_of(schema, clause.field, clause.window)
    domain = domain_of(buckets.sort_field, schema, labels)
    low = max(domain.at_least(moment.now - window.duration_secs, False), domain.low)
    high = min(domain.at_most(moment.now, False), domain.high)
    inside = moment.settle(domain.name, low, high) if low <= high else None
    bound = NOTHING if inside is None else _range(domain, *inside)
    moment.notes[bound] = f"window {window.name!r} at {moment.now:.0f}"
    return bound


def _snapped(clause: Any, domain: Any, schema: Schema, moment: Moment) -> Clause | None:
    if not isinstance(clause, Gt | Gte) or not schema.time_buckets:
        return None
    found = snapped(clause, domain.number(clause.value), schema, moment)
    if found is None:
        return None
    wider, note = found
    bound = _bind(wider, schema, _no_labels, 0, replace(moment, snap=False))
    moment.notes[bound] = note
    return bound


def _no_labels(field: Field, text: str) -> None:
    return None  # a sort field has none


def _eq(clause: Any, domain: Domain) -> Clause:
    key = domain.key(clause.value)
    return NOTHING if key is None else Eq(domain.name, key)


def _not_eq(clause: Any, domain: Domain) -> Clause:
    key = domain.key(clause.value)
    return _complement(domain, EVERYTHING if key is None else NotEq(domain.name, key))


def _in(clause: Any, domain: Domain) -> Clause:
    keys = _keys(clause, domain)
    return In(domain.name, keys) if len(keys) > 1 else Eq(domain.name, keys[0]) if keys else NOTHING


def _not_in(clause: Any, domain: Domain) -> Clause:
    keys = _keys(clause, domain)
    if not keys:
        return _complement(domain, EVERYTHING)
    plain = NotIn(domain.name, keys) if len(keys) > 1 else NotEq(domain.name, keys[0])
    return _complement(domain, plain)


def _keys(clause: Membership, domain: Domain) -> tuple[Any, ...]:
    if len(clause.values) > MAX_VALUES:
        raise InvalidError(
            f"{domain.name}: {len(clause.values):,} values in a list, at most {MAX_VALUES:,} are accepted; "
            "split the query"
        )
    return tuple(domain.keys(clause.values))


def _complement(domain: Domain, plain: Clause) -> Clause:
    if not domain.excludes_nulls:
        return plain
    return domain.present() if plain is EVERYTHING else And((plain, domain.present()))


def _range(domain: Domain, low: Any, high: Any) -> Clause:
    if not (low <= domain.high and domain.low <= high and low <= high):  # NaN: no such value
        return NOTHING
    if low == high:
        return Eq(domain.name, low)
    if low > domain.low:
        return Between(domain.name, low, high) if high < domain.high else Gte(domain.name, low)
    return Lte(domain.name, high) if high < domain.high else domain.present()


def _between(clause: Any, domain: Domain) -> Clause:
    return _range(domain, domain.at_least(clause.low, False), domain.at_most(clause.high, False))


_LEAVES: dict[type, Callable[[Any, Any], Clause]] = {
    Eq: _eq,
    NotEq: _not_eq,
    In: _in,
    NotIn: _not_in,
    Gt: lambda clause, domain: _range(domain, domain.at_least(clause.value, True), domain.high),
    Gte: lambda clause, domain: _range(domain, domain.at_least(clause.value, False), domain.high),
    Lt: lambda clause, domain: _range(domain, domain.low, domain.at_most(clause.value, True)),
    Lte: lambda clause, domain: _range(domain, domain.low, domain.at_most(clause.value, False)),
    Between: _between,
    IsNull: lambda clause, domain: domain.absent(),
    IsNotNull: lambda clause, domain: domain.present(),
}
