"""Columns of every type: what becomes of their values, which rows do not fit, which types are refused."""

from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from bitdex.dump.blocks import Rejects
from bitdex.dump.lookup import LookupTable
from bitdex.dump.phases import load_phases
from bitdex.dump.sources import Sources
from bitdex.errors import InvalidError
from bitdex.index import Index
from bitdex.schema_yaml import read_schema
from tests.index.conftest import Indexes
from tests.index.test_sources import SCHEMA


def dumped(indexes: Indexes, columns: Any, name: str = "index", **phase: Any) -> Index:
    """Load one table in memory."""
    index = indexes.create(SCHEMA, name)
    index.dump({"name": "rows", "slot_field": "id", "sets_alive": True, **phase}, {"rows": columns}, now=0)
    return index


def test_floats_in_expressions_lose_no_rows(indexes: Indexes) -> None:
    prices = {"id": [1, 2, 3, 4], "price": [9.5, 10.5, 11.0, None], "n": [9, 11, 10, 12]}
    sources = {"arrow": pa.table(prices), "pandas": pd.DataFrame(prices)}
    for form, source in sources.items():
        assert dumped(indexes, source, form, filter="price > 10").ids().tolist() == [2, 3]
        assert dumped(indexes, source, form + " null", filter="price == null").ids().tolist() == [4]
        most = [{"target": "real", "expression": "max(price, n)"}]
        index = dumped(indexes, source, form + " max", computed_fields=most)
        assert [index.get(i)["real"] for i in (1, 2, 3, 4)] == [9.5, 11.0, 11.0, 12.0]
        index = dumped(
            indexes, source, form + " sum", computed_fields=[{"target": "n", "expression": "price + 1"}]
        )
        assert index.ids("n == 12").tolist() == [3]
        (run,) = index.phases
        assert (run.applied, list(run.rejects)) == (2, ["n: not an integer"])  # 10.5 and 11.5


def test_floats_that_are_whole_are_masked(indexes: Indexes) -> None:
    flags = {"id": [1, 2, 3], "n": [5.0, 4.0, None]}
    assert dumped(indexes, pd.DataFrame(flags), filter="n & 1 == 1").ids().tolist() == [1]


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.float16()])
def test_booleans_of_floats(indexes: Indexes, kind: pa.DataType) -> None:
    """NaN and 0.5 were true."""
    flags = pa.array(np.array([0, 1, np.nan, 0.5, -1], kind.to_pandas_dtype()))
    index = dumped(indexes, pa.table({"id": range(5), "flag": flags}), fields=["flag"])
    assert index.ids("flag").tolist() == [1] and index.ids("flag == false").tolist() == [0]
    assert index.ids("flag is null").tolist() == [2]
    assert index.phases[0].rejects["flag: not a boolean (t, f, true, false, 0, 1)"]["rows"] == 2
    flagged = [{"target": "flag", "expression": "n + 0"}]
    numbers = pa.table({"id": range(5), "n": flags.cast(pa.float64())})
    assert dumped(indexes, numbers, "sum", computed_fields=flagged).ids("flag").tolist() == [1]


def test_zoned_moments_in_the_hour_that_comes_twice(indexes: Indexes) -> None:
    seconds = [1698539400 + 3600 * i for i in range(4)]  # around 2023-10-29 01:00 UTC
    moments = pa.array(seconds, pa.timestamp("s"))
    for unit in ("s", "ms", "us", "ns"):
        zoned = moments.cast(pa.timestamp(unit)).cast(pa.timestamp(unit, "Europe/Berlin"))
        index = dumped(indexes, pa.table({"id": range(4), "at": zoned}), unit, fields=["at"])
        assert [index.get(i)["at"] for i in range(4)] == seconds
        put = indexes.create(SCHEMA, f"put {unit}")
        put.put_many(pa.table({"id": range(4), "at": zoned}))
        assert [put.get(i)["at"] for i in range(4)] == seconds


def test_moments_are_rounded_down_to_the_first_of_all(indexes: Indexes) -> None:
    ticks = [-1, -1000, -1001, 999, -(2**63), 2**63 - 1]
    column = pa.array(ticks, pa.int64()).cast(pa.timestamp("ms"))
    index = dumped(indexes, pa.table({"id": range(6), "n": column}), fields=["n"])
    assert [index.get(i)["n"] for i in range(6)] == [tick // 1000 for tick in ticks]
    days = pa.array([-1, 0, 20000], pa.date32())
    index = dumped(indexes, pa.table({"id": range(3), "n": days}), "days", fields=["n"])
    assert [index.get(i)["n"] for i in range(3)] == [-86400, 0, 1728000000]


def test_decimals_that_are_whole_are_integers(indexes: Indexes) -> None:
    """A whole one was rejected where another one was not."""
    numbers = pa.array([Decimal("1.00"), Decimal("2.50"), None, Decimal("-3.00"), Decimal("10.00")])
    table = pa.table({"id": range(5), "n": numbers})
    index = dumped(indexes, table, fields=["n"])
    assert index.phases[0].rejects["n: not an integer"]["rows"] == 1
    assert [index.get(i).get("n") for i in (0, 2, 3, 4)] == [1, None, -3, 10]
    assert dumped(indexes, table, "filter", filter="n > 2").ids().tolist() == [1, 4]
    flags = table.slice(0, 2).rename_columns(["id", "flag"])
    assert dumped(indexes, flags, "flags", fields=["flag"]).ids("flag").tolist() == [0]


@pytest.mark.parametrize("kind", [pa.list_(pa.int64()), pa.large_list(pa.int64()), pa.list_(pa.int16(), 2)])
def test_lists_of_every_layout(indexes: Indexes, kind: pa.DataType) -> None:
    lists = pa.array([[1, 2], None, [2, 3], [4, None]], kind)
    index = dumped(indexes, pa.table({"id": range(4), "tags": lists}), fields=["tags"])
    assert index.ids("tags has 2").tolist() == [0, 2] and index.ids().tolist() == [0, 1, 2]


def test_a_null_in_a_list_is_no_value(indexes: Indexes) -> None:
    """In a field that documents do not store it became the least of all integers."""
    lists = pa.table({"id": [1, 2, 3, 4], "only": [[1, None], [3], None, []]})
    config = {"filter_fields": [{"name": "only", "field_type": "multi_value"}]}
    fields = [{"source": "only", "target": "only", "value_type": "integer_array", "filter_only": True}]
    index = indexes.create({"name": "only", "config": config, "data_schema": {"fields": fields}})
    index.dump({"name": "rows", "slot_field": "id", "sets_alive": True, "fields": ["only"]}, {"rows": lists})
    assert index.count(f"only has {-(2**63)}") == 0 and index.ids().tolist() == [2, 3, 4]
    (reject,) = index.phases[0].rejects.items()
    assert reject == (
        "only: not an integer, or a list with a null",
        {"rows": 1, "examples": ["id 1: only = [1, None]"]},
    )


COLUMNS: list[tuple[str, Any, str]] = [
    ("n", pa.array([[1]]), r"field 'n': a column of list<.*> holds lists, where each row has one value"),
    ("kind", pa.array([[1]]), "field 'kind': a column of list.* holds lists"),
    ("text", pa.array([[1]]), "field 'text': a column of list.* holds lists"),
    ("n", pa.array([{"a": 1}]), r"phase 'rows': column 'n': a column of struct<.*> is no integer; cast it"),
    ("text", pa.array([{"a": 1}]), "column 'text': a column of struct.* is no string"),
    ("n", pa.array([1], pa.time32("s")), "column 'n': a column of time32.* is no integer"),
    ("flag", pa.array([1], pa.timestamp("s")), "column 'flag': a column of timestamp.* is no boolean"),
    ("real", pa.array([1], pa.timestamp("s")), "column 'real': a column of timestamp.* is no float"),
    ("tags", pa.array([["a"]]), "field 'tags': a column of list.* is no large_list"),
]


@pytest.mark.parametrize(("name", "column", "message"), COLUMNS)
def test_columns_that_cannot_be_used_are_named(
    indexes: Indexes, name: str, column: pa.Array, message: str
) -> None:
    with pytest.raises(InvalidError, match=message):
        dumped(indexes, pa.table({"id": [1], name: column}), fields=[name])


def test_lists_are_no_ids_and_no_keys(indexes: Indexes) -> None:
    with pytest.raises(InvalidError, match="phase 'rows': slot_field 'id': a column of list"):
        dumped(indexes, pa.table({"id": [[1]], "n": [1]}), fields=["n"])
    lookup = {"lookup": "places", "key": "id", "join_on": "n", "fields": ["at"]}
    phase = {"name": "rows", "slot_field": "id", "sets_alive": True, "enrichment": [lookup]}
    index = indexes.create(SCHEMA, "join")
    rows, places = {"id": [1], "n": [1]}, {"id": [1], "at": [2]}
    with pytest.raises(InvalidError, match="lookup 'places': join_on 'n': a column of list"):
        index.dump(phase, {"rows": rows | {"n": [[1]]}, "places": places})
    with pytest.raises(InvalidError, match="lookup 'places': key 'id': a column of list"):
        index.dump(phase, {"rows": rows, "places": places | {"id": [[1]]}})


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(2)])
def test_bytes_are_texts_and_what_is_none_is_rejected(indexes: Indexes, kind: pa.DataType) -> None:
    for name, good, shown in (("text", b"ab", "ab"), ("kind", b"ab", "ab"), ("n", b"12", 12)):
        columns = {"id": [1, 2], name: pa.array([good, b"\xff\xfe"], kind)}
        index = dumped(indexes, pa.table(columns), name, fields=[name])
        assert index.get(1)[name] == shown and index.phases[0].rejected == 1


def test_texts_that_are_none_are_rejected(indexes: Indexes) -> None:
    """Whose bytes are no UTF-8, as files may hold them: what they made of a document could not be read."""
    offsets = pa.py_buffer(np.array([0, 1, 2, 3], np.int32))
    texts = pa.Array.from_buffers(pa.string(), 3, [None, offsets, pa.py_buffer(b"1\xff2")])
    pyarrow.feather.write_feather(pa.table({"id": range(3), "text": texts}), indexes.root / "rows.arrow")
    categories = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2]), texts)
    for number, source in enumerate((indexes.root, {"rows": pa.table({"id": range(3), "text": categories})})):
        index = indexes.create(SCHEMA, f"{number}")
        (run,) = index.dump(
            {"name": "rows", "slot_field": "id", "sets_alive": True, "fields": ["text"]}, source
        )
        assert [index.get(i)["text"] for i in (0, 2)] == ["1", "2"]
        assert run.rejects == {"text: not UTF-8": {"rows": 1, "examples": [r"row 2: text = b'\xff'"]}}


def test_a_computed_float_of_an_integer_that_none_is(indexes: Indexes) -> None:
    """A dump failed where a put did not."""
    most = {"op": "greatest", "source_fields": ["n", "real"]}
    floats = {"source_type": "float64", "bits": 64}
    config = {
        "filter_fields": [{"name": "n", "field_type": "single_value"}],
        "sort_fields": [{"name": "real", **floats}, {"name": "most", "computed": most, **floats}],
    }
    index = indexes.create({"name": "most", "config": config})
    rows = {"id": [1, 2], "n": [2**53 + 1, None], "real": [0.5, 1.5]}
    phase = {"name": "rows", "slot_field": "id", "sets_alive": True, "fields": ["n", "real"]}
    index.dump(phase, {"rows": rows})
    index.put({"id": 3, "n": 2**53 + 1})
    assert [index.get(i)["most"] for i in (1, 2, 3)] == [2.0**53, 1.5, 2.0**53]


def test_tables_that_are_no_columns_are_named(indexes: Indexes) -> None:
    twice = pd.DataFrame([[1, 2, 3]], columns=["id", "n", "n"])
    mixed = pd.DataFrame({"id": [1, 2], "text": [1, "a"]})
    surrogate = pd.DataFrame({"id": [1], "text": pd.Series(["\ud800"], dtype=object)})
    columns = {"id": [1], "text": ["\ud800"]}
    for number, source in enumerate((twice, mixed, surrogate, columns, {"id": [1, 2], "n": [1]})):
        with pytest.raises(InvalidError, match="phase 'rows': the columns of the table cannot be used: "):
            dumped(indexes, source, f"{number}", fields=["n"])
    table = pa.Table.from_arrays([pa.array([1])] * 3, names=["id", "n", "n"])
    with pytest.raises(InvalidError, match="column 'n' is there several times; it has id, n, n"):
        dumped(indexes, table, fields=["n"])


def test_columns_that_can_be_read_once(indexes: Indexes) -> None:
    """Rows that came in no order were read a second time, and there were none."""
    columns = {"id": (one for one in (3, 1, 2)), "n": (one for one in (30, 10, 20))}
    index = dumped(indexes, columns, fields=["n"])
    assert [index.get(i)["n"] for i in (1, 2, 3)] == [10, 20, 30]


def test_of_a_parquet_file_only_the_columns_that_are_used_are_decoded(indexes: Indexes) -> None:
    rows = pa.table({"other": ["x" * 1000] * 100, "id": range(100), "n.m": range(100), "a": [{"n": 1}] * 100})
    pyarrow.parquet.write_table(rows, indexes.root / "rows.parquet")
    fields = [{"column": "n.m", "target": "n"}]
    index = indexes.create(SCHEMA)
    phase = {"name": "rows", "slot_field": "id", "sets_alive": True, "fields": fields}
    (run,) = index.dump(phase, indexes.root)
    assert 1600 <= run.bytes < 2000 and index.get(9)["n"] == 9
    with pytest.raises(InvalidError, match=r"column 'n' is not there; it has other, id, n\.m, a"):
        index.dump(phase | {"fields": ["n"]}, indexes.root)


def test_texts_of_a_lookup_may_be_large(indexes: Indexes) -> None:
    """Together they can have more bytes than offsets of 32 bits reach."""
    lookup = {"lookup": "places", "key": "id", "join_on": "n", "fields": ["text", "kind"]}
    (phase,) = load_phases(
        {"name": "rows", "slot_field": "id", "sets_alive": True, "enrichment": [lookup]},
        read_schema(SCHEMA),
    )
    sources = Sources({"places": {"id": [1, 2], "text": ["a", None], "kind": ["x", "y"]}})
    table = LookupTable(phase.enrichment[0], sources.open, Rejects())
    assert table.columns["text"].type == table.columns["kind"].type == pa.large_string()


@pytest.mark.parametrize("form", ["csv", "table", "numbers"])
def test_ids_and_keys_that_are_also_texts_stay_as_they_are(indexes: Indexes, form: str) -> None:
    """Leading zeros were lost: 007 was read as an integer, and became the text 7."""
    lookup = {
        "lookup": "places.csv",
        "key": "id",
        "join_on": "place",
        "fields": ["at", {"column": "id", "target": "kind"}],
    }
    phase = {
        "name": "rows",
        "slot_field": "id",
        "sets_alive": True,
        "fields": [{"column": "id", "target": "text"}],
        "enrichment": [lookup],
    }
    ids, places = "id,place\n007,01\n8,2\nx,1\n,1\n-1,1\n", "id,at\n1,100\n002,200\nz,5\n"
    files = {"rows.csv": ids, "places.csv": places}
    index = indexes.create(SCHEMA)
    directory = indexes.write(files)
    read = {"table": str, "numbers": None}
    if form == "csv":
        index.dump(phase, directory)
    else:
        tables = [pd.read_csv(directory / name, dtype=read[form]) for name in files]
        if form == "numbers":
            tables = [one.apply(pd.to_numeric, errors="coerce").dropna() for one in tables]
        index.dump(phase, dict(zip(("rows", "places"), tables)))
    zeros = ("007", "002") if form != "numbers" else ("7", "2")
    found = [{name: index.get(i)[name] for name in ("text", "at", "kind")} for i in (7, 8)]
    assert found[0] == {"text": zeros[0], "at": 100, "kind": "1"}
    assert found[1] == {"text": "8", "at": 200, "kind": zeros[1]}
    assert index.ids().tolist() == [7, 8]
    if form != "numbers":
        assert {reason: found["rows"] for reason, found in index.phases[0].rejects.items()} == {
            "id: not an integer": 1,
            "id: empty": 1,
            "id: outside 0 to 4294967295, no document id": 1,
            "lookup places.csv: id: not an integer": 1,
        }
