"""Repair of an index: it opens, what was not damaged is answered as before, what is lost is named."""

import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bitdex
from bitdex.errors import LockedError, NotFoundError
from bitdex.formats import bitmap
from bitdex.formats import meta as meta_format
from bitdex.repairing import COLUMNS, repairs_of
from bitdex.silo.silo import Silo
from tests.scale import scale, seeds
from tests.silo.damaged_store import all_bytes, flip, patch, was_refused
from tests.silo.store import Killed, Killer

SCHEMA = {
    "name": "small",
    "config": {
        "filter_fields": [
            {"name": "rating", "field_type": "single_value"},
            {"name": "tags", "field_type": "multi_value"},
        ],
        "sort_fields": [{"name": "likes"}],
    },
    "data_schema": {
        "fields": [
            {"source": "tags", "target": "tags", "value_type": "integer_array", "default": []},
            {"source": "url", "target": "url", "value_type": "string", "doc_only": True},
        ]
    },
}
IDS = list(range(1, 41))
PHASES = [
    {"name": "rows", "slot_field": "id", "sets_alive": True, "fields": ["rating", "url"]},
    {"name": "tags", "slot_field": "id", "fields": ["tags"]},
    {"name": "likes", "slot_field": "id", "fields": ["likes"]},
]
TABLES = {
    "rows": {"id": IDS, "rating": [i % 5 for i in IDS], "url": [f"u{i}" * 5 for i in IDS]},
    "tags": {"id": IDS + IDS, "tags": [i % 7 for i in IDS] + [50 + i for i in IDS]},
    "likes": {"id": IDS[3:], "likes": [i * i for i in IDS[3:]]},
}
QUERIES = [*(f"rating == {value}" for value in range(5)), *(f"tags has {value}" for value in range(7))]
FILES = ["meta.bin", "data.bin", "index.bin", "ops_a.log", "ops_b.log"]


@pytest.fixture(scope="module")
def closed(tmp_path_factory):
    """Return the directory of an index that was closed; not to be changed."""
    path = tmp_path_factory.mktemp("closed") / "index"
    with bitdex.create(path, SCHEMA, sync="none") as index:
        index.dump(PHASES, source=TABLES)
    assert not len(bitdex.check(path))
    return path


@pytest.fixture(scope="module")
def right(closed):
    """Return what it answers."""
    return answers(closed)


@pytest.fixture
def directory(closed, tmp_path):
    """Return a copy of that index."""
    return Path(shutil.copytree(closed, tmp_path / "index"))


def answers(path, mode="r"):
    """Return all documents by id, and the ids that queries find."""
    with bitdex.open(path, mode) as index:
        found = {query: set(index.ids(query).tolist()) for query in QUERIES}
        found["by likes"] = index.query(sort="-likes").ids.tolist()
        return {id: index.get(id) for id in index.ids().tolist()}, found


def repair(directory):
    """Repair an index and hold the repair to its promises; return what it lists."""
    before = all_bytes(directory)
    told = bitdex.repair(directory)
    assert all_bytes(directory) == before and list(told.columns) == COLUMNS
    pd.testing.assert_frame_equal(bitdex.repair(directory, dry_run=False), told)
    if told["action"].str.startswith("none").any():
        return told
    found, after = bitdex.check(directory), all_bytes(directory)
    found = found[found["file"] != str(directory / "lost.json")]  # said until the fields are rebuilt
    if told["what"].str.contains("the bitmap phase").any():  # what it wrote is told nowhere else
        assert set(found["file"]) == {str(directory / "dumps.json")}
        assert list(bitdex.repair(directory, dry_run=False)["file"]) == list(found["file"])
    else:
        assert set(found["severity"]) <= {"note"} and not len(bitdex.repair(directory, dry_run=False))
    assert all_bytes(directory) == after
    assert answers(directory) == answers(directory, "w")
    return told


def place_of(directory, silo, key):
    """Return where the payload of a key's record begins."""
    with Silo.open(directory / silo) as opened:
        return int(opened.find_many([key])[0][0]) + 24


def killed_repairs(directory, tmp_path, monkeypatch, step):
    """Yield copies of an index whose repair was killed at a file call, a later one each time, to its end."""
    for allowed in range(0, 400, step):
        case = Path(shutil.copytree(directory, tmp_path / f"{allowed}"))
        with monkeypatch.context() as patched:
            killer = Killer(patched, allowed)
            with suppress(Killed):
                repairs_of(case, dry_run=False)
        killer.bury()
        yield allowed, case
        shutil.rmtree(case)
        if killer.calls <= allowed:
            break
    assert 30 < killer.calls <= allowed
    print(f"torture: the repair of an index killed at every {step} of {killer.calls} calls")


def test_a_sound_index_is_left_alone(directory, right):
    assert not len(repair(directory))
    assert answers(directory) == right and not list(directory.rglob("quarantine"))


def test_both_indexes_and_commit_records_are_made_anew(directory, right):
    for silo in ("documents", "bitmaps"):
        (directory / silo / "index.bin").unlink()
        flip(directory / silo / "meta.bin", 20)
    flip(directory / "commit.bin", 20)
    found = repair(directory)
    assert len(found) == 5 and set(found["severity"]) == {"warning"}
    assert answers(directory) == right
    assert (next((directory / "quarantine").iterdir()) / "commit.bin").exists()


def test_a_lost_document_is_found_by_no_query(directory, right):
    documents, found = right
    flip(directory / "documents" / "data.bin", place_of(directory, "documents", 17))
    (one,) = repair(directory).itertuples()
    assert "document 17" in one.what and one.severity == "error"
    kept = {id: document for id, document in documents.items() if id != 17}
    left = {query: ids - {17} for query, ids in found.items() if query != "by likes"}
    left["by likes"] = [id for id in found["by likes"] if id != 17]
    assert answers(directory) == (kept, left)
    with bitdex.open(directory) as index, pytest.raises(NotFoundError, match="17"):
        index.get(17)


def test_a_lost_document_comes_back_when_its_phases_are_loaded_again(directory, right):
    flip(directory / "documents" / "data.bin", place_of(directory, "documents", 17))
    repair(directory)
    with bitdex.open(directory) as index:
        index.dump(PHASES, source=TABLES)
    assert answers(directory) == right and not len(bitdex.check(directory))


def test_a_lost_bitmap_is_named_by_its_field_and_value(directory, right):
    documents, found = right
    with bitdex.open(directory) as index:
        number = index._store.registry.number("tags")
    flip(directory / "bitmaps" / "data.bin", place_of(directory, "bitmaps", bitmap.filter_key(number, 3)))
    (one,) = repair(directory).itertuples()
    assert "the bitmap filter 3 of field 'tags'" in one.what
    assert answers(directory) == (documents, found | {"tags has 3": set()})


def test_a_lost_bitmap_of_a_phase_is_said_as_long_as_it_is_lost(directory, right):
    flip(directory / "bitmaps" / "data.bin", place_of(directory, "bitmaps", bitmap.phase_key(2)))
    (one,) = repair(directory).itertuples()
    assert "the bitmap phase 2" in one.what and "new index" in one.remedy
    (one,) = bitdex.repair(directory).itertuples()
    assert "phase 'tags'" in one.what and one.action.startswith("none")
    assert answers(directory) == right


@pytest.mark.parametrize("name", ["schema.json", "fields.bin", "dumps.json"])
@pytest.mark.parametrize("damage", ["flipped", "missing"])
def test_what_only_a_backup_has_is_left_alone_and_said(directory, right, name, damage):
    path = directory / name
    whole = path.read_bytes()
    flip(path, len(whole) // 2)
    damaged = path.read_bytes()
    if damage == "missing":
        path.unlink()
    (directory / "bitmaps" / "index.bin").unlink()
    found = repair(directory)
    if name == "fields.bin" and damage == "missing":  # as of an index without fields, until a bitmap is asked
        assert (bitdex.check(directory)["severity"] == "error").any()
    else:
        (one,) = found[found["file"] == str(path)].itertuples()
        assert (one.remedy, one.severity) == ("restore a backup", "error")
        assert not path.exists() if damage == "missing" else path.read_bytes() == damaged
    path.write_bytes(whole)
    assert not len(bitdex.check(directory)), "the rest was repaired"
    assert answers(directory) == right


@pytest.mark.parametrize("damage", ["missing", "zeroed", "newest"])
def test_without_the_newest_commit_nothing_is_done(directory, damage):
    (directory / "bitmaps" / "index.bin").unlink()
    path = directory / "commit.bin"
    record = meta_format.decode(path.read_bytes())
    if damage == "newest":
        patch(path, meta_format.place_of(record), bytes(1024))
    else:
        path.write_bytes(bytes(8192))
    if damage == "missing":
        path.unlink()
    before = all_bytes(directory)
    (one,) = repair(directory).itertuples()
    assert one.file == str(path) and one.remedy == "restore a backup"
    assert all_bytes(directory) == before


def test_a_silo_that_is_beyond_repair_is_left_alone(directory):
    for name in ("data.bin", "meta.bin"):
        (directory / "documents" / name).unlink()
    shutil.rmtree(directory / "bitmaps")
    found = repair(directory)
    assert list(found["remedy"]) == ["restore a backup"] * 2


def test_half_written_files_are_moved_away(directory, right):
    (directory / ".dumps.json.0123456789ab").write_bytes(b"{")
    (one,) = repair(directory).itertuples()
    assert one.severity == "note" and answers(directory) == right
    assert [path.read_bytes() for path in directory.rglob("quarantine/*/.dumps.json.*")] == [b"{"]


def test_a_silo_is_repaired_by_the_same_function(directory, tmp_path):
    (directory / "bitmaps" / "index.bin").unlink()
    assert len(bitdex.repair(directory / "bitmaps")) == 1
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "nowhere"):
        with pytest.raises(NotFoundError, match="there is no index and no silo"):
            bitdex.repair(path)
    assert not list((tmp_path / "empty").iterdir())


def test_who_writes_is_not_disturbed(directory):
    with bitdex.open(directory, "w"):
        assert not len(bitdex.repair(directory))
        with pytest.raises(LockedError):
            bitdex.repair(directory, dry_run=False)


def test_a_repair_that_dies_is_begun_again(directory, right, tmp_path, monkeypatch):
    flip(directory / "commit.bin", 40)
    flip(directory / "documents" / "data.bin", place_of(directory, "documents", 17))
    flip(directory / "documents" / "meta.bin", 40)
    (directory / "bitmaps" / "index.bin").unlink()
    done = Path(shutil.copytree(directory, tmp_path / "done"))
    repair(done)
    expected = answers(done)
    assert 17 not in expected[0] and len(expected[0]) == len(right[0]) - 1
    for allowed, case in killed_repairs(directory, tmp_path, monkeypatch, scale(3, 1)):
        repair(case)
        assert answers(case) == expected, allowed


def harm(rng, directory):
    """Flip a bit, zero a sector or cut a file of one of the silos; return what was done."""
    path = directory / str(rng.choice(["documents", "bitmaps"])) / str(rng.choice(FILES))
    data = bytearray(path.read_bytes())
    at, how = int(rng.integers(len(data))), str(rng.choice(["flip", "flip", "zero", "cut"]))
    if how == "flip":
        data[at] ^= 1 << int(rng.integers(8))
    elif how == "zero":
        sector = slice(at // 512 * 512, at // 512 * 512 + 512)
        data[sector] = bytes(len(data[sector]))
    else:
        del data[at:]
    path.write_bytes(data)
    return f"{how} {path.parent.name}/{path.name} at {at}"


def keys_of_queries(directory):
    """Return which bitmap answers a query."""
    with bitdex.open(directory) as index:
        numbers = {name: index._store.registry.number(name) for name in ("rating", "tags")}
    parts = {query: query.replace("==", "has").split(" has ") for query in QUERIES}
    return {
        query: bitmap.filter_key(numbers[field.strip()], int(value))
        for query, (field, value) in parts.items()
    }


@pytest.mark.timeout(scale(300, 6 * 3600))
def test_random_damage(closed, right, tmp_path):
    """One file is damaged: documents that are not lost read right, bitmaps that are not lost answer right."""
    documents, found = right
    keys = keys_of_queries(closed)
    refused, drawn = 0, seeds(scale(40, 4_000))
    for seed in drawn:
        rng = np.random.default_rng(seed)
        directory = Path(shutil.copytree(closed, tmp_path / "index"))
        done = harm(rng, directory)
        repairs = repairs_of(directory, dry_run=True)
        repair(directory)
        refused += was_refused(repairs)
        if not was_refused(repairs):
            lost = {one.key for one in repairs}
            kept, answered = answers(directory)
            gone = lost & documents.keys() if "documents" in done else set()
            assert kept == {id: documents[id] for id in documents.keys() - gone}, (seed, done)
            for query in QUERIES:
                expected = set() if keys[query] in lost else found[query] - gone
                assert answered[query] == expected, (seed, done, query)
        shutil.rmtree(directory)
    print(f"torture: an index damaged at random {len(drawn)} times, {refused} refused")
    assert refused < len(drawn) / 4
