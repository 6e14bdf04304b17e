"""Repair of what an index holds beside visible documents: saved sets, cursors, documents that wait."""

import time

import pytest

import bitdex
from bitdex.errors import NotFoundError
from bitdex.formats import bitmap
from bitdex.live.batch import FEEDS
from bitdex.registry_sets import KEY
from tests.scale import scale
from tests.silo.damaged_store import flip
from tests.test_repair import killed_repairs, place_of

SCHEMA = {
    "name": "small",
    "config": {
        "filter_fields": [{"name": "rating", "field_type": "single_value"}],
        "sort_fields": [{"name": "due", "source_type": "timestamp"}],
        "deferred_alive": {"source_field": "due"},
    },
    "data_schema": {"fields": [{"source": "due", "target": "due", "value_type": "integer"}]},
}
SETS = {"few": [1, 2], "none": [], "many": list(range(1, 21))}


@pytest.fixture
def directory(tmp_path):
    """Return the directory of an index with saved sets, a cursor and documents of which one waits."""
    path = tmp_path / "index"
    with bitdex.create(path, SCHEMA, sync="none") as index:
        index.put_many([{"id": id, "rating": id % 3, "due": 7} for id in range(1, 30)])
        index.put_many([{"id": 50, "rating": 1, "due": int(time.time()) + 10_000}])
        for name, ids in SETS.items():
            index.sets[name] = ids
        index.apply([], "feed", "page 3")
        index.compact()
    return path


def sets_of(path, mode="r"):
    with bitdex.open(path, mode) as index:
        return {name: one.ids.tolist() for name, one in index.sets.items()}


def check_backup(path, tmp_path):
    """See that a backup can be restored, and holds the same sets."""
    with bitdex.open(path) as index:
        index.backup(tmp_path / "backup")
    bitdex.restore(tmp_path / "backup", tmp_path / "restored")
    assert sets_of(tmp_path / "restored") == sets_of(path)


def repaired(path):
    """Repair an index; return what it lists: nothing is left to be repaired then."""
    told = bitdex.repair(path)
    assert bitdex.repair(path, dry_run=False).equals(told)
    assert set(bitdex.check(path)["severity"]) <= {"note"} and not len(bitdex.repair(path, dry_run=False))
    return told


def test_sets_whose_names_are_lost_get_new_ones(directory, tmp_path):
    flip(directory / "documents" / "data.bin", place_of(directory, "documents", KEY))
    (one,) = repaired(directory).itertuples()
    assert "the names of the saved sets" in one.what and "'set 0', 'set 1'" in one.action
    assert sets_of(directory) == dict(zip(["set 0", "set 1", "set 2"], SETS.values()))
    check_backup(directory, tmp_path)
    with bitdex.open(directory) as index:
        index.sets["few"] = index.sets.pop("set 0")
        assert index.cursors == {"feed": "page 3"} and index.count() == 29
    assert list(sets_of(directory)) == ["set 1", "set 2", "few"]


def test_sets_that_an_earlier_repair_has_left_without_names_get_new_ones(directory, tmp_path):
    flip(directory / "documents" / "data.bin", place_of(directory, "documents", KEY))
    for silo in ("bitmaps", "documents"):
        bitdex.repair(directory / silo, dry_run=False)
    assert not sets_of(directory)
    assert (bitdex.check(directory)["severity"] == "error").sum() == len(SETS)
    found = repaired(directory)
    assert len(found) == len(SETS) and found["action"].str.contains("from now on").all()
    assert sets_of(directory) == dict(zip(["set 0", "set 1", "set 2"], SETS.values()))
    check_backup(directory, tmp_path)


def test_a_name_whose_set_is_lost_goes(directory, tmp_path):
    flip(directory / "bitmaps" / "data.bin", place_of(directory, "bitmaps", bitmap.set_key(2)))
    (one,) = repaired(directory).itertuples()
    assert "the bitmap set 2" in one.what and "its name is taken out" in one.action
    assert sets_of(directory) == {name: ids for name, ids in SETS.items() if name != "many"}
    check_backup(directory, tmp_path)


def test_cursors_that_are_lost_are_called_so(directory):
    flip(directory / "documents" / "data.bin", place_of(directory, "documents", FEEDS))
    (one,) = repaired(directory).itertuples()
    assert "the cursors of feeds" in one.what and "feeds begin anew" in one.action
    with bitdex.open(directory, "r") as index:
        assert index.cursors == {} and list(index.sets) == list(SETS)


def test_a_document_that_waits_and_is_lost_does_not_appear_at_its_time(directory):
    flip(directory / "documents" / "data.bin", place_of(directory, "documents", 50))
    (one,) = repaired(directory).itertuples()
    assert "document 50" in one.what and "no query finds it" in one.action
    later = time.time() + 20_000
    with bitdex.open(directory, "r") as index, pytest.MonkeyPatch.context() as patched:
        patched.setattr(time, "time", lambda: later)
        index.refresh()
        assert index.count() == 29 and index.ids("rating == 1").tolist() == list(range(1, 30, 3))
        with pytest.raises(NotFoundError, match="50"):
            index.get(50)


def test_a_repair_of_sets_that_dies_is_begun_again(directory, tmp_path, monkeypatch):
    flip(directory / "documents" / "data.bin", place_of(directory, "documents", KEY))
    for allowed, case in killed_repairs(directory, tmp_path, monkeypatch, scale(5, 1)):
        repaired(case)
        assert sets_of(case) == dict(zip(["set 0", "set 1", "set 2"], SETS.values())), allowed
