"""Explained: a plan that was run with a clock, as data that can be shown, plotted and computed with."""

import time
from typing import Any

import numpy as np
import pandas as pd

from bitdex import charts, html
from bitdex.kernels.containers import measure_containers
from bitdex.quantities import size
from bitdex.query import plan as planner
from bitdex.query.clauses import Clause, Combination, Membership, Not, Presence
from bitdex.query.given import Called, Given, Xor
from bitdex.query.snapshot import Snapshot
from bitdex.query.windows import Moment

COLUMNS = (
    *("step", "action", "clause", "cardinality", "left"),
    *("arrays", "bitsets", "runs", "bytes", "cache", "prepared", "microseconds"),
)
SHOWN = 40  # steps in a notebook


class Plan(pd.DataFrame):
    """The steps of a plan, one row each: a DataFrame that can plot itself; what is cut out of it is plain."""

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    def plot(self, ax: Any = None) -> Any:  # type: ignore[override]
        """Draw how many documents each step leaves and how long it takes; return the axes of matplotlib.

        Raises
        ------
        MissingError
            If matplotlib is not installed.
        """
        labels = [f"{action} {clause}" for action, clause in zip(self["action"], self["clause"])]
        notes = [f"{left:,} left, {spent:,.0f} us" for left, spent in zip(self["left"], self._spent())]
        drawn = charts.bars(charts.axes(ax), labels, self["left"].tolist(), notes)
        drawn.set_xlabel("documents left")
        return drawn

    def _spent(self) -> list[float]:
        return (self["prepared"] + self["microseconds"]).tolist()

    def _repr_html_(self) -> str:
        largest = max([1, *self["left"].tolist()])
        rows = []
        for row, spent in zip(self.head(SHOWN).to_dict("records"), self._spent()):
            mix = ", ".join(_counted(row[kind], kind) for kind in ("arrays", "bitsets", "runs") if row[kind])
            rows.append(
                (
                    *(row["action"], row["clause"], row["cardinality"]),
                    html.bar(row["left"], largest),
                    *(mix, size(row["bytes"]), row["cache"], f"{spent:,.1f}"),
                )
            )
        names = ("action", "clause", "cardinality", "left", "containers", "bytes", "cache", "us")
        return html.panel("Plan", html.table(names, rows, len(self) - len(rows)))


def explain(snapshot: Snapshot, clause: Clause, moment: Moment) -> Plan:
    """Run a bound clause step by step, with a clock; return what each step took and left."""
    clauses = planner.members(clause)
    told = {one: _prepare(snapshot, one) for one in clauses}  # a set that is at hand takes no time to plan
    steps = planner.plan(snapshot, clause)
    rows = planner.explain(steps)
    for row, step in zip(rows, steps):
        cache, prepared = told.get(step.clause, ("hit", 0.0))
        kinds = dict(zip(("arrays", "bitsets", "runs"), containers_of(planner.sets_of(step))))
        row |= kinds | {"clause": moment.noted(step.clause), "cache": cache, "prepared": prepared}
    return Plan(rows, columns=list(COLUMNS))


def _counted(count: int, kinds: str) -> str:
    return f"{count:,} {kinds if count > 1 else kinds[:-1]}"


def _prepare(snapshot: Snapshot, clause: Clause) -> tuple[str, float]:
    """Get what a clause reads into memory; return whether it was there, and the microseconds it took."""
    cache = "hit" if _is_kept(snapshot, clause) else "miss"
    clock = time.perf_counter_ns()
    planner.plan(snapshot, clause)
    return cache, round((time.perf_counter_ns() - clock) / 1000, 1)


def _is_kept(snapshot: Snapshot, clause: Any) -> bool:
    """Tell whether everything that a clause reads is in memory already."""
    if isinstance(clause, Given):
        return True
    if isinstance(clause, Called):
        return all(name == "id" or snapshot.keeps_column(name) for name in clause.predicate.fields)
    if isinstance(clause, Xor):
        return _is_kept(snapshot, clause.left) and _is_kept(snapshot, clause.right)
    if isinstance(clause, Combination):
        return all(_is_kept(snapshot, one) for one in clause.clauses)
    if isinstance(clause, Not):
        return _is_kept(snapshot, clause.clause)
    if clause.field == "id":
        return True
    if isinstance(clause, Presence):
        return snapshot.keeps_missing(clause.field)
    if snapshot.schema.field(clause.field).filter is None:
        return snapshot.keeps_column(clause.field)
    if isinstance(clause, planner.RANGES):
        return snapshot.keeps(clause.field, planner.values_inside(snapshot, clause))
    return snapshot.keeps(clause.field, clause.values if isinstance(clause, Membership) else (clause.value,))


def containers_of(sets: list[Any]) -> list[int]:
    """Return how many arrays, bitsets and runs some bitmaps have."""
    payloads = [one.serialize() for one in sets]
    ends = np.cumsum([0, *map(len, payloads)])
    data = np.frombuffer(b"".join(payloads), np.uint8)
    counts, sizes = np.empty(3 * len(sets), np.int64), np.empty(3 * len(sets), np.int64)
    measure_containers(data, ends[:-1].copy(), ends[1:].copy(), 0, len(sets), counts, sizes)
    return counts.reshape(-1, 3).sum(axis=0).tolist()
