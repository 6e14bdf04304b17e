"""The oracle itself, against facts worked out by hand: ten pictures, four posts, deferral, ties and nulls."""

from typing import Any

import pytest

from bitdex.query.clauses import EVERYTHING, Eq, Gte, IsNull, NotEq
from bitdex.query.cursor import Cursor
from bitdex.schema import Schema
from tests.oracle import Oracle
from tests.oracle_dump import evaluate

NOW = 1_800_000_000

SCHEMA = {
    "name": "pictures",
    "config": {
        "filter_fields": [
            {"name": "type", "field_type": "single_value"},
            {"name": "postId", "field_type": "single_value"},
            {"name": "onSite", "field_type": "boolean"},
            {"name": "tagIds", "field_type": "multi_value"},
        ],
        "sort_fields": [
            {"name": "existedAt"},
            {"name": "publishedAt"},
            {"name": "likes"},
            {"name": "sortAt", "computed": {"op": "greatest", "source_fields": ["existedAt", "publishedAt"]}},
            {"name": "firstAt", "computed": {"op": "least", "source_fields": ["existedAt", "publishedAt"]}},
        ],
        "deferred_alive": {"source_field": "publishedAt"},
    },
    "data_schema": {
        "id_field": "id",
        "fields": [
            {"source": "type", "target": "type", "value_type": "low_cardinality_string"},
            {"source": "onSite", "target": "onSite", "value_type": "boolean"},
            {"source": "tagIds", "target": "tagIds", "value_type": "integer_array"},
            {"source": "likes", "target": "likes", "value_type": "integer", "default": 0},
        ],
    },
}

PHASES: list[dict[str, Any]] = [
    {
        "name": "images",
        "columns": ["id", "type", "flags", "scanned", "created", "postId"],
        "slot_field": "id",
        "sets_alive": True,
        "fields": ["type", "postId"],
        "computed_fields": [
            {"target": "onSite", "expression": "(flags >> 14) & 1 == 1"},
            {"target": "existedAt", "expression": "max(scanned, created)"},
        ],
        "enrichment": [
            {
                "lookup": "posts.csv",
                "key": "id",
                "join_on": "postId",
                "filter": "hidden != true",
                "fields": [{"column": "at", "target": "publishedAt"}],
            }
        ],
    },
    {
        "name": "tags",
        "slot_field": "imageId",
        "fields": [{"column": "tagId", "target": "tagIds"}],
        "filter": "(attributes >> 10) & 1 = 0",
    },
    {"name": "metrics", "format": "tsv", "slot_field": "imageId", "fields": ["likes"]},
]

FILES = {
    "images.csv": "1,image,0,100,150,7\n2,Image,16384,,250,8\n3,video,0,300,,9\n4,,0,400,,\n"
    "x,image,0,1,1,7\n5,image,0,5,5,10",
    "posts.csv": "id,at,hidden\n7,600,f\n7,500,f\n8,200,t\n9,4000000000,f\n10,,f\n",
    "tags.csv": 'tagId,imageId,attributes\n42,1,0\n42,1,0\n7,1,0\n"9",2,1024\n42,3,0\n42,99,0\n',
    "metrics.tsv": "imageId\tlikes\n1\t5\n2\t5\n99\t8\n",
}


@pytest.fixture
def oracle() -> Oracle:
    oracle = Oracle(Schema.load(SCHEMA))
    oracle.dump(PHASES, FILES, NOW)
    return oracle


def test_alive_are_rows_of_the_alive_phase_that_are_due(oracle: Oracle) -> None:
    assert sorted(oracle.documents) == [1, 2, 4, 5]
    assert sorted(oracle.hidden) == [3, 99]  # published in 2096; named by tags and metrics only


def test_documents_hold_what_all_phases_gave(oracle: Oracle) -> None:
    assert oracle.document(1) == {
        "type": "image",
        "postId": 7,
        "onSite": False,
        "existedAt": 150,
        "publishedAt": 500,  # the last of two posts 7
        "sortAt": 500,
        "firstAt": 150,
        "tagIds": [42, 42, 7],
        "likes": 5,
    }
    assert oracle.document(2) == {
        "type": "image",  # in the spelling seen first
        "postId": 8,
        "onSite": True,
        "existedAt": 250,
        "sortAt": 250,  # its post is hidden
        "firstAt": 250,
        "likes": 5,
    }
    assert oracle.hidden[99] == {"tagIds": [42], "likes": 8}


def test_order_is_value_then_slot_with_absent_values_last(oracle: Oracle) -> None:
    assert oracle.query(EVERYTHING, "-likes")[0] == [2, 1, 5, 4]
    assert oracle.query(EVERYTHING, "likes")[0] == [4, 5, 1, 2]
    assert oracle.query(EVERYTHING, "publishedAt")[0] == [1, 2, 4, 5]
    assert oracle.query(EVERYTHING, "-publishedAt")[0] == [1, 5, 4, 2]
    assert oracle.query(EVERYTHING)[0] == [5, 4, 2, 1]


def test_pages_chain(oracle: Oracle) -> None:
    assert oracle.query(EVERYTHING, "-publishedAt", limit=2) == ([1, 5], 4, Cursor(None, 5))
    assert oracle.query(EVERYTHING, "-publishedAt", 2, Cursor(None, 5)) == ([4, 2], 4, Cursor(None, 2))
    assert oracle.query(EVERYTHING, "-publishedAt", 2, Cursor(None, 2)) == ([], 4, None)
    assert oracle.query(EVERYTHING, "-likes", 1, offset=1) == ([1], 4, Cursor(5, 1))


def test_clauses(oracle: Oracle) -> None:
    def found(clause: Any) -> list[int]:
        return sorted(oracle.query(clause)[0])

    assert found(Eq("type", "IMAGE")) == [1, 2, 5]
    assert found(NotEq("type", "image")) == [4]  # not nullable, so no value is unequal
    assert found(IsNull("tagIds")) == [2, 4, 5]
    assert found(Eq("likes", 0)) == [4, 5]  # the default
    assert found(Gte("sortAt", "1970-01-01T00:06:40Z")) == [1, 4]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("a", 5),
        ("t = true", True),
        ("t = 1", True),
        ("e", None),
        ("e >> 3", None),
        ("e == null", True),
        ("a != null && e = null", True),
        ("(a >> 1) & 1 == 0 || word == 'y'", True),
        ("word == 'x'", True),
        ("max(a, e, minus)", 5),
        ("minus >> 1", -2),
        ("word == 0", False),
    ],
)
def test_expressions(expression: str, value: Any) -> None:
    row = {"a": "5", "t": "t", "e": "", "word": "x", "minus": "-3"}
    assert evaluate(expression, row) == value
