"""Logs that end where no writer ends them: inside of a page, or of the padding of a frame."""

import pytest

from bitdex.formats.frame import padded
from bitdex.silo.silo import Silo
from tests.silo.ops_logs import log_end
from tests.silo.store import content


def cut(silo, end):
    """Cut the log that was written last."""
    silo.close()
    log = max(silo.files.logs, key=lambda path: path.stat().st_size)
    whole = log.read_bytes()
    assert not any(whole[end:])
    log.unlink()
    log.write_bytes(whole[:end])


@pytest.mark.parametrize("beyond", [1, 2, 3, 4, 7, 8, 101])
def test_a_log_of_any_length_is_read_appended_to_and_compacted(silos, beyond):
    """A compaction of one whose length could not be divided by 4 failed for ever."""
    silo = silos()
    silo.put(1, b"one")
    silo.compact()
    silo.put_many([1, 2], [b"1", b"two"])
    cut(silo, log_end(silo) + beyond)
    assert content(silo.files.directory) == {1: b"1", 2: b"two"}
    with Silo.open(silo.files.directory, "w") as again:
        again.compact()
        again.put(3, b"three")
    assert content(silo.files.directory, "w") == {1: b"1", 2: b"two", 3: b"three"}


@pytest.mark.parametrize("lacking", range(1, 8))
@pytest.mark.parametrize("compacted", [False, True])
def test_a_log_that_ends_in_the_padding_of_its_last_frame_is_whole(silos, lacking, compacted):
    """Readers and `check` ended in an IndexError."""
    silos.damaged = True  # a note, and no error
    silo = silos()
    silo.put(1, b"one")
    if compacted:
        silo.compact()
    silo.put(2, b"x")
    assert int(padded(1)) - 25 == 7
    cut(silo, log_end(silo) - lacking)
    with Silo.open(silo.files.directory) as reader:
        assert reader.get(2) == b"x" and not reader.refresh()
        found = list(reader.check())
        assert {one.severity for one in found} <= {"note"}
        with Silo.open(silo.files.directory, "w", sync="none") as writer:
            assert writer.get(2) == b"x"
            writer.put(3, b"three")
            assert reader.refresh() and reader.get(3) == b"three"
            assert writer.compact() == (2 if compacted else 3)
    assert content(silo.files.directory) == {1: b"one", 2: b"x", 3: b"three"}
