"""DuckDB: a table in memory, texts as enums; tags as lists, or a table with the columns of filters."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb

from asv_benchmarks.analysis import questions as q
from asv_benchmarks.peers.peer import THREADS

PLAIN = "id, nsfwLevel::UTINYINT AS nsfwLevel, userId, sortAt, reactionCount, hasMeta, onSite, minor"
TEXTS = ("type", "baseModel")
TAGS, TOOLS = "tagIds", "toolIds"


class DuckdbSide:
    """Tables read from the file that the peer of questions has loaded."""

    def __init__(self, stores: Path, asked: list[str]):
        self.connection = duckdb.connect(config={"threads": THREADS})
        run = self.connection.execute
        run("SET enable_progress_bar = false")
        run(f"ATTACH '{stores}/duckdb-inv/images.duckdb' AS stored (READ_ONLY)")
        for name in TEXTS:
            texts = f"SELECT DISTINCT {name} FROM stored.images WHERE {name} NOT NULL"
            run(f"CREATE TYPE {name}_kind AS ENUM ({texts})")
        texts = ", ".join(f"{name}::{name}_kind AS {name}" for name in TEXTS)
        lists = [name for name, question in ((TAGS, q.TAGS), (TOOLS, q.TOOLS)) if question in asked]
        columns = ", ".join([PLAIN, texts, *lists])
        run(f"CREATE TABLE images AS SELECT {columns} FROM stored.images ORDER BY id")
        for name in lists:
            run(f"CREATE TABLE {name} AS SELECT unnest({name}) AS value, hasMeta, onSite, minor FROM images")
        run("DETACH stored")

    def ways(self, question: str, name: str) -> dict[str, Callable[[], Any]]:
        """Return the ways to answer."""
        where, rows = q.FILTERS[name][1], "FROM images WHERE"
        statements = {
            q.FACETS: [f"SELECT baseModel, count(*) {rows} {where} GROUP BY 1"],
            q.TOOLS: listed(TOOLS, where, ""),
            q.CROSSTAB: [f"SELECT nsfwLevel, type, count(*) {rows} {where} GROUP BY ALL"],
            q.DATES: [f"SELECT sortAt // {q.DAY}, count(*) {rows} {where} GROUP BY 1"],
            q.REACTIONS: [f"SELECT reactionCount // {q.STEP}, count(*) {rows} {where} GROUP BY 1"],
            q.MEDIAN: [f"SELECT quantile_cont(sortAt, 0.5) {rows} {where}"],
            q.QUANTILE: [f"SELECT quantile_cont(reactionCount, 0.9) {rows} {where}"],
            q.TAGS: listed(TAGS, where, f" ORDER BY 2 DESC LIMIT {q.TOP}"),
            q.GROUPS: [f"SELECT userId, sum(reactionCount)::BIGINT {rows} {where} GROUP BY 1"],
        }
        forms = ["list", "table"] if len(statements[question]) > 1 else ["table"]
        return {f"duckdb, {form}": self._asking(text) for form, text in zip(forms, statements[question])}

    def _asking(self, statement: str) -> Callable[[], Any]:
        return lambda: self.connection.execute(statement).fetchnumpy()

    def answer(self, question: str, result: Any) -> Any:
        """Return a result in the form in which answers are compared."""
        columns = [one.tolist() for one in result.values()]
        if question == q.CROSSTAB:
            return q.counted(((row, column), n) for row, column, n in zip(*columns))
        if question in (q.MEDIAN, q.QUANTILE):
            return q.number(columns[0][0])
        pairs = list(zip(*columns))
        return q.greatest(pairs) if question == q.TAGS else q.counted(pairs)


def listed(name: str, where: str, rest: str) -> list[str]:
    """Return the counts of the values of a list, out of the lists and out of a table of them."""
    lists = f"(SELECT unnest({name}) AS value FROM images WHERE {where})"
    return [
        f"SELECT value, count(*) FROM {lists} GROUP BY 1{rest}",
        f"SELECT value, count(*) FROM {name} WHERE {where} GROUP BY 1{rest}",
    ]
