"""The generated sample, loaded here and, by SQL from the same files, into DuckDB: the same answers.

BITDEX_ROWS and BITDEX_QUERIES make it longer: 200,000 rows and 1,500 queries if they are not set.
"""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import bitdex
from bitdex.index import Index
from bitdex.sample import NOW, generate, sample_phases, sample_schema
from tests.index.duck import LISTS, SORTS, TEXTS, Duck, random_clause

ROWS = int(os.environ.get("BITDEX_ROWS", 200_000))
QUERIES = int(os.environ.get("BITDEX_QUERIES", 1500))
PARTS = 5
ORDERS = [None, *SORTS, *(f"-{name}" for name in SORTS)]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("sample")
    generate(directory, ROWS)
    return directory


@pytest.fixture(scope="module")
def index(files: Path) -> Iterator[Index]:
    with bitdex.create(files / "index", sample_schema(), sync="none") as index:
        index.dump(sample_phases(), source=files, now=NOW)
        yield index


@pytest.fixture(scope="module")
def duck(files: Path) -> Iterator[Duck]:
    duck = Duck(files, NOW)
    yield duck
    duck.close()


@pytest.mark.parametrize("part", range(PARTS))
def test_queries(index: Index, duck: Duck, part: int) -> None:
    rng, samples = random.Random(part), duck.samples()
    found = 0
    for _ in range(QUERIES // PARTS):
        clause, sort = random_clause(rng, samples), rng.choice(ORDERS)
        expected = duck.ids(clause, sort)
        limit, offset = rng.choice([1, 3, 20, 100, 1000]), rng.randrange(len(expected) + 2)
        page, chain = index.query(clause, sort=sort, limit=limit), []
        for _ in range(3):
            assert page.total == len(expected), str(clause)
            chain.append(page.ids)
            page = page.next()
        assert np.array_equal(np.concatenate(chain), expected[: 3 * limit]), f"{clause} by {sort}"
        skipped = index.query(clause, sort=sort, limit=limit, offset=offset)
        assert np.array_equal(skipped.ids, expected[offset : offset + limit]), f"{clause} by {sort}"
        assert np.array_equal(index.ids(clause), np.sort(expected)), str(clause)
        assert index.count(clause) == len(expected), str(clause)
        found += len(expected) > 0
    assert found > QUERIES // PARTS // 3  # the queries are about something


def test_whole_order(index: Index, duck: Duck) -> None:
    for sort in ORDERS:
        expected = duck.ids(bitdex.field.onSite == True, sort)  # noqa: E712
        assert np.array_equal(index.query("onSite", sort=sort, limit=ROWS).ids, expected), sort


def test_documents(index: Index, duck: Duck) -> None:
    stored = [
        "url",
        "width",
        "nsfwLevel",
        "poi",
        "isPublished",
        "sortAt",
        "publishedAt",
        "reactionCount",
        *TEXTS,
    ]
    rows = duck.connection.execute(
        f"SELECT id, {', '.join(stored)} FROM documents USING SAMPLE reservoir(3000 ROWS) REPEATABLE (3)"
    ).fetchall()
    table = index.get_many([row[0] for row in rows]).to_arrow(stored)
    assert table.column_names == ["id", *stored]
    columns = [column.to_pylist() for column in table.columns]
    assert list(zip(*columns)) == rows


def test_lists_of_documents(index: Index, duck: Duck) -> None:
    kept = [name for name in LISTS if index.schema.field(name).stored]
    rows = duck.connection.execute(
        f"SELECT id, {', '.join(f'list_sort(coalesce({name}, []))' for name in kept)} FROM documents "
        "USING SAMPLE reservoir(3000 ROWS) REPEATABLE (4)"
    ).fetchall()
    table = index.get_many([row[0] for row in rows]).to_arrow(kept)
    for place, name in enumerate(kept, 1):
        assert [sorted(found) for found in table[name].to_pylist()] == [row[place] for row in rows]
