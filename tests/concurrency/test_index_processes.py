"""Processes on one index: one loads phases and compacts, the others open, follow and query it."""

from contextlib import contextmanager

import pytest

import bitdex
from tests.concurrency.crew import SECONDS, Fleet, pause
from tests.concurrency.interleaving import Unsynced
from tests.concurrency.runs import Looking, load, make
from tests.scale import scale
from tests.system import install

READERS = scale(4, 8)


@contextmanager
def loading(path, acknowledged, crew):
    """Be the process that loads."""

    def work(draw):
        load(index, acknowledged.value + 1)
        acknowledged.value += 1

    with pytest.MonkeyPatch.context() as patch:
        install(patch, Unsynced())
        with bitdex.open(path) as index:
            crew.add("phases", work)
            crew.add("compactions", lambda draw: (pause(draw), index.compact()))
            yield


@contextmanager
def querying(path, acknowledged, crew):
    """Be a process that queries: it follows the loading one, or opens the index anew."""
    looking, index = Looking(), bitdex.open(path, "r")

    def work(draw):
        nonlocal index
        pause(draw)
        least = acknowledged.value
        if draw.random() < 0.75:
            index.refresh()
        else:
            index.close()
            index = bitdex.open(path, "r")
        for _ in range(draw.choice([1, 3])):
            looking.look(index, draw, least)

    crew.add("looks", work)
    yield
    index.close()


@pytest.mark.timeout(SECONDS + 300)
def test_readers_beside_a_process_that_loads(tmp_path):
    path, fleet = tmp_path / "index", Fleet(SECONDS * 0.2)
    make(path).close()
    acknowledged = fleet.context.Value("q", 3)
    fleet.add("loader", loading, path, acknowledged)
    for number in range(READERS):
        fleet.add(f"reader {number}", querying, path, acknowledged)
    counts = fleet.run()
    print(f"\ntorture: index, processes: {dict(counts)}, each answer from one commit")
    assert min(counts[kind] for kind in ("phases", "compactions", "looks")) > 0
    with bitdex.open(path) as index:
        assert index.check().empty
