"""SQLite: a row per image with an index for each field, a table (value, id) for each list."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from asv_benchmarks.peers.joined import joined
from asv_benchmarks.peers.peer import FIELDS, FILTERS, FLAGS, SORTS, THREADS, Page
from asv_benchmarks.peers.questions import LISTS, Clause
from asv_benchmarks.peers.sql import SqlWriter

BATCH = 50_000
PARAMETERS = 30_000  # SQLite takes at most 32,766 of them
JSON_LISTS = ("tagIds", "modelVersionIds")
COLUMNS = ", ".join(name if name not in JSON_LISTS else f"{name}_json" for name in FIELDS)
INDEXES = [name for name in dict.fromkeys(FILTERS + SORTS) if name != "id"]
INDEXES += ["nsfwLevel, reactionCount", "nsfwLevel, sortAt"]  # the pages under a dense filter
SETTINGS = f"PRAGMA threads = {THREADS}; PRAGMA cache_size = -1000000; PRAGMA mmap_size = 8000000000;"


class SqlitePeer:
    """Lists are stored twice: as JSON beside the document, and inverted for filters."""

    def load(self, source: Path, store: Path) -> None:
        store.mkdir(parents=True, exist_ok=True)
        connection = self._connect(store)
        connection.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")
        table = joined(source)
        self._load_images(connection, table)
        for name in LISTS:
            self._load_lists(connection, name, table)
        for number, columns in enumerate(INDEXES):
            connection.execute(f"CREATE INDEX by_{number} ON images ({columns})")
        connection.execute("ANALYZE")
        connection.commit()
        connection.close()

    def _load_images(self, connection: sqlite3.Connection, table: pa.Table) -> None:
        connection.execute(f"CREATE TABLE images ({COLUMNS.replace('id,', 'id INTEGER PRIMARY KEY,', 1)})")
        marks = ", ".join("?" * len(FIELDS))
        for batch in table.select(FIELDS).to_batches(BATCH):
            columns = [batch[name].to_pylist() for name in FIELDS]
            for place in (FIELDS.index(name) for name in JSON_LISTS):
                columns[place] = list(map(json.dumps, columns[place]))
            connection.executemany(f"INSERT INTO images VALUES ({marks})", zip(*columns))

    def _load_lists(self, connection: sqlite3.Connection, name: str, table: pa.Table) -> None:
        connection.execute(f"CREATE TABLE {name} (value, id, PRIMARY KEY (value, id)) WITHOUT ROWID")
        connection.executemany(f"INSERT INTO {name} VALUES (?, ?)", inverted(table["id"], table[name]))

    def _connect(self, store: Path) -> sqlite3.Connection:
        connection = sqlite3.connect(store / "images.sqlite", cached_statements=1_000)
        connection.executescript(SETTINGS)
        return connection

    def open(self, store: Path) -> None:
        self.connection = self._connect(store)
        self.connection.execute("SELECT sum(length(url) + length(tagIds_json)) FROM images").fetchone()

    def count(self, where: Clause) -> Callable[[], int]:
        writer = SqlWriter(LISTS)
        statement, values = writer.count(where), writer.values
        return lambda: self.connection.execute(statement, values).fetchone()[0]

    def page(self, where: Clause, sort: str, limit: int, after: Any = None) -> Callable[[], Page]:
        writer = SqlWriter(LISTS)
        statement, values = writer.page(f"id, {sort}", where, sort, limit, after), writer.values

        def run() -> Page:
            rows = self.connection.execute(statement, values).fetchall()
            return Page([row[0] for row in rows], rows[-1][::-1] if rows else None)

        return run

    def page_documents(self, where: Clause, sort: str, limit: int) -> Callable[[], list[dict[str, Any]]]:
        writer = SqlWriter(LISTS)
        statement, values = writer.page(COLUMNS, where, sort, limit, None), writer.values
        return lambda: list(map(as_document, self.connection.execute(statement, values)))

    def frame(self, ids: tuple[int, ...] | None) -> Callable[[], pd.DataFrame]:
        return lambda: pd.DataFrame(map(as_row, self._rows(ids)), columns=FIELDS)

    def _rows(self, ids: tuple[int, ...] | None) -> Iterator[tuple[Any, ...]]:
        if ids is None:
            yield from self.connection.execute(f"SELECT {COLUMNS} FROM images")
            return
        for low in range(0, len(ids), PARAMETERS):
            part = ids[low : low + PARAMETERS]
            marks = ", ".join("?" * len(part))
            yield from self.connection.execute(f"SELECT {COLUMNS} FROM images WHERE id IN ({marks})", part)

    def document(self, id: int) -> Callable[[], dict[str, Any]]:
        statement = f"SELECT {COLUMNS} FROM images WHERE id = ?"
        return lambda: as_document(self.connection.execute(statement, (id,)).fetchone())


def inverted(ids: pa.ChunkedArray, lists: pa.ChunkedArray) -> Iterator[tuple[int, int]]:
    """Yield (value, id) in the order of the table's key, so that it grows at its end only."""
    holders = ids.take(pc.list_parent_indices(lists))
    pairs = pa.table({"value": pc.list_flatten(lists), "id": holders}).sort_by(
        [("value", "ascending"), ("id", "ascending")]
    )
    for batch in pairs.to_batches(BATCH):
        yield from zip(batch["value"].to_pylist(), batch["id"].to_pylist())


def as_row(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return *row[: -len(JSON_LISTS)], *map(json.loads, row[-len(JSON_LISTS) :])


def as_document(row: tuple[Any, ...]) -> dict[str, Any]:
    document = dict(zip(FIELDS, as_row(row)))
    return document | {name: bool(document[name]) for name in FLAGS}
