"""Team: all work is done once, by whoever comes; errors and interrupts end it."""

import os
import threading
import time

import pytest

from bitdex.analysis import team
from bitdex.kernels.blocks import pool
from bitdex.kernels.jit import THREADS


@pytest.mark.parametrize("size", [0, 1, 3, 1000])
@pytest.mark.parametrize("cost", [0.0, 10.0 * team.ALONE, 100.0 * team.BLOCK])
def test_everything_is_done_once(size, cost):
    done, busy = [], [threading.Lock() for _ in range(THREADS)]

    def work(thread, lo, hi):
        with busy[thread]:
            assert lo < hi
            done.extend(range(lo, hi))

    team.share(size, cost, work)
    assert sorted(done) == list(range(size))


def test_nobody_waits_for_a_thread_that_has_not_begun(monkeypatch):
    monkeypatch.setattr(team, "THREADS", 2)
    held = threading.Event()
    others = [pool().submit(held.wait) for _ in range(2 * THREADS)]  # all have something else to do
    done = []
    team.share(100, 10.0 * team.ALONE, lambda thread, lo, hi: done.append(thread))
    assert set(done) == {0}
    held.set()
    assert all(one.result() for one in others)


def test_an_error_ends_the_work_and_is_raised():
    done = []

    def work(thread, lo, hi):
        done.append(lo)
        time.sleep(0.01)
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        team.share(1000, 100.0 * team.BLOCK, work)
    assert len(done) <= THREADS


def test_a_fork_has_threads_of_its_own():
    team.share(10, 10.0 * team.ALONE, lambda thread, lo, hi: None)
    child = os.fork()
    if child == 0:
        done = []
        team.share(10, 10.0 * team.ALONE, lambda thread, lo, hi: done.extend(range(lo, hi)))
        os._exit(0 if sorted(done) == list(range(10)) else 1)
    assert os.waitpid(child, 0)[1] == 0
