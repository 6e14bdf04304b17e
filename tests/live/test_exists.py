"""Fields that tell whether others have values follow them, whichever way these change."""

import pytest

import bitdex
from bitdex.live.batch import Batch
from tests.live.bits import differences

EXIST = ("has", "here", "any")
SCHEMA = {
    "name": "shop",
    "config": {
        "filter_fields": [
            {"name": "tags", "field_type": "multi_value"},
            {"name": "level", "field_type": "single_value"},
            *({"name": name, "field_type": "boolean"} for name in EXIST),
        ],
        "sort_fields": [
            {"name": "a", "bits": 32},
            {"name": "b", "bits": 32},
            {"name": "most", "bits": 32, "computed": {"op": "greatest", "source_fields": ["a", "b"]}},
        ],
    },
    "data_schema": {
        "fields": [
            {"source": "tags", "target": "tags", "value_type": "integer_array"},
            {"source": "tags", "target": "has", "value_type": "exists_boolean"},
            {"source": "level", "target": "here", "value_type": "exists_boolean", "filter_only": True},
            {"source": "most", "target": "any", "value_type": "exists_boolean"},
        ]
    },
}


@pytest.fixture(params=[1, 1000], ids=["in columns", "one by one"], autouse=True)
def many(request, monkeypatch):
    monkeypatch.setattr(Batch, "MANY", request.param)


@pytest.fixture
def index(tmp_path):
    with bitdex.create(tmp_path / "index", SCHEMA) as index:
        index.put_many([{"id": 1}, {"id": 2}])
        yield index
        assert differences(index) == []


def told(index, name, id):
    """Return the values of a field under which a document is found."""
    return [one for one in (True, False) if id in index.ids(f"{name} == {str(one).lower()}")]


def test_lists_that_are_appended_to_and_taken_from(index):
    """What `append` put into the list of a document did not count."""
    assert told(index, "has", 1) == [False]
    index.append(1, "tags", 5)
    assert told(index, "has", 1) == [True] and index.get(1)["has"] is True
    index.remove(1, "tags", 5)
    assert told(index, "has", 1) == [False] and index.get(1)["has"] is False


def test_lists_that_a_feed_adds_to_and_takes_from(index):
    for op, there in (("add", True), ("remove", False)):
        ops = [{"op": op, "field": "tags", "value": 5}]
        index.apply([{"entity_id": 1, "ops": ops}])
        assert told(index, "has", 1) == [there]
        index.apply([{"entity_id": 0, "ops": [{"op": "queryOpSet", "query": "id == 2", "ops": ops}]}])
        assert told(index, "has", 2) == [there]


def test_one_that_only_bitmaps_hold(index):
    """A patch of the source left the former answer in the bitmaps, beside the new one."""
    index.patch(1, {"level": 5})
    assert told(index, "here", 1) == [True]
    index.patch(1, {"level": None})
    assert told(index, "here", 1) == [False]


def test_one_of_a_computed_field_is_that_of_its_sources(index):
    """Putting said that there is nothing, and adding the field that there is something."""
    index.put({"id": 3, "b": 4})
    index.put_many([{"id": 4, "a": 1}, {"id": 5, "level": 1}])
    index.patch(2, {"a": 7})
    before = {id: told(index, "any", id) for id in range(1, 6)}
    assert before == {1: [False], 2: [True], 3: [True], 4: [True], 5: [False]}
    index.drop_field("any")
    index.add_field("any", filter="boolean", value_type="exists_boolean", source="most")
    assert {id: told(index, "any", id) for id in range(1, 6)} == before
    index.patch(3, {"b": None})
    assert told(index, "any", 3) == [False]
