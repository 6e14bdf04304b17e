"""Any file call may fail: the caller is told, nothing acknowledged is lost, and nothing is tried again.

Each course is done again and again, and each time another call of the system fails (`tests.crash.failing`).
Whichever it is:

- A change that fails raises `WriteFailedError` with the error and the file; a look at one raises `OSError`.
- After a change that failed the writer refuses to write, naming the failure, and goes on reading what was
  acknowledged. It asks for no more syncs, and no file gets another name.
- After a look that failed the writer goes on as if nothing had been.
- Closing leaves nothing open, and no lock.
- Opened again, the store is as after some prefix of the steps, which has all that was acknowledged; `check`
  finds no error; and the rest of the steps can be done.
"""

import errno
import gc
import random
import shutil
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import count

import pytest

import bitdex
from bitdex.errors import CorruptError, LockedError, WriteFailedError
from bitdex.silo.silo import Silo
from tests import power
from tests.conftest import open_files, silo_threads
from tests.crash.cutting import SwallowedSyncs
from tests.crash.failing import NEVER, Failing, Fault
from tests.crash.failing_work import IndexCourse, SiloCourse
from tests.crash.fields_work import FieldsCourse
from tests.crash.live_work import LiveCourse
from tests.scale import FIRST_SEED, portion, scale, seeds
from tests.system import install
from tests.tracer import Tracer

SYNCS = ("fsync", "fdatasync")
LOOKS = ("open", "fstat", "stat", "mmap", "read", "listdir")
REFUSED = ("fsync", "fdatasync", "replace")  # once a change has failed
ERRORS = (errno.EIO, errno.ENOSPC, errno.EINTR, errno.EDQUOT)
LONG = pytest.mark.timeout(scale(300, 4 * 3600))

COURSES = {
    "a new silo": (SiloCourse, [], ["put", "compact", "merge"]),
    "a silo's logs": (
        SiloCourse,
        ["put", "compact", "merge"],
        ["delete", "compact", "refresh", "merge", "reopen"],
    ),
    "a silo's data": (SiloCourse, ["put", "phase", "merge"], ["phase", "rewrite", "backup"]),
    "a new index": (IndexCourse, [], ["rows"]),
    "an index": (IndexCourse, ["rows"], ["rows", "compact", "refresh", "backup"]),
    "changes": (LiveCourse, ["change"], ["change", "compact", "change", "refresh", "reopen", "change"]),
    "fields": (FieldsCourse, ["put"], ["define", "put", "define", "refresh", "drop", "reopen", "define"]),
}


class Trial:
    """A course during which calls fail; `done` steps were acknowledged."""

    def __init__(self, course, fault):
        self.course, self.done = course, 0
        self.plug, self._threads = Failing(fault), len(silo_threads())
        self._told = False

    def run(self):
        """Do it; return the plug, which knows the calls."""
        try:
            self._do()
            assert self._told or not self._is_to_be_told(), f"nobody was told: {self.plug.failed}"
            assert len(silo_threads()) <= self._threads, f"left running: {silo_threads()}"
            assert not self._left_open(), f"left open: {self._left_open()}"
            self._open_again()
        except Exception as error:
            raise AssertionError(self._story()) from error
        return self.plug

    def _is_to_be_told(self):
        """Whether a change has failed; that a lock has no holder any more is not worth an error."""
        failed = self.plug.failed
        return failed is not None and failed.changes and failed.path.name != "writer.lock"

    def _story(self):
        steps = [str(step) for step in self.course.steps]
        trace = "\n".join(self.plug.trace[-60:])
        return f"BITDEX_SEED={FIRST_SEED}, {self.plug.fault}; {self.done} of {steps} are done:\n{trace}"

    def _do(self):
        with pytest.MonkeyPatch.context() as patched:
            install(patched, self.plug, SwallowedSyncs())
            try:
                self._open()
                while self.course.writer is not None and self.done < len(self.course.steps) and self._step():
                    pass
            finally:
                self._close()

    def _open(self):
        try:
            self.course.open()
        except OSError as error:
            self._judge(error)
            self.course.close()

    def _step(self):
        """Do the next step; return whether it makes sense to go on."""
        step = self.course.steps[self.done]
        try:
            self.course.do(step)
        except OSError as error:
            self._judge(error)
            return self.course.writer is not None and self._after_failure(step, error)
        self.done += 1
        return True

    def _judge(self, error):
        """See that an error says what has happened; where all calls fail, it may be a later one's."""
        failed, told, self._told = self.plug.failed, isinstance(error, WriteFailedError), True
        changes = failed.changes
        if self.plug.fault.lasting and (failed.name, failed.path.name) == ("pwrite", "writer.lock"):
            changes = False  # the one that lets go of it says nothing; a later call has
        assert not isinstance(error, CorruptError), f"a {failed.name} failed, no file is damaged: {error!r}"
        assert error.errno == self.plug.fault.error, repr(error)
        if changes or not self.plug.fault.lasting:
            assert told == changes, f"a {failed.name} failed: {error!r}"
        if changes:  # where all calls fail after that of a backup, closing has an error of its own
            at_fault = [failed, *(self.plug.later if self.plug.fault.lasting else ())]
            paths = {str(one.arguments[1] if one.name == "replace" else one.path) for one in at_fault}
            assert error.filename in paths, f"expected one of {paths}, found {error.filename}"

    def _after_failure(self, step, error):
        """See that the store is what it should be after a step that failed; return whether it goes on."""
        course, poisoned = self.course, isinstance(error, WriteFailedError) and step != "backup"
        assert course.failure() is (error if poisoned else None), repr(course.failure())
        shown = course.prefixes(course.writer)
        assert {self.done, self.done + 1} & set(shown), f"is shown as after {shown} steps"
        if getattr(step, "kind", "") in ("put", "merge", "delete"):
            assert self.done in shown, "a batch is shown that was not acknowledged"
        assert course.prefixes(course.reader), "the reader shows something else"
        if poisoned:
            self._see_refusals(str(error))
        elif self.done not in shown:
            self.done += 1
        return not poisoned and not self.plug.fault.lasting

    def _see_refusals(self, failure):
        for write in self.course.ways_to_write():
            with pytest.raises(LockedError) as caught:
                write()
            assert failure in str(caught.value)
        again = [f"{call.name} {call.path.name}" for call in self.plug.later if call.name in REFUSED]
        assert not again, f"went on after the failure: {again}"

    def _close(self):
        poisoned = self.course.writer is not None and self.course.failure() is not None
        try:
            self.course.close()
        except OSError as error:
            assert not poisoned or self.plug.failed.name == "close", f"cannot be closed: {error!r}"
            self._judge(error)

    def _left_open(self):
        """Return the files of the store that are open; maps close with the last array that looks at them."""
        for _ in range(2):
            left = [path for path in open_files().values() if path.startswith(str(self.course.path))]
            if left:
                gc.collect()
        return left

    def _open_again(self):
        course = self.course
        with pytest.MonkeyPatch.context() as patched:
            install(patched, SwallowedSyncs())
            course.open()
            try:
                assert not course.errors(course.writer)
                found = course.prefixes(course.writer)
                assert {self.done, self.done + 1} & set(found), f"is as after {found} steps when opened again"
                assert set(course.prefixes(course.reader)) == set(found)
                self._go_on(found)
            finally:
                course.close()

    def _go_on(self, found):
        """Do the next step that is not done."""
        course, number = self.course, self.done + (self.done not in found)
        if number < len(course.steps):
            course.do(course.steps[number])
            assert number + 1 in course.prefixes(course.writer)


@pytest.fixture(scope="module", autouse=True)
def quick_collections():
    """Move what is there out of the collector's way: trials that leave maps in cycles collect."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


class Campaign:
    """Trials of one course: a call after the other fails, until there are no more."""

    def __init__(self, root, kind, before, steps, seed):
        self.root, self.kind = root, kind
        (root / "template").mkdir()
        kind.make(root / "template" / "store")
        first = kind(root / "template" / "store", kind.draw(before, seed), {})
        first.open()
        for step in first.steps:
            first.do(step)
        first.close()
        self.model, self.steps = first.models[-1], kind.draw(steps, seed, len(before))
        self.trials = Counter()

    def fail_calls(self, changes=1, looks=1, lasting=1, thorough=False):
        """Let one in so many changes fail, one in so many looks, and one in so many with all that follow.

        What goes wrong takes turns; if it is to be `thorough`, all of it does at each call.
        """
        every = {True: changes, False: looks}
        for n, (name, change) in portion(list(enumerate(self.fail(Fault(NEVER)).counted, 1))):
            faults = [Fault(n, errno.ENOSPC, short=True), *(Fault(n, error) for error in ERRORS)]
            if not thorough:
                faults = faults[:1] if name == "pwrite" and n % 2 else faults[1 + n % len(ERRORS) :][:1]
            if n % every[change] == 0:
                for fault in faults:
                    self.fail(fault)
            if n % lasting == 0:
                self.fail(Fault(n, ERRORS[n % len(ERRORS)], lasting=True))

    def fail(self, fault):
        """Do the course on a copy of the template; return the plug that let calls fail."""
        path = self.root / f"{self.trials.total()}"
        shutil.copytree(self.root / "template", path)
        plug = Trial(self.kind(path / "store", self.steps, self.model), fault).run()
        shutil.rmtree(path)
        self.trials[plug.failed and plug.failed.name] += 1
        return plug


@LONG
@pytest.mark.parametrize("name", COURSES)
def test_every_call_fails(tmp_path, name):
    campaign = Campaign(tmp_path, *COURSES[name], FIRST_SEED)
    changes = scale(3, 1) if name in ("a new index", "fields") else 1
    campaign.fail_calls(changes, *scale((7, 20, False), (1, 1, True)))
    tell(name, campaign)


@LONG
@pytest.mark.parametrize("kind", [SiloCourse, IndexCourse])
def test_calls_of_random_courses_fail(tmp_path, kind):
    """In the short form a few calls of one, in the long form all calls of 25."""
    for seed in seeds(scale(1, 25)):
        draw = random.Random(seed)
        steps = draw.choices(kind.kinds, k=scale(4, 5))
        (tmp_path / str(seed)).mkdir()
        campaign = Campaign(tmp_path / str(seed), kind, ["rows"] * (kind is IndexCourse), steps, seed)
        campaign.fail_calls(*scale((13, 101, 103), (1, 1, 1)))
        tell(f"seed {seed}, {steps}", campaign)


def test_the_lock_ends_though_the_commit_record_cannot_be_closed(tmp_path):
    """The index stayed locked until its process ended."""
    IndexCourse.make(tmp_path / "index")
    index = bitdex.open(tmp_path / "index")
    index.put({"id": 1})  # a commit: its record stays open
    with pytest.MonkeyPatch.context() as patched:
        install(patched, ClosingFails("commit.bin"))
        with pytest.raises(OSError, match=r"commit\.bin"):
            index.close()
    bitdex.open(tmp_path / "index").close()


class ClosingFails:
    """A plug: the file of this name is closed with an error."""

    def __init__(self, name):
        self._name = name

    def around(self, call, proceed):
        result = proceed(call)
        if call.name == "close" and call.path.name == self._name:
            raise OSError(errno.EIO, "cannot be closed", str(call.path))
        return result


def test_a_backup_that_fails_and_all_after_it(tmp_path):
    """Its error names the directory, that of closing a log: both are told."""
    campaign = Campaign(tmp_path, SiloCourse, [], ["put", "merge", "put", "reopen", "backup"], FIRST_SEED)
    calls = campaign.fail(Fault(NEVER)).counted
    for n in [n for n, (name, _) in enumerate(calls, 1) if name == "fsync"]:
        campaign.fail(Fault(n, errno.EDQUOT, lasting=True))
    assert campaign.trials["fsync"] > 0


def tell(name, campaign):
    """Print what a campaign did."""
    print(f"\ntorture: failing calls, {name}: {campaign.trials.total():,} trials of {dict(campaign.trials)}")


# syncs, and many writers at a time


@pytest.mark.parametrize("sync", ["batch", "always"])
@pytest.mark.parametrize("n", range(1, scale(6, 40)))
def test_no_batch_is_acknowledged_after_a_sync_that_failed(tmp_path, sync, n):
    """Four threads write; what the device has when a sync fails is all that was ever acknowledged."""
    silo = Silo.open(tmp_path / "silo", "w", "concatenate", sync=sync)
    tracer, failing = Tracer(tmp_path), Failing(Fault(n, among=SYNCS))
    disk = power.Disk(tracer)
    with pytest.MonkeyPatch.context() as patched, ThreadPoolExecutor(4) as threads:
        install(patched, tracer, failing)
        errors, acknowledged = zip(*threads.map(partial(_merge_until_it_fails, silo), range(4)))
        silo.close()
    assert sum(isinstance(error, WriteFailedError) for error in errors) == 1
    assert sum(isinstance(error, LockedError) for error in errors) == 3
    assert silo.failure in errors and silo.failure.filename.endswith(".log")
    assert len(failing.counted) == n, "synced again after a sync that failed"
    for event in tracer.end():
        disk.happen(event)
    least = next(state for state in disk.states(random.Random(n)) if set(state.lost) <= {"-"})
    least.save(tmp_path / "after a power cut")
    with Silo.open(tmp_path / "after a power cut" / "silo", "w") as left:
        for key, count_ in enumerate(acknowledged):
            kept = (left.get(key) or b"").split()
            assert kept == [b"%d" % i for i in range(len(kept))] and len(kept) >= count_


def _merge_until_it_fails(silo, key):
    """Return the error, and how many merges were acknowledged before it."""
    for i in range(5000):
        try:
            silo.merge(key, b"%d " % i)
        except OSError as error:
            return error, i
    raise AssertionError("no merge has failed")


# two failures


class CopyBeforeChanges:
    """A plug that copies a directory before every change."""

    def __init__(self, source, root):
        self._source, self._root, self._lock = source, root, threading.Lock()
        self.copies = []

    def around(self, call, proceed):
        if call.changes:
            with self._lock:
                self.copies.append(shutil.copytree(self._source, self._root / f"{len(self.copies)}"))
        return proceed(call)


@pytest.mark.parametrize("step", ["compact", "rewrite"])
def test_a_look_that_fails_costs_no_committed_file(tmp_path, step):
    """A commit looks at files to give them their names. Where it cannot, an unfinished name is the committed
    file's, and the next rewrite may not remove it; it is killed at every change."""
    with Silo.open(tmp_path / "template", "w", "concatenate") as silo:
        silo.put_many([1, 2, 3], [b"one", b"two", b"three"])
        silo.compact()
        silo.merge_many([1, 4], [b"!", b"four"])
    for n in count(1):
        failing = Failing(Fault(n, errno.EMFILE, among=LOOKS))
        copies = _rewrite_after(failing, step, tmp_path)
        for copy in copies:
            with Silo.open(copy) as left:
                found = dict(zip(left.keys().tolist(), left.get_many(left.keys())))
                assert found == {1: b"one!", 2: b"two", 3: b"three", 4: b"four"}, failing.trace[-9:]
            shutil.rmtree(copy)
        if failing.failed is None:
            assert n > 20
            break


def _rewrite_after(failing, step, root):
    """Do a step while a call fails; where files have kept unfinished names, rewrite. Return the copies."""
    shutil.copytree(root / "template", root / "silo")
    copying = CopyBeforeChanges(root / "silo", root)
    with Silo.open(root / "silo", "w") as silo, pytest.MonkeyPatch.context() as patched:
        install(patched, failing, SwallowedSyncs())
        with suppress(OSError):
            getattr(silo, step)()
        if list((root / "silo").glob("*.new")) and silo.failure is None:
            install(patched, copying, SwallowedSyncs())
            silo.rewrite()
    shutil.rmtree(root / "silo")
    return copying.copies
