"""Threads on one index: one loads phases, one compacts, the others query; every answer is from one commit."""

import pytest

import bitdex
from tests.concurrency.crew import SECONDS, Crew, pause
from tests.concurrency.interleaving import Unsynced
from tests.concurrency.runs import Looking, load, make
from tests.system import install

READERS = 4


class Loading:
    """The thread that loads, and what it has loaded."""

    def __init__(self, index):
        self.index, self.step = index, 3

    def load(self, draw):
        """Load the next run."""
        load(self.index, self.step + 1)
        self.step += 1


@pytest.mark.timeout(SECONDS + 300)
def test_queries_beside_loading_and_compaction(tmp_path, monkeypatch):
    install(monkeypatch, Unsynced())
    path, crew = tmp_path / "index", Crew(SECONDS * 0.15)
    with make(path) as index:
        loading = Loading(index)
        crew.add("phases", loading.load)
        crew.add("compactions", lambda draw: (pause(draw), index.compact()))
        for number in range(READERS):
            crew.add(f"looks {number}", _reader(index, loading))
        crew.run()
        assert index.check().empty
    print(f"\ntorture: index, threads: {dict(crew.counts)}, each answer from one commit")
    with bitdex.open(path) as index:
        assert index.count(f"k == {loading.step // 2}") == len(index)
    assert min(crew.counts.values()) > 0


def _reader(index, loading):
    looking = Looking()
    return lambda draw: (pause(draw), looking.look(index, draw, loading.step))
