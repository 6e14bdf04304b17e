"""Group sync: writers that wait together share a sync, and nobody returns, or is seen, before it."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from bitdex.silo.modes import SYNC_MODES
from tests.concurrency.crew import PATIENCE, Crew
from tests.concurrency.interleaving import SYNCS
from tests.scale import scale, share
from tests.system import install

WRITERS = 8
BATCHES = scale(25, share(2_000))  # of each writer


class LogBook:
    """A plug that notes when batches were written to the logs, by whom, and when syncs began and ended.

    Attributes
    ----------
    writes : dict
        The time and the file of each thread's last write.
    syncs : list
        The file, beginning and end of each sync.
    slow : float
        Seconds that a sync takes at least: on a memory file system nobody would ever wait for another.
    """

    def __init__(self, slow=0.002):
        self.slow = slow
        self.writes, self.syncs = {}, []

    def around(self, call, proceed):
        if not call.path.name.startswith("ops_"):
            return proceed(call)
        if call.name in SYNCS:
            begin = time.perf_counter_ns()
            time.sleep(self.slow)
            proceed(call)
            self.syncs.append((call.path, begin, time.perf_counter_ns()))
            return None
        result = proceed(call)
        if call.name == "pwrite":
            self.writes[threading.get_ident()] = time.perf_counter_ns(), call.path
        return result

    def covers(self, thread):
        """Tell whether a sync of its file has begun after a thread's last write, and ended."""
        written, path = self.writes[thread]
        return any(file == path and begin > written for file, begin, _ in reversed(self.syncs))


def write(silo, book, batches, number):
    """Write batches, and see that each was synced when the call returned."""
    for batch in range(batches):
        before = book.writes.get(threading.get_ident())
        silo.put_many([number, number + WRITERS], [b"%d" % batch] * 2)
        assert book.writes[threading.get_ident()] != before
        assert book.covers(threading.get_ident())


@pytest.mark.parametrize("sync", SYNC_MODES)
def test_eight_writers(silos, monkeypatch, sync):
    silo, book = silos(sync=sync), LogBook()
    install(monkeypatch, book)
    with ThreadPoolExecutor(WRITERS) as threads:
        if sync == "none":
            list(threads.map(lambda n: [silo.put(n, b"%d" % i) for i in range(BATCHES)], range(WRITERS)))
        else:
            list(threads.map(lambda n: write(silo, book, BATCHES, n), range(WRITERS)))
    count, batches = len(book.syncs), WRITERS * BATCHES
    print(f"\ntorture: {batches:,} batches of {WRITERS} writers in mode {sync!r}: {count:,} syncs")
    assert {"none": count == 0, "batch": count < 0.8 * batches, "always": count == batches}[sync]
    assert list(silo.get_many(range(WRITERS))) == [b"%d" % (BATCHES - 1)] * WRITERS


@pytest.mark.parametrize("sync", ["always", "batch"])
def test_what_is_acknowledged_beside_compactions_was_synced(silos, monkeypatch, sync):
    silo, book, crew = silos(sync=sync), LogBook(0.0005), Crew(scale(1, 60))
    install(monkeypatch, book)
    for number in range(WRITERS):
        crew.add(f"batches {number}", lambda draw, number=number: write(silo, book, 3, number))
    crew.add("compactions", lambda draw: silo.compact())
    crew.run()
    assert min(crew.counts.values()) > 0


class Gate:
    """A plug that holds up the syncs of the logs until it is opened, and counts calls."""

    def __init__(self):
        self.calls, self.syncing, self.open = Counter(), threading.Event(), threading.Event()

    def around(self, call, proceed):
        if not call.path.name.startswith("ops_"):
            return proceed(call)
        if call.name in SYNCS:
            self.syncing.set()
            assert self.open.wait(PATIENCE)
        try:
            return proceed(call)
        finally:
            self.calls[call.name] += 1

    def wait_for_writes(self, count):
        """Wait until so many batches were written."""
        end = time.monotonic() + PATIENCE
        while self.calls["pwrite"] < count and time.monotonic() < end:
            time.sleep(0.001)
        assert self.calls["pwrite"] == count


@pytest.fixture
def gate(monkeypatch):
    gate = Gate()
    install(monkeypatch, gate)
    yield gate
    gate.open.set()


@pytest.mark.parametrize("sync", ["always", "batch"])
def test_a_batch_is_seen_when_it_is_synced(silos, gate, sync):
    silo = silos(sync=sync)
    with ThreadPoolExecutor(1) as threads:
        sequence = threads.submit(silo.put, 1, b"new")
        assert gate.syncing.wait(PATIENCE)
        assert (silo.get(1), len(silo), silo.sequence, silo.pending) == (None, 0, 0, 0)
        assert silo.pin().get(1) is None and not sequence.done()
        gate.open.set()
        assert sequence.result() == silo.sequence == 1
    assert (silo.get(1), len(silo), silo.pending) == (b"new", 1, 1)


def test_without_syncs_a_batch_is_seen_at_once(silos, gate):
    silo = silos(sync="none")
    silo.put(1, b"new")
    assert silo.get(1) == b"new" and not gate.syncing.is_set()


def test_all_who_come_while_a_sync_runs_share_the_next_one(silos, gate):
    silo = silos(sync="batch")
    with ThreadPoolExecutor(WRITERS) as threads:
        first = threads.submit(silo.put, 0, b"first")
        assert gate.syncing.wait(PATIENCE)
        others = [threads.submit(silo.put, number, b"other") for number in range(1, WRITERS)]
        gate.wait_for_writes(WRITERS)
        assert silo.sequence == 0
        gate.open.set()
        assert {first.result(), *(one.result() for one in others)} == set(range(1, WRITERS + 1))
    assert gate.calls["fdatasync"] + gate.calls["fsync"] == 2
    assert len(silo) == WRITERS
