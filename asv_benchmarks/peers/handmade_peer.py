"""By hand: a Roaring bitmap per value, sort columns indexed by id, documents as an Arrow table."""

from array import array
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyroaring import BitMap

from asv_benchmarks.peers.joined import joined
from asv_benchmarks.peers.peer import FIELDS, FILTERS, SORTS, Page
from asv_benchmarks.peers.questions import LISTS, AtLeast, Clause, Equal, Every, HasAny, OneOf, Without

EMPTY = BitMap()
Bitmaps = dict[Any, BitMap]


class HandmadePeer:
    """What a competent user writes in an afternoon; it lives in memory only."""

    def load(self, source: Path, store: Path) -> None:
        table = joined(source)
        self.ids = table["id"].to_numpy().astype(np.uint32)
        self.alive = bitmap(self.ids)
        self.bitmaps = {name: by_value(table[name], self.ids) for name in FILTERS}
        for name in LISTS:
            holders = self.ids[pc.list_parent_indices(table[name]).to_numpy()]
            self.bitmaps[name] = by_value(pc.list_flatten(table[name]), holders)
        self.columns = {name: by_id(table[name], self.ids) for name in SORTS}
        self.sorted = {name: np.sort(self.columns[name][self.ids]) for name in SORTS}
        self.documents = table.select(FIELDS)

    def open(self, store: Path) -> None:
        """Nothing is kept on disk."""

    def count(self, where: Clause) -> Callable[[], int]:
        if isinstance(where, AtLeast):
            values = self.sorted[where.field]
            return lambda: len(values) - int(np.searchsorted(values, where.value))
        return lambda: len(self._bitmap(where))

    def page(self, where: Clause, sort: str, limit: int, after: Any = None) -> Callable[[], Page]:
        return lambda: self._page(where, sort, limit, after)

    def page_documents(self, where: Clause, sort: str, limit: int) -> Callable[[], list[dict[str, Any]]]:
        return lambda: self._take(self._page(where, sort, limit, None).ids).to_pylist()

    def frame(self, ids: tuple[int, ...] | None) -> Callable[[], pd.DataFrame]:
        if ids is None:
            return lambda: self.documents.to_pandas(types_mapper=pd.ArrowDtype)
        return lambda: self._take(ids).to_pandas(types_mapper=pd.ArrowDtype)

    def document(self, id: int) -> Callable[[], dict[str, Any]]:
        return lambda: self.documents.slice(int(np.searchsorted(self.ids, id)), 1).to_pylist()[0]

    def _take(self, ids: Any) -> pa.Table:
        return self.documents.take(np.searchsorted(self.ids, np.asarray(ids, np.uint32)))

    def _bitmap(self, where: Clause) -> BitMap:
        match where:
            case Equal(field, value) | HasAny(field, (value,)):
                return self.bitmaps[field].get(value, EMPTY)
            case OneOf(field, values) | HasAny(field, values):
                return BitMap.union(*(self.bitmaps[field].get(value, EMPTY) for value in values))
            case AtLeast(field, value):
                return bitmap(self.ids[self.columns[field][self.ids] >= value])
            case Every(clauses):
                wanted = [self._bitmap(clause) for clause in clauses if not isinstance(clause, Without)]
                unwanted = [self._bitmap(clause.clause) for clause in clauses if isinstance(clause, Without)]
                return reduce(BitMap.__sub__, unwanted, reduce(BitMap.__and__, sorted(wanted, key=len)))
            case Without(clause):
                return self.alive - self._bitmap(clause)

    def _page(self, where: Clause, sort: str, limit: int, after: int | None) -> Page:
        """Order by value and id in one number; only the greatest are sorted."""
        ids = np.frombuffer(self._bitmap(where).to_array(), np.uint32)
        keys = self.columns[sort][ids] << np.uint64(32) | ids
        if after is not None:
            keys = keys[keys < np.uint64(after)]
        if len(keys) > limit:
            keys = np.partition(keys, len(keys) - limit)[-limit:]
        keys = np.sort(keys)[::-1]
        return Page((keys & np.uint64(0xFFFFFFFF)).tolist(), int(keys[-1]) if len(keys) else None)


def bitmap(ids: np.ndarray) -> BitMap:
    """Make a bitmap of ascending ids; pyroaring takes an `array` ten times as fast as an ndarray."""
    words = array("I")
    words.frombytes(ids.tobytes())
    return BitMap(words)


def by_value(column: pa.ChunkedArray, ids: np.ndarray) -> Bitmaps:
    """Return a bitmap of ids for each value: sort once, cut at the changes."""
    codes = column.combine_chunks().dictionary_encode()
    code = codes.indices.fill_null(-1).to_numpy()
    order = np.argsort(code, kind="stable")
    bounds = np.searchsorted(code[order], np.arange(len(codes.dictionary) + 1))
    sorted_ids = ids[order]
    slices = zip(codes.dictionary.to_pylist(), bounds[:-1], bounds[1:])
    return {value: bitmap(sorted_ids[low:high]) for value, low, high in slices}


def by_id(column: pa.ChunkedArray, ids: np.ndarray) -> np.ndarray:
    """Return values at the positions of their ids; a missing value is 0."""
    values = np.zeros(int(ids[-1]) + 1, np.uint64)
    values[ids] = column.fill_null(0).to_numpy()
    return values
