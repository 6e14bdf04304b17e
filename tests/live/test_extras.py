"""Names of fields that a failed or killed change has left: they mean nothing until a document holds them."""

import pyarrow as pa
import pytest

import bitdex
from bitdex.errors import InvalidError
from tests.live.bits import differences

SCHEMA = {
    "name": "shop",
    "config": {"sort_fields": [{"name": "price", "bits": 32}]},
    "data_schema": {"fields": [{"source": "url", "target": "url", "value_type": "string"}]},
}
TOP = {"computed": {"op": "greatest", "source_fields": ["price"]}}
PHASE = {"name": "rows", "slot_field": "id", "sets_alive": True, "fields": ["price", "extra"]}
PHASE["extra_fields"] = True


@pytest.fixture
def index(tmp_path):
    with bitdex.create(tmp_path / "index", SCHEMA) as index:
        index.put_many([{"id": 1, "url": "x", "price": 300}, {"id": 2}])
        yield index


def test_a_field_that_a_kill_has_left_half_added_is_added_as_a_new_one(index):
    """Its name was known: nothing was worked out from the documents, and all of them lacked it."""
    path = index.path
    index._store.registry.ensure(["has"])  # as add_field has done where it was killed
    index.close()
    with bitdex.open(path) as opened:
        with pytest.raises(InvalidError, match="unknown field 'has'"):
            opened.put({"id": 3, "has": True})
        opened.add_field("has", filter="boolean", source="url", value_type="exists_boolean")
        assert [opened.ids(f"has == {there}").tolist() for there in ("true", "false")] == [[1], [2]]
        assert differences(opened) == []


def test_a_field_that_could_not_be_added_is_unknown(index):
    """A document took a value of it, whatever that was, and the field could not be added any more."""
    with pytest.raises(InvalidError, match="300 is computed for id 1"):
        index.add_field("top", sort=TOP | {"bits": 4})
    for documents in ({"id": 2, "top": "junk"}, {"id": 2, "top": 1}):
        with pytest.raises(InvalidError, match="unknown field 'top'"):
            index.put(documents)
    index.add_field("top", sort=TOP)
    assert index.query(sort="-top").ids.tolist() == [1, 2] and index.get(1)["top"] == 300


def test_values_of_other_types_are_other_values(index):
    """A patch from 1 to True was dropped: to Python they are equal."""
    index.dump(PHASE, source={"rows": pa.table({"id": [1], "price": [1], "extra": [1]})})
    for value in (True, 1, 1.0, 0.0, -0.0, False):
        index.patch(1, {"extra": value})
        assert repr(index.get(1)["extra"]) == repr(value)
        sequence = index.stats()["sequence"]
        index.patch(1, {"extra": value})
        assert index.stats()["sequence"] == sequence, "nothing changes"


def test_a_field_of_a_phase_that_failed_is_unknown(index):
    wrong = pa.table({"id": [1], "price": [1], "extra": pa.array([2**63], pa.uint64())})
    with pytest.raises(InvalidError):
        index.dump(PHASE, source={"rows": wrong})
    with pytest.raises(InvalidError, match="unknown field 'extra'"):
        index.patch(1, {"extra": 5})


def test_a_field_that_documents_hold_stays_known_without_its_phase(index):
    index.dump(PHASE, source={"rows": pa.table({"id": [1, 4], "price": [1, 2], "extra": [5, 6]})})
    index.put({"id": 2, "extra": 7})
    less = PHASE | {"fields": ["price"]}
    index.dump(less, source={"rows": pa.table({"id": [1, 4], "price": [1, 2]})})
    assert [one.targets for one in index.phases] == [["price"]]
    index.patch(1, {"extra": 8})
    index.add_field("extra", filter="single_value")
    assert differences(index) == []
    assert [index.ids(f"extra == {n}").tolist() for n in (5, 6, 7, 8)] == [[], [], [2], [1]]
