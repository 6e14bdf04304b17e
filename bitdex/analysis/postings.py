"""Postings: the payloads of all values of a filter field, from the file, from the logs, or by default.

::

    mapped     records of one frame in data.bin that no log alters: not copied, verified once for each file
    folded     what logs alter, and records of several frames
    default    values that count where a document has none: as `Snapshot.having` gives them

Together they hold what `Snapshot.having` gives for each value, but for documents that are not visible.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bitdex.formats import bitmap as format_
from bitdex.kernels import gather
from bitdex.query.snapshot import Snapshot
from bitdex.silo.read import read_values
from bitdex.silo.state import State

BLOCK = 1 << 14  # keys that are verified together


@dataclass(frozen=True, slots=True)
class Postings:
    """Values (int64, bound keys) and their payloads, ``data[starts[i]:stops[i]]``."""

    values: np.ndarray
    data: np.ndarray
    starts: np.ndarray
    stops: np.ndarray

    def only(self, kept: np.ndarray) -> "Postings":
        """Return those of some values."""
        return Postings(self.values[kept], self.data, self.starts[kept], self.stops[kept])


def postings_of(snapshot: Snapshot, name: str) -> Iterator[Postings]:
    """Yield the postings of a filter field; no value comes twice."""
    folded = None
    if name in snapshot.registry:
        mapped, folded = _mapped(snapshot, name)
        altered = np.union1d(altered_values(snapshot, name), _values(snapshot, name, folded))
        yield mapped.only(~np.isin(mapped.values, altered)) if len(altered) else mapped
    yield from altered_postings(snapshot, name, folded)


def base_postings(snapshot: Snapshot, name: str) -> list[Postings]:
    """Return the postings of a stored filter field that the data file alone holds; no value comes twice."""
    mapped, folded = _mapped(snapshot, name)
    state = snapshot.bitmaps.source
    assert isinstance(state, State)
    read = read_values(state.base, [], state.fold, folded)
    values = _values(snapshot, name, folded)
    return [mapped, Postings(values, read.data, read.offsets[:-1], read.offsets[1:]).only(read.found)]


def altered_values(snapshot: Snapshot, name: str) -> np.ndarray:
    """Return the values (ascending) that logs alter, or that count where a document has none."""
    defaults = _defaults(snapshot, name)
    keys = _pending(snapshot, name)
    return np.union1d(_values(snapshot, name, keys), defaults) if len(keys) else defaults


def altered_postings(snapshot: Snapshot, name: str, others: np.ndarray | None = None) -> Iterator[Postings]:
    """Yield the postings of those values, and of other keys."""
    defaults = _defaults(snapshot, name)
    keys = _pending(snapshot, name)
    keys = keys if others is None else np.union1d(keys, others)
    if len(keys):
        values = _values(snapshot, name, keys)
        kept = ~np.isin(values, defaults)
        read = snapshot.bitmaps.source.get_many(keys[kept])
        yield Postings(values[kept], read.data, read.offsets[:-1], read.offsets[1:]).only(read.found)
    if len(defaults):
        payloads = [snapshot.having(name, value).serialize() for value in defaults.tolist()]
        ends = np.cumsum([0, *map(len, payloads)])
        yield Postings(defaults, np.frombuffer(b"".join(payloads), np.uint8), ends[:-1], ends[1:])


def values_of(snapshot: Snapshot, name: str) -> np.ndarray:
    """Return the values of a filter field that may occur, as bound keys (int64, ascending)."""
    found = np.empty(0, np.int64)
    if name in snapshot.registry:
        state = snapshot.bitmaps.source
        assert isinstance(state, State)
        keys, pending = _keys(snapshot, state, snapshot.registry.number(name)), _pending(snapshot, name)
        keys = np.union1d(keys, pending) if len(pending) else keys
        found = _values(snapshot, name, keys)
    defaults = np.array(snapshot.defaults(name), np.int64)
    return np.union1d(found, defaults) if len(defaults) else np.sort(found)


def _values(snapshot: Snapshot, name: str, keys: np.ndarray) -> np.ndarray:
    """Return the values (int64) that keys of a field stand for."""
    if not len(keys):
        return np.empty(0, np.int64)
    return snapshot.bitmaps.decode_values(snapshot.registry.number(name), keys & np.uint64(format_.VALUE_MAX))


def _keys(snapshot: Snapshot, state: State, number: int) -> np.ndarray:
    """Return the keys of a field in the data file, ascending; those of all fields are sorted once."""
    kept = snapshot.derived.get("keys")
    if kept is None or kept[0] is not state.base:
        kept = state.base, np.sort(state.base.index.keys())
        snapshot.derived["keys"] = kept
    first, stop = np.searchsorted(kept[1], np.array([number << 48, (number + 1) << 48], np.uint64))
    return kept[1][first:stop]


def _defaults(snapshot: Snapshot, name: str) -> np.ndarray:
    return np.array(sorted(set(snapshot.defaults(name)) - {None}), np.int64)


def _mapped(snapshot: Snapshot, name: str) -> tuple[Postings, np.ndarray]:
    """Return the postings in the data file, and the keys of the records that have to be folded."""
    number, state = snapshot.registry.number(name), snapshot.bitmaps.source
    assert isinstance(state, State)
    kept = snapshot.derived.get(("postings", number))
    if kept is None or kept[0] is not state.base:
        kept = (state.base, *_survey(snapshot, state, number))
        snapshot.derived["postings", number] = kept
    return kept[1], kept[2]


def _survey(snapshot: Snapshot, state: State, number: int) -> tuple[Postings, np.ndarray]:
    """Find the records of a field in the data file, and verify them."""
    base = state.base
    keys = _keys(snapshot, state, number)
    places, sizes, totals = (np.empty(n, np.int64) for n in (len(keys), len(keys) + 1, 2))
    gather.measure_singles_serial(*base.index.tables, keys, places, sizes, totals)
    for lo in range(0, len(keys), BLOCK):
        read_values(base, [], state.fold, keys[lo : lo + BLOCK])
    whole = places >= 0
    starts = places[whole] + gather.HEAD
    values = snapshot.bitmaps.decode_values(number, keys[whole] & np.uint64(format_.VALUE_MAX))
    found = Postings(values, base.data, starts, starts + sizes[1:][whole])
    return found.only(np.argsort(values, kind="stable")), keys[~whole]


def _pending(snapshot: Snapshot, name: str) -> np.ndarray:
    """Return the keys of a field that the logs alter, ascending and distinct."""
    state = snapshot.bitmaps.source
    assert isinstance(state, State)
    if not state.waiting or name not in snapshot.registry:
        return np.empty(0, np.uint64)
    keys = state.operations.keys
    return np.unique(keys[keys >> np.uint64(48) == snapshot.registry.number(name)])
