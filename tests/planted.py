"""Faults planted on purpose: a plugin of pytest that breaks the store in one named way.

``BITDEX_FAULT=name python -m pytest -p tests.planted ...`` runs tests against a store with the fault.
Each fault names a test that has to fail with it; `tests/test_planted_faults.py` sees to it.
"""

import os
import time
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


def replace(owner: Any, name: str, value: Any) -> None:
    """Put something in the place of a function or an attribute that there is."""
    assert hasattr(owner, name), f"{owner} has no {name}: plant the fault elsewhere"
    setattr(owner, name, value)


def pytest_configure(config: Any) -> None:
    """Plant the fault that the environment names."""
    FAULTS[os.environ["BITDEX_FAULT"]].plant()


POWER = "tests/crash/test_power_loss.py"
DEFECTS = "tests/silo/test_defects.py"


@fault("a batch is acknowledged before its sync", "tests/concurrency/test_sync.py")
def no_sync_of_logs() -> None:
    from bitdex.silo.log import OpsLog

    def forget(log: OpsLog) -> None:
        log._synced, log.synced_sequence = log.end, log.last_sequence

    replace(OpsLog, "sync", forget)


@fault("the data file is not synced before the commit record", f"{POWER}::test_all_short_workloads")
def no_sync_of_data() -> None:
    from bitdex import filesystem

    sync = filesystem.sync

    def skipping(descriptor: int) -> None:
        if "data.bin" not in filesystem._names[descriptor].name:
            sync(descriptor)

    replace(filesystem, "sync", skipping)


@fault("the directory is not synced after a rename", f"{POWER}::test_while_a_silo_is_made")
def no_sync_of_directories() -> None:
    from bitdex import filesystem

    replace(filesystem, "sync_directory", lambda path: None)


@fault("a log is emptied before the commit that holds its batches", "tests/silo/test_crash.py")
def log_emptied_too_early() -> None:
    from bitdex.silo.files import SiloFiles
    from bitdex.silo.log import OpsLog

    write_meta = SiloFiles.write_meta

    def too_early(files: SiloFiles, record: np.ndarray) -> None:
        identity, applied = int(record["identity"][0]), int(record["applied"][0])
        for path in files.logs:
            last = OpsLog.read(path, identity, 0, None, False).last_sequence
            if 0 < last <= applied:
                OpsLog.create(path, identity, last).close()
        write_meta(files, record)

    replace(SiloFiles, "write_meta", too_early)


@fault("checksums are not looked at", "tests/silo/test_damage.py")
def checksums_ignored() -> None:
    from bitdex.silo import read, state

    def unseen(
        data: np.ndarray, keys: Any, places: Any, seed: Any, offsets: np.ndarray, out: np.ndarray
    ) -> int:
        np.cumsum(offsets, out=offsets)
        for i, place in enumerate(places):
            out[offsets[i] : offsets[i + 1]] = data[place + 24 : place + 24 + offsets[i + 1] - offsets[i]]
        return -1

    replace(state.gather, "holds_frame", lambda *arguments: True)
    replace(read.gather, "copy_singles_serial", unseen)


@fault("frames of a log are applied twice", DEFECTS)
def frames_applied_twice() -> None:
    from bitdex.silo.merge_writer import MergeWriter

    apply = MergeWriter.apply_frames

    def twice(writer: MergeWriter, *arguments: Any) -> None:
        apply(writer, *arguments)
        apply(writer, *arguments)

    replace(MergeWriter, "apply_frames", twice)


@fault("the sequence of a merge that was given up is not listed", "tests/silo/test_crash.py")
def given_up_merges_forgotten() -> None:
    from bitdex.silo import commits, maintenance

    def forget(record: np.ndarray) -> None:
        record["pending"] = 0

    replace(commits, "list_aborted", forget)
    replace(maintenance, "list_aborted", forget)


@fault("damage in the middle of a log is taken for its end", "tests/silo/test_damage.py")
def logs_cut_in_the_middle() -> None:
    from bitdex.silo import commits, replay

    replace(replay.kernels, "find_later_frame", lambda *arguments: -1)
    replace(commits, "_check_floor", lambda *arguments: None)


@fault("a second writer is let in", "tests/crash/test_lock.py::test_a_writer_in_this_process")
def lock_ignored() -> None:
    from bitdex import filesystem

    replace(filesystem, "lock", lambda descriptor, wait=True: True)


@fault("writing goes on after a sync has failed", "tests/crash/test_failing_calls.py")
def failures_forgotten() -> None:
    from bitdex.silo.guard import Guard

    replace(Guard, "failure", property(lambda guard: None, lambda guard, error: None))


@fault("bitmaps are published before documents", "tests/concurrency/test_index_threads.py")
def silos_published_apart() -> None:
    from bitdex.store import Store
    from bitdex.store_opened import Committed

    publish = Store._publish

    def apart(store: Store) -> None:
        publish(store)
        whole = store.committed
        if hasattr(store, "before"):
            store.committed = Committed(whole.sequence, store.before, whole.bitmaps)
            time.sleep(0.05)
        store.committed, store.before = whole, whole.documents  # type: ignore[attr-defined]

    replace(Store, "_publish", apart)


@fault("dead bytes are not counted", DEFECTS)
def dead_bytes_forgotten() -> None:
    from bitdex.silo import compaction

    replace(compaction.NewData, "dead", property(lambda new: 0))
