"""Defects of repair and check that were found and mended: each keeps a test."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

import bitdex
from bitdex.errors import CorruptError
from bitdex.formats import bitmap
from bitdex.silo import survey
from bitdex.silo.repair import repair_silo
from bitdex.silo.silo import Silo
from tests.scale import scale
from tests.silo.damaged_store import flip
from tests.test_repair import killed_repairs, place_of

SCHEMA = {
    "name": "small",
    "config": {
        "filter_fields": [
            {"name": "n", "field_type": "single_value"},
            {"name": "tags", "field_type": "multi_value"},
        ],
        "sort_fields": [{"name": "x"}],
    },
}
IDS = list(range(1, 41))


@pytest.fixture
def directory(tmp_path):
    """Return the directory of an index that was compacted and closed."""
    path = tmp_path / "index"
    with bitdex.create(path, SCHEMA, sync="none") as index:
        index.put_many([{"id": id, "n": 1, "tags": [7], "x": 100 + id} for id in IDS])
        index.sets["few"] = [5, 6]
        index.compact()
    return path


def lose_document(directory, id=5):
    flip(directory / "documents" / "data.bin", place_of(directory, "documents", id))
    return bitdex.repair(directory, dry_run=False)


# -- places in files -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["offset 70", "offset 100000000"])
def test_the_name_of_a_directory_is_no_place_in_a_file(tmp_path, name):
    """Of a log that is damaged in batch 31 the 30 before it stay, wherever it lies."""
    found = {}
    for parent in ("plain", name):
        path = tmp_path / parent / "silo"
        path.parent.mkdir()
        with Silo.open(path, "w") as silo:
            for key in range(40):
                silo.put(key, b"value %d" % key)
                if key == 29:
                    end = silo.pin().waiting[0].log.end
        flip(path / "ops_a.log", end + 26)
        repairs = repair_silo(path, dry_run=False)
        with Silo.open(path) as silo:
            found[parent] = (silo.keys().tolist(), [one.offset for one in repairs])
    assert found["plain"] == found[name] and found[name][0] == list(range(30))
    assert set(found[name][1]) == {end}


def test_check_names_the_place_of_damage_in_any_directory(directory, tmp_path):
    other = Path(shutil.copytree(directory, tmp_path / "offset 70: " / "index"))
    for path in (directory, other):
        flip(path / "dumps.json", 12)
        flip(path / "bitmaps" / "index.bin", 70)
    told = [bitdex.check(path)[["offset", "what"]].values.tolist() for path in (directory, other)]
    assert told[0] == told[1] and len(told[0]) >= 2


def test_an_error_of_damage_tells_its_place(tmp_path):
    error = CorruptError.at(tmp_path / "offset 3", 70, "expected one thing, found another")
    assert (error.file, error.offset) == (str(tmp_path / "offset 3"), 70)
    assert str(error) == f"{tmp_path}/offset 3: offset 70: expected one thing, found another"


# -- lost documents ------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["put", "upsert"])
def test_a_lost_document_that_is_put_again_has_no_old_values(directory, how):
    lose_document(directory)
    with bitdex.open(directory, "w") as index:
        getattr(index, how)({"id": 5, "n": 2, "tags": [8], "x": 3})
        index.compact()
    with bitdex.open(directory) as index:
        assert index.get(5) == {"id": 5, "n": 2, "tags": [8], "x": 3}
        assert index.ids("n == 2").tolist() == [5] == index.ids("tags has 8").tolist()
        assert 5 not in index.ids("n == 1") and 5 not in index.ids("tags has 7")
        assert index.query(sort="x").ids.tolist()[0] == 5
        assert index.sets["few"].ids.tolist() == [5, 6], "a set keeps its ids, as when one is deleted"
    assert not len(bitdex.check(directory))


def test_a_lost_document_is_in_no_bitmap_but_saved_sets(directory):
    lose_document(directory)
    with Silo.open(directory / "bitmaps", "r", "bitmap") as silo:
        held = {key for key in silo.keys().tolist() if 5 in bitmap.decode(silo.get(key))}
    assert {bitmap.describe(key).kind for key in held} == {"set"}


def test_of_a_lost_document_one_phase_loaded_again_brings_back_its_own_values_only(tmp_path):
    phases = [
        {"name": "rows", "slot_field": "id", "sets_alive": True, "fields": ["n"]},
        {"name": "tags", "slot_field": "id", "fields": ["tags"]},
    ]
    tables = {"rows": {"id": IDS, "n": [1] * len(IDS)}, "tags": {"id": IDS, "tags": [7] * len(IDS)}}
    path = tmp_path / "index"
    with bitdex.create(path, SCHEMA, sync="none") as index:
        index.dump(phases, source=tables)
    lose_document(path)
    with bitdex.open(path, "w") as index:
        index.dump(phases[:1], source=tables)
        assert index.get(5) == {"id": 5, "n": 1} and 5 not in index.ids("tags has 7")
        index.dump(phases[1:], source=tables)
        assert index.get(5) == {"id": 5, "n": 1, "tags": [7]} and 5 in index.ids("tags has 7")


def test_documents_that_nobody_could_name_are_found_by_no_query(directory):
    """The index of the documents is damaged as well, so whose the lost record was nobody knows."""
    flip(directory / "documents" / "data.bin", place_of(directory, "documents", 5))
    flip(directory / "documents" / "index.bin", 70)
    told = bitdex.repair(directory)
    assert told["action"].str.contains("no query finds the documents of which no record is left").sum() == 1
    pd.testing.assert_frame_equal(bitdex.repair(directory, dry_run=False), told)
    with bitdex.open(directory, "w") as index:
        assert 5 not in index.ids("n == 1") and index.count() == len(IDS) - 1
        index.put({"id": 5, "n": 2})
        assert index.get(5) == {"id": 5, "n": 2} and 5 not in index.ids("tags has 7")
    assert not len(bitdex.check(directory)) and not len(bitdex.repair(directory))


def test_documents_without_records_are_found_by_check_and_repair(directory):
    """As a repair of the silo alone leaves them, or one that died."""
    flip(directory / "documents" / "data.bin", place_of(directory, "documents", 5))
    repair_silo(directory / "documents", dry_run=False)
    (one,) = bitdex.check(directory).itertuples()
    assert one.severity == "error" and "the records of 1 documents that queries find (5)" in one.what
    (one,) = bitdex.repair(directory, dry_run=False).itertuples()
    assert "(5)" in one.what and not len(bitdex.check(directory))
    with bitdex.open(directory) as index:
        assert 5 not in index.ids() and index.count() == len(IDS) - 1


def test_a_document_that_never_had_a_stored_value_lacks_no_record(tmp_path):
    schema = {
        "name": "small",
        "config": {
            "filter_fields": [
                {"name": "n", "field_type": "single_value"},
                {"name": "d", "field_type": "single_value"},
                {"name": "only", "field_type": "single_value"},
            ]
        },
        "data_schema": {
            "fields": [
                {"source": "d", "target": "d", "value_type": "integer", "default": 3},
                {"source": "only", "target": "only", "value_type": "integer", "filter_only": True},
            ]
        },
    }
    phases = [{"name": "rows", "slot_field": "id", "sets_alive": True, "fields": ["only", "d"]}]
    tables = {"rows": pd.DataFrame({"id": IDS, "only": 1, "d": pd.array([None] * len(IDS), "Int64")})}
    path = tmp_path / "index"
    with bitdex.create(path, schema, sync="none") as index:
        index.dump(phases, source=tables)
        index.put({"id": 100})
        index.put({"id": 101, "only": 2})
        index.delete(7)
        index.patch(8, {"only": None})
    assert not len(bitdex.check(path)) and not len(bitdex.repair(path))


# -- beside a writer -----------------------------------------------------------------------


def test_a_check_beside_a_writer_that_rewrites_goes_on(directory, monkeypatch):
    with bitdex.open(directory, "w") as index:
        find, done = survey.find_damage, []

        def find_damage(*arguments):
            if not done:
                done.append(True)
                for silo in (index._store.documents.silo, index._store.bitmaps.silo):
                    silo.rewrite()
            return find(*arguments)

        monkeypatch.setattr(survey, "find_damage", find_damage)
        found = bitdex.check(directory)
    assert done and "error" not in set(found["severity"])


def test_a_dry_repair_beside_a_writer_tells_of_damage_that_is_seen_twice(directory, monkeypatch):
    with bitdex.open(directory, "w") as index:
        find, passed = survey.find_damage, []

        def find_damage(mapped, entries, seed):
            bad = find(mapped, entries, seed)
            if not passed and len(bad):
                passed.append(True)
                bad[0] = int(entries["offset"][0])  # as of a writer that passes by
                index.put({"id": 50, "n": 3})
            return bad

        monkeypatch.setattr(survey, "find_damage", find_damage)
        assert not len(bitdex.repair(directory)) and passed
    flip(directory / "documents" / "data.bin", place_of(directory, "documents", 5))
    assert len(bitdex.repair(directory)) == 1


# -- lost bitmaps --------------------------------------------------------------------------


def key_of(directory, field, value=None, bit=None):
    """Return the key of a bitmap of a field."""
    with bitdex.open(directory) as index:
        number = index._store.registry.number(field)
    if bit is not None:
        return bitmap.layer_key(number, bit)
    return bitmap.present_key(number) if value is None else bitmap.filter_key(number, value)


def test_a_lost_bitmap_to_which_the_log_adds_does_not_stop_the_repair(directory):
    """It is deleted in the log as well, at the sequence that counts, and everything else is repaired."""
    with bitdex.open(directory, "w") as index:
        index.put({"id": 50, "n": 1, "tags": [8], "x": 3})
    key = key_of(directory, "n", 1)
    flip(directory / "bitmaps" / "data.bin", place_of(directory, "bitmaps", key))
    flip(directory / "documents" / "data.bin", place_of(directory, "documents", 5))
    told = bitdex.repair(directory)
    assert told["action"].str.contains("is deleted in the log").sum() == 1 and len(told) == 3
    assert (told["severity"] == "error").all()
    pd.testing.assert_frame_equal(bitdex.repair(directory, dry_run=False), told)
    with bitdex.open(directory) as index:
        assert not len(index.ids("n == 1")) and 5 not in index.ids()
        assert index.ids("tags has 8").tolist() == [50] and len(index.ids("tags has 7")) == len(IDS) - 1
    with bitdex.open(directory, "w") as index:
        index.compact()
        assert not len(index.ids("n == 1")) and index.ids("tags has 8").tolist() == [50]
        index.rebuild(["n"])
        assert len(index.ids("n == 1")) == len(IDS)
    assert not len(bitdex.check(directory))


@pytest.mark.parametrize(
    "which", [("n", 1), ("tags", None), ("x", None, 2)], ids=["value", "present", "layer"]
)
def test_a_lost_bitmap_is_said_by_every_check_until_its_field_is_rebuilt(directory, tmp_path, which):
    queries = ["n == 1", "tags has 7", "tags is null", "x > 110"]

    def answers(index):
        return [index.ids(query).tolist() for query in queries], index.query(sort="x").ids.tolist()

    with bitdex.open(directory) as index:
        right = answers(index)
    key, name = key_of(directory, *which), which[0]
    flip(directory / "bitmaps" / "data.bin", place_of(directory, "bitmaps", key))
    (one,) = bitdex.repair(directory, dry_run=False).itertuples()
    assert f"index.rebuild(['{name}'])" in one.remedy and one.severity == "error"
    with bitdex.open(directory, "w") as index:
        assert answers(index) != right
        index.put({"id": 50, "n": 2})
        index.compact()
        index.delete(50)
        index.backup(tmp_path / "backup")
    bitdex.restore(tmp_path / "backup", tmp_path / "restored")
    for path in (directory, tmp_path / "restored"):
        (one,) = bitdex.check(path).itertuples()
        assert Path(one.file).name == "lost.json" and one.severity == "warning"
        assert f"field '{name}'" in one.what and f"index.rebuild(['{name}'])" in one.remedy
        with bitdex.open(path, "w") as index:
            index.rebuild([name])
            assert answers(index) == right
        assert not len(bitdex.check(path)) and not (path / "lost.json").exists()


def test_a_damaged_record_of_lost_bitmaps_is_mended_by_rebuilding_all_fields(directory):
    flip(directory / "bitmaps" / "data.bin", place_of(directory, "bitmaps", key_of(directory, "n", 1)))
    bitdex.repair(directory, dry_run=False)
    flip(directory / "lost.json", 30)
    (one,) = bitdex.check(directory).itertuples()
    assert one.severity == "warning" and "index.rebuild()" in one.remedy
    with bitdex.open(directory, "w") as index:
        with pytest.raises(CorruptError, match=r"lost\.json"):
            index.rebuild(["n"])
        index.rebuild()
        assert len(index.ids("n == 1")) == len(IDS)
    assert not len(bitdex.check(directory))


def test_a_repair_of_a_lost_bitmap_that_dies_leaves_it_said(directory, tmp_path, monkeypatch):
    """Killed at any call: what is lost is still damaged, or said; and the log adds to nothing."""
    with bitdex.open(directory, "w") as index:
        index.put({"id": 50, "n": 1, "tags": [8], "x": 3})
    flip(directory / "bitmaps" / "data.bin", place_of(directory, "bitmaps", key_of(directory, "n", 1)))
    flip(directory / "documents" / "data.bin", place_of(directory, "documents", 5))
    for allowed, case in killed_repairs(directory, tmp_path, monkeypatch, scale(9, 1)):
        bitdex.repair(case, dry_run=False)
        (one,) = bitdex.check(case).itertuples()
        assert Path(one.file).name == "lost.json", allowed
        with bitdex.open(case, "w") as index:
            assert not len(index.ids("n == 1")) and 5 not in index.ids(), allowed
            index.rebuild(["n"])
            assert index.ids("n == 1").tolist() == [id for id in index.ids() if id != 5]
