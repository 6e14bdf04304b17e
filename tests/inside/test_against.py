"""`check_against` finds nothing where there is nothing, and every planted difference."""

from pathlib import Path
from random import Random

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import bitdex
from bitdex.errors import InvalidError
from bitdex.index import Index
from bitdex.inside.questions import questions
from bitdex.inside.table import table_of
from tests.index.test_query_model import pair  # noqa: F401
from tests.inside.conftest import GOODS
from tests.oracle import Oracle


@pytest.mark.parametrize("seed", range(3))
def test_an_index_agrees_with_what_was_loaded(images: Index, seed: int) -> None:
    found = images.check_against(images.to_pandas(), queries=100, seed=seed)
    assert found.empty, found.to_string()
    assert found.attrs["documents"] == len(images) and found.attrs["queries"] == 100
    assert {"nsfwLevel", "tagIds", "type", "sortAt", "poi"} <= set(found.attrs["fields"])


def frame_of(oracle: Oracle) -> pd.DataFrame:
    rows = [{"id": slot, **oracle.document(slot)} for slot in sorted(oracle.documents)]
    table = pd.DataFrame(rows)
    for name in ("level", "owner", "likes", "delta", "at"):
        table[name] = pd.array([row.get(name) for row in rows], "Int64")
    for name in ("poi", "minor"):
        table[name] = pd.array([row.get(name) for row in rows], "boolean")
    return table


@pytest.fixture(scope="module")
def everything(pair: tuple[Index, Oracle]) -> pd.DataFrame:  # noqa: F811
    return frame_of(pair[1])


def test_a_table_answers_as_the_definition_does(pair: tuple[Index, Oracle], everything: pd.DataFrame) -> None:  # noqa: F811
    """The other side of the comparison: it shares nothing with the index, and is right as well."""
    index, oracle = pair
    table = table_of(everything, index.schema, index.snapshot.deferred)
    assert set(table.columns) >= {"level", "owner", "type", "model", "poi", "tags", "likes", "score", "at"}
    for clause, sort in questions(table, Random(3), 60):
        slots, _, _ = oracle.query(clause, None if sort == "id" else sort)
        slots = sorted(slots) if sort == "id" else slots
        found = table.ids[table.matches(clause)]
        for limit in (len(found), 20, 1):
            assert table.ordered(found, sort, limit).tolist() == slots[:limit], (str(clause), sort)


def test_an_index_of_everything_agrees(pair: tuple[Index, Oracle], everything: pd.DataFrame) -> None:  # noqa: F811
    found = pair[0].check_against(everything, queries=300, seed=1)
    assert found.empty, found.to_string()


def damaged(frame: pd.DataFrame, column: str, row: int, value: object) -> pd.DataFrame:
    other = frame.astype({column: object})
    other.at[row, column] = value
    return other


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("size", 99),
        ("kind", "Boat"),
        ("sold", True),
        ("price", 5),
        ("owner", 1),
        ("score", 9.5),
        ("tags", [8]),
    ],
)
def test_one_wrong_value_is_found(shop: Index, column: str, value: object) -> None:
    frame = pd.DataFrame([{"id": one["id"]} for one in GOODS])
    for name in shop.schema.fields:
        frame[name] = pd.Series([one.get(name) for one in GOODS], dtype=object)
    assert shop.check_against(frame, queries=100).empty
    found = shop.check_against(damaged(frame, column, 2, value), queries=100)
    asked = found["query"] + found["sort"].fillna("")
    assert len(found) and asked.str.contains(column).all()
    for row in found.query("what == 'count'").itertuples():
        assert shop.count(row.query) == row.index or row.index != row.table
        assert set(row.only_index) | set(row.only_table) == {3}


@pytest.mark.parametrize("default", [[5, -9], [7], [], None])
def test_rows_without_a_list_have_the_default(tmp_path: Path, default: list[int] | None) -> None:
    schema = {
        "name": "lists",
        "config": {"filter_fields": [{"name": "marks", "field_type": "multi_value"}]},
        "data_schema": {
            "fields": [
                {"source": "marks", "target": "marks", "value_type": "integer_array", "default": default}
            ]
        },
    }
    lists = [[1, 5], None, [], [-9], [7, 8], None, [5, -9], []]
    with bitdex.create(tmp_path / "index", schema) as index:
        index.put_many(
            {"id": id, **({} if held is None else {"marks": held})} for id, held in enumerate(lists)
        )
        marks = pa.array(lists, pa.list_(pa.int64()))
        table = pa.table({"id": range(len(lists)), "marks": marks})
        for frame in (table, table.to_pandas(types_mapper=pd.ArrowDtype), index.to_pandas()):
            found = index.check_against(frame, queries=60, seed=1)
            assert found.empty, found.to_string()
        others = table.set_column(1, "marks", pa.array([*lists[:-1], [1, 2]], marks.type))
        assert not index.check_against(others, queries=60, seed=1).empty


def test_documents_that_one_side_lacks_are_found(shop: Index) -> None:
    frame = pd.DataFrame({"id": [1, 2, 3, 4], "price": [10, 0, None, 7]})
    found = shop.check_against(frame, queries=1).iloc[0]
    assert (found["what"], found["index"], found["table"]) == ("ids", 4, 4)
    assert (found["only_index"], found["only_table"]) == ([70000], [4])


def test_a_wrong_order_is_found(shop: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pd.DataFrame({"id": [1, 2, 3, 70000], "price": [10, 0, None, 4294967295]})
    assert shop.check_against(frame, queries=40).empty
    query = shop.query
    monkeypatch.setattr(
        shop, "query", lambda where, sort, limit: query(where, sort and f"-{sort.lstrip('-')}", limit)
    )
    assert set(shop.check_against(frame, queries=40)["what"]) == {"page"}


def test_tables_of_other_makes_will_do(shop: Index) -> None:
    moments = pd.to_datetime([10, 0, None, 4294967295], unit="s")
    frame = pd.DataFrame({"price": moments, "sold": [True, False, False, None]}, index=[1, 2, 3, 70000])
    frame.index.name = "id"
    assert shop.check_against(frame, queries=60).empty
    arrow = pa.table({"id": [70000, 1, 2, 3], "size": pa.array([40, 40, 41, None], pa.uint8())})
    assert shop.check_against(arrow, queries=60).empty
    assert shop.check_against(frame, queries=20, seed=3, progress=False).attrs["seed"] == 3


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({"price": [1]}), 'no column "id"'),
        (pd.DataFrame({"id": [1, 1], "price": [1, 2]}), "id 1 is there twice"),
        (pd.DataFrame({"id": [-1], "price": [1]}), "ids -1 to -1 go beyond 0"),
        (pd.DataFrame({"id": ["a"], "price": [1]}), "column 'id' is .* use whole numbers"),
        (pd.DataFrame({"id": [1], "prize": [1]}), "no column is an indexed field of 'shop'; use "),
        (
            pd.DataFrame({"id": [1], "price": ["dear"]}),
            "column 'price' is .*convert the column",
        ),
        (pd.DataFrame({"id": [1], "tags": [5]}), "column 'tags' is int64, and the field holds integer_array"),
        ([1, 2], "expected a DataFrame or an Arrow table, found list"),
    ],
)
def test_tables_that_will_not_do(shop: Index, frame: object, message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        shop.check_against(frame)


@pytest.mark.parametrize("queries", [0, -1, True, 1.5, "5"])
def test_there_is_at_least_one_query(shop: Index, queries: object) -> None:
    with pytest.raises(InvalidError, match="queries"):
        shop.check_against(pd.DataFrame({"id": np.array([1]), "price": [1]}), queries=queries)
