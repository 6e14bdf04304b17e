"""Print what durability costs: ``python -m asv_benchmarks.durability [--keys 2000000]``.

Hot compaction beside what stores into headroom and a sync take alone, reads beside operations that wait,
durable writes beside LMDB's in the same run, opening after a kill, and what verifying every value adds to
reading. Medians of several runs. Durable writes go to the directory that ``--directory`` names, the rest
to a memory file system where there is one.
"""

import argparse
import importlib.util
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from asv_benchmarks.peers.report import table
from bitdex.kernels import gather
from bitdex.kernels.jit import THREADS, device
from bitdex.silo import read
from bitdex.silo.silo import Silo

RUNS, WIDTH = 5, 100
VALUE = bytes(range(WIDTH))


def memory_directory() -> Path | None:
    """Return a directory in memory, if the system has one: the disk is not what is measured."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() else None


@contextmanager
def silo_in(directory: Path | None, **options: Any) -> Iterator[Silo]:
    options = {"rule": "concatenate", **options}
    with (
        tempfile.TemporaryDirectory(prefix="bitdex-", dir=directory) as path,
        Silo.open(Path(path) / "silo", "w", **options) as silo,
    ):
        yield silo


def packed(count: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return `count` values of one width."""
    return np.resize(np.arange(251, dtype=np.uint8), count * width), np.arange(count + 1) * width


def fill(silo: Silo, count: int) -> None:
    silo.put_many(np.arange(count, dtype=np.uint64), *packed(count, WIDTH))
    silo.compact()


def seconds(function: Callable[[], object]) -> float:
    before = time.perf_counter()
    function()
    return time.perf_counter() - before


def hot_compactions(keys: int, added: int, directory: Path | None) -> tuple[list[float], list[float]]:
    """Return M keys/s of compacting merges into a tenth of the keys, and of stores alone, taking turns.

    The first run warms up.
    """
    rng, rates, alone = np.random.default_rng(1), [], []
    for _ in range(RUNS + 1):
        with silo_in(directory, headroom=1.5, sync="none") as silo:
            fill(silo, keys)
            some = rng.choice(keys, keys // 10, replace=False).astype(np.uint64)
            silo.merge_many(some, *packed(len(some), added))
            size = silo.files.data.stat().st_size
            rates.append(len(some) / seconds(silo.compact) / 1e6)
        places = some.astype(np.int64) * (size // keys) + WIDTH
        alone.append(len(some) / stores_and_sync(size, places, directory) / 1e6)
    return rates[1:], alone[1:]


def stores_and_sync(size: int, places: np.ndarray, directory: Path | None) -> float:
    """Return the seconds of storing a byte at places of a file, through a map, and syncing it once."""
    with tempfile.NamedTemporaryFile(prefix="stores-", dir=directory) as file:
        for at in range(0, size, 1 << 22):
            file.write(bytes(min(size - at, 1 << 22)))
        file.flush()
        os.fsync(file.fileno())
        mapped = np.memmap(file.name, np.uint8, "r+")

        def store() -> None:
            mapped[places] = 1
            os.fdatasync(file.fileno())

        return seconds(store)


def reads_beside_pending(keys: int, pending: int) -> tuple[list[float], list[float], list[float]]:
    """Return microseconds of a `get` of a key with and without an operation, and M/s of `get_many`."""
    rng = np.random.default_rng(2)
    with silo_in(memory_directory(), sync="none") as silo:
        fill(silo, keys)
        written = rng.choice(keys, pending, replace=False).astype(np.uint64)
        silo.put_many(written, *packed(pending, WIDTH))
        others = np.setdiff1d(rng.integers(0, keys, pending).astype(np.uint64), written)
        touched, untouched, many = [], [], []
        for _ in range(RUNS):
            for chosen, out in ((written, touched), (others, untouched)):
                wanted = rng.choice(chosen, 10_000).tolist()
                out.append(seconds(lambda wanted=wanted: [silo.get(key) for key in wanted]) / 1e4 * 1e6)
            wanted = rng.integers(0, keys, pending).astype(np.uint64)
            many.append(pending / seconds(lambda wanted=wanted: silo.get_many(wanted)) / 1e6)
    return touched, untouched, many


def durable_writes(directory: Path, batch: int, batches: int) -> tuple[list[float], list[float]]:
    """Return microseconds of each durable batch of the silo, and of LMDB's, taking turns."""
    import lmdb

    path = tempfile.mkdtemp(prefix="lmdb-", dir=directory)
    values, offsets = packed(batch, WIDTH)
    ours, theirs = [], []
    with silo_in(directory, rule="replace") as silo, lmdb.open(path, map_size=1 << 32) as environment:
        for number in range(batches):
            keys = np.arange(number * batch, (number + 1) * batch, dtype=np.uint64)
            names = [int(key).to_bytes(8, "big") for key in keys]

            def put(keys: np.ndarray = keys) -> None:
                silo.put_many(keys, values, offsets) if batch > 1 else silo.put(int(keys[0]), VALUE)

            def put_there(names: list[bytes] = names) -> None:
                with environment.begin(write=True) as transaction:
                    for name in names:
                        transaction.put(name, VALUE)

            ours.append(seconds(put) * 1e6)
            theirs.append(seconds(put_there) * 1e6)
    shutil.rmtree(path)
    return ours, theirs


def openings(pending: int) -> list[float]:
    """Return the seconds until the first value is read from a copy that a kill has left."""
    found = []
    with silo_in(memory_directory(), sync="none") as silo:
        fill(silo, 1000)
        silo.put_many(np.arange(pending, dtype=np.uint64), *packed(pending, WIDTH))
        for number in range(RUNS + 1):
            copy = silo.files.directory.with_name(f"copy {number}")
            shutil.copytree(silo.files.directory, copy)

            before = time.perf_counter()
            with Silo.open(copy, "w") as again:
                value = again.get(5)
                found.append(time.perf_counter() - before)
            assert value == packed(pending, WIDTH)[0][5 * WIDTH : 6 * WIDTH].tobytes()
            shutil.rmtree(copy)
    return found[1:]


def unverified() -> ModuleType:
    """Return the reading kernels without their checksums."""
    spec = importlib.util.spec_from_file_location("bitdex.kernels.gather_unverified", gather.__file__)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.is_frame_of = _lies_inside  # before the kernels are compiled
    return module


@device
def _lies_inside(key: Any, size: Any, data: Any, at: Any, seed: Any) -> Any:
    return at >= 0 and size >= 0 and at + 24 + size <= len(data)


def checksum_cost(keys: int) -> tuple[list[float], list[float]]:
    """Return M/s of reading all values in random order, verified and not, taking turns."""
    order = np.random.default_rng(3).permutation(np.arange(keys, dtype=np.uint64))
    parts = np.array_split(order, -(-keys // 100_000))
    rates: dict[ModuleType, list[float]] = {gather: [], unverified(): []}
    with silo_in(memory_directory(), rule="replace", sync="none") as silo:
        fill(silo, keys)
        for _ in range(RUNS + 1):
            for module, out in rates.items():
                read.gather = module
                out.append(keys / seconds(lambda: [silo.get_many(part) for part in parts]) / 1e6)
    read.gather = gather
    verified, plain = rates.values()
    return verified[1:], plain[1:]


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m asv_benchmarks.durability", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--keys", type=int, default=2_000_000, help=f"keys of a silo, {WIDTH} bytes each")
    parser.add_argument("--directory", type=Path, default=Path.cwd(), help="on the disk to be written to")
    options = parser.parse_args()
    rows = []

    def row(label: str, unit: str, values: list[float], beside: str = "") -> None:
        spread = f"{min(values):.3g} to {max(values):.3g}"
        rows.append([label, f"{statistics.median(values):.3g} {unit}", spread, beside])

    for place, name in ((memory_directory(), "memory"), (options.directory, "disk, synced")):
        for added, outcome in ((20, "fits"), (200, "relocates")):
            rates, alone = hot_compactions(options.keys, added, place)
            beside = f"stores in headroom and a sync alone {statistics.median(alone):.3g}"
            row(f"hot compaction, {outcome} ({name})", "M keys/s", rates, beside if added == 20 else "")
    pending = min(100_000, options.keys // 2)
    touched, untouched, many = reads_beside_pending(options.keys, pending)
    row(f"get, {pending:,} pending, key among them", "us", touched)
    row(f"get, {pending:,} pending, another key", "us", untouched)
    row(f"get_many, {pending:,} pending", "M/s", many)
    for batch, batches in ((1, 1000), (1000, 200)):
        ours, theirs = durable_writes(options.directory, batch, batches)
        beside = f"LMDB {statistics.median(theirs):.3g} us ({min(theirs):.3g} to {max(theirs):.3g})"
        row(f"durable batch of {batch}", "us", ours, beside)
    row("open after a kill, 1,000,000 pending", "s", openings(1_000_000))
    verified, plain = checksum_cost(options.keys)
    beside = f"without checksums {statistics.median(plain):.3g}"
    row("get_many, every value verified", "M/s", verified, beside)
    print(f"{options.keys:,} keys of {WIDTH} bytes; {THREADS} threads; medians.\n")
    print(table(["", "median", "range", "beside it"], rows))


if __name__ == "__main__":
    main()
