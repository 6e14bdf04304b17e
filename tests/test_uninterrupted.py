"""What runs to its end: Ctrl-C and timers wait for it, and the handlers are those of before."""

import signal
import threading
import time

import pytest

from bitdex import uninterrupted as module
from bitdex.errors import WriteFailedError
from bitdex.uninterrupted import PutOff, uninterrupted

NUMBERS = {"Ctrl-C": signal.SIGINT, "timer": signal.SIGUSR1}


class Alarm(Exception):
    pass


@pytest.fixture(params=["only Ctrl-C", "a timer too"])
def timer(request, monkeypatch):
    """Let Ctrl-C be all that interrupts, or a timer as well."""
    numbers = [signal.SIGINT] if request.param == "only Ctrl-C" else list(NUMBERS.values())
    monkeypatch.setattr(module, "SIGNALS", numbers)  # the tests have a time limit, which is another


@pytest.fixture(autouse=True)
def handlers():
    before = {number: signal.getsignal(number) for number in NUMBERS.values()}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGUSR1, nobody)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def nobody(number, frame):
    """Handle a signal, and raise nothing."""


def ring(number, frame):
    raise Alarm


def test_the_result_is_returned(timer):
    assert uninterrupted(lambda: 5) == 5
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGUSR1) is nobody


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
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_it_is_told_of_a_signal_whose_handler_may_raise_nothing(timer):
    heard, told = [], []
    signal.signal(signal.SIGINT, lambda number, frame: heard.append(frame.f_code.co_name))

    def work():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        assert not heard
        return 5

    assert uninterrupted(work, lambda: told.append(1)) == 5
    assert heard == ["work"] and told == [1]


def test_inside_another_it_ends_as_late_as_that(timer):
    steps = []

    def inner():
        signal.raise_signal(signal.SIGINT)
        steps.append("inner")

    def outer():
        uninterrupted(inner, lambda: steps.append("told"))
        steps.append("outer")

    with pytest.raises(KeyboardInterrupt):
        uninterrupted(outer)
    assert steps == ["inner", "outer"]


def test_its_own_error_is_raised(timer):
    def fails():
        raise ValueError("its own")

    with pytest.raises(ValueError, match="its own"):
        uninterrupted(fails)


@pytest.mark.parametrize("error", [ValueError("its own"), WriteFailedError(5, "its own", "data.bin")])
def test_only_a_write_that_failed_goes_before_an_interrupt(timer, error):
    def fails():
        signal.raise_signal(signal.SIGINT)
        raise error

    wanted = WriteFailedError if isinstance(error, WriteFailedError) else KeyboardInterrupt
    with pytest.raises(wanted) as raised:
        uninterrupted(fails)
    assert error in (raised.value, raised.value.__context__)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_all_handlers_are_called_and_put_back_whatever_one_raises(monkeypatch):
    monkeypatch.setattr(module, "SIGNALS", list(NUMBERS.values()))
    signal.signal(signal.SIGUSR1, ring)

    def work():
        for number in NUMBERS.values():
            signal.raise_signal(number)

    with pytest.raises(Alarm) as raised:
        uninterrupted(work)
    assert isinstance(raised.value.__context__, KeyboardInterrupt)
    assert signal.getsignal(signal.SIGUSR1) is ring
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_was_left_behind_is_the_handler(timer):
    """Putting it back can be interrupted as well."""
    left = []
    uninterrupted(lambda: left.append(signal.getsignal(signal.SIGINT)))
    assert isinstance(left[0], PutOff)
    signal.signal(signal.SIGINT, left[0])
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    steps = []
    with pytest.raises(KeyboardInterrupt):
        uninterrupted(lambda: steps.append(signal.raise_signal(signal.SIGINT)))
    assert steps == [None] and signal.getsignal(signal.SIGINT) is signal.default_int_handler


# One that comes in the callback of a weak reference is told and goes no further.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("numbers", [["Ctrl-C"], ["timer"], ["Ctrl-C", "timer"]], ids=" and ".join)
def test_whenever_signals_come_the_work_is_whole(monkeypatch, numbers):
    """Also several at once, and while the handlers are being put back."""
    numbers = [NUMBERS[name] for name in numbers]
    monkeypatch.setattr(module, "SIGNALS", numbers)
    begun = ended = interrupted = armed = 0
    over, main = threading.Event(), threading.get_ident()

    def disturb():
        while not over.wait(0.0003):
            for number in numbers:
                signal.pthread_kill(main, number)

    def count(number, frame):
        nonlocal armed
        if armed:
            armed -= 1
            raise Alarm

    def work():
        nonlocal begun, ended
        begun += 1
        time.sleep(0.0005)
        ended += 1

    for number in numbers:
        signal.signal(number, count)
    thread, end = threading.Thread(target=disturb), time.monotonic() + 0.5
    thread.start()
    while time.monotonic() < end:
        try:
            armed = 1
            uninterrupted(work)
            armed = 0
        except Alarm:
            interrupted += 1
    over.set(), thread.join()
    assert begun == ended > 20 and interrupted > 20
    uninterrupted(lambda: None)
    assert [signal.getsignal(number) for number in numbers] == [count] * len(numbers)


def test_another_thread_leaves_the_handlers_alone(timer):
    found = []

    def work():
        found.append(uninterrupted(lambda: signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start(), thread.join()
    assert found == [signal.default_int_handler]
