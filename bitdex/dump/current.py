"""Current values: what documents hold of a field when the rows of a phase are in.

That is what the phase gives, else what is stored, else the default. Computed fields and
deferral rest on it, because their sources may come from several phases.
"""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyroaring import BitMap

from bitdex.columns import ARROW, decode_columns
from bitdex.computed import compute
from bitdex.documents import column_kind
from bitdex.dump.grouping import last_of_each
from bitdex.formats import bitmap as format_
from bitdex.query.order import among, bitmap_of
from bitdex.schema import Field
from bitdex.store import Store

Columns = dict[str, pa.Array]


class CurrentValues:
    """Values of the sources of a phase's computed fields and of deferral.

    Parameters
    ----------
    store : Store
    targets : iterable of str
        What the phase writes; `earlier` are the slots whose older values of it are withdrawn.
    names : iterable of str
        The fields that will be asked for at the end of a phase whose rows come in no order.
    """

    def __init__(self, store: Store, targets: Iterable[str], earlier: BitMap, names: Iterable[str]):
        self._store, self._targets, self._earlier = store, frozenset(targets), earlier
        self._noted: dict[str, list[tuple[np.ndarray, pa.Array]]] = {name: [] for name in names}

    def note(self, slots: np.ndarray, columns: Columns) -> None:
        """Keep what the phase gives, one value a slot, the later ones last."""
        for name in self._noted.keys() & columns.keys():
            valid = np.asarray(pc.is_valid(columns[name]))
            self._noted[name].append((slots[valid], columns[name].drop_null()))

    def noted(self, slots: np.ndarray) -> Columns:
        """Return the columns of what was kept, for ascending slots."""
        return {name: _spread(slots, *_latest(parts)) for name, parts in self._noted.items() if parts}

    def value(self, name: str, slots: np.ndarray, columns: Columns) -> pa.Array:
        """Return a field's values for slots, given the phase's own columns for them."""
        field = self._store.schema.field(name)
        if field.sort is not None and field.sort.computed is not None:
            return self.computed(field, slots, columns)
        array = columns.get(name)
        if array is None:
            array = pa.nulls(len(slots), ARROW[column_kind(field)])
        if array.null_count:
            array = pc.coalesce(array, self.stored(field, slots, np.asarray(pc.is_null(array))))
        return array if field.default is None else array.fill_null(field.default)

    def computed(self, field: Field, slots: np.ndarray, columns: Columns) -> pa.Array:
        """Return the greatest or least of a field's sources; null where there is none."""
        assert field.sort is not None and field.sort.computed is not None
        return compute(
            field, slots, [self.value(name, slots, columns) for name in field.sort.computed.sources]
        )

    def stored(self, field: Field, slots: np.ndarray, asked: np.ndarray) -> pa.Array:
        """Return the values of a field that are stored, and not withdrawn, for the slots asked for."""
        kind = column_kind(field)
        if field.name in self._targets and self._earlier:
            asked = asked & ~among(slots, self._earlier)
        nothing = not self._store.sequence or field.name not in self._store.registry
        if nothing or not asked.any():
            return pa.nulls(len(slots), ARROW[kind])
        number, chosen = self._store.registry.number(field.name), slots[asked]
        if field.stored:
            values = self._store.documents.silo.get_many(chosen.astype(np.uint64))
            (array,) = decode_columns(values.data, values.offsets, [(number, kind)])
        else:
            array = self._sorted(field, number, chosen)
        places = np.cumsum(asked) - 1
        return array.take(pa.array(places, mask=~asked))

    def _sorted(self, field: Field, number: int, slots: np.ndarray) -> pa.Array:
        """Return values that only the sort layers hold."""
        kind = column_kind(field)
        if field.sort is None:
            return self._filtered(number, slots).cast(ARROW[kind])
        known, words = self._store.bitmaps.layers(number)
        dtype = np.float64 if kind == "float" else np.int64 if field.sort.signed else np.uint64
        values = pa.array(format_.from_ordered(words, dtype)).cast(ARROW[kind])
        return _spread(slots, known, values)

    def _filtered(self, number: int, slots: np.ndarray) -> pa.Array:
        """Return values that only the bitmaps of a filter hold."""
        bitmaps, wanted = self._store.bitmaps, bitmap_of(slots)
        stored = bitmaps.stored_values(number)
        each = [one & wanted for one in bitmaps.get_many(format_.filter_keys(number, stored).tolist())]
        having = [np.frombuffer(one.to_array(), np.uint32) for one in each]
        known = np.concatenate([*having, np.empty(0, np.uint32)])
        values = np.repeat(bitmaps.decode_values(number, stored), [len(one) for one in having])
        order = np.argsort(known)
        return _spread(slots, known[order], pa.array(values[order], pa.int64()))


def union_of_phases(store: Store, but: str) -> BitMap:
    """Return the slots of all phases that set alive, but for one."""
    numbers = [run.number for run in store.log if run.sets_alive and run.name != but]
    return BitMap.union(BitMap(), *(store.bitmaps.get(format_.phase_key(number)) for number in numbers))


def later_than(slots: np.ndarray, times: pa.Array, limit: float) -> BitMap:
    """Return the slots whose time is later than a limit."""
    later = np.asarray(pc.fill_null(times, 0)) > limit
    return bitmap_of(slots[later & np.asarray(pc.is_valid(times))])


def _latest(parts: list[tuple[np.ndarray, pa.Array]]) -> tuple[np.ndarray, pa.Array]:
    slots = np.concatenate([part for part, _ in parts])
    array = pa.chunked_array([values for _, values in parts]).combine_chunks()
    slots, rows = last_of_each(slots, np.arange(len(slots)))
    return slots, array.take(pa.array(rows))


def _spread(slots: np.ndarray, known: np.ndarray, values: pa.Array) -> pa.Array:
    """Return the values of slots, given those of ascending known ones; null for the others."""
    if not len(known):
        return pa.nulls(len(slots), values.type)
    places = np.minimum(np.searchsorted(known, slots), len(known) - 1)
    return values.take(pa.array(places, mask=known[places] != slots))
