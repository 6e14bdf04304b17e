"""Faults planted on purpose: a plugin of pytest that breaks the store in one named way.

``BITDEX_FAULT=name python -m pytest -p tests.planted ...`` runs tests against a store with the fault.
Each fault names a test that has to fail with it; `tests/test_planted_faults.py` sees to it.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Fault:
    """What is broken, how, and the test that must see it."""

    what: str
    plant: Callable[[], None]
    test: str


FAULTS: dict[str, Fault] = {}


def fault(what: str, test: str) -> Callable:
    """Register the function below as the planting of a fault."""

    def register(plant: Callable[[], None]) -> Callable[[], None]:
        FAULTS[plant.__name__] = Fault(what, plant, test)
        return plant

    return register


def pytest_configure(config: Any) -> None:
    """Plant the fault that the environment names."""
    FAULTS[os.environ["BITDEX_FAULT"]].plant()


POWER = "tests/crash/test_power_loss.py"
MODEL = "tests/silo/test_model.py"


@fault("a batch is acknowledged before its sync", POWER)
def no_sync_of_logs() -> None:
    from bitdex.silo.log import OpsLog

    def forget(log: OpsLog) -> None:
        log._synced, log.synced_sequence = log.end, log.last_sequence

    OpsLog.sync = forget  # type: ignore[method-assign]


@fault("the data file is not synced before the commit record", POWER)
def no_sync_of_data() -> None:
    from bitdex import filesystem

    sync = filesystem.sync

    def skipping(descriptor: int) -> None:
        if "data.bin" not in filesystem._names[descriptor].name:
            sync(descriptor)

    filesystem.sync = skipping


@fault("the directory is not synced after a rename", POWER)
def no_sync_of_directories() -> None:
    from bitdex import filesystem

    filesystem.sync_directory = lambda path: None


@fault("the index is written after the commit record that names it", "tests/silo/test_crash.py")
def index_after_commit() -> None:
    from bitdex import filesystem

    write_at, held = filesystem.write_at, []

    def late(descriptor: int, data: Any, offset: int) -> None:
        name = filesystem._names[descriptor].name
        if name.startswith("index."):
            held.append((os.dup(descriptor), bytes(memoryview(data).cast("B")), offset))
            return
        write_at(descriptor, data, offset)
        if name == "meta.bin":
            for copy, content, place in held:
                os.pwrite(copy, content, place)
                os.close(copy)
            held.clear()

    filesystem.write_at = late


@fault("checksums of values are not looked at", "tests/silo/test_damage.py")
def checksums_ignored() -> None:
    from bitdex.silo import state

    state.gather.holds_frame = lambda *arguments: True


@fault("frames of a log are applied twice", MODEL)
def frames_applied_twice() -> None:
    from bitdex.silo.merge_writer import MergeWriter

    apply = MergeWriter.apply_frames

    def twice(writer: MergeWriter, *arguments: Any) -> None:
        apply(writer, *arguments)
        apply(writer, *arguments)

    MergeWriter.apply_frames = twice  # type: ignore[method-assign]


@fault("the sequence of a merge that was given up is not listed", MODEL)
def given_up_merges_forgotten() -> None:
    from bitdex.silo import commits

    def forget(record: np.ndarray) -> None:
        record["pending"] = 0

    commits._list_aborted = forget


@fault("damage in the middle of a log is taken for its end", "tests/silo/test_damage.py")
def logs_cut_in_the_middle() -> None:
    from bitdex.silo import commits, replay

    replay.kernels.find_later_frame = lambda *arguments: -1
    replay.later_batch = lambda *arguments: -1
    commits._check_floor = lambda *arguments: None


@fault("a second writer is let in", "tests/crash/test_lock.py")
def lock_ignored() -> None:
    from bitdex import filesystem

    filesystem.lock = lambda descriptor, wait=True: True


@fault("writing goes on after a sync has failed", "tests/crash/test_failing_calls.py")
def failures_forgotten() -> None:
    from bitdex.silo.guard import Guard

    Guard.failure = property(lambda guard: None, lambda guard, error: None)  # type: ignore[assignment]


@fault("bitmaps are published before documents", "tests/concurrency")
def silos_published_apart() -> None:
    import time

    from bitdex.store import Committed, Store

    publish = Store._publish

    def apart(store: Store) -> None:
        publish(store)
        whole = store.committed
        if hasattr(store, "before"):
            store.committed = Committed(whole.sequence, store.before, whole.bitmaps)
            time.sleep(0.05)
        store.committed, store.before = whole, whole.documents  # type: ignore[attr-defined]

    Store._publish = apart  # type: ignore[method-assign]


@fault("dead bytes are not counted", "tests/silo/test_defects.py")
def dead_bytes_forgotten() -> None:
    from bitdex.silo import compaction

    compaction.NewData.dead = property(lambda new: 0)  # type: ignore[assignment]
