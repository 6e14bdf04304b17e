"""Queries that cannot be answered: the message names the field, the value and the remedy."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import bitdex
from bitdex.errors import ClosedError, InvalidError, NotFoundError
from bitdex.index import Index
from bitdex.query.clauses import MAX_DEPTH, MAX_VALUES, Eq, In, Not
from tests.query.trees import SCHEMA

f = bitdex.field


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    path = tmp_path_factory.mktemp("queries")
    (path / "rows.csv").write_text("id,level,likes,type\n1,5,2,image\n2,6,2,video\n3,,3,image\n")
    with bitdex.create(path / "index", SCHEMA, sync="none") as index:
        fields = ["level", "likes", "type"]
        index.dump({"name": "rows", "slot_field": "id", "sets_alive": True, "fields": fields}, source=path)
        yield index


DEEP: Any = Eq("level", 5)
for _ in range(MAX_DEPTH + 1):
    DEEP = Not(DEEP)

REFUSED: list[tuple[Any, str]] = [
    ("levle == 1", "unknown field 'levle' in index 'everything'; use 'level'"),
    ("url == 'x'", "url is stored but not indexed"),
    ("level == 'five'", "level takes a whole number.* not 'five'"),
    ("level > 'yesterday'", "level takes a whole number or a date"),
    ("type == 5", "type takes a text in quotes, not 5"),
    ("type > 'a'", "type has no order.*use ==, != or in"),
    ("poi == 2", "poi takes true or false, not 2"),
    ("poi > false", "poi has no order"),
    ("level", "level takes|level"),
    ("score == 'high'", "score takes a number, not 'high'"),
    ("id == 1.5", "id is the number of a document.*1.5"),
    ("level ==", "level|expected"),
    ("level == 1 and", "expected"),
    ("(level == 1", r"\)"),
    ("level in 1", "list|\\["),
    ("level in [1, 2", "expected|\\]"),
    ("type == 'image", "expected a closing '"),
    ("level between 1", "and"),
    ("level is 5", "null"),
    ("level @ 5", "@"),
    ("1 == 1", "1"),
    ({"level": {"$gte": 1, "$near": 2}}, r"\$near"),
    ({"levle": 1}, "unknown field 'levle'"),
    ({"Eq": ["level"]}, "Eq"),
    ({"Eqq": ["level", 1]}, "Eqq"),
    ([{"Eq": ["level", 1]}, 7], "7"),
    ({"Eq": ["level", {"Integer": "1"}]}, "1"),
    (7, "A query is an expression of bitdex.field, text, a JSON filter or None, not 7"),
    (True, "put each comparison in parentheses"),
    (f.level == float("nan"), "level takes"),
    (f.score == float("nan"), "score takes a number, not nan"),
    (DEEP, f"nests more than {MAX_DEPTH} clauses deep; write it flatter"),
    (In("level", tuple(range(MAX_VALUES + 1))), "values in a list, at most"),
]


@pytest.mark.parametrize(("query", "message"), REFUSED, ids=[str(query)[:40] for query, _ in REFUSED])
def test_refused(index: Index, query: Any, message: str) -> None:
    for ask in (index.query, index.count, index.ids, index.explain):
        with pytest.raises(InvalidError, match=message):
            ask(query)
    assert index.count("level == 5") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sort": "levle"}, "unknown field 'levle'"),
        ({"sort": "type"}, "field 'type' is not a sort field; those are"),
        ({"sort": ""}, "sort: '' is no field name"),
        ({"sort": "-"}, "sort: '-' is no field name"),
        ({"sort": 5}, "sort: 5 is no field name"),
        ({"limit": 0}, "limit: 0 is no whole number of at least 1"),
        ({"limit": -1}, "limit: -1"),
        ({"limit": 1.5}, "limit: 1.5"),
        ({"limit": True}, "limit: True"),
        ({"limit": "5"}, "limit: '5'"),
        ({"limit": None}, "limit: None"),
        ({"offset": -1}, "offset: -1 is no whole number of at least 0"),
        ({"offset": "x"}, "offset: 'x'"),
        ({"after": "x"}, "A cursor is 'value:slot'"),
        ({"after": "1:4294967296"}, "A cursor's slot"),
        ({"after": 5}, "A cursor is"),
        ({"after": {"sort_value": 1}}, "sort_value and slot_id"),
        ({"after": "0.5:1", "sort": "likes"}, "likes holds integers, and the cursor's value is 0.5"),
    ],
)
def test_options(index: Index, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        index.query("level == 5", **options)


@pytest.mark.parametrize(
    "after", ["-1:5", "256:5", "99999999999999999:0", "0:0", "255:4294967295", "null:0", "null:2"]
)
@pytest.mark.parametrize("sort", ["likes", "-likes", None])
def test_cursors_of_rows_that_are_not_there(index: Index, after: str, sort: str | None) -> None:
    rows = {1: 2, 2: 2, 3: 3}
    value, slot = after.split(":")
    sign = -1 if sort is None or sort.startswith("-") else 1

    def place(number: int | None, row: int) -> tuple[bool, int, int]:
        shown = None if sort is None else number
        return shown is None, 0 if shown is None else sign * shown, sign * row

    start = place(None if value == "null" else int(value), int(slot))
    expected = sorted(
        (row for row in rows if place(rows[row], row) > start), key=lambda row: place(rows[row], row)
    )
    assert index.query(sort=sort, after=after).ids.tolist() == expected


@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        ([9], NotFoundError, "there are no documents 9"),
        ([1, 9, 1, 8], NotFoundError, "there are no documents 8, 9"),
        ([-1], InvalidError, "ids: -1 is no whole number from 0 to 4294967295"),
        ([1, 2**32], InvalidError, "ids: 4294967296 is no whole"),
        ([1.0], InvalidError, "ids: 1.0 is no whole number"),
        ([[1]], InvalidError, r"ids: expected one dimension, found shape \(1, 1\)"),
        (["1"], InvalidError, "ids: '1' is no whole number"),
        ([1, True], InvalidError, "ids: True is no whole number"),
        (1, InvalidError, "ids: expected several whole numbers, found 1; give them in a list, set"),
        (np.array([2**64 - 1], np.uint64), InvalidError, "ids: 18446744073709551615"),
        ([9] * 100, NotFoundError, "there are no documents 9"),
    ],
)
def test_ids(index: Index, ids: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        index.get_many(ids)


@pytest.mark.parametrize(
    ("id", "error", "message"),
    [
        (9, NotFoundError, "there is no document 9"),
        (-1, InvalidError, "id: -1 is no whole number from 0 to 4294967295"),
        (2**32, InvalidError, "id: 4294967296 is no whole"),
        ("1", InvalidError, "id: '1'"),
        (1.5, InvalidError, "id: 1.5"),
        (None, InvalidError, "id: None"),
    ],
)
def test_id(index: Index, id: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        index.get(id)
    assert id not in index


@pytest.mark.parametrize("field", ["levle", "", "Level"])
def test_fields_of_documents(index: Index, field: str) -> None:
    page = index.query()
    for read in (page.documents, page.to_arrow, page.to_pandas, lambda fields: index.get(1, fields)):
        with pytest.raises(InvalidError, match=f"unknown field {field!r} in index 'everything'"):
            read([field])


def test_not_wrapped_but_nothing(index: Index) -> None:
    """Values that no document can have match nothing; the other way round, everything."""
    for value in (2**32 + 5, 5 - 2**64, -(2**64), 2**64 + 5, 10**30, 5.5, float("inf")):
        assert index.count(f.level == value) == 0
        assert index.count(f.level != value) == 3
        assert index.count(f.level.isin([value])) == 0
    assert index.count(f.id == 2**32 + 1) == 0
    assert index.count(f.level > 10**30) == index.count(f.level < -(10**30)) == 0
    assert index.count(f.level >= -(10**30)) == index.count(f.level < float("inf")) == 2


def test_clauses_are_neither_true_nor_false(index: Index) -> None:
    with pytest.raises(InvalidError, match="instead of and, or, not"):
        index.count((f.level == 5) and (f.level == 6))
    with pytest.raises(InvalidError, match="combine clauses with & "):
        index.count(5 < f.level < 7)


def test_closed(tmp_path: Any) -> None:
    index = bitdex.create(tmp_path / "index", SCHEMA, sync="none")
    page = index.query()
    index.close()
    index.close()
    for ask in (
        index.query,
        index.count,
        index.ids,
        index.explain,
        index.to_pandas,
        index.stats,
        index.__len__,
    ):
        with pytest.raises(ClosedError, match="the index was closed"):
            ask()
    with pytest.raises(ClosedError):
        index.get(1)
    with pytest.raises(ClosedError):
        page.next() if page.cursor else index.query()
    with pytest.raises(ClosedError):
        index.dump({"name": "rows", "slot_field": "id", "sets_alive": True}, source=tmp_path)
    assert "closed" in repr(index)
