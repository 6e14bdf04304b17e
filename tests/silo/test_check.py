"""`check`: a sound silo has no findings; damage is found wherever it is, and never raises."""

import numpy as np
import pytest

from bitdex.errors import BitdexError
from bitdex.formats import hash_index
from bitdex.kernels import hash_index as index_kernels
from bitdex.silo.check import check_files
from bitdex.silo.files import SiloFiles
from bitdex.silo.silo import Silo
from tests.scale import portion, scale
from tests.silo.ops_logs import log_end
from tests.silo.store import copy_of


@pytest.fixture
def files(tmp_path) -> SiloFiles:
    """Return the files of a closed silo with records of several frames and operations in a log."""
    with Silo.open(tmp_path / "silo", "w", "concatenate", headroom=1.2, sync="none") as silo:
        silo.put_many(range(4), [b"x" * 9 * key for key in range(4)])
        silo.compact()
        silo.merge_many([1, 2, 9], [b"more", b"m", b"nine" * 5])
        silo.delete(3)
        silo.compact()
        silo.rewrite()
        silo.merge_many([0, 2], [b"", b"in place or not"])
        silo.compact()
        silo.put_many([5, 6], [b"five", b"six"])
        silo.merge(5, b"!")
    return SiloFiles(tmp_path / "silo")


def findings(files):
    found = list(check_files(files))
    for one in found:
        assert one.severity in ("note", "warning", "error") and one.remedy and one.what
        assert one.offset >= 0 and one.file.startswith(str(files.directory))
    return found


def flip(path, at, bit=2):
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << bit
    path.write_bytes(data)


def committed_places(files):
    """Return every byte of ``data.bin`` that has a meaning, and what it belongs to."""
    with Silo.open(files.directory) as silo:
        frame, records = silo.index_frame(), silo.records_frame()
    places = dict.fromkeys(range(64), "header")
    for row in frame.itertuples():
        places |= dict.fromkeys(range(row.offset - 8, row.offset), "region")
    for row in records[records["file"] == "data.bin"].itertuples():
        places |= dict.fromkeys(range(row.offset, row.offset + 24 + row.length), "frame")
    return places


def test_a_sound_silo_has_no_findings(files):
    assert findings(files) == []
    with Silo.open(files.directory) as silo:
        assert list(silo.check()) == []


def test_every_flipped_byte_of_the_data_is_found(files):
    """In a frame it is found with its place in the frame's record; a record is never read wrong."""
    with Silo.open(files.directory) as silo:
        expected = dict(zip(silo.keys().tolist(), silo.get_many(silo.keys())))
    for at, what in committed_places(files).items():
        flip(files.data, at, at % 8)
        found = findings(files)
        assert any(one.severity == "error" and one.file == str(files.data) for one in found), (at, what)
        try:
            with Silo.open(files.directory) as silo:
                for key, value in expected.items():
                    try:
                        assert silo.get(key) == value
                    except BitdexError:
                        assert what == "frame"
        except BitdexError:
            assert what == "header"
        flip(files.data, at, at % 8)
    assert findings(files) == []


@pytest.mark.parametrize("name", ["data.bin", "index.bin", "meta.bin", "ops_a.log", "ops_b.log"])
def test_files_cut_missing_empty_or_garbage_are_found(files, name):
    path = files.directory / name
    whole = path.read_bytes()
    with Silo.open(files.directory) as silo:
        end = len(silo.data) if name == "data.bin" else len(whole)
        if name.startswith("ops"):  # behind it lies allocated space
            end = log_end(silo) if name in set(silo.ops_frame()["log"]) else 64
    lengths = {0, 1, 63, 64, 70, end // 2, end - 8}  # a log ends with up to 7 bytes of padding
    for length in lengths:
        path.write_bytes(whole[:length])
        if length < end and not (length == 64 and name.startswith("ops")):  # that is an empty log
            assert findings(files), length
    path.write_bytes(np.random.default_rng(0).bytes(len(whole)))
    assert findings(files)
    path.unlink()
    assert findings(files)
    path.write_bytes(whole)
    assert findings(files) == []


def test_the_file_of_another_silo_is_found(files, tmp_path):
    with Silo.open(tmp_path / "other", "w", "concatenate", headroom=1.2, sync="none") as other:
        other.put_many(range(9), [b"other"] * 9)
        other.compact()
        other.rewrite()
        other.compact()
        other.put(1, b"a")
    for mine in (files.data, files.index, *files.logs):
        kept = mine.read_bytes()
        mine.write_bytes((other.files.directory / mine.name).read_bytes())
        assert any(one.file == str(mine) for one in findings(files)), mine
        mine.write_bytes(kept)


def test_an_index_that_disagrees_with_the_data_is_found(silos):
    silos.damaged = True
    silo = silos()
    silo.put_many([1, 2], [b"one", b"two"])
    silo.compact()
    table = silo.pin().base.index.table.copy()
    table.reshape(-1, 3)[np.flatnonzero(table[::3] == 2)[-1], 2] += np.uint64(1)
    pieces = hash_index.encode(table, 2, silo.identity, int(silo.pin().base.meta["index_generation"][0]))
    silo.files.index.write_bytes(b"".join(map(bytes, pieces)))
    found = findings(silo.files)
    assert any("key 2: expected (offset" in one.what and one.severity == "error" for one in found)


def test_a_torn_tail_is_a_warning_at_its_place(silos, tmp_path):
    silo = silos()
    silo.put(1, b"one")
    end = log_end(silo)
    silo.put_many([2, 3], [b"two", b"three"])
    files = SiloFiles(copy_of(silo, tmp_path / "copy"))
    data = bytearray(files.logs[0].read_bytes())
    data[end + 40 :] = bytes(len(data) - end - 40)
    files.logs[0].write_bytes(data)
    (found,) = findings(files)
    assert (found.file, found.offset, found.severity) == (str(files.logs[0]), end, "warning")
    with Silo.open(files.directory, "w") as again:
        assert findings(files) == [] and list(again.check()) == []


def test_operations_in_memory_that_are_not_in_the_log_are_found(silo, silos):
    silos.damaged = True
    silo.put(1, b"one")
    silo.files.logs[0].write_bytes(silo.files.logs[1].read_bytes())
    assert any("1 in memory" in one.what for one in silo.check())


def test_wrongly_counted_dead_bytes_are_found(silos):
    silos.damaged = True
    silo = silos()
    silo.put(1, b"one")
    silo.compact()
    record = silo.pin().base.meta.copy()
    record["commit"] += 1
    record["dead_bytes"] += 8
    silo.files.write_meta(record)
    (found,) = findings(silo.files)
    assert "expected 0 dead bytes" in found.what and found.severity == "warning"


# -- every byte ----------------------------------------------------------------------------


def file_names(files):
    """Return the files whose every byte is checked; what ``writer.lock`` says is for people."""
    return sorted({path.name for path in files.directory.iterdir()} - {"writer.lock"})


@pytest.mark.timeout(scale(300, 6 * 3600))
def test_every_flipped_bit_and_every_length_is_found(files):
    """Of a log's or the data file's allocated space behind the end, what is cut off is not missed."""
    counts = {"flips": 0, "lengths": 0}
    with Silo.open(files.directory) as silo:
        data_end = len(silo.data)
    for name in file_names(files):
        path = files.directory / name
        whole = path.read_bytes()
        for bit in portion(range(0, 8 * len(whole), scale(67, 1))):  # 67: each bit of a byte in turn
            flip(path, bit // 8, bit % 8)
            found = findings(files)
            assert any(one.file == str(path) for one in found), f"{name}: bit {bit % 8} of byte {bit // 8}"
            flip(path, bit // 8, bit % 8)
            counts["flips"] += 1
        for length in portion(range(0, data_end if name == "data.bin" else len(whole), scale(67, 1))):
            path.write_bytes(whole[:length])
            assert findings(files), f"{name}: {length} of {len(whole)} bytes"
            counts["lengths"] += 1
        path.write_bytes(whole)
    assert findings(files) == []
    print(f"torture: check found {counts['flips']} flipped bits and {counts['lengths']} cut files of a silo")


def only(files):
    """Return the one finding there is, its file by name."""
    (one,) = findings(files)
    return one.file.removeprefix(f"{files.directory}/"), one.offset, one.severity


def patch(path, at, content):
    data = bytearray(path.read_bytes())
    data[at : at + len(content)] = content
    path.write_bytes(data)


def test_bytes_in_headroom_behind_the_end_and_in_dead_regions_are_noted(silos):
    silos.damaged = True
    silo = silos(headroom=4.0)
    silo.put_many(range(1, 9), [b"x" * 40] * 8)
    silo.compact()
    dead = int(silo.find_many([4])[0][0])
    silo.delete(4)
    silo.merge(5, b"relocated" * 50)
    silo.compact()
    roomy, end = int(silo.find_many([8])[0][0]), len(silo.data)
    silo.close()
    path = silo.files.data
    assert path.stat().st_size > end + 8
    for place in (roomy + 100, dead + 150, end, path.stat().st_size - 1):
        assert path.read_bytes()[place] == 0
        patch(path, place, b"\x80")
        name, at, severity = only(silo.files)
        assert (name, severity) == ("data.bin", "note") and place - 7 <= at <= place
        patch(path, place, b"\0")
    assert findings(silo.files) == []


def test_what_a_merge_that_was_given_up_has_left_is_nothing_to_be_told(silos):
    """Frames that hold, in headroom and behind the end; the rest of an overwritten one is a note."""
    silo = silos(headroom=4.0)
    silo.put_many(range(9), [b"x" * 40] * 9)
    silo.compact()
    with pytest.raises(ZeroDivisionError), silo.merge_writer() as writer:
        writer.merge_many(range(12), [b"y" * 40] * 12)
        writer.merge_many(range(3), [b"z" * 999] * 3)
        raise ZeroDivisionError
    assert list(silo.check()) == []
    with silo.merge_writer() as writer:
        writer.merge_many([4], [b"short"])
    place = int(silo.find_many([4])[0][0])
    (one,) = silo.check()
    assert one.severity == "note" and place + 64 + 24 < one.offset < place + 64 + 72
    assert silo.get(4) == b"x" * 40 + b"short"
    silo.rewrite()


def test_padding_that_is_not_zero_is_noted(files):
    with Silo.open(files.directory) as silo:
        rows = silo.records_frame()
    padded = rows[rows["length"] % 8 != 0]
    for name, part in padded.groupby("file"):
        row = part.iloc[0]
        place = int(row["offset"] + 24 + row["length"])
        whole = (files.directory / name).read_bytes()
        patch(files.directory / name, place, b"\x01")
        assert only(files) == (name, place, "note")
        (files.directory / name).write_bytes(whole)
    assert set(padded["file"]) == {"data.bin", "ops_b.log"}


def test_bytes_beside_the_commit_records_are_noted(files):
    for place in (2048, 4095, 6000, 8191):
        whole = files.meta.read_bytes()
        patch(files.meta, place, b"\x01")
        assert only(files) == ("meta.bin", place, "note")
        files.meta.write_bytes(whole)


def test_a_place_of_the_commit_records_that_was_zeroed_is_found(files):
    whole = files.meta.read_bytes()
    for place in (0, 4096):
        patch(files.meta, place, bytes(4096))
        assert any(one.file == str(files.meta) and one.offset == place for one in findings(files))
        files.meta.write_bytes(whole)


def test_findings_about_the_index_name_the_right_file(files):
    assert files.delta.exists()
    for path in (files.index, files.delta):
        flip(path, 70)
        assert [one.file for one in findings(files)] == [str(path)]
        flip(path, 70)
    patch(files.delta, files.delta.stat().st_size, b"a block that was torn")
    assert only(files) == ("index.delta", len(files.delta.read_bytes()) - 21, "note")


def test_an_old_index_delta_is_looked_at_as_well(files):
    """A writer that died after a commit that wrote the whole table has left it."""
    older = files.delta.read_bytes()
    with Silo.open(files.directory, "w", sync="none") as silo:
        silo.rewrite()
    files.delta.write_bytes(older)
    assert findings(files) == []
    flip(files.delta, 100)
    assert only(files) == ("index.delta", 64, "note")


def test_leftovers_and_files_of_others_are_noted(files):
    for name in ("data.bin.new", "index.delta.new", ".ops_a.log.0123456789ab", "notes.txt"):
        (files.directory / name).write_bytes(b"x")
        assert only(files) == (name, 0, "note")
        (files.directory / name).unlink()
    (files.directory / "quarantine").mkdir()
    assert findings(files) == []


def test_a_prepared_commit_is_no_finding(silos):
    silo = silos()
    silo.put(1, b"one")
    silo.compact(commit=False)
    assert list(silo.check()) == [] and (silo.files.directory / "data.bin.new").exists()


def test_logs_that_end_before_the_commit_says_are_an_error(files):
    log = max(files.logs, key=lambda path: path.stat().st_size)
    with Silo.open(files.directory) as silo:
        rows = silo.ops_frame()
    last = int(rows["offset"].max())
    patch(log, last, bytes(64))
    assert [(one.offset, one.severity) for one in findings(files)] == [(last, "error")]
    with pytest.raises(BitdexError, match="acknowledged"):
        Silo.open(files.directory)


def test_a_log_that_a_later_commit_has_emptied_is_an_error(silos):
    silos.damaged = True
    silo = silos()
    silo.put(1, b"one")
    older = silo.files.meta.read_bytes()
    silo.compact()
    silo.close()
    silo.files.meta.write_bytes(older)
    assert ("ops_a.log", 24, "error") in [
        (one.file.rpartition("/")[2], one.offset, one.severity) for one in findings(silo.files)
    ]


def test_many_differences_of_the_index_are_told_in_short(silos):
    silos.damaged = True
    silo = silos()
    silo.put_many(range(500), [b"x"] * 500)
    silo.compact()
    pieces = hash_index.encode(index_kernels.new_table(500), 0, silo.identity, 1)
    silo.files.index.write_bytes(b"".join(map(bytes, pieces)))
    found = findings(silo.files)
    told = [one for one in found if one.file == str(silo.files.index)]
    assert len(told) == 101 and "400 more keys" in told[-1].what
