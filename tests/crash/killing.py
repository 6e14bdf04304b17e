"""Killing: a warm parent forks children that work on a store, ends them with -9, and reads what they said.

::

    test --starts--> warm parent: kernels loaded, one thread, no store open
                       | fork                         ^ a line for each acknowledged batch, by a pipe
                       v                              |
                     child: opens the store, works ---+   <- SIGKILL, at a random moment (`AtMoment`)
                                                             or by its own hand at a file call (`AtCall`)

What the system was given survives a killed process, so these tests prove what a store does in which order,
and that opening is the recovery; what a power cut leaves is tested elsewhere.
"""

import faulthandler
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import BuiltinFunctionType, FunctionType

from bitdex import filesystem

ROOT = Path(__file__).parents[2]
LIFETIME = 60  # seconds after which the system ends a child that hangs
LONG = 1 << 20  # bytes
PATIENCE = 0.05  # seconds in which another thread can end what it is at
SYNCS = {"fsync", "fdatasync"}
HARMLESS = {"read", "pread", "stat", "fstat", "lstat", "listdir", "scandir", "access", "uname", "close"}


def in_warm_parent(task, **options):
    """Run ``module:function`` in a fresh process of one thread; return what it returns, through JSON."""
    ended = subprocess.run(
        [sys.executable, "-c", "from tests.crash.killing import main; main()", task, json.dumps(options)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr[-30_000:]
    return json.loads(ended.stdout)


def main():
    """Run the task that the command line names."""
    module, _, function = sys.argv[1].partition(":")
    task = getattr(importlib.import_module(module), function)
    print(json.dumps(task(**json.loads(sys.argv[2]))))


def settle():
    """Make sure that this process may fork, and move what it holds out of the collector's way."""
    for _ in range(1000):
        threads = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
        if sum(name != "jemalloc_bg_thd" for name in threads) == 1:
            break
        time.sleep(0.001)  # a thread that was joined is not quite gone
    else:
        raise AssertionError(f"a process that forks has threads: {threads}")
    gc.collect()
    gc.freeze()


class Child:
    """A forked process that works and says what it has done."""

    def __init__(self, live: Callable[[Callable[..., None]], None]):
        self._reading, writing = os.pipe()
        self._said = b""
        self.process = os.fork()
        if not self.process:
            os.close(self._reading)
            _live(live, writing)
        os.close(writing)

    def hear(self, lines=None):
        """Wait until it has said so many lines, or is dead."""
        while lines is None or self._said.count(b"\n") < lines:
            part = os.read(self._reading, 1 << 16)
            if not part:
                return
            self._said += part

    def end(self):
        """Kill it, and return the words of each line that it has said."""
        with suppress(ProcessLookupError):
            os.kill(self.process, signal.SIGKILL)
        _, status = os.waitpid(self.process, 0)
        self.hear()
        os.close(self._reading)
        code = os.waitstatus_to_exitcode(status)
        assert code in (0, -signal.SIGKILL), f"the child ended by itself with {code}: {self._said.decode()}"
        return [line.split() for line in self._said.decode().splitlines()]


def limit_life():
    """Let the system end this process after a while, if nobody kills it; it says where it hangs."""
    faulthandler.register(signal.SIGALRM, all_threads=True, chain=True)
    signal.alarm(LIFETIME)


def _live(live, pipe):
    """Be the child; never return."""
    code = 1
    try:
        limit_life()
        live(lambda *words: os.write(pipe, (" ".join(map(str, words)) + "\n").encode()))
        code = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


@dataclass(frozen=True)
class AtMoment:
    """Death so many seconds after so many lines were said."""

    lines: int
    seconds: float

    def kill(self, work):
        """Return what a child says that does `work(say)`, and then waits."""

        def live(say):
            work(say)
            signal.pause()

        child = Child(live)
        child.hear(self.lines)
        time.sleep(self.seconds)
        return child.end()


@dataclass(frozen=True)
class AtCall:
    """Death at the n-th call that changes a file, from 0 on: before, within (half a write) or after it.

    "late" is before it, when other threads have had time to do what they were at.
    """

    number: int
    where: str

    def kill(self, work):
        """Return what a child says that does `work(say)`; its last words name the call, if it came to it."""

        def live(say):
            filesystem.os = DeadlySystem(self, say)
            work(say)

        child = Child(live)
        child.hear()
        return child.end()

    def counts(self, name, arguments):
        """Tell whether a call is one that is counted."""
        return name != "open" or bool(arguments[1] & (os.O_CREAT | os.O_TRUNC))


@dataclass(frozen=True)
class AtLongWrite(AtCall):
    """Death at the n-th write of a mebibyte or more."""

    def counts(self, name, arguments):
        """Tell whether a call is one that is counted."""
        return name == "pwrite" and len(arguments[1]) >= LONG


@dataclass(frozen=True)
class Survive:
    """No death: the work is done to its end."""

    def kill(self, work):
        """Return what a child says that does `work(say)`."""
        child = Child(work)
        child.hear()
        return child.end()


class DeadlySystem:
    """Stands for `os` in `bitdex.filesystem`: counts the calls that change files, and dies at one of them.

    It leaves syncs out, which make no difference to a process that dies.
    """

    def __init__(self, death, say):
        self._death, self._say = death, say
        self._numbers = count()

    def __getattr__(self, name):
        if name in SYNCS:
            return lambda descriptor: None
        found = getattr(os, name)
        if name in HARMLESS or not isinstance(found, BuiltinFunctionType | FunctionType):
            return found
        return lambda *arguments, **options: self._call(name, found, arguments, options)

    def _call(self, name, function, arguments, options):
        death = self._death
        if not death.counts(name, arguments) or next(self._numbers) != death.number:
            return function(*arguments, **options)
        self._say("died", death.where, name, *arguments[:1])
        if death.where == "late":
            time.sleep(PATIENCE)
        if death.where == "within" and name == "pwrite":
            descriptor, data, offset = arguments
            os.pwrite(descriptor, data[: len(data) // 2], offset)
        elif death.where in ("within", "after"):
            function(*arguments, **options)
        os.kill(os.getpid(), signal.SIGKILL)
