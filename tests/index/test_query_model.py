"""Any query over two thousand documents: ids, totals, order and pages are the naive oracle's."""

import random
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bitdex
from bitdex.index import Index
from bitdex.query.clauses import And, Clause, Eq, In, Not, Or
from tests.index.writings import as_json, as_python
from tests.oracle import Oracle
from tests.query.trees import SCHEMA, leaves, trees

ROWS, HIDDEN = 2000, 100
SORTS = [None, *(field.name for field in SCHEMA.sort_fields)]
QUICK = settings(max_examples=300, derandomize=True, deadline=None)
CLAUSES = trees(leaves())


def random_document(rng: random.Random) -> dict[str, Any]:
    """Return a document in which every field may be missing."""
    levels = [-3, -1, 0, 1, 2, 3, 5]
    values = {
        "level": rng.choice(levels),
        "owner": rng.choice([*levels, 2**40, 2**63 - 1, -(2**63)]),
        "type": rng.choice(["image", "Image", "video"]),
        "model": rng.choice(["SD", "sd", "Flux"]),
        "kind": rng.choice(["cat", "DOG", "cow"]),
        "poi": rng.random() < 0.3,
        "minor": rng.random() < 0.5,
        "tags": [rng.choice(levels) for _ in range(rng.randrange(4))],
        "likes": rng.choice([0, 1, 2, 5, 254, 255]),
        "delta": rng.choice([-4, -1, 0, 2, 6, -(2**31), 2**31 - 1]),
        "score": rng.choice([-1.5, 0.0, 0.1, 2.0, 1e300, float("inf"), 2.0**53]),
        "at": rng.choice([-3, 0, 1, 5, 1709164800]),
    }
    return {name: value for name, value in values.items() if rng.random() < 0.8 and value != []}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Index, Oracle]]:
    """Return an index and an oracle with the same documents, and some more that are not visible."""
    rng = random.Random(5)
    slots = sorted(
        rng.sample([*range(4000), *range(65_530, 65_600), *range(2**32 - 99, 2**32)], ROWS + HIDDEN)
    )
    documents = {slot: random_document(rng) for slot in slots}
    visible = set(rng.sample(slots, ROWS))
    oracle = Oracle(SCHEMA)
    for slot in slots:  # the spelling of a label is that of its first row
        oracle.put(slot, documents[slot])
    for slot in set(slots) - visible:
        oracle.delete(slot)
    names = sorted(SCHEMA.fields.keys() - {"tags", "url"})
    with bitdex.create(tmp_path_factory.mktemp("model") / "index", SCHEMA, sync="none") as index:
        index.dump(
            [
                {"name": "rows", "slot_field": "slot", "fields": names},
                {"name": "lists", "slot_field": "slot", "fields": ["tags"]},
                {"name": "visible", "slot_field": "slot", "sets_alive": True},
            ],
            source={
                "rows": _frame({slot: {n: documents[slot].get(n) for n in names} for slot in slots}),
                "lists": pd.DataFrame(
                    [(slot, tag) for slot in slots for tag in documents[slot].get("tags", [])],
                    columns=["slot", "tags"],
                ),
                "visible": pd.DataFrame({"slot": sorted(visible)}),
            },
            now=0,
        )
        oracle.labels = lambda field, text: index.snapshot.label(field, text)
        yield index, oracle


def _frame(rows: dict[int, dict[str, Any]]) -> pd.DataFrame:
    kinds = {"integer": "Int64", "float": "Float64", "boolean": "boolean"}
    columns = {
        name: pd.array(
            [row[name] for row in rows.values()], dtype=kinds.get(SCHEMA.fields[name].kind, "string")
        )
        for name in next(iter(rows.values()))
    }
    return pd.DataFrame({"slot": list(rows), **columns})


def test_same_documents(pair: tuple[Index, Oracle]) -> None:
    index, oracle = pair
    assert index.ids().tolist() == sorted(oracle.documents)
    spelled = {"cat": "Cat", "DOG": "dog", "cow": None}
    for slot in list(oracle.documents)[::7]:
        document = {"id": slot, **oracle.document(slot)}
        if "kind" in document:
            document["kind"] = spelled[document["kind"]]
        assert index.get(slot) == document


@QUICK
@given(clause=CLAUSES, sort=st.sampled_from(SORTS), descending=st.booleans())
def test_answers(pair: tuple[Index, Oracle], clause: Clause, sort: str | None, descending: bool) -> None:
    index, oracle = pair
    order = None if sort is None else f"-{sort}" if descending else sort
    ids, total, cursor = oracle.query(clause, order)
    page = index.query(clause, sort=order, limit=ROWS)
    assert page.ids.tolist() == ids
    assert page.total == total == index.count(clause)
    assert index.ids(clause).tolist() == sorted(ids)
    assert page.cursor == cursor


@QUICK
@given(
    clause=CLAUSES,
    sort=st.sampled_from(SORTS),
    descending=st.booleans(),
    limit=st.integers(1, 700),
    offset=st.integers(0, 2100),
)
def test_pages_are_slices(
    pair: tuple[Index, Oracle], clause: Clause, sort: str | None, descending: bool, limit: int, offset: int
) -> None:
    index, _ = pair
    order = None if sort is None else f"-{sort}" if descending else sort
    whole = index.query(clause, sort=order, limit=ROWS).ids.tolist()
    page, chain = index.query(clause, sort=order, limit=limit), []
    for _ in range(20):
        if not len(page):
            break
        assert len(page) <= limit and page.total == len(whole)
        chain += page.ids.tolist()
        page = page.next()
    assert chain == whole[: limit * 20]
    sliced = index.query(clause, sort=order, limit=limit, offset=offset)
    assert sliced.ids.tolist() == whole[offset : offset + limit]
    assert sliced.total == len(whole)


@QUICK
@given(clause=CLAUSES)
def test_three_ways_of_writing(pair: tuple[Index, Oracle], clause: Clause) -> None:
    index, _ = pair
    expected = index.ids(clause).tolist()
    assert index.ids(str(clause)).tolist() == expected
    assert index.ids(as_json(clause)).tolist() == expected
    assert index.ids(as_python(clause)).tolist() == expected


@QUICK
@given(clauses=st.lists(CLAUSES, min_size=2, max_size=4), data=st.data())
def test_order_of_clauses_is_nothing(
    pair: tuple[Index, Oracle], clauses: list[Clause], data: st.DataObject
) -> None:
    index, _ = pair
    shuffled = data.draw(st.permutations(clauses))
    for kind in (And, Or):
        expected = index.ids(kind(tuple(clauses))).tolist()
        assert index.ids(kind(tuple(shuffled))).tolist() == expected
        assert index.count(kind(tuple(shuffled))) == len(expected)
    both, either = And(tuple(clauses)), Or(tuple(Not(one) for one in clauses))
    assert index.count(both) + index.count(either) == ROWS


@QUICK
@given(clause=CLAUSES)
def test_explain_ends_with_the_total(pair: tuple[Index, Oracle], clause: Clause) -> None:
    index, _ = pair
    steps = index.explain(clause)
    assert steps["left"].iloc[-1] == index.count(clause)
    assert steps["action"].iloc[0] == "start"
    assert (steps["left"].diff().dropna() <= 0).all()


@QUICK
@given(clause=leaves())
def test_explain_tells_how_many_documents_a_clause_has(pair: tuple[Index, Oracle], clause: Clause) -> None:
    """Of a list of values, a document with several of them counted several times."""
    index, _ = pair
    for one in (clause, In("tags", (1, 2, 3))):
        steps = index.explain(one)
        if len(steps) == 1:
            assert steps["cardinality"].iloc[0] == index.count(one)


def test_asking_changes_nothing(pair: tuple[Index, Oracle]) -> None:
    """The sets that a snapshot keeps are shared: no query may change them."""
    index, oracle = pair
    rng = random.Random(9)
    queries = [
        "poi",
        "not poi",
        "tags has 1",
        "tags has any [1, 2]",
        "level >= 1",
        "likes is null",
        "type == 'image'",
    ]
    before = {query: index.ids(query).tolist() for query in queries}
    for _ in range(300):
        index.count(" and ".join(rng.sample(queries, 3)))
        index.ids(f"({rng.choice(queries)}) or not ({rng.choice(queries)})")
    assert {query: index.ids(query).tolist() for query in queries} == before
    assert before["tags has 1"] == sorted(oracle.query(Eq("tags", 1))[0])


@QUICK
@given(leaves(), leaves())
def test_a_clause_means_the_same_in_every_position(
    pair: tuple[Index, Oracle], clause: Clause, other: Clause
) -> None:
    """Alone, first and second of a conjunction, in a disjunction, negated once and twice; counted, too."""
    index = pair[0]
    every, alone, beside = (set(index.ids(one).tolist()) for one in (None, clause, other))
    positions = {
        And((clause, other)): alone & beside,
        And((other, clause)): alone & beside,
        And((And((clause,)), Not(other))): alone - beside,
        And((Not(clause), other)): beside - alone,
        Or((clause, other)): alone | beside,
        Or((Not(clause), other)): (every - alone) | beside,
        Not(clause): every - alone,
        Not(Not(clause)): alone,
        Not(And((other, clause))): every - (alone & beside),
        Not(Or((clause, other))): every - (alone | beside),
    }
    for tree, expected in positions.items():
        assert set(index.ids(tree).tolist()) == expected, str(tree)
        assert index.count(tree) == len(expected), str(tree)
