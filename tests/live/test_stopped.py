"""Changes that are stopped half-way, by Ctrl-C or an error: there or not, and nobody waits for ever."""

import threading
from contextlib import contextmanager, suppress
from functools import partial

import pytest

import bitdex
from bitdex.errors import LockedError
from bitdex.store import Store
from tests.interrupting import close_left, interrupted_at, raising
from tests.live.bits import differences
from tests.scale import scale

SCHEMA = {
    "name": "shop",
    "config": {
        "filter_fields": [
            {"name": "level", "field_type": "single_value"},
            {"name": "tags", "field_type": "multi_value"},
        ]
    },
}


@pytest.fixture
def left(tmp_path):
    """Close what an interrupt has left open."""
    yield
    close_left(tmp_path)


@pytest.fixture
def index(tmp_path, left):
    with bitdex.create(tmp_path / "index", SCHEMA) as index:
        index.put({"id": 1, "level": 1, "tags": [1]})
        yield index


def seen_by_others(index):
    with bitdex.open(index.path, "r") as reader:
        return reader.get(1)


# One that comes in the callback of a weak reference is told and goes no further.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_change_is_there_or_not_whenever_ctrl_c_comes(index):
    index.patch(1, {"level": 2}), index.get(1), seen_by_others(index)  # all is compiled
    step, interrupted = 0, True
    with raising():
        while interrupted is not None:
            before, level = index.get(1), 10 + step
            interrupted = interrupted_at(step, partial(index.patch, 1, {"level": level}))
            now = index.get(1)
            assert now == seen_by_others(index)
            assert now["level"] == level or (interrupted and now == before)
            assert index.ids(f"level == {now['level']}").tolist() == [1]
            step += 5
    assert step > 300 and differences(index) == []


def in_a_batch(index):
    with index.batch():
        index.append(1, "tags", [7])


WORKS = {
    "a change": (lambda index: index.append(1, "tags", [7]), scale(11, 3)),
    "a batch": (in_a_batch, scale(5, 1)),
    "a compaction": (lambda index: index.compact(), scale(61, 11)),
    "a field made anew": (lambda index: index.rebuild(["level"]), scale(101, 11)),
}


# One that comes in the callback of a weak reference is told and goes no further.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("work", WORKS)
def test_nothing_stays_held_while_a_prompt_keeps_the_traceback(index, work):
    """A batch that was not left stayed open: the next put was part of it, and committed by nobody."""
    do, stride = WORKS[work]
    do(index), index.put({"id": 2, "level": 0}), seen_by_others(index)  # all is compiled
    kept, step, interrupted = [], 0, True
    with raising():
        while interrupted is not None:
            interrupted = interrupted_at(step, partial(do, index), kept)
            index.put({"id": 1, "level": 10 + step})
            assert seen_by_others(index)["level"] == 10 + step, f"lost behind an interrupt at step {step}"
            other = threading.Thread(target=index.put, args=({"id": 2, "level": step},), daemon=True)
            other.start(), other.join(20)
            assert not other.is_alive(), f"held since an interrupt at step {step}"
            index.compact()
            step += stride
    assert step > 5 * stride and differences(index) == []


# One that comes in the callback of a weak reference is told and goes no further.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("mode", ["w", "r"])
def test_an_index_whose_closing_was_interrupted_can_be_closed(index, mode):
    """It was taken for closed, and stayed locked."""
    index.close()
    kept, step, interrupted = [], 0, True
    with raising():
        while interrupted is not None:
            opened = bitdex.open(index.path, mode)
            if mode == "w":
                opened.put({"id": 1, "level": step})
            interrupted = interrupted_at(step, opened.close, kept)
            opened.close()
            with bitdex.open(index.path, "w") as again:
                assert mode == "r" or again.get(1)["level"] == step
            step += scale(7, 1)
    assert step > 30


def failing(*arguments):
    raise MemoryError("told to fail")


def test_a_batch_that_fails_beside_a_compaction_ends_the_writing_and_not_the_program(index, monkeypatch):
    """It reopened the index, waiting for the compaction, which waited for the batch."""
    waiting, between = threading.Event(), Store._between_batches

    @contextmanager
    def told(store):
        waiting.set()
        with between(store):
            yield

    def name(*arguments):
        compaction.start()
        assert waiting.wait(20)
        failing()

    def change():
        with pytest.raises(MemoryError):
            index.put({"id": 2, "level": 2})

    compaction = threading.Thread(target=lambda: suppressed(index.compact), daemon=True)
    batch = threading.Thread(target=change, daemon=True)
    with monkeypatch.context() as patched:
        patched.setattr(Store, "_between_batches", told)
        patched.setattr(Store, "_name", name)
        batch.start(), batch.join(20), compaction.join(20)
        assert not batch.is_alive() and not compaction.is_alive()
    with pytest.raises(LockedError, match="MemoryError: told to fail"):
        index.put({"id": 3, "level": 3})
    assert index.ids().tolist() == [1] and index.get(1)["level"] == 1
    index.close()
    with bitdex.open(index.path, "w") as opened:
        assert opened.ids().tolist() == [1] and set(opened.check()["severity"]) <= {"note"}
        opened.put({"id": 3, "level": 3})
        assert opened.ids().tolist() == [1, 3]


def suppressed(work):
    """Do what may be refused."""
    with suppress(LockedError):
        work()


def test_a_batch_that_fails_before_anything_was_written_ends_nothing(index, monkeypatch):
    with monkeypatch.context() as patched, pytest.raises(MemoryError):
        patched.setattr("bitdex.dictionaries.Dictionaries.save", failing)
        index.put({"id": 2, "level": 2})
    index.put({"id": 3, "level": 3})
    assert index.ids().tolist() == [1, 3] and differences(index) == []
