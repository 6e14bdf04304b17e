"""A writer that dies at any file call: the state before or after, and running it again gives the same."""

import shutil
from contextlib import suppress
from errno import ENOSPC

import pytest

from bitdex.silo.silo import Silo
from tests.silo.ops_logs import log_end
from tests.silo.store import Killed, Killer, content, copy_of

BIG = [bytes([key]) * (key * 400) for key in range(20)]


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """Return a silo's directory with records of several frames, headroom, dead space, pending operations."""
    path = tmp_path_factory.mktemp("template") / "silo"
    with Silo.open(path, "w", "concatenate", headroom=1.5, sync="none") as silo:
        silo.put_many(range(20), [b"base %d;" % key for key in range(20)])
        silo.compact()
        silo.merge_many(range(0, 20, 3), [b"more;"] * 7)
        silo.delete(4)
        silo.compact()
        silo.merge_many([1, 2, 30], [b"pending;"] * 3)
    return path


@pytest.fixture
def prepare(template):
    """Return a function that opens a copy of the template."""
    return lambda path: Silo.open(shutil.copytree(template, path), "w")


def put(silo):
    silo.put_many(range(5, 15), BIG[5:15])


def merge(silo):
    with silo.merge_writer() as writer:
        writer.merge_many(range(20), BIG)
        writer.delete_many([7, 8])
        writer.merge_many([8, 40, 41], [b"a", b"b", b"c"])


def compact(silo):
    silo.compact()


def rewrite(silo):
    silo.rewrite()


def model_after(silo, action):
    with silo:
        before = dict(zip(silo.keys().tolist(), silo.get_many(silo.keys())))
        action(silo)
        after = dict(zip(silo.keys().tolist(), silo.get_many(silo.keys())))
    return before, after


@pytest.mark.parametrize("action", [put, compact, merge, rewrite])
def test_killed_at_any_file_call(tmp_path, monkeypatch, prepare, action):
    before, after = model_after(prepare(tmp_path / "model"), action)
    seen = []
    for allowed in range(100):
        silo = prepare(tmp_path / f"{allowed}")
        with monkeypatch.context() as patched:
            killer = Killer(patched, allowed)
            with suppress(Killed):
                action(silo)
            copy = copy_of(silo, tmp_path / f"copy {allowed}")
        silo.close()
        killer.bury()
        found = content(copy)
        assert found in (before, after), (allowed, killer.calls)
        seen.append(found == after)
        again = Silo.open(copy, "w", sync="none")
        with again:
            if before == after or not seen[-1]:
                action(again)
            assert dict(zip(again.keys().tolist(), again.get_many(again.keys()))) == after, allowed
            assert all(one.severity == "note" for one in again.check()), allowed
        (copy / "index.bin").unlink(missing_ok=True)
        assert content(copy) == after, allowed
        if killer.calls <= allowed:
            break
    assert killer.calls <= allowed, "the action has more file calls than were tried"
    turn = len(seen) - seen.count(True)  # calls of two threads may change places from one run to the next
    assert seen[-1] and all(seen[turn + 2 :]) and not any(seen[: max(turn - 2, 0)])


@pytest.mark.parametrize("action", [put, compact, merge, rewrite])
def test_a_file_call_that_fails_once(tmp_path, monkeypatch, prepare, action):
    """A full disk is an error: it is raised, nothing is lost, and nothing stays open."""
    before, after = model_after(prepare(tmp_path / "model"), action)
    for allowed in range(100):
        path = tmp_path / f"{allowed}"
        with prepare(path) as silo, monkeypatch.context() as patched:
            killer = Killer(patched, allowed, OSError(ENOSPC, "No space left on device"), once=True)
            failed = False
            try:
                action(silo)
            except OSError as error:
                failed = error.errno == ENOSPC
            assert failed == (killer.calls > allowed)
        assert content(path) in (before, after), allowed
        with Silo.open(path, "w", sync="none") as again:
            again.put(99, b"works")
            again.compact()
        assert content(path)[99] == b"works"
        if killer.calls <= allowed:
            break
    assert killer.calls <= allowed, "the action has more file calls than were tried"


def test_a_copy_taken_before_the_commit_gives_the_same_when_run_again(tmp_path, prepare):
    """Concatenating merges, so that applying anything twice would show."""
    silo = prepare(tmp_path / "silo")
    with silo.merge_writer() as writer:
        writer.merge_many(range(20), BIG)
        copy = copy_of(silo, tmp_path / "copy")
    after = dict(zip(silo.keys().tolist(), silo.get_many(silo.keys())))
    silo.close()
    before = content(copy)
    assert before[3] == b"base 3;more;"
    for _ in range(2):  # dies twice
        with Silo.open(copy, "w") as again, suppress(Killed), again.merge_writer() as writer:
            writer.merge_many(range(0, 20, 2), BIG[::2])
            second = copy_of(again, tmp_path / f"{copy.name} again")
            raise Killed
        assert content(second) == before
        copy = second
    with Silo.open(copy, "w") as again, again.merge_writer() as writer:
        writer.merge_many(range(20), BIG)
    assert content(copy) == after
    (copy / "index.bin").unlink()
    assert content(copy) == after


def test_an_index_that_was_not_renamed_is_found(tmp_path, prepare):
    silo = prepare(tmp_path / "silo")
    with silo.merge_writer(commit=False) as writer:
        writer.merge_many(range(1, 100), [b"!"] * 99)
    copy = copy_of(silo, tmp_path / "copy")
    silo.close()
    assert list(copy.glob("index.*.new"))
    assert content(copy)[1] == b"base 1;pending;!"
    assert list(copy.glob("index.*.new"))  # a reader changes nothing
    assert content(copy, "w")[1] == b"base 1;pending;!"
    assert not list(copy.glob("*.new"))


@pytest.mark.parametrize("size", [1, 8, 23, 24, 40, 63, 64, 65, 100])
def test_a_log_cut_in_its_last_batch_keeps_the_batches_before(silos, tmp_path, size):
    silo = silos()
    silo.put_many([1, 2], [b"one", b"two"])
    end = log_end(silo)
    silo.put_many([1, 2, 3], [b"ONE" * 9, b"TWO", b"THREE"])
    copy = copy_of(silo, tmp_path / "copy")
    log = copy / silo.files.logs[0].name
    log.write_bytes(log.read_bytes()[: end + size])
    for mode in ("r", "w"):
        with Silo.open(copy, mode) as cut:
            assert list(cut.get_many([1, 2, 3])) == [b"one", b"two", None]
    with Silo.open(copy, "w") as cut:
        cut.put(4, b"four")
    assert content(copy) == {1: b"one", 2: b"two", 4: b"four"}


def test_a_torn_batch_whose_first_page_was_not_written(silos, tmp_path):
    """After a power cut any sector of an unsynced batch may be missing, the first one too."""
    silo = silos()
    silo.put(1, b"one")
    end = log_end(silo)
    silo.put_many([2, 3, 4], [b"x" * 500] * 3)
    copy = copy_of(silo, tmp_path / "copy")
    log = copy / silo.files.logs[0].name
    data = bytearray(log.read_bytes())
    data[end : end + 512] = bytes(512)
    log.write_bytes(data)
    assert content(copy) == {1: b"one"}


def test_a_stale_commit_record_beside_an_emptied_log_is_an_error(silos):
    """What a reader sees that read meta.bin just before a compaction, and the log just after."""
    silos.damaged = True
    silo = silos()
    silo.put(1, b"one")
    stale = silo.files.meta.read_bytes()
    silo.compact()
    silo.close()
    silo.files.meta.write_bytes(stale)
    with pytest.raises(OSError, match=r"ops_[ab]\.log"):
        silos(mode="r").get(1)


def test_thirty_three_abandoned_merges(silos):
    """More than the commit record can list."""
    silo = silos(headroom=60.0)
    silo.put(1, b"a")
    silo.compact()
    for _ in range(40):
        with pytest.raises(ZeroDivisionError), silo.merge_writer() as writer:
            writer.merge_many([1], [b"x"])
            raise ZeroDivisionError
    with silo.merge_writer() as writer:
        writer.put_many([2], [b"b"])
    silo.close()
    (silo.files.index).unlink()
    silos.damaged = True
    assert content(silo.files.directory) == {1: b"a", 2: b"b"}


def test_a_sequence_that_was_given_up_is_not_used_again(silos):
    """Its frames would not count when the index is rebuilt: either refused, or made to count."""
    silo = silos(headroom=10.0)
    silo.put(1, b"a" * 50)
    silo.compact()
    with pytest.raises(ZeroDivisionError), silo.merge_writer(sequence=9):
        raise ZeroDivisionError
    try:
        with silo.merge_writer(sequence=9) as writer:
            writer.merge_many([1], [b"b"])
    except ValueError as error:
        assert "sequence" in str(error)
    expected = silo.get(1)
    silo.close()
    silos.damaged = True
    silo.files.index.unlink()
    assert content(silo.files.directory)[1] == expected
