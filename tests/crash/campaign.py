"""Campaigns: a store is killed at random moments, or at every file call, and looked at after each death."""

import copy
import importlib
import random
import shutil
import time
from abc import ABC, abstractmethod
from collections import Counter
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path

from bitdex.errors import NotFoundError
from bitdex.kernels.jit import JIT_ENABLED
from tests.crash.killing import AtCall, AtMoment, Survive, settle

SLOWEST = 1.0  # seconds of work to open, after a kill: who is stopped meanwhile is not slow


class Victim(ABC):
    """A store that lives through many deaths; it knows what it should hold and how it came to that.

    Attributes
    ----------
    nothing : object
        A plan of no steps.
    lives : int
        How many deaths a store goes through before there is a new one.
    pace : float
        Seconds that a long step takes.
    """

    nothing: object
    lives: int
    pace: float

    def __init__(self, path, sync):
        self.path, self.sync = Path(path), sync
        self.trace: list[str] = []
        self.slowest = 0.0
        self.acknowledged = 0
        self._opened = False

    @abstractmethod
    def plan(self, draw):
        """Draw what a child is to do, and how many steps that are."""

    @abstractmethod
    def tour(self, draw):
        """Draw a short plan that goes everywhere."""

    @abstractmethod
    def sequel(self, draw):
        """Draw a short plan for the time after a death."""

    @abstractmethod
    def open(self, mode):
        """Open the store, or make it."""

    @abstractmethod
    def work(self, store, plan, say):
        """Do a plan, and say a line that begins with a digit for each step that the store acknowledged."""

    @abstractmethod
    def found(self, store):
        """Return what an open store holds, and the errors that its check finds."""

    @abstractmethod
    def settle(self, found, plan, said):
        """See that the store holds a prefix of the plan: all that was acknowledged, at most one step more."""

    def live(self, plan, death):
        """Let a child work until it dies, then see what it left; tell whether it died by its own hand."""
        self.trace.append(f"{death}: {plan}")
        said = death.kill(lambda say: self._live(plan, say))
        self.trace.append("  said " + ", ".join(map(" ".join, said)))
        self._opened |= ["opened"] in said
        self.acknowledged += sum(words[0].isdigit() for words in said)
        self._look("r", plan, said)
        return any(words[0] == "died" for words in said)

    def reopen(self):
        """See that a writer, who repairs what the dead one left, finds what readers find."""
        self.trace.append("reopened")
        self._look("w", self.nothing, [])

    def rebuild(self):
        """See that a copy without its index files, which are derived from the data, holds the same."""
        self.trace.append("rebuilt")
        other = self.copy(f"{self.path} rebuilt")
        for path in other.path.rglob("index.*"):
            path.unlink()
        other._look("r", self.nothing, [])
        other.remove()

    def copy(self, path):
        """Return a copy that may die another death."""
        other = copy.deepcopy(self)
        other.path = Path(path)
        if self.path.exists():
            shutil.copytree(self.path, path)
        return other

    def remove(self):
        """Remove the directory."""
        shutil.rmtree(self.path, ignore_errors=True)

    def warm(self, draw):
        """Load all that children and the parent use, and end every thread."""
        self._live(self.tour(draw), lambda *words: None)
        self._look("r", None, None)
        self.remove()
        settle()

    def _live(self, plan, say):
        with self.open("w") as store:
            say("opened")
            self.work(store, plan, say)

    def _look(self, mode, plan, said):
        start, worked = time.perf_counter(), time.process_time()
        try:
            store = self.open(mode)
        except NotFoundError:
            assert not self._opened, "there is no store any more"
            return
        with store:
            seconds, worked = time.perf_counter() - start, time.process_time() - worked
            found, errors = self.found(store)
        if plan is not None:
            self.slowest = max(self.slowest, seconds)
            assert worked < SLOWEST or not JIT_ENABLED, f"opening took {worked:.2f} of {seconds:.2f} s"
            assert not errors, errors
            self.settle(found, plan, said)


def at_moments(victim, options, directory, seed, kills):
    """Kill so many children at random moments, on one store for many kills; return what to report."""
    draw = random.Random(f"{seed} {victim} {options}")
    make = _maker(victim, options)
    make(Path(directory, "warm"), draw).warm(draw)
    totals, begun = Counter(), time.perf_counter()
    while totals["kills"] < kills:
        store = make(Path(directory, f"{totals['kills']}"), draw)
        with traced(store, f"seed {seed}, kill {totals['kills']}"):
            for _ in range(min(store.lives, kills - totals["kills"])):
                plan, steps = store.plan(draw)
                store.live(plan, _moment(draw, steps, store.pace))
                totals["kills"] += 1
                if draw.random() < 0.3:
                    draw.choice([store.reopen, store.rebuild])()
        _count(totals, store)
    return {**totals, "seconds": time.perf_counter() - begun}


def _moment(draw, steps, pace):
    """Draw a moment: while the child opens the store, or a little after it said something."""
    if draw.random() < 0.25:
        return AtMoment(0, draw.uniform(0, 0.012))
    return AtMoment(draw.randint(1, 1 + steps), draw.choice([0.01, 0.3, 1]) * pace * draw.random())


def at_calls(victim, options, directory, seed, where, every, sequels):
    """Kill a child at every file call of a tour; every so many times also the one that opens what is left.

    Every so many times (`sequels`) a child goes on after the death.
    """
    make = _maker(victim, options)
    make(Path(directory, "warm"), random.Random(seed)).warm(random.Random(seed))
    totals, begun = Counter(), time.perf_counter()
    for number in count():
        own = random.Random(f"{seed} {victim} {options} calls")
        store = make(Path(directory, f"{number}"), own)
        with traced(store, f"seed {seed}, {where} call {number}"):
            died = store.live(store.tour(own), AtCall(number, where))
            if number % every == every // 2:
                totals["kills"] += _kill_recoveries(store, where)
            if number % sequels:
                store.reopen()
            else:
                store.live(store.sequel(own), Survive())
                store.rebuild()
        _count(totals, store)
        if not died:
            return {**totals, "calls": number, "seconds": time.perf_counter() - begun}
        totals["kills"] += 1


def _kill_recoveries(store, where):
    """Kill the child that opens what another has left, at every file call; return how many there are."""
    for number in count():
        again = store.copy(Path(f"{store.path} again"))
        died = again.live(again.nothing, AtCall(number, where))
        again.reopen()
        again.remove()
        if not died:
            return number


def _maker(victim, options):
    module, _, name = victim.partition(":")
    return partial(getattr(importlib.import_module(module), name), **options)


def _count(totals, store):
    totals["acknowledged"] += store.acknowledged
    totals["slowest"] = max(totals["slowest"], store.slowest)
    store.remove()


@contextmanager
def traced(store, title):
    """Add to what fails all that was done to the store."""
    try:
        yield
    except Exception as error:
        raise AssertionError("\n".join([f"{title}: {store.path}", *store.trace, str(error)])) from error
