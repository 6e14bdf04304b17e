"""Crew: members who repeat what they do, as threads or processes, until the time is up; and their watchdog.

A member is a function that is called again and again with a `random.Random`. Who takes longer for a call than
PATIENCE is stuck: the crew stops, and what every thread was doing is shown.
"""

import faulthandler
import multiprocessing
import random
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from functools import partial

from tests.scale import FIRST_SEED, SHARES, scale

PATIENCE = 30  # seconds for one call
INTERVAL = 0.0002  # seconds until another thread may have the interpreter: many more ways to interleave
STARTING = 60  # seconds until a process is there
SECONDS = scale(20, 3600 / SHARES)  # of all tests that have a crew


class Stuck(AssertionError):
    """Somebody has waited too long."""


class Crew:
    """Threads that call their function until the time is up, or one of them fails.

    Attributes
    ----------
    counts : Counter
        How often each function was called, by the name of its member up to the first space.
    """

    def __init__(self, seconds, seed=FIRST_SEED):
        self.counts = Counter()
        self._seconds, self._seed = seconds, seed
        self._members, self._errors, self._beats = {}, [], {}
        self._stop = threading.Event()

    def add(self, name, function):
        """Let a member call ``function(draw)``."""
        self._members[name] = function

    def run(self):
        """Work until the time is up; raise what went wrong, with the seed."""
        interval = sys.getswitchinterval()
        sys.setswitchinterval(INTERVAL)
        try:
            self._run()
        finally:
            sys.setswitchinterval(interval)
        if self._errors:
            raise AssertionError("\n".join([f"seed {self._seed}", *self._errors]))

    def _run(self):
        end = time.monotonic() + self._seconds
        threads = [
            threading.Thread(target=self._live, args=one, daemon=True) for one in self._members.items()
        ]
        self._beats = dict.fromkeys(self._members, time.monotonic())
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            self._stop.wait(0.05)
            if time.monotonic() > end:
                self._stop.set()
            self._watch(threads)

    def _live(self, name, function):
        draw = random.Random(f"{self._seed} {name}")
        kind = name.partition(" ")[0]
        try:
            while not self._stop.is_set():
                self._beats[name] = time.monotonic()
                function(draw)
                self.counts[kind] += 1
        except BaseException:
            self._errors.append(f"{name}: {traceback.format_exc()}")
            self._stop.set()

    def _watch(self, threads):
        late = [
            name
            for name, thread in zip(self._members, threads)
            if thread.is_alive() and time.monotonic() > self._beats[name] + PATIENCE
        ]
        if late:
            raise Stuck("\n".join([f"seed {self._seed}: {late} stuck", *self._errors, _stacks()]))


def _stacks():
    """Return what every thread is doing."""
    with tempfile.TemporaryFile() as file:
        faulthandler.dump_traceback(file)
        file.seek(0)
        return file.read().decode()


def pause(draw):
    """Wait a little, or not at all."""
    time.sleep(draw.choice([0, 0, 0, 0.0005, 0.003, 0.01]))


class Fleet:
    """Processes, each with a crew of its own.

    ``prepare(crew, *arguments)``, a context manager, is called in each new process and adds the members.
    """

    def __init__(self, seconds):
        self.context = multiprocessing.get_context("spawn")
        self._seconds = seconds
        self._started = []
        self._ready = self.context.Semaphore(0)
        self._go = self.context.Event()

    def add(self, name, prepare, *arguments):
        """Start a process; its members begin when all processes are there."""
        pipe, its = self.context.Pipe(duplex=False)
        options = (
            its,
            self._ready,
            self._go,
            self._seconds,
            f"{FIRST_SEED} {name}",
            partial(prepare, *arguments),
        )
        process = self.context.Process(target=_sail, args=options, daemon=True)
        process.start()
        its.close()
        self._started.append((name, process, pipe))

    def run(self):
        """Let them work; return the counts of all, or raise what went wrong in any."""
        try:
            for _ in self._started:
                self._ready.acquire(timeout=STARTING)
            self._go.set()
            end = time.monotonic() + self._seconds + 2 * PATIENCE
            answers = [self._hear(*one, end) for one in self._started]
        finally:
            for _, process, pipe in self._started:
                process.kill()
                process.join()
                pipe.close()
        errors = [text for text, _ in answers if text]
        assert not errors, "\n".join(errors)
        return sum((counts for _, counts in answers), Counter())

    def _hear(self, name, process, pipe, end):
        try:
            if pipe.poll(max(0, end - time.monotonic())):
                return pipe.recv()
        except EOFError:
            process.join()
            return f"{name}: the process has ended with {process.exitcode}", Counter()
        return f"{name}: the process does not answer", Counter()


def _sail(pipe, ready, go, seconds, seed, prepare):
    crew, error = Crew(seconds, seed), ""
    try:
        with prepare(crew):
            ready.release()
            assert go.wait(STARTING), "the others did not come"
            crew.run()
    except BaseException:
        error = f"{seed}: {traceback.format_exc()}"
    pipe.send((error, crew.counts))
