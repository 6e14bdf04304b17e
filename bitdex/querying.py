"""Querying: pages, counts and ids of the documents that match, and the plan of it."""

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from bitdex.errors import InvalidError
from bitdex.page import Page, Request
from bitdex.query import plan as planner
from bitdex.query.answers import Answers
from bitdex.query.bindings import Bindings
from bitdex.query.clauses import Within
from bitdex.query.cursor import Cursor
from bitdex.query.rank import Sort
from bitdex.query.shown import Shown
from bitdex.query.snapshot import Snapshot
from bitdex.query.windows import moment_of
from bitdex.selection import Selection

if TYPE_CHECKING:
    from bitdex.query.explained import Plan


class Querying(Shown):
    """The part of an index that answers queries; any number of threads may ask."""

    _answers: Answers
    _bindings: Bindings
    ui: Any  # how pages look (`inside.looking`)

    def query(
        self,
        where: Any = None,
        sort: str | None = None,
        limit: int = 100,
        after: Any = None,
        offset: int = 0,
        cache: bool = True,
        now: Any = None,
        snap: bool = False,
    ) -> Page:
        """Return a page of the documents that match.

        Parameters
        ----------
        where : expression, str, mapping or None
            ``(f.nsfwLevel == 1) & f.tagIds.has(304)``, ``"nsfwLevel == 1 and tagIds has 304"``,
            a JSON filter, or None for all documents.
        sort : str, optional
            A sort field, with ``-`` for descending; newest first if None.
        limit : int
            Documents on the page.
        after : Cursor or str, optional
            The cursor of the page before; wins over `offset`.
        offset : int
            Documents to skip.
        cache : bool
            Take the answer from what is kept of earlier queries, if it is there and still true.
        now : float, datetime or str, optional
            Where windows of time end, in Unix seconds, or as a date; now by default.
        snap : bool
            Let ``>`` and ``>=`` on the name of the time buckets snap to one of them: approximate.

        Raises
        ------
        InvalidError
            Naming the field, the value, and what the field accepts.
        """
        snapshot = self.snapshot
        _check_count("limit", limit, 1)
        _check_count("offset", offset, 0)
        moment = moment_of(now, snap, snapshot.settle)
        clause, bound = self._bindings.bind(where, snapshot, moment)
        request = Request(
            clause, bound, Sort.parse(sort), int(limit), int(offset), cache, moment.now, moment.snap
        )
        return self._answer(snapshot, request, Cursor.of(after))

    def count(self, where: Any = None, cache: bool = True, now: Any = None, snap: bool = False) -> int:
        """Return how many documents match."""
        snapshot = self.snapshot
        moment = moment_of(now, snap, snapshot.settle)
        _, bound = self._bindings.bind(where, snapshot, moment)
        return self._answers.count(snapshot, bound, cache)

    def ids(self, where: Any = None, now: Any = None, snap: bool = False) -> np.ndarray:
        """Return the ids of all documents that match, ascending, uint32."""
        snapshot = self.snapshot
        moment = moment_of(now, snap, snapshot.settle)
        _, bound = self._bindings.bind(where, snapshot, moment)
        return np.frombuffer(planner.run(planner.plan(snapshot, bound)).to_array(), np.uint32)

    def where(self, query: Any = None, now: Any = None, snap: bool = False) -> Selection:
        """Return the documents that match as a set to compute with; all documents if None.

        A query is checked at once, and run when something is asked of the set. Ids in an iterable, and
        a selection, will do as well.
        """
        return Selection.of(self, self.snapshot, query, now, snap)

    def __getitem__(self, query: Any) -> Selection:
        """Return the documents that match as a set: ``index["type == 'video'"]``, ``index[f.x == 1]``."""
        return self.where(query)

    __iter__ = None  # or else a loop would ask for index[0]

    def explain(self, where: Any = None, now: Any = None, snap: bool = False) -> "Plan":
        """Return the plan of a query as a DataFrame, one row a step, after running it.

        Columns: step, action, clause, cardinality (documents in the clause's own set), left (after the step),
        arrays, bitsets, runs (containers that are read), bytes, cache ("hit" if everything the clause reads
        was in memory, else "miss"), prepared (microseconds until its set was at hand), microseconds (of the
        step).
        Its ``plot()`` draws it.
        """
        from bitdex.query.explained import explain

        snapshot = self.snapshot
        moment = moment_of(now, snap, snapshot.settle)
        return explain(snapshot, self._bindings.bind(where, snapshot, moment)[1], moment)

    def rebuild_time_buckets(self, now: Any = None) -> dict[str, int]:
        """Build what windows rest on anew, from what is stored; return how many documents each holds.

        It is never needed: windows follow from the documents.

        Raises
        ------
        InvalidError
            If the schema declares no time_buckets.
        """
        buckets = self.schema.time_buckets
        if buckets is None:
            raise InvalidError(f"index {self.schema.name!r} has no windows; declare them in time_buckets")
        self.snapshot.forget(buckets.sort_field)
        moment = moment_of(now, False, self.snapshot.settle).now
        names = [bucket.name for bucket in buckets.buckets]
        return {name: self.count(Within(buckets.filter_field, name), False, moment) for name in names}

    def _answer(self, snapshot: Snapshot, request: Request, after: Cursor | None) -> Page:
        clock = time.perf_counter()
        skip, sort = 0 if after is not None else request.offset, request.sort
        found = self._answers.page(snapshot, request.bound, sort, request.limit, skip, after, request.cache)
        cursor, elapsed = found.rows.cursor(snapshot, sort), time.perf_counter() - clock
        return Page(self, snapshot, found.rows.slots, found.total, cursor, elapsed, request, found.cached)


def _check_count(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise InvalidError(f"{name}: {value!r} is no whole number of at least {least}")
