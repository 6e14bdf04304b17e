"""What runs to its end: Ctrl-C and timers wait for it, and the handlers are those of before."""

import signal
import threading
import time

import pytest

from bitdex.silo import uninterrupted as module
from bitdex.silo.uninterrupted import uninterrupted


class Alarm(Exception):
    pass


@pytest.fixture(params=["only Ctrl-C", "a timer too"])
def timer(request, monkeypatch):
    """Let Ctrl-C be all that interrupts, or a timer as well; tell which."""
    if request.param == "only Ctrl-C":
        monkeypatch.setattr(module, "OTHERS", [])  # the tests have a time limit, which is a timer
    else:
        monkeypatch.setattr(module, "OTHERS", [signal.SIGUSR1])
    before = signal.signal(signal.SIGUSR1, lambda number, frame: None)
    yield request.param == "a timer too"
    signal.signal(signal.SIGUSR1, before)


@pytest.fixture(autouse=True)
def handler():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def test_the_result_is_returned(timer):
    assert uninterrupted(lambda: 5) == 5


def test_an_interrupt_waits_until_it_has_ended(timer):
    steps = []

    def work():
        steps.append("before")
        signal.raise_signal(signal.SIGINT)
        time.sleep(0.01)
        steps.append("behind")

    with pytest.raises(KeyboardInterrupt):
        uninterrupted(work)
    assert steps == ["before", "behind"]


def test_its_own_error_is_raised(timer):
    def fails():
        raise ValueError("its own")

    with pytest.raises(ValueError, match="its own"):
        uninterrupted(fails)


# One that comes in the callback of a weak reference is told and goes no further.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGUSR1], ids=["Ctrl-C", "timer"])
def test_whenever_a_signal_comes_the_work_is_whole(monkeypatch, number):
    monkeypatch.setattr(module, "OTHERS", [] if number == signal.SIGINT else [number])
    begun = ended = interrupted = 0
    armed, over, main = False, threading.Event(), threading.get_ident()

    def ring(received, frame):
        nonlocal armed
        if armed:
            armed = False
            raise Alarm

    def disturb():
        while not over.wait(0.0003):
            signal.pthread_kill(main, number)

    def work():
        nonlocal begun, ended
        begun += 1
        time.sleep(0.0005)
        ended += 1

    before = signal.signal(number, ring)
    thread, end = threading.Thread(target=disturb), time.monotonic() + 0.5
    thread.start()
    while time.monotonic() < end:
        try:
            armed = True
            uninterrupted(work)
            armed = False
        except Alarm:
            interrupted += 1
    over.set(), thread.join()
    assert signal.getsignal(number) is ring
    signal.signal(number, before)
    assert begun == ended > 20 and interrupted > 20


def test_another_thread_leaves_the_handlers_alone(timer):
    found = []

    def work():
        found.append(uninterrupted(lambda: signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start(), thread.join()
    assert found == [signal.default_int_handler]
