"""A silo against a dict: any operations in any order, crashed or failing in the middle of any of them.

A reader of its own follows when it is told to, and pins are taken at any time: which must not change.
Crashes are copies of the directory, in which the machine goes on: nothing acknowledged may be missing.
"""

import shutil
from collections import Counter
from contextlib import ExitStack, contextmanager
from errno import EDQUOT, EIO, ENOSPC
from functools import partial
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from bitdex.errors import LockedError, WriteFailedError
from bitdex.silo.modes import SYNC_MODES
from bitdex.silo.silo import Silo
from tests.concurrency.interleaving import SYNCS, Moment, Socket, Unsynced, traced
from tests.scale import scale, seeds
from tests.silo.batches import POOL, Batch, held
from tests.system import CHANGES, Faulty, install

PINS = 6
RUNS, STEPS = scale((1, 150), (200, 50)), scale(50, 100)  # runs of so many machines for each rule

operations = st.lists(
    st.tuples(st.sampled_from(POOL), st.sampled_from([0, 12, 12, 40, 700, 9000])), max_size=8
)
calls = st.tuples(st.sampled_from(["put", "merge", "delete"]), operations)
few_calls = st.lists(calls, max_size=3)
works = st.sampled_from(["write", "compact", "rewrite", "merge"])
modes = st.sampled_from(SYNC_MODES)
reclaims = st.sampled_from([0.0, 0.25, 1.0])
numbers = st.integers(1, 3) | st.integers(1, 20)  # of a change of the files


class GivenUp(Exception):
    """Raised in the middle of a merge."""


class SiloMachine(RuleBasedStateMachine):
    """`model` is what the writer shows, `reader_model` what the reader does, `pins` are states."""

    totals: ClassVar[Counter] = Counter()

    def __init__(self, root, fold):
        super().__init__()
        self.root, self.fold = root, fold
        self.patch, self.socket = pytest.MonkeyPatch(), Socket()
        install(self.patch, self.socket, Unsynced())
        self.silo = self.reader = None
        self.model, self.reader_model, self.pins = {}, {}, []
        self.written = 0

    @initialize(
        headroom=st.sampled_from([1.0, 1.3, 5.0]),
        minimum=st.sampled_from([0, 100]),
        alignment=st.sampled_from([8, 32]),
        sync=modes,
        reclaim=reclaims,
    )
    def make(self, headroom, minimum, alignment, sync, reclaim):
        self.path, self.sync, self.reclaim = self.directory(), sync, reclaim
        geometry = (headroom, minimum, alignment)
        self.silo = Silo.open(self.path, "w", self.fold, *geometry, sync=sync, reclaim=reclaim)
        self.reader = Silo.open(self.path)

    def teardown(self):
        try:
            if self.silo is not None:
                errors = [one for one in self.silo.check() if one.severity == "error"]
                self.leave()
                self.pins_hold()
                assert not errors, errors
        finally:
            self.patch.undo()

    # -- what rules are made of

    def directory(self):
        """Return a directory that was never there."""
        self.totals["directories"] += 1
        return self.root / f"{self.totals['directories']}"

    def leave(self):
        """Close what is open, and remove the directory: pins live without it."""
        self.silo.close()
        self.reader.close()
        shutil.rmtree(self.path)

    def reopen(self, at=None):
        self.silo.close()
        self.silo = Silo.open(self.path, "w", sync=self.sync, at=at, reclaim=self.reclaim)

    def move(self, path):
        """Go on in a copy."""
        self.leave()
        self.path = path
        self.silo = Silo.open(path, "w", sync=self.sync, reclaim=self.reclaim)
        self.reader = Silo.open(path)
        self.model = self.reader_model = held(self.silo)

    def batches(self, wanted):
        return [
            Batch(kind, [key for key, _ in pairs], [self.value(n) for _, n in pairs])
            for kind, pairs in wanted
        ]

    def value(self, size):
        """Return bytes that no other value has."""
        self.written += 1
        return (b"%d;" % self.written * size)[:size] + (b"%d." % self.written if size else b"")

    def after(self, batches, model=None):
        """Return what a model is with some batches."""
        model = dict(self.model if model is None else model)
        for batch in batches:
            batch.apply(model, self.fold == "concatenate")
        return model

    def write_all(self, batches):
        for batch in batches:
            batch.write(self.silo)
            self.model = self.after([batch])
            assert held(self.silo) == self.model

    @contextmanager
    def beside_the_commit(self, batches):
        """Write when a compaction or merge has done its work and is about to commit; count the operations."""
        commit, counts = self.silo._commit, Counter()

        def later(*arguments, **options):
            del self.silo._commit
            self.take_pin(self.silo)
            self.write_all(batches)
            counts["operations"] = sum(len(batch.keys) for batch in batches)
            return commit(*arguments, **options)

        self.silo._commit = later
        try:
            yield counts
        finally:
            vars(self.silo).pop("_commit", None)

    def work(self, kind, batches):
        if kind == "write":
            for batch in batches[:1]:
                batch.write(self.silo)
        elif kind == "merge":
            with self.silo.merge_writer() as writer:
                for batch in batches:
                    batch.write(writer)
        else:
            getattr(self.silo, kind)()

    def worked(self, kind, batches):
        """Return what the model is after `work`."""
        return self.after({"write": batches[:1], "merge": batches}.get(kind, []))

    def take_pin(self, source):
        self.pins.append((source.pin(), held(source)))
        if len(self.pins) > PINS:
            self.pins_hold(self.pins.pop(0))

    def pins_hold(self, *some):
        for state, expected in some or self.pins:
            assert held(state) == expected

    # -- writing

    @rule(wanted=calls)
    def write(self, wanted):
        self.write_all(self.batches([wanted]))

    @rule(beside=few_calls)
    def compact(self, beside):
        pending = self.silo.pending
        with self.beside_the_commit(self.batches(beside)) as written:
            assert self.silo.compact() == pending + written["operations"] - self.silo.pending
        assert written["operations"] or not self.silo.pending
        assert self.silo.dead_ratio <= self.reclaim
        assert not self.silo.needs_compaction

    @rule(headroom=st.sampled_from([None, 1.0, 2.0]), beside=few_calls)
    def rewrite(self, headroom, beside):
        with self.beside_the_commit(self.batches(beside)):
            self.silo.rewrite(headroom)
        assert self.silo.stats()["dead_bytes"] == 0

    @rule(steps=few_calls, beside=few_calls, late=few_calls, give_up=st.booleans())
    def merge(self, steps, beside, late, give_up):
        before, merged = self.model, self.batches(steps)
        beside, late = self.batches(beside), self.batches(late)
        try:
            with ExitStack() as later, self.silo.merge_writer() as writer:
                for batch in merged:
                    batch.write(writer)
                self.write_all(beside)
                if give_up:
                    raise GivenUp
                later.enter_context(self.beside_the_commit(late))
        except GivenUp:
            return
        self.model = self.after([*merged, *beside, *late], before)

    @rule(steps=few_calls, late=few_calls, end=st.sampled_from(["finish", "reopen", "forget", "crash"]))
    def prepare_a_merge(self, steps, late, end):
        before, sequence, merged = self.model, self.silo.sequence, self.batches(steps)
        with self.silo.merge_writer(commit=False) as writer:
            for batch in merged:
                batch.write(writer)
        self.model = self.after(merged)
        self.write_all(self.batches(late))
        self.end_prepared(end, sequence, before)

    @rule(late=few_calls, end=st.sampled_from(["finish", "reopen", "forget", "crash"]))
    def prepare_a_compaction(self, late, end):
        before, sequence = self.model, self.silo.sequence
        self.silo.compact(commit=False)
        self.write_all(self.batches(late))
        self.end_prepared(end, sequence, before)

    def end_prepared(self, end, sequence, before):
        """Make a prepared state final, or go back to what was before."""
        if end == "finish":
            self.silo.finish()
        elif end == "reopen":
            self.reopen()
        elif end == "forget":
            self.reopen(sequence)
            self.model = before
        else:
            self.crash()

    # -- reading

    @rule()
    def refresh(self):
        changed = self.reader.refresh()
        assert held(self.reader) == self.model
        assert changed or self.reader_model == self.model
        assert not self.reader.refresh()
        self.reader_model = self.model

    @rule()
    def open_another_reader(self):
        self.reader.close()
        self.reader = Silo.open(self.path)
        self.reader_model = self.model

    @rule(which=st.sampled_from(["silo", "reader"]))
    def pin(self, which):
        self.take_pin(getattr(self, which))

    @rule(kind=works, wanted=few_calls, number=numbers)
    def look_within(self, kind, wanted, number):
        """Everybody sees the state before or the one after, whatever the moment."""
        batches = self.batches(wanted)
        either = (self.model, self.worked(kind, batches))

        def look():
            seen = [held(self.silo), held(self.reader)]
            self.reader.refresh()
            seen.append(held(self.reader))
            with Silo.open(self.path) as fresh:
                return [*seen, held(fresh)]

        with self.socket.holding(Moment(number, look)) as moment:
            self.work(kind, batches)
            shown, kept, refreshed, fresh = moment.seen()
        self.totals["looks"] += 1
        assert kept == self.reader_model
        assert shown in either and refreshed in either and fresh in either
        assert shown == either[0] or refreshed == fresh == either[1], "older than what the writer shows"
        self.model, self.reader_model = either[1], refreshed

    # -- trouble

    @rule(sync=modes, reclaim=reclaims, crashes=st.booleans())
    def go_on(self, sync, reclaim, crashes):
        self.sync, self.reclaim = sync, reclaim
        if crashes:
            self.crash()
        else:
            self.reopen()

    def crash(self):
        target, expected = self.directory(), self.model
        self.totals["crashes"] += 1
        shutil.copytree(self.path, target)
        self.move(target)
        assert self.model == expected

    @rule(kind=works, wanted=few_calls, number=numbers)
    def crash_within(self, kind, wanted, number):
        batches, target = self.batches(wanted), self.directory()
        either = (self.model, self.worked(kind, batches))
        with self.socket.holding(Moment(number, partial(shutil.copytree, self.path, target))) as moment:
            self.work(kind, batches)
            came = moment.come
            moment.seen()
        self.totals["crashes"] += 1
        self.model = either[1]
        self.agrees()
        self.move(target)
        assert self.model in either and (came or self.model == either[1])

    @rule(
        kind=works,
        wanted=few_calls,
        number=numbers,
        errno=st.sampled_from([EIO, ENOSPC, EDQUOT]),
        short=st.booleans(),
        among=st.sampled_from([CHANGES, SYNCS, ("pwrite", "mmap", "posix_fallocate"), ("replace", "unlink")]),
    )
    def fail(self, kind, wanted, number, errno, short, among):
        """A change fails: if it was a write, nothing is written any more, and what is shown stays."""
        batches = self.batches(wanted)
        before, after = self.model, self.worked(kind, batches)
        error = None
        with self.socket.holding(Faulty(number, errno, short, among)) as faulty:
            try:
                self.work(kind, batches)
            except OSError as caught:
                error = caught
        assert (error is None) == (faulty.failed is None), f"{faulty.failed} gave {error!r}"
        self.model = held(self.silo)
        assert self.model in ((before, after) if error and kind != "write" else (before if error else after,))
        if isinstance(error, WriteFailedError):
            self.totals["failures"] += 1
            self.refuses_to_write(error)
            self.reopen()
            shown, self.model = self.model, held(self.silo)
            assert self.model in (shown, after)

    def refuses_to_write(self, error):
        assert self.silo.failure is not None
        for kind in ("write", "compact", "rewrite", "merge"):
            with pytest.raises(LockedError, match=f"errno {error.errno}"):
                self.work(kind, [Batch("put", [1], [b"refused"])])
        self.agrees()

    @precondition(lambda self: (self.path / "index.bin").exists())
    @rule(damage=st.sampled_from(["missing", "empty", "garbage", "flipped"]))
    def lose_the_index(self, damage):
        self.silo.close()
        index = self.path / "index.bin"
        content = bytearray(index.read_bytes())
        index.unlink()
        content[len(content) // 2] ^= 8
        if damage != "missing":
            index.write_bytes({"empty": b"", "garbage": b"garbage" * 99, "flipped": bytes(content)}[damage])
        with Silo.open(self.path) as reader:
            assert held(reader) == self.model
        self.reopen()
        self.agrees()
        with self.silo.merge_writer():  # a commit writes the index anew
            pass

    @invariant()
    def agrees(self):
        if self.silo is not None:
            self.totals["steps"] += 1
            assert held(self.silo) == self.model
            assert held(self.reader) == self.reader_model
            if self.pins:
                self.pins_hold(self.pins[self.totals["steps"] % len(self.pins)])


@pytest.mark.timeout(scale(900, 0))
@pytest.mark.parametrize("fold", ["concatenate", "replace"])
def test_silo(tmp_path, fold):
    SiloMachine.totals.clear()
    runs, machines = RUNS
    options = settings(
        max_examples=machines,
        stateful_step_count=STEPS,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    numbers = seeds(runs)
    for number in numbers:
        with traced(f"seed {number}, rule {fold!r}"):
            machine = seed(f"{number} {fold}")(partial(SiloMachine, tmp_path, fold))
            run_state_machine_as_test(machine, settings=options)
    print(f"\ntorture: silo model, {fold}: {len(numbers) * machines:,} machines, {dict(SiloMachine.totals)}")
