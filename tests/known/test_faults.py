"""Faults of the system that BitDex reimplements, in what it does with files and threads, as far as no other
test has them. `tests.test_known_defects` lists all of them and the tests of each.
"""

import errno
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pytest

import bitdex
from bitdex.dictionaries import Dictionaries
from bitdex.errors import InvalidError, WriteFailedError
from bitdex.silo.silo import Silo
from bitdex.silo.threads import each
from tests.crash import index_work
from tests.known.writing import file_calls, traced, unsynced_before
from tests.system import Faulty


def loaded(path, name="rows", labels=("a", "b", "c")):
    """Make an index of three documents, in one phase, and close it."""
    frame = pd.DataFrame({"id": [1, 2, 3], "n": [1, 2, 3], "kind": labels, "url": ["u1", "u2", "u3"]})
    phase = {"name": name, "slot_field": "id", "sets_alive": True, "fields": ["n", "kind", "url"]}
    with bitdex.create(path, index_work.SCHEMA) as index:
        index.dump(phase, source={name: frame})


def test_fault_04_a_log_is_emptied_when_all_it_held_is_synced(tmp_path):
    """There, it was cut before the overflow and the index were on the device."""
    with Silo.open(tmp_path / "silo", "w", "concatenate") as silo, traced(tmp_path) as tracer:
        for round_ in range(3):
            silo.merge_many(range(20), [b"%d" % round_ * 99] * 20)
            silo.compact()
    renames = [at for at, event in enumerate(tracer.events) if event.kind == "rename"]
    emptied = [at for at in renames if tracer.events[at].target.suffix == ".log"]
    assert len(emptied) == 3
    for at in emptied:
        before = unsynced_before(tracer.events, at)
        assert not {one for one in before if isinstance(one, int)}, "bytes are not on the device"
        commit = [e for e in tracer.events[:at] if e.path.name == "meta.bin"][-1]
        assert commit.kind == "sync", "the log was emptied before the commit was on the device"


def test_fault_06_a_region_is_never_smaller_than_its_record(silos):
    """There, sizes in 32-bit floats were, from 16,777,217 bytes on. Lengths around every power of two."""
    lengths = [(1 << power) + more for power in range(3, 25) for more in (-1, 0, 1)]
    silo = silos(headroom=1.0)
    silo.put_many(range(len(lengths)), [bytes(length) for length in lengths])
    silo.compact()
    found = silo.index_frame()
    assert (found["allocated"] >= found["length"]).all() and len(found) == len(lengths)
    ends = (found["offset"] + found["allocated"]).sort_values().to_numpy()
    assert (ends[:-1] <= found["offset"].sort_values().to_numpy()[1:]).all()


class ReadOnly:
    """A plug: a file system that takes no changes."""

    def around(self, call, proceed):
        if call.changes:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(call.path))
        return proceed(call)


def test_fault_07_a_medium_that_cannot_be_written_to_can_be_read(tmp_path, monkeypatch):
    """There, nobody had tried permissions. Readers ask for no change; a writer is told which file it was."""
    loaded(tmp_path / "index")
    with file_calls(monkeypatch, ReadOnly()):
        with bitdex.open(tmp_path / "index", "r") as index:
            assert index.ids("n >= 2").tolist() == [2, 3] and index.get(1)["kind"] == "a"
            assert index.check().empty and not index.refresh()
        with pytest.raises(OSError, match=str(tmp_path / "index" / "writer.lock")):
            bitdex.open(tmp_path / "index")
        with pytest.raises(WriteFailedError, match=str(tmp_path / "new")):
            bitdex.create(tmp_path / "new", index_work.SCHEMA)


def test_fault_09_a_later_phase_keeps_what_an_earlier_one_wrote(tmp_path):
    """There, a second phase made documents anew, and of several changes to one some fields were dropped."""
    loaded(tmp_path / "index")
    likes = pd.DataFrame({"id": [2, 2, 9], "likes": [5, 7, 1]})
    tags = pd.DataFrame({"id": [2, 2, 3], "tags": [4, 5, 6]})
    with bitdex.open(tmp_path / "index") as index:
        index.dump({"name": "likes", "slot_field": "id", "fields": ["likes"]}, source={"likes": likes})
        index.dump({"name": "tags", "slot_field": "id", "fields": ["tags"]}, source={"tags": tags})
        assert index.get(2) == {"id": 2, "n": 2, "kind": "b", "url": "u2", "likes": 7, "tags": [4, 5]}
        assert index.get(1) == {"id": 1, "n": 1, "kind": "a", "url": "u1", "likes": 0, "tags": []}
        assert index.ids("tags has 5 and likes == 7 and n == 2").tolist() == [2] and 9 not in index


def test_fault_10_labels_are_appended_synced_and_read_again(tmp_path):
    """There, two savers shared one temporary name, nothing was synced, and opening read another folder."""
    Dictionaries.create(tmp_path / "dictionaries.bin", 7)
    with traced(tmp_path) as tracer:
        for label in ("a", "b"):
            dictionaries = Dictionaries(tmp_path / "dictionaries.bin", 7)
            dictionaries.ensure(1, [label])
            dictionaries.save()
            assert not unsynced_before(tracer.events, len(tracer.events))
    assert {event.path.name for event in tracer.events} == {"dictionaries.bin"}
    writes = [event for event in tracer.events if event.kind == "write"]
    assert len(writes) == 2 and writes[0].offset + len(writes[0].data) == writes[1].offset
    assert Dictionaries(tmp_path / "dictionaries.bin", 7, 2).labels(1) == {1: "a", 2: "b"}
    assert os.listdir(tmp_path) == ["dictionaries.bin"]


def test_fault_11_an_error_in_a_thread_reaches_who_waits_for_it():
    """There, it was printed, and the thread was dead. The others have ended when it is raised."""
    running = []

    def work(item):
        if item == 3:
            raise ZeroDivisionError
        running.append(item)
        time.sleep(0.02)
        running.remove(item)

    with ThreadPoolExecutor(4) as pool:
        with pytest.raises(ZeroDivisionError):
            each(pool, work, range(8))
        assert not running


def test_fault_11_a_compaction_that_fails_in_a_thread_makes_the_silo_read_only(silos, monkeypatch):
    """There, health said all was well."""
    silo = silos()
    silo.put(1, b"one")
    silo.compact()
    silo.merge(1, b"!")
    failing = Faulty(1, errno.EIO, among=("fdatasync", "fsync"))
    with ThreadPoolExecutor(1) as pool, file_calls(monkeypatch, failing), pytest.raises(WriteFailedError):
        pool.submit(silo.compact).result()
    assert isinstance(silo.failure, WriteFailedError) and silo.get(1) == b"one!"
    with pytest.raises(PermissionError, match="read-only since a write failed"):
        silo.put(2, b"two")


def test_fault_12_names_never_become_paths(tmp_path):
    """There, a cursor's name became a file's, and any path could be loaded."""
    name = "../../etc/name"
    loaded(tmp_path / "plain")
    loaded(tmp_path / "index", name, ("../../up", "/etc/passwd", "C:\\nul"))
    files = {path.relative_to(tmp_path / "plain") for path in (tmp_path / "plain").rglob("*")}
    assert {path.relative_to(tmp_path / "index") for path in (tmp_path / "index").rglob("*")} == files
    assert {path.name for path in tmp_path.iterdir()} == {"plain", "index"}
    with bitdex.open(tmp_path / "index") as index:
        assert [run.name for run in index.phases] == [name]
        assert index.ids("kind == '/etc/passwd'").tolist() == [2]
        with pytest.raises(InvalidError):
            index.query(after="../../etc/passwd")
