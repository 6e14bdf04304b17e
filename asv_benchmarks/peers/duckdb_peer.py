"""DuckDB: one table with list columns; and the same with an inverted table of tags."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from asv_benchmarks.peers.peer import FIELDS, THREADS, Page
from asv_benchmarks.peers.questions import Clause
from asv_benchmarks.peers.sql import SqlWriter
from bitdex.sample import NOW

LOAD = """
CREATE TABLE images AS
WITH tags AS (
    SELECT imageId, list(tagId::UINTEGER) AS tagIds
    FROM read_csv('{source}/tags.csv') WHERE (attributes >> 10) & 1 = 0 GROUP BY imageId
), resource_rows AS (
    SELECT imageId, modelVersionId, detected, versions.baseModel, models.poi, resources.place
    FROM (SELECT *, row_number() OVER () AS place FROM read_csv('{source}/resources.csv',
              types = {{'detected': 'BOOLEAN'}})) AS resources
    LEFT JOIN read_csv('{source}/model_versions.csv') AS versions ON versions.id = modelVersionId
    LEFT JOIN read_csv('{source}/models.csv', types = {{'poi': 'BOOLEAN'}}) AS models
           ON models.id = versions.modelId AND models.type = 'Checkpoint'
), resources AS (
    SELECT imageId, list(modelVersionId::UINTEGER ORDER BY place) AS modelVersionIds,
           list(modelVersionId::UINTEGER) FILTER (WHERE NOT detected) AS modelVersionIdsManual,
           arg_max(baseModel, place) FILTER (WHERE baseModel IS NOT NULL) AS baseModel,
           arg_max(poi, place) FILTER (WHERE poi IS NOT NULL) AS poi
    FROM resource_rows GROUP BY imageId
), tools AS (
    SELECT imageId, list(toolId::UINTEGER) AS toolIds FROM read_csv('{source}/tools.csv') GROUP BY imageId
), techniques AS (
    SELECT imageId, list(techniqueId::UINTEGER) AS techniqueIds
    FROM read_csv('{source}/techniques.csv') GROUP BY imageId
), images AS (
    SELECT *, greatest(scannedAtSecs, createdAtSecs) AS existedAt
    FROM read_csv('{source}/images.csv', types = {{'blockedFor': 'VARCHAR'}})
)
SELECT images.id, images.nsfwLevel, images.userId, images.postId, posts.id AS postedToId, images.width,
       images.height, reactionCount, commentCount, collectedCount, existedAt, publishedAtSecs AS publishedAt,
       greatest(existedAt, publishedAtSecs) AS sortAt,
       (flags >> 13) & 1 = 1 AND (flags >> 2) & 1 = 0 AS hasMeta, (flags >> 14) & 1 = 1 AS onSite,
       (flags >> 3) & 1 = 1 AS minor, coalesce(resources.poi, (flags >> 4) & 1 = 1) AS poi,
       publishedAtSecs IS NOT NULL AS isPublished,
       images.type, baseModel, availability, blockedFor, url, hash,
       coalesce(tagIds, []) AS tagIds, coalesce(modelVersionIds, []) AS modelVersionIds,
       coalesce(modelVersionIdsManual, []) AS modelVersionIdsManual,
       coalesce(toolIds, []) AS toolIds, coalesce(techniqueIds, []) AS techniqueIds
FROM images
LEFT JOIN read_csv('{source}/posts.csv') AS posts ON posts.id = images.postId
LEFT JOIN read_csv('{source}/metrics.tsv', delim = '\t') AS metrics ON metrics.imageId = images.id
LEFT JOIN tags ON tags.imageId = images.id
LEFT JOIN resources ON resources.imageId = images.id
LEFT JOIN tools ON tools.imageId = images.id
LEFT JOIN techniques ON techniques.imageId = images.id
WHERE publishedAtSecs IS NULL OR publishedAtSecs <= {now}
ORDER BY images.id
"""
INDEXED = ("id", "userId", "postId")  # where an index beats the scan of a compressed column
INVERT = "CREATE TABLE tagIds AS SELECT unnest(tagIds) AS value, id FROM images ORDER BY value, id"
COLUMNS = ", ".join(FIELDS)


class DuckdbPeer:
    """One table, ordered by id; statements are prepared."""

    inverted: tuple[str, ...] = ()

    def load(self, source: Path, store: Path) -> None:
        store.mkdir(parents=True, exist_ok=True)
        connection = duckdb.connect(str(store / "images.duckdb"), config={"threads": THREADS})
        connection.execute("SET enable_progress_bar = false")
        connection.execute(LOAD.format(source=source, now=NOW))
        for name in INDEXED:
            connection.execute(f"CREATE INDEX by_{name} ON images ({name})")
        if self.inverted:
            connection.execute(INVERT)
        connection.execute("CHECKPOINT")
        connection.close()

    def open(self, store: Path) -> None:
        config = {"threads": THREADS, "access_mode": "READ_ONLY"}
        self.connection = duckdb.connect(str(store / "images.duckdb"), config=config)
        self.prepared: dict[str, str] = {}
        self.connection.execute("SELECT count(COLUMNS(*)) FROM images").fetchall()

    def count(self, where: Clause) -> Callable[[], int]:
        writer = SqlWriter(self.inverted)
        call = self._prepare(writer.count(where), writer)
        return lambda: self.connection.execute(call).fetchone()[0]

    def page(self, where: Clause, sort: str, limit: int, after: Any = None) -> Callable[[], Page]:
        writer = SqlWriter(self.inverted)
        call = self._prepare(writer.page(f"id, {sort}", where, sort, limit, after), writer)

        def run() -> Page:
            rows = self.connection.execute(call).fetchall()
            return Page([row[0] for row in rows], rows[-1][::-1] if rows else None)

        return run

    def page_documents(self, where: Clause, sort: str, limit: int) -> Callable[[], list[dict[str, Any]]]:
        writer = SqlWriter(self.inverted)
        call = self._prepare(writer.page(COLUMNS, where, sort, limit, None), writer)
        return lambda: [dict(zip(FIELDS, row)) for row in self.connection.execute(call).fetchall()]

    def frame(self, ids: tuple[int, ...] | None) -> Callable[[], pd.DataFrame]:
        """Arrow lists: `.df()` would make a NumPy object of every list."""
        statement = f"SELECT {COLUMNS} FROM images"
        if ids is not None:
            wanted = f"wanted_{id(ids)}"
            self.connection.register(wanted, pd.DataFrame({"id": ids}))
            statement += f" JOIN {wanted} USING (id)"
        return lambda: self.connection.sql(statement).to_arrow_table().to_pandas(types_mapper=pd.ArrowDtype)

    def document(self, id: int) -> Callable[[], dict[str, Any]]:
        writer = SqlWriter(())
        writer.values.append(id)
        call = self._prepare(f"SELECT {COLUMNS} FROM images WHERE id = ?", writer)
        return lambda: dict(zip(FIELDS, self.connection.execute(call).fetchone()))

    def _prepare(self, statement: str, writer: SqlWriter) -> str:
        """Prepare each shape of statement once; return the call with its constants."""
        if statement not in self.prepared:
            self.prepared[statement] = f"q{len(self.prepared)}"
            self.connection.execute(f"PREPARE {self.prepared[statement]} AS {statement}")
        constants = (f"'{value}'" if isinstance(value, str) else str(value) for value in writer.values)
        return f"EXECUTE {self.prepared[statement]}({', '.join(constants)})"


class DuckdbInvertedPeer(DuckdbPeer):
    """The same, with a table (tag, id) ordered by tag beside it."""

    inverted = ("tagIds",)
