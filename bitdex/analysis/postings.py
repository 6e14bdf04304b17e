"""Postings: the payloads of all values of a filter field, from the file, from the logs, or by default.

::

    mapped     records of one frame in data.bin that no log alters: not copied, verified once for each file
    pending    what logs alter, and records of several frames: folded
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
    mapped, altered = mapped_postings(snapshot, name)
    yield mapped.only(~np.isin(mapped.values, altered)) if len(altered) else mapped
    yield from altered_postings(snapshot, name)


def mapped_postings(snapshot: Snapshot, name: str) -> tuple[Postings, np.ndarray]:
    """Return the postings in the data file, and the values (ascending) of which they are not, or not all."""
    defaults = _defaults(snapshot, name)
    if name not in snapshot.registry:
        empty = np.empty(0, np.int64)
        return Postings(empty, np.empty(0, np.uint8), empty, empty), defaults
    mapped, keys = _mapped(snapshot, name)
    if not len(keys):
        return mapped, defaults
    number = snapshot.registry.number(name)
    pending = snapshot.bitmaps.decode_values(number, keys & np.uint64(format_.VALUE_MAX))
    return mapped, np.union1d(pending, defaults)


def altered_postings(snapshot: Snapshot, name: str) -> Iterator[Postings]:
    """Yield the postings of the values that are not, or not all, in the data file."""
    defaults = _defaults(snapshot, name)
    if name in snapshot.registry:
        _, keys = _mapped(snapshot, name)
        number, state = snapshot.registry.number(name), snapshot.bitmaps.source
        values = snapshot.bitmaps.decode_values(number, keys & np.uint64(format_.VALUE_MAX))
        kept = ~np.isin(values, defaults)
        read = state.get_many(keys[kept])
        yield Postings(values[kept], read.data, read.offsets[:-1], read.offsets[1:]).only(read.found)
    if len(defaults):
        payloads = [snapshot.having(name, value).serialize() for value in defaults.tolist()]
        ends = np.cumsum([0, *map(len, payloads)])
        yield Postings(defaults, np.frombuffer(b"".join(payloads), np.uint8), ends[:-1], ends[1:])


def values_of(snapshot: Snapshot, name: str) -> np.ndarray:
    """Return the values of a filter field that may occur, as bound keys (int64, ascending)."""
    found = np.empty(0, np.int64)
    if name in snapshot.registry:
        number, state = snapshot.registry.number(name), snapshot.bitmaps.source
        assert isinstance(state, State)
        keys, pending = _keys(snapshot, state, number), _pending(state, number)
        keys = np.union1d(keys, pending) if len(pending) else keys
        found = snapshot.bitmaps.decode_values(number, keys & np.uint64(format_.VALUE_MAX))
    defaults = np.array(snapshot.defaults(name), np.int64)
    return np.union1d(found, defaults) if len(defaults) else np.sort(found)


def _keys(snapshot: Snapshot, state: State, number: int) -> np.ndarray:
    """Return the keys of a field in the data file, ascending; those of all fields are sorted once."""
    kept = snapshot.derived.get("keys")
    if kept is None or kept[0] is not state.base:
        kept = state.base, np.sort(state.base.entries()["key"])
        snapshot.derived["keys"] = kept
    first, stop = np.searchsorted(kept[1], np.array([number << 48, (number + 1) << 48], np.uint64))
    return kept[1][first:stop]


def _defaults(snapshot: Snapshot, name: str) -> np.ndarray:
    return np.array(sorted(set(snapshot.defaults(name)) - {None}), np.int64)


def _mapped(snapshot: Snapshot, name: str) -> tuple[Postings, np.ndarray]:
    """Return the postings in the data file, and the keys of records that logs alter, or have to be folded."""
    number, state = snapshot.registry.number(name), snapshot.bitmaps.source
    assert isinstance(state, State)
    kept = snapshot.derived.get(("postings", number))
    if kept is None or kept[0] is not state.base:
        kept = (state.base, *_survey(snapshot, state, number))
        snapshot.derived["postings", number] = kept
    pending = _pending(state, number)
    return kept[1], np.union1d(pending, kept[2]) if len(pending) else kept[2]


def _survey(snapshot: Snapshot, state: State, number: int) -> tuple[Postings, np.ndarray]:
    """Find the records of a field in the data file, and verify them."""
    base = state.base
    keys = _keys(snapshot, state, number)
    places, sizes, totals = (np.empty(n, np.int64) for n in (len(keys), len(keys) + 1, 2))
    gather.measure_singles_serial(base.table, keys, places, sizes, totals)
    for lo in range(0, len(keys), BLOCK):
        read_values(base, [], state.fold, keys[lo : lo + BLOCK])
    whole = places >= 0
    starts = places[whole] + gather.HEAD
    values = snapshot.bitmaps.decode_values(number, keys[whole] & np.uint64(format_.VALUE_MAX))
    found = Postings(values, base.data, starts, starts + sizes[1:][whole])
    return found.only(np.argsort(values, kind="stable")), keys[~whole]


def _pending(state: State, number: int) -> np.ndarray:
    """Return the keys of a field that the logs alter, ascending and distinct."""
    if not state.waiting:
        return np.empty(0, np.uint64)
    keys = state.operations.keys
    return np.unique(keys[keys >> np.uint64(48) == number])
