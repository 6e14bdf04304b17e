"""Values are what they are, however many come together: in mappings, in a DataFrame, in lines."""

import datetime
import itertools
import json
import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import bitdex
from bitdex.errors import InvalidError
from bitdex.live import rows
from bitdex.live.batch import Batch

MOMENT, DAY = datetime.datetime(2024, 1, 2, 3, 4, 5, 678), datetime.date(2024, 1, 2)
EAST = datetime.timezone(datetime.timedelta(hours=3))
KINDS = {
    "whole": "integer",
    "real": "float",
    "yes": "boolean",
    "text": "string",
    "label": "low_cardinality_string",
    "list": "integer_array",
}
SCHEMA = {
    "name": "kinds",
    "data_schema": {"fields": [{"source": one, "target": one, "value_type": KINDS[one]} for one in KINDS]},
}
VALUES = [
    *(None, True, np.True_, 0, 1, 300, np.int64(3), np.int8(1), 2**53 + 1, 2**63, 10**400, 0.5, 1.0, np.nan),
    *(np.float64(2.0), np.float16(1.5), MOMENT, MOMENT.replace(tzinfo=EAST), DAY, pd.Timestamp(MOMENT)),
    *(
        pd.NaT,
        pd.NA,
        "x",
        "",
        b"x",
        [1, 2],
        [True],
        [np.True_],
        [1, None],
        [10**5000],
        [1.0],
        (3,),
        {4},
        {},
        [],
    ),
    *(np.array([5, 6]), np.array([True]), np.timedelta64(1, "s"), np.datetime64("2024-01-02")),
]


def taken(index, ids, call, *arguments):
    """Return what a call leaves of documents, or that it is refused."""
    index.delete(ids, missing_ok=True)
    try:
        call(*arguments)
    except InvalidError as error:
        assert str(error).startswith(("id ", "field "))
        return "refused"
    return [repr(index.get(id)).partition(",")[2] for id in ids]


def nothing(value):
    """Tell whether a value of a column of objects is none."""
    return (
        value is None or value is pd.NaT or value is pd.NA or (isinstance(value, float) and math.isnan(value))
    )


@pytest.mark.parametrize("field", KINDS)
def test_two_values_together_are_what_they_are_one_by_one(tmp_path, monkeypatch, field):
    """A moment made a moment of the number beside it, a date took the hour from a moment."""
    monkeypatch.setattr(Batch, "MANY", 1)
    with bitdex.create(tmp_path / "index", SCHEMA, sync="none") as index:
        alone = [taken(index, [1], index.put, {"id": 1, field: one}) for one in VALUES]

        def together(places):
            each = [alone[place] for place in places]
            return "refused" if "refused" in each else [*itertools.chain(*each)]

        for pair in itertools.product(range(len(VALUES)), repeat=2):
            values = [VALUES[place] for place in pair]
            rows = [{"id": id, field: value} for id, value in enumerate(values, 1)]
            assert taken(index, [1, 2], index.put_many, rows) == together(pair), values
            frame = pd.DataFrame({"id": [1, 2], field: pd.Series(values, dtype=object)})
            kept = together([0 if nothing(VALUES[place]) else place for place in pair])
            assert taken(index, [1, 2], index.put_many, frame) == kept, values


def test_categories_of_several_types(tmp_path):
    with bitdex.create(tmp_path / "index", SCHEMA) as index:
        frames = []
        for pair in ([MOMENT, 1_700_000_000], [2, True]):
            column = pd.Categorical(pair, categories=pd.Index(pair, dtype=object))
            frames.append(pd.DataFrame({"whole": column}, index=pd.Index([1, 2], name="id")))
        index.put_many(frames[0])
        with pytest.raises(InvalidError, match="id 2: field 'whole': True is not accepted"):
            index.put_many(frames[1])
        assert [one["whole"] for one in index.get_many([1, 2])] == [1704164645, 1_700_000_000]
        with pytest.raises(InvalidError, match="a column is there several times among id, whole, whole"):
            index.put_many(pd.DataFrame([[1, 2, 3]], columns=["id", "whole", "whole"]))


def test_keys_that_are_no_names(tmp_path):
    with bitdex.create(tmp_path / "index", SCHEMA) as index:
        rows = [{"id": n, "whole": n, 5: 1} for n in range(40)]
        for documents in (rows, rows[:3]):
            with pytest.raises(InvalidError, match="id 0: field: expected the name of one, found 5"):
                index.put_many(documents)
        assert index.load(rows).applied == 40 and index.get(7)["whole"] == 7


def test_records_of_which_each_has_keys_of_its_own(tmp_path, monkeypatch):
    """A column was made of every key, also of those that the schema does not name."""
    monkeypatch.setattr(rows, "array_of", counted := Counted(rows.array_of))
    with bitdex.create(tmp_path / "index", SCHEMA) as index:
        assert index.load([{"id": n, "whole": n, f"key {n}": n} for n in range(100)]).applied == 100
    assert counted.calls <= 1 + len(KINDS)


class Counted:
    """A function that counts its calls."""

    def __init__(self, function):
        self.function, self.calls = function, 0

    def __call__(self, *arguments):
        self.calls += 1
        return self.function(*arguments)


RECORDS = {
    "name": "records",
    "config": {
        "filter_fields": [{"name": "has", "field_type": "boolean"}],
        "sort_fields": [{"name": "n", "bits": 32}, {"name": "x", "source_type": "float64"}],
    },
    "data_schema": {
        "fields": [
            {"source": "meta", "target": "has", "value_type": "exists_boolean"},
            {"source": "number", "target": "n", "value_type": "integer"},
            {"source": "number", "target": "x", "value_type": "float"},
        ]
    },
}


@pytest.mark.parametrize("count", [31, 40])
@pytest.mark.parametrize("shape", [list, lambda rows: [json.dumps(row) for row in rows]])
def test_keys_of_records_that_fields_do_not_agree_on_are_read(tmp_path, count, shape):
    """From 32 lines on, a key of an exists_boolean alone, or of fields of two kinds, was left out."""
    with bitdex.create(tmp_path / "index", RECORDS) as index:
        rows = [{"id": n, "meta": {"a": 1} if n % 2 else None, "number": n} for n in range(count)]
        assert index.load(shape(rows)).applied == count
        assert index.ids("has").tolist() == list(range(1, count, 2))
        assert index.ids("n >= 5 and x >= 5.0").tolist() == list(range(5, count))


MILLISECONDS = {
    "name": "records",
    "data_schema": {
        "fields": [
            {"source": "ms", "fallback": "s", "target": "at", "value_type": "integer", "ms_to_seconds": True}
        ]
    },
}


@pytest.mark.parametrize(
    "records",
    [
        [{"ms": MOMENT}, {"ms": DAY}],
        [{"ms": MOMENT}] * 2,
        [{"ms": True}] * 2,
        [{"ms": "1999"}] * 2,
        [{"ms": 1999}, {"s": MOMENT}],
        [{"ms": 1999}, {"s": 0.5}],
        [{"ms": 1999}, {"s": 3.0}],
    ],
)
def test_milliseconds_and_fallbacks_are_what_they_are_one_by_one(tmp_path, monkeypatch, records):
    """A moment was taken for so many microseconds, a text for a number, one source for the other."""
    found = []
    for many in (1, 1000):
        monkeypatch.setattr(Batch, "MANY", many)
        with bitdex.create(tmp_path / str(many), MILLISECONDS) as index:
            result = index.load([{"id": id, **one} for id, one in enumerate(records)])
            found.append((result.applied, [dict(one) for one in index.get_many(index.ids())]))
    assert found[0] == found[1]


NO_TEXT = pa.Array.from_buffers(pa.string(), 2, pa.array([b"ok", b"a\xffb"]).buffers())


@pytest.mark.parametrize("many", [1, 1000], ids=["in columns", "one by one"])
@pytest.mark.parametrize("name", ["text", "label"])
@pytest.mark.parametrize(
    "shape", [lambda one: one, lambda one: one.cast(pa.large_string()), pa.Array.dictionary_encode]
)
def test_bytes_that_are_no_text_are_refused(tmp_path, monkeypatch, many, name, shape):
    """They were stored, and reading, changing or deleting the document said that the index is damaged."""
    monkeypatch.setattr(Batch, "MANY", many)
    with bitdex.create(tmp_path / "index", SCHEMA) as index:
        table = pa.table({"id": [1, 2], name: shape(NO_TEXT)})
        with pytest.raises(
            InvalidError, match=f"id 2: field '{name}': .* can't decode byte 0xff in position 1"
        ):
            index.put_many(table)
        assert len(index) == 0


COLUMNS = {
    "text": [
        (pa.array(["a", "b"], pa.string_view()), ["a", "b"]),
        (pa.array(["a", "b"], pa.large_string()), ["a", "b"]),
    ],
    "label": [(pa.array(["a", "b"], pa.string_view()), ["a", "b"])],
    "whole": [
        (pa.array(np.array([1.0, 2.0], np.float16)), [1, 2]),
        (pa.array([1, 2], pa.uint64()), [1, 2]),
        (pa.array([10**18, 1], pa.timestamp("s")), "id 1: field 'whole': .* cannot be used"),
        (pa.array([2**63, 1], pa.uint64()), "id 1: field 'whole': 9223372036854775808 is not accepted"),
    ],
    "real": [(pa.array(np.array([1.5, 2.0], np.float16)), [1.5, 2.0])],
}


@pytest.mark.parametrize("many", [1, 1000], ids=["in columns", "one by one"])
@pytest.mark.parametrize(("name", "column", "expected"), [(n, *one) for n in COLUMNS for one in COLUMNS[n]])
def test_columns_of_any_type_of_arrow(tmp_path, monkeypatch, many, name, column, expected):
    """From 32 rows on some of them were an error of Arrow, without an id."""
    monkeypatch.setattr(Batch, "MANY", many)
    with bitdex.create(tmp_path / "index", SCHEMA) as index:
        table = pa.table({"id": [1, 2], name: column})
        if isinstance(expected, str):
            with pytest.raises(InvalidError, match=expected):
                index.put_many(table)
        else:
            index.put_many(table)
            assert [one[name] for one in index.get_many([1, 2])] == expected


def test_columns_of_one_name(tmp_path):
    refused = pytest.raises(InvalidError, match="a column is there several times among id, whole, whole")
    with bitdex.create(tmp_path / "index", SCHEMA) as index, refused:
        index.put_many(pa.Table.from_arrays([pa.array([1])] * 3, ["id", "whole", "whole"]))
