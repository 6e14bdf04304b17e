"""Plots of an index: those of its silos side by side, and the containers of its fields."""

from typing import Any

from bitdex import charts
from bitdex.configuration import nearest
from bitdex.errors import InvalidError
from bitdex.inside.memory import CONTAINERS, memory_of
from bitdex.silo.plots import PLOTS, draw
from bitdex.store import BITMAPS, DOCUMENTS, Store

LARGEST = 20  # fields that are drawn


def plot(store: Store, what: str, ax: Any) -> Any:
    """Draw what `Index.plot` draws."""
    if what == "containers":
        return _containers(store, charts.axes(ax))
    if what not in PLOTS:
        raise InvalidError(f"what: {what!r} is unknown; {nearest(what, [*PLOTS, 'containers'])}")
    return draw({name: store.committed.state(name) for name in (DOCUMENTS, BITMAPS)}, what, ax)


def _containers(store: Store, ax: Any) -> Any:
    """Draw the bytes of containers, the largest fields on top."""
    found = memory_of(store, "container").query("container != 'none'")
    table = found.pivot_table("bytes", ["field", "part"], "container", "sum", fill_value=0)
    table = table.reindex(columns=list(CONTAINERS), fill_value=0) / 1e6
    table = table.loc[table.sum(axis=1).sort_values(ascending=False).index[:LARGEST]]
    ax.set_xlabel("MB of containers")
    labels = [f"{field} {part}" for field, part in table.index]
    return charts.stacks(ax, labels, {kind: table[kind].tolist() for kind in CONTAINERS})
