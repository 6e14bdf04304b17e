"""Context managers that let go of what they hold: as those of `contextlib`, and whenever Ctrl-C comes."""

import gc
import traceback
from contextlib import ExitStack, contextmanager, suppress

import pytest

from bitdex.holding import holding
from tests.interrupting import interrupted_at, raising


class Lock:
    """Counts who holds it, and what it heard."""

    def __init__(self):
        self.holders, self.heard = 0, []

    @holding
    def taken(self, forgive=()):
        """Hold it for a block."""
        self.holders += 1
        try:
            yield self
        except forgive as error:
            self.heard.append(error)
        finally:
            self.holders -= 1

    @holding
    def inside(self):
        """Hold it twice."""
        with self.taken(), self.taken() as lock:
            yield lock


def test_a_block_has_what_is_yielded_and_is_left():
    lock = Lock()
    with lock.inside() as held:
        assert held is lock and lock.holders == 2
    assert lock.holders == 0
    assert Lock.taken.__name__ == "taken" and "for a block" in Lock.taken.__doc__


@pytest.mark.parametrize("error", [ValueError("own"), StopIteration("own"), RuntimeError("own")])
def test_an_error_goes_through_with_its_traceback(error):
    lock = Lock()
    with pytest.raises(type(error)) as raised, lock.inside():
        raise error
    assert raised.value is error and lock.holders == 0
    frames = [frame.name for frame in traceback.extract_tb(raised.value.__traceback__)]
    assert frames == ["test_an_error_goes_through_with_its_traceback"]


def test_an_error_can_be_dealt_with_and_another_raised():
    lock = Lock()
    with lock.taken(forgive=ValueError):
        raise ValueError("forgiven")
    assert len(lock.heard) == 1 and lock.holders == 0

    @holding
    def translating():
        try:
            yield
        except ValueError as error:
            raise KeyError("translated") from error

    with pytest.raises(KeyError, match="translated"), translating():
        raise ValueError


def test_a_generator_yields_once():
    @holding
    def twice():
        yield
        yield

    with pytest.raises(RuntimeError, match="yields once"), twice():
        pass


@pytest.mark.parametrize("fails", [False, True])
def test_a_stack_leaves_it_too(fails):
    lock = Lock()
    with suppress(ValueError), ExitStack() as stack:
        assert stack.enter_context(lock.taken()) is lock and lock.holders == 1
        if fails:
            raise ValueError
    assert lock.holders == 0


def test_a_block_that_is_forgotten_in_a_cycle_is_left():
    """Weak references are cleared before a cycle is closed; pytest tells what that raises."""
    lock = Lock()

    def forgotten():
        here = [lambda: here]  # the frame is its own
        with lock.inside():
            yield here

    blocks = [forgotten() for _ in range(3)]
    for one in blocks:
        next(one).append(one)
    assert lock.holders == 6
    del one, blocks
    gc.collect()
    assert lock.holders == 0


def contextlibs(lock):
    """Return the same as `Lock.taken`, of contextlib."""

    @contextmanager
    def taken():
        lock.holders += 1
        try:
            yield lock
        finally:
            lock.holders -= 1

    return taken


# One that comes in the callback of a weak reference is told and goes no further.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("way", ["taken", "inside", "of contextlib"])
def test_whenever_ctrl_c_comes_nothing_is_held_afterwards(way):
    """Also while the traceback is kept: that of contextlib leaves the lock held there."""
    kept, step, interrupted, held = [], 0, True, 0

    with raising():
        while interrupted is not None:
            lock = Lock()
            take = contextlibs(lock) if way == "of contextlib" else getattr(lock, way)

            def work(take=take, lock=lock):
                with take():
                    len("a step")
                    assert lock.holders

            interrupted = interrupted_at(step, work, kept)
            held += lock.holders > 0
            step += 1
    assert step > 5
    assert (held > 0) == (way == "of contextlib")
