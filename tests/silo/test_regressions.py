"""Faults that BitDex itself has had, and what is promised of prepared commits."""

import gc
import sys
import threading
import weakref

import numpy as np
import pytest

from bitdex.errors import InvalidError
from bitdex.silo.merge_writer import MergeWriter
from bitdex.silo.silo import Silo
from tests.silo.store import content, copy_of


def values(silo, keys):
    return list(silo.get_many(keys))


def test_a_prepared_compaction_is_read_once(silo):
    """Its operations are in the data file and still in the log; they count once."""
    silo.put(1, b"a")
    silo.compact()
    silo.merge(1, b"b")
    silo.compact(commit=False)
    assert silo.get(1) == b"ab" and silo.pending == 0
    silo.merge(1, b"c")
    assert silo.get(1) == b"abc"
    silo.finish()
    assert silo.get(1) == b"abc"
    silo.compact()
    assert silo.get(1) == b"abc"


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("way", ["merge writer", "compaction", "cold compaction"])
def test_a_prepared_commit_opens_at_either_sequence(silos, tmp_path, way, keep):
    silo = silos()
    if way != "cold compaction":
        silo.put_many([1, 2], [b"a", b"b"])
        silo.compact()
    before, sequence = dict(zip([1, 2], silo.get_many([1, 2]))), silo.sequence
    if way == "merge writer":
        with silo.merge_writer(commit=False) as writer:
            writer.merge_many([1, 3], [b"!", b"c"])
    else:
        silo.merge_many([1, 3], [b"!", b"c"])
        silo.compact(commit=False)
    copy = copy_of(silo, tmp_path / "copy")
    at = silo.sequence if keep else sequence
    silo.close()
    for mode in ("r", "w"):
        with Silo.open(copy, mode, at=at) as opened:
            assert values(opened, [2, 3]) == [before[2], b"c" if keep else None]
            assert opened.get(1) == ((before[1] or b"") + b"!" if keep else before[1])
    with Silo.open(copy, "w") as opened:
        assert opened.get(3) == (b"c" if keep else None)
        opened.merge(3, b"d")
        opened.compact()
        assert opened.get(3) == (b"cd" if keep else b"d")
    (copy / "index.bin").unlink()
    assert content(copy)[3] == (b"cd" if keep else b"d")


def test_a_buffer_of_keys_may_be_used_again(silo):
    """A silo must not keep looking at the caller's array."""
    keys = np.array([1, 2], np.uint64)
    silo.put_many(keys, [b"one", b"two"])
    keys[:] = [3, 4]
    for _ in range(2):
        assert values(silo, [1, 2, 3, 4]) == [b"one", b"two", None, None]
        silo.compact()


def test_a_record_with_frames_before_a_delete_is_read(silos):
    """Frames that are cut off are not listed, not even for a moment."""
    silo = silos(headroom=60.0)
    silo.put(1, b"old")
    silo.merge(1, b"more")
    silo.compact()
    silo.delete(1)
    silo.merge(1, b"new")
    silo.compact()
    assert silo.records_frame()["kind"].tolist() == ["put", "merge", "delete", "merge"]
    assert silo.get(1) == b"new"


def test_readers_do_not_make_a_writer_lose_operations(silo):
    """Reading rebuilds the table of pending operations while another thread appends."""
    stop, failures = threading.Event(), []

    def read():
        while not stop.is_set():
            try:
                silo.get_many([1, 2, 3])
            except Exception as error:
                failures.append(error)
                return

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    threads = [threading.Thread(target=read) for _ in range(3)]
    try:
        for thread in threads:
            thread.start()
        for batch in range(150):
            silo.put_many(range(batch * 20, batch * 20 + 20), [b"v"] * 20)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)
    assert not failures
    assert silo.pending == 3_000 and len(silo) == 3_000


@pytest.mark.parametrize("compacted", [False, True])
def test_a_sequence_that_data_and_logs_hold_already_is_not_lost(silos, compacted):
    """A second batch of one sequence counts, or is refused, also after a compaction of the first."""
    silo = silos()
    silo.put_many([1], [b"a"], sequence=5)
    if compacted:
        silo.compact()
    try:
        silo.put_many([2], [b"b"], sequence=5)
        expected = b"b"
    except InvalidError as error:
        assert "sequence" in str(error)
        expected = None
    silo.close()
    assert silos().get(2) == expected


def test_an_abandoned_merge_leaves_no_descriptors(silo):
    """`nothing_left_open` counts them."""
    silo.put(1, b"a")
    silo.compact()
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), silo.merge_writer() as writer:
            writer.merge_many([1], [b"b"])
            raise ZeroDivisionError


def test_a_compaction_that_was_interrupted_counts_when_it_is_run_again(silos, monkeypatch):
    """Its frames keep their sequence, which must not stay listed as given up."""
    silo = silos()
    silo.put(1, b"a")
    silo.compact()
    silo.merge(1, b"b")
    with monkeypatch.context() as patched:
        patched.setattr(MergeWriter, "finish", lambda *_: (_ for _ in ()).throw(OSError("disk")))
        with pytest.raises(OSError, match="disk"):
            silo.compact()
    assert silo.get(1) == b"ab"
    silo.compact()
    path = silo.files.directory
    silo.close()
    silos.damaged = True
    silo.files.index.unlink()
    assert content(path) == {1: b"ab"}


@pytest.mark.parametrize("mode", ["w", "r"])
def test_a_closed_silo_lets_go_of_its_maps_at_once(tmp_path, mode):
    """A cycle kept them, and the memory of files that were removed, until a collection."""
    with Silo.open(tmp_path, "w") as silo:
        silo.put(1, b"one")
        silo.compact()
        silo.put(2, b"two")
    gc.disable()
    try:
        silo = Silo.open(tmp_path, mode)
        assert silo.get(1) == b"one"
        held = [weakref.ref(one) for one in (silo, silo._logs, silo._logs.active)]
        silo.close()
        del silo
        assert [one() for one in held] == [None, None, None]
    finally:
        gc.enable()


def test_a_reader_looks_at_the_older_log_last(tmp_path, monkeypatch):
    """Between two looks a batch came to one log, which was frozen, and the next batch to the other."""
    with Silo.open(tmp_path, "w", "concatenate") as silo:
        silo.merge(1, b"a")
        silo.compact()
        silo.merge(1, b"b")  # into the second log
        with Silo.open(tmp_path) as reader:
            second = reader._logs.both[1]
            assert second.appended == 1
            follow = second.follow

            def act():
                monkeypatch.undo()
                seen = follow()
                silo.merge(1, b"c")
                silo._logs.freeze()
                silo.merge(1, b"d")
                return seen

            monkeypatch.setattr(second, "follow", act)
            reader.refresh()
            assert reader.get(1) in (b"ab", b"abc", b"abcd")


def test_a_merge_begins_beside_somebody_who_writes_all_the_time(silo, monkeypatch):
    """Each compaction before it found that something had been written since, and another one was begun."""
    commit, writers = silo._commit, []

    def commit_beside_a_write(*arguments, **options):
        if len(writers) < 50:
            writers.append(threading.Thread(target=silo.put, args=(len(writers), b"beside")))
            writers[-1].start()
            writers[-1].join(0.1)  # longer where it has to wait
        return commit(*arguments, **options)

    silo.put(100, b"before")
    silo.compact()
    silo.put(101, b"before")
    monkeypatch.setattr(silo, "_commit", commit_beside_a_write)
    with silo.merge_writer() as writer:
        writer.put_many([0, 102], [b"merged", b"merged"])
    monkeypatch.undo()
    for one in writers:
        one.join()
    assert len(writers) < 10
    assert silo.get(0) == silo.get(102) == b"merged"
    assert values(silo, range(1, len(writers))) == [b"beside"] * (len(writers) - 1)


@pytest.mark.parametrize("way", ["log", "merge writer"])
def test_many_merges_into_one_key_do_not_copy_it_as_many_times(silos, way):
    """Without headroom, 8000 merges of 8 bytes took 2.5 GiB."""
    silo = silos(headroom=1.0, reclaim=1.0)
    silo.put(1, b"")
    silo.compact()
    if way == "log":
        silo.merge_many([1] * 8_000, [b"12345678"] * 8_000)
        silo.compact()
    else:
        with silo.merge_writer() as writer:
            writer.merge_many([1] * 8_000, [b"12345678"] * 8_000)
    assert silo.get(1) == b"12345678" * 8_000
    assert len(silo.data) < 6 * 8_000 * 32
