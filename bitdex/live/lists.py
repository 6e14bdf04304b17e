"""Lists of many documents in a column: made, appended to, taken from."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def list_array(counts: np.ndarray, elements: np.ndarray) -> pa.Array:
    """Return lists of so many elements each as an Arrow array; an empty one is null, none is no list."""
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    empty = pa.array(counts == 0) if not counts.all() else None
    return pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(elements), mask=empty)


def appended(lists: pa.Array, values: list[int]) -> pa.Array:
    """Return lists (large_list of int64) with each value behind those that lack it; `values` are distinct."""
    counts, elements = _parts(lists)
    rows = np.repeat(np.arange(len(counts)), counts)
    lacking = np.ones((len(counts), len(values)), bool)
    for place, value in enumerate(values):
        lacking[rows[elements == value], place] = False
    grown = counts + lacking.sum(axis=1)
    firsts = np.cumsum(grown) - grown
    out = np.empty(grown.sum(), np.int64)
    nth = np.arange(len(elements)) - np.repeat(np.cumsum(counts) - counts, counts)
    out[firsts[rows] + nth] = elements
    ends = firsts + counts
    for place, value in enumerate(values):
        mine = lacking[:, place]
        out[ends[mine]] = value
        ends += mine
    return list_array(grown, out)


def removed(lists: pa.Array, values: list[int]) -> pa.Array:
    """Return lists (large_list of int64) without some values."""
    counts, elements = _parts(lists)
    stays = ~np.isin(elements, np.array(values, np.int64))
    rows = np.repeat(np.arange(len(counts)), counts)[stays]
    return list_array(np.bincount(rows, minlength=len(counts)), elements[stays])


def _parts(lists: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Return how many elements each list has, and the elements of all."""
    counts = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    return counts.astype(np.int64), lists.flatten().to_numpy(zero_copy_only=False).astype(np.int64)
