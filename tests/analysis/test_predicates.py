"""Functions of users keep what pandas keeps, whatever fields they take and wherever these lie."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pandas as pd
import pytest

import bitdex
from bitdex.analysis import predicates
from bitdex.errors import InvalidError
from tests.analysis.shop import change, frame_of, make
from tests.inside.test_manners import PATIENCE, interrupted_after


def cheap(price, delta):
    return price < 100 and delta >= 0


@numba.njit
def scored(score, open):
    return score > 0.05 and not open


def owned(owner, size):
    return owner < size or owner > 2**46


def late(at, huge, score):
    return at >= 0 and huge <= 2**53 + 1 and score != 7.25


def odd(id):
    return id % 3 == 1


ASKED = [
    (cheap, ["price", "delta"]),
    (scored, ["score", "open"]),
    (owned, ["owner", "size"]),
    (late, ["at", "huge", "score"]),
    (odd, ["id"]),
]


def expected(frame, function, fields, ids):
    """Return the ids that pandas keeps: rows with all values, for which the function is true."""
    plain = getattr(function, "py_func", function)
    rows = frame.assign(id=frame.index).loc[ids, fields].dropna()
    return rows.index[[bool(plain(*row)) for row in rows.itertuples(index=False)]].tolist()


@pytest.mark.parametrize("lie", ["apart", "together"])
@pytest.mark.parametrize("seed", range(3))
def test_it_keeps_what_pandas_keeps(tmp_path, monkeypatch, seed, lie):
    monkeypatch.setattr(predicates, "DENSE", 0)
    monkeypatch.setattr(predicates, "BLOCK", 64)
    draw = random.Random(seed)
    ids = draw.sample(range(300_000), 240) if lie == "apart" else list(range(240))
    with make(tmp_path / "index", draw, ids) as index:
        for _ in range(2):
            frame = frame_of(index)
            for function, fields in ASKED:
                for chosen in (
                    index.where(),
                    index["size == 3"],
                    index["price > 1 or open"],
                    index["id < 0"],
                ):
                    kept = chosen.where_jit(function, *fields)
                    assert kept.ids.tolist() == expected(frame, function, fields, chosen.ids)
            change(index, draw, draw.sample(ids, 9))  # now some values lie in edits


STORED = {
    "name": "stored",
    "config": {"sort_fields": [{"name": "price"}]},
    "data_schema": {
        "fields": [
            {"source": name, "target": name, "value_type": kind, "doc_only": True, **more}
            for name, kind, more in (
                ("depth", "integer", {}),
                ("ratio", "float", {}),
                ("seen", "boolean", {}),
                ("level", "integer", {"default": 4}),
                ("note", "string", {}),
            )
        ]
    },
}


def test_fields_that_are_only_stored(tmp_path):
    draw = random.Random(1)
    taken = {"depth": [-(2**63), -1, 0, 5, 2**63 - 1], "ratio": [-0.5, 0.0, 3.5], "seen": [True, False]}
    taken |= {"level": [1, 9], "price": [7, 0]}
    rows = [
        {"id": one, **{name: draw.choice(values) for name, values in taken.items() if draw.random() < 0.8}}
        for one in range(500)
    ]
    asked = [
        (lambda depth, ratio: depth < 0 or ratio > 1, ["depth", "ratio"]),
        (lambda seen, level: seen and level < 5, ["seen", "level"]),
        (lambda price, depth, seen: price > 1 and depth >= 0 and not seen, ["price", "depth", "seen"]),
    ]
    with bitdex.create(tmp_path / "index", STORED, sync="none") as index:
        index.put_many(rows)
        frame = pd.DataFrame([index.get(row["id"]) for row in rows], dtype=object).set_index("id")
        for function, fields in asked:
            kept = index.where().where_jit(function, *fields)
            assert kept.ids.tolist() == expected(frame, function, fields, frame.index) and 0 < len(kept) < 500
        with pytest.raises(InvalidError, match="'note' holds texts"):
            index.where().where_jit(lambda note: True, "note")


SORTED = {"name": "sorted", "config": {"sort_fields": [{"name": "price"}]}}


def test_large_sets_in_all_shapes(tmp_path):
    """Chunks of which nearly all, some and no documents are kept, by slot and in blocks."""
    ids = np.concatenate((np.arange(70_000), np.arange(200_000, 202_000), [300_000]))
    price = np.random.default_rng(2).integers(0, 1000, len(ids))
    phase = {"name": "rows", "slot_field": "id", "sets_alive": True, "fields": ["price"]}
    with bitdex.create(tmp_path / "index", SORTED, sync="none") as index:
        index.dump([phase], {"rows": pd.DataFrame({"id": ids, "price": price})})
        for least in (-1, 0, 500, 995, 1000):
            kept = index.where().where_jit(numba.njit(lambda price, least=least: price > least), "price")
            assert kept.ids.tolist() == ids[price > least].tolist()
            some = index[ids[::2]].where_jit(lambda price, id, least=least: price > least, "price", "id")
            assert some.ids.tolist() == ids[::2][price[::2] > least].tolist()


FILTERED = {
    "name": "filtered",
    "config": {
        "filter_fields": [
            {"name": "kind", "field_type": "single_value"},
            {"name": "owner", "field_type": "single_value"},
            {"name": "open", "field_type": "boolean"},
        ],
        "sort_fields": [{"name": "price"}],
    },
    "data_schema": {"fields": [{"source": "open", "target": "open", "value_type": "boolean"}]},
}


def test_codes_of_filter_fields_are_used_until_logs_alter_them(tmp_path, monkeypatch):
    rng, count = np.random.default_rng(4), 70_000
    frame = pd.DataFrame(
        {
            "id": np.arange(count),
            "kind": pd.array(rng.integers(0, 9, count), "Int64"),
            "owner": rng.integers(-5000, 5000, count),
            "open": rng.integers(0, 2, count) == 1,
            "price": rng.integers(0, 100, count),
        }
    )
    frame.loc[::7, "kind"] = None
    phase = {"name": "rows", "slot_field": "id", "sets_alive": True, "fields": [*frame.columns[1:]]}
    function = numba.njit(lambda kind, owner, open, price, id: (owner < kind or not open) and price > id % 50)
    gathered = []
    real = predicates.Predicate._in_blocks
    monkeypatch.setattr(
        predicates.Predicate, "_in_blocks", lambda self, f: (gathered.append(len(f)), real(self, f))[1]
    )
    with bitdex.create(tmp_path / "index", FILTERED, sync="none") as index:
        index.dump([phase], {"rows": frame})

        def check():
            kept = index.where().where_jit(function, "kind", "owner", "open", "price", "id")
            there = frame.dropna()
            k, o, p, i = (there[name].to_numpy(np.int64) for name in ("kind", "owner", "price", "id"))
            wanted = ((o < k) | ~there["open"].to_numpy(bool)) & (p > i % 50)
            assert kept.ids.tolist() == i[wanted].tolist()

        for _ in range(4):
            check()
        assert 0 < len(gathered) < 4  # the last ones went by slot
        before = len(gathered)
        index.patch(3, {"kind": 8, "owner": -7})
        frame.loc[3, ["kind", "owner"]] = 8, -7
        check()
        assert len(gathered) == before + 1


@pytest.fixture
def index(tmp_path):
    draw = random.Random(5)
    with make(tmp_path / "index", draw, draw.sample(range(100_000), 300)) as index:
        yield index


def test_it_composes_and_explains_itself(index):
    low = index["open"].where_jit(cheap, "price", "delta")
    ids = set(low.ids.tolist())
    shoes = set(index.ids("kind == 'shoe'").tolist())
    asked = index["open"].where_jit(cheap, "price", "delta")
    assert set(asked & "kind == 'shoe'") == ids & shoes and len(asked & "kind == 'shoe'") == len(ids & shoes)
    assert set(~asked) == set(index.ids().tolist()) - ids and set("kind == 'shoe'" | asked) == ids | shoes
    assert set(asked ^ "kind == 'shoe'") == ids ^ shoes and set(asked - asked.where_jit(odd, "id")) == {
        one for one in ids if one % 3 != 1
    }
    plan = (index["open"].where_jit(cheap, "price", "delta") & "size == 3").explain()
    assert plan["action"].tolist() == ["start", "and", "call"]
    assert plan["clause"].iloc[-1] == "cheap(price, delta)" and plan["left"].iloc[-1] == len(
        low & "size == 3"
    )
    assert "cheap(price, delta)" in repr(low) and "cheap(price, delta)" in plan._repr_html_()
    index.sets["low"] = low
    assert index.sets["low"] == low and low.facets("kind").sum() <= len(low)


def test_it_is_called_for_candidates_only_and_once(index, monkeypatch):
    sizes = []
    real = predicates.Predicate.__call__
    monkeypatch.setattr(
        predicates.Predicate, "__call__", lambda self, f: (sizes.append(len(f)), real(self, f))[1]
    )
    few = index["kind == 'shoe'"].where_jit(odd, "id") & "price > 50"
    assert sizes == []
    few.ids, len(few), list(few)
    assert sizes == [index.count("kind == 'shoe' and price > 50")]


def test_a_state_is_kept(index):
    kept = index.where().where_jit(odd, "id")
    index.put({"id": 999_997, "price": 1})
    assert 999_997 % 3 == 1 and 999_997 not in kept and 999_997 in index.where().where_jit(odd, "id")


def test_what_a_function_raises_is_raised(index):
    @numba.njit
    def strict(price):
        if price > 50:
            raise ValueError("too dear")
        return True

    with pytest.raises(ValueError, match="too dear"):
        index.where().where_jit(strict, "price").ids  # noqa: B018 - it is run now
    divided = index.where().where_jit(lambda price: 1.0 / price > 2.0, "price")  # as in NumPy
    assert divided == index["price == 0"]


class Callable:
    def __call__(self, price):
        return True


@pytest.mark.parametrize(
    ("function", "fields", "said"),
    [
        (odd, [], "name the fields"),
        (odd, ["prce"], "use 'price'"),
        (odd, ["kind"], r"'kind' holds texts.*index\[\"kind == 'a'\"\]"),
        (odd, ["state"], "'state' holds texts"),
        (odd, ["tags"], "'tags' holds lists.*has 1"),
        (odd, ["price", "delta"], r"odd\(int64, int64\) cannot be compiled"),
        (cheap, ["price"], r"cheap\(int64\) cannot be compiled"),
        (lambda price: price.upper(), ["price"], r"cannot be compiled by Numba.*upper"),
        (lambda price: price + 1, ["price"], "returns int64; return a boolean"),
        (lambda score: None, ["score"], r"\(float64\) returns none"),
        (5, ["price"], "5 is no function"),
        (np.sqrt, ["price"], "cannot be compiled"),
        (len, ["price"], "cannot be compiled"),
        (Callable(), ["price"], "cannot be compiled"),
        (numba.njit(parallel=True)(odd), ["price"], "parallel=True"),
    ],
)
def test_what_cannot_be_is_told_at_once(index, function, fields, said):
    with pytest.raises(InvalidError, match=f"(?s){said}"):
        index.where().where_jit(function, *fields)


def test_threads_may_ask_side_by_side(index):
    expected = index.where().where_jit(odd, "id").ids.tolist()
    start = threading.Barrier(4)

    def ask(number):
        def mine(price, id):
            return id % 3 == 1 and price >= -number

        start.wait()
        return index.where().where_jit(odd, "id").ids.tolist(), index.where().where_jit(mine, "price", "id")

    with ThreadPoolExecutor(4) as pool:
        for ids, kept in pool.map(ask, range(4)):
            assert ids == expected and kept == index["price >= 0"].where_jit(odd, "id")


@pytest.mark.parametrize("lie", ["apart", "together"])
def test_an_interrupt_ends_it(tmp_path, lie):
    @numba.njit
    def slow(price):
        total = price
        for i in range(20_000):
            total = (total * 7 + i) % 1013
        return total > 500

    ids = np.arange(150_000) * (9 if lie == "apart" else 1)
    phase = {"name": "rows", "slot_field": "id", "sets_alive": True, "fields": ["price"]}
    with bitdex.create(tmp_path / "index", SORTED, sync="none") as index:
        index.dump([phase], {"rows": pd.DataFrame({"id": ids, "price": ids % 1000})})
        few = index[ids[:200]].where_jit(slow, "price").ids.tolist()  # compiles
        for delay in (0.03, 0.2):
            waited = interrupted_after(delay, lambda: index.where().where_jit(slow, "price").ids)
            assert waited is not None and waited < PATIENCE
        assert index[ids[:200]].where_jit(slow, "price").ids.tolist() == few
