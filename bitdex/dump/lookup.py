"""Lookups: the rows of another file, found by an integer key.

A lookup's file is read once a phase, only the columns that are used. Of rows with one key
the last counts. Keys that are dense are found through an array of positions, others by
binary search.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bitdex.dump.arrow_source import ArrowSource
from bitdex.dump.blocks import Rejects
from bitdex.dump.casts import key_column
from bitdex.dump.evaluate import evaluate, to_mask
from bitdex.dump.phases import Level, Lookup
from bitdex.dump.text_source import TextSource

Opener = Callable[[Level, Mapping[str, str]], "TextSource | ArrowSource"]


class LookupTable:
    """The columns of a lookup's file, by key, and the tables nested in it."""

    def __init__(self, lookup: Lookup, opener: Opener, rejects: Rejects):
        self.lookup = lookup
        self.nested = [LookupTable(inner, opener, rejects) for inner in lookup.enrichment]
        blocks = []
        for block in opener(lookup, lookup.input_columns).blocks():
            blocks.append(block.columns)
            for reason, count in block.rejects.counts.items():
                rejects.add(f"lookup {lookup.source}: {reason}", block.rejects.examples[reason], count)
        self.columns = {
            name: _join([block[name] for block in blocks]) for name in lookup.input_columns if blocks
        }
        self.rows = len(next(iter(self.columns.values()))) if self.columns else 0
        key = f"lookup {lookup.source!r}: key {lookup.key!r}"
        self._find = _finder(key_column(key, self.columns[lookup.key])) if self.rows else _find_nothing

    def targets(self, keys: pa.Array) -> dict[str, pa.Array]:
        """Return the fields that this lookup and those nested in it give to rows with these keys."""
        keys = key_column(f"lookup {self.lookup.source!r}: join_on {self.lookup.join_on!r}", keys)
        positions = self._find(keys)
        found = positions >= 0
        picks = pa.array(positions, mask=~found)
        columns = {name: array.take(picks) for name, array in self.columns.items()}
        if self.lookup.filter is not None and self.rows:
            found &= to_mask(evaluate(self.lookup.filter, columns, len(keys), keys))
        if not self.rows:
            return {}
        out = level_targets(self.lookup, columns, len(keys), keys, found)
        for inner in self.nested:
            joined = _only(columns[inner.lookup.join_on], found)
            out |= inner.targets(joined)
        return out


def level_targets(
    level: Level, columns: Mapping[str, pa.Array], rows: int, keys: pa.Array | None, found: np.ndarray | None
) -> dict[str, pa.Array]:
    """Return the fields that the rows of one level give, null where `found` is False."""
    out = {one.target: _only(_presence(one.kind, columns[one.column]), found) for one in level.fields}
    for computed in level.computed:
        result = evaluate(computed.expression, columns, rows, keys)
        if computed.value is not None:
            copied = _presence(computed.kind, columns[computed.value])
            result = pc.if_else(pa.array(to_mask(result)), copied, None)
        elif not pa.types.is_boolean(result.type):
            result = _presence(computed.kind, result)
        out[computed.target] = _only(result, found)
    return out


def _presence(kind: str | None, array: pa.Array) -> pa.Array:
    """Return whether there is a value, for a field that keeps no more than that."""
    return pc.is_valid(array) if kind == "exists_boolean" else array


def _only(array: pa.Array, found: np.ndarray | None) -> pa.Array:
    if found is None or found.all():
        return array
    return pc.if_else(pa.array(found), array, pa.scalar(None, array.type))


def _join(arrays: list[pa.Array]) -> pa.Array:
    if pa.types.is_string(arrays[0].type):  # of one array it holds 2 GiB
        arrays = [array.cast(pa.large_string()) for array in arrays]
    return pa.chunked_array(arrays).combine_chunks() if len(arrays) != 1 else arrays[0]


def _find_nothing(keys: pa.Array) -> np.ndarray:
    return np.full(len(keys), -1, np.int64)


def _finder(keys: pa.Array) -> Callable[[pa.Array], np.ndarray]:
    """Return a function from keys to the last row that has each, or -1."""
    valid = np.flatnonzero(np.asarray(pc.is_valid(keys)))
    known = np.asarray(keys.drop_null())
    if not len(known):
        return _find_nothing
    low, high = int(known.min()), int(known.max())
    if low >= 0 and high < 8 * len(known) + (1 << 20):
        places = np.full(high + 2, -1, np.int64)
        places[known] = valid  # of equal keys the last assignment stays
        return lambda wanted: places[_clipped(wanted, high + 1)]
    order = np.argsort(known, kind="stable")
    ascending, rows = known[order], valid[order]

    def search(wanted: pa.Array) -> np.ndarray:
        values = np.asarray(pc.fill_null(wanted, low - 1 if low > -(2**63) else low))
        at = np.searchsorted(ascending, values, "right") - 1
        hit = (at >= 0) & (ascending[at] == values) & np.asarray(pc.is_valid(wanted))
        return np.where(hit, rows[at], -1)

    return search


def _clipped(wanted: pa.Array, absent: int) -> np.ndarray:
    """Return keys as positions; those outside the table go to its last place, which is empty."""
    values: Any = np.asarray(pc.fill_null(wanted, absent))
    return np.where((values < 0) | (values > absent), absent, values)
