"""Plots of a silo: how its data file is used, how far lookups go, what room records have, how logs grow."""

from collections.abc import Callable
from typing import Any

import numpy as np

from bitdex import charts
from bitdex.configuration import nearest
from bitdex.errors import InvalidError
from bitdex.silo import inspect
from bitdex.silo.state import State

PARTS = ("live", "headroom", "dead")


def draw(silos: dict[str, State], what: str, ax: Any) -> Any:
    """Draw one of `PLOTS` for states of some silos, by name, on the same axes."""
    if what not in PLOTS:
        raise InvalidError(f"what: {what!r} is unknown; {nearest(what, PLOTS)}")
    return PLOTS[what](charts.axes(ax), silos)


def _space(ax: Any, silos: dict[str, State]) -> Any:
    spaces = [inspect.space(state) for state in silos.values()]
    parts = {part: [one[part] / 1e6 for one in spaces] for part in PARTS}
    ax.set_xlabel("MB of data.bin")
    return charts.stacks(ax, list(silos), parts)


def _probes(ax: Any, silos: dict[str, State]) -> Any:
    ax.set_xlabel("entries that a lookup looks at")
    ax.set_ylabel("keys")
    ax.set_yscale("symlog")
    lines = {}
    for name, state in silos.items():
        lengths = 1 + inspect.index_frame(state)["distance"].to_numpy()
        counts = np.bincount(lengths, minlength=2)
        lines[name] = np.arange(len(counts))[1:].tolist(), counts[1:].tolist()
    return charts.steps(ax, lines)


def _headroom(ax: Any, silos: dict[str, State]) -> Any:
    ax.set_xlabel("share of its region that a record may still grow by")
    ax.set_ylabel("share of the records that have at most this")
    lines = {}
    for name, state in silos.items():
        entries = inspect.index_frame(state)
        room = np.sort(1 - entries["length"].to_numpy() / np.maximum(entries["allocated"].to_numpy(), 1))
        picked = np.unique(np.linspace(0, len(room) - 1, min(200, len(room))).astype(int))
        lines[name] = room[picked].tolist(), ((picked + 1) / max(1, len(room))).tolist()
    return charts.steps(ax, lines)


def _log(ax: Any, silos: dict[str, State]) -> Any:
    ax.set_xlabel("sequence")
    ax.set_ylabel("MB that wait in the logs")
    lines = {}
    for name, state in silos.items():
        waiting = inspect.ops_frame(state).groupby("sequence")["length"].sum().cumsum() / 1e6
        lines[name] = waiting.index.tolist(), waiting.tolist()
    return charts.steps(ax, lines)


PLOTS: dict[str, Callable[..., Any]] = {
    "space": _space,
    "probes": _probes,
    "headroom": _headroom,
    "log": _log,
}
