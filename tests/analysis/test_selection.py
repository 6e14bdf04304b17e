"""Selections are sets: of ids, of Python, of pandas; lazy, of one state, in one plan."""

import itertools
import operator
import random

import numpy as np
import pandas as pd
import pytest
from pyroaring import BitMap

import bitdex
from bitdex.errors import ClosedError, InvalidError
from bitdex.query import plan
from tests.analysis.shop import make

f = bitdex.field


@pytest.fixture
def index(tmp_path):
    draw = random.Random(5)
    with make(tmp_path / "index", draw, draw.sample(range(100_000), 300)) as index:
        yield index


def test_every_way_to_ask_gives_the_same(index):
    expected = index.ids("kind == 'shoe'").tolist()
    ways = [index.where("kind == 'shoe'"), index["kind == 'shoe'"], index[f.kind == "shoe"]]
    ways += [index[{"kind": "shoe"}], index.where(expected), index.where(ways[0]), index[BitMap(expected)]]
    for selection in ways:
        assert selection.ids.tolist() == expected and selection.ids.dtype == np.uint32
        assert selection == ways[0] and len(selection) == len(expected)
    assert len(index.where()) == len(index) and index[f.open] == index["open"]


def test_algebra_is_that_of_python_sets(index):
    draw = random.Random(7)
    queries = ["kind == 'shoe'", "price > 50", "tags has 1", "not open", "size in [0, 3]", "id < 0", None]
    everything = set(index.ids().tolist())
    operators = [operator.and_, operator.or_, operator.sub, operator.xor]
    for _ in range(60):
        selection, expected = index.where(draw.choice(queries)), None
        expected = (
            set(selection.ids.tolist()) if draw.random() < 0.5 else set(index.ids(selection._text).tolist())
        )
        for _ in range(draw.randint(1, 6)):
            query, how = draw.choice(queries), draw.choice(operators)
            other = index.where(query)
            ids = set(index.ids(query).tolist())
            turned = draw.random() < 0.3
            given = draw.choice([other, ids, sorted(ids), np.array(sorted(ids), int), BitMap(ids), query])
            if given is None:
                given = other
            if turned and how is not operator.sub and not isinstance(given, set | BitMap | str | list):
                selection = how(given, selection)
            else:
                selection = how(selection, given)
            expected = how(expected, ids)
            if draw.random() < 0.3:
                selection, expected = ~selection, everything - expected
            if draw.random() < 0.3:
                assert len(selection) == len(expected)
        assert set(selection) == expected and selection == expected and selection == sorted(expected)
        assert bool(selection) is bool(expected) and len(selection) == len(expected)


def test_subtraction_from_ids(index):
    first, others = index["price > 50"], index.ids()[:20]
    assert (others - first).ids.tolist() == sorted(set(others.tolist()) - set(first))


def test_clauses_combine_with_selections_on_both_sides(index):
    selection, clause, flag = index["price > 50"], f.price < 80, f.open
    for one, other in ((clause, selection), (flag, selection), (clause & flag, selection)):
        assert (one & other) == (other & one) == index[one] & selection
        assert (one | other) == (other | one) == index[one] | selection
        assert (one ^ other) == (other ^ one) and (one - other) == index[one] - selection


def test_members(index):
    selection = index["open"]
    inside, outside = next(iter(selection)), next(iter(~selection))
    assert inside in selection and np.uint32(inside) in selection and outside not in selection
    assert all(one not in selection for one in (-1, 2**32, "1", 1.0, True, None))
    assert list(selection) == selection.ids.tolist() == np.asarray(selection).tolist() == sorted(selection)
    assert np.asarray(selection, np.int64).dtype == np.int64


def test_equality_with_other_things(index):
    selection = index["open"]
    assert selection != index["not open"] and selection != [1] and selection != 5
    assert (selection == "open") is False
    with pytest.raises(TypeError, match="unhashable"):
        hash(selection)


def test_a_mask_and_pandas(index):
    selection, ids = index["price > 50"], index.ids().astype(np.int64)
    frame = pd.DataFrame({"n": range(len(ids))}, index=ids)
    expected = selection.ids.tolist()
    assert frame[selection.isin(frame.index)].index.tolist() == expected
    assert frame.loc[selection.ids].index.tolist() == expected
    assert np.flatnonzero(selection.mask()).tolist() == expected
    assert len(selection.mask()) == ids.max() + 1
    assert np.flatnonzero(selection.mask(1000)).tolist() == [one for one in expected if one < 1000]
    dense = pd.DataFrame({"n": range(int(ids.max()) + 50)})
    assert dense[selection.mask(len(dense))].index.tolist() == expected
    strange = np.array([[-1, expected[0]], [2**40, expected[-1]]])
    assert selection.isin(strange).tolist() == [[False, True], [False, True]]
    assert selection.isin([]).tolist() == [] and not index["id < 0"].isin(ids).any()


def test_labels_far_apart(tmp_path):
    with bitdex.create(tmp_path / "index", {"name": "far"}) as index:
        index.put_many([{"id": 3}, {"id": 2**32 - 1}])
        selection = index.where()
        assert selection.isin([3, 4, 2**32 - 1, -1]).tolist() == [True, False, True, False]
        assert (~index.where([3])).ids.tolist() == [2**32 - 1]


def test_a_bitmap_is_the_users_own(index):
    selection = index["open"]
    held = selection.bitmap
    with pytest.raises(AttributeError):
        held.add(5)
    assert BitMap(held) == BitMap(selection.ids) and index["open"] == selection


def test_samples(index):
    selection = index["price >= 0"]
    once, again, other = (selection.sample(20, seed) for seed in (1, 1, 2))
    assert once == again != other and len(once) == 20 and once - selection == []
    assert selection.sample(len(selection)) == selection and len(selection.sample(0)) == 0
    drawn = np.concatenate([selection.sample(20, seed).ids for seed in range(400)])
    counts = np.unique(drawn, return_counts=True)[1]
    assert len(counts) == len(selection)
    mean = 400 * 20 / len(selection)
    spread = ((counts - mean) ** 2 / mean).sum()  # chi-square with len - 1 degrees of freedom
    assert abs(spread - len(counts)) < 6 * np.sqrt(2 * len(counts))
    with pytest.raises(InvalidError, match="from 0 to"):
        selection.sample(len(selection) + 1)


def test_it_is_planned_and_run_once(index, monkeypatch):
    calls = []
    for name in ("plan", "run", "count"):
        real = getattr(plan, name)
        monkeypatch.setattr(plan, name, lambda *a, name=name, real=real: (calls.append(name), real(*a))[1])
    both = index["open"] & "price > 50"
    assert calls == []
    len(both), both.ids, both.ids, list(both), both.facets("kind"), both.to_pandas(["kind"]), len(both)
    assert calls.count("plan") == calls.count("run") == calls.count("count") == 1
    three = both - "size == 3"
    calls.clear()
    assert len(three) <= len(both) and calls == ["plan", "count"]
    assert three.explain()["clause"].tolist()[0] in str(three) or len(three.explain()) >= 2


def test_a_plan_can_be_explained(index):
    found = (index["open"] & "price > 50").explain()
    assert {"step", "action", "clause", "cardinality", "left", "microseconds", "bytes"} <= set(found.columns)
    assert found["left"].iloc[-1] == len(index["open and price > 50"])


def test_long_chains(index):
    selection = index["open"]
    for _ in itertools.repeat(None, 3000):
        selection = (selection & "price >= 0") | "id == 1"
        selection.ids  # noqa: B018 - it is run, so the next builds on what was found
    union = index["id < 0"]
    for value in range(2000):
        union = union | [value]
    assert union == index["id < 2000"]


def test_a_set_may_be_combined_any_number_of_times(index):
    selection, expected = index["open"], set(index["open"])
    every = {name: set(index[name]) for name in ("price >= 3", "open", "id > 50")}
    for number in range(1500):
        if number % 3 == 0:
            selection, expected = ~selection, set(index.ids().tolist()) - expected
        selection = ((selection & "price >= 3") ^ "open") | index["id > 50"]
        expected = ((expected & every["price >= 3"]) ^ every["open"]) | every["id > 50"]
    assert set(selection) == expected and len(selection.explain())


def test_a_state_is_kept(index):
    before = index["kind == 'shoe'"]
    every = index.where()
    gone, count = int(before.ids[0]), len(every)
    index.delete(gone)
    index.put({"id": 999_999, "kind": "shoe", "price": 4})
    assert gone in before and 999_999 not in before and len(every) == count
    assert before.to_pandas(["kind"])["kind"].tolist() == ["shoe"] * len(before)
    after = index["kind == 'shoe'"]
    assert after == set(before.ids.tolist()) - {gone} | {999_999}
    assert (after & before).ids.tolist() == sorted(set(after.ids.tolist()) & set(before.ids.tolist()))
    assert (before | after).ids.tolist() == before.ids.tolist()  # of the state of the first
    assert before.facets("kind")["shoe"] == len(before)


def test_two_indexes_do_not_mix(index, tmp_path):
    with bitdex.create(tmp_path / "other", {"name": "other"}) as other:
        with pytest.raises(InvalidError, match=r"two indexes.*other\.ids"):
            index["open"] & other.where()
        with pytest.raises(InvalidError, match="two indexes"):
            _ = index["open"] == other.where()
        with pytest.raises(InvalidError, match="another index"):
            index.sets["a"] = other.where()


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda i: i["kin == 1"], "kind"),
        (lambda i: i["open"] & "price >", "price >"),
        (lambda i: i["open"] & 5, "5 is no set"),
        (lambda i: i[7], "7 is no set"),
        (lambda i: i.where([-1]), "-1"),
        (lambda i: i.where([2**32]), "4294967296"),
        (lambda i: i.where([1.5]), "1.5 is no whole number"),
        (lambda i: i["open"].mask(-1), "size: -1"),
        (lambda i: i["open"].isin(["a"]), "labels"),
        (lambda i: i["open"].sample(-1), "n: -1"),
        (lambda i: i["open"].head(-1), "limit: -1"),
        (lambda i: i["open"].to_pandas("kind"), r"\['kind'\]"),
        (lambda i: i["open"].to_pandas(["kinds"]), "kind"),
        (lambda i: i["open"].to_pandas(sort="kind"), "not a sort field"),
    ],
)
def test_what_cannot_be_is_told(index, ask, said):
    with pytest.raises(InvalidError, match=said):
        ask(index)


def test_an_index_is_no_sequence(index):
    with pytest.raises(TypeError):
        iter(index)


def test_a_closed_index(index):
    index.close()
    with pytest.raises(ClosedError):
        index["open"]


def test_overlap_and_jaccard(index):
    sets = {"a": index["open"], "b": index["price > 50"], "c": index["id < 0"], "d": index["id < 0"]}
    shared, alike = bitdex.overlap(sets), bitdex.jaccard(sets)
    held = {name: set(one) for name, one in sets.items()}
    for one, other in itertools.product(sets, sets):
        assert shared.loc[one, other] == len(held[one] & held[other])
        union = len(held[one] | held[other])
        assert alike.loc[one, other] == (len(held[one] & held[other]) / union if union else 1)
    assert bitdex.overlap(list(sets.values())).to_numpy().tolist() == shared.to_numpy().tolist()


def test_what_it_looks_like(index):
    selection = index["open"] - "price > 50"
    assert (
        repr(selection) == f"<Selection of {len(selection)} documents: (open == true) and (not (price > 50))>"
    )
