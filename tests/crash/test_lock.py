"""One writer: the second is told who the first is, the dead hold nothing, forks only read."""

import fcntl
import json
import multiprocessing
import os
import re
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from bitdex.errors import InvalidError, LockedError
from bitdex.silo.silo import Silo
from tests.crash.killing import in_warm_parent, limit_life
from tests.crash.racing import COURSES, IndexCourse, SiloCourse
from tests.scale import FIRST_SEED, SHARES, scale, share

# what another process does when it is told to

held = []  # its open stores
forks = []  # its forks


def hold(course):
    """Open the store, for writing."""
    held.append(course.open())


def release():
    """Close what was opened last."""
    held.pop().close()


def add(course):
    """Write to what was opened last."""
    course.add(held[-1])


def churn(course, seconds):
    """Write and compact for some time; return the last number."""
    end = time.monotonic() + seconds
    with course.open() as store:
        while time.monotonic() < end:
            course.add(store)
            store.compact()
        return course.count(store)


def fork(course, closes):
    """Fork while a store is open; return what the fork reads, and what came of its writing."""
    reading, writing = os.pipe()
    forks.append(os.fork())
    if not forks[-1]:
        try:
            limit_life()
            found = [course.count(held[-1]), _outcome(add, course)]
            if closes:
                held[-1].close()
            os.write(writing, json.dumps(found).encode() + b"\n")
            signal.pause()
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        return json.loads(pipe.readline())


def _outcome(function, *arguments):
    try:
        return function(*arguments)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def fork_process():
    """Return the process id of the fork."""
    return forks[-1]


def end_fork():
    """Kill the fork."""
    os.kill(forks[-1], signal.SIGKILL)
    os.waitpid(forks.pop(), 0)


class Other:
    """Another process; call it with a function of this module and its arguments."""

    def __init__(self):
        context = multiprocessing.get_context("spawn")
        self._pipe, its = context.Pipe()
        self._process = context.Process(target=_obey, args=(its,), daemon=True)
        self._process.start()
        self.pid = self._process.pid
        its.close()

    def __call__(self, function, *arguments):
        self.begin(function, *arguments)
        return self.end()

    def begin(self, function, *arguments):
        """Let it begin, and do not wait."""
        self._pipe.send((function, arguments))

    def end(self):
        """Return what it returns, or raise what it raises."""
        failed, result = self._pipe.recv()
        if failed:
            raise result
        return result

    @property
    def working(self):
        """Whether it has not ended what it began."""
        return not self._pipe.poll()

    def kill(self):
        """End it with -9, and wait until it is gone."""
        os.kill(self.pid, signal.SIGKILL)
        self._process.join()
        self._process.close()
        self._pipe.close()


def _obey(pipe):
    while True:
        try:
            function, arguments = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send((False, function(*arguments)))
        except BaseException as error:
            pipe.send((True, error))


@pytest.fixture(scope="module")
def other():
    process = Other()
    yield process
    process.kill()


@pytest.fixture(params=COURSES)
def course(request, tmp_path):
    made = COURSES[request.param](tmp_path / request.param)
    made.make()
    return made


def refused(pid, function, *arguments):
    """See that somebody is refused, and told the holder's process, host, and since when."""
    with pytest.raises(LockedError) as caught:
        function(*arguments)
    text = str(caught.value)
    assert str(pid) in re.findall(r"\d+", text), text
    assert socket.gethostname() in text and re.search(r"since .*\d\d:\d\d", text), text


def test_a_writer_in_another_process(course, other):
    other(hold, course)
    refused(other.pid, course.open)
    other(add, course)
    with course.open("r") as reader:
        assert course.count(reader) == 2
    other(release)
    with course.open() as store:
        course.add(store)
        refused(os.getpid(), other, hold, course)
        course.add(store)
        assert course.count(store) == 4
    other(hold, course)
    other(release)


def test_a_writer_in_this_process(course):
    with course.open() as store:
        for _ in range(3):
            refused(os.getpid(), course.open)
        course.add(store)
        assert course.count(store) == 2
    with course.open() as store:
        assert course.count(store) == 2


def test_a_writer_under_another_name(course, tmp_path):
    (tmp_path / "link").symlink_to(course.path)
    with course.open():
        refused(os.getpid(), type(course)(tmp_path / "link").open)


def test_threads_that_race(course):
    start = threading.Barrier(8)

    def compete(_):
        start.wait()
        try:
            return course.open()
        except LockedError as error:
            return str(error)

    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(compete, range(8)))
    winners = [one for one in results if not isinstance(one, str)]
    for winner in winners:
        winner.close()
    assert len(winners) == 1
    assert all(str(os.getpid()) in one for one in results if isinstance(one, str)), results


def test_the_lock_ends_with_an_exception(course, other):
    with pytest.raises(ZeroDivisionError), course.open():
        raise ZeroDivisionError
    other(hold, course)
    other(release)


def test_the_lock_ends_with_a_killed_process(course):
    victim = Other()
    victim(hold, course)
    victim(add, course)
    refused(victim.pid, course.open)
    victim.kill()
    with course.open() as store:
        assert course.count(store) == 2
        course.add(store)
        refused(os.getpid(), course.open)


@pytest.mark.parametrize("end", ["closed", "killed"])
def test_a_former_holder_is_not_named(course, end):
    """Somebody has the lock and has not said yet who it is; the record is of somebody who is gone."""
    victim = Other()
    victim(hold, course)
    if end == "closed":
        victim(release)
    former = victim.pid
    victim.kill()
    with open(course.path / "writer.lock", "rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(LockedError) as caught:
            course.open()
    assert str(former) not in re.findall(r"\d+", str(caught.value)), str(caught.value)


def test_the_lock_ends_with_an_open_that_fails(course):
    """Every file is damaged in turn, in place, so that the lock stays the same file."""
    with course.open() as store:
        course.add(store)
    failed = 0
    for path in sorted(course.path.rglob("*")):
        if path.is_file() and path.name != "writer.lock":
            content = path.read_bytes()
            path.write_bytes(b"garbage!" * (1 + len(content) // 8))
            try:
                course.open().close()
            except Exception:
                failed += 1
                path.write_bytes(content)
            course.open().close()
    assert failed >= 2


def test_the_lock_ends_with_another_rule(tmp_path):
    course = SiloCourse(tmp_path / "silo")
    course.make()
    for _ in range(2):
        with pytest.raises(InvalidError, match="rule"):
            Silo.open(course.path, "w", "concatenate")
    course.open().close()


@pytest.mark.parametrize("closes", [False, True])
def test_a_fork_does_not_write(course, other, closes):
    other(hold, course)
    read, written = other(fork, course, closes)
    assert read == 1 and str(written).startswith("LockedError: "), written
    refused(other.pid, course.open)
    other(add, course)
    other(release)
    with course.open() as store:  # while the fork lives
        assert course.count(store) == 2
        course.add(store)
    other(end_fork)


def test_a_lock_that_only_a_fork_has_left(course):
    """The holder is killed, its fork lives: nobody holds the lock."""
    victim = Other()
    victim(hold, course)
    victim(fork, course, False)
    fork_of_it = victim(fork_process)
    victim.kill()
    with course.open() as store:
        course.add(store)
    os.kill(fork_of_it, signal.SIGKILL)


def test_readers_beside_a_writer_that_compacts(course, other):
    other.begin(churn, course, scale(1.5, 60 / SHARES))
    counts = []
    while other.working:
        with course.open("r") as reader:
            counts.append(course.count(reader))
    last = other.end()
    with course.open("r") as reader:
        counts.append(course.count(reader))
    assert counts == sorted(counts) and counts[-1] == last
    assert len(counts) > 5 and len(set(counts)) > 2
    print(f"\ntorture: {len(counts):,} readers opened beside a writer that compacted {last:,} times")


def test_a_reader_does_not_stand_in_the_way(course, other):
    with course.open("r") as reader:
        other(hold, course)
        other(add, course)
        other(release)
        assert course.count(reader) == 1


@pytest.mark.parametrize("part", ["documents", "bitmaps"])
def test_a_silo_of_an_index(tmp_path, other, part):
    """Who has the index has its silos, and the other way round."""
    course = IndexCourse(tmp_path / "index")
    course.make()
    silo = SiloCourse(course.path / part)
    other(hold, course)
    refused(other.pid, silo.open)
    with silo.open("r") as reader:
        assert len(reader) > 0
    other(release)
    with silo.open():
        refused(os.getpid(), other, hold, course)
    other(hold, course)
    other(release)


@pytest.mark.timeout(scale(300, 3600))
@pytest.mark.parametrize("kind", COURSES)
def test_races(tmp_path, kind):
    """Four processes at a time want to write; one in four winners is killed with the store open."""
    races = share(scale(10, 500))
    report = in_warm_parent(
        "tests.crash.racing:run", directory=str(tmp_path), kind=kind, seed=FIRST_SEED, races=races
    )
    print(
        f"\ntorture: {races} races for one {kind} in {report['seconds']:.0f} s: {report['won']} have won, "
        f"{report['died']} were killed as winners, {report['lost']:,} were told who is there, "
        "never two at a time"
    )
    assert report["lost"] > 0 and report["died"] > 0
