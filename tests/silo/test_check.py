"""`check`: a sound silo has no findings; damage is found wherever it is, and never raises."""

import numpy as np
import pytest

from bitdex.errors import BitdexError
from bitdex.silo.check import check_files
from bitdex.silo.files import SiloFiles
from bitdex.silo.silo import Silo
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


def test_every_flipped_byte_of_the_index_is_found(files):
    size = files.index.stat().st_size
    for at in (*range(64), *range(64, size, 41), size - 1):
        flip(files.index, at)
        found = findings(files)
        assert [one.severity for one in found] == ["warning"] and found[0].file == str(files.index), at
        flip(files.index, at)


def test_every_flipped_byte_of_the_commit_records_is_found(files):
    for at in (*range(0, 512, 7), *range(4096, 4608, 7)):
        flip(files.meta, at)
        assert any(
            one.file == str(files.meta) and one.offset == at // 4096 * 4096 for one in findings(files)
        ), at
        flip(files.meta, at)


def test_every_flipped_byte_of_the_logs_is_found(files):
    log = max(files.logs, key=lambda path: path.stat().st_size)
    padding = {*range(64 + 28, 64 + 32), *range(96 + 27, 96 + 32), *range(128 + 25, 128 + 32)}
    for at in range(log.stat().st_size):
        if at not in padding:
            flip(log, at)
            assert any(one.file == str(log) for one in findings(files)), at
            flip(log, at)


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
    table = silo.pin().base.table.copy()
    table.reshape(-1, 3)[np.flatnonzero(table[::3] == 2)[-1], 2] += np.uint64(1)
    from bitdex.formats import hash_index

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
