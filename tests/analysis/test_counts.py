"""Counts, tables and numbers of a selection equal those of pandas on the same documents."""

import math
import random

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import bitdex
from bitdex.analysis import along, binned, codes, counting, found, groups, kept, members, numbers, team
from bitdex.errors import InvalidError
from bitdex.query import order
from tests.analysis.shop import LISTS, NUMBERS, SCHEMA, SINGLE, change, frame_of, make
from tests.scale import scale

QUERIES = [
    None,
    "kind == 'shoe'",
    "size == 3 and not open",
    "tags has 1 or tags is null",
    "price > 50",
    "id < 0",
    "open and size != 3 and kind != 'hat'",
]
FEW, SMALL, LARGE, BYTES = counting.FEW, numbers.SMALL, numbers.LARGE, counting.BYTES


@pytest.fixture(params=range(scale(6, 200)))
def pair(request, tmp_path, monkeypatch):
    """An index and its DataFrame; every way of counting is taken, whatever the size."""
    draw = random.Random(request.param)
    monkeypatch.setattr(counting, "FEW", draw.choice([0, 2, FEW]))
    monkeypatch.setattr(groups, "FEW", draw.choice([0, groups.FEW]))
    monkeypatch.setattr(kept, "ASKED", draw.choice([1, 1, 2, 9]))
    monkeypatch.setattr(binned, "FEW", draw.choice([0, 255]))
    monkeypatch.setattr(order, "SPREAD", draw.choice([0, 10**6]))
    monkeypatch.setattr(found, "LEAST", draw.choice([0, 1, found.LEAST]))
    monkeypatch.setattr(found, "FEW", draw.choice([0, found.FEW]))
    monkeypatch.setattr(found, "BYTES", draw.choice([0, found.BYTES]))
    monkeypatch.setattr(kept, "NARROW", draw.choice([0, kept.NARROW]))
    monkeypatch.setattr(kept, "BAND", draw.choice([1, kept.BAND]))
    monkeypatch.setattr(kept, "FEW", draw.choice([0, kept.FEW]))
    monkeypatch.setattr(codes, "PER_DOCUMENT", draw.choice([0, 10**9, codes.PER_DOCUMENT]))
    monkeypatch.setattr(numbers, "PER_VALUE", draw.choice([0, 10**9, numbers.PER_VALUE]))
    monkeypatch.setattr(along, "PER_POSITION", draw.choice([0, along.PER_POSITION]))
    monkeypatch.setattr(members, "PER_POSITION", draw.choice([0, members.PER_POSITION]))
    monkeypatch.setattr(members, "ASKED", draw.choice([1, 2]))
    monkeypatch.setattr(team, "ALONE", draw.choice([0, team.ALONE]))
    monkeypatch.setattr(counting, "BYTES", draw.choice([1, 10**9]))
    monkeypatch.setattr(numbers, "SMALL", draw.choice([0, SMALL]))
    monkeypatch.setattr(numbers, "LARGE", draw.choice([0, LARGE]))
    ids = draw.sample(range(draw.choice([300, 200_000])), 150)
    with make(tmp_path / "index", draw, ids) as index:
        yield index, frame_of(index)


def parts(index, frame):
    """Yield selections, and the same rows."""
    for query in QUERIES:
        selection = index.where(query)
        yield selection, frame.loc[selection.ids.astype(np.int64)]


def exploded(frame, name):
    """Return the values of a field by row, each value of a list once."""
    held = frame[name].dropna()
    if name in LISTS:
        held = held.map(lambda one: sorted(set(one))).explode().dropna()
    return held


def by_value(counts):
    return {key.item() if hasattr(key, "item") else key: int(count) for key, count in counts.items()}


def test_facets_are_value_counts(pair):
    for selection, rows in parts(*pair):
        for name in [*SINGLE, *LISTS, *NUMBERS]:
            expected = by_value(exploded(rows, name).value_counts())
            found = selection.facets(name)
            assert by_value(found) == expected, name
            assert found.index.name == name and found.dtype == np.int64
            assert found.tolist() == sorted(found, reverse=True)
            assert by_value(selection.facets(name, top=2)) == by_value(found[:2])
            assert selection.nunique(name) == len(expected)
            missing = len(rows) - exploded(rows, name).index.nunique()
            with_missing = selection.facets(name, dropna=False)
            assert with_missing[with_missing.index.isna()].sum() == missing


def test_facets_are_what_a_snapshot_has(pair):
    for selection, _ in parts(*pair):
        snapshot = selection._snapshot
        for name in [*SINGLE, *LISTS]:
            values, counts = counting.value_counts(snapshot, selection._members, name)
            expected = {
                value: len(selection._found & snapshot.having(name, value))
                for value in snapshot.values(name).tolist()
            }
            assert dict(zip(values.tolist(), counts.tolist())) == {k: n for k, n in expected.items() if n}


def test_crosstab_is_that_of_pandas(pair):
    for selection, rows in parts(*pair):
        for row, column in [("kind", "size"), ("open", "owner"), ("state", "kind"), ("owner", "kind")]:
            known = rows[[row, column]].dropna()
            expected = pd.crosstab(known[row], known[column])
            found = selection.crosstab(row, column)
            assert (found.index.name, found.columns.name) == (row, column)
            assert found.index.tolist() == expected.index.tolist()
            assert found.columns.tolist() == expected.columns.tolist()
            assert np.array_equal(found.to_numpy(), expected.to_numpy())
    found = pair[0].where().crosstab("kind", "tags")
    both = exploded(pair[1], "tags").to_frame().join(pair[1]["kind"])
    assert np.array_equal(
        found.to_numpy(), pd.crosstab(both["kind"], both["tags"].astype(np.int64)).to_numpy()
    )


def test_cooccurrence_counts_pairs(pair):
    for selection, rows in parts(*pair):
        for name in LISTS:
            sets = [set(one) for one in rows[name].dropna()]
            found = selection.cooccurrence(name, top=4)
            assert found.index.tolist() == selection.facets(name, top=4).index.tolist()
            for one in found.index:
                for other in found.columns:
                    assert found.loc[one, other] == sum({one, other} <= held for held in sets)


def test_numbers_are_those_of_pandas(pair):
    for selection, rows in parts(*pair):
        for name in NUMBERS:
            values = rows[name].dropna().tolist()
            if name == "score":
                assert selection.sum(name) == pytest.approx(sum(values))
            else:
                assert selection.sum(name) == sum(values)
            if not values:
                told = [
                    selection.mean(name),
                    selection.min(name),
                    selection.max(name),
                    selection.quantile(name),
                ]
                assert all(map(math.isnan, told))
                continue
            assert selection.mean(name) == pytest.approx(sum(values) / len(values))
            assert (selection.min(name), selection.max(name)) == (min(values), max(values))
            ordered = sorted(values)
            for q in (0, 0.25, 0.3, 0.5, 0.99, 1):
                place = q * (len(ordered) - 1)
                assert selection.quantile(name, q, "lower") == ordered[math.floor(place)]
                assert selection.quantile(name, q, "higher") == ordered[math.ceil(place)]
            series = pd.Series(values, dtype=np.float64)
            for how in ("linear", "midpoint", "nearest"):
                expected = series.quantile([0.1, 0.5, 0.77], interpolation=how)
                assert selection.quantile(name, [0.1, 0.5, 0.77], how).tolist() == pytest.approx(
                    list(expected)
                )
            expected = sorted(zip(rows[name].dropna(), rows[name].dropna().index), reverse=True)[:3]
            assert list(zip(selection.top(name, 3), selection.top(name, 3).index)) == expected


def test_describe_is_that_of_pandas(pair):
    for selection, rows in parts(*pair):
        found = selection.describe(["price", "delta"])
        expected = rows[["price", "delta"]].astype(np.float64).describe()
        for name in ("price", "delta"):  # in floats the sum of great integers is not theirs
            values = rows[name].dropna().tolist()
            expected.loc["mean", name] = sum(values) / len(values) if values else math.nan
        assert found.index.tolist() == expected.index.tolist()
        assert np.allclose(found.to_numpy(), expected.to_numpy(), equal_nan=True)
    assert pair[0].where().describe().columns.tolist() == NUMBERS


def test_histograms_are_those_of_numpy(pair):
    edges = {"price": [0, 1, 50.5, 100, 2**32], "delta": [-5, 0, 5], "score": [-2, 0.1, 7.25], "at": [0, 9e9]}
    for selection, rows in parts(*pair):
        for name in edges:
            values = np.array(rows[name].dropna().tolist(), np.float64)
            expected, _ = np.histogram(values, edges[name])
            assert selection.histogram(name, edges[name]).tolist() == expected.tolist(), name
        values = np.array(rows["price"].dropna().tolist(), np.float64)
        for bins in (1, 7) if len(values) else ():
            expected, cuts = np.histogram(values, bins)
            found = selection.histogram("price", bins)
            assert found.tolist() == expected.tolist() and found.index.left.tolist() == cuts[:-1].tolist()


def test_histograms_by_time(pair):
    for selection, rows in parts(*pair):
        times = pd.to_datetime(pd.Series(rows["at"].dropna().tolist(), dtype=np.int64), unit="s")
        for bins, period in (("1D", "D"), ("MS", "M")):
            expected = times.dt.to_period(period).value_counts()
            found = selection.histogram("at", bins)
            assert found.sum() == len(times)
            assert {str(k.to_period(period)): n for k, n in found[found > 0].items()} == {
                str(k): n for k, n in expected.items()
            }
        for bins in ("1D", "6h", "36h", "7D"):
            found, expected = selection.histogram("at", bins), times.dt.floor(bins).value_counts()
            assert found[found > 0].to_dict() == expected.to_dict()
            if len(times):
                steps = pd.date_range(expected.index.min(), expected.index.max(), freq=bins)
                assert found.index.tolist() == steps.tolist() and found.index.name == "at"


def test_groups_are_those_of_pandas(pair):
    for selection, rows in parts(*pair):
        for name in [*SINGLE, "tags"]:
            groups = exploded(rows, name)
            assert by_value(selection.groupby(name).count()) == by_value(groups.value_counts())
            for field in NUMBERS:
                held = {}
                for id, value in groups.items():
                    held.setdefault(value, []).extend([rows.at[id, field]] * (rows.at[id, field] is not None))
                kept = {one: [v for v in values if v == v] for one, values in held.items()}
                for method, of in (("sum", sum), ("min", min), ("max", max)):
                    found = getattr(selection.groupby(name), method)(field)
                    expected = [of(kept[k]) if kept[k] or method == "sum" else math.nan for k in sorted(kept)]
                    assert found.index.tolist() == sorted(kept)
                    if any(len(one) == 0 for one in kept.values()) or field == "score":
                        assert found.astype(float).tolist() == pytest.approx(expected, nan_ok=True)
                    else:
                        assert found.tolist() == expected, (name, field, method)
                means = [sum(kept[k]) / len(kept[k]) if kept[k] else math.nan for k in sorted(kept)]
                found = selection.groupby(name).mean(field)
                assert found.tolist() == pytest.approx(means, nan_ok=True, rel=1e-9)


def test_groups_of_documents_without_a_value_are_none(tmp_path):
    with bitdex.create(tmp_path / "index", SCHEMA, sync="none") as index:
        index.put_many([{"id": id, "owner": id, "price": 1, "score": 0.5} for id in range(2 * groups.FEW)])
        index.put_many([{"id": 100, "price": 7}])
        for ids in ([100], []):
            found = index[ids].groupby("owner")
            assert len(found.count()) == 0
            assert [getattr(found, one)("price").tolist() for one in ("sum", "mean", "min", "max")] == [
                []
            ] * 4
            assert found.sum("price").dtype == np.int64 and found.mean("price").dtype == np.float64
            assert found.max("score").dtype == np.float64 and found.sum("price").index.name == "owner"


def test_totals_of_what_two_sets_share_where_each_is_large_and_both_are_small(tmp_path):
    schema = {
        "name": "two",
        "config": {
            "filter_fields": [{"name": one, "field_type": "single_value"} for one in "ab"],
            "sort_fields": [{"name": "n"}],
        },
    }
    ids = np.arange(60_000)
    table = pa.table({"id": ids, "a": ids % 10, "b": ids // 10 % 10, "n": ids})
    with bitdex.create(tmp_path / "index", schema, sync="none") as index:
        phase = {"name": "rows", "slot_field": "id", "sets_alive": True, "fields": ["a", "b", "n"]}
        index.dump(phase, {"rows": table})
        expected = ids[(ids % 10 == 1) & (ids // 10 % 10 == 2)]
        assert found.LEAST < numbers.SMALL < len(ids) // 10 and len(expected) < numbers.SMALL
        query = "a == 1 and b == 2"
        for ask in ("sum", "min", "max", "mean"):
            assert getattr(index[query], ask)("n") == getattr(expected, ask)(), ask
        for method in ("sum", "mean", "min", "max"):
            told = getattr(index[query].groupby("b"), method)("n")
            assert told.to_dict() == {2: getattr(expected, method)()}
        assert index[query].nunique("n") == len(expected)


@pytest.mark.parametrize("kind", [float, np.float16, np.float32, np.float64, np.int8])
def test_a_quantile_takes_numbers_of_numpy(compacted, kind):
    found = compacted.where()
    for q in (0, 1) if kind is np.int8 else (0, 0.25, 0.5, 1):
        assert found.quantile("price", kind(q)) == found.quantile("price", q)
    with pytest.raises(InvalidError, match="q: 'half' is no number from 0 to 1"):
        found.quantile("price", "half")


@pytest.fixture
def compacted(tmp_path, monkeypatch):
    """An index whose documents lie in the data files; what is asked twice is counted by codes."""
    monkeypatch.setattr(order, "SPREAD", 10**6)
    with bitdex.create(tmp_path / "index", SCHEMA, sync="none") as index:
        change(index, random.Random(3), list(range(900)))
        index.compact()
        yield index


def ask(index):
    """Ask for the counts of all fields, and compare them with those of the documents."""
    frame = frame_of(index)
    for name in [*SINGLE, *LISTS]:
        expected = by_value(exploded(frame, name).value_counts())
        assert by_value(index.where().facets(name)) == expected, name
    return index.stats()["kept"]["codes"]


def test_codes_are_made_of_fields_that_are_asked_for_twice_and_end_with_the_file(compacted):
    index = compacted
    assert ask(index) == 0
    size = ask(index)
    assert size == index.stats()["kept"]["codes"] > 65536 * len(SINGLE)
    for id in range(0, 900, 300):  # their fields are altered in the logs
        index.patch(id, {"owner": 7, "tags": [1, 77]})
        assert ask(index) == size
    index.delete(list(range(5)))
    index.put_many([{"id": 70_000, "kind": "boot", "tags": [77, 78], "owner": 12}])  # behind the codes
    assert ask(index) == size
    before = index.where()
    index.compact()
    ask(index), ask(index)
    assert before.facets("tags").tolist() == index.where().facets("tags").tolist()


def test_codes_have_room_for_documents_that_come_back(compacted):
    index, far = compacted, {"id": 200_000, "kind": "shoe", "owner": 7, "tags": [1, 2], "state": "new"}
    index.put_many([far])
    index.compact()
    index.delete(200_000)
    ask(index), ask(index)
    index.put_many([far])  # what it has may be in the file still
    assert ask(index) > 0


def test_codes_take_the_memory_that_they_may(compacted, monkeypatch):
    ask(compacted)
    largest = 65536 * 4 + 10_000  # one column of 32 bits, or lists
    monkeypatch.setattr(kept, "BYTES", largest)
    for _ in range(3):
        assert 0 < ask(compacted) <= largest
    monkeypatch.setattr(kept, "BYTES", 1000)
    compacted.compact()
    compacted.put_many([{"id": 1, "owner": 3}])
    compacted.compact()
    for _ in range(3):
        assert ask(compacted) == 0


def test_codes_are_not_made_where_ids_lie_far_apart(compacted, monkeypatch):
    monkeypatch.setattr(order, "SPREAD", 4)
    compacted.put_many([{"id": 2**32 - 1, "kind": "far"}])
    compacted.compact()
    for _ in range(3):
        assert ask(compacted) == 0


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda s: s.facets("sise"), "'sise'"),
        (lambda s: s.facets("kind", top=-1), "top: -1"),
        (lambda s: s.sum("kind"), "no sort field.*price"),
        (lambda s: s.crosstab("kind", "price"), "'price' is a sort field only"),
        (lambda s: s.cooccurrence("price"), "'price' is a sort field only"),
        (lambda s: s.groupby("price"), "'price' is a sort field only"),
        (lambda s: s.quantile("price", 1.5), "q: 1.5"),
        (lambda s: s.quantile("price", 0.5, "cubic"), "'cubic' is none of linear"),
        (lambda s: s.histogram("price", 0), "bins: 0"),
        (lambda s: s.histogram("price", [3, 1]), "ascending"),
        (lambda s: s.histogram("price", "1 elephant"), "'1 elephant' is no length of time"),
        (lambda s: s.groupby(["kind", "size"]), r"name of one, found \['kind', 'size'\]"),
        (lambda s: s.histogram("score", "1D"), "'score' is a float"),
        (lambda s: s.histogram("at", "1s"), "at most 100,000"),
    ],
)
def test_what_cannot_be_counted_is_told(ask, said, tmp_path):
    with (
        make(tmp_path / "index", random.Random(1), list(range(60))) as index,
        pytest.raises(InvalidError, match=said),
    ):
        ask(index.where())


def test_groups_say_what_they_are(tmp_path):
    with make(tmp_path / "index", random.Random(1), list(range(60))) as index:
        assert repr(index.where().groupby("kind")) == "<Groups of 60 documents by 'kind'>"


def test_an_empty_index_has_no_counts(tmp_path):
    with bitdex.create(
        tmp_path / "index",
        {
            "name": "empty",
            "config": {
                "sort_fields": [{"name": "n"}],
                "filter_fields": [{"name": "k", "field_type": "single_value"}],
            },
        },
    ) as index:
        everything = index.where()
        assert len(everything) == 0 and not everything
        assert everything.facets("k").empty and everything.crosstab("k", "k").empty
        assert everything.sum("n") == 0 and everything.histogram("n", 5).empty
        assert everything.groupby("k").sum("n").empty and everything.describe().loc["count"].tolist() == [0]
        assert everything.mask().tolist() == [] and everything.ids.tolist() == []
