"""Bindings: queries as they were bound, so that one that is asked again is not bound again.

A query is remembered by its text, or by the clause object itself: clauses do not change, and equal ones may
mean different things (``x == 1`` and ``x == true``). What was bound holds for one schema and for one set of
labels. Windows of time, and what snaps to them, depend on the present and are bound each time.
"""

from collections import OrderedDict
from typing import Any

from bitdex.locks import lock_of
from bitdex.query.bind import bind
from bitdex.query.clauses import Clause
from bitdex.query.dependence import weight
from bitdex.query.expression import to_clause
from bitdex.query.snapshot import Snapshot
from bitdex.query.windows import Moment

MOST, BYTES = 1000, 8 << 20  # of queries that are remembered; the least used goes first

_Bound = tuple[Any, Clause, Clause, Any, Any, int, int]  # the query, its clause, bound; for what; its bytes


class Bindings:
    """Any number of threads may bind."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Any, _Bound] = OrderedDict()
        self._bytes = 0
        self._lock = lock_of(self)

    def bind(self, query: Any, snapshot: Snapshot, moment: Moment) -> tuple[Clause, Clause]:
        """Return the clause of a query in any form, as it is written and as it is bound."""
        key = query if isinstance(query, str) else id(query)
        labels = snapshot.dictionaries
        kept = self._kept.get(key)
        if (
            kept is not None
            and (kept[0] is query or isinstance(query, str))
            and kept[3] is snapshot.schema
            and kept[4] is labels
            and kept[5] == labels.count
            and not moment.snap
        ):
            self._use(key)
            return kept[1], kept[2]
        count = labels.count  # before: labels that come meanwhile may be missing
        clause = to_clause(query)
        bound = bind(clause, snapshot.schema, snapshot.label, moment)
        if not moment.snap and not moment.notes and (isinstance(query, str) or _is_fixed(query)):
            size = weight(clause) + weight(bound) + (len(query) if isinstance(query, str) else 0)
            self._keep(key, (query, clause, bound, snapshot.schema, labels, count, size))
        return clause, bound

    def _use(self, key: Any) -> None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)

    def _keep(self, key: Any, one: _Bound) -> None:
        if one[-1] > BYTES:
            return
        with self._lock:
            self._drop(key)
            self._kept[key] = one
            self._bytes += one[-1]
            while len(self._kept) > MOST or self._bytes > BYTES:
                self._drop(next(iter(self._kept)))

    def _drop(self, key: Any) -> None:
        before = self._kept.pop(key, None)
        if before is not None:
            self._bytes -= before[-1]


def _is_fixed(query: Any) -> bool:
    """Tell whether nothing of a query can be changed: a clause without lists in it, which have no hash."""
    if not isinstance(query, Clause):
        return False
    try:
        hash(query)
    except TypeError:
        return False
    return True
