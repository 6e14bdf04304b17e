"""Cutting: a workload is recorded, the power is cut at any moment of it, and what is left is opened.

`tests.tracer` records what a workload does to a directory, `tests.power` tells which directories a cut
may leave, and each of them is opened (`Openings`). What has to hold of every one:

- It opens by itself, and `check` finds no error.
- It holds what some prefix of the operations gives, and that prefix has every operation that was
  acknowledged before the cut: those, or those and the one that was under way (`hold`).
- Opening it a second time gives the same, and changes no byte of any file.
- It takes one more write, which the next reader finds.

A kind of store is an object that knows how to ``open(path, mode)``, its ``content(store)``, the ``errors``
that its check finds, and how to ``write`` once more, which returns the content then. What works on it
is a worker: a method for every operation, ``model``, and ``close``. It may call ``acknowledge(name)`` itself
when something inside of an operation was acknowledged.
"""

import uuid
from contextlib import contextmanager
from copy import deepcopy
from random import Random

import pytest

from tests import power, system
from tests.scale import FIRST_SEED
from tests.tracer import Tracer


class SwallowedSyncs:
    """A plug: syncs are seen by the tracer before it, and cost nothing."""

    def around(self, call, proceed):
        return None if call.name in ("fsync", "fdatasync") else proceed(call)


@contextmanager
def recorded(root, *plugs):
    """Record what happens below a directory; equal work gives equal traces, temporary names included."""
    tracer = Tracer(root)
    random = Random(f"{FIRST_SEED} {sorted(map(str, tracer.names))}")  # no name that a cut has left there
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(uuid, "uuid4", lambda: uuid.UUID(int=random.getrandbits(128)))
        system.install(patched, *plugs, tracer, SwallowedSyncs())
        yield tracer


class Run:
    """A workload that was run and recorded, on the store in `root`, below these plugs.

    Attributes
    ----------
    done : list of str
        The operations, as they were acknowledged.
    models : list
        What the store has to hold before the first, and after each.
    """

    def __init__(self, root, worker, workload, *plugs):
        self.done = []
        with recorded(root, *plugs) as self._tracer:
            self.disk = power.Disk(self._tracer)
            self._worker = worker(root / "store")
            self._worker.acknowledge = self._acknowledge
            self.models = [deepcopy(self._worker.model)]
            try:
                for at, operation in enumerate(workload):
                    getattr(self._worker, operation)(Random(f"{FIRST_SEED} {at} {operation}"))
                    self._acknowledge(operation)
            finally:
                self._worker.close()
                self.events = self._tracer.end()

    def _acknowledge(self, operation):
        self._tracer.acknowledge()
        self.done.append(operation)
        self.models.append(deepcopy(self._worker.model))

    def kept(self, state, synced):
        """Return how many operations have to be there: all that were acknowledged, or up to a synced one."""
        done = enumerate(self.done[: state.acknowledged], 1)
        return max((i for i, name in done if synced is None or name in synced), default=0)

    def told(self, state):
        """Return what one has to know of a failure."""
        trace = "\n".join(f"  {i}: {event}" for i, event in enumerate(self.events[: state.event], 1))
        return f"BITDEX_SEED={FIRST_SEED}, done: {', '.join(self.done)}\n{trace}\n{state}"


class Openings:
    """Opens the directories that power cuts leave; those that are equal once only.

    Attributes
    ----------
    kind : kind of store
    states : int
        How many were opened.
    """

    def __init__(self, root, kind):
        self._root, self.kind = root, kind
        self._found, self._contents, self._left_out = {}, {}, set()
        self.states = 0

    @property
    def path(self):
        """The directory of the store that was opened last."""
        return self._root / "cut" / "store"

    def content(self, state, share, random):
        """Return what a state opens to; None where it was left out of the sample."""
        if state.key not in self._found:
            if share < 1 and (state.key in self._left_out or random.random() > share):
                self._left_out.add(state.key)
                return None
            found = self._open(state)
            self._found[state.key] = self._contents.setdefault(repr(found), found)  # of which there are few
        return self._found[state.key]

    def _open(self, state):
        self.states += 1
        state.save(self._root / "cut")
        return opened(self.kind, self.path)


def opened(kind, path):
    """Return what a store opens to, after all that has to hold whatever it is."""
    with pytest.MonkeyPatch.context() as patched:
        system.install(patched, SwallowedSyncs())
        with kind.open(path, "w") as store:
            errors = kind.errors(store)
            assert not errors, errors
            first = kind.content(store)
        before = _files(path)
        with kind.open(path, "w") as store:
            assert kind.content(store) == first, "the second opening gives something else"
            assert _files(path) == before, "the second opening changes files"
            after = kind.write(store, first)
        with kind.open(path, "r") as store:
            assert kind.content(store) == after, "a write after the cut is lost"
    return first


def _files(path):
    """Return the bytes of all files, without what a lock says."""
    return {one: one.read_bytes() for one in path.rglob("*") if one.is_file() and one.suffix != ".lock"}


def hold(run, openings, share, random, synced=None):
    """Cut the power everywhere, and open a share of what is left.

    With `synced`, names of operations, an acknowledged one may be lost until one of these has followed it.
    """
    for state in power.cuts(run.disk, run.events, Random(FIRST_SEED)):
        try:
            found = openings.content(state, share, random)
        except Exception as error:
            raise AssertionError(run.told(state)) from error
        allowed = run.models[run.kept(state, synced) : state.acknowledged + 2]
        assert found is None or found in allowed, run.told(state)
