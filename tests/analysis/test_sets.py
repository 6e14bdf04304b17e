"""Saved sets: durable, one commit with what changes beside them, and true of what is visible."""

import pytest

import bitdex
from bitdex.errors import InvalidError, LockedError, NotFoundError
from bitdex.live.saved import SavedSets

SCHEMA = {
    "name": "shop",
    "config": {
        "filter_fields": [{"name": "size", "field_type": "single_value"}],
        "sort_fields": [{"name": "price"}],
    },
}


@pytest.fixture
def index(tmp_path):
    with bitdex.create(tmp_path / "index", SCHEMA) as index:
        index.put_many([{"id": one, "size": one % 3, "price": one} for one in range(30)])
        yield index
        assert bitdex.check(index.path).empty


def test_a_set_is_saved_and_combined(index):
    index.sets["small"] = index["size == 0"]
    index.sets["cheap"] = "price < 10"
    index.sets["some"] = [1, 2, 77]
    assert list(index.sets) == ["small", "cheap", "some"] and len(index.sets) == 3
    assert index.sets["some"].ids.tolist() == [1, 2] and "some" in index.sets and "other" not in index.sets
    assert (index.sets["small"] & index.sets["cheap"]).ids.tolist() == [0, 3, 6, 9]
    assert (index["size == 0"] - index.sets["cheap"]).ids.tolist() == [12, 15, 18, 21, 24, 27]
    assert index.sets["small"].facets("size").to_dict() == {0: 10}
    assert repr(index.sets) == "<Sets {'small': 10, 'cheap': 10, 'some': 2}>"
    assert index.sets.overlap().loc["small", "cheap"] == 4
    assert index.sets.jaccard().loc["small", "cheap"] == 4 / 16


def test_sets_outlive_the_index_and_compaction(index, tmp_path):
    index.sets["small"], index.sets["nothing"] = index["size == 0"], []
    index.sets["small"] = index["size == 1"]
    expected = index.sets["small"].ids.tolist()
    with bitdex.open(tmp_path / "index", "r") as reader:
        assert reader.sets["small"].ids.tolist() == expected == list(range(1, 30, 3))
        with pytest.raises(LockedError):
            reader.sets["small"] = []
    index.compact()
    assert index.sets["small"].ids.tolist() == expected and len(index.sets["nothing"]) == 0
    index.close()
    with bitdex.open(tmp_path / "index") as again:
        assert again.sets["small"].ids.tolist() == expected
        again.backup(tmp_path / "backup")
    with bitdex.open(tmp_path / "backup", "r") as backup:
        assert dict(backup.sets)["small"].ids.tolist() == expected
        assert backup.check().empty


def test_sets_go(index):
    index.sets["a"], index.sets["b"] = [1], [2]
    del index.sets["a"]
    assert list(index.sets) == ["b"]
    index.sets["c"] = [3]  # takes the number of the first
    assert [index.sets[name].ids.tolist() for name in index.sets] == [[2], [3]]
    assert index.sets.pop("b", None) is not None and list(index.sets) == ["c"]
    index.compact()
    with pytest.raises(NotFoundError, match="no set 'b'; saved are 'c'"):
        del index.sets["b"]
    with pytest.raises(NotFoundError, match="no set 'b'; saved are 'c'"):
        index.sets["b"]


def test_documents_that_go_and_come(index):
    index.sets["some"] = [1, 2, 3]
    before = index.sets["some"]
    index.delete([2])
    assert index.sets["some"].ids.tolist() == [1, 3] and before.ids.tolist() == [1, 2, 3]
    index.put({"id": 2, "size": 9})
    assert index.sets["some"].ids.tolist() == [1, 2, 3]
    index.drop_field("size")
    assert index.sets["some"].ids.tolist() == [1, 2, 3]


def test_one_commit_with_what_changes_beside_it(index):
    sequence = index.snapshot.sequence
    with index.batch():
        index.put({"id": 50, "size": 7})
        index.sets["a"] = index["size == 0"]
        index.sets["b"] = [1]
        assert "a" not in index.sets
    assert index.snapshot.sequence == sequence + 1 and list(index.sets) == ["a", "b"]
    with pytest.raises(ZeroDivisionError), index.batch():
        index.put({"id": 51})
        index.sets["c"] = [1]
        del index.sets["a"]
        raise ZeroDivisionError
    assert list(index.sets) == ["a", "b"] and 51 not in index


def test_answers_that_are_kept_stay_true(index):
    first = index.count("size == 0 and price < 20"), index.query("size == 0 and price < 20").total
    index.sets["a"] = [1]
    assert (index.count("size == 0 and price < 20"), index.query("size == 0 and price < 20").total) == first
    index.put({"id": 3, "size": 1})
    assert index.count("size == 0 and price < 20") == first[0] - 1


@pytest.mark.parametrize("name", ["", " ", 5, None, "a" * 201])
def test_names_that_are_none(index, name):
    with pytest.raises(InvalidError, match="name of a set"):
        index.sets[name] = [1]
    assert list(index.sets) == []


def test_what_is_no_set_is_told(index):
    with pytest.raises(InvalidError, match="sise"):
        index.sets["a"] = "sise == 1"
    assert SavedSets(index.documents.source).numbers() == {}
