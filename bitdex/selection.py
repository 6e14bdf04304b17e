"""Selection: the documents that match, as a set to compute with.

::

    clause  --bind-->  plan  --run-->  bitmap      each made once, when it is first asked for
      & | - ^ ~                          len, ids, mask, counts, documents

A selection shows one committed state for ever. Combined with one of another state it shows the state of its
own: the other takes part with those of its documents that are there.
"""

import operator
from collections.abc import Callable, Iterator, KeysView, Sequence, ValuesView
from typing import TYPE_CHECKING, Any

import numpy as np
from pyroaring import BitMap, FrozenBitMap

from bitdex import html
from bitdex.analysis.found import members_of
from bitdex.analysis.members import Members
from bitdex.cached import cached
from bitdex.errors import InvalidError
from bitdex.live.rows import ids_of
from bitdex.query import plan as planner
from bitdex.query.bind import bind
from bitdex.query.clauses import MAX_DEPTH, Clause, Combination, Combining, Not
from bitdex.query.expression import FieldRef, to_clause
from bitdex.query.given import Called, Given, Xor
from bitdex.query.order import bitmap_of
from bitdex.query.rank import Sort, rank
from bitdex.query.snapshot import Snapshot
from bitdex.query.windows import Moment, moment_of
from bitdex.staying import Staying
from bitdex.summaries import Summaries

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from bitdex.query.explained import Plan

SLOTS = 1 << 32
_COMBINED: dict[str, Callable[[Clause, Clause], Clause]] = {
    "and": operator.and_,
    "or": operator.or_,
    "xor": Xor,
}
SHOWN = 5  # documents in a notebook
WIDE = 1 << 26  # ids up to which labels are looked up in a mask


class Selection(Summaries, Combining, Staying):
    """The documents of an index that match a query: lazy, and a set.

    ``index.where(query)``, ``index["type == 'video'"]`` and ``index[f.x == 1]`` make one. Other operands of
    ``&``, ``|``, ``-``, ``^`` and ``==`` may be selections of the same index, queries, or ids in any
    iterable; ids without a visible document count for nothing. Any number of threads may use one.

    Examples
    --------
    >>> import tempfile, bitdex
    >>> index = bitdex.create(tempfile.mkdtemp(), {"name": "shop", "config": {
    ...     "filter_fields": [{"name": "size", "field_type": "single_value"}]}})
    >>> index.put_many([{"id": 1, "size": 40}, {"id": 2, "size": 41}, {"id": 3}])
    3
    >>> small = index["size == 40"]
    >>> len(small), 1 in small, (~small).ids.tolist(), (small | [3, 77]).ids.tolist()
    (1, True, [2, 3], [1, 3])
    >>> index.close()
    """

    __array_ufunc__ = None  # arrays leave & | - ^ == to the selection
    __hash__ = None  # type: ignore[assignment]

    def __init__(
        self, owner: object, snapshot: Snapshot, clause: Clause, text: str | None = None, depth: int = 0
    ):
        self._owner, self._snapshot, self._clause, self._depth = owner, snapshot, clause, depth
        self._text = str(clause) if text is None else text  # as it was written

    @classmethod
    def of(
        cls, owner: object, snapshot: Snapshot, query: Any, now: Any = None, snap: bool = False
    ) -> "Selection":
        """Return what matches a query, or has one of the ids; a selection as it is."""
        if isinstance(query, Selection):
            return query
        if not _is_query(query):
            return cls(owner, snapshot, Given(_ids(query), "ids"))
        moment = moment_of(now, snap, snapshot.settle)
        clause = to_clause(query)
        return cls(owner, snapshot, bind(clause, snapshot.schema, snapshot.label, moment), str(clause))

    # -- one plan, run once ------------------------------------------------------------------

    @cached
    def _plan(self) -> list[planner.Step]:
        return planner.plan(self._snapshot, self._clause)

    @cached
    def _found(self) -> BitMap:
        """The documents; not to be changed."""
        return self._members.bitmap if "_members" in self.__dict__ else planner.run(self._plan)

    @cached
    def _members(self) -> Members:
        """The documents, to be counted."""
        known = "_found" in self.__dict__
        return Members(self._found) if known else members_of(self._snapshot, self._plan)

    @cached
    def _size(self) -> int:
        known = self.__dict__.get("_found", self.__dict__.get("_members"))
        return planner.count(self._plan) if known is None else len(known)

    def explain(self) -> "Plan":
        """Return the plan, one row a step, after running it (`Index.explain`)."""
        from bitdex.query.explained import explain

        return explain(self._snapshot, self._clause, Moment())

    # -- set ---------------------------------------------------------------------------------

    def __len__(self) -> int:
        return self._size

    def __bool__(self) -> bool:
        return self._size > 0

    def __contains__(self, id: Any) -> bool:
        if isinstance(id, bool) or not isinstance(id, int | np.integer):
            return False
        return 0 <= int(id) < SLOTS and int(id) in self._found

    def __iter__(self) -> Iterator[int]:
        return iter(self._found)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Selection):
            if isinstance(other, str | Clause | FieldRef | dict) or not np.iterable(other):
                return NotImplemented
            return bool(self._found == _ids(other))
        return bool(self._found == self._operand(other)._found)

    def __and__(self, other: Any) -> "Selection":
        return self._combined("and", self._operand(other))

    def __or__(self, other: Any) -> "Selection":
        return self._combined("or", self._operand(other))

    def __xor__(self, other: Any) -> "Selection":
        return self._combined("xor", self._operand(other))

    def __sub__(self, other: Any) -> "Selection":
        return self._combined("and", ~self._operand(other))

    def __rsub__(self, other: Any) -> "Selection":
        return self._operand(other)._combined("and", ~self)

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def __invert__(self) -> "Selection":
        clause = Not(self._part())
        return self._with(clause, f"not ({self._text})", self._nesting + 1)

    def _combined(self, word: str, other: "Selection") -> "Selection":
        text = f"({self._text}) {word} ({other._text})"
        parts = [(one._part(), one._nesting) for one in (self, other)]
        clause = _COMBINED[word](parts[0][0], parts[1][0])
        joins = isinstance(clause, Combination)  # takes the members of its own kind
        depth = max(depth + (not joins or type(part) is not type(clause)) for part, depth in parts)
        return self._with(clause, text, depth)

    def _with(self, clause: Clause, text: str | None = None, depth: int = 0) -> "Selection":
        return Selection(self._owner, self._snapshot, clause, text, depth)

    def _part(self) -> Clause:
        """Return the clause, or in its place the documents, where they are known or it is nested deeply."""
        return Given(self._found, self._text, visible=True) if self._is_set else self._clause

    @property
    def _is_set(self) -> bool:
        known = "_found" in self.__dict__ or self._depth >= MAX_DEPTH
        return known and not isinstance(self._clause, Given)

    @property
    def _nesting(self) -> int:
        """How deep its part nests others."""
        return 0 if self._is_set else self._depth

    def _operand(self, other: Any) -> "Selection":
        """Return the other operand as a selection of this state."""
        if not isinstance(other, Selection):
            return Selection.of(self._owner, self._snapshot, other)
        if other._owner is not self._owner:
            raise InvalidError("these selections are of two indexes; give the ids of one of them: other.ids")
        if other._snapshot is self._snapshot:
            return other
        return self._with(Given(other._found, other._text))

    # -- forms -------------------------------------------------------------------------------

    @property
    def ids(self) -> np.ndarray:
        """The ids, ascending, uint32."""
        return np.frombuffer(self._found.to_array(), np.uint32)

    @property
    def bitmap(self) -> FrozenBitMap:
        """The ids as a Roaring bitmap of pyroaring, which cannot be changed."""
        return FrozenBitMap(self._found)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.ids if dtype is None else self.ids.astype(dtype)

    def mask(self, size: int | None = None) -> np.ndarray:
        """Return booleans by id: True at those of the selection.

        Parameters
        ----------
        size : int, optional
            How many; ids behind that are left out. By default up to the greatest id of the index.
        """
        alive = self._snapshot.alive
        if size is None:
            size = alive.max() + 1 if alive else 0
        elif isinstance(size, bool) or not isinstance(size, int | np.integer) or not 0 <= size <= SLOTS:
            raise InvalidError(f"size: {size!r} is no number from 0 to {SLOTS}")
        held, ids = np.zeros(size, bool), self.ids
        held[ids[: np.searchsorted(ids, size)]] = True
        return held

    def isin(self, labels: Any) -> np.ndarray:
        """Tell which of some ids are in the selection: ``df[sel.isin(df.index)]`` (bool, their shape)."""
        listed = isinstance(labels, Iterator | KeysView | ValuesView)  # a set has no order to answer in
        wanted = np.asarray(list(labels) if listed else labels)
        if not wanted.size:
            return np.zeros(wanted.shape, bool)
        if wanted.dtype.kind not in "iu":
            raise InvalidError(f"labels: {labels!r:.80} are no ids; give integers, as in df.index")
        if not self._found or self._found.max() >= WIDE:
            return np.isin(wanted, self.ids)
        held = self.mask(self._found.max() + 1)
        inside = (wanted >= 0) & (wanted < len(held))
        return held[np.where(inside, wanted, 0)] & inside

    def sample(self, n: int, seed: int | None = None) -> "Selection":
        """Return n documents at random, each with the same chance; a seed gives the same ones again."""
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or not 0 <= n <= len(self):
            raise InvalidError(f"n: {n!r} is no number of documents from 0 to {len(self)}, which there are")
        chosen = np.random.default_rng(seed).choice(len(self), n, replace=False, shuffle=False)
        return self._with(Given(bitmap_of(self.ids[np.sort(chosen)]), f"{n} of ({self._text})"))

    def where_jit(self, function: Callable[..., bool], *fields: str) -> "Selection":
        """Return the documents for which a function of some fields, which is compiled, is true.

        Parameters
        ----------
        function : callable
            Takes a value of each field and returns a boolean. Compiled with ``numba.njit`` already, or a
            plain function that is compiled here (for which x / 0 is infinite, as in NumPy). It is called for
            any of the documents, in any order, from several threads: it should depend on nothing but its
            arguments. What it raises is raised.
        *fields : str
            ``id``, and fields of numbers or booleans, which the function gets as int64, float64 and bool.
            Those of sort fields are at hand; of others they are gathered. A document that lacks one of the
            values is left out; a default is a value.

        Raises
        ------
        InvalidError
            If a field is unknown or holds texts or lists, the function cannot be compiled for the fields, or
            returns something else than a boolean.

        Examples
        --------
        >>> import tempfile, bitdex
        >>> index = bitdex.create(tempfile.mkdtemp(), {"name": "images", "config": {
        ...     "sort_fields": [{"name": "width"}, {"name": "height"}]}})
        >>> index.put_many([{"id": 1, "width": 640, "height": 480}, {"id": 2, "width": 30, "height": 90},
        ...     {"id": 3, "width": 99}])
        3
        >>> index.where().where_jit(lambda width, height: width * 3 > height * 2, "width", "height")
        <Selection of 1 documents: (everything) and (<lambda>(width, height))>
        >>> index.close()
        """
        from bitdex.analysis.predicates import Predicate

        called = f"{getattr(function, '__name__', 'function')}({', '.join(map(str, fields))})"
        clause = Called(Predicate(self._snapshot, function, fields), called)
        return self._combined("and", self._with(clause, called))

    # -- documents ---------------------------------------------------------------------------

    def head(
        self, n: int = 5, sort: str | None = None, fields: Sequence[str] | None = None
    ) -> "pd.DataFrame":
        """Return the first documents, by id or in the order of a sort field, as a DataFrame."""
        return self.to_pandas(fields, sort, n)

    def to_pandas(
        self, fields: Sequence[str] | None = None, sort: str | None = None, limit: int | None = None
    ) -> "pd.DataFrame":
        """Return the documents as a DataFrame of Arrow-backed columns: ``id``, and one a field.

        Parameters
        ----------
        fields : sequence of str, optional
            All that documents store by default.
        sort : str, optional
            A sort field, with ``-`` for descending; by id if None.
        limit : int, optional
            At most so many.
        """
        from bitdex.frames import to_pandas

        return to_pandas(self.to_arrow(fields, sort, limit))

    def to_arrow(
        self, fields: Sequence[str] | None = None, sort: str | None = None, limit: int | None = None
    ) -> "pa.Table":
        """Return the documents as an Arrow table; labels are dictionaries, lists are lists (`to_pandas`)."""
        from bitdex.analysis.export import columns_of
        from bitdex.frames import to_arrow

        documents = self._snapshot.documents
        return to_arrow(documents, self._ordered(sort, limit), columns_of(documents, fields))

    def batches(
        self,
        size: int = 65_536,
        fields: Sequence[str] | None = None,
        sort: str | None = None,
        limit: int | None = None,
    ) -> "pa.RecordBatchReader":
        """Return the documents as Arrow record batches, each read when it is taken (`to_pandas`)."""
        from bitdex.analysis.export import reader

        return reader(self._snapshot.documents, self._ordered(sort, limit), fields, size)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.batches().__arrow_c_stream__(requested_schema)

    def _ordered(self, sort: str | None, limit: int | None) -> np.ndarray:
        """Return ids in an order, at most so many."""
        if limit is not None and (
            isinstance(limit, bool) or not isinstance(limit, int | np.integer) or limit < 0
        ):
            raise InvalidError(f"limit: {limit!r} is no whole number of at least 0")
        if sort is None:
            return self.ids[:limit]
        most = len(self) if limit is None else min(int(limit), len(self))
        order = Sort.parse(sort)
        return rank(self._snapshot, self._found, order, most, None).slots if most else self.ids[:0]

    def _instead(self) -> tuple[str, str]:
        return f"{self!r}", "hand on its ids, or what to_arrow() or to_pandas() return"

    def __repr__(self) -> str:
        return f"<Selection of {len(self):,} documents: {self._text:.200}>"

    def _repr_html_(self) -> str:
        from bitdex.page_html import documents_table

        first = self._snapshot.documents.get_many(self.ids[:SHOWN])
        note = f"{len(self):,} documents: {self._text}"
        return html.panel("Selection", documents_table(first, len(self)), note=note)


def _is_query(query: Any) -> bool:
    if query is None or isinstance(query, str | Clause | FieldRef | dict):
        return True
    return isinstance(query, list | tuple) and bool(query) and isinstance(query[0], str | dict)


def _ids(ids: Any) -> BitMap:
    """Return ids as a bitmap, or refuse them."""
    if isinstance(ids, BitMap | FrozenBitMap):
        return BitMap(ids)
    if not np.iterable(ids):
        raise InvalidError(f"{ids!r:.80} is no set: give a selection, a query, or ids in an iterable")
    return bitmap_of(np.unique(ids_of(ids)))
