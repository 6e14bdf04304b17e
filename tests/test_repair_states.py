"""Lost bitmaps that say which documents there are: what documents and phases tell is what was."""

import shutil
from itertools import combinations
from pathlib import Path

import pytest

import bitdex
from bitdex import registry_lost
from bitdex.formats import bitmap
from bitdex.repairing import _IndexRepair
from tests.live.bits import differences
from tests.scale import scale
from tests.silo.damaged_store import flip
from tests.test_repair import killed_repairs, place_of

FAR = 1 << 31
KEYS = {
    "alive": bitmap.alive_key(),
    "deferred": bitmap.deferred_key(),
    "hidden": bitmap.hidden_key(),
}
LOST = [kinds for size in (1, 2, 3) for kinds in combinations(KEYS, size)]
SCHEMA = {
    "name": "small",
    "config": {
        "filter_fields": [
            {"name": "n", "field_type": "single_value"},
            {"name": "tags", "field_type": "multi_value"},
            {"name": "only", "field_type": "single_value"},
        ],
        "sort_fields": [{"name": "due"}],
        "deferred_alive": {"source_field": "due"},
    },
    "data_schema": {
        "fields": [{"source": "only", "target": "only", "value_type": "integer", "filter_only": True}]
    },
}
ROWS = {"name": "rows", "slot_field": "id", "sets_alive": True, "fields": ["n", "due"]}
TAGS = {"name": "tags", "slot_field": "id", "fields": ["tags"]}
ONLY = {"name": "only", "slot_field": "id", "sets_alive": True, "fields": ["only"]}
SEEN = [1, 2, 70_000, 70_001, 4_000_000_000, 11, 12, 13, 14, 31]
WAITING, HIDDEN = [3, 70_002, 15], [5, 20, 21]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return the directory of an index with documents that came, went and wait in every way; closed."""
    path = tmp_path_factory.mktemp("made") / "index"
    with bitdex.create(path, SCHEMA, sync="none") as index:
        ids = [1, 2, 3, 4, 5, 70_000, 70_001, 70_002, 4_000_000_000]
        due = [FAR if id in WAITING else 5 for id in ids]
        rows = {"id": ids, "n": [1] * len(ids), "due": due}
        tags = {"id": [1, 3, 4, 20, 21, 22], "tags": [7, 7, 7, 7, 7, 7]}
        index.dump([ROWS, TAGS, ONLY], {"rows": rows, "tags": tags, "only": {"id": [31], "only": [4]}})
        index.put({"id": 11})  # in no bitmap of a field
        index.put({"id": 12, "only": 3})
        index.put_many([{"id": 13, "n": 2}, {"id": 14}, {"id": 15, "due": FAR}, {"id": 16, "n": 9}])
        index.put({"id": 22, "n": 3})
        index.delete([4, 16, 22])
        index.patch(5, {"tags": [8]})
        stays = {
            name: [one for id, one in zip(ids, column) if id not in (4, 5)] for name, column in rows.items()
        }
        index.dump([ROWS], {"rows": stays})  # a document that its phase has left
        index.compact()
    return path


@pytest.fixture
def directory(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "index"))


def told(path, mode="r"):
    """Return visible, waiting and hidden slots; every bit of the index is as it is to be."""
    with bitdex.open(path, mode) as index:
        assert differences(index) == []
        return tuple(sorted(index.bitmaps.get(key)) for key in KEYS.values())


def lose(path, kinds):
    for kind in kinds:
        flip(path / "bitmaps" / "data.bin", place_of(path, "bitmaps", KEYS[kind]))


def expected(kinds):
    """Return what is told after a loss: all of it, but that a slot which its phase has left may be seen."""
    again = {"alive", "hidden"} <= set(kinds)
    return (
        sorted([*SEEN, 5] if again else SEEN),
        sorted(WAITING),
        sorted([20, 21] if again else HIDDEN),
    )


def test_what_there_is(made):
    assert told(made) == (sorted(SEEN), sorted(WAITING), sorted(HIDDEN))


@pytest.mark.parametrize("kinds", LOST, ids="+".join)
def test_a_repair_tells_anew_which_documents_there_are(directory, kinds):
    """A lost bitmap of visible documents left an index without any."""
    lose(directory, kinds)
    assert (bitdex.check(directory)["severity"] == "error").any()
    dry = bitdex.repair(directory)
    assert len(dry) == len(kinds) and dry["action"].str.contains("tell it anew").all()
    assert dry["remedy"].str.contains("nothing is lost").all()
    assert bitdex.repair(directory, dry_run=False).equals(dry)
    assert not len(bitdex.check(directory)) and not len(bitdex.repair(directory))
    assert told(directory) == told(directory, "w") == expected(kinds)


@pytest.mark.parametrize("kinds", LOST, ids="+".join)
def test_a_rebuild_tells_it_where_a_repair_did_not_come_to_it(directory, kinds, tmp_path, monkeypatch):
    lose(directory, kinds)
    with monkeypatch.context() as patched:
        patched.setattr(_IndexRepair, "_tell_states", lambda *_: None)
        bitdex.repair(directory, dry_run=False)
    with bitdex.open(directory) as index:
        index.backup(tmp_path / "backup")
    bitdex.restore(tmp_path / "backup", tmp_path / "restored")
    for path in (directory, tmp_path / "restored"):
        found = bitdex.check(path)
        assert found["severity"].tolist() == ["warning"] * len(kinds)
        assert found["remedy"].str.contains("index.rebuild()", regex=False).all()
    with bitdex.open(directory, "w") as index:
        index.rebuild(["n"])
    assert len(bitdex.check(directory)) == len(kinds)
    with bitdex.open(directory, "w") as index:
        index.rebuild()
        if kinds == ("alive",):
            assert index.ids().tolist() == sorted(SEEN) and index.ids("n == 2").tolist() == [13]
    assert not len(bitdex.check(directory)) and told(directory) == expected(kinds)
    bitdex.repair(path, dry_run=False)
    assert not len(bitdex.check(path)) and told(path) == expected(kinds)


def test_a_lost_record_of_lost_bitmaps(directory, monkeypatch):
    lose(directory, ["alive", "deferred"])
    with monkeypatch.context() as patched:
        patched.setattr(_IndexRepair, "_tell_states", lambda *_: None)
        bitdex.repair(directory, dry_run=False)
    flip(directory / registry_lost.NAME, 30)
    with bitdex.open(directory, "w") as index:
        index.rebuild()
    assert told(directory) == expected(["alive", "deferred"]) and not len(bitdex.check(directory))


def test_documents_that_are_lost_as_well_stay_away(directory):
    lose(directory, ["alive", "deferred"])
    for id in (2, 3):
        flip(directory / "documents" / "data.bin", place_of(directory, "documents", id))
    bitdex.repair(directory, dry_run=False)
    seen, waiting, hidden = expected(["alive"])
    left = [id for id in seen if id != 2], [id for id in waiting if id != 3], hidden
    assert told(directory) == left and not len(bitdex.check(directory))


def test_changes_go_on(directory):
    lose(directory, ["alive"])
    bitdex.repair(directory, dry_run=False)
    with bitdex.open(directory, "w") as index:
        index.upsert({"id": 70_000, "tags": [9]})
        assert index.get(70_000) == {"id": 70_000, "n": 1, "due": 5, "tags": [9]}
        index.put({"id": 20, "n": 6})
        index.delete(1)
        index.dump([TAGS], {"tags": {"id": [1, 2], "tags": [5, 5]}})
        assert (
            index.ids("tags has 5").tolist() == [2]
            and 1 not in index
            and index.ids("n == 6").tolist() == [20]
        )
        assert differences(index) == []


def test_a_repair_that_dies_tells_it_when_it_is_begun_again(directory, tmp_path, monkeypatch):
    lose(directory, ["alive", "hidden"])
    flip(directory / "documents" / "data.bin", place_of(directory, "documents", 2))
    seen, waiting, hidden = expected(["alive", "hidden"])
    for allowed, case in killed_repairs(directory, tmp_path, monkeypatch, scale(11, 1)):
        bitdex.repair(case, dry_run=False)
        assert told(case) == ([id for id in seen if id != 2], waiting, hidden), allowed
        assert not len(bitdex.check(case)), allowed
