"""Kept: the codes of fields that were asked for before, made of the postings in the data file.

They belong to that file, and say nothing of values that logs alter or that count by default. About `BYTES`
are kept of all fields together: what was made first goes first.
"""

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

from bitdex.analysis.along import ByCode
from bitdex.analysis.codes import FEW, Column, Lists
from bitdex.analysis.found import flat_chunks
from bitdex.analysis.members import checked, stretches
from bitdex.analysis.postings import Postings, altered_values, base_postings
from bitdex.analysis.team import share
from bitdex.kernels import codes as kernels
from bitdex.kernels.jit import THREADS
from bitdex.query.snapshot import Snapshot

BYTES = 1 << 30
ASKED = 2  # how often a field is asked for before its codes are made
NARROW = 1 << 16  # codes of two bytes
BAND = 32  # chunks whose lists are made together
PER_ENTRY = 3.0  # nanoseconds

Codes = Column | Lists


def codes_of(snapshot: Snapshot, name: str) -> tuple[Codes, np.ndarray] | None:
    """Return the codes of a filter field, and the values (ascending) that they do not tell of.

    None where there are none: asked for the first time, too large, or much is altered by logs.
    """
    if name not in snapshot.registry:
        return None
    number, base = snapshot.registry.number(name), snapshot.bitmaps.source.base  # type: ignore[union-attr]
    altered = altered_values(snapshot, name)

    def made() -> Codes | None:
        single = snapshot.schema.field(name).filter != "multi_value"
        return _made(base_postings(snapshot, name), snapshot, number, single)

    codes = when_asked_again(snapshot.derived, ("codes", number), (base,), made)
    if codes is None or 8 * len(altered) > len(codes.values) + 8:
        return None
    return codes, altered


def pair_of(snapshot: Snapshot, names: tuple[str, str], columns: tuple[Column, Column]) -> ByCode | None:
    """Return the slots by the codes of two fields; None the first time, or if that is too large."""
    key = "codes", ("pair", *(snapshot.registry.number(name) for name in names))

    def made() -> ByCode | None:
        room = room_for(snapshot.derived, 4 * len(snapshot.alive), key)
        return columns[0].crossed(columns[1]) if room else None

    return when_asked_again(snapshot.derived, key, columns, made)


def when_asked_again(
    derived: dict[Any, Any], key: Hashable, of: tuple[object, ...], make: Callable[[], Any]
) -> Any:
    """Return what is kept of some things, made when it is asked for the `ASKED`-th time; None before."""
    kept = derived.get(key)
    if kept is None or any(one is not other for one, other in zip(kept[0], of)):
        kept = of, 0, None
    _, asked, found = kept
    if found is None and asked < ASKED:
        asked += 1
        if asked == ASKED:
            found = make()
        derived.pop(key, None)
        derived[key] = of, asked, found  # behind what was made, or asked for, before
    return found


def kept_bytes(derived: dict[Any, Any]) -> int:
    """Return how many bytes the codes take that are kept."""
    return sum(one.nbytes for one in _kept(derived).values())


def _kept(derived: dict[Any, Any]) -> dict[Hashable, Codes]:
    every = [(key, one) for key, one in list(derived.items()) if key[0] == "codes"]
    return {key: one[2] for key, one in every if one[2] is not None}


def _made(parts: list[Postings], snapshot: Snapshot, number: int, single: bool) -> Codes | None:
    """Make the codes of a field, if there is room."""
    key = "codes", number
    slots = snapshot.alive | snapshot.bitmaps.present(number)  # also those that may be put once more
    chunks = flat_chunks(slots, len(snapshot.alive))
    values = sum(len(one.values) for one in parts)
    if not values or not chunks:
        return None
    if single:
        size = chunks * 65536 * 4 if values > FEW else chunks * 65536 * 2 + 4 * len(snapshot.alive)
        column = _column(parts, chunks) if room_for(snapshot.derived, size, key) else None
        if column is not None:
            return column
    totals = np.zeros(chunks, np.int64)
    for one in parts:
        for lo, hi in stretches(one.stops - one.starts):
            checked(kernels.measure_chunks(one.data, one.starts, one.stops, lo, hi, totals))
    entries = int(totals.sum())
    if entries >= 1 << 32:
        return None
    kind: Any = np.uint16 if values < NARROW else np.uint32
    size = chunks * 65536 * 4 + entries * np.dtype(kind).itemsize
    return lists_of(parts, totals, kind) if room_for(snapshot.derived, size, key) else None


def _numbered(parts: list[Postings], by_size: bool) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Return all values, ascending, their codes, and those of the values of each part.

    By size the largest payloads have the least codes: what is counted most often lies together.
    """
    values = np.concatenate([one.values for one in parts])
    order = np.argsort(values, kind="stable")
    first = np.argsort(np.concatenate([one.starts - one.stops for one in parts])) if by_size else order
    codes = np.empty(len(values), np.int64)
    codes[first] = np.arange(len(values)) + 1
    ends = np.cumsum([len(one.values) for one in parts])[:-1]
    return values[order], codes[order], np.split(codes, ends)


def room_for(derived: dict[Any, Any], size: int, key: Hashable) -> bool:
    """Make room for codes, if they may be that large."""
    if size > BYTES:
        return False
    others = {one: codes for one, codes in _kept(derived).items() if one != key}
    used = sum(one.nbytes for one in others.values())
    for one, codes in others.items():
        if used + size <= BYTES:
            break
        derived.pop(one, None)
        used -= codes.nbytes
    return True


def _column(parts: list[Postings], chunks: int) -> Column | None:
    """Return a column; None if a document has two values in the file."""
    values, _, numbers = _numbered(parts, by_size=False)
    few = len(values) <= FEW
    codes = np.zeros(chunks * 65536, np.uint8 if few else np.uint32)
    fill, found = kernels.fill8 if few else kernels.fill32, np.empty(65536, np.uint32)
    for one, numbered in zip(parts, numbers):
        for lo, hi in stretches(one.stops - one.starts):
            if checked(fill(one.data, one.starts, one.stops, numbered, lo, hi, found, codes)):
                return None
    return Column(values, codes)


def lists_of(parts: list[Postings], totals: np.ndarray, kind: Any) -> Lists:
    """Return lists, made a band of chunks after the other; its pairs are all that is held beside them."""
    values, codes_of_values, numbers = _numbered(parts, by_size=True)
    chunks, bits = len(totals), 8 * np.dtype(kind).itemsize
    spread, arrange = (getattr(kernels, f"{name}{bits}") for name in ("spread", "arrange"))
    bases = np.concatenate([[0], np.cumsum(totals)])
    codes, starts = np.empty(bases[-1], kind), np.zeros(chunks * 65536 + 1, np.uint32)
    cursors, found = [np.zeros(2 * len(one.values), np.int64) for one in parts], np.empty(65536, np.uint32)
    rooms = np.empty((THREADS, 65536), np.int64)
    for first in range(0, chunks, BAND):
        last = min(first + BAND, chunks)
        ends = bases[first : last + 1] - bases[first]
        lows, pairs, places = np.empty(ends[-1], np.uint16), np.empty(ends[-1], kind), ends[:-1].copy()
        for one, numbered, cursor in zip(parts, numbers, cursors):
            for lo, hi in stretches(one.stops - one.starts):
                given = one.data, one.starts, one.stops, numbered, lo, hi, first, last
                checked(spread(*given, cursor, places, found, lows, pairs))

        def sort(
            thread: int, lo: int, hi: int, first: int = first, ends: Any = ends, band: Any = (lows, pairs)
        ) -> None:
            for i in range(lo, hi):
                place = int(ends[i]), int(ends[i + 1]), int(bases[first + i]), first + i
                arrange(*band, *place, rooms[thread], starts, codes)

        share(last - first, PER_ENTRY * float(ends[-1]), sort)
    return Lists(values, codes, starts, codes_of_values)
