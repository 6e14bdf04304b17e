"""A query that is asked again is not bound again, and means what it would mean if it were."""

import random

import pytest

import bitdex
from bitdex.errors import InvalidError
from bitdex.query import bindings as module
from bitdex.query.clauses import Eq, In
from bitdex.query.expression import to_clause

f = bitdex.field
SCHEMA = {
    "name": "shop",
    "config": {
        "filter_fields": [
            {"name": "kind", "field_type": "single_value"},
            {"name": "size", "field_type": "single_value"},
            {"name": "open", "field_type": "boolean"},
        ],
        "sort_fields": [{"name": "at", "bits": 32}],
        "time_buckets": {
            "filter_field": "atUnix",
            "sort_field": "at",
            "range_buckets": [{"name": "1h", "duration_secs": 3600, "refresh_interval_secs": 60}],
        },
    },
    "data_schema": {
        "fields": [
            {"source": "kind", "target": "kind", "value_type": "low_cardinality_string"},
            {"source": "open", "target": "open", "value_type": "boolean"},
        ]
    },
}


@pytest.fixture
def index(tmp_path):
    with bitdex.create(tmp_path / "index", SCHEMA, sync="none") as index:
        index.put_many([{"id": id, "kind": "shirt", "size": id % 3, "at": 3600 * id} for id in range(1, 9)])
        yield index


@pytest.fixture
def bound(monkeypatch):
    """The clauses that were bound, and not remembered."""
    found, bind = [], module.bind
    monkeypatch.setattr(module, "bind", lambda clause, *rest: found.append(clause) or bind(clause, *rest))
    return found


def test_a_text_and_a_clause_are_bound_once(index, bound):
    clause = f.size.isin([1, 2]) & (f.kind == "shirt")
    for _ in range(3):
        assert index.count(clause) == index.count(str(clause)) == len(index.ids(clause)) == 6
        assert index.query(clause).total == index.query(str(clause)).total == 6
    assert bound == [clause, to_clause(str(clause))]


def test_a_label_that_comes_later_is_found(index, bound):
    """Bound before there was a hat, the query means nothing; it is asked again when there is one."""
    clause = f.kind == "hat"
    assert index.count(clause) == 0
    index.put({"id": 20, "kind": "hat"})
    assert index.count(clause) == 1 and index.count("kind == 'shirt'") == 8
    assert len(bound) == 3


def test_another_schema_binds_anew(index):
    clause = f.size == 2
    assert index.count(clause) == 3
    index.drop_field("size")
    with pytest.raises(InvalidError, match="size"):
        index.count(clause)
    index.add_field("size", filter="single_value")
    assert index.count(clause) == 0
    index.patch(1, {"size": 2})
    assert index.count(clause) == 1


def test_labels_of_an_index_that_was_opened_anew_have_other_numbers(index, tmp_path):
    with bitdex.open(index.path, mode="r") as reader:
        clause = f.kind == "hat"
        assert reader.count(clause) == 0
        with pytest.raises(RuntimeError), index.batch():
            index.put({"id": 30, "kind": "cap"})
            raise RuntimeError
        index.put({"id": 20, "kind": "hat"})
        reader.refresh()
        assert reader.count(clause) == index.count(clause) == 1


def test_equal_clauses_that_mean_other_things_are_told_apart(index):
    assert index.count(Eq("size", 1)) == 3
    with pytest.raises(InvalidError, match="size takes a whole number, not True"):
        index.count(Eq("size", True))


def test_windows_and_what_snaps_to_them_are_bound_each_time(index, bound):
    clause = f.atUnix.within("1h") & (f.size >= 0)
    assert [index.query(clause, now=3600 * hour).ids.tolist() for hour in (2, 5)] == [[2, 1], [5, 4]]
    late = f.atUnix >= 3600 * 4
    assert index.count(late, now=3600 * 5) == 5
    late_now = 3600 * 5 + 60
    assert (index.count(late, now=late_now, snap=True), index.count(late, now=late_now)) == (4, 5)
    assert bound.count(clause) == 2 and bound.count(late) == 2


def test_a_query_that_can_be_changed_is_bound_each_time(index):
    values, mapping = [1], {"size": 1}
    clause = In("size", values)
    assert index.count(clause, cache=False) == index.count(mapping) == 3
    values.append(2)
    mapping["size"] = [1, 2]
    assert index.count(clause, cache=False) == index.count(mapping) == 6


def test_what_is_remembered_is_bounded(index, bound, monkeypatch):
    monkeypatch.setattr(module, "MOST", 3)
    texts = [f"size == {n}" for n in range(5)]
    for text in texts:
        index.count(text)
    index.count(texts[2]), index.count("size == 9"), index.count(texts[2])
    assert len(bound) == 6 and len(index._bindings._kept) == 3
    monkeypatch.setattr(module, "BYTES", 1000)
    many = f.size.isin(range(100))
    assert index.count(many) == index.count(many) == 8
    assert bound.count(many) == 2
    index.count("size == 10")
    assert index._bindings._bytes == sum(one[-1] for one in index._bindings._kept.values()) <= 1000


def test_random_questions_have_the_answers_of_an_index_that_remembers_nothing(index, tmp_path):
    draw, kinds = random.Random(4), ["shirt", "hat", "shoe", "belt", "Hat"]
    clauses = [f.kind == kind for kind in kinds] + [f.kind.isin(kinds[:n]) & (f.size != 1) for n in (2, 3, 5)]
    for step in range(60):
        if draw.random() < 0.3:
            changes = {"kind": draw.choice(kinds[: 2 + step // 15]), "size": draw.randrange(3)}
            index.upsert(changes, draw.randrange(12))
        clause = draw.choice(clauses)
        with bitdex.open(index.path, mode="r") as fresh:
            assert index.count(clause) == index.count(str(clause)) == fresh.count(clause)
