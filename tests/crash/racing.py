"""Racing: processes that all want to write to one store; one at a time may, the others learn who it is."""

import os
import random
import re
import signal
import time
from collections import Counter
from pathlib import Path

import numpy as np

import bitdex
from bitdex.errors import LockedError
from bitdex.silo.silo import Silo
from tests.crash.index_work import SCHEMA, Load
from tests.crash.killing import Child, settle

RACERS = 4
KEYS = np.arange(20, dtype=np.uint64)


class SiloCourse:
    """A silo in which each winner adds one to a number, which all keys hold."""

    def __init__(self, path):
        self.path = Path(path)

    def make(self):
        """Make the store, with the number 1 in it."""
        with self.open() as silo:
            self.add(silo)

    def open(self, mode="w"):
        """Open the store."""
        return Silo.open(self.path, mode, sync="none")

    def add(self, silo):
        """Add one; the count is wrong if somebody else writes at the same time."""
        silo.put_many(KEYS, [b"%d" % (self.count(silo) + 1)] * len(KEYS))

    def count(self, silo):
        """Return the number."""
        numbers = set(silo.get_many(KEYS))
        assert len(numbers) == 1, f"half a batch: {numbers}"
        return int(numbers.pop() or 0)


class IndexCourse(SiloCourse):
    """An index into which each winner loads a table that shows the next number."""

    def make(self):
        """Make the store, with the number 1 in it."""
        with bitdex.create(self.path, SCHEMA, "none") as index:
            self.add(index)

    def open(self, mode="w"):
        """Open the store."""
        return bitdex.open(self.path, mode, "none")

    def add(self, index):
        """Load a table with the next number."""
        Load(random.Random(0), "rows", self.count(index) + 1, None).do(index)

    def count(self, index):
        """Return the number in the newest table."""
        return int(index.get(0)["url"][1:]) if len(index) else 0


COURSES = {"silo": SiloCourse, "index": IndexCourse}


def run(directory, kind, seed, races):
    """Let processes race for a store so many times; return how often they won, lost and died as winners."""
    draw, totals, begun = random.Random(f"{seed} {kind}"), Counter(), time.perf_counter()
    course = COURSES[kind](Path(directory, kind))
    course.make()
    settle()
    for race in range(races):
        words, racers = _race(course, draw)
        title = f"seed {seed}, race {race}: {Counter(map(' '.join, words))}"
        totals.update(outcome for outcome, *_ in words)
        named = {int(rest[0]) for outcome, *rest in words if outcome == "lost"}
        assert not totals["two"], f"{title}: two writers at a time"
        assert totals["unnamed"] <= totals["lost"], f"{title}: the winner is not named"
        assert named <= racers, f"{title}: told of {named - racers}, who did not race; the racers: {racers}"
        wins = totals["won"] + totals["died"]
        with course.open("r") as store:
            found = course.count(store)
        assert found == wins + 1, f"{title}: {wins} have won so far, but the number is {found}"
        assert wins == RACERS * (race + 1), title
    return {**totals, "seconds": time.perf_counter() - begun}


def _race(course, draw):
    """Start the racers at once; return what they said, and their process ids."""
    reading, starting = os.pipe()
    deaths = [draw.random() < 0.25 for _ in range(RACERS)]
    racers = [Child(lambda say, dies=dies: _compete(course, reading, say, dies)) for dies in deaths]
    os.write(starting, b"go" * RACERS)
    os.close(reading)
    os.close(starting)
    for racer in racers:
        racer.hear()
    return [words for racer in racers for words in racer.end()], {racer.process for racer in racers}


def _compete(course, reading, say, dies):
    os.read(reading, 2)
    while True:
        try:
            store = course.open()
        except LockedError as error:
            named = re.search(r"(?:process|pid) (\d+)", str(error))
            say("lost", named[1]) if named else say("unnamed")  # the winner has not said yet who it is
            time.sleep(0.002)
        else:
            return _win(course, store, say, dies)


def _win(course, store, say, dies):
    alone = Path(f"{course.path}.alone")
    try:
        alone.touch(exist_ok=False)
    except FileExistsError:
        say("two")
    course.add(store)
    alone.unlink()
    say("died" if dies else "won")
    if dies:
        os.kill(os.getpid(), signal.SIGKILL)
    store.close()
