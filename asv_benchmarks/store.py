"""Print the store's figures: ``python -m asv_benchmarks.store [--keys 2000000] [--index 20000000]``.

Each row is the median of five runs in millions a second. What a run needs is built anew and
touched before the clock starts. Syncs are left out; `asv_benchmarks.durability` measures them. Beside
it stands what the original published, measured on 24 to 32 threads of another machine.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache, partial
from pathlib import Path

import numpy as np

from asv_benchmarks.peers.report import table
from bitdex import filesystem
from bitdex.kernels import hash_index
from bitdex.kernels.jit import THREADS
from bitdex.silo.silo import Silo

RUNS, BATCH, WIDTH, ADDED, MERGES = 5, 100_000, 100, 25, 3
FRAME_HEADER, HEADROOM = 24, 1.5  # what is added fits behind what is there
Batch = tuple[np.ndarray, np.ndarray, np.ndarray]
Task = Callable[[], object]
Measurement = Callable[..., AbstractContextManager[Task]]


def open_silo(path: Path, rule: str) -> Silo:
    """Open a silo whose batches are not synced."""
    return Silo.open(path, mode="w", rule=rule, sync="none", headroom=HEADROOM)


def touch(silo: Silo, keys: np.ndarray) -> int:
    """Find records and read one byte of each value."""
    offsets, _ = silo.find_many(keys)
    return int(silo.data[offsets + FRAME_HEADER].sum())


def build_index(keys: np.ndarray, offsets: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    return hash_index.build_index(keys, offsets, lengths, lengths)


def lookup(index: np.ndarray, keys: np.ndarray) -> np.ndarray:
    return hash_index.lookup(index, keys)


@cache
def keys_in_order(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.uint64)


@cache
def keys_at_random(count: int) -> np.ndarray:
    return np.random.default_rng(1).permutation(keys_in_order(count))


@cache
def scattered_keys(count: int) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 1 << 64, count, dtype=np.uint64)


def batches(keys: np.ndarray, width: int) -> list[Batch]:
    """Cut keys into batches, each with values of one width."""
    values = np.random.default_rng(3).integers(0, 256, BATCH * width, dtype=np.uint8)
    offsets = np.arange(BATCH + 1, dtype=np.int64) * width
    parts = np.split(keys, range(BATCH, len(keys), BATCH))
    return [(part, values[: len(part) * width], offsets[: len(part) + 1]) for part in parts]


@contextmanager
def unsynced() -> Iterator[None]:
    """Leave out syncs: the disk is not what is measured."""
    kept = filesystem.sync, filesystem.sync_directory
    filesystem.sync = filesystem.sync_directory = lambda _: None
    try:
        yield
    finally:
        filesystem.sync, filesystem.sync_directory = kept


@contextmanager
def temporary_silo(rule: str) -> Iterator[Silo]:
    with unsynced(), tempfile.TemporaryDirectory(prefix="bitdex-store-") as directory:
        silo = open_silo(Path(directory) / "silo", rule)
        try:
            yield silo
        finally:
            silo.close()


@contextmanager
def filled_silo(count: int, rule: str = "replace") -> Iterator[Silo]:
    """Make a compacted silo with a value of `WIDTH` bytes for each key."""
    with temporary_silo(rule) as silo:
        for batch in batches(keys_in_order(count), WIDTH):
            silo.put_many(*batch)
        silo.compact()
        yield silo


@contextmanager
def log_puts(count: int) -> Iterator[Task]:
    parts = batches(keys_in_order(count), WIDTH)
    with temporary_silo("replace") as silo:
        yield lambda: [silo.put_many(*part) for part in parts]


@contextmanager
def cold_compaction(count: int) -> Iterator[Task]:
    with temporary_silo("replace") as silo:
        for part in batches(keys_at_random(count), WIDTH):
            silo.put_many(*part)
        yield silo.compact


@contextmanager
def cold_compaction_of_merges(operations: int) -> Iterator[Task]:
    with temporary_silo("concatenate") as silo:
        for part in batches(keys_at_random(operations // MERGES), WIDTH) * MERGES:
            silo.merge_many(*part)
        yield silo.compact


@contextmanager
def reads_of_a_byte(count: int) -> Iterator[Task]:
    with filled_silo(count) as silo:
        touch(silo, keys_in_order(count))
        yield partial(touch, silo, keys_at_random(count))


@contextmanager
def reads_of_all_bytes(count: int) -> Iterator[Task]:
    parts = np.split(keys_at_random(count), range(BATCH, count, BATCH))
    with filled_silo(count) as silo:
        touch(silo, keys_in_order(count))
        yield lambda: [len(silo.get_many(part).data) for part in parts]


@contextmanager
def index_build(keys: Callable[[int], np.ndarray], count: int) -> Iterator[Task]:
    lengths = np.full(count, WIDTH, np.uint64)
    yield partial(build_index, keys(count), keys_in_order(count) * np.uint64(WIDTH), lengths)


@contextmanager
def index_lookups(count: int) -> Iterator[Task]:
    lengths = np.full(count, WIDTH, np.uint64)
    index = build_index(scattered_keys(count), keys_in_order(count), lengths)
    yield partial(lookup, index, scattered_keys(count)[keys_at_random(count)])


@contextmanager
def merges(keys: Callable[[int], np.ndarray], count: int) -> Iterator[Task]:
    """Merge into every record; the commit is part of it."""
    parts = batches(keys(count), ADDED)
    with filled_silo(count, "concatenate") as silo:

        def run() -> None:
            with silo.merge_writer() as writer:
                for part in parts:
                    writer.merge_many(*part)

        yield run


def millions_a_second(measurement: Measurement, count: int) -> list[float]:
    """Return the rates of all runs; one before them compiles the kernels on little data."""
    with measurement(min(count, BATCH)) as task:
        task()
    rates = []
    for _ in range(RUNS):
        with measurement(count) as task:
            before = time.perf_counter()
            task()
            rates.append(count / (time.perf_counter() - before) / 1e6)
    return rates


def figures(keys: int, index: int) -> list[tuple[str, Measurement, int, str]]:
    """Return label, measurement, operations, and the original's figure."""
    return [
        ("log puts, batches of 100,000", log_puts, keys, "32.7 (32 threads), 8.4 (1 thread)"),
        ("cold compaction, unique keys", cold_compaction, keys, "3.0 (300 bytes)"),
        ("cold compaction, 3 merges a key", cold_compaction_of_merges, MERGES * keys, "none published"),
        ("random reads, a byte of each value", reads_of_a_byte, keys, "23 to 27"),
        ("random reads, all bytes", reads_of_all_bytes, keys, "none published"),
        ("index build, dense keys", partial(index_build, keys_in_order), index, "40 (hot)"),
        ("index build, scattered keys", partial(index_build, scattered_keys), index, "none published"),
        ("index lookups, scattered keys", index_lookups, index, "430 (hot)"),
        ("merge into every record, key order", partial(merges, keys_in_order), keys, "9.9 (28 threads)"),
        ("merge into every record, random", partial(merges, keys_at_random), keys, "none published"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser("python -m asv_benchmarks.store", description=__doc__.splitlines()[0])
    parser.add_argument("--keys", type=int, default=2_000_000, help=f"keys of a silo, {WIDTH} bytes each")
    parser.add_argument("--index", type=int, default=20_000_000, help="keys of the index")
    options = parser.parse_args()
    rows = []
    for label, measurement, count, original in figures(options.keys, options.index):
        rates = millions_a_second(measurement, count)
        spread = f"{min(rates):.1f} to {max(rates):.1f}"
        rows.append([label, f"{statistics.median(rates):.1f}", spread, original])
    print(f"{options.keys:,} keys of {WIDTH} bytes; index of {options.index:,} keys; {THREADS} threads.\n")
    print(table(["M/s", "median of 5", "range", "the original"], rows))


if __name__ == "__main__":
    main()
