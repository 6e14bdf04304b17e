"""The plan of a query: which sets are combined, in which order, and what that costs.

A conjunction starts with its smallest set, intersects the others by size, subtracts
what is negated, and applies ranges last, on the documents themselves where few are left; behind
them functions of users, on what is left then.
A plan is data: `run` and `count` follow it, `explain` follows it with a clock.
"""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from pyroaring import BitMap

from bitdex.bitmaps import sort_word
from bitdex.query.clauses import (
    And,
    Between,
    Clause,
    Eq,
    Gte,
    In,
    IsNotNull,
    IsNull,
    Lte,
    Not,
    NotEq,
    NotIn,
    Or,
)
from bitdex.query.edited import Column
from bitdex.query.given import Called, Given, Predicate, Xor
from bitdex.query.order import SLOT_LIMIT, bitmap_of
from bitdex.query.snapshot import EMPTY, Snapshot

RANGES = (Gte, Lte, Between)
MEETING = 30  # bytes of a dense set that are joined in the time in which one document meets it
FEW = 20_000  # documents whose values are compared one by one rather than by bitmap


@dataclass(slots=True)
class Step:
    """One step: "start" from, "and" with, "minus" a set, keep a "range" of a column, or "call" a function.

    A set is one bitmap, or the union of several (`members`), which is not made where
    meeting each of them is cheaper; `disjoint` members can be counted one by one.
    """

    action: str
    clause: Clause
    size: int
    bitmap: Any = None
    column: Column | None = None
    low: int | None = None
    high: int | None = None
    members: list[BitMap] | None = None
    disjoint: bool = False
    few: int = 0
    predicate: Predicate | None = None


def plan(snapshot: Snapshot, clause: Clause) -> list[Step]:
    """Return the steps that answer a bound clause, cheapest first."""
    sets: list[Step] = []
    minus: list[Step] = []
    ranges: list[Step] = []
    calls: list[Step] = []
    for member in members(clause):
        kind = type(member)
        if kind is NotEq or kind is NotIn or kind is Not:
            found = evaluate(snapshot, _negated(member))
            minus.append(Step("minus", member, len(found), found))
        elif kind in RANGES and (step := _range_step(snapshot, member)) is not None:
            ranges.append(step)
        elif kind is Called:
            calls.append(Step("call", member, member.predicate.prepare(), predicate=member.predicate))  # type: ignore[attr-defined]
        elif kind is In and member.field != "id" and snapshot.schema.field(member.field).filter is not None:  # type: ignore[attr-defined]
            sets.append(_members_step(snapshot, member))
        else:
            found = evaluate(snapshot, member)
            sets.append(Step("and", member, len(found), found))
    if len(sets) > 1:
        sets.sort(key=_by_size)
    if len(minus) > 1:
        minus.sort(key=_by_size, reverse=True)
    ranges.sort(key=_by_size)
    if not sets and not ranges:
        sets = [Step("and", And(()), len(snapshot.alive), snapshot.alive)]
    steps = [*sets, *ranges, *minus, *calls] if not sets else [*sets, *minus, *ranges, *calls]
    steps[0].action = "start"
    return steps


def run(steps: list[Step]) -> BitMap:
    """Return the documents that the steps leave; may be a set that is not to be changed."""
    found = _start(steps[0])
    for step in steps[1:]:
        if not found:
            return EMPTY
        found = _apply(found, step)
    return found


def count(steps: list[Step]) -> int:
    """Return how many documents the steps leave, without making the last set."""
    first, last = steps[0], steps[-1]
    if first is last:
        return first.size if first.members is None or first.disjoint else len(_start(first))
    found = _start(first)
    for step in steps[1:-1]:
        found = _apply(found, step)
    if last.members is not None:
        if last.disjoint and len(found) < last.few:
            return sum([found.intersection_cardinality(member) for member in last.members])
        return found.intersection_cardinality(BitMap.union(*last.members))
    if last.action == "and":
        return found.intersection_cardinality(last.bitmap)
    if last.predicate is not None:
        return len(last.predicate(found))
    if last.action == "minus":
        return len(found) - found.intersection_cardinality(last.bitmap)
    if len(found) <= FEW:
        return int(np.count_nonzero(_within(found, last)[1]))
    return found.intersection_cardinality(_start(last))


def explain(steps: list[Step]) -> list[dict[str, Any]]:
    """Follow the steps with a clock: one row a step, as data."""
    rows, found = [], EMPTY
    for number, step in enumerate(steps):
        clock = time.perf_counter_ns()
        found = _start(step) if number == 0 else _apply(found, step)
        elapsed = (time.perf_counter_ns() - clock) / 1000
        rows.append(
            {
                "step": number,
                "action": step.action,
                "clause": str(step.clause),
                "cardinality": _cardinality(step),
                "left": len(found),
                "microseconds": round(elapsed, 1),
                "bytes": _bytes(step),
            }
        )
    return rows


def evaluate(snapshot: Snapshot, clause: Clause) -> BitMap:
    """Return the documents that match a bound clause; the set is not to be changed."""
    kind = type(clause)
    if kind is Eq:
        return _equal(snapshot, clause)
    if kind is In:
        return _any_of(snapshot, clause)
    if kind is Or:
        each = [evaluate(snapshot, member) for member in clause.clauses]  # type: ignore[attr-defined]
        return BitMap.union(*each) if each else EMPTY
    if kind is IsNull:
        return snapshot.missing(clause.field) if clause.field != "id" else EMPTY  # type: ignore[attr-defined]
    if kind is IsNotNull:
        return snapshot.alive - snapshot.missing(clause.field) if clause.field != "id" else snapshot.alive  # type: ignore[attr-defined]
    if kind in RANGES:
        return _range(snapshot, clause)
    if kind is Given:
        return clause.members if clause.visible else clause.members & snapshot.alive  # type: ignore[attr-defined]
    if kind is Xor:
        return evaluate(snapshot, clause.left) ^ evaluate(snapshot, clause.right)  # type: ignore[attr-defined]
    return run(plan(snapshot, clause))


def members(clause: Clause) -> list[Clause]:
    """Return the clauses of a conjunction, of any other clause itself."""
    if type(clause) is not And:
        return [clause]
    found: list[Clause] = []
    for member in clause.clauses:
        if type(member) is And:
            found += members(member)
        else:
            found.append(member)
    return found


def sets_of(step: Step) -> list[BitMap]:
    """Return the bitmaps that a step reads; none where it reads a column."""
    if step.members is not None:
        return step.members
    return [] if step.bitmap is None else [step.bitmap]


def values_inside(snapshot: Snapshot, clause: Any) -> tuple[int, ...]:
    """Return the values of a filter field, as bound keys, that lie in a range."""
    low, high = _bounds(clause)
    values = snapshot.values(clause.field)
    inside = np.ones(len(values), bool)
    if low is not None:
        inside &= values >= low
    if high is not None:
        inside &= values <= high
    return tuple(values[inside].tolist())


def _by_size(step: Step) -> int:
    return step.size


def _negated(clause: Any) -> Clause:
    if type(clause) is NotEq:
        return Eq(clause.field, clause.value)
    return In(clause.field, clause.values) if type(clause) is NotIn else clause.clause


def _start(step: Step) -> BitMap:
    if step.bitmap is not None:
        return step.bitmap
    if step.members is not None:
        return BitMap.union(*step.members)
    assert step.column is not None
    return step.column.range(step.low, step.high)


def _apply(found: BitMap, step: Step) -> BitMap:
    if step.members is not None:
        if len(found) < step.few:
            return BitMap.union(*[found & member for member in step.members])
        return found & BitMap.union(*step.members)
    if step.action == "and":
        return found & step.bitmap
    if step.action == "minus":
        return found - step.bitmap
    if step.predicate is not None:
        return step.predicate(found)
    if len(found) > FEW:
        return found & _start(step)
    slots, inside = _within(found, step)
    return bitmap_of(slots[inside])


def _within(found: BitMap, step: Step) -> tuple[np.ndarray, np.ndarray]:
    """Return the documents as slots, and which of them lie in the range of a step."""
    assert step.column is not None
    slots = np.frombuffer(found.to_array(), np.uint32)
    values, inside = step.column.values_of(slots)
    if step.low is not None:
        inside &= values >= np.uint64(step.low)
    if step.high is not None:
        inside &= values <= np.uint64(step.high)
    return slots, inside


def _cardinality(step: Step) -> int:
    """Return how many documents the clause of a step has; what it is planned with may be more."""
    return step.size if step.members is None or step.disjoint else len(_start(step))


def _bytes(step: Step) -> int:
    if step.column is not None:
        return step.column.nbytes
    return sum(len(one.serialize()) for one in sets_of(step))


def _equal(snapshot: Snapshot, clause: Any) -> BitMap:
    if clause.field == "id":
        return BitMap([clause.value]) & snapshot.alive
    field = snapshot.schema.field(clause.field)
    if field.filter is not None:
        return snapshot.having(clause.field, clause.value)
    word = sort_word(field, clause.value)
    return snapshot.column(clause.field).range(word, word)


def _any_of(snapshot: Snapshot, clause: Any) -> BitMap:
    if clause.field == "id":
        return BitMap(clause.values) & snapshot.alive
    field = snapshot.schema.field(clause.field)
    if field.filter is not None:
        return BitMap.union(*snapshot.having_each(clause.field, clause.values))
    column = snapshot.column(clause.field)
    words = [sort_word(field, value) for value in clause.values]
    return BitMap.union(*(column.range(word, word) for word in words))


def _bounds(clause: Any) -> tuple[Any, Any]:
    if type(clause) is Between:
        return clause.low, clause.high
    return (clause.value, None) if type(clause) is Gte else (None, clause.value)


def _members_step(snapshot: Snapshot, clause: Any) -> Step:
    """Return the step of an In on a filter field."""
    each = snapshot.having_each(clause.field, clause.values)
    disjoint = snapshot.schema.field(clause.field).filter != "multi_value"
    size = sum(map(len, each))
    few = snapshot.dense_bytes // MEETING
    return Step("and", clause, size, members=each, disjoint=disjoint, few=few)


def _range_step(snapshot: Snapshot, clause: Any) -> Step | None:
    """Return the step of a range on a sort field, or None for other fields."""
    if clause.field == "id" or snapshot.schema.field(clause.field).sort is None:
        return None
    field, column = snapshot.schema.field(clause.field), snapshot.column(clause.field)
    low, high = (None if b is None else sort_word(field, b) for b in _bounds(clause))
    return Step("range", clause, column.count_range(low, high), None, column, low, high)


def _range(snapshot: Snapshot, clause: Any) -> BitMap:
    low, high = _bounds(clause)
    if clause.field == "id":
        inside = snapshot.alive.copy()
        inside.remove_range(0, low or 0)
        inside.remove_range(SLOT_LIMIT if high is None else high + 1, SLOT_LIMIT)
        return inside
    step = _range_step(snapshot, clause)
    if step is not None:
        return _start(step)
    found = snapshot.having_each(clause.field, values_inside(snapshot, clause))
    return BitMap.union(*found) if found else EMPTY
