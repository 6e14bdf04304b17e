"""`why` and `relax` say what the definition of right says; a plan has a row for every step."""

import datetime
import time

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bitdex
from bitdex import charts
from bitdex.errors import InvalidError, NotFoundError
from bitdex.index import Index
from bitdex.query.clauses import And, Clause, Not
from tests.index.test_query_model import CLAUSES, QUICK, pair  # noqa: F401
from tests.oracle import Oracle

f = bitdex.field


@QUICK
@given(clause=CLAUSES, data=st.data())
def test_why_is_the_definition(
    pair: tuple[Index, Oracle],  # noqa: F811
    clause: Clause,
    data: st.DataObject,
) -> None:
    index, oracle = pair
    slot = data.draw(st.sampled_from(sorted(oracle.documents)))
    frame = index.why(slot, clause)
    assert bool(frame["holds"][0]) == oracle.matches(clause, slot)
    assert frame["depth"].tolist() == [0, *frame["depth"][1:]] and (frame["depth"][1:] > 0).all()


@QUICK
@given(clauses=st.lists(CLAUSES, min_size=1, max_size=5))
def test_relax_is_the_query_without_a_clause(pair: tuple[Index, Oracle], clauses: list[Clause]) -> None:  # noqa: F811
    index, _ = pair
    whole = And(tuple(clauses))
    frame, total = index.relax(whole), index.count(whole)
    assert frame.attrs["total"] == total
    flat = [member for one in clauses for member in (one.clauses if type(one) is And else (one,))]
    flat = [member for one in flat for member in (one.clauses if type(one) is And else (one,))]
    if any(type(one) is And for one in flat):
        return  # nested deeper than this test flattens
    expected = {}
    for place, one in enumerate(flat):
        rest = And(tuple(flat[:place] + flat[place + 1 :]))
        expected.setdefault(str(one), []).append(
            (index.count(one), index.count(rest), index.count(rest) - total)
        )
    found = {}
    for row in frame.itertuples():
        found.setdefault(row.clause, []).append((row.matches, row.without, row.costs))
    assert {text: sorted(rows) for text, rows in found.items()} == {
        text: sorted(rows) for text, rows in expected.items()
    }
    assert frame["costs"].is_monotonic_decreasing and (frame["costs"] >= 0).all()


def test_clauses_have_rows_with_the_document_s_value(shop: Index) -> None:
    where = ((f.size == 40) | (f.price > 5)) & ~f.tags.has(9) & (f.kind == "hat")
    frame = shop.why(1, where)
    assert frame[["depth", "holds"]].to_numpy().tolist() == [
        *([0, False], [1, True], [2, True], [2, True]),
        *([1, False], [2, True], [1, False]),
    ]
    assert frame["clause"].tolist()[:4] == ["all of", "  any of", "    size == 40", "    price > 5"]
    assert frame["value"].tolist() == [None, None, 40, 10, None, [7, 9], "Shoe"]


def test_a_document_that_is_not_there_has_no_reasons(shop: Index) -> None:
    with pytest.raises(NotFoundError, match="document 5 does not exist"):
        shop.why(5, "size == 40")
    with pytest.raises(InvalidError, match="id"):
        shop.why(-1, "size == 40")


def test_a_document_that_waits_says_so(indexes) -> None:
    schema = {
        "name": "later",
        "config": {"sort_fields": [{"name": "at"}], "deferred_alive": {"source_field": "at"}},
    }
    with indexes.create(schema) as index:
        table = pd.DataFrame({"slot": [1, 2], "at": [5, int(time.time()) + 9999]})
        phase = {"name": "rows", "slot_field": "slot", "sets_alive": True, "fields": ["at"]}
        index.dump(phase, {"rows": table})
        assert index.why(1, "at == 5")["holds"].tolist() == [True]
        with pytest.raises(NotFoundError, match="document 2 waits for its time"):
            index.why(2, "at == 5")


def test_windows_hold_at_their_moment(pair: tuple[Index, Oracle]) -> None:  # noqa: F811
    index, _ = pair
    slot = int(index.query("at > 0", sort="-at", limit=1).ids[0])
    at = index.get(slot)["at"]
    inside, outside = (index.why(slot, "atUnix within '24h'", now=now) for now in (at + 60, at + 99999))
    assert inside["holds"].tolist() == [True] and inside["value"].tolist() == [at]
    assert outside["holds"].tolist() == [False]


def test_a_document_is_explained_in_a_millisecond(images: Index) -> None:
    where = "nsfwLevel in [1, 2] and tagIds has 304 and not poi and sortAt >= '2024-01-01'"
    slot = int(images.ids()[0])
    images.why(slot, where)
    spent = []
    for _ in range(9):
        clock = time.perf_counter()
        images.why(slot, where)
        spent.append(time.perf_counter() - clock)
    assert min(spent) < 0.005  # five times what it takes here, for a busy machine


# -- plans -------------------------------------------------------------------------------


def test_a_plan_tells_containers_bytes_and_what_was_at_hand(site) -> None:
    where = "nsfwLevel in [1, 2] and not poi and type == 'image' and sortAt >= '2024-01-01'"
    with bitdex.open(site, "r") as index:
        cold, warm = index.explain(where), index.explain(where)
        assert cold["cache"].tolist() == ["miss"] * 4 and warm["cache"].tolist() == ["hit"] * 4
        assert (cold["prepared"] > 0).all()
        for _, row in warm[warm["action"] != "range"].iterrows():
            parts = index.snapshot.having("poi", 0), index.snapshot.having("poi", 1)
            assert row["bytes"] > 0 and row["arrays"] + row["bitsets"] + row["runs"] > 0
            if "poi" in row["clause"]:
                told = [one.get_statistics()["n_containers"] for one in parts]
                assert row["arrays"] + row["bitsets"] + row["runs"] in told
        assert warm.loc[warm["action"] == "range", ["arrays", "bitsets", "runs"]].to_numpy().sum() == 0
        assert index.explain("poi is null or tagIds between 1 and 3")["cache"][0] == "miss"
        assert index.explain("poi is null or tagIds between 1 and 3")["cache"][0] == "hit"


def test_what_is_cut_out_of_a_plan_is_a_plain_frame(shop: Index) -> None:
    plan = shop.explain("size == 40")
    assert type(plan[["clause"]]) is pd.DataFrame and type(plan.query("left > 0")) is pd.DataFrame


def test_labels_of_a_chart_are_short_and_no_formulas() -> None:
    assert charts.plain("a $x$\n b") == r"a \$x\$ b" and len(charts.plain("x" * 999)) == charts.LONGEST


def test_moments_are_dates_too(shop: Index) -> None:
    assert shop.relax("price > 5", now=datetime.datetime(2024, 1, 1)).attrs["total"] == 2
    assert shop.why(1, Not(f.price == 10))["holds"].tolist() == [False, True]
