"""A silo whose power is cut at any moment: all that was acknowledged is there, once (`tests.crash.cutting`).

Merges concatenate, so that one that is applied twice shows. With ``sync="none"`` a cut may cost the batches
since the last commit, a suffix of them: the silo opens by itself all the same, and never shows a hole.
"""

import shutil
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial
from itertools import count, product
from random import Random

import pytest

from bitdex.formats import frame, oplog
from bitdex.silo.silo import Silo
from tests import power
from tests.crash.cutting import Openings, Run, hold
from tests.scale import FIRST_SEED, portion, scale, seeds

KEYS = range(1, 13)
BEFORE = ("put", "put", "compact", "merge", "merge_writer", "give_up", "delete", "compact", "merge")
OPERATIONS = ("put", "merge", "delete", "compact", "rewrite", "merge_writer", "give_up", "reopen")
COMMITS = ("compact", "rewrite", "merge_writer", "give_up")
LONG = pytest.mark.timeout(scale(300, 14_400))


class Beside:
    """A plug: at the n-th change of what it is told to `watch`, something else is done in another thread."""

    def __init__(self, n):
        self.left, self._work, self._running = n, None, None
        self._threads = ThreadPoolExecutor(1)

    def around(self, call, proceed):
        if self._work and call.changes:
            self.left -= 1
            if not self.left:
                work, self._work = self._work, None
                self._running = self._threads.submit(work)
                wait([self._running], 0.2)  # longer only where it has to wait for what is watched
        return proceed(call)

    def watch(self, watched, work):
        self._work = work
        with self._threads:
            watched()
        self._work = None
        if self._running:
            self._running.result()


class GivenUp(Exception):
    """Raised in the middle of a merge."""


class SiloKind:
    """How a silo is looked at."""

    def open(self, path, mode):
        return Silo.open(path, mode, "concatenate")

    def content(self, silo):
        keys = silo.keys()
        return dict(zip(keys.tolist(), silo.get_many(keys)))

    def errors(self, silo):
        return [one for one in silo.check() if one.severity == "error"]

    def write(self, silo, content):
        silo.merge(99, b"more")
        return {**content, 99: b"more"}


class Worker:
    """Works on a silo, and on the model of what it has to hold."""

    def __init__(self, path, sync, model, beside=None):
        self.path, self.sync, self.model, self.beside = path, sync, dict(model), beside
        self.silo = self._open()

    def _open(self):
        return Silo.open(self.path, "w", "concatenate", headroom=1.6, sync=self.sync)

    def close(self):
        self.silo.close()

    def put(self, random):
        keys, values = _batch(random, 4)
        self.silo.put_many(keys, values)
        self.model.update(zip(keys, values))

    def fill_first_sector(self, random):
        """Put what makes a new log end with its first sector."""
        self._put([0], random, power.SECTOR - oplog.START)

    def put_sector(self, random):
        """Put a batch that fills a sector of the log."""
        self._put(range(4), random, power.SECTOR // 4)

    def _put(self, keys, random, size):
        values = [random.randbytes(size - frame.SIZE) for _ in keys]
        self.silo.put_many(keys, values)
        self.model.update(zip(keys, values))

    def merge(self, random):
        keys, values = _batch(random, 5)
        self.silo.merge_many(keys, values)
        _merge(self.model, keys, values)

    def delete(self, random):
        keys = random.sample(KEYS, 3)
        self.silo.delete_many(keys)
        _delete(self.model, keys)

    def compact(self, random):
        self.silo.compact()

    def rewrite(self, random):
        self.silo.rewrite()

    def compact_beside(self, random):
        self.beside.watch(self.silo.compact, partial(self._write_beside, random))

    def rewrite_beside(self, random):
        self.beside.watch(self.silo.rewrite, partial(self._write_beside, random))

    def _write_beside(self, random):
        for operation in ("put", "merge"):
            getattr(self, operation)(random)
            self.acknowledge(operation)

    def merge_writer(self, random):
        model = dict(self.model)
        with self.silo.merge_writer() as writer:
            _change(writer, model, random)
        self.model = model

    def give_up(self, random):
        with suppress(GivenUp), self.silo.merge_writer() as writer:
            _change(writer, dict(self.model), random)
            raise GivenUp

    def reopen(self, random):
        self.silo.close()
        self.silo = self._open()


def _batch(random, count):
    return random.sample(KEYS, count), [random.randbytes(random.randint(10, 700)) for _ in range(count)]


def _change(writer, model, random):
    keys, values = _batch(random, 6)
    writer.merge_many(keys, values)
    _merge(model, keys, values)
    gone = random.sample(KEYS, 2)
    writer.delete_many(gone)
    _delete(model, gone)


def _merge(model, keys, values):
    for key, value in zip(keys, values):
        model[key] = model.get(key, b"") + value


def _delete(model, keys):
    for key in keys:
        model.pop(key, None)


@pytest.fixture
def openings(tmp_path_factory, request):
    opener = Openings(tmp_path_factory.mktemp("cuts"), SiloKind())
    yield opener
    print(f"\ntorture: power loss, {request.node.name}: {opener.states} directories opened")


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """Return a directory with a silo in which little is simple, and the model of what it holds."""
    root = tmp_path_factory.mktemp("template")
    worker, random = Worker(root / "store", "none", {}), Random(FIRST_SEED)
    for operation in [
        "put",
        "put",
        "compact",
        "merge",
        "merge_writer",
        "give_up",
        "delete",
        "compact",
        "merge",
    ]:
        getattr(worker, operation)(random)
    worker.close()
    return root, worker.model


@pytest.fixture
def run(tmp_path, template):
    """Return a function that runs a workload on a copy of the template."""
    root, model = template

    def run(workload, sync, beside=None):
        target = tmp_path / "run"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(root, target)
        worker = partial(Worker, sync=sync, model=model, beside=beside)
        return Run(target, worker, workload, *([beside] if beside else []))

    return run


@LONG
@pytest.mark.parametrize("first", OPERATIONS)
def test_all_short_workloads(run, openings, first):
    for rest in portion(list(product(OPERATIONS, repeat=scale(1, 2)))):
        for sync in ("always", "batch"):
            random = Random(f"{FIRST_SEED} {sync} {first} {rest}")
            hold(run((first, *rest), sync), openings, scale(1 / 5, 1), random)


@LONG
@pytest.mark.parametrize("shard", range(scale(2, 50)))
def test_random_longer_workloads(run, openings, shard):
    for seed in seeds(scale(4, 100)):
        random = Random(f"{seed} {shard}")
        workload = random.choices(OPERATIONS, k=random.randint(4, 8))
        hold(run(workload, random.choice(("always", "batch"))), openings, scale(1 / 20, 1 / 50), random)


@pytest.mark.parametrize("sync", ["always", "batch"])
def test_while_a_silo_is_made(tmp_path, openings, sync):
    """What was acknowledged is there, so the directory is, although nothing else was done to it."""
    made = Run(tmp_path, partial(Worker, sync=sync, model={}), ("put", "merge", "compact", "merge"))
    hold(made, openings, 1, Random(FIRST_SEED))


@LONG
@pytest.mark.parametrize("sync", ["batch", "none"])
def test_a_second_cut_after_the_first(tmp_path, run, openings, sync):
    """Opening is no operation: after a cut while it opens or works there is what was there, and what came."""
    for seed in seeds(scale(6, 200)):
        random = Random(seed)
        first = run(random.choices(OPERATIONS, k=3), sync)
        states = {state.key: state for state in power.cuts(first.disk, first.events, random)}
        for state in random.choices(sorted(states.values(), key=str), k=5):
            state.save(tmp_path / "first")
            found = openings.content(state, 1, random)
            work = random.choices(("put", "merge", "delete"), k=2)
            second = Run(tmp_path / "first", partial(Worker, sync=sync, model=found), work)
            hold(second, openings, scale(1 / 4, 1), random, COMMITS if sync == "none" else None)


def test_a_batch_that_was_cut_off_does_not_come_back(tmp_path, openings):
    """It may lie whole behind a torn one, and just behind the batch that takes the place of that one."""
    random, root, again = Random(FIRST_SEED), tmp_path / "run", tmp_path / "again"
    root.mkdir()
    Worker(root / "store", "none", {}).close()
    first = Run(
        root, partial(Worker, sync="none", model={}), ("fill_first_sector", "put_sector", "put_sector")
    )
    for state in {state.key: state for state in power.cuts(first.disk, first.events, random)}.values():
        found = openings.content(state, 1, random)
        state.save(again)
        second = Run(again, partial(Worker, sync="batch", model=found), ("put_sector",))
        hold(second, openings, 1, random)


@LONG
@pytest.mark.parametrize("operation", ["compact_beside", "rewrite_beside"])
def test_batches_beside_a_compaction(run, openings, operation):
    """Both logs have operations then: one that is compacted, and a new one that is written to."""
    workload = ("compact", "merge", "compact", "merge")
    for sync in scale(("batch",), ("always", "batch")):
        for n in count(1):
            beside = Beside(n)
            random = Random(f"{FIRST_SEED} {sync} {n}")
            hold(run((*workload, operation), sync, beside), openings, scale(1 / 10, 1), random)
            if beside.left > 0:
                break
        assert n > 10


@LONG
@pytest.mark.parametrize("first", OPERATIONS)
def test_what_is_never_synced(run, openings, first):
    for rest in portion(list(product(OPERATIONS, repeat=scale(1, 2)))):
        random = Random(f"{FIRST_SEED} {first} {rest}")
        hold(run((first, *rest), "none"), openings, scale(1 / 10, 1), random, synced=COMMITS)
