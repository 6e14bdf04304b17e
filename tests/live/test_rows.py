"""Tables that are put: what their columns may hold, and how what they may not is named."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import bitdex
from bitdex.errors import InvalidError
from bitdex.live.batch import Batch
from tests.live.bits import differences
from tests.live.test_many import SCHEMA


@pytest.fixture(params=[1, 1000], ids=["in columns", "one by one"])
def index(request, tmp_path, monkeypatch):
    monkeypatch.setattr(Batch, "MANY", request.param)
    with bitdex.create(tmp_path / "index", SCHEMA) as index:
        yield index
        assert differences(index) == [] and index.check().empty


def no_text(kind):
    """Return three texts of which the second is no UTF-8, as only buffers and files can hold them."""
    offsets = np.array([0, 1, 2, 3], np.int32)
    texts = pa.Array.from_buffers(pa.string(), 3, [None, pa.py_buffer(offsets), pa.py_buffer(b"a\xffb")])
    return pa.DictionaryArray.from_arrays(pa.array([0, 1, 2]), texts) if kind == "dictionary" else texts


ACCEPTED = [
    ("size", pa.array(np.array([1, 2, 3], np.float16)), [1, 2, 3]),
    ("kind", pa.array(["hat", "shoe", None], pa.string_view()), ["hat", "shoe", "shirt"]),
    ("note", pa.array(["a", None, "c"], pa.string_view()), ["a", None, "c"]),
    ("tags", pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int16(), 2)), [[1, 2], None, [3, 4]]),
    ("size", pa.array([-1, None, 1999], pa.timestamp("ms")), [-1, None, 1]),
    ("size", pa.array([1698539400], pa.timestamp("s", "Europe/Berlin")).take([0, 0, 0]), [1698539400] * 3),
    ("size", pa.array([-1, 0, None], pa.date32()), [-86400, 0, None]),
]


@pytest.mark.parametrize(("name", "column", "held"), ACCEPTED)
def test_columns_of_any_layout(index, name, column, held):
    index.put_many(pa.table({"id": [0, 1, 2], name: column}))
    assert [index.get(i).get(name) for i in range(3)] == held


REFUSED = [
    ("size", pa.array([[1]] * 3), r"field 'size': \[1\] is not accepted"),
    ("kind", pa.array([[1]] * 3), r"field 'kind': \[1\] is not accepted"),
    ("note", pa.array([{"a": 1}] * 3), "field 'note': .* is not accepted"),
    ("size", pa.array([1, 2, 3], pa.time32("s")), "field 'size': .* is not accepted"),
    ("note", pa.array([b"a", b"b", b"\xff"]), "field 'note': .* is not accepted"),
    ("note", no_text("string"), "field 'note': a value of the column cannot be used: .*0xff"),
    ("note", no_text("dictionary"), "field 'note': a value of the column cannot be used: .*0xff"),
    ("kind", no_text("string"), "field 'kind': a value of the column cannot be used: .*0xff"),
    ("rate", pa.array([2**62] * 3, pa.timestamp("s")), "field 'rate': a value of the column cannot be used"),
]


@pytest.mark.parametrize(("name", "column", "message"), REFUSED)
def test_columns_that_cannot_be_used_are_named(index, name, column, message):
    """Text that is none was stored, and could not be read again; others were errors of Arrow or Python."""
    with pytest.raises(InvalidError, match=message):
        index.put_many(pa.table({"id": [0, 1, 2], name: column}))
    assert len(index) == 0


def test_tables_that_cannot_be_used(index):
    twice = pa.Table.from_arrays([pa.array([1])] * 3, names=["id", "size", "size"])
    for table, message in (
        (twice, "documents: a column is there several times among id, size, size"),
        (pd.DataFrame([[1, 2, 3]], columns=["id", "size", "size"]), "several times among id, size, size"),
        (pd.DataFrame({"id": [1, 2], "note": [1, "a"]}), "id 1: field 'note': 1 is not accepted"),
        (
            pd.DataFrame({"id": [1], "note": pd.Series(["\ud800"], dtype=object)}),
            "id 1: field 'note': .*ud800",
        ),
        (
            pd.DataFrame({"id": [1], "size": pd.Series([2**70], dtype=object)}),
            "id 1: field 'size': 118.* is not",
        ),
        (pa.table({"id": [[1]], "size": [1]}), r"id: \[1\] is no whole number"),
        ([{"id": 1, "size": pd.NaT}], "field 'size': NaT is not accepted"),
    ):
        with pytest.raises(InvalidError, match=message):
            index.put_many(table)
    assert len(index) == 0


@pytest.mark.parametrize("form", [set, frozenset, list, tuple, np.array, iter, pd.Series, lambda one: one[0]])
def test_values_and_ids_in_any_collection(index, form):
    index.put({"id": 1, "tags": [1]})
    index.append(1, "tags", form([7]))
    assert index.get(1)["tags"] == [1, 7]
    index.remove(1, "tags", form([7]))
    assert index.get(1)["tags"] == [1] and index.delete(form([1])) == 1
    index.put({"id": 1})
    assert index.delete(np.array(1)) == 1
