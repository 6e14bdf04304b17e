"""A reader opens or follows, and a writer commits between any two of its calls: no luck is needed."""

import random
from contextlib import contextmanager

import pytest

import bitdex
from bitdex.silo.silo import Silo
from tests.concurrency.interleaving import Unsynced
from tests.concurrency.ledger import BOOKS, Reading, Writing
from tests.concurrency.runs import Looking, load, make
from tests.crash import fields_work
from tests.live.bits import differences
from tests.scale import scale
from tests.system import install


class Beside:
    """A plug that lets somebody else `act`, before the n-th call and before some that come later."""

    def __init__(self, number, every, act):
        self.calls, self._number, self._every, self._act = 0, number, every, act
        self._acting = False

    def around(self, call, proceed):
        if not self._acting:
            self.calls += 1
            behind = self.calls - self._number
            if behind >= 0 and behind % self._every == 0 and behind < 5 * self._every:
                self._acting = True
                self._act()
                self._acting = False
        return proceed(call)

    def forget(self):
        """Let go of the others: maps that were made beside this plug hold it, and it would hold theirs."""
        self._act = None


class Works:
    """What the writer of a silo does in turn: batches between any two of its works."""

    def __init__(self, silo, draw):
        self.acknowledged = dict.fromkeys(BOOKS, 0)
        self._silo, self._draw = silo, draw
        self._writing = Writing(silo, self.acknowledged)

    def batch(self):
        self._writing.write(self._draw)

    def compact(self):
        self.batch(), self._silo.compact()

    def rewrite(self):
        self.batch(), self._silo.rewrite()

    def phase(self):
        self._writing.maintain(random.Random(3))
        self.batch()

    def close_books(self):
        self.compact(), self.compact(), self.phase(), self.rewrite()


@contextmanager
def passing(monkeypatch, number, every, act):
    """Let the others act beside the calls of the block; yield the plug."""
    with monkeypatch.context() as patch:
        plug = Beside(number, every, act)
        install(patch, Unsynced(), plug)
        yield plug
        plug.forget()


@pytest.mark.parametrize("every", scale([1, 3, 1000], [1, 2, 3, 4, 7, 1000]))
@pytest.mark.parametrize("work", ["batch", "compact", "rewrite", "phase", "close_books"])
def test_of_a_silo(tmp_path, monkeypatch, work, every):
    install(monkeypatch, Unsynced())
    path, draw = tmp_path / "silo", random.Random(1)
    with Silo.open(path, "w", "concatenate", headroom=2.0) as silo:
        works, number, reached = Works(silo, random.Random(0)), 0, True
        works.close_books(), works.batch()
        act = getattr(works, work)
        while reached:
            with Silo.open(path) as reader:
                reading = Reading()
                reading.look(reader, draw, works.acknowledged)
                least = dict(works.acknowledged)
                with passing(monkeypatch, number, every, act) as following:
                    reader.refresh()
                reading.look(reader, draw, least)
            least = dict(works.acknowledged)
            with passing(monkeypatch, number, every, act) as opening:
                reader = Silo.open(path)
            with reader:
                Reading().look(reader, draw, least)
            reached = max(following.calls, opening.calls) > number
            number += 1
    assert number > 10


@pytest.mark.parametrize("every", scale([5, 1000], [1, 2, 5, 40, 1000]))
def test_of_an_index(tmp_path, monkeypatch, every):
    install(monkeypatch, Unsynced())
    path, draw, step = tmp_path / "index", random.Random(1), 3
    with make(path) as index:

        def act():
            nonlocal step
            load(index, step + 1)
            step += 1
            if draw.random() < 0.5:
                index.compact()

        number, reached = 0, True
        while reached:
            with bitdex.open(path, "r") as reader:
                least = step
                with passing(monkeypatch, number, every, act) as following:
                    reader.refresh()
                Looking().look(reader, draw, least)
            least = step
            with passing(monkeypatch, number, every, act) as opening:
                reader = bitdex.open(path, "r")
            with reader:
                Looking().look(reader, draw, least)
            reached = max(following.calls, opening.calls) > number
            number += scale(7, 1)
    assert number > 10


@pytest.mark.parametrize("every", scale([9, 1000], [1, 2, 5, 40, 1000]))
def test_of_an_index_whose_fields_change(tmp_path, monkeypatch, every):
    """What a reader shows is what the writer showed at that sequence: schema, documents, bitmaps."""
    install(monkeypatch, Unsynced())
    path, draw, shown, steps = tmp_path / "index", random.Random(1), {}, 0
    with bitdex.create(path, fields_work.SCHEMA) as index:

        def act():
            nonlocal steps
            steps += 1
            kind = ("put", "define", "define", "drop")[steps % 4]
            fields_work.step(draw, kind, steps).do(index)
            shown[index.stats()["sequence"]] = fields_work.content(index)
            if draw.random() < 0.3:
                index.compact()

        def look(reader):
            found = fields_work.content(reader)
            assert found == shown[reader.stats()["sequence"]]
            assert not fields_work.disagreements(reader, found[-1]) and not differences(reader)

        for _ in range(4):
            act()
        number, reached = 0, True
        while reached:
            with bitdex.open(path, "r") as reader:
                with passing(monkeypatch, number, every, act) as following:
                    reader.refresh()
                look(reader)
            with passing(monkeypatch, number, every, act) as opening:
                reader = bitdex.open(path, "r")
            with reader:
                look(reader)
            reached = max(following.calls, opening.calls) > number
            number += scale(3, 1)
    assert number > 10
