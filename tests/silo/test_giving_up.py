"""What fails or is given up leaves no file behind, no frame that counts, and no silo that refuses."""

import errno
import gc
import shutil

import numpy as np
import pytest

from bitdex.errors import CorruptError, InvalidError, LockedError, WriteFailedError
from bitdex.formats.meta import MAX_ABORTED
from bitdex.silo.merge_writer import MergeWriter
from bitdex.silo.silo import Silo
from tests import system
from tests.conftest import open_files
from tests.silo.store import Killed, Killer, content, copy_of


class Stop(Exception):
    pass


def give_up(silo, key=1):
    with pytest.raises(Stop), silo.merge_writer() as writer:
        writer.merge_many([key], [b"given up"])
        raise Stop


# ---- merges


@pytest.mark.parametrize("before", ["nothing", "a deleted key", "a key"])
def test_any_number_of_merges_may_be_given_up(silos, before):
    """The 33rd in a silo without keys ended in an IndexError."""
    silo = silos(headroom=60.0)
    if before != "nothing":
        silo.put(1, b"one")
        silo.compact()
        give_up(silo)
    if before == "a deleted key":
        silo.delete(1)
        silo.compact()
    for _ in range(MAX_ABORTED + 2):
        give_up(silo)
    assert silo.get(1) == (b"one" if before == "a key" else None)
    silo.merge(2, b"two")
    silo.compact()
    path = silo.files.directory
    silo.close()
    silo.files.index.unlink()
    silos.damaged = True
    assert content(path) == {2: b"two"} | ({1: b"one"} if before == "a key" else {})


def test_a_merge_that_died_when_the_list_was_full_is_given_up(silos, tmp_path):
    """A silo without keys never opened for writing again."""
    silo = silos()
    for _ in range(MAX_ABORTED):
        give_up(silo)
    with pytest.raises(Stop), silo.merge_writer() as writer:
        writer.put_many([1], [b"one"])
        copy = copy_of(silo, tmp_path / "copy")
        raise Stop
    for _ in range(2):
        assert content(copy, "w") == {}
    with Silo.open(copy, "w") as again:
        give_up(again)
        again.put(1, b"1")
    assert content(copy) == {1: b"1"}


def test_a_full_list_of_given_up_merges_and_one_under_way_open(silos, tmp_path):
    """As versions have left it that did not make room before they began a merge."""
    silo = silos()
    silo.put(1, b"one")
    silo.compact()
    record = silo._base.meta.copy()
    record["commit"] += 1
    record["aborted"][0][:] = np.arange(10, 10 + MAX_ABORTED)
    record["aborted_count"], record["pending"] = MAX_ABORTED, 50
    silo.files.write_meta(record)
    silo.close(WriteFailedError(errno.EIO, "nothing is written any more"))
    with Silo.open(silo.files.directory, "w") as again:
        assert again.get(1) == b"one"
        meta = again._base.meta
        assert not int(meta["pending"][0]) and not int(meta["aborted_count"][0])


@pytest.mark.parametrize("more", [False, True])
def test_a_merge_of_which_a_part_was_refused_is_not_committed(silos, monkeypatch, more):
    """It was caught in the block, and the keys before the refused one were committed."""
    silo = silos()
    silo.put_many([1, 2], [b"one", b"two"])
    silo.compact()

    run = MergeWriter._run

    def refuse_behind(writer, *arguments):
        run(writer, *arguments)
        raise InvalidError("too long")

    refused = pytest.raises(InvalidError, match=r"not committed: a part of it was refused \(too long\)")
    with refused, silo.merge_writer() as writer:
        with monkeypatch.context() as patched:
            patched.setattr(MergeWriter, "_run", refuse_behind)
            with pytest.raises(InvalidError, match="too long"):
                writer.merge_many([1, 2], [b"!"] * 2)
        if more:
            writer.merge_many([1], [b"?"])
    assert silo.get(1) == b"one" and silo.get(2) == b"two"
    with silo.merge_writer() as writer:
        with pytest.raises(InvalidError, match="expected 1"):  # before anything was merged
            writer.merge_many([1], [])
        writer.merge_many([1], [b"!"])
    assert silo.get(1) == b"one!"


def test_a_merge_that_could_not_be_written_makes_the_silo_read_only(silos, monkeypatch):
    """The error was caught in the block: what the device holds is not known for all that."""
    silo = silos(headroom=1.0)
    silo.put(1, b"one")
    silo.compact()
    with pytest.raises(WriteFailedError), silo.merge_writer() as writer, monkeypatch.context() as patched:
        system.install(patched, system.Faulty(1, errno.EIO, among=("posix_fallocate",)))
        with pytest.raises(WriteFailedError):
            writer.merge_many([1], [b"!" * 999])
    with pytest.raises(LockedError, match="read-only since a write failed"):
        silo.put(1, b"1")


# ---- a batch of nothing


def test_a_batch_of_no_operations_changes_nothing(silos):
    """The silo did not open again: the log was to reach a sequence of which there was no frame."""
    silo = silos(sync="batch")
    assert silo.put(1, b"one") == 1
    assert silo.apply_few([]) == 2 and silo.apply_few([], sequence=7) == 7
    assert silo.put(2, b"two") == 2
    assert silo.apply_few([]) == 3
    silo.close()
    assert content(silo.files.directory, "w") == {1: b"one", 2: b"two"}


# ---- files


def room_lacks(monkeypatch, path):
    """Let every write to a file fail for want of room."""

    class Full:
        def around(self, call, proceed):
            if call.name in ("pwrite", "posix_fallocate") and call.path == path:
                raise OSError(errno.ENOSPC, "No space left on device")
            return proceed(call)

    system.install(monkeypatch, Full())


@pytest.mark.parametrize("what", ["data.bin.new", "index.bin.new"])
def test_a_rewrite_that_finds_no_room_gives_back_what_it_took(silos, monkeypatch, what):
    """What it had written stayed, and the disk full."""
    silo = silos()
    silo.put_many([1, 2], [b"x" * 99] * 2)
    silo.compact()
    with monkeypatch.context() as patched:
        room_lacks(patched, silo.files.directory / what)
        with pytest.raises(WriteFailedError):
            silo.rewrite()
    assert not list(silo.files.directory.glob("*.new"))
    silo.close()
    assert content(silo.files.directory) == {1: b"x" * 99, 2: b"x" * 99}


def test_files_of_commits_that_died_go_when_the_silo_is_opened_for_writing(silos):
    silo = silos()
    silo.put(1, b"one")
    silo.compact()
    silo.close()
    left = [silo.files.unfinished(path) for path in (silo.files.data, silo.files.index, silo.files.delta)]
    for path in left:
        path.write_bytes(b"x" * 1000)
    Silo.open(silo.files.directory).close()
    assert all(path.exists() for path in left)
    with Silo.open(silo.files.directory, "w"):
        assert not any(path.exists() for path in left)


def test_a_prepared_commit_keeps_its_files_until_it_is_given_up(silos, tmp_path):
    silo = silos()
    silo.put(1, b"one")
    sequence = silo.sequence
    silo.compact(commit=False)
    copy = copy_of(silo, tmp_path / "copy")
    assert (copy / "data.bin.new").exists()
    assert content(copy, at=sequence) == {1: b"one"}
    assert content(copy, "w", at=sequence) == {1: b"one"}
    assert not list(copy.glob("*.new"))


def test_an_opening_that_fails_closes_the_logs(silos):
    """A rewrite that failed in it left their descriptors open."""
    silos.damaged = True
    silo = silos(reclaim=1.0)
    silo.put_many([1, 2], [b"one", b"two"])
    silo.compact()
    sequence, place = silo.sequence, silo.find_many([1])[0][0]
    silo.put(3, b"three")
    silo.close()
    with open(silo.files.data, "r+b") as file:
        file.seek(int(place) + 25)
        file.write(b"?")
    before = open_files()
    for _ in range(2):  # what is cut off stays until it can be done
        with pytest.raises(CorruptError):
            Silo.open(silo.files.directory, "w", at=sequence)
        gc.collect()  # maps, which the traceback may hold
        assert open_files() == before
    with Silo.open(silo.files.directory) as reader:
        assert reader.get(3) == b"three"


def test_what_a_prepared_compaction_wrote_is_left_out_though_the_opening_that_gives_it_up_dies(
    silos, tmp_path, monkeypatch
):
    """The log was cut before the data file was rewritten: nothing told the next opener what lay in there."""
    silos.damaged = True
    silo = silos(headroom=9.0)
    silo.put_many([1, 2], [b"a", b"a"])
    silo.compact()
    sequence = silo.sequence
    silo.merge_many([1, 2], [b"given up"] * 2)
    silo.compact(commit=False)
    died = allowed = 0
    while died == allowed:
        copy = copy_of(silo, tmp_path / f"{allowed}")
        with monkeypatch.context() as patched:
            killer = Killer(patched, allowed)
            try:
                Silo.open(copy, "w", at=sequence).close()
            except Killed:
                died += 1
            killer.bury()
        allowed += 1
        with Silo.open(copy, "w", at=sequence) as again:
            assert again.merge(1, b"b") == sequence + 1
            again.compact()
        (copy / "index.bin").unlink()
        assert content(copy) == {1: b"ab", 2: b"a"}
        shutil.rmtree(copy)
    assert died > 10
