"""Several items side by side: none goes on when the call has ended, whatever interrupts it."""

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from bitdex.silo.threads import each


@pytest.fixture
def pool():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with ThreadPoolExecutor(2) as pool:
        yield pool
    signal.signal(signal.SIGINT, before)


def interrupts(*moments):
    """Send Ctrl-C to this process, seconds from now."""
    for moment in moments:
        main = threading.main_thread().ident
        threading.Timer(moment, signal.pthread_kill, (main, signal.SIGINT)).start()


def test_results_come_in_order(pool):
    assert each(pool, lambda item: item * 2, range(50)) == list(range(0, 100, 2))
    assert each(pool, lambda item: item, []) == []


def test_the_first_error_is_raised_when_all_have_ended(pool):
    running = []

    def work(item):
        running.append(item)
        time.sleep(0.02 * item)
        running.remove(item)
        if item < 2:
            raise ValueError(item)

    with pytest.raises(ValueError, match="0"):
        each(pool, work, range(20))
    assert not running


def test_a_second_interrupt_does_not_leave_threads_behind(pool):
    """It ended the waiting for them: they went on to write into the place of another batch."""
    running, begun = [], []

    def work(item):
        begun.append(item), running.append(item)
        time.sleep(0.3)
        running.remove(item)

    interrupts(0.1, 0.2)
    with pytest.raises(KeyboardInterrupt):
        each(pool, work, range(20))
    assert not running and len(begun) < 20


def test_a_handler_that_raises_nothing_leaves_nothing_out(pool):
    heard = []
    signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    interrupts(0.05)

    def work(item):
        time.sleep(0.02)
        return item

    assert each(pool, work, range(12)) == list(range(12))
    assert heard == [signal.SIGINT]
