"""Containers: one stored Roaring bitmap as NumPy arrays that lie where its bytes lie."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pyroaring import BitMap

from bitdex import html
from bitdex.errors import CorruptError, InvalidError
from bitdex.formats import bitmap as format_
from bitdex.kernels.containers import list_containers, measure_containers
from bitdex.kernels.roaring import RUN
from bitdex.quantities import size
from bitdex.query.bind import bind
from bitdex.query.clauses import Eq
from bitdex.query.snapshot import Snapshot
from bitdex.query.windows import Moment
from bitdex.silo.state import State

if TYPE_CHECKING:
    import pandas as pd

KINDS = ("array", "bitset", "run")
DTYPES = ("<u2", "<u8", "<u2")
SHOWN = 10  # containers
_EMPTY = np.frombuffer(format_.encode(BitMap()), np.uint8)


class Container(NamedTuple):
    """The ids of a bitmap whose high 16 bits are `key`.

    ``values``, read-only, holds their low 16 bits: "array", uint16 (cardinality,), ascending; "bitset",
    uint64 (1024,), bit j of word i for 64 i + j; "run", uint16 (runs, 2), first one and length - 1.
    """

    key: int
    kind: str
    cardinality: int
    values: np.ndarray

    @property
    def ids(self) -> np.ndarray:
        """The ids, ascending, uint32; a copy."""
        if self.kind == "array":
            low = self.values.astype(np.uint32)
        elif self.kind == "bitset":
            words = np.ascontiguousarray(self.values).view(np.uint8)
            low = np.flatnonzero(np.unpackbits(words, bitorder="little")).astype(np.uint32)
        else:
            first, length = self.values[:, 0].astype(np.uint32), self.values[:, 1].astype(np.int64) + 1
            before = np.cumsum(length) - length
            low = np.repeat(first, length) + (np.arange(length.sum()) - np.repeat(before, length))
        return (low + (self.key << 16)).astype(np.uint32)


@dataclass(frozen=True, eq=False)
class Containers(Sequence[Container]):
    """The containers of one bitmap (`Index.containers`): a sequence of `Container`, and the same as arrays.

    Arrays may lie at odd addresses of the file (``values.flags.aligned``), which NumPy and Numba read all
    the same. They, and what is made of them, keep the file mapped, also when the index is closed, compacted
    or changed: they show the state of `sequence` for ever.

    Attributes
    ----------
    name : str
        What bitmap it is.
    payload : ndarray of uint8
        All bytes, in the portable Roaring format, read-only.
    mapped : bool
        Whether the bytes lie in a file of the index; else they are a copy, into which changes are folded.
    sequence : int
        The commit that it shows.
    keys, kinds, cardinalities, starts, stops : ndarrays of int64
        Of container i: the high 16 bits of its ids; 0, 1 or 2 for array, bitset and run; how many ids; where
        it lies in `payload`. A run container begins with two bytes that say how many runs there are.
    """

    name: str
    payload: np.ndarray
    mapped: bool
    sequence: int
    keys: np.ndarray = field(init=False)
    kinds: np.ndarray = field(init=False)
    cardinalities: np.ndarray = field(init=False)
    starts: np.ndarray = field(init=False)
    stops: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        counts, sizes = np.empty(3, np.int64), np.empty(3, np.int64)
        ends = np.array([0]), np.array([len(self.payload)])
        bad = measure_containers(self.payload, *ends, 0, 1, counts, sizes)
        listed = np.empty((int(counts.sum()), 5), np.int64)
        if bad >= 0 or list_containers(self.payload, 0, len(self.payload), listed.reshape(-1)) < 0:
            raise CorruptError(f"the bitmap of {self.name}: expected containers, found damaged bytes")
        for name, column in zip(("keys", "kinds", "cardinalities", "starts", "stops"), listed.T):
            object.__setattr__(self, name, np.ascontiguousarray(column))

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            return [self[one] for one in range(*i.indices(len(self)))]
        if not -len(self) <= i < len(self):
            raise IndexError(f"container {i}: there are {len(self)}")
        kind = int(self.kinds[i])
        start = int(self.starts[i]) + 2 * (kind == RUN)
        values = self.payload[start : int(self.stops[i])].view(DTYPES[kind])
        values = values.reshape(-1, 2) if kind == RUN else values
        return Container(int(self.keys[i]), KINDS[kind], int(self.cardinalities[i]), values)

    def __iter__(self) -> Iterator[Container]:
        return (self[i] for i in range(len(self)))

    @property
    def cardinality(self) -> int:
        """How many ids there are."""
        return int(self.cardinalities.sum())

    @property
    def bitmap(self) -> BitMap:
        """The ids as a bitmap of pyroaring; a copy."""
        return format_.decode(self.payload)

    def to_pandas(self) -> "pd.DataFrame":
        """Return a row for each container: key, kind, cardinality, start and bytes in the payload."""
        import pandas as pd

        sizes = self.stops - self.starts
        kinds = [KINDS[kind] for kind in self.kinds.tolist()]
        columns = {"key": self.keys, "kind": kinds, "cardinality": self.cardinalities}
        return pd.DataFrame({**columns, "start": self.starts, "bytes": sizes})

    def __repr__(self) -> str:
        head = f"<Containers of {self.name}: {self._note}>"
        return f"{head}\n{self.to_pandas().to_string(max_rows=SHOWN)}" if len(self) else head

    def _repr_html_(self) -> str:
        frame = self.to_pandas()
        rows = frame.head(SHOWN).itertuples(index=False, name=None)
        shown = html.table(list(frame.columns), rows, len(frame) - SHOWN)
        return html.panel(f"Containers of {self.name}", shown, note=self._note)

    @property
    def _note(self) -> str:
        where = "mapped" if self.mapped else "a folded copy" if len(self) else "nothing is stored"
        return f"{self.cardinality:,} ids in {len(self):,}, {size(len(self.payload))}, {where}"


def containers_of(snapshot: Snapshot, name: str | None, value: Any, bit: int | None) -> Containers:
    """Return what `Index.containers` shows."""
    called, key = _bitmap_named(snapshot, name, value, bit)
    state = snapshot.bitmaps.source
    assert isinstance(state, State)
    payload = None if key is None else state.view(key)
    if payload is None:
        return Containers(called, _EMPTY, False, state.sequence)
    maps = state.base.data, *(log.mapped for log in state.waiting)
    mapped = any(np.may_share_memory(payload, one) for one in maps)
    payload.flags.writeable = False
    return Containers(called, payload, mapped, state.sequence)


def _bitmap_named(
    snapshot: Snapshot, name: str | None, value: Any, bit: int | None
) -> tuple[str, int | None]:
    """Return what a bitmap is called, and its key; None where nothing of the kind was ever stored."""
    if name is None:
        if value is not None or bit is not None:
            raise InvalidError("containers: a value, or a bit, is one of a field; name it")
        return "all documents", format_.alive_key()
    field = snapshot.schema.field(name)
    number = snapshot.registry.number(name) if name in snapshot.registry else None
    if bit is not None:
        if field.sort is None or value is not None:
            what = "is no sort field" if field.sort is None else "takes a value or a bit, not both"
            raise InvalidError(f"containers: field {name!r} {what}")
        if isinstance(bit, bool) or not isinstance(bit, int | np.integer) or not 0 <= bit < 64:
            raise InvalidError(f"containers: bit {bit!r} is no whole number from 0 to 63")
        return f"{name}, bit {bit}", None if number is None else format_.layer_key(number, int(bit))
    if field.filter is None:
        raise InvalidError(f"containers: field {name!r} is no filter field; give the bit of a layer: bit=0")
    if value is None:
        raise InvalidError(
            f"containers: name a value of field {name!r}; documents without one have no bitmap"
        )
    bound = bind(Eq(name, value), snapshot.schema, snapshot.label, Moment())
    stored = None
    if isinstance(bound, Eq) and number is not None:
        stored = snapshot.bitmaps.stored_value(number, int(bound.value))  # type: ignore[arg-type]
    called = f"{name} == {value!r:.80}"
    return called, None if stored is None or number is None else format_.filter_key(number, stored)
