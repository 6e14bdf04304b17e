"""Querying: pages, counts and ids of the documents that match, and the plan of it."""

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from bitdex.errors import InvalidError
from bitdex.page import Page, Request
from bitdex.query import plan as planner
from bitdex.query.answers import Answers
from bitdex.query.bind import bind
from bitdex.query.cursor import Cursor
from bitdex.query.expression import to_clause
from bitdex.query.rank import Sort
from bitdex.query.snapshot import Snapshot
from bitdex.schema import Schema

if TYPE_CHECKING:
    import pandas as pd


class Querying:
    """The part of an index that answers queries; any number of threads may ask."""

    _answers: Answers

    @property
    def schema(self) -> Schema:
        raise NotImplementedError

    @property
    def snapshot(self) -> Snapshot:
        raise NotImplementedError

    def query(
        self,
        where: Any = None,
        sort: str | None = None,
        limit: int = 100,
        after: Any = None,
        offset: int = 0,
        cache: bool = True,
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

        Raises
        ------
        InvalidError
            Naming the field, the value, and what the field accepts.
        """
        clause, snapshot = to_clause(where), self.snapshot
        _check_count("limit", limit, 1)
        _check_count("offset", offset, 0)
        bound = bind(clause, self.schema, snapshot.label)
        request = Request(clause, bound, Sort.parse(sort), int(limit), int(offset), cache)
        return self._answer(snapshot, request, Cursor.of(after))

    def count(self, where: Any = None, cache: bool = True) -> int:
        """Return how many documents match."""
        snapshot = self.snapshot
        bound = bind(to_clause(where), self.schema, snapshot.label)
        return self._answers.count(snapshot, bound, cache)

    def ids(self, where: Any = None) -> np.ndarray:
        """Return the ids of all documents that match, ascending, uint32."""
        return np.frombuffer(planner.run(self._plan(where)).to_array(), np.uint32)

    def explain(self, where: Any = None) -> "pd.DataFrame":
        """Return the plan of a query as a DataFrame, one row a step, after running it."""
        import pandas as pd

        return pd.DataFrame(planner.explain(self._plan(where)))

    def _plan(self, where: Any) -> list[planner.Step]:
        snapshot = self.snapshot
        return planner.plan(snapshot, bind(to_clause(where), self.schema, snapshot.label))

    def _answer(self, snapshot: Snapshot, request: Request, after: Cursor | None) -> Page:
        clock = time.perf_counter()
        skip, sort = 0 if after is not None else request.offset, request.sort
        found = self._answers.page(snapshot, request.bound, sort, request.limit, skip, after, request.cache)
        cursor, elapsed = found.rows.cursor(snapshot, sort), time.perf_counter() - clock
        return Page(self, snapshot, found.rows.slots, found.total, cursor, elapsed, request, found.cached)


def _check_count(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise InvalidError(f"{name}: {value!r} is no whole number of at least {least}")
