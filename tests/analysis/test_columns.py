"""Documents of a selection as columns: pandas, Arrow, streams that others take, Parquet."""

import random

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import bitdex
from bitdex import documents
from bitdex.errors import InvalidError
from tests.analysis.shop import make


@pytest.fixture
def index(tmp_path):
    draw = random.Random(3)
    with make(tmp_path / "index", draw, draw.sample(range(100_000), 300)) as index:
        yield index


def rows(table):
    return table.to_pylist()


def test_columns_are_the_documents(index):
    selection = index["size == 3"]
    table = selection.to_arrow()
    assert table.column_names[0] == "id" and table.column("id").type == pa.uint32()
    assert table.column("id").to_pylist() == selection.ids.tolist()
    for row in rows(table):
        assert {k: v for k, v in row.items() if v is not None} == index.get(row["id"])
    assert pa.types.is_dictionary(table.schema.field("kind").type)
    assert pa.types.is_large_list(table.schema.field("tags").type)
    frame = selection.to_pandas(["kind", "tags"])
    assert frame.columns.tolist() == ["id", "kind", "tags"] and len(frame) == len(selection)


def test_order_and_limit(index):
    selection = index["size == 3"]
    for sort in ("price", "-price", "-id"):
        expected = index.query("size == 3", sort=sort, limit=1000).ids.tolist()
        assert selection.to_arrow(["price"], sort).column("id").to_pylist() == expected
        assert selection.to_pandas(["price"], sort, 7)["id"].tolist() == expected[:7]
        assert selection.head(4, sort)["id"].tolist() == expected[:4]
        assert selection.batches(3, ["price"], sort, 8).read_all().column("id").to_pylist() == expected[:8]
    assert selection.head()["id"].tolist() == selection.ids[:5].tolist()
    assert len(selection.to_pandas(limit=0)) == len(index["id < 0"].to_pandas(sort="price")) == 0


def test_batches_are_of_one_schema_and_read_when_taken(index, monkeypatch):
    from bitdex.analysis import export

    read = []
    real = export.to_arrow
    monkeypatch.setattr(export, "to_arrow", lambda d, s, *n: (read.append(len(s)), real(d, s, *n))[1])
    selection = index.where()
    stream = selection.batches(100)
    assert read == [0]
    batches = list(stream)
    assert [len(one) for one in batches] == [100] * (len(selection) // 100) + [len(selection) % 100]
    assert read == [0, *map(len, batches)] and {one.schema for one in batches} == {stream.schema}
    assert rows(pa.Table.from_batches(batches)) == rows(selection.to_arrow())
    with pytest.raises(InvalidError, match="size: 0"):
        selection.batches(0)


def test_pandas_and_duckdb_take_a_selection(index):
    selection = index["size == 3"]
    frame = pd.DataFrame.from_arrow(selection)
    assert frame["id"].tolist() == selection.ids.tolist()
    assert rows(pa.table(selection)) == rows(selection.to_arrow())
    counts = duckdb.sql("select kind::varchar, count(*) from selection group by 1").fetchall()
    assert dict(counts) == selection.facets("kind").to_dict()
    tags = duckdb.sql(
        "select t, count(distinct id) from (select id, unnest(tags) t from selection) group by 1"
    )
    assert dict(tags.fetchall()) == selection.facets("tags").to_dict()
    empty = index["id < 0"]  # noqa: F841 - the query names it
    assert duckdb.sql("select count(*) from empty").fetchall() == [(0,)]


@pytest.mark.parametrize("query", ["size == 3", "id < 0", None])
def test_every_reader_of_streams_sees_the_same(index, query):
    """The PyCapsule stream as pandas, Polars, DuckDB and pyarrow read it: values, nulls, lists and all."""
    selection = index[query]
    expected = rows(selection.to_arrow())
    assert rows(pa.table(selection)) == expected
    assert rows(pa.RecordBatchReader.from_stream(selection).read_all()) == expected
    assert pl.DataFrame(selection).to_dicts() == expected
    assert pl.from_dataframe(selection.to_arrow()).to_dicts() == expected
    frame = pd.DataFrame.from_arrow(selection)
    assert frame.columns.tolist() == selection.to_arrow().column_names
    assert frame["id"].tolist() == [one["id"] for one in expected]
    for name in ("kind", "price", "delta", "score", "open", "owner"):
        held = [None if pd.isna(one) else one for one in frame[name]]
        floats = frame[name].dtype == np.float64  # which pandas makes of integers with nulls
        wanted = [float(one[name]) if floats and one[name] is not None else one[name] for one in expected]
        assert held == wanted, name
    for one, row in zip(frame["tags"], expected):
        assert (None if one is None or one is pd.NA else list(one)) == row["tags"]
    asked = duckdb.sql("select * from selection order by id").to_arrow_table().to_pylist()
    assert asked == expected


def test_a_stream_is_read_in_batches_of_one_schema(index):
    """What a consumer may do: ask for the schema only, read twice, stop half-way."""
    selection = index.where()
    first, second = (pa.RecordBatchReader.from_stream(selection) for _ in range(2))
    assert first.schema == second.schema == selection.to_arrow().schema
    next(iter(first))
    first.close()
    assert second.read_all().num_rows == len(selection)
    wide = pa.schema([(one.name, one.type) for one in selection.to_arrow().schema])
    assert pa.RecordBatchReader.from_stream(selection, schema=wide).read_all().schema == wide


def test_pandas_takes_ids_and_masks(index):
    selection = index["price > 50"]
    ids = index.ids()
    frame = pd.DataFrame({"n": np.arange(len(ids))}, index=pd.Index(ids, name="id"))
    expected = frame.loc[selection.ids]
    assert frame.loc[np.asarray(selection)].equals(expected)
    assert frame[selection.isin(frame.index)].equals(expected)
    assert frame[selection.mask()[frame.index]].equals(expected)
    assert frame[frame.index.isin(selection)].equals(expected)
    assert frame.loc[pd.Index(selection)].equals(expected) and pd.Index(selection).dtype == np.uint32
    dense = pd.DataFrame({"n": np.arange(int(ids.max()) + 1)})
    assert (
        dense[selection.mask()].index.tolist()
        == selection.ids.tolist()
        == dense.loc[selection.ids].index.tolist()
    )
    assert pd.Series(selection).tolist() == selection.ids.tolist()
    assert frame.assign(chosen=selection.isin(frame.index))["chosen"].sum() == len(selection)


def test_parquet(index, tmp_path):
    path = tmp_path / "out.parquet"
    assert index.to_parquet(path) == len(index)
    assert rows(pq.read_table(path)) == rows(index.where().to_arrow())
    assert index.to_parquet(path, "size == 3", ["price"], sort="-price", compression="zstd") == index.count(
        "size == 3"
    )
    read = pq.read_table(path)
    assert read.column_names == ["id", "price"]
    assert read.column("id").to_pylist() == index.query("size == 3", sort="-price", limit=1000).ids.tolist()
    assert index.to_parquet(path, index["id < 0"]) == 0 and pq.read_table(path).num_rows == 0


def test_a_parquet_file_is_whole_or_not_there(index, tmp_path):
    path = tmp_path / "out.parquet"
    index.to_parquet(path, fields=["price"])
    before = path.read_bytes()
    with pytest.raises(InvalidError, match="kinds"):
        index.to_parquet(path, fields=["kinds"])
    with pytest.raises(TypeError):
        index.to_parquet(path, no_such_option=1)
    assert path.read_bytes() == before and [one.name for one in tmp_path.glob("*out*")] == ["out.parquet"]
    with pytest.raises(InvalidError, match="no directory"):
        index.to_parquet(tmp_path / "nowhere" / "out.parquet")


def test_memory_is_that_of_a_batch(index):
    stream = index.where().batches(10)
    base = pa.total_allocated_bytes()
    most = 0
    for batch in stream:
        most = max(most, pa.total_allocated_bytes() - base)
        assert batch.num_rows <= 10
    assert most < 1 << 20
    assert np.isclose(pa.total_allocated_bytes(), base, atol=1 << 16)


MAPS = [{"b": 3, "a": -1}, {"a": 10**13, "b": 0}, {"a": -5, "b": -7}, {"a": 2**63 - 1, "b": -(2**63)}]


@pytest.mark.parametrize("string_map", MAPS)
def test_mapped_strings_are_those_of_the_documents_whatever_their_numbers(tmp_path, string_map):
    field = {"source": "m", "target": "m", "value_type": "mapped_string", "string_map": string_map}
    schema = {
        "name": "mapped",
        "config": {"filter_fields": [{"name": "m", "field_type": "single_value"}]},
        "data_schema": {"fields": [field]},
    }
    with bitdex.create(tmp_path / "index", schema) as index:
        index.put_many([{"id": 1, "m": "a"}, {"id": 2, "m": "b"}, {"id": 3}, {"id": 4, "m": "a"}])
        expected = [index.get(id).get("m") for id in range(1, 5)]
        assert expected == ["a", "b", None, "a"]
        table = index.where().to_arrow()
        assert table.column("m").to_pylist() == expected
        assert index.where().batches(2).read_all().column("m").to_pylist() == expected
        assert pa.types.is_dictionary(table.schema.field("m").type)
        assert [None if one is pd.NA else one for one in index.where().to_pandas()["m"]] == expected


def test_labels_may_come_while_documents_are_shown(tmp_path, monkeypatch):
    schema = {
        "name": "labels",
        "config": {"filter_fields": [{"name": "l", "field_type": "single_value"}]},
        "data_schema": {"fields": [{"source": "l", "target": "l", "value_type": "low_cardinality_string"}]},
    }
    with bitdex.create(tmp_path / "index", schema) as index:
        index.put_many([{"id": 1, "l": "a"}, {"id": 2, "l": "b"}])
        number = iter(range(10**9))

        class Growing(dict):
            """Labels of which there are more whenever somebody asks how many."""

            def grow(self):
                self[10 + next(number)] = f"new {len(self)}"

            def __len__(self):
                self.grow()
                return super().__len__()

            def __iter__(self):
                self.grow()
                return iter(list(super().__iter__()))

            def values(self):
                self.grow()
                return list(super().values())

        texts = Growing(index._store.dictionaries.labels(index._store.registry.number("l")))
        monkeypatch.setattr(documents.DocSilo, "texts", lambda self, name: texts if name == "l" else None)
        assert index.where().to_arrow().column("l").to_pylist() == ["a", "b"]


EXTRA = {
    "n": ([10, None, -3, 2**62], [4, None], "int64"),
    "t": (["a", "b", None, "d"], ["e", None], "large_string"),
    "mixed": ([1, None, 2**60, -1], ["x", None], "large_string"),
    "flag": ([True, None, False, True], [7, None], "int64"),
    "real": ([0.5, None, -1.0, 2.0], [3, None], "double"),
    "fine": ([0.5, None, -1.0, 2.0], [2**53 + 1, None], "large_string"),
    "none": ([None, None, None, None], [None, None], "large_string"),
}
TEXTS = {"mixed": ["1", None, str(2**60), "-1", "x", None]}
TEXTS["fine"] = ["0.5", None, "-1.0", "2.0", str(2**53 + 1), None]


@pytest.fixture
def extra(tmp_path):
    """An index whose documents hold fields that its schema does not know, other kinds in another phase."""
    with bitdex.create(tmp_path / "index", {"name": "extra"}) as index:
        for name, ids, place in (("first", [1, 2, 3, 4], 0), ("second", [5, 6], 1)):
            kinds = {"none": pa.int64()}
            table = {field: pa.array(held[place], kinds.get(field)) for field, held in EXTRA.items()}
            phase = {"name": name, "slot_field": "id", "sets_alive": True, "extra_fields": True}
            index.dump(phase | {"fields": list(table)}, {name: pa.table({"id": ids, **table})})
        yield index


@pytest.mark.parametrize("name", EXTRA)
def test_fields_that_the_schema_does_not_know_are_of_one_kind_in_all_forms(extra, name, tmp_path):
    first, second, kind = EXTRA[name]
    assert [extra.get(id).get(name) for id in range(1, 7)] == [*first, *second]
    expected = TEXTS.get(name, [*first, *second])
    selection = extra.where()
    table = selection.to_arrow([name])
    assert str(table.schema.field(name).type) == kind and table.column(name).to_pylist() == expected
    for size in (1, 3, 100):
        read = selection.batches(size, fields=[name]).read_all()
        assert read.schema == table.schema and read.column(name).to_pylist() == expected
    extra.to_parquet(tmp_path / "out.parquet", fields=[name])
    assert pq.read_table(tmp_path / "out.parquet").column(name).to_pylist() == expected
    assert [None if one is pd.NA else one for one in extra.to_pandas([name])[name]] == expected
    some = selection.batches(2, fields=[name, "n"], limit=4).read_all()
    assert some.column("n").to_pylist() == EXTRA["n"][0]


def test_everything_that_documents_hold_is_shown_beside_each_other(extra):
    frame = extra.to_pandas()
    assert set(frame.columns) == {"id", *EXTRA} - {"none"} and len(frame) == 6
    assert frame["mixed"].dropna().tolist() == ["1", str(2**60), "-1", "x"]
    assert extra.get_many([5, 1]).to_arrow(["mixed", "real"]).to_pylist() == [
        {"id": 5, "mixed": "x", "real": 3.0},
        {"id": 1, "mixed": "1", "real": 0.5},
    ]
