"""Writing a new ``data.bin``: cold compaction of a log, and the rewrite of what is there.

Both write ``data.bin.new`` from front to back with plain writes, several chunks at a
time, and leave the commit to the caller. Readers keep the files they have mapped.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from bitdex import filesystem
from bitdex.errors import CorruptError, InvalidError
from bitdex.formats import data, frame, hash_index
from bitdex.kernels import gather, records
from bitdex.kernels import hash_index as index_kernels
from bitdex.silo.base import Base
from bitdex.silo.files import SiloFiles
from bitdex.silo.log import Operations
from bitdex.silo.read import read_frames
from bitdex.silo.rules import Fold

Filler = Callable[[int, int, np.ndarray], None]

CHUNK = 4 << 20
RECORDS = 1 << 16  # records folded at a time by a rewrite


@dataclass(frozen=True, slots=True)
class Geometry:
    """How regions are sized: headroom in per mille of a record, a minimum, the payload alignment."""

    headroom: int
    minimum: int
    alignment: int

    @classmethod
    def of(cls, meta: np.ndarray) -> "Geometry":
        """Return the geometry that a commit record states."""
        return cls(*(int(meta[name][0]) for name in ("headroom", "minimum", "alignment")))


@dataclass(frozen=True, slots=True)
class NewData:
    """A written data file: its index table, number of keys and end."""

    table: np.ndarray
    count: int
    end: int


def write_cold(
    files: SiloFiles,
    operations: Operations,
    log: np.ndarray,
    meta: np.ndarray,
    generation: int,
    pool: ThreadPoolExecutor,
    durable: bool,
) -> NewData:
    """Lay the records of a log out in a new data file, in key order, copying their frames."""
    seed = np.uint32(frame.seed(int(meta["identity"][0])))
    count = len(operations)
    order, scratch = np.empty(count, np.int64), np.empty(count, np.int64)
    records.order_keys(operations.keys, order, scratch, np.empty(1 << 16, np.int64))
    starts, kept = np.empty(count + 1, np.int64), np.empty(count, np.int64)
    found = records.cut_records(operations.keys, order, operations.words, starts, kept)
    starts = starts[: found + 1]
    regions = np.empty(found + 1, np.int64)
    lengths, allocated = np.empty(found, np.uint64), np.empty(found, np.uint64)
    geometry = Geometry.of(meta)
    records.lay_out(
        starts,
        kept,
        operations.sizes,
        operations.words,
        data.FIRST_REGION,
        geometry.headroom,
        geometry.minimum,
        geometry.alignment,
        regions,
        lengths,
        allocated,
    )
    _check_lengths(operations.keys[kept[starts[:-1]]], allocated)

    def fill(lo: int, hi: int, out: np.ndarray) -> None:
        bad = records.copy_records(
            log, operations.places, operations.sizes, starts, kept, regions, lo, hi, seed, out
        )
        if bad >= 0:
            raise CorruptError(f"ops log: offset {bad}: expected a frame with a right checksum")

    with _Writer(files, int(meta["identity"][0]), generation, durable) as writer:
        writer.write(regions, fill, pool)
    keys = operations.keys[kept[starts[:-1]]]
    offsets = (regions[:-1] + data.REGION_SIZE).astype(np.uint64)
    table = index_kernels.build_index(keys, offsets, lengths, allocated)
    return NewData(table, found, int(regions[-1]))


def write_folded(
    files: SiloFiles,
    base: Base,
    fold: Fold,
    geometry: Geometry,
    generation: int,
    pool: ThreadPoolExecutor,
    durable: bool,
) -> NewData:
    """Write every record of `base` as one PUT frame into a new data file, in key order."""
    entries = base.entries()
    entries = entries[np.argsort(entries["key"], kind="stable")]
    at = data.FIRST_REGION
    parts: list[tuple[np.ndarray, ...]] = []
    with _Writer(files, int(base.meta["identity"][0]), generation, durable) as writer:
        for start in range(0, len(entries), RECORDS):
            keys = np.ascontiguousarray(entries["key"][start : start + RECORDS])
            values, offsets, words = _fold_records(base, fold, keys)
            sizes = np.diff(offsets)
            part = _lay_out_singles(sizes, at, geometry)
            _check_lengths(keys, part[2])
            writer.write(part[0], _single_filler(keys, values, offsets, words, part, base.seed), pool)
            parts.append((keys, (part[0][:-1] + data.REGION_SIZE).astype(np.uint64), part[1], part[2]))
            at = int(part[0][-1])
    columns = [np.concatenate(c) for c in zip(*parts)] if parts else [np.empty(0, np.uint64)] * 4
    return NewData(index_kernels.build_index(*columns), len(entries), at)


def _fold_records(base: Base, fold: Fold, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the folded values of keys and the order word of each: PUT, at the record's last sequence."""
    payloads, payload_offsets, starts = read_frames(base, None, keys)
    entries = index_kernels.lookup(base.table, keys)
    words = np.empty(len(keys), np.uint64)
    table = base.table.reshape(-1, 3)[entries]
    gather.last_words(base.data, table[:, 1].copy(), table[:, 2].copy(), words)
    if bool(((table[:, 2] >> np.uint64(32)) & np.uint64(hash_index.SINGLE)).all()):
        return payloads, payload_offsets, words
    values, offsets = fold(payloads, payload_offsets, starts)
    return values, offsets, words


def _lay_out_singles(
    sizes: np.ndarray, start: int, geometry: Geometry
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    count = len(sizes)
    regions = np.empty(count + 1, np.int64)
    lengths, allocated = np.empty(count, np.uint64), np.empty(count, np.uint64)
    order = np.arange(count, dtype=np.int64)
    records.lay_out(
        np.arange(count + 1, dtype=np.int64),
        order,
        sizes,
        np.full(count, frame.PUT, np.uint64),
        start,
        geometry.headroom,
        geometry.minimum,
        geometry.alignment,
        regions,
        lengths,
        allocated,
    )
    return regions, lengths, allocated


def _single_filler(
    keys: np.ndarray,
    values: np.ndarray,
    offsets: np.ndarray,
    words: np.ndarray,
    part: tuple[np.ndarray, ...],
    seed: np.uint32,
) -> Filler:
    def fill(lo: int, hi: int, out: np.ndarray) -> None:
        records.write_records(keys, values, offsets, words, part[0], part[2], lo, hi, seed, out)

    return fill


def _check_lengths(keys: np.ndarray, allocated: np.ndarray) -> None:
    if len(allocated) and int(allocated.max()) > data.MAX_ALLOCATED:
        row = int(allocated.argmax())
        raise InvalidError(f"record of key {keys[row]}: {allocated[row]} bytes; at most {data.MAX_ALLOCATED}")


class _Writer:
    """A new data file, written region range by region range."""

    def __init__(self, files: SiloFiles, identity: int, generation: int, durable: bool):
        self._descriptor = -1
        self._path = files.unfinished(files.data)
        self._header = data.encode_header(identity, generation)
        self._durable = durable

    def __enter__(self) -> "_Writer":
        filesystem.remove(self._path)  # an unfinished one; its bytes must not shine through
        self._descriptor = filesystem.open_write(self._path)
        filesystem.write_at(self._descriptor, self._header, 0)
        return self

    def write(self, regions: np.ndarray, fill: Filler, pool: ThreadPoolExecutor) -> None:
        """Write the regions at these offsets (n + 1), each chunk filled by ``fill(lo, hi, out)``."""

        def write(bounds: tuple[int, int]) -> None:
            lo, hi = bounds
            out = np.zeros(regions[hi] - regions[lo], np.uint8)
            fill(lo, hi, out)
            filesystem.write_at(self._descriptor, out, int(regions[lo]))

        cuts = np.arange(regions[0] + CHUNK, regions[-1], CHUNK)
        edges = np.unique(np.concatenate(([0], np.searchsorted(regions, cuts), [len(regions) - 1])))
        list(pool.map(write, zip(edges[:-1].tolist(), edges[1:].tolist())))

    def __exit__(self, kind: object, *rest: object) -> None:
        try:
            if self._durable and kind is None:
                filesystem.sync(self._descriptor)
        finally:
            filesystem.close(self._descriptor)
