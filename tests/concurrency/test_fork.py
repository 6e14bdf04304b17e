"""Forks: a child of a process that has a store open reads it, whatever the threads it lacks were doing."""

import copy
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest

import bitdex
from bitdex.errors import LockedError
from bitdex.kernels import jit
from bitdex.silo.silo import Silo
from tests.scale import scale, share

ROOT = Path(__file__).parents[2]
KEYS = 20_000
FEW, MANY = 10, 10_000  # keys read; of many, several threads read a part each
PENDING = 6_000  # of the keys wait in a log
PATIENCE = 20
FORKS = scale(10, share(300))
PARENTS = ["idle", "reading", "writing", "compiling"]


def value(key):
    return b"%d" % key * (key % 5)


def read(source, count):
    """Read keys and see that they are right."""
    found = source.get_many(np.arange(count, dtype=np.uint64) * (KEYS // count))
    assert list(found) == [value(key * (KEYS // count)) for key in range(count)]


def in_fork(*functions):
    """Call functions in a fork each; complain about one that fails, is killed, or hangs."""
    for number, function in enumerate(functions):
        process = os.fork()
        if not process:
            _be_child(function)
        code = _wait_for(process)
        assert code == 0, f"fork {number}: {code}"


def _wait_for(process):
    """Return the exit code of a process, or end one that hangs, which then says what it waits for."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    os.kill(process, signal.SIGABRT)
    os.waitpid(process, 0)
    return f"no end after {PATIENCE} seconds"


def _be_child(function):
    code = 1
    try:
        function()
        code = 0
    except BaseException as error:
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(code)


@contextmanager
def busy(*functions):
    """Let threads repeat what they do while the block runs."""
    stop, errors = threading.Event(), []

    def repeat(function):
        try:
            while not stop.is_set():
                function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=repeat, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not errors, errors


def loader():
    """Return a function that does, again and again, what the first call of a kernel does."""
    kernels = itertools.cycle(list(jit.registry))
    loaded = []  # what is dropped would take the compiler's lock once more

    def load():
        if len(loaded) > 3_000:
            time.sleep(1)
            return
        again = copy.copy(next(kernels))
        again._compiled = None
        again.compile()
        loaded.append(again)

    return load


def refused(silo):
    with pytest.raises(LockedError):
        silo.put(1, b"from a fork")


def fork_a_silo(path, parent):
    """Read in forks of a process that does nothing else, or whose threads read, write, or compile."""
    keys = np.arange(KEYS, dtype=np.uint64)
    with Silo.open(path, "w", sync="none") as silo:
        silo.put_many(keys, [value(key) for key in range(KEYS)])
        silo.compact()
        read(silo, MANY)  # by several threads
        silo.put_many(keys[:PENDING], [value(key) for key in range(PENDING)])
        reads = [lambda: read(silo, FEW), lambda: read(silo, MANY), lambda: silo.get(3)]
        writes = [lambda: silo.put(KEYS, b""), silo.compact]
        busily = {"idle": [], "reading": reads, "writing": writes, "compiling": [loader()]}
        with busy(*busily[parent]):
            for _ in range(FORKS if parent != "idle" else 1):
                in_fork(*reads, lambda: refused(silo))
        pinned = silo.pin()
        in_fork(
            lambda: read(pinned, MANY),
            lambda: in_fork(lambda: read(silo, MANY)),  # a fork of a fork
            lambda: read_anew(path),
        )
        read(silo, MANY)
        silo.put(1, value(1))
    in_fork(lambda: read(pinned, MANY))


def read_anew(path):
    with Silo.open(path) as silo:
        read(silo, MANY)


def fork_an_index(path):
    """Query in forks of a process that has loaded and queried."""
    from tests.concurrency.runs import ROWS, make

    def look():
        page = index.query("k == 1", sort="-n", limit=ROWS)
        assert page.ids.tolist() == list(range(ROWS))[::-1]
        assert page.to_pandas()["k"].tolist() == [1] * ROWS and index.get(5)["tags"] == [1, 0]

    with make(path) as index:
        in_fork(look)
        look()
        in_fork(look)
    with bitdex.open(path, "r") as index:
        in_fork(look)


def fork_beside_queries(path):
    """Query in forks of a process in which another thread asks, and holds every lock there is for that."""
    from bitdex.query import order
    from tests.concurrency.runs import ROWS, make

    begun, over, sort_pairs = threading.Event(), threading.Event(), order.sort_pairs

    def look():
        for _ in range(2):  # the second time it is kept
            assert index.query("k in [0, 1]", sort="-n", limit=ROWS).ids.tolist() == list(range(ROWS))[::-1]
            assert index.count("k in [1, 2] and n >= 0") == ROWS

    def hold():
        owners = [index._answers.cache, index.snapshot.epochs, index._bindings, index._newest]
        owners.append(index._store.dictionaries)
        with ExitStack() as held:
            for owner in owners:
                held.enter_context(owner._lock)
            begun.set()
            over.wait()

    def sort():
        index.snapshot.forget("n")
        assert len(index.snapshot.column("n").order) == ROWS

    def sort_slowly(*arguments):
        if threading.current_thread() is thread:
            begun.set()
            over.wait()
        return sort_pairs(*arguments)

    order.sort_pairs = sort_slowly
    with make(path) as index:
        look()
        for function in (hold, sort):
            begun.clear(), over.clear()
            thread = threading.Thread(target=function)
            thread.start()
            begun.wait()
            try:
                in_fork(look)
            finally:
                over.set()
                thread.join()
        look()


def in_a_process(function, *arguments):
    """Call a function of this module in a process of its own: who tests has threads of his own."""
    code = f"import faulthandler; faulthandler.enable(); from tests.concurrency.test_fork import {function}"
    ended = subprocess.run(
        [sys.executable, "-c", f"{code}; {function}{arguments!r}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert ended.returncode == 0, ended.stderr


@pytest.mark.timeout(scale(300, 3600))
@pytest.mark.parametrize("parent", PARENTS)
def test_a_fork_reads_a_silo(tmp_path, parent):
    in_a_process("fork_a_silo", str(tmp_path / "silo"), parent)


def test_a_fork_queries_an_index(tmp_path):
    in_a_process("fork_an_index", str(tmp_path / "index"))


def test_a_fork_queries_an_index_whatever_other_threads_were_asking(tmp_path):
    in_a_process("fork_beside_queries", str(tmp_path / "index"))
