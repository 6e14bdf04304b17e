"""One table in every form that is accepted: the same index as from CSV."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest

from bitdex.dump import arrow_source
from bitdex.errors import InvalidError, NotFoundError
from bitdex.index import Index
from tests.index.conftest import Indexes

SCHEMA = {
    "name": "forms",
    "config": {
        "filter_fields": [
            {"name": "n", "field_type": "single_value"},
            {"name": "kind", "field_type": "single_value"},
            {"name": "flag", "field_type": "boolean"},
            {"name": "tags", "field_type": "multi_value"},
            {"name": "known", "field_type": "boolean"},
        ],
        "sort_fields": [
            {"name": "likes"},
            {"name": "real", "source_type": "float64", "bits": 64},
            {"name": "at"},
        ],
    },
    "data_schema": {
        "fields": [
            {"source": "kind", "target": "kind", "value_type": "low_cardinality_string"},
            {"source": "known", "target": "known", "value_type": "exists_boolean"},
            {"source": "text", "target": "text", "value_type": "string", "doc_only": True},
        ]
    },
}
PHASES = [
    {
        "name": "rows",
        "slot_field": "id",
        "sets_alive": True,
        "fields": ["n", "kind", "flag", "likes", "real", "text", {"column": "text", "target": "known"}],
        "filter": "n != 13",
        "enrichment": [{"lookup": "places.csv", "key": "id", "join_on": "n", "fields": ["at"]}],
    },
    {"name": "tags", "slot_field": "id", "fields": ["tags"]},
]
ROWS = (
    "id,n,kind,flag,likes,real,text\n1,7,a,true,5,0.5,x\n2,,b,,6,,\n3,13,a,false,7,1.0,y\n4,8,,true,,-1e300,Zoë\n"
    "70000,-9223372036854775808,b,false,9,2.0,z\n"
)
TAGS = "id,tags\n1,5\n1,6\n4,5\n70000,9\n"
PLACES = "id,at\n7,100\n8,\n9,300\n"


def frame(text: str, **options: Any) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(text), **options)


def table(text: str) -> pa.Table:
    return pa.csv.read_csv(io.BytesIO(text.encode()))


def whole(text: str) -> pd.DataFrame:
    """Return a frame whose integers with gaps are integers, as only nullable kinds can have them."""
    return frame(text).convert_dtypes(dtype_backend="pyarrow")


FORMS: dict[str, Callable[[str], Any]] = {
    "Arrow table": table,
    "Arrow table in chunks": lambda text: pa.Table.from_batches(table(text).to_batches(max_chunksize=2)),
    "record batch": lambda text: table(text).combine_chunks().to_batches()[0],
    "reader of batches": lambda text: table(text).to_reader(max_chunksize=2),
    "pandas, Arrow kinds": whole,
    "pandas, nullable kinds": lambda text: frame(text, dtype_backend="numpy_nullable"),
    "pandas, texts": lambda text: frame(text, dtype=str),
    "pandas, Arrow categories": lambda text: _with_categories(whole(text)),
    "mapping of columns": lambda text: table(text).to_pydict(),
    "Arrow table of texts": lambda text: pa.table(
        {
            name: column.cast(pa.string())
            for name, column in zip(table(text).column_names, table(text).columns)
        }
    ),
    "Arrow table, other widths": lambda text: _narrowed(table(text)),
    "Arrow table, long texts and views": lambda text: _long(table(text)),
}


def _with_categories(data: pd.DataFrame) -> pd.DataFrame:
    return data.assign(kind=data["kind"].astype("category")) if "kind" in data else data


def _narrowed(data: pa.Table) -> pa.Table:
    for name, kind in (("id", pa.uint32()), ("tags", pa.int16()), ("likes", pa.uint8()), ("at", pa.uint64())):
        if name in data.column_names:
            data = data.set_column(data.column_names.index(name), name, data[name].cast(kind))
    return data


def _long(data: pa.Table) -> pa.Table:
    for name, kind in (("kind", pa.large_string()), ("text", pa.string_view())):
        if name in data.column_names:
            data = data.set_column(data.column_names.index(name), name, data[name].cast(kind))
    return data


def load(indexes: Indexes, source: Any, name: str = "index") -> Index:
    index = indexes.create(SCHEMA, name)
    index.dump(PHASES, source=source, now=0)
    return index


def state(index: Index) -> dict[str, Any]:
    queries = [
        "n == 7",
        "n is null",
        "kind == 'b'",
        "flag",
        "flag == false",
        "flag is null",
        "tags has 5",
        "known",
        "at == 100",
    ]
    found: dict[str, Any] = {query: index.ids(query).tolist() for query in queries}
    found |= {sort: index.query(sort=sort).ids.tolist() for sort in ("likes", "-real", "at")}
    found["documents"] = [index.get(slot) for slot in index.ids().tolist()]
    found["rows"] = [(run.rows, run.applied, run.filtered, run.rejected) for run in index.phases]
    return found


@pytest.fixture
def expected(indexes: Indexes) -> dict[str, Any]:
    files = {"rows.csv": ROWS, "tags.csv": TAGS, "places.csv": PLACES}
    found = state(load(indexes, indexes.write(files), "expected"))
    assert found["rows"] == [(5, 4, 1, 0), (4, 4, 0, 0)]
    assert found["documents"][0] == {
        "id": 1,
        "n": 7,
        "kind": "a",
        "flag": True,
        "likes": 5,
        "real": 0.5,
        "text": "x",
        "known": True,
        "at": 100,
        "tags": [5, 6],
    }
    assert found["documents"][1] == {"id": 2, "kind": "b", "likes": 6, "known": False}
    return found


@pytest.mark.parametrize("form", FORMS)
def test_forms(indexes: Indexes, expected: dict[str, Any], form: str) -> None:
    make = FORMS[form]
    index = load(indexes, {"rows": make(ROWS), "tags": make(TAGS), "places": make(PLACES)})
    assert state(index) == expected


def test_pandas_of_numpy(indexes: Indexes, expected: dict[str, Any]) -> None:
    """NumPy integers with gaps are floats: what a float cannot hold is told beforehand."""
    rows = frame(ROWS.replace("-9223372036854775808", "-4096"))
    assert rows["n"].dtype == np.float64 and rows["flag"].dtype == object
    found = state(load(indexes, {"rows": rows, "tags": frame(TAGS), "places": frame(PLACES)}))
    expected["documents"][-1]["n"] = -4096
    assert found == expected


def test_files(indexes: Indexes, expected: dict[str, Any]) -> None:
    path = indexes.root / "mixed"
    path.mkdir()
    pyarrow.parquet.write_table(table(ROWS), path / "rows.parquet", row_group_size=2)
    pyarrow.feather.write_feather(table(TAGS), path / "tags.arrow", compression="uncompressed", chunksize=2)
    (path / "places.csv").write_text(PLACES)
    assert state(load(indexes, path)) == expected
    named = {
        "rows": path / "rows.parquet",
        "tags": str(path / "tags.arrow"),
        "places.csv": path / "places.csv",
    }
    assert state(load(indexes, named, "named")) == expected


def test_tabs_by_name(indexes: Indexes, expected: dict[str, Any]) -> None:
    files = {"rows.tsv": ROWS.replace(",", "\t"), "tags.csv": TAGS, "places.csv": PLACES}
    assert state(load(indexes, indexes.write(files, "tabs"))) == expected


def test_slices_of_rows(indexes: Indexes, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow_source, "ROWS", 1)
    sources = {"rows": table(ROWS), "tags": table(TAGS), "places": table(PLACES)}
    assert state(load(indexes, sources)) == expected
    part = pa.concat_tables([table(ROWS).slice(2), table(ROWS).slice(0, 2)]).combine_chunks().slice(0)
    found = state(load(indexes, {**sources, "rows": part}, "turned"))
    assert found == expected


@pytest.mark.parametrize("name", ["rows", "tags"])
def test_a_stream_that_can_be_read_once(indexes: Indexes, expected: dict[str, Any], name: str) -> None:
    """Rows that come in no order make the loader begin again, which a stream does not allow."""
    texts = {"rows": ROWS, "tags": TAGS}
    header, *lines = texts[name].splitlines()
    turned = table("\n".join([header, *lines[::-1]]))
    sources: dict[str, Any] = {one: table(text) for one, text in texts.items()} | {"places": table(PLACES)}
    index = load(indexes, sources | {name: turned.to_reader(max_chunksize=2)})
    found = state(index)
    for document in [*found["documents"], *expected["documents"]]:
        document.get("tags", []).sort()
    assert found == expected


def test_lists_in_one_row(indexes: Indexes, expected: dict[str, Any]) -> None:
    lists = {"id": [1, 2, 4, 70000, 3], "tags": [[5, 6], [], [5], [9], None]}
    sources = {"rows": table(ROWS), "places": table(PLACES)}
    found = state(load(indexes, {**sources, "tags": lists}))
    assert found.pop("rows") == [(5, 4, 1, 0), (5, 5, 0, 0)]
    expected.pop("rows")
    assert found == expected


def test_times(indexes: Indexes) -> None:
    moments = pd.to_datetime(["2024-02-29T12:00:00Z", None, "1970-01-01T00:00:01Z"])
    for unit in ("s", "ms", "us", "ns"):
        rows = pd.DataFrame({"id": [1, 2, 3], "likes": moments.as_unit(unit)})
        index = indexes.create(SCHEMA, unit)
        index.dump(
            {"name": "rows", "slot_field": "id", "sets_alive": True, "fields": ["likes"]}, {"rows": rows}
        )
        assert index.ids("likes == '2024-02-29T12:00:00Z'").tolist() == [1]
        assert index.get(3) == {"id": 3, "likes": 1} and index.get(2) == {"id": 2}


ODD: list[tuple[str, Any, list[int], str]] = [
    ("fractions", {"id": [1, 2], "n": [7.0, 7.5]}, [1], "n: not an integer"),
    ("infinities", {"id": [1, 2], "n": [7.0, float("inf")]}, [1], "n: not an integer"),
    (
        "unsigned beyond 63 bits",
        {"id": [1, 2], "n": np.array([7, 2**63], np.uint64)},
        [1],
        "n: not an integer",
    ),
    ("words", {"id": [1, 2], "n": ["7", "seven"]}, [1], "n: not an integer"),
    ("ids with gaps", {"id": [1.0, None], "n": [7, 7]}, [1], "id: empty"),
    ("ids with fractions", {"id": [1.0, 2.5], "n": [7, 7]}, [1], "id: not an integer"),
    ("ids below 0", {"id": [1, -1], "n": [7, 7]}, [1], "id: outside 0 to 4294967295"),
    ("numbers for booleans", {"id": [1, 2], "flag": [1, 2]}, [1], "flag: not a boolean"),
    ("NaN to be sorted", {"id": [1, 2], "real": np.array([1.0, np.nan])}, [1, 2], ""),
    ("sort values below 0", {"id": [1, 2], "likes": [7, -7]}, [1], "likes: outside 0 to 4294967295"),
]


@pytest.mark.parametrize(
    ("data", "slots", "reason"), [case[1:] for case in ODD], ids=[case[0] for case in ODD]
)
def test_odd_values(indexes: Indexes, data: Any, slots: list[int], reason: str) -> None:
    name = [*data][1]
    phase = {"name": "rows", "slot_field": "id", "sets_alive": True, "fields": [name]}
    for form, source in (("frame", pd.DataFrame(data)), ("table", pa.Table.from_pandas(pd.DataFrame(data)))):
        index = indexes.create(SCHEMA, form)
        (run,) = index.dump(phase, {"rows": source})
        assert index.ids().tolist() == slots
        assert run.rows == 2 and run.applied == len(slots) and run.rejected == 2 - len(slots)
        assert [reason in found for found in run.rejects] == [True] * run.rejected


def test_gaps_are_not_rejected(indexes: Indexes) -> None:
    data = {
        "id": [1, 2],
        "n": [7, None],
        "flag": pa.array([1, None]),
        "real": [0.5, None],
        "kind": ["a", None],
    }
    index = indexes.create(SCHEMA)
    fields = ["n", "flag", "real", "kind"]
    (run,) = index.dump(
        {"name": "rows", "slot_field": "id", "sets_alive": True, "fields": fields}, {"rows": pa.table(data)}
    )
    assert run.applied == 2
    assert index.get(2) == {"id": 2} and index.get(1) == {
        "id": 1,
        "n": 7,
        "flag": True,
        "real": 0.5,
        "kind": "a",
    }


def test_values_that_documents_cannot_hold(indexes: Indexes) -> None:
    phase = {"name": "rows", "slot_field": "id", "sets_alive": True, "extra_fields": True, "fields": ["wide"]}
    for column, message in (
        (pa.array([2**64 - 1], pa.uint64()), "field 'wide': a column of uint64 is no int64"),
        (pa.array([{"a": 1}]), "field 'wide': a column of struct.* is no string"),
    ):
        with pytest.raises(InvalidError, match=message):
            indexes.create(SCHEMA, message[-6:]).dump(phase, {"rows": pa.table({"id": [1], "wide": column})})
    lists = pa.table({"id": [1], "tags": [["a"]]})
    with pytest.raises(InvalidError, match=r"field 'tags': a column of list.* is no large_list"):
        indexes.create(SCHEMA).dump({**phase, "fields": ["tags"]}, {"rows": lists})


def test_comparisons_of_columns_do_not_depend_on_the_form(indexes: Indexes) -> None:
    """Columns of a text file that nothing gives a kind were compared letter by letter."""
    text = "id,w,h\n1,10,9\n2,9,10\n3,100,100\n4,007,7\n"
    rows = {"name": "rows", "slot_field": "id", "sets_alive": True, "filter": "w < h"}
    same = {**rows, "filter": "w == h"}
    for name, source in (("csv", indexes.write({"rows.csv": text})), ("arrow", {"rows": table(text)})):
        index = indexes.create(SCHEMA, name)
        index.dump(rows, source)
        assert index.ids().tolist() == [2]
        index.dump(same, source)
        assert index.ids().tolist() == [3, 4]


def test_wrong_tables(indexes: Indexes, tmp_path: Path) -> None:
    index = indexes.create(SCHEMA)
    phase = {"name": "rows", "slot_field": "id", "sets_alive": True, "fields": ["n"]}
    with pytest.raises(InvalidError, match=r"phase 'rows': column 'n' is not there; it has id, m"):
        index.dump(phase, {"rows": {"id": [1], "m": [1]}})
    with pytest.raises(InvalidError, match="the table has no rows"):
        index.dump(phase, {"rows": pd.DataFrame({"id": [], "n": []})})
    with pytest.raises(NotFoundError, match="there is no table 'rows' in source; it has row"):
        index.dump(phase, {"row": {"id": [1], "n": [1]}})
    with pytest.raises(NotFoundError, match=r"phase 'rows': there is no file .*gone\.parquet"):
        index.dump(phase, {"rows": tmp_path / "gone.parquet"})
    (tmp_path / "rows.parquet").write_bytes(b"PAR1 this is none")
    with pytest.raises(InvalidError, match=r"phase 'rows': .*rows\.parquet"):
        index.dump(phase, tmp_path)
    assert len(index) == 0
