"""Ctrl-C in a write: the batch is wholly there or not, in memory, for readers and for later openers."""

import errno
import os
import signal
import threading
import time
from functools import partial

import numpy as np
import pytest

from bitdex.errors import LockedError, WriteFailedError
from bitdex.formats import frame
from bitdex.kernels import pending as pending_kernels
from bitdex.silo import log as log_module
from bitdex.silo import pending
from bitdex.silo.silo import Silo
from tests.interrupting import close_left, interrupted_at, raising
from tests.scale import scale
from tests.silo.store import copy_of
from tests.system import install

# One that comes in the callback of a weak reference is told and goes no further.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def ctrl_c(request, tmp_path):
    with raising():
        yield
    request.node.funcargs.clear()
    close_left(tmp_path)


class Pressing:
    """Does something at the n-th call of a function of the system that begins or has returned."""

    def __init__(self, name, act, before=False, only=1):
        self.name, self.act, self.before, self.left = name, act, before, only

    def around(self, call, proceed):
        found = None if call.name == self.name and self.before and self.left else proceed(call)
        if call.name == self.name and self.left:
            self.left -= 1
            self.act()
        return found


def interrupt():
    raise KeyboardInterrupt


def warm(silos):
    """Let everything be compiled and imported that a silo needs."""
    silo = silos("warm")
    for work in (silo.compact, silo.compact, partial(merge, silo, b"!"), silo.rewrite):
        silo.merge(1, b"begin")
        assert silo.get(1) == seen_by_others(silo)
        work()
        assert silo.get(1) == seen_by_others(silo)


def seen_by_others(silo):
    with Silo.open(silo.files.directory) as reader:
        assert not [one for one in reader.check() if one.severity == "error"]
        return reader.get(1)


WRITES = {
    "merge": lambda silo, text: silo.merge(1, text),
    "a few": lambda silo, text: silo.apply_few([(frame.MERGE, 1, text), (frame.PUT, 2, text)]),
    "in chunks": lambda silo, text: silo.merge_many([1, 3, 4], [text, b"3" * 100, b"4" * 100]),
}


@pytest.mark.parametrize("sync", ["none", "batch", "always"])
@pytest.mark.parametrize("way", WRITES)
def test_a_batch_is_there_or_not_whenever_ctrl_c_comes(silos, monkeypatch, way, sync):
    """It was in the log and not in memory, or twice in memory."""
    warm(silos)
    monkeypatch.setattr(log_module, "CHUNK", 64)
    silo = silos(sync=sync)
    silo.put(1, b"begin")
    held, step, interrupted = b"begin", 0, True
    while interrupted is not None:
        text = b";%d" % step
        interrupted = interrupted_at(step, partial(WRITES[way], silo, text))
        now = silo.get(1)
        assert now == seen_by_others(silo)
        assert now == held + text or (interrupted and now == held), step
        silo.put(9, b"between")  # what was left is settled
        held, step = now, step + 1
    assert step > 30
    silo.close()
    assert silos(mode="r").get(1) == held


@pytest.mark.parametrize("way", ["compact", "cold", "merge writer", "rewrite"])
def test_a_commit_is_whole_whenever_ctrl_c_comes(silos, way):
    warm(silos)
    silos.damaged = True  # files that nobody names may be left
    silo = silos()
    held, step, interrupted = b"", 0, True
    if way != "cold":
        silo.put(1, b"")
        silo.compact()
    while interrupted is not None:
        text = b";%d" % step
        if way == "merge writer":
            interrupted = interrupted_at(step, partial(merge, silo, text))
            assert silo.get(1) in (held, held + text)
            held = silo.get(1)
        else:
            if way == "cold":
                silo.close()
                silo = silos(f"cold-{step}")
                held = b""
            silo.merge(1, text)
            held += text
            interrupted = interrupted_at(step, silo.rewrite if way == "rewrite" else silo.compact)
        assert silo.get(1) == held == seen_by_others(silo)
        step += 31 if way in ("cold", "rewrite") else 7
    silo.close()
    assert silos(silo.files.directory.name, "r").get(1) == held


def merge(silo, text):
    with silo.merge_writer() as writer:
        writer.merge_many([1, 2], [text, text])


def test_a_reader_that_is_interrupted_takes_no_batch_twice(silos):
    warm(silos)
    silo = silos()
    silo.put(1, b"begin")
    with Silo.open(silo.files.directory) as reader:
        step, interrupted = 0, True
        while interrupted is not None:
            silo.merge(1, b";%d" % step)
            interrupted = interrupted_at(step, reader.refresh)
            reader.refresh()
            assert reader.get(1) == silo.get(1)
            step += 1


@pytest.mark.parametrize("way", ["merge", "in chunks", "compact", "merge writer", "rewrite"])
def test_nothing_stays_held_while_a_prompt_keeps_the_traceback(silos, way):
    """A silo took itself for one that is being compacted, for good."""
    warm(silos)
    silos.damaged = True  # files that nobody names may be left
    silo = silos()
    works = {"compact": silo.compact, "rewrite": silo.rewrite, "merge writer": partial(merge, silo, b"!")}
    work = works.get(way) or partial(WRITES[way], silo, b"!")
    kept, step, interrupted = [], 0, True
    while interrupted is not None:
        silo.put_many([1, 2], [b"", b""])
        interrupted = interrupted_at(step, work, kept)
        other = threading.Thread(target=silo.put, args=(1, b"%d" % step), daemon=True)
        other.start(), other.join(20)
        assert not other.is_alive(), step
        silo.compact()
        merge(silo, b"?")
        assert silo.get(1) == seen_by_others(silo) == b"%d?" % step, step
        step += {"merge": 1, "in chunks": scale(3, 1)}.get(way, scale(11, 3))
    assert step > 10


def test_a_silo_whose_closing_was_interrupted_can_be_closed(silos):
    """Threads and descriptors were left, and the lock."""
    warm(silos)
    kept, step, interrupted = [], 0, True
    while interrupted is not None:
        silo = silos()
        silo.put(1, b"%d" % step)
        interrupted = interrupted_at(step, silo.close, kept)
        silo.close()
        assert silos(mode="r").get(1) == b"%d" % step
        step += 1
    assert step > 20


@pytest.mark.parametrize("then", ["merge writer", "freeze", "close"])
def test_a_batch_that_was_interrupted_behind_its_write_does_not_come_back(silos, monkeypatch, tmp_path, then):
    """It lay whole in the log, unknown to this process, and a later opener took it for the newest."""
    silo = silos()
    silo.put(1, b"a")
    silo.compact()
    with monkeypatch.context() as patched:
        install(patched, Pressing("pwrite", interrupt))
        with pytest.raises(KeyboardInterrupt):
            silo.put(1, b"old")
    assert silo.get(1) == seen_by_others(silo) == b"old"
    if then == "merge writer":
        with silo.merge_writer() as writer:
            writer.put_many([1], [b"new"])
    elif then == "freeze":
        silo.put(1, b"new")
        silo.compact(commit=False)
        silo.finish()
    expected = b"old" if then == "close" else b"new"
    assert silo.get(1) == expected
    with Silo.open(copy_of(silo, tmp_path / "killed"), "w") as opened:
        assert opened.get(1) == expected
    silo.close()
    assert silos(mode="r").get(1) == expected


def test_a_batch_that_was_interrupted_in_its_write_is_gone(silos, monkeypatch):
    monkeypatch.setattr(log_module, "CHUNK", 64)
    silo = silos()
    silo.put(1, b"a")
    with monkeypatch.context() as patched:
        install(patched, Pressing("pwrite", interrupt, before=True))
        with pytest.raises(KeyboardInterrupt):
            silo.put_many([1, 2, 3], [b"b" * 100] * 3)
    assert silo.get(1) == seen_by_others(silo) == b"a"
    silo.put(2, b"c")
    silo.close()
    reader = silos(mode="r")
    assert (reader.get(1), reader.get(2), reader.get(3)) == (b"a", b"c", None)


def test_ctrl_c_twice_while_a_slow_disk_writes(silos, monkeypatch):
    """The second one ended the waiting: threads went on to write into the place of the next batch."""
    monkeypatch.setattr(log_module, "CHUNK", 64)
    silo, slow = silos(), [True]

    def wait():
        if slow[0] and threading.current_thread() is not threading.main_thread():
            time.sleep(0.4)

    install(monkeypatch, Pressing("pwrite", wait, before=False, only=100))
    main = threading.get_ident()
    for moment in (0.1, 0.2):
        threading.Timer(moment, signal.pthread_kill, (main, signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        silo.put_many([1, 2, 3], [b"o" * 100] * 3)
    slow[0] = False
    silo.put_many([1, 2], [b"n" * 100] * 2)
    time.sleep(0.5)
    assert silo.get(1) == silo.get(2) == b"n" * 100 and silo.get(3) == b"o" * 100
    silo.close()
    assert silos(mode="r").get(1) == b"n" * 100


def failing():
    """Fail, and press Ctrl-C just before."""
    signal.raise_signal(signal.SIGINT)
    raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.mark.parametrize("way", ["put", "merge writer", "compaction"])
def test_a_sync_that_fails_is_not_hidden_by_ctrl_c(silos, monkeypatch, way):
    """The interrupt was raised in its place, and the silo went on to write behind what nobody knows."""
    silos.damaged = True  # nothing is settled after it
    silo = silos(sync="batch")
    silo.put(1, b"x")
    silo.compact()
    if way == "compaction":
        silo.put(1, b"y")
    works = {"put": lambda: silo.put(1, b"y"), "compaction": silo.compact}
    work = works.get(way, lambda: merge(silo, b"!"))
    with monkeypatch.context() as patched:
        install(patched, Pressing("fdatasync", failing, before=True))
        with pytest.raises((WriteFailedError, KeyboardInterrupt)):
            work()
    assert silo.failure is not None
    with pytest.raises(LockedError, match="a write failed"):
        silo.put(1, b"z")


def test_a_write_that_failed_counts_when_something_else_is_raised_behind_it(silos):
    silos.damaged = True
    silo = silos()
    with pytest.raises(KeyboardInterrupt), silo._guard.writing():
        try:
            raise WriteFailedError(errno.EIO, "told to fail", "data.bin")
        finally:
            interrupt()
    assert silo.failure is not None


def test_a_write_of_another_silo_that_failed_before_does_not_count(silos):
    silo = silos()
    try:
        raise WriteFailedError(errno.EIO, "told to fail", "data.bin")
    except WriteFailedError:
        with pytest.raises(TypeError), silo._guard.writing():
            raise TypeError  # noqa: B904
    assert silo.failure is None


def test_ctrl_c_in_the_first_read_of_a_log_does_not_hang_the_next(silos, monkeypatch):
    """Operations that were linked once more followed themselves, and a read went round for good."""
    silo = silos(rule="replace")
    silo.put_many([1, 2, 1], [b"a", b"b", b"c"])

    def link(*arguments):
        pending_kernels.link_operations(*arguments)
        raise KeyboardInterrupt

    def find(wanted, keys, heads, previous, *rest):
        assert (previous[: len(keys)] < np.arange(len(previous))[: len(keys)]).all()
        return pending_kernels.find_newest_of_one(wanted, keys, heads, previous, *rest)

    class Kernels:
        link_operations, find_newest_of_one = staticmethod(link), staticmethod(find)

    monkeypatch.setattr(pending, "kernels", Kernels)
    with pytest.raises(KeyboardInterrupt):
        silo.get(1)
    monkeypatch.setattr(Kernels, "link_operations", staticmethod(pending_kernels.link_operations))
    assert silo.get(1) == b"c"
    assert silo.get(2) == b"b"
    silo.put_many([1], [b"d"])
    assert silo.get(1) == b"d"
