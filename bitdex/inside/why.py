"""Why: whether a document matches a query, clause by clause, and what each clause costs in results."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from pyroaring import BitMap

from bitdex.bitmaps import sort_word
from bitdex.errors import NotFoundError
from bitdex.query import plan as planner
from bitdex.query.bind import bind
from bitdex.query.clauses import (
    And,
    Between,
    Clause,
    Combination,
    Eq,
    Gte,
    In,
    IsNotNull,
    IsNull,
    Not,
    NotEq,
    NotIn,
)
from bitdex.query.snapshot import Snapshot
from bitdex.query.windows import Moment

INDENT = "  "


def why(snapshot: Snapshot, slot: int, clause: Clause, moment: Moment) -> pd.DataFrame:
    """Return what `Index.why` shows, for a query as it was written."""
    if slot not in snapshot.alive:
        waits = slot in snapshot.deferred
        raise NotFoundError(f"document {slot} {'waits for its time' if waits else 'does not exist'}")
    rows = list(_walk(snapshot, slot, clause, moment, 0))
    return pd.DataFrame(rows, columns=["depth", "clause", "holds", "value"])


def relax(snapshot: Snapshot, clause: Clause, moment: Moment) -> pd.DataFrame:
    """Return what `Index.relax` shows, for a query as it was written."""
    written = planner.members(clause)
    sets = [_evaluated(snapshot, one, moment) for one in written]
    before = [snapshot.alive]  # the documents that all clauses up to one leave
    for one in sets:
        before.append(before[-1] & one)
    behind, without = snapshot.alive, []
    for one, left in zip(reversed(sets), reversed(before[:-1])):
        without.append(left.intersection_cardinality(behind))
        behind = behind & one
    frame = pd.DataFrame(
        {
            "clause": list(map(str, written)),
            "matches": [len(one) for one in sets],
            "without": without[::-1],
            "costs": [count - len(before[-1]) for count in without[::-1]],
        }
    )
    frame.attrs["total"] = len(before[-1])
    return frame.sort_values("costs", ascending=False, kind="stable", ignore_index=True)


def holds(snapshot: Snapshot, slot: int, clause: Any) -> bool:
    """Tell whether a visible document is in a bound clause, by looking at its bits alone."""
    kind = type(clause)
    if isinstance(clause, Combination):
        each = (holds(snapshot, slot, one) for one in clause.clauses)
        return all(each) if kind is And else any(each)
    if kind is Not:
        return not holds(snapshot, slot, clause.clause)
    if kind is NotEq or kind is NotIn:
        positive = Eq(clause.field, clause.value) if kind is NotEq else In(clause.field, clause.values)
        return not holds(snapshot, slot, positive)
    if kind is IsNull or kind is IsNotNull:
        missing = clause.field != "id" and slot in snapshot.missing(clause.field)
        return missing == (kind is IsNull)
    return _has_value(snapshot, slot, clause)


def _has_value(snapshot: Snapshot, slot: int, clause: Any) -> bool:
    """Tell whether a document has one of the values of Eq or In, or one in a range."""
    values: Any = (clause.value,) if type(clause) is Eq else clause.values if type(clause) is In else None
    if clause.field == "id":
        return _lies_in(slot, clause, values)
    field = snapshot.schema.field(clause.field)
    if field.sort is not None and (field.filter is None or values is None):
        word = _word(snapshot, slot, clause.field)
        return word is not None and _lies_in(word, clause, values, lambda value: sort_word(field, value))
    if values is None:
        values = planner.values_inside(snapshot, clause)
    return any(slot in one for one in snapshot.having_each(clause.field, tuple(values)))


def _lies_in(found: int, clause: Any, values: Any, form: Any = int) -> bool:
    if values is not None:
        return any(form(value) == found for value in values)
    if type(clause) is Between:
        return bool(form(clause.low) <= found <= form(clause.high))
    return bool(found >= form(clause.value) if type(clause) is Gte else found <= form(clause.value))


def _word(snapshot: Snapshot, slot: int, name: str) -> int | None:
    """Return the sort value of a document in order-preserving form, or None."""
    words, present = snapshot.column(name).values_of(np.array([slot], np.uint32))
    return int(words[0]) if present[0] else None


def _walk(snapshot: Snapshot, slot: int, clause: Any, moment: Moment, depth: int) -> Iterator[dict[str, Any]]:
    """Yield a row for a clause, and for those inside it."""
    bound = bind(clause, snapshot.schema, snapshot.label, moment)
    inner = isinstance(clause, Combination | Not) and clause not in (And(()), ~And(()))
    yield {
        "depth": depth,
        "clause": INDENT * depth + (_word_of(clause) if inner else str(clause)),
        "holds": holds(snapshot, slot, bound),
        "value": None if isinstance(clause, Combination | Not) else _value(snapshot, slot, clause.field),
    }
    if isinstance(clause, Not):
        moment = replace(moment, snap=False)  # as binding does
    if inner:
        for one in clause.clauses if isinstance(clause, Combination) else (clause.clause,):
            yield from _walk(snapshot, slot, one, moment, depth + 1)


def _word_of(clause: Clause) -> str:
    return "not" if isinstance(clause, Not) else "all of" if isinstance(clause, And) else "any of"


def _value(snapshot: Snapshot, slot: int, name: str) -> Any:
    """Return the value of a field that a document shows, or that it is sorted by; None where it has none."""
    buckets = snapshot.schema.time_buckets
    if buckets is not None and name == buckets.filter_field and not snapshot.schema.has(name):
        name = buckets.sort_field
    if name == "id":
        return slot
    field = snapshot.schema.field(name)
    shown = snapshot.documents.get(slot, [name]).get(name) if field.stored else None
    if shown is None and field.sort is not None:
        word = _word(snapshot, slot, name)
        shown = None if word is None else snapshot.sort_value(field, word)
    return shown


def _evaluated(snapshot: Snapshot, clause: Clause, moment: Moment) -> BitMap:
    bound = bind(clause, snapshot.schema, snapshot.label, moment)
    return planner.run(planner.plan(snapshot, bound))
