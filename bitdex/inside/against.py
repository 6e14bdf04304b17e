"""Against: random queries asked of an index and of a table of the same documents, and where they differ."""

import random
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import pandas as pd

from bitdex.errors import InvalidError
from bitdex.inside.questions import questions
from bitdex.inside.table import Table, table_of
from bitdex.progress import counter
from bitdex.query.clauses import Clause
from bitdex.query.snapshot import Snapshot

LIMIT = 20  # rows of a page that are compared
EXAMPLES = 5  # ids of a difference
COLUMNS = ["query", "sort", "what", "index", "table", "only_index", "only_table"]


class Asked(Protocol):
    """What is asked (`bitdex.querying.Querying`)."""

    @property
    def snapshot(self) -> Snapshot: ...

    def ids(self, where: Any = None) -> np.ndarray: ...

    def count(self, where: Any = None) -> int: ...

    def query(self, where: Any = None, sort: str | None = None, limit: int = 100) -> Any: ...


def check_against(index: Asked, frame: Any, queries: int, seed: int, progress: bool) -> pd.DataFrame:
    """Return what `Index.check_against` shows."""
    if isinstance(queries, bool) or not isinstance(queries, int) or queries < 1:
        raise InvalidError(f"queries: {queries!r} is no whole number of at least 1")
    snapshot = index.snapshot
    table = table_of(frame, snapshot.schema, snapshot.deferred)
    rows = list(_everything(index, table))
    with counter(progress, "check", queries, "queries") as report:
        for clause, sort in questions(table, random.Random(seed), queries):
            rows += _differences(index, table, clause, sort)
            report(1)
    found = pd.DataFrame(rows, columns=COLUMNS)
    found.attrs.update(queries=queries, seed=seed, fields=list(table.columns), documents=len(table.ids))
    return found


def _everything(index: Asked, table: Table) -> Iterator[dict[str, Any]]:
    ids = index.ids()
    if not np.array_equal(ids, table.ids):
        yield _row("everything", None, "ids", ids, table.ids, ids, table.ids)


def _differences(index: Asked, table: Table, clause: Clause, sort: str | None) -> Iterator[dict[str, Any]]:
    text = str(clause)  # so that what is found can be asked again as it is shown
    matching = table.ids[table.matches(clause)]
    page, total = index.query(text, sort, LIMIT), index.count(text)
    if not total == page.total == len(matching):
        yield _row(text, sort, "count", (total, page.total), len(matching), index.ids(text), matching)
        return
    expected = table.ordered(matching, sort, LIMIT)
    if not np.array_equal(page.ids, expected):
        yield _row(text, sort, "page", page.ids.tolist(), expected.tolist(), page.ids, expected)


def _row(
    query: str, sort: str | None, what: str, ours: Any, theirs: Any, ids: np.ndarray, others: np.ndarray
) -> dict[str, Any]:
    only, missing = np.setdiff1d(ids, others), np.setdiff1d(others, ids)
    if isinstance(ours, tuple):
        ours = ours[0] if ours[0] != len(others) else ours[1]
    if what == "ids":
        ours, theirs = len(ids), len(others)
    examples = only[:EXAMPLES].tolist(), missing[:EXAMPLES].tolist()
    return dict(zip(COLUMNS, (query, sort, what, ours, theirs, *examples)))
