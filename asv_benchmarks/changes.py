"""Print what changes cost: ``python -m asv_benchmarks.changes [--rows 1000000]``.

Whole rows put into a loaded index, beside DuckDB's upsert of the same rows in the same run; single patches;
a reader that follows; a query beside many pending operations; queries beside a writer; memory over many
changes. Each works on a copy of the stores that `asv_benchmarks.peers` has made, and makes those that are
missing.
"""

import argparse
import random
import shutil
import statistics
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

import bitdex
from asv_benchmarks.peers.datasets import ensure
from asv_benchmarks.peers.duckdb_peer import INDEXED
from asv_benchmarks.peers.measure import MEBI, measure
from asv_benchmarks.peers.peer import THREADS
from asv_benchmarks.peers.report import duration, table

RUNS, MANY = 7, 10_000
COMPUTED = ("sortAt",)
QUERIES = (
    ("nsfwLevel == 1", "-reactionCount"),
    ("tagIds has 304 and nsfwLevel == 1", "-sortAt"),
    ("type == 'video' and not poi", "-sortAt"),
)


class Stores:
    """Loaded stores of the peers, of which each measurement takes a copy."""

    def __init__(self, data: Path, rows: int):
        source = ensure(data, rows)
        self._stores = data / f"stores-{rows}"
        for name in ("bitdex", "duckdb"):
            measure(name, source, self._stores / name, [], reload=False)

    @contextmanager
    def index(self, **options: Any) -> Iterator[bitdex.Index]:
        with tempfile.TemporaryDirectory(dir=self._stores) as directory:
            copy = Path(directory) / "index"
            shutil.copytree(self._stores / "bitdex", copy)
            with bitdex.open(copy, **options) as index:
                yield index

    @contextmanager
    def duckdb(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with tempfile.TemporaryDirectory(dir=self._stores) as directory:
            copy = Path(directory) / "images.duckdb"
            shutil.copy(self._stores / "duckdb" / "images.duckdb", copy)
            with duckdb.connect(str(copy), config={"threads": THREADS}) as connection:
                connection.execute("SET enable_progress_bar = false")
                yield connection


def changed(rows: pa.Table, draw: random.Random) -> pa.Table:
    """Return rows with another level, another count of reactions, and one tag for another."""
    tags = [[*one[1:], draw.randrange(30_000)] for one in rows["tagIds"].to_pylist()]
    columns = {
        "tagIds": pa.array(tags, rows["tagIds"].type),
        "nsfwLevel": pa.array([draw.choice([1, 2, 4, 8]) for _ in tags], rows["nsfwLevel"].type),
        "reactionCount": pa.array([draw.randrange(5000) for _ in tags], rows["reactionCount"].type),
    }
    for name, column in columns.items():
        rows = rows.set_column(rows.column_names.index(name), name, column)
    return rows


def upserts(stores: Stores) -> list[list[str]]:
    """Put 10,000 changed rows at once, in both."""
    draw, seconds = random.Random(1), defaultdict(list)
    with stores.index() as index, stores.duckdb() as connection:
        for name in INDEXED:
            connection.execute(f"DROP INDEX by_{name}")
        connection.execute("ALTER TABLE images ADD PRIMARY KEY (id)")
        for name in INDEXED[1:]:
            connection.execute(f"CREATE INDEX by_{name} ON images ({name})")
        ids = index.ids()
        for _ in range(RUNS):
            for name, put in (("duckdb, INSERT OR REPLACE", upsert), ("duckdb, DELETE and INSERT", replace)):
                chosen = np.random.default_rng(draw.randrange(1 << 30)).choice(ids, MANY, False)
                rows = changed(rows_of(connection, chosen), draw)
                seconds["bitdex"].append(timed(index.put_many, rows.drop_columns(list(COMPUTED))))
                connection.register("changed", rows)
                seconds[name].append(timed(put, connection))
        agree(index, connection)
    return [
        [f"put {MANY:,} changed rows, {name}", f"{MANY / statistics.median(found):,.0f} rows/s"]
        for name, found in seconds.items()
    ]


def rows_of(connection: duckdb.DuckDBPyConnection, ids: np.ndarray) -> pa.Table:
    connection.register("wanted", pa.table({"id": ids}))
    return connection.execute("SELECT images.* FROM images JOIN wanted USING (id)").to_arrow_table()


def upsert(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("INSERT OR REPLACE INTO images SELECT * FROM changed").fetchall()


def replace(connection: duckdb.DuckDBPyConnection) -> None:
    """A key that was deleted can be inserted again in the next transaction only."""
    connection.execute("DELETE FROM images WHERE id IN (SELECT id FROM changed)").fetchall()
    connection.execute("INSERT INTO images SELECT * FROM changed").fetchall()


def agree(index: bitdex.Index, connection: duckdb.DuckDBPyConnection) -> None:
    """Stop if both do not hold the same after the same changes."""
    for where, sql in (
        ("nsfwLevel == 4", "nsfwLevel = 4"),
        ("tagIds has 304", "list_contains(tagIds, 304)"),
        ("reactionCount >= 4000", "reactionCount >= 4000"),
    ):
        counted = connection.execute(f"SELECT count(*) FROM images WHERE {sql}").fetchall()[0][0]
        if index.count(where) != counted:
            raise SystemExit(f"{where}: BitDex counts {index.count(where):,}, DuckDB {counted:,}")


def timed(call: Callable[..., object], *arguments: Any) -> float:
    before = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - before


def found(stores: Stores) -> list[list[str]]:
    """Change all documents that a query finds, then delete them, in both."""
    ops = [
        ("set a field", {"op": "set", "field": "nsfwLevel", "value": 4}, "nsfwLevel = 4"),
        (
            "add to a list",
            {"op": "add", "field": "tagIds", "value": 77_777},
            "tagIds = list_append(tagIds, 77777)",
        ),
    ]
    rows = []
    with stores.index() as index, stores.duckdb() as connection:
        warm = rows_of(connection, index.ids()[:100])
        index.put_many(warm.drop_columns(list(COMPUTED)))  # reads what changes of many documents share
        count = index.count("type == 'video'")
        for title, op, sql in ops:
            change = {"entity_id": 0, "ops": [{"op": "queryOpSet", "query": "type == 'video'", "ops": [op]}]}
            seconds = (
                timed(index.apply, change),
                timed(fetched, connection, f"UPDATE images SET {sql} WHERE type = 'video'"),
            )
            rows += both(f"{title} of {count:,} that are found", count, seconds)
        agree(index, connection)
        seconds = (
            timed(lambda: index.delete(where="type == 'video'")),
            timed(fetched, connection, "DELETE FROM images WHERE type = 'video'"),
        )
        agree(index, connection)
    return [*rows, *both(f"delete {count:,} that are found", count, seconds)]


def fetched(connection: duckdb.DuckDBPyConnection, sql: str) -> object:
    return connection.execute(sql).fetchall()


def both(title: str, count: int, seconds: tuple[float, float]) -> list[list[str]]:
    """Return the rates of both."""
    return [
        [f"{title}, {name}", f"{count / one:,.0f} rows/s"] for name, one in zip(("bitdex", "duckdb"), seconds)
    ]


def kept(stores: Stores) -> list[list[str]]:
    """Ask again what is kept, and compute it: clauses that are held, and texts."""
    f = bitdex.field
    dated = f.tagIds.has(304) & f.nsfwLevel.isin([1, 2]) & ~f.poi & (f.sortAt >= "2023-01-01")
    users = f.userId.isin(random.Random(4).sample(range(1, 20_000), 499))
    rows = []
    with stores.index() as index:
        for name, where in (
            ("a tag, two levels, a complement, dates", dated),
            ("the same as text", str(dated)),
            ("one of 499 users", users),
            ("the same as text", str(users)),
        ):
            ask = partial(index.query, where, "-reactionCount", limit=50)
            if not (ask() and ask().cached):
                raise SystemExit(f"{name}: the answer is not kept")
            rows.append([f"an answer that is kept: {name}", quantiles([timed(ask) for _ in range(2000)])])
            compute = partial(ask, cache=False)
            rows.append([f"computed: {name}", quantiles([timed(compute) for _ in range(500)])])
    return rows


def patcher(index: bitdex.Index, seed: int = 1) -> Callable[[], None]:
    """Return what patches a random document."""
    draw, ids = random.Random(seed), index.ids().tolist()

    def patch() -> None:
        changes = {"nsfwLevel": draw.choice([1, 2, 4, 8]), "reactionCount": draw.randrange(5000)}
        index.patch(draw.choice(ids), changes)

    return patch


def asking(index: bitdex.Index) -> Callable[[], None]:
    draw = random.Random(2)

    def ask() -> None:
        where, sort = draw.choice(QUERIES)
        index.query(where, sort, limit=20)

    return ask


def quantiles(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    p99 = ordered[len(ordered) * 99 // 100]
    return f"{duration(1e9 * statistics.median(ordered))} (p99 {duration(1e9 * p99)})"


def patches(stores: Stores) -> list[list[str]]:
    rows = []
    for sync in ("none", "batch"):
        with stores.index(sync=sync) as index:
            patch, ask = patcher(index), asking(index)
            patch(), ask()
            rows.append([f'patch, sync="{sync}"', quantiles([timed(patch) for _ in range(2000)])])
            twenty = [timed(several, index, patch, 20) / 20 for _ in range(200)]
            rows.append([f'each of 20 patches in a commit, sync="{sync}"', quantiles(twenty)])
            both = [timed(patch) + timed(ask) for _ in range(300)]
            rows.append([f'patch and a sorted query, sync="{sync}"', quantiles(both)])
    return rows


def several(index: bitdex.Index, patch: Callable[[], None], count: int) -> None:
    with index.batch():
        for _ in range(count):
            patch()


def following(stores: Stores) -> list[list[str]]:
    """Let a reader move on after each patch, and ask."""
    with stores.index(sync="none") as index, bitdex.open(index.path, "r") as reader:
        patch, ask = patcher(index), asking(reader)
        for where, sort in QUERIES:
            reader.query(where, sort, limit=20)
        refreshes, questions = [], []
        for _ in range(500):
            patch()
            refreshes.append(timed(reader.refresh))
            questions.append(timed(ask))
        title = "a reader's refresh behind a patch"
        return [[title, quantiles(refreshes)], ["its next sorted query", quantiles(questions)]]


def pending(stores: Stores) -> list[list[str]]:
    """Ask beside 100,000 pending operations of bitmaps, and after they were compacted."""
    with stores.index(sync="none") as index:
        patch = patcher(index)
        while index.health()["pending"]["bitmaps"] < 100_000:
            patch()
        texts = []
        for name in ("beside 100,000 pending operations", "after compaction"):
            for where, sort in QUERIES:
                index.query(where, sort, limit=20)
            ask = asking(index)
            texts.append([f"query {name}", quantiles([timed(ask) for _ in range(2000)])])
            index.compact()
    return texts


def mixed(stores: Stores, rate: int, seconds: float) -> list[list[str]]:
    """Ask from two threads while one changes documents at a rate, and maintenance goes on."""
    with stores.index(sync="batch", maintenance=1.0) as index:
        patch, over = patcher(index), threading.Event()
        for where, sort in QUERIES:
            index.query(where, sort, limit=20)
        asked: list[list[float]] = [[], []]
        written = 0

        def write() -> None:
            nonlocal written
            begin = time.perf_counter()
            while not over.is_set():
                with index.batch():
                    for _ in range(rate // 100):
                        patch()
                written += rate // 100
                time.sleep(max(0.0, begin + written / rate - time.perf_counter()))

        def read(found: list[float]) -> None:
            ask = asking(index)
            while not over.is_set():
                found.append(timed(ask))
                time.sleep(0.001)

        threads = [
            threading.Thread(target=write),
            *(threading.Thread(target=read, args=(one,)) for one in asked),
        ]
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        over.set()
        for thread in threads:
            thread.join()
        title = f"query beside {written / seconds:,.0f} changes a second"
        return [[title, quantiles(asked[0] + asked[1])]]


def memory(stores: Stores, count: int) -> list[list[str]]:
    """Change a million times, with maintenance on and queries between.

    What counts is memory that is no file's, all of it, whether it is used or malloc keeps it: pages of mapped
    files are the system's to take back at any time. It has changed for a while before, and was compacted:
    what is kept for queries and batches is there by then, and so are the tables that a small compaction
    leaves in memory; the first row says how much all that is. The last row is the most there was
    meanwhile, with operations that wait and compactions that go on.
    """
    with stores.index(sync="none", maintenance=2.0) as index:
        draw, ids, ask = random.Random(3), index.ids().tolist(), asking(index)

        def change() -> None:
            id = draw.choice(ids)
            match draw.randrange(4):
                case 0:
                    index.patch(id, {"reactionCount": draw.randrange(5000)})
                case 1:
                    index.append(id, "tagIds", draw.randrange(30_000))
                case 2:
                    index.remove(id, "tagIds", draw.randrange(100))
                case _:
                    index.upsert({"nsfwLevel": draw.choice([1, 2, 4, 8])}, id)

        def change_for(changes: int) -> int:
            """Change so many times; return the most memory there was."""
            most = 0
            for _ in range(changes // 1000):
                with index.batch():
                    for _ in range(1000):
                        change()
                ask()
                most = max(most, anonymous())
            return most

        opened = anonymous()
        change_for(count // 5)
        index.compact()
        before = anonymous()
        most = change_for(count)
        index.compact()
        after = anonymous()
    return [
        ["memory that the first changes and their compaction take", megabytes(before - opened)],
        [f"memory grown over {count:,} more changes, compacted", megabytes(after - before)],
        ["the most memory there was meanwhile, beyond what there is then", megabytes(most - after)],
    ]


def megabytes(size: int) -> str:
    return f"{size / MEBI:,.0f} MiB"


def anonymous() -> int:
    """Return the bytes of this process that are no file's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--data", type=Path, default=Path(tempfile.gettempdir()) / "bitdex-peers")
    parser.add_argument("--only", default="upserts,found,patches,kept,following,pending,mixed,memory")
    parser.add_argument("--rate", type=int, default=2000, help="changes a second beside queries")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--changes", type=int, default=1_000_000, help="over which memory is looked at")
    options = parser.parse_args()
    stores = Stores(options.data, options.rows)
    parts: dict[str, Callable[[], list[list[str]]]] = {
        "upserts": lambda: upserts(stores),
        "found": lambda: found(stores),
        "patches": lambda: patches(stores),
        "kept": lambda: kept(stores),
        "following": lambda: following(stores),
        "pending": lambda: pending(stores),
        "mixed": lambda: mixed(stores, options.rate, options.seconds),
        "memory": lambda: memory(stores, options.changes),
    }
    rows = [row for name in options.only.split(",") for row in parts[name]()]
    print(table(["changes", "median"], rows))


if __name__ == "__main__":
    main()
