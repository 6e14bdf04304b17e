"""Grouping the rows of a block by slot: one document for the rows of one slot."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bitdex.dump.rows import Rows


class Grouping:
    """The rows of a block in slot order; `slots` are the distinct ones (uint32, ascending)."""

    def __init__(self, rows: Rows):
        slots = rows.slots
        steps = np.diff(slots.astype(np.int64))
        self.ascending = bool((steps >= 0).all())
        self._order = None if self.ascending else np.argsort(slots, kind="stable")
        if self._order is not None:
            slots = slots[self._order]
        self.trivial = bool((steps > 0).all())
        first = np.ones(len(slots), bool)
        np.not_equal(slots[1:], slots[:-1], out=first[1:])
        self._starts = np.flatnonzero(first)
        self.slots = slots[self._starts]
        self._rows = len(slots)

    def __len__(self) -> int:
        return len(self.slots)

    def last(self, array: pa.Array) -> pa.Array:
        """Return the last value of each slot that is not null."""
        if self.trivial:
            return array
        array = self._sorted(array)
        if self._rows == len(self.slots):
            return array
        rows = np.where(np.asarray(pc.is_valid(array)), np.arange(self._rows), -1)
        latest = np.maximum.reduceat(rows, self._starts) if len(rows) else rows
        return array.take(pa.array(latest, mask=latest < 0))

    def lists(self, array: pa.Array) -> pa.LargeListArray:
        """Return all values of each slot, in row order, nulls left out."""
        array = self._sorted(array)
        edges = np.append(self._starts, self._rows)
        if pa.types.is_large_list(array.type):
            counts = np.concatenate(
                ([0], np.cumsum(np.asarray(pc.fill_null(pc.list_value_length(array), 0))))
            )
            return pa.LargeListArray.from_arrays(pa.array(counts[edges]), array.drop_null().flatten())
        if array.null_count:
            counts = np.concatenate(([0], np.cumsum(np.asarray(pc.is_valid(array)))))
            edges, array = counts[edges], array.drop_null()
        return pa.LargeListArray.from_arrays(pa.array(edges), array)

    def _sorted(self, array: pa.Array) -> pa.Array:
        return array if self._order is None else array.take(pa.array(self._order))


def last_of_each(slots: np.ndarray, *columns: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return distinct ascending slots and the last entry of each column for them."""
    if len(slots) and not (slots[1:] > slots[:-1]).all():
        order = np.argsort(slots, kind="stable")
        slots, columns = slots[order], tuple(column[order] for column in columns)
        latest = np.append(slots[1:] != slots[:-1], True)
        return slots[latest], *(column[latest] for column in columns)
    return slots, *columns
