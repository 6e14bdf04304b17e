"""Documents as dicts, Arrow tables and DataFrames: one content in three forms."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from bitdex.errors import InvalidError
from bitdex.index import Index
from tests.index.conftest import Indexes

SCHEMA = {
    "name": "out",
    "config": {
        "filter_fields": [
            {"name": "n", "field_type": "single_value"},
            {"name": "kind", "field_type": "single_value"},
            {"name": "model", "field_type": "single_value"},
            {"name": "flag", "field_type": "boolean"},
            {"name": "tags", "field_type": "multi_value"},
            {"name": "marks", "field_type": "multi_value"},
            {"name": "secret", "field_type": "single_value"},
            {"name": "never", "field_type": "single_value"},
        ],
        "sort_fields": [{"name": "likes"}, {"name": "real", "source_type": "float64", "bits": 64}],
    },
    "data_schema": {
        "fields": [
            {"source": "kind", "target": "kind", "value_type": "low_cardinality_string", "default": "plain"},
            {
                "source": "model",
                "target": "model",
                "value_type": "mapped_string",
                "string_map": {"SD": 1, "Flux": 2},
            },
            {"source": "flag", "target": "flag", "value_type": "boolean", "default": False},
            {"source": "tags", "target": "tags", "value_type": "integer_array", "default": []},
            {"source": "marks", "target": "marks", "value_type": "integer_array"},
            {"source": "secret", "target": "secret", "value_type": "integer", "filter_only": True},
            {"source": "likes", "target": "likes", "value_type": "integer", "default": 0},
            {"source": "text", "target": "text", "value_type": "string", "doc_only": True},
        ]
    },
}
ROWS = {
    "id": [5, 2, 70000, 9],
    "n": [-1, None, 2**63 - 1, 3],
    "kind": ["a", None, "b", "A"],
    "model": ["sd", None, "other", "Flux"],
    "flag": [True, None, False, None],
    "secret": [1, 2, 3, None],
    "likes": [None, 7, 8, 0],
    "real": [0.5, None, -1e300, 0.0],
    "text": ["x", None, "Zoë 🎈", ""],
    "extra": [1, None, 3, None],
    "word": ["p", "q", None, None],
}
LISTS = {"id": [5, 5, 70000, 9, 5], "tags": [3, 1, 4, None, 3], "marks": [None, 8, None, None, 9]}
FIELDS = ["n", "kind", "model", "flag", "tags", "marks", "never", "likes", "real", "text", "extra", "word"]
DOCUMENTS: dict[int, dict[str, Any]] = {
    5: {
        "n": -1,
        "kind": "a",
        "model": "SD",
        "flag": True,
        "tags": [3, 1, 3],
        "marks": [8, 9],
        "likes": 0,
        "real": 0.5,
        "text": "x",
        "extra": 1,
        "word": "p",
    },
    2: {"kind": "plain", "flag": False, "tags": [], "likes": 7, "word": "q"},
    70000: {
        "n": 2**63 - 1,
        "kind": "b",
        "flag": False,
        "tags": [4],
        "likes": 8,
        "real": -1e300,
        "text": "Zoë 🎈",
        "extra": 3,
    },
    9: {"n": 3, "kind": "a", "model": "Flux", "flag": False, "tags": [], "likes": 0, "real": 0.0},
}


@pytest.fixture
def index(indexes: Indexes) -> Index:
    index = indexes.create(SCHEMA)
    fields = [name for name in ROWS if name != "id"]
    rows = {"name": "rows", "slot_field": "id", "sets_alive": True, "extra_fields": True, "fields": fields}
    lists = {"name": "lists", "slot_field": "id", "fields": ["tags", "marks"]}
    index.dump([rows, lists], {"rows": pa.table(ROWS), "lists": pa.table(LISTS)}, now=0)
    return index


def without_nulls(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if value is not None}


def as_dict(slot: int, fields: list[str] | None = None) -> dict[str, Any]:
    chosen = {n: v for n, v in DOCUMENTS[slot].items() if fields is None or n in fields}
    return {"id": slot, **chosen}


ORDERS: list[list[int]] = [[5], [2, 5, 9, 70000], [70000, 9, 5, 2], [9, 9, 5, 9], []]


@pytest.mark.parametrize("ids", ORDERS)
def test_three_forms(index: Index, ids: list[int]) -> None:
    expected = [as_dict(slot) for slot in ids]
    found = index.get_many(ids)
    assert len(found) == len(ids) and found.ids.tolist() == ids
    assert [without_nulls(one) for one in found.documents()] == expected
    assert [without_nulls(one) for one in found] == expected
    arrow = found.to_arrow()
    assert [without_nulls(one) for one in arrow.to_pylist()] == expected
    frame = found.to_pandas()
    assert isinstance(frame, pd.DataFrame) and list(frame.columns) == arrow.column_names
    assert pa.Table.from_pandas(frame, preserve_index=False).to_pylist() == arrow.to_pylist()
    assert [without_nulls(index.get(slot)) for slot in ids] == expected


@pytest.mark.parametrize(
    "fields",
    [
        ["likes"],
        ["text", "n"],
        ["tags", "kind"],
        ["id"],
        [],
        ["extra", "word"],
        ["never"],
        ["id", "likes", "likes"],
    ],
)
def test_chosen_fields(index: Index, fields: list[str]) -> None:
    found = index.get_many([9, 5])
    expected = [as_dict(slot, fields) for slot in (9, 5)]
    assert [without_nulls(one) for one in found.documents(fields)] == expected
    table = found.to_arrow(fields)
    assert table.column_names == ["id", *dict.fromkeys(name for name in fields if name != "id")]
    assert [without_nulls(one) for one in table.to_pylist()] == expected
    assert list(found.to_pandas(fields).columns) == table.column_names
    assert without_nulls(index.get(5, fields)) == expected[1]


def test_star_is_everything(index: Index) -> None:
    assert index.get_many([5]).documents(["*"]) == [index.get(5)]
    assert set(index.get_many([5]).to_arrow(["*"]).column_names) == {"id", *FIELDS}


def test_kinds_of_columns(index: Index) -> None:
    schema = index.get_many([5, 2]).to_arrow().schema
    assert schema.field("id").type == pa.uint32()
    assert schema.field("n").type == schema.field("likes").type == schema.field("extra").type == pa.int64()
    assert schema.field("flag").type == pa.bool_() and schema.field("real").type == pa.float64()
    for name in ("kind", "model"):
        assert pa.types.is_dictionary(schema.field(name).type)
    assert schema.field("tags").type.value_type == pa.int64()
    frame = index.get_many([5, 2]).to_pandas()
    assert all(isinstance(kind, pd.ArrowDtype) for kind in frame.dtypes)


def test_all_documents_by_id(index: Index) -> None:
    frame = index.to_pandas(["likes", "tags"])
    assert frame["id"].tolist() == [2, 5, 9, 70000]
    assert frame["likes"].tolist() == [7, 0, 0, 8]
    assert [list(one) for one in frame["tags"]] == [[], [3, 1, 3], [], [4]]


def test_page(index: Index) -> None:
    page = index.query("likes >= 7", sort="-likes")
    assert [one["id"] for one in page] == page.to_pandas(["text"])["id"].tolist() == [70000, 2]


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.uint32, np.uint64])
def test_ids_of_any_width(index: Index, kind: Any) -> None:
    assert index.get_many(np.array([9, 5, 2], kind)).ids.tolist() == [9, 5, 2]
    assert index.get_many(pd.Series([9, 5], dtype=kind)).ids.tolist() == [9, 5]
    assert index.get(kind(9))["id"] == 9 and kind(9) in index


@pytest.mark.parametrize("read", ["documents", "to_arrow", "to_pandas"])
def test_filter_only_fields_are_not_there(index: Index, read: str) -> None:
    with pytest.raises(InvalidError, match="'secret' is filter_only: it can be filtered by"):
        getattr(index.get_many([5]), read)(["secret"])
    with pytest.raises(InvalidError, match="'secret' is filter_only"):
        index.get(5, ["secret"])
    assert "secret" not in index.get(5)
    assert index.ids("secret == 1").tolist() == [5]


def test_extra_fields_are_in_documents_only(index: Index) -> None:
    assert index.get(5, ["extra"]) == {"id": 5, "extra": 1}
    with pytest.raises(InvalidError, match="unknown field 'extra'"):
        index.count("extra == 1")


def test_a_document_is_the_callers_own(index: Index) -> None:
    first = index.get(2)
    first["tags"].append(1)
    first["kind"] = "changed"
    assert index.get(2)["tags"] == index.get(9)["tags"] == []
    assert index.get(2)["kind"] == "plain"
    index.get_many([2]).documents()[0]["tags"].append(1)
    assert index.to_pandas(["tags"])["tags"].map(len).tolist() == [0, 3, 0, 1]


def test_many(indexes: Indexes) -> None:
    slots = np.arange(0, 60_000, 3)
    rows = pa.table({"id": slots, "likes": slots * 2, "text": [f"t{slot}" for slot in slots]})
    lists = pa.table({"id": np.repeat(slots, 2), "tags": np.repeat(slots, 2) + np.tile([0, 1], len(slots))})
    index = indexes.create(SCHEMA)
    phases = [
        {"name": "rows", "slot_field": "id", "sets_alive": True, "fields": ["likes", "text"]},
        {"name": "lists", "slot_field": "id", "fields": ["tags"]},
    ]
    index.dump(phases, {"rows": rows, "lists": lists})
    chosen = np.random.default_rng(3).permutation(slots)[:9000]
    table = index.get_many(chosen).to_arrow(["likes", "text", "tags", "flag"])
    assert table["likes"].to_numpy().tolist() == (chosen * 2).tolist()
    assert table["text"].to_pylist() == [f"t{slot}" for slot in chosen]
    assert table["tags"].to_pylist() == [[slot, slot + 1] for slot in chosen.tolist()]
    assert set(table["flag"].to_pylist()) == {False}
