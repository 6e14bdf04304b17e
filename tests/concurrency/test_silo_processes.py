"""Processes on one silo: one writes, compacts and merges with two threads, eight open, follow and read it."""

from contextlib import contextmanager

import pytest

from bitdex.silo.silo import Silo
from tests.concurrency.crew import SECONDS, Fleet, pause
from tests.concurrency.interleaving import Unsynced
from tests.concurrency.ledger import BOOKS, Reading, Writing
from tests.scale import scale
from tests.system import install

READERS = 8


class Shared:
    """The steps that were acknowledged, in memory that processes share; used like a dict."""

    def __init__(self, context):
        self._numbers = {name: context.Value("q", 0) for name in BOOKS}

    def __getitem__(self, name):
        return self._numbers[name].value

    def __setitem__(self, name, step):
        self._numbers[name].value = step


@contextmanager
def writing(path, quick, acknowledged, crew):
    """Be the process that writes."""
    with pytest.MonkeyPatch.context() as patch:
        if quick:
            install(patch, Unsynced())
        with Silo.open(path, "w") as silo:
            work = Writing(silo, acknowledged)
            crew.add("batches", lambda draw: (pause(draw), work.write(draw)))
            crew.add("maintenance", lambda draw: (pause(draw), work.maintain(draw)))
            yield


@contextmanager
def reading(path, acknowledged, crew):
    """Be a process that reads: it follows the writer, or opens the silo anew."""
    reading, silo = Reading(), Silo.open(path)

    def read(draw):
        nonlocal silo
        pause(draw)
        least = {name: acknowledged[name] for name in BOOKS}
        if draw.random() < 0.75:
            before, seen = dict(reading.steps), silo.refresh()
        else:
            before, seen = {}, True
            silo.close()
            silo = Silo.open(path)
        reading.look(silo, draw, least)
        assert seen or reading.steps == before, "refresh() said that there is nothing new"
        kept = reading.steps
        assert reading.look(silo, draw, least) == kept, "it moved on by itself"

    crew.add("reads", read)
    yield
    silo.close()


@pytest.mark.timeout(SECONDS + 300)
@pytest.mark.parametrize("quick", scale([True], [True, False]))
def test_readers_beside_a_writer_that_compacts(tmp_path, quick):
    path, fleet = tmp_path / "silo", Fleet(SECONDS * scale(0.25, 0.125))
    Silo.open(path, "w", "concatenate", headroom=2.0).close()
    acknowledged = Shared(fleet.context)
    fleet.add("writer", writing, path, quick, acknowledged)
    for number in range(READERS):
        fleet.add(f"reader {number}", reading, path, acknowledged)
    counts = fleet.run()
    print(
        f"\ntorture: silo, processes{', without syncs' * quick}: {dict(counts)}, each read a committed state"
    )
    assert min(counts[kind] for kind in ("batches", "maintenance", "reads")) > 0
    with Silo.open(path) as silo:
        assert not list(silo.check())
