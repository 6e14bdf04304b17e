"""A small image site, loaded once for all tests that only look at it, and indexes of a test's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import bitdex
from bitdex.index import Index
from bitdex.sample import NOW, generate, sample_phases, sample_schema
from tests.index.conftest import indexes  # noqa: F401

ROWS = 3000


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of an index of images that nobody changes."""
    root = tmp_path_factory.mktemp("site")
    generate(root / "tables", ROWS, seed=5)
    with bitdex.create(root / "index", sample_schema(), sync="none") as index:
        index.dump(sample_phases(), root / "tables", now=NOW)
    return root / "index"


@pytest.fixture
def images(site: Path) -> Iterator[Index]:
    """Return that index, open for reading."""
    with bitdex.open(site, "r") as index:
        yield index


SHOP = {
    "name": "shop",
    "config": {
        "filter_fields": [
            {"name": "size", "field_type": "single_value"},
            {"name": "kind", "field_type": "single_value"},
            {"name": "tags", "field_type": "multi_value"},
            {"name": "sold", "field_type": "boolean"},
            {"name": "owner", "field_type": "single_value"},
        ],
        "sort_fields": [
            {"name": "price", "bits": 32},
            {"name": "score", "bits": 64, "source_type": "float64", "absent": "lowest"},
            {"name": "moved", "bits": 64, "source_type": "int64", "absent": "first"},
        ],
    },
    "data_schema": {
        "fields": [
            {"source": "size", "target": "size", "value_type": "integer", "default": 3},
            {"source": "kind", "target": "kind", "value_type": "low_cardinality_string"},
            {"source": "tags", "target": "tags", "value_type": "integer_array"},
            {"source": "sold", "target": "sold", "value_type": "boolean"},
            {"source": "owner", "target": "owner", "value_type": "integer", "nullable": True},
            {"source": "price", "target": "price", "value_type": "integer"},
            {"source": "score", "target": "score", "value_type": "float"},
            {"source": "moved", "target": "moved", "value_type": "integer"},
            {"source": "note", "target": "note", "value_type": "string", "doc_only": True},
        ]
    },
}
GOODS = [
    {
        "id": 1,
        "size": 40,
        "kind": "Shoe",
        "tags": [7, 7, 9],
        "sold": True,
        "owner": 5,
        "price": 10,
        "score": -1.5,
    },
    {
        "id": 2,
        "size": 41,
        "kind": "shoe",
        "tags": [],
        "sold": False,
        "owner": -(2**60),
        "price": 0,
        "moved": -9,
    },
    {"id": 3, "kind": "Hat", "tags": [9], "sold": False, "score": 2.25, "moved": 0, "note": "a hat"},
    {"id": 70000, "size": 40, "price": 4294967295, "score": 0.0, "moved": 2**62, "tags": [0]},
]


@pytest.fixture
def shop(indexes) -> Index:  # noqa: F811
    """Return an index with a field of nearly every kind and four documents, open for writing."""
    index = indexes.create(SHOP)
    index.put_many(GOODS)
    return index
