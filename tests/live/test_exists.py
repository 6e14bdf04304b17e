"""Fields that tell whether others have values follow them, whichever way these change."""

import pyarrow as pa
import pytest

import bitdex
from bitdex.errors import InvalidError
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


# -- sources that come later -----------------------------------------------------------------

TOLD = ("has", "here", "any", "hidden", "counted")
LATER = {
    "name": "shop",
    "config": {
        "filter_fields": [
            *({"name": name, "field_type": "boolean"} for name in TOLD),
            {"name": "only", "field_type": "single_value"},
        ],
        "sort_fields": [{"name": "a", "bits": 32}, {"name": "b", "bits": 32}],
    },
    "data_schema": {
        "fields": [
            {"source": "more", "target": "has", "value_type": "exists_boolean"},
            {"source": "more", "target": "here", "value_type": "exists_boolean", "filter_only": True},
            {"source": "most", "target": "any", "value_type": "exists_boolean"},
            {"source": "only", "target": "only", "value_type": "integer", "filter_only": True, "default": 3},
            {"source": "only", "target": "hidden", "value_type": "exists_boolean"},
            {"source": "a", "target": "counted", "value_type": "exists_boolean"},
            {"source": "a", "target": "a", "value_type": "integer", "default": 9},
        ]
    },
}
MORE = {"name": "rows", "slot_field": "id", "sets_alive": True, "extra_fields": True, "fields": ["more"]}
MOST = {"bits": 32, "computed": {"op": "greatest", "source_fields": ["a", "b"]}}


@pytest.fixture
def later(tmp_path):
    with bitdex.create(tmp_path / "later", LATER) as index:
        index.put_many([{"id": 1, "a": 4, "only": 5}, {"id": 2}, {"id": 3, "has": True, "here": True}])
        yield index
        assert differences(index) == []
        index.rebuild()
        assert differences(index) == []


@pytest.mark.parametrize("how", [{"filter": "single_value"}, {"sort": True}, {"value_type": "string"}])
def test_a_source_that_phases_wrote_and_that_is_declared_later(later, how):
    """Documents held it, and the fields that tell so were false."""
    text = "value_type" in how
    later.dump(MORE, source={"rows": pa.table({"id": [2, 7], "more": ["x", "y"] if text else [5, 6]})})
    assert told(later, "has", 2) == [False]
    later.add_field("more", **how)
    for name in ("has", "here"):
        assert [told(later, name, id) for id in (1, 2, 3, 7)] == [[False], [True], [True], [True]]
    assert later.get(2)["has"] is True
    later.patch(2, {"more": None})
    later.patch(1, {"more": "z" if text else 8})
    for name in ("has", "here"):
        assert told(later, name, 2) == [False] and told(later, name, 1) == [True]


def test_texts_that_become_labels_where_they_are_told_of(later):
    later.dump(MORE, source={"rows": pa.table({"id": [2], "more": ["x"]})})
    later.add_field("more", filter="single_value", value_type="low_cardinality_string")
    assert later.ids("more == 'x'").tolist() == [2] == later.ids("has == true and id != 3").tolist()


def test_a_computed_source_that_comes_later(later):
    later.patch(2, {"b": 1})
    assert [told(later, "any", id) for id in (1, 2, 3)] == [[False]] * 3
    later.add_field("most", sort=MOST)
    assert [told(later, "any", id) for id in (1, 2, 3)] == [[True], [True], [False]]
    later.patch(1, {"a": None})
    assert told(later, "any", 1) == [False]


def test_a_default_that_is_written_into_documents_is_a_value(later):
    assert [told(later, "counted", id) for id in (1, 2, 3)] == [[True], [False], [False]]
    later.set_default("a", 8)
    assert later.get(2)["a"] == 9 and [told(later, "counted", id) for id in (1, 2, 3)] == [[True]] * 3
    later.set_default("only", None)
    assert [told(later, "hidden", id) for id in (1, 2, 3)] == [[True]] * 3
    later.put({"id": 4})
    assert told(later, "counted", 4) == told(later, "hidden", 4) == [False]


def test_one_that_is_dropped_and_added_again_asks_documents_and_bitmaps(later):
    """That of a field which only bitmaps hold was true of no document, and false of none."""
    for name, source in (("hidden", "only"), ("counted", "a"), ("has", "more")):
        before = [told(later, name, id) for id in (1, 2)]
        later.drop_field(name)
        later.add_field(name, filter="boolean", value_type="exists_boolean", source=source)
        assert name == "has" or [told(later, name, id) for id in (1, 2)] == before


def test_one_that_a_phase_has_written_is_dropped_and_added_again_at_a_second_attempt(later):
    """What a failed attempt has left was taken for the field that the phase wrote."""
    phase = {**MORE, "fields": ["counted", "a"], "extra_fields": False}
    later.dump(phase, source={"rows": pa.table({"id": [8, 9], "counted": [1, None], "a": [1, None]})})
    later.drop_field("counted")
    later._store.registry.ensure(["counted"])
    later.add_field("counted", filter="boolean", value_type="exists_boolean", source="a")
    assert [told(later, "counted", id) for id in (1, 2, 8, 9)] == [[True], [False], [True], [False]]


# -- sources that are columns -----------------------------------------------------------------

READ = {
    "name": "shop",
    "config": {
        "filter_fields": [
            {"name": "isOut", "field_type": "boolean"},
            {"name": "isIn", "field_type": "boolean"},
        ],
        "sort_fields": [{"name": "outAt", "bits": 32}],
    },
    "data_schema": {
        "fields": [
            {"source": "outAtUnix", "target": "isOut", "value_type": "exists_boolean"},
            {"source": "outAtUnix", "target": "outAt", "value_type": "integer", "ms_to_seconds": True},
            {"source": "inAtUnix", "target": "isIn", "value_type": "exists_boolean"},
            {"source": "either", "fallback": "inAtUnix", "target": "either", "value_type": "integer"},
        ]
    },
}


def test_one_whose_source_another_field_is_read_from_follows_that_field(tmp_path):
    """It followed the column in loads, and nothing in changes: a patched date left it false."""
    with bitdex.create(tmp_path / "index", READ) as index:
        index.load([{"id": 1, "outAtUnix": 5000}, {"id": 2}])
        index.put_many([{"id": 3, "outAt": 7}, {"id": 4, "either": 1}])
        assert [told(index, "isOut", id) for id in (1, 2, 3, 4)] == [[True], [False], [True], [False]]
        index.patch(1, {"outAt": None})
        index.patch(2, {"outAt": 9})
        assert told(index, "isOut", 1) == [False] and told(index, "isOut", 2) == [True]
        assert told(index, "isIn", 4) == [False], "it may be the first of two columns"
        with pytest.raises(InvalidError, match="'outAt' cannot be dropped: 'isOut' tells whether"):
            index.drop_field("outAt")
        index.add_field("inAt", sort=True, source="inAtUnix", value_type="integer")
        index.patch(4, {"inAt": 5})
        assert told(index, "isIn", 4) == [True] and differences(index) == []
