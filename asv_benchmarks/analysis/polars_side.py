"""Polars: a DataFrame in memory, texts as enums; tags as lists, or exploded with the columns of filters.

Eager, lazy, and lazy with the streaming engine.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from asv_benchmarks.analysis import questions as q
from asv_benchmarks.analysis.duckdb_side import PLAIN, TAGS, TEXTS, TOOLS
from asv_benchmarks.peers.peer import THREADS

MINOR, META, SITE = (pl.col(name) for name in ("minor", "hasMeta", "onSite"))
FILTERS = {"1%": MINOR, "8%": SITE & ~META, "50%": META & ~SITE, "all": None}
FLAGS = ["minor", "hasMeta", "onSite"]


class PolarsSide:
    """Frames read from the file that the peer of questions has loaded."""

    def __init__(self, stores: Path, asked: list[str]):
        assert pl.thread_pool_size() == THREADS
        lists = [name for name, question in ((TAGS, q.TAGS), (TOOLS, q.TOOLS)) if question in asked]
        columns = ", ".join([PLAIN, *TEXTS, *lists])
        with duckdb.connect(
            f"{stores}/duckdb-inv/images.duckdb", config={"threads": THREADS}, read_only=True
        ) as one:
            one.execute("SET enable_progress_bar = false")
            table = one.sql(f"SELECT {columns} FROM images ORDER BY id").to_arrow_table()
        frame: Any = pl.from_arrow(table)
        for name in TEXTS:
            kind = pl.Enum(frame[name].drop_nulls().unique().sort())
            frame = frame.with_columns(pl.col(name).cast(kind))
        self.frame = frame.rechunk()
        self.exploded = {
            name: self.frame.select(*FLAGS, pl.col(name)).explode(name).rechunk() for name in lists
        }

    def ways(self, question: str, name: str) -> dict[str, Callable[[], Any]]:
        """Return the ways to answer."""
        where = FILTERS[name]
        if question in (q.TAGS, q.TOOLS):
            field = TAGS if question == q.TAGS else TOOLS
            frames = {"list": self.frame.select(*FLAGS, field), "exploded": self.exploded[field]}
        else:
            frames = {"": self.frame}
        ways: dict[str, Callable[[], Any]] = {}
        for form, frame in frames.items():
            for engine in ("eager", "lazy", "streaming"):
                label = ", ".join(filter(None, ("polars", form, engine)))
                ways[label] = self._asking(question, frame, where, engine, form == "list")
        return ways

    def _asking(
        self, question: str, frame: pl.DataFrame, where: pl.Expr | None, engine: str, listed: bool
    ) -> Callable[[], Any]:
        def ask() -> pl.DataFrame:
            source: Any = frame if engine == "eager" else frame.lazy()
            found = asked(question, source if where is None else source.filter(where), listed)
            if engine == "eager":
                return found
            return found.collect(engine="streaming") if engine == "streaming" else found.collect()

        return ask

    def answer(self, question: str, result: pl.DataFrame) -> Any:
        """Return a result in the form in which answers are compared."""
        rows = result.rows()
        if question == q.CROSSTAB:
            return q.counted(((row, column), n) for row, column, n in rows)
        if question in (q.MEDIAN, q.QUANTILE):
            return q.number(rows[0][0])
        return q.greatest(rows) if question == q.TAGS else q.counted(rows)


def asked(question: str, rows: Any, listed: bool) -> Any:
    """Return what answers a question about some rows, of a frame or a lazy one."""
    one = pl.len().alias("n")
    match question:
        case q.FACETS:
            return rows.group_by("baseModel").agg(one)
        case q.TOOLS | q.TAGS:
            name = TAGS if question == q.TAGS else TOOLS
            rows = rows.select(name).explode(name) if listed else rows
            counts = rows.group_by(name).agg(one)
            return (
                counts
                if question == q.TOOLS
                else counts.filter(pl.col(name).is_not_null()).top_k(q.TOP, by="n")
            )
        case q.CROSSTAB:
            return rows.group_by("nsfwLevel", "type").agg(one)
        case q.DATES:
            return rows.group_by((pl.col("sortAt") // q.DAY).alias("day")).agg(one)
        case q.REACTIONS:
            return rows.group_by((pl.col("reactionCount") // q.STEP).alias("bin")).agg(one)
        case q.MEDIAN:
            return rows.select(pl.col("sortAt").median())
        case q.QUANTILE:
            return rows.select(pl.col("reactionCount").quantile(0.9, "linear"))
        case _:
            return rows.group_by("userId").agg(pl.col("reactionCount").sum())
