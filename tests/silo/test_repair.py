"""Repair of a silo: what is whole stays, what is not is set aside and named, nothing wrong is ever read."""

import shutil
from contextlib import suppress

import numpy as np
import pytest

from bitdex.errors import BitdexError, LockedError, VersionError
from bitdex.formats import hash_index
from bitdex.formats import meta as meta_format
from bitdex.formats.document import encode_document
from bitdex.silo.check import check_files
from bitdex.silo.files import SiloFiles
from bitdex.silo.repair import repair_silo
from bitdex.silo.silo import Silo
from tests.scale import scale, seeds
from tests.silo.damaged_store import (
    NAMES,
    all_bytes,
    content,
    flip,
    held,
    make_silo,
    patch,
    quarantined,
    repair,
    was_refused,
)
from tests.silo.ops_logs import freeze, log_end
from tests.silo.store import Killed, Killer, copy_of


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """Return the directory of a silo, and the states since its last commit."""
    path = tmp_path_factory.mktemp("template") / "silo"
    states = make_silo(path)
    assert list(check_files(SiloFiles(path))) == []
    return path, states


@pytest.fixture
def files(template, tmp_path):
    """Return the files of a copy of that silo."""
    return SiloFiles(shutil.copytree(template[0], tmp_path / "silo"))


@pytest.fixture
def truth(template):
    """Return what it holds."""
    return template[1][-1]


def regions(files):
    """Return the index entries by key, and the committed end."""
    with Silo.open(files.directory) as silo:
        return silo.index_frame().set_index("key"), len(silo.data)


def test_a_sound_silo_is_left_alone(files, truth):
    assert repair(files) == []
    assert content(files) == truth and not (files.directory / "quarantine").exists()


def test_a_prepared_commit_is_left_alone(silos, tmp_path):
    silo = silos()
    silo.put(1, b"one")
    silo.compact()
    silo.merge(1, b"two")
    silo.compact(commit=False)
    copy = copy_of(silo, tmp_path / "copy")
    before = all_bytes(copy)
    for at in (None, 1):
        assert repair_silo(copy, dry_run=False, at=at) == []
    assert all_bytes(copy) == before


# -- index and commit records --------------------------------------------------------------


@pytest.mark.parametrize("name", ["index.bin", "index.delta"])
@pytest.mark.parametrize("damage", ["missing", "empty", "flipped", "cut"])
def test_an_index_is_made_anew(files, truth, name, damage):
    path = files.directory / name
    whole = path.read_bytes()
    damaged = {"empty": b"", "flipped": whole[:90] + b"~" + whole[91:], "cut": whole[:-9]}.get(damage)
    path.unlink()
    if damaged is not None:
        path.write_bytes(damaged)
    (one,) = repair(files)
    assert (one.file, one.severity) == (str(path), "warning") and "from data.bin" in one.action
    assert content(files) == truth
    assert quarantined(files).get(name) == damaged


@pytest.mark.parametrize("place", [0, 512, 2000, 4096, 4608, 8191])
def test_a_damaged_copy_of_a_commit_record_is_written_anew(files, truth, place):
    flip(files.meta, place)
    damaged = files.meta.read_bytes()
    (one,) = repair(files)
    assert one.file == str(files.meta) and one.severity in ("warning", "note")
    assert content(files) == truth and quarantined(files) == {"meta.bin": damaged}


def test_the_older_commit_record_may_be_lost(files, truth):
    older = 4096 - meta_format.place_of(files.read_meta(None))
    patch(files.meta, older, bytes(4096))
    (one,) = repair(files)
    assert (one.offset, one.severity) == (older, "error") and content(files) == truth


def test_a_file_of_commit_records_that_was_cut(files, truth):
    newest = meta_format.place_of(files.read_meta(None))
    files.meta.write_bytes(files.meta.read_bytes()[: newest + 600])
    assert repair(files) and content(files) == truth


@pytest.mark.parametrize("commit", ["merge", "compaction", "rewrite"])
def test_going_back_behind_a_commit_is_refused(silos, commit):
    """Its record is lost, and the one before would open an older state, of which files are gone."""
    silos.damaged = True
    silo = silos()
    silo.put_many(range(300), [b"x" * 30] * 300)
    silo.compact()
    with silo.merge_writer() as writer:
        writer.merge_many([1], [b"!"])
    if commit == "merge":
        with silo.merge_writer() as writer:
            writer.merge_many([1], [b"?"])
    elif commit == "compaction":
        silo.put(5, b"five")
        silo.compact()
    else:
        silo.rewrite()
    silo.close()
    patch(silo.files.meta, meta_format.place_of(silo.files.read_meta(None)), bytes(1024))
    repairs = repair(silo.files)
    assert was_refused(repairs) and repairs[0].remedy == "restore a backup"


@pytest.mark.parametrize("damage", ["missing", "zeroed", "flipped"])
def test_without_any_commit_record_there_is_nothing_to_hold_on_to(files, damage):
    if damage == "missing":
        files.meta.unlink()
    for copy, _ in meta_format.copies(bytes(8192)) if damage != "missing" else ():
        patch(files.meta, copy + 100, bytes(8192 - copy) if damage == "zeroed" else b"~~~~~")
        patch(files.meta, copy, b"?" * 3)
    (one,) = repair(files)
    assert was_refused([one]) and one.remedy == "restore a backup"


def test_a_file_of_another_version_is_no_damage(files):
    record = files.read_meta(None)
    record["version"] = 9
    files.meta.write_bytes(meta_format.whole(record))
    with pytest.raises(VersionError, match="9"):
        repair_silo(files.directory)


def test_dead_bytes_are_counted_anew(files, truth):
    record = files.read_meta(None)
    record["dead_bytes"] += 8
    files.meta.write_bytes(meta_format.whole(record))
    (one,) = repair(files)
    assert "dead bytes" in one.what and content(files) == truth


# -- data.bin ------------------------------------------------------------------------------


def test_a_damaged_record_is_taken_out_and_named(files, truth):
    """Each record in turn, at a place in its first frame and in its last."""
    whole = files.data.read_bytes()
    entries, _ = regions(files)
    logged = {5, 6, 7, 8, 9}  # a log puts them
    for key, row in entries.iterrows():
        for place in {row["offset"] + 3, row["offset"] + row["length"] - 1}:
            case = SiloFiles(shutil.copytree(files.directory, files.directory.with_name(f"{key} {place}")))
            flip(case.data, place)
            repairs = repair(case)
            assert repairs[0].key == key and f"key {key}" in repairs[0].what
            kept = truth if key in logged else {k: v for k, v in truth.items() if k != key}
            assert content(case) == kept
            start, stop = row["offset"] - 8, row["offset"] + row["allocated"]
            aside = quarantined(case)["data.bin"]
            assert aside[start:stop] == bytes(case_bytes(whole, place))[start:stop]
            assert not any(aside[64:start]) and len(aside) == stop
            assert [one.severity for one in repairs][:1] == ["warning" if key in logged else "error"]
    assert content(files) == truth


def case_bytes(whole, place):
    damaged = bytearray(whole)
    damaged[place] ^= 0x10
    return damaged


def test_what_a_log_adds_to_a_lost_value_is_no_value(files, truth):
    entries, _ = regions(files)
    flip(files.data, entries.loc[12, "offset"] + 30)
    repairs = repair(files)
    assert [one.key for one in repairs] == [12, 12] and "deleted in the log" in repairs[1].action
    assert content(files) == {key: value for key, value in truth.items() if key != 12}


def test_records_that_cannot_be_decoded_are_kept_as_they_are(silos):
    silos.damaged = True
    silo = silos(rule="documents")
    silo.put_many([1, 2, 3], [b"\x01\x00\xff no document", encode_document({1: 5}), encode_document({1: 6})])
    silo.merge_many([1, 3], [encode_document({2: 7})] * 2)
    silo.compact()
    place = int(silo.find_many([2])[0][0])
    silo.close()
    flip(silo.files.data, place + 24)
    assert [one.key for one in repair_silo(silo.files.directory, dry_run=False)] == [2]
    again = silos(mode="r")
    assert again.get(3) is not None and list(again.keys()) == [1, 3]
    with pytest.raises(BitdexError):
        again.get(1)


@pytest.mark.parametrize("indexed", [True, False])
def test_a_damaged_region_header_loses_nothing(files, truth, indexed):
    """With the index the record is found by it, without by its frames."""
    entries, _ = regions(files)
    if not indexed:
        files.index.unlink()
    for key in (0, 9, 19):
        start = entries.loc[key, "offset"]
        flip(files.data, files.data.read_bytes().rindex(files.data.read_bytes()[start - 8 : start]) + 1)
    repairs = repair(files)
    assert {one.severity for one in repairs} == {"warning"} and len(repairs) == 3 + (not indexed)
    assert content(files) == truth


def test_without_an_index_a_lost_region_is_set_aside_if_nothing_older_can_come_back(silos):
    """Of a silo without dead bytes. Whose the region was nobody knows."""
    silos.damaged = True
    silo = silos()
    silo.put_many(range(9), [b"value %d" % key for key in range(9)])
    silo.compact()
    silo.merge_many([4, 5], [b"more"] * 2)
    places = silo.find_many([2, 4])[0]
    silo.close()
    silo.files.index.unlink()
    flip(silo.files.data, places[0] + 26)
    flip(silo.files.data, places[1] - 8)
    flip(silo.files.data, places[1])
    repairs = repair(silo.files)
    assert sorted(one.severity for one in repairs) == ["error", "error", "error", "warning"]
    whole = {key: b"value %d" % key for key in range(9) if key not in (2, 4)}
    assert content(silo.files) == whole | {5: b"value 5more"}, "4 is deleted, because a log adds to it"


def test_without_an_index_a_lost_region_is_refused_if_something_older_might_come_back(files):
    """Its key may have another, dead region, which would be read instead."""
    entries, _ = regions(files)
    flip(files.data, entries.loc[7, "offset"] + 1)
    files.index.unlink()
    files.delta.unlink()
    repairs = repair(files)
    assert was_refused(repairs) and "the index is gone as well" in repairs[0].what


def test_without_an_index_a_record_with_a_damaged_frame_is_not_cut_short(silos):
    silos.damaged = True
    silo = silos(headroom=9.0)
    silo.put_many([1, 2], [b"one", b"two"])
    silo.merge_many([1, 2], [b"!", b"?"])
    silo.compact()
    place, length = (int(column[0]) for column in silo.find_many([1]))
    silo.close()
    silo.files.index.unlink()
    flip(silo.files.data, place + length - 1)
    assert [one.key for one in repair(silo.files)] == [None, 1]
    assert content(silo.files) == {2: b"two?"}


def test_a_file_header_is_written_anew(files, truth):
    for at in (0, 30):
        flip(files.data, at)
        (one,) = repair(files)
        assert one.severity == "warning" and content(files) == truth


def test_of_a_data_file_that_is_cut_the_records_before_stay(files, truth):
    entries, end = regions(files)
    for cut in (entries["offset"].median(), end - 1, 100):
        case = SiloFiles(shutil.copytree(files.directory, files.directory.with_name(f"cut at {cut}")))
        case.data.write_bytes(case.data.read_bytes()[: int(cut)])
        repairs = repair(case)
        gone = {int(key) for key, row in entries.iterrows() if row["offset"] + row["length"] > cut}
        assert {one.key for one in repairs} == gone | {None}
        lost = gone - {5, 6, 7, 8, 9}
        assert content(case) == {key: value for key, value in truth.items() if key not in lost}


@pytest.mark.parametrize("damage", ["missing", "cut", "garbage", "another's", "older"])
def test_without_a_region_there_is_nothing_to_hold_on_to(files, silos, damage):
    silos.damaged = True
    other = silos("other")
    other.put(1, b"other")
    other.compact()
    older = files.data.read_bytes()
    with Silo.open(files.directory, "w") as silo:
        silo.rewrite()
    size = files.data.stat().st_size
    files.data.unlink()
    if damage != "missing":
        garbage = np.random.default_rng(1).bytes(size)
        others = other.files.data.read_bytes()
        cases = {"cut": b"", "garbage": garbage, "another's": others, "older": older}
        files.data.write_bytes(cases[damage])
    repairs = repair(files)
    assert was_refused(repairs) and repairs[0].remedy == "restore a backup"


def test_a_deleted_key_does_not_come_back(silos):
    """The frame that deleted it is damaged: without the index its value would be found again."""
    silos.damaged = True
    silo = silos(headroom=9.0, reclaim=1.0)
    silo.put_many([1, 2], [b"one", b"two"])
    silo.compact()
    place, length = (int(column[0]) for column in silo.find_many([1]))
    silo.delete(1)
    silo.compact()
    silo.close()
    for number, damaged in enumerate((b"~", bytes(24))):
        case = SiloFiles(shutil.copytree(silo.files.directory, silo.files.directory.with_name(f"{number}")))
        patch(case.data, place + (length + 7 & ~7), damaged)
        (one,) = repair(case)
        assert "the index counts" in one.action
        case.index.unlink()
        assert content(case) == {2: b"two"}


@pytest.mark.parametrize("wrong", ["length", "place", "key"])
def test_data_bin_without_damage_counts_more_than_an_index_that_tells_otherwise(silos, wrong):
    silos.damaged = True
    silo = silos()
    silo.put_many(range(9), [b"value %d" % key for key in range(9)])
    silo.compact()
    table, identity = silo.pin().base.index.table.copy(), silo.identity
    silo.close()
    row = int(np.flatnonzero(table[::3] == 3)[-1])
    table[3 * row + ["key", "place", "length"].index(wrong)] -= np.uint64(8 if wrong == "place" else 1)
    files = silo.files
    files.index.write_bytes(b"".join(map(bytes, hash_index.encode(table, 9, identity, 1))))
    (one,) = repair(files)
    assert one.severity == "error" and "the index is made anew from data.bin" in one.action
    assert content(files) == {key: b"value %d" % key for key in range(9)}


def test_a_frame_of_zeros_is_no_reason_to_doubt_the_index(silos):
    silos.damaged = True
    silo = silos(headroom=9.0)
    silo.put_many([1, 2], [b"one", b"two"])
    silo.merge_many([1, 2], [b"!", b"?"])
    silo.compact()
    place = int(silo.find_many([1])[0][0])
    silo.close()
    patch(silo.files.data, place + 32, bytes(32))
    assert [one.key for one in repair(silo.files)] == [1]
    assert content(silo.files) == {2: b"two?"}


# -- logs ----------------------------------------------------------------------------------


@pytest.fixture
def logged(silos):
    """Return a closed silo with five synced batches in a log, and its states."""
    silos.damaged = True
    silo = silos(sync="batch")
    silo.put_many(range(4), [b"base;"] * 4)
    silo.compact()
    states = [held(silo)]
    for batch in range(5):
        silo.merge_many([1, 2], [b"%d;" % batch] * 2)
        states.append(held(silo))
    rows = silo.ops_frame()
    silo.close()
    log = silo.files.directory / rows["log"].iloc[0]
    return silo.files, log, rows["offset"].tolist(), states


def test_of_a_log_damaged_in_the_middle_the_batches_before_stay(logged):
    files, log, offsets, states = logged
    for row, offset in enumerate(offsets[:-2]):
        case = SiloFiles(shutil.copytree(files.directory, files.directory.with_name(f"case {row}")))
        flip(case.directory / log.name, offset + 25)
        damaged = (case.directory / log.name).read_bytes()
        repairs = repair(case)
        assert f"{4 - row // 2} batches in all hold behind it" in repairs[0].what
        assert "acknowledged" in repairs[1].what and {one.severity for one in repairs} == {"error"}
        assert content(case) == states[row // 2]
        assert quarantined(case)[log.name] == damaged
    with Silo.open(case.directory, "w") as silo:
        silo.merge(1, b"goes on")
    assert content(case)[1].endswith(b"goes on")


def test_a_log_that_ends_too_early_is_accepted_and_said_to_be(logged):
    files, log, offsets, states = logged
    log.write_bytes(log.read_bytes()[: offsets[6]])
    with pytest.raises(BitdexError, match="acknowledged"):
        Silo.open(files.directory)
    (one,) = repair(files)
    assert one.severity == "error" and "up to sequence" in one.what
    assert content(files) == states[3]


def test_a_missing_log_is_replaced_by_an_empty_one(logged):
    files, _, _, states = logged
    for path in files.logs:
        path.unlink()
    repairs = repair(files)
    assert len(repairs) == 3 and {one.severity for one in repairs} == {"error"}
    assert content(files) == states[0]


def test_batches_behind_a_header_that_is_damaged_stay(logged):
    files, log, _, states = logged
    flip(log, 20)
    (one,) = repair(files)
    assert one.severity == "warning" and content(files) == states[-1]


def test_the_log_of_another_silo_is_set_aside(logged, silos):
    files, log, _, states = logged
    other = silos("other")
    other.put(1, b"other")
    other.close()
    shutil.copy(other.files.logs[0], log)
    repairs = repair(files)
    assert "another store's" in repairs[0].what and content(files) == states[0]


def test_a_torn_tail_is_set_aside(logged):
    files, log, _, states = logged
    with Silo.open(files.directory, "w") as silo:
        silo.put_many([7, 8], [b"x" * 50] * 2)
        place = int(silo.ops_frame()["offset"].iloc[-1])
        copy = SiloFiles(copy_of(silo, files.directory.with_name("copy")))
    patch(copy.directory / log.name, place, bytes(40))
    (one,) = repair(copy)
    assert (one.severity, one.remedy) == ("warning", "nothing is lost")
    assert content(copy) == states[-1] and log.name in quarantined(copy)


def test_a_log_that_was_cut_in_the_padding_behind_its_last_frame(logged):
    files, log, _, states = logged
    with Silo.open(files.directory) as silo:
        end = log_end(silo)
    log.write_bytes(log.read_bytes()[: end - 3])
    (one,) = repair(files)
    assert one.severity == "note" and content(files) == states[-1]
    assert list(check_files(files)) == []


def test_batches_of_the_other_log_behind_a_lost_one_are_set_aside(silos, monkeypatch):
    silos.damaged = True
    silo = silos(sync="batch")
    silo.put(1, b"base;")
    silo.compact()
    for batch in range(3):
        silo.merge(1, b"a%d;" % batch)
    freeze(silo, monkeypatch)
    for batch in range(3):
        silo.merge(1, b"b%d;" % batch)
    rows = silo.ops_frame()
    silo.close()
    older, newer = (silo.files.directory / name for name in rows["log"].drop_duplicates())
    case = SiloFiles(copy_of(silo, silo.files.directory.with_name("newer damaged")))
    flip(case.directory / newer.name, int(rows["offset"].iloc[4]) + 24)
    repair(case)
    assert content(case) == {1: b"base;a0;a1;a2;b0;"}
    flip(older, int(rows["offset"].iloc[1]) + 24)
    repairs = repair(silo.files)
    assert content(silo.files) == {1: b"base;a0;"}
    assert any("3 behind a lost one" in one.what for one in repairs)
    assert set(quarantined(silo.files)) >= {older.name, newer.name}


def test_a_log_that_a_lost_commit_has_emptied_is_refused(silos):
    silos.damaged = True
    silo = silos()
    silo.put(1, b"one")
    older = silo.files.meta.read_bytes()
    silo.compact()
    silo.close()
    silo.files.meta.write_bytes(older)
    assert was_refused(repair(silo.files))


# -- around it -----------------------------------------------------------------------------


def test_leftovers_are_moved_away_and_other_files_are_not(files, truth):
    for name in ("data.bin.new", "index.bin.new", ".ops_b.log.0123456789ab", "notes.txt"):
        (files.directory / name).write_bytes(name.encode())
    repairs = repair(files)
    assert {one.severity for one in repairs} == {"note"} and len(repairs) == 3
    assert set(quarantined(files)) == {"data.bin.new", "index.bin.new", ".ops_b.log.0123456789ab"}
    assert (files.directory / "notes.txt").exists() and content(files) == truth


def test_who_writes_is_not_disturbed(files):
    flip(files.meta, 10)
    with Silo.open(files.directory, "w"):
        assert repair_silo(files.directory)
        with pytest.raises(LockedError, match="process"):
            repair_silo(files.directory, dry_run=False)


def wound(files):
    """Damage everything that can be repaired in one go."""
    entries, _ = regions(files)
    with Silo.open(files.directory) as silo:
        end = log_end(silo)
    flip(files.data, entries.loc[12, "offset"] + 26)  # a log adds to it
    flip(files.data, entries.loc[15, "offset"] + 26)
    flip(files.data, 3)
    flip(files.meta, 40)
    patch(max(files.logs, key=lambda path: path.stat().st_size), end, b"torn")
    (files.directory / "data.bin.new").write_bytes(b"left")


def test_a_repair_that_dies_is_begun_again(template, tmp_path, monkeypatch, files, truth):
    wound(files)
    expected = {key: value for key, value in truth.items() if key not in (12, 15)}
    done = SiloFiles(shutil.copytree(files.directory, tmp_path / "done"))
    named = {one.key for one in repair(done)}
    assert content(done) == expected and named == {None, 12, 15}
    for allowed in range(200):
        case = SiloFiles(shutil.copytree(files.directory, tmp_path / f"{allowed}"))
        with monkeypatch.context() as patched:
            killer = Killer(patched, allowed)
            with suppress(Killed):
                repair_silo(case.directory, dry_run=False)
        killer.bury()
        repair(case)
        assert content(case) == expected, allowed
        shutil.rmtree(case.directory)
        if killer.calls <= allowed:
            break
    assert 30 < killer.calls <= allowed
    print(f"torture: a repair killed at each of {killer.calls} calls")


def test_a_full_disk_is_an_error_and_the_repair_can_be_made_later(files, truth, monkeypatch):
    wound(files)
    with monkeypatch.context() as patched:
        killer = Killer(patched, 12, OSError(28, "No space left on device"), once=True)
        with pytest.raises(OSError, match="No space left"):
            repair_silo(files.directory, dry_run=False)
    killer.bury()
    repair(files)
    assert content(files) == {key: value for key, value in truth.items() if key not in (12, 15)}


# -- random damage -------------------------------------------------------------------------


def damage(rng, path):
    """Damage a file at a random place; return what was done."""
    data = bytearray(path.read_bytes()) or bytearray(1)  # one that was cut to nothing before
    at, how = int(rng.integers(len(data))), str(rng.choice(["flip", "zero", "cut", "garbage"]))
    size = int(rng.choice([1, 8, 64, 512, 4096]))
    start = at // size * size
    if how == "flip":
        data[at] ^= 1 << int(rng.integers(8))
    elif how == "zero":
        data[start : start + size] = bytes(len(data[start : start + size]))
    elif how == "garbage":
        data[at : at + size] = rng.bytes(len(data[at : at + size]))
    else:
        del data[at:]
    path.write_bytes(data)
    return f"{how} {path.name} at {at}, {size}"


def explains(state, found, lost, nameless):
    """Whether what was found is a state, but for keys that are lost."""
    for key in state.keys() | found.keys():
        if found.get(key) != state.get(key) and not (found.get(key) is None and (key in lost or nameless)):
            return False
    return True


@pytest.mark.timeout(scale(300, 6 * 3600))
def test_random_damage(template, tmp_path):
    """Whatever is not lost reads right; what is lost is named, unless the index is damaged as well."""
    path, states = template
    repaired = refused = 0
    drawn = seeds(scale(120, 20_000))
    for seed in drawn:
        rng = np.random.default_rng(seed)
        files = SiloFiles(shutil.copytree(path, tmp_path / "silo"))
        done = [damage(rng, files.directory / rng.choice(NAMES)) for _ in range(rng.choice([1, 1, 2, 3]))]
        repairs = repair(files)
        if was_refused(repairs):
            refused += 1
        else:
            found, lost = content(files), {one.key for one in repairs}
            nameless = any("only the index knew" in one.what for one in repairs)
            candidates = states if "ops_" in "".join(done) else states[-1:]
            assert any(explains(state, found, lost, nameless) for state in candidates), (seed, done)
            assert not nameless or "index." in "".join(done), (seed, done)
            repaired += 1
        shutil.rmtree(files.directory)
    print(f"torture: random damage {len(drawn)} times, {repaired} repaired, {refused} refused")
    assert refused < len(drawn) / 5
