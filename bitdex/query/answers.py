"""Answers: pages and counts of bound queries, computed, or taken from what a cache has kept of them.

Of a query in an order the cache keeps the total and the first rows, as many as were asked for so far: the
pages of a chain put theirs behind those of the page before, up to a limit. A page that goes beyond what is
kept is computed like any other. Nothing is kept that takes less than `WORTH` to compute, nor the count of one
comparison. Neither are the ids of all documents: copying them takes most of the time.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from weakref import ReferenceType, ref

from bitdex.cache import Cache
from bitdex.cache_silo import CacheSilo
from bitdex.errors import InvalidError
from bitdex.query import plan as planner
from bitdex.query.clauses import EVERYTHING, Between, Clause, Eq, Gte, IsNotNull, IsNull, Lte, NotEq
from bitdex.query.cursor import Cursor
from bitdex.query.dependence import dependencies, key_of, weight
from bitdex.query.rank import Rows, Sort, rank
from bitdex.query.saved import from_answer, state_of, to_answer
from bitdex.query.snapshot import Snapshot

_Page = tuple[int, Rows]  # total, and the first rows
WORTH = 20e-6  # seconds; a hit takes about half of that
SAVED = 1000  # answers, which take some 30 ms to be loaded
ALONE = {Eq, NotEq, Gte, Lte, Between, IsNull, IsNotNull}  # are counted in no more time than a hit takes
MAX_ENTRIES, MAX_BYTES, ROWS = 10_000, 32 << 20, 4000  # where the schema does not say


@dataclass(frozen=True, slots=True)
class Answer:
    """The rows of one page, how many there are on all pages, and whether they were kept."""

    rows: Rows
    total: int
    cached: bool


class Answers:
    """Answers queries on any snapshot of one index.

    Parameters
    ----------
    settings : mapping
        `cache` of the schema: max_entries, max_bytes (0: nothing is kept), initial_capacity (rows kept of a
        query), min_filter_size (documents that a query has to match).
    silo : CacheSilo
        Where answers are saved.
    """

    def __init__(self, settings: Mapping[str, Any], silo: CacheSilo):
        entries = settings.get("max_entries", MAX_ENTRIES)
        limit = settings.get("max_bytes", MAX_BYTES)
        self.cache = Cache(entries, limit) if entries and limit else None
        self._rows = settings.get("initial_capacity", ROWS)
        self._least = settings.get("min_filter_size", 0)
        self._silo, self._saved = silo, (0, "")
        self._unread: ReferenceType[Snapshot] | None = None  # of which what was saved may be true

    def open(self, snapshot: Snapshot, writes: bool) -> None:
        """Take what was saved, if it is true of the first snapshot.

        A writer does so at once, because commits are to be followed from the first, and discards what is not
        true; a reader when it is first asked something.
        """
        if self.cache is None:
            return
        self._unread = ref(snapshot)  # nobody is to hold it for what may never be asked
        if writes and not self._read(self.cache):
            self._silo.discard()

    def _read(self, cache: Cache) -> bool:
        """Load what was saved, if somebody may still ask the snapshot; return whether it is true."""
        unread, self._unread = self._unread, None
        snapshot = None if unread is None else unread()
        if snapshot is None:
            return True
        answers = self._silo.load(state_of(snapshot))
        for answer in answers or ():
            with suppress(InvalidError, TypeError):  # one that this package would not have asked
                clause, sort, value = from_answer(answer)
                self._keep(snapshot, clause, sort, value)
        self._saved = cache.changes, state_of(snapshot)
        return answers is not None

    def save(self, snapshot: Snapshot, settle: Callable[[], None]) -> None:
        """Save what is true of a snapshot, the most used; `settle` forces what it shows to the device."""
        if self.cache is None:
            return
        now = self.cache.changes, state_of(snapshot)
        kept = [*self.cache.true_at(snapshot.epochs, snapshot.sequence)][-SAVED:]
        if kept and self._saved != now:
            settle()
            self._silo.save(now[1], [to_answer(key, value) for key, value in kept])
            self._saved = now

    def stats(self) -> dict[str, Any]:
        """Return entries, bytes, hits and misses, and what went wrong at loading or saving."""
        return (self.cache or Cache(0, 0)).stats() | {"failure": self._silo.failure}

    def page(
        self,
        snapshot: Snapshot,
        clause: Clause,
        sort: Sort,
        limit: int,
        skip: int = 0,
        after: Cursor | None = None,
        use_cache: bool = True,
    ) -> Answer:
        """Return the rows after a cursor, or those after so many that are skipped."""
        cache = self.cache if use_cache else None
        if cache is None:
            total, rows = _compute(snapshot, clause, sort, limit + skip, after)
            return Answer(rows[skip:] if skip else rows, total, False)
        if self._unread is not None:
            self._read(cache)
        key = key_of(clause), sort
        kept: _Page | None = cache.get(key, snapshot.epochs, snapshot.sequence)
        if kept is not None:
            total, known = kept
            place = skip if after is None else known.behind(snapshot, sort, after)
            if place is not None and (place + limit <= len(known) or len(known) == total):
                cache.tally(True)
                return Answer(known[place : place + limit], total, True)
        cache.tally(False)
        clock = time.perf_counter()
        total, rows = _compute(snapshot, clause, sort, limit + skip, after)
        if time.perf_counter() - clock >= WORTH and total >= self._least:
            if after is None:
                self._keep(snapshot, clause, sort, (total, rows))
            elif kept is not None and place == len(known) < self._rows:
                self._keep(snapshot, clause, sort, (total, known.followed_by(rows)))
        return Answer(rows[skip:] if skip else rows, total, False)

    def count(self, snapshot: Snapshot, clause: Clause, use_cache: bool = True) -> int:
        """Return how many documents match."""
        cache = self.cache if use_cache and type(clause) not in ALONE else None
        if cache is None or clause == EVERYTHING:
            return planner.count(planner.plan(snapshot, clause))
        if self._unread is not None:
            self._read(cache)
        key = (key_of(clause), None)
        kept: int | None = cache.get(key, snapshot.epochs, snapshot.sequence)
        cache.tally(kept is not None)
        if kept is not None:
            return kept
        clock = time.perf_counter()
        total = planner.count(planner.plan(snapshot, clause))
        if time.perf_counter() - clock >= WORTH and total >= self._least:
            self._keep(snapshot, clause, None, total)
        return total

    def _keep(self, snapshot: Snapshot, clause: Clause, sort: Sort | None, value: Any) -> None:
        """Keep a count, or total and first rows of an order: a copy, for a page belongs to its user."""
        tokens = dependencies(snapshot, clause, None if sort is None else sort.field)
        if tokens is None or self.cache is None:
            return
        size = weight(clause)
        if sort is not None:
            total, rows = value
            rows = rows[: self._rows]
            value, size = (total, rows), size + rows.nbytes
        self.cache.keep((key_of(clause), sort), value, size, tokens, snapshot.epochs, snapshot.sequence)


def _compute(snapshot: Snapshot, clause: Clause, sort: Sort, limit: int, after: Cursor | None) -> _Page:
    found = planner.run(planner.plan(snapshot, clause))
    return len(found), rank(snapshot, found, sort, limit, after)
