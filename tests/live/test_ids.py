"""Ids and keys in any form that a caller has them in: all of them work, or the error names the value."""

import re

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pyroaring import BitMap, FrozenBitMap

import bitdex
from bitdex.errors import InvalidError, NotFoundError

FORMS = {
    "list": [3, 1],
    "tuple": (3, 1),
    "numbers of NumPy": [np.uint8(3), np.int64(1)],
    "numbers of both": [3, np.int16(1)],
    "array of ids": np.array([3, 1], np.uint32),
    "array": np.array([3, 1], np.uint16),
    "big-endian": np.array([3, 1], ">i4"),
    "strided": np.array([3, 0, 1, 0])[::2],
    "range": range(3, 0, -2),
    "generator": (id for id in (3, 1)),
    "iterator": iter([3, 1]),
    "keys of a dict": {3: "c", 1: "a"}.keys(),
    "values of a dict": {"c": 3, "a": 1}.values(),
    "Series": pd.Series([3, 1]),
    "Series of nullable": pd.Series([3, 1], dtype="Int64"),
    "Series of Arrow": pd.Series([3, 1], dtype="int64[pyarrow]"),
    "Series of objects": pd.Series([3, 1], dtype=object),
    "Index": pd.Index([3, 1]),
    "column of a DataFrame": pd.DataFrame({"id": [3, 1]})["id"],
    "Arrow": pa.array([3, 1]),
    "Arrow chunks": pa.chunked_array([[3], [1]]),
    "Polars": pl.Series([3, 1]),
}
SETS = {
    "set": {1, 3},
    "frozenset": frozenset([1, 3]),
    "bitmap": BitMap([1, 3]),
    "frozen bitmap": FrozenBitMap([1, 3]),
}
NONE = [[], (), set(), range(0), iter([]), {}.keys(), np.array([]), pd.Index([]), pd.Series([], dtype="i8")]
WRONG = [
    ([1, -3], "-3"),
    ([1, 2**70], str(2**70)),
    ([1, 10**9999], "an integer of 33216 bits"),
    ({1, "a"}, "'a'"),
    ([1, True], "True"),
    (np.array([True]), "True"),
    ([2.0, 1], "2.0"),
    (np.array([1.5]), "1.5"),
    (pd.Series([1, None]), "nan"),
    (pd.Series([1, None], dtype="Int64"), "nan"),
    (pa.array([1, None]), "nan"),
    (["1"], "'1'"),
    (pd.Index(["a"]), "'a'"),
    ((one for one in [1, None]), "None"),
    (np.array(["2026-01-01"], "M8[ns]"), "2026-01-01"),
    ([np.timedelta64(1, "s")], "timedelta64"),
    ([[1], [2]], "shape (2, 1)"),
    ([[1], [2, 3]], "[1]"),
    (pd.DataFrame({"id": [1]}), "shape (1, 1)"),
    ({1: "a"}, "{1: 'a'}"),
    ("13", "'13'"),
    (b"13", "b'13'"),
]


@pytest.fixture
def index(tmp_path):
    config = {"filter_fields": [{"name": "n", "field_type": "single_value"}]}
    with bitdex.create(tmp_path / "index", {"name": "numbers", "config": config}) as index:
        index.put_many([{"id": id, "n": id} for id in range(6)])
        yield index


def again(form):
    """Return the same once more: what is gone through once would be empty."""
    return (one for one in (3, 1)) if hasattr(form, "__next__") else form


@pytest.mark.parametrize("name", [*FORMS, *SETS])
def test_every_form_of_ids(index, name):
    """A set, a generator and a view of a dict were "found object ()"."""
    form = again({**FORMS, **SETS}[name])
    found = index.get_many(form).ids.tolist()
    assert found == [3, 1] if name in FORMS else sorted(found) == [1, 3]
    assert index.where(again(form)).ids.tolist() == [1, 3]
    assert index.delete(again(form)) == 2 and index.ids().tolist() == [0, 2, 4, 5]


@pytest.mark.parametrize("name", [*FORMS, *(name for name in SETS if "set" in name)])
def test_every_form_of_keys(silo, name):
    form = again({**FORMS, **SETS}[name])
    keys = [3, 1] if name in FORMS else list(form)
    silo.put_many(again(form), [b"%d" % key for key in keys])
    assert list(silo.get_many(again(form))) == [b"%d" % key for key in keys]
    assert silo.records_frame(again(form))["key"].tolist() == [1, 3]
    silo.apply_many([1, 1], again(form), [b"new"] * 2)
    assert list(silo.get_many(again(form))) == [b"new"] * 2
    silo.delete_many(again(form))
    assert len(silo) == 0


def test_a_selection_and_one_id_and_none(index):
    assert index.get_many(index["n in [2, 4]"]).ids.tolist() == [2, 4]
    assert index.delete(index["n in [2, 4]"]) == 2 and index.delete(5) == 1 and index.delete(np.array(3)) == 1
    for nothing in NONE:
        assert len(index.get_many(nothing)) == 0 and index.delete(nothing) == 0
    assert index.ids().tolist() == [0, 1]
    with pytest.raises(NotFoundError, match="there are no documents 5"):
        index.get_many({0, 5})


@pytest.mark.parametrize(("ids", "named"), WRONG)
def test_what_is_no_id_is_named(index, silo, ids, named):
    expected = [f"ids: .*{re.escape(named)}"]
    for call in (index.get_many, index.delete):
        with pytest.raises(InvalidError, match=expected[0]):
            call(list(ids) if hasattr(ids, "__next__") else ids)
        ids = [1, None] if hasattr(ids, "__next__") else ids
    with pytest.raises(InvalidError, match=f"keys: .*{re.escape(named)}"):
        silo.get_many(ids)
    if not isinstance(ids, str | dict) and not (isinstance(ids, list) and isinstance(ids[0], str)):  # a query
        with pytest.raises(InvalidError, match=expected[0]):
            index.where(ids)
    assert len(index) == 6


@pytest.mark.parametrize("name", [name for name in FORMS if name != "Series of objects"])
def test_every_form_of_labels(index, name):
    assert index["n <= 2"].isin(again(FORMS[name])).tolist() == [False, True]


def test_a_set_of_labels_has_no_order_to_answer_in(index):
    with pytest.raises(InvalidError, match=r"labels: \{1, 3\} are no ids"):
        index.where().isin({1, 3})
