"""Threads on one silo: eight read, one writes, one compacts; no read shows half a commit or an older one."""

from functools import partial

import pytest

from bitdex.silo.modes import SYNC_MODES
from bitdex.silo.silo import Silo
from tests.concurrency.crew import SECONDS, Crew, pause
from tests.concurrency.interleaving import Unsynced
from tests.concurrency.ledger import ALL, BOOKS, Reading, Writing
from tests.system import install

READERS = 8


class Reader:
    """A thread that reads a silo, or states of it that it has pinned."""

    def __init__(self, silo, acknowledged):
        self.silo, self.acknowledged, self.reading = silo, acknowledged, Reading()
        self.pinned = None

    def read(self, draw):
        """Read what is committed, or look whether a pinned state has stayed as it was."""
        pause(draw)
        chance = draw.random()
        if chance < 0.6:
            self.reading.look(self.silo, draw, dict(self.acknowledged))
        elif chance < 0.8 or self.pinned is None:
            state = self.silo.pin()
            self.pinned = state, list(state.get_many(ALL)), state.keys().tolist()
        else:
            state, values, keys = self.pinned
            one = draw.randrange(len(ALL))
            assert list(state.get_many(ALL)) == values and state.keys().tolist() == keys
            assert state.get(int(ALL[one])) == values[one] and len(state) == len(keys)


@pytest.mark.timeout(SECONDS + 300)
@pytest.mark.parametrize("sync", SYNC_MODES)
def test_readers_beside_a_writer_and_a_compactor(silos, monkeypatch, sync):
    if sync == "none":
        install(monkeypatch, Unsynced())  # compactions are many times as fast
    silo = silos(sync=sync, headroom=2.0)
    acknowledged = dict.fromkeys(BOOKS, 0)
    writing, crew = Writing(silo, acknowledged), Crew(SECONDS * 0.1)
    crew.add("batches", lambda draw: (pause(draw), writing.write(draw)))
    crew.add("maintenance", lambda draw: (pause(draw), writing.maintain(draw)))
    for number in range(READERS):
        crew.add(f"reads {number}", Reader(silo, acknowledged).read)
    crew.run()
    print(f"\ntorture: silo, threads, sync {sync!r}: {dict(crew.counts)}, each read one committed state")
    path = silo.files.directory
    silo.close()
    with Silo.open(path) as again:
        assert Reading().look(again, _Straight(), acknowledged) == acknowledged
    assert min(crew.counts.values()) > 0


class _Straight:
    """Draws nothing."""

    sample = staticmethod(lambda items, count: list(items))
    random = staticmethod(lambda: 1.0)


@pytest.mark.timeout(SECONDS + 300)
def test_threads_that_share_a_reader(silos, monkeypatch):
    """Each of them moves it on to the newest state, whenever it likes."""
    install(monkeypatch, Unsynced())
    silo = silos(headroom=2.0)
    acknowledged = dict.fromkeys(BOOKS, 0)
    writing, crew, shared = Writing(silo, acknowledged), Crew(SECONDS * 0.1), silos(mode="r")

    def read(reading, draw):
        least = dict(acknowledged)
        shared.refresh()
        reading.look(shared, draw, least)

    crew.add("batches", lambda draw: (pause(draw), writing.write(draw)))
    crew.add("maintenance", lambda draw: (pause(draw), writing.maintain(draw)))
    for number in range(4):
        crew.add(f"reads {number}", partial(read, Reading()))
    crew.run()
    print(f"\ntorture: silo, threads that share a reader: {dict(crew.counts)}")
    assert min(crew.counts.values()) > 0
