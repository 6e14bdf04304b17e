"""Great integers keep all their digits in what is counted, and in what is shown of it."""

import numpy as np
import pandas as pd
import pytest

import bitdex
from bitdex.errors import InvalidError

SCHEMA = {
    "name": "exact",
    "config": {
        "filter_fields": [
            {"name": "owner", "field_type": "single_value"},
            {"name": "open", "field_type": "boolean"},
            {"name": "kind", "field_type": "single_value"},
        ],
        "sort_fields": [
            {"name": "at", "bits": 64, "source_type": "int64"},
            {"name": "huge", "bits": 64},
            {"name": "score", "source_type": "float64"},
        ],
    },
    "data_schema": {
        "fields": [
            {"source": "kind", "target": "kind", "value_type": "low_cardinality_string"},
            {"source": "open", "target": "open", "value_type": "boolean"},
            {"source": "score", "target": "score", "value_type": "float"},
        ]
    },
}


@pytest.fixture
def index(tmp_path):
    with bitdex.create(tmp_path / "index", SCHEMA, sync="none") as index:
        yield index


def put(index, name, values):
    index.put_many([{"id": id, name: value} for id, value in enumerate(values)])
    return index.where()


@pytest.mark.parametrize("bins", [1, 3, 7, 10])
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("huge", [2**62 + 1, 2**62 + 3, 2**62 + 700]),
        ("huge", [2**63 - 1, 2**63 - 3, 0, 5]),
        ("at", [1_700_000_000_000_000_000 + 7 * i * i for i in range(1000)]),
        ("at", [-(2**63), 2**63 - 1, 0, -1]),
        ("at", [2**53, 2**53 + 1]),
        ("at", [-(2**63), -(2**63) + 1]),
        ("at", [2**63 - 1, 2**63 - 1]),
        ("at", [-(2**63)]),
    ],
)
def test_bins_of_great_integers_hold_all_of_them(index, name, values, bins):
    found = put(index, name, values).histogram(name, bins)
    least, greatest = min(values), max(values)
    assert len(found) == bins and found.sum() == len(values)
    if least == greatest:
        return
    span = greatest - least
    places = [min((value - least) * bins // span, bins - 1) for value in values]
    assert found.tolist() == np.bincount(places, minlength=bins).tolist()
    edges = [*map(int, found.index.left), int(found.index.right[-1])]
    assert edges == [least + -(-i * span // bins) for i in range(bins + 1)]


def test_edges_may_be_infinite(index):
    values = [0, 3, 10, 2**63 - 1, -5, -(2**63)]
    found = put(index, "at", values)
    assert found.histogram("at", [0, 10, np.inf]).tolist() == [2, 2]
    assert found.histogram("at", [-np.inf, 0, 10]).tolist() == [2, 3]
    assert found.histogram("at", [-np.inf, np.inf]).tolist() == [len(values)]
    for ask in range(3):  # asked again, edges are kept
        assert found.histogram("at", [-np.inf, 0.5, np.inf]).tolist() == [3, 3], ask


@pytest.mark.parametrize("length", ["0D", "-1D", "0s", "-2h", "0MS"])
def test_a_length_of_time_is_more_than_nothing(index, length):
    found = put(index, "at", [0, 86_400, 10 * 86_400])
    with pytest.raises(InvalidError, match=f"'{length}' is no length of time"):
        found.histogram("at", length)


def test_bins_of_less_than_a_second_hold_the_seconds_that_lie_in_them(index):
    found = put(index, "at", [0, 1, 1, 3]).histogram("at", "500ms")
    held = {str(begin.time()): count for begin, count in found.items() if count}
    assert held == {"00:00:00": 1, "00:00:01": 2, "00:00:03": 1}
    found = index.where().histogram("at", "750ms")
    expected = pd.Series([0, 1, 1, 3]).map(lambda at: pd.Timestamp(at, unit="s").floor("750ms"))
    assert found[found > 0].to_dict() == expected.value_counts().sort_index().to_dict()


def test_counts_of_integers_beside_those_without_one_are_exact(index):
    values = [2**60 + 1, 2**60 + 3, 2**60 + 3, None, None, None]
    index.put_many([{"id": id, **({} if one is None else {"owner": one})} for id, one in enumerate(values)])
    found = index.where().facets("owner", dropna=False)
    assert found.index.tolist() == [pd.NA, 2**60 + 3, 2**60 + 1] and found.tolist() == [3, 2, 1]
    assert found[2**60 + 1] == 1 and found.index.name == "owner" and found.name == "count"
    assert found.dtype == np.int64
    assert index.where().facets("owner", top=2, dropna=False).tolist() == [3, 2]
    assert index["owner is not null"].facets("owner", dropna=False).index.dtype == np.int64


def test_counts_beside_those_without_a_value_are_of_the_kind_of_the_field(index):
    rows = [{"kind": "b"}, {"kind": "b"}, {"open": True}, {"huge": 2**63 - 1}, {"score": 0.5}]
    index.put_many([{"id": id, **row} for id, row in enumerate(rows)])
    everything = index.where()
    assert everything.facets("kind", dropna=False)["b"] == 2
    assert everything.facets("kind", dropna=False).index.isna().tolist() == [True, False]
    assert everything.facets("open", dropna=False)[True] == 1
    assert everything.facets("huge", dropna=False)[2**63 - 1] == 1
    assert everything.facets("score", dropna=False)[0.5] == 1
    assert everything.facets("kind", top=0, dropna=False).tolist() == []
