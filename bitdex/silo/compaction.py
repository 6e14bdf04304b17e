"""Writing a new ``data.bin``: cold compaction of a log, and a state written anew (rewrite, backup).

Both write ``data.bin.new`` from front to back with plain writes, several chunks at a
time, and leave the commit to the caller. Readers keep the files they have mapped.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np

from bitdex import filesystem
from bitdex.errors import CorruptError, InvalidError
from bitdex.formats import data, frame, hash_index
from bitdex.kernels import apart, gather, records
from bitdex.kernels import hash_index as index_kernels
from bitdex.silo.files import SiloFiles
from bitdex.silo.key_index import KeyIndex
from bitdex.silo.operations import Operations
from bitdex.silo.ordering import Part, order_operations
from bitdex.silo.pending import Chains
from bitdex.silo.read import read_frames
from bitdex.silo.scratch import scratch
from bitdex.silo.state import State
from bitdex.silo.threads import ahead, begun, each, ended

CHUNK = 4 << 20
RECORDS, BYTES = 1 << 13, 2 << 20  # folded at a time; one record may have more bytes
RELEASE = 64 << 20  # bytes written, behind which the pages that were read are let go


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
    """A written data file: its index and end, and its dead bytes.

    `changed` are the keys (uint64, some of them perhaps twice) in which the index differs from the one
    before; None if they are many, or all: then it is one table. `settle` returns when the data
    file is on the device, or raises; the index is written behind it.
    """

    index: KeyIndex
    end: int
    dead: int = 0
    changed: np.ndarray | None = None
    settle: Callable[[], None] = lambda: None


def write_cold(
    files: SiloFiles,
    operations: Operations,
    log: np.ndarray,
    meta: np.ndarray,
    generation: int,
    pool: ThreadPoolExecutor,
) -> NewData:
    """Lay the records of a log out in a new data file, in key order, copying their frames."""
    geometry, identity = Geometry.of(meta), int(meta["identity"][0])
    seed = np.uint32(frame.seed(identity))
    layouts = each(pool, partial(_lay_out, geometry=geometry), order_operations(operations, pool))
    ends = np.cumsum([data.FIRST_REGION, *(int(layout.regions[-1]) for layout in layouts)])
    chunks = [
        (layout, int(base), lo, hi)
        for layout, base in zip(layouts, ends)
        for lo, hi in _chunks(layout.regions)
    ]
    with _Writer(files, identity, generation) as writer:

        def write(chunk: tuple[Layout, int, int, int]) -> None:
            layout, base, lo, hi = chunk
            out = scratch.take(int(layout.regions[hi] - layout.regions[lo]))
            columns = (layout.keys, layout.starts, layout.frames, layout.sizes, layout.regions)
            bad = records.copy_records(log, *columns, base, lo, hi, seed, out)
            if bad >= 0:
                raise CorruptError.at("ops log", bad, "expected a frame with a right checksum")
            writer.put(out, base + int(layout.regions[lo]))
            filesystem.release(log)

        # one thread fills the index while the others copy: it waits for memory, they for the system
        entries = [layout.entries(int(base)) for layout, base in zip(layouts, ends)]
        table = begun(pool, index_kernels.build_table, entries)
        each(pool, write, chunks)
    index = KeyIndex.whole(ended(table), sum(len(layout.keys) for layout in layouts))
    return NewData(index, int(ends[-1]))


@dataclass(frozen=True, slots=True)
class Layout:
    """Records in key order: their frames in the log, and their regions counted from 0 (records + 1)."""

    keys: np.ndarray
    starts: np.ndarray
    frames: np.ndarray
    sizes: np.ndarray
    regions: np.ndarray
    extents: np.ndarray

    def entries(self, base: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the index entries of the records, whose regions begin at file offset `base`."""
        offsets = self.regions[:-1] + (base + data.REGION_SIZE)
        return self.keys, offsets.view(np.uint64), self.extents


def _lay_out(part: Part, geometry: Geometry) -> Layout:
    count = len(part.keys)
    keys, starts = np.empty(count, np.uint64), np.empty(count + 1, np.int64)
    frames, sizes = np.empty(count, np.int64), np.empty(count, np.int64)
    found = records.cut_records(part.keys, part.frames, part.sizes, keys, starts, frames, sizes)
    keys, starts = keys[:found], starts[: found + 1]
    regions, extents = _regions(keys, starts, frames, sizes, 0, geometry)
    return Layout(keys, starts, frames, sizes, regions, extents)


def _regions(
    keys: np.ndarray,
    starts: np.ndarray,
    frames: np.ndarray,
    sizes: np.ndarray,
    start: int,
    geometry: Geometry,
) -> tuple[np.ndarray, np.ndarray]:
    regions, extents = np.empty(len(keys) + 1, np.int64), np.empty(len(keys), np.uint64)
    sizing = (geometry.headroom, geometry.minimum, geometry.alignment)
    bad = records.lay_out(starts, frames, sizes, start, *sizing, regions, extents)
    if bad >= 0:
        raise InvalidError(f"record of key {keys[bad]}: with headroom more than {data.MAX_ALLOCATED} bytes")
    return regions, extents


def write_folded(
    files: SiloFiles,
    state: State,
    geometry: Geometry,
    generation: int,
    pool: ThreadPoolExecutor,
    report: Callable[[int], object],
) -> NewData:
    """Write every record of `state` as one PUT frame into a new data file, in key order."""
    base, at, done, released = state.base, data.FIRST_REGION, 0, 0
    maps = [base.data, *(log.mapped for log in state.waiting)]
    every = state.keys()
    offsets, extents = (apart.zeros(len(every), np.uint64) for _ in range(2))
    with _Writer(files, int(base.meta["identity"][0]), generation) as writer:
        blocks = blocks_of(state, every)
        for keys, folded in zip(blocks, ahead(pool, partial(_fold_records, state), blocks)):
            regions, words = _write_block(writer, base.seed, keys, folded, at, geometry)
            rows, at = slice(done, done + len(keys)), int(regions[-1])
            offsets[rows], extents[rows] = regions[:-1] + data.REGION_SIZE, words
            done = rows.stop
            report(len(keys))
            if at - released > RELEASE:
                released = at
                for mapped in maps:
                    filesystem.release(mapped)
    return NewData(KeyIndex.whole(index_kernels.build_table([(every, offsets, extents)]), done), at)


def blocks_of(state: State, keys: np.ndarray) -> list[np.ndarray]:
    """Return keys, ascending, in blocks of at most RECORDS, which in a state have about BYTES."""
    operations = state.operations
    more = apart.zeros(len(keys) + 1, np.int64)
    if len(operations):  # those of other keys, counted too, do no harm
        np.add.at(more, np.searchsorted(keys, operations.keys), operations.sizes)
    blocks = []
    for lo in range(0, len(keys), RECORDS):
        part = keys[lo : lo + RECORDS]
        _, sizes = state.base.index.find(part)
        ends = np.cumsum(np.maximum(sizes, 0) + more[lo : lo + len(part)])
        cuts = np.searchsorted(ends, np.arange(BYTES, ends[-1], BYTES))
        edges = np.unique(np.concatenate(([0], cuts, [len(part)])))
        blocks += [part[begin:end] for begin, end in pairwise(edges.tolist())]
    return blocks


def _write_block(
    writer: "_Writer",
    seed: np.uint32,
    keys: np.ndarray,
    folded: tuple[np.ndarray, np.ndarray, np.ndarray],
    start: int,
    geometry: Geometry,
) -> tuple[np.ndarray, np.ndarray]:
    """Write the folded records of `keys` from file offset `start` on; return their regions and extents."""
    values, offsets, words = folded
    one_each, puts = np.arange(len(keys) + 1), np.full(len(keys), frame.PUT)
    regions, extents = _regions(keys, one_each, puts, np.diff(offsets), start, geometry)
    for lo, hi in _chunks(regions):
        out = scratch.take(int(regions[hi] - regions[lo]))
        records.write_records(keys, values, offsets, words, regions, lo, hi, seed, out)
        writer.put(out, int(regions[lo]))
    return regions, extents


def _fold_records(state: State, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the folded values of keys, verified, and the order word of each: PUT, at its last sequence."""
    chains = [log.find(keys) for log in state.waiting]
    payloads, payload_offsets, starts = read_frames(state.base, chains, keys)
    words, settled = _last_words(state, chains, keys)
    if settled:
        return payloads, payload_offsets, words
    values, offsets = state.fold(payloads, payload_offsets, starts)
    return values, offsets, words


def _last_words(state: State, chains: list[Chains], keys: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return the order words of `keys`, and whether each is one PUT frame in ``data.bin`` already."""
    base, words = state.base, np.empty(len(keys), np.uint64)
    offsets, extents = base.index.lookup(keys)
    gather.last_words(base.data, offsets, extents, words)
    settled = bool(((extents >> np.uint64(32)) & np.uint64(hash_index.SINGLE)).all())
    for chain in chains:
        rows = np.flatnonzero(chain.newest >= 0)
        newest = chain.waiting.columns.words[chain.newest[rows]]
        words[rows] = newest & ~np.uint64(0xFF) | np.uint64(frame.PUT)
        settled = settled and not len(rows)
    return words, settled


def _chunks(regions: np.ndarray) -> list[tuple[int, int]]:
    """Cut regions into ranges of about CHUNK bytes."""
    cuts = np.arange(regions[0] + CHUNK, regions[-1], CHUNK)
    edges = np.unique(np.concatenate(([0], np.searchsorted(regions, cuts), [len(regions) - 1])))
    return list(pairwise(edges.tolist()))


class _Writer:
    """A new data file, which any thread may write a part of."""

    def __init__(self, files: SiloFiles, identity: int, generation: int):
        self._descriptor = -1
        self._path = files.unfinished(files.data)
        self._header = data.encode_header(identity, generation)

    def __enter__(self) -> "_Writer":
        filesystem.remove(self._path)  # an unfinished one; its bytes must not shine through
        self._descriptor = filesystem.open_write(self._path)
        try:
            filesystem.write_at(self._descriptor, self._header, 0)
        except BaseException as error:
            self.__exit__(type(error))
            raise
        return self

    def put(self, out: np.ndarray, offset: int) -> None:
        """Write regions at their offset."""
        filesystem.write_at(self._descriptor, out, offset)

    def __exit__(self, kind: object, *rest: object) -> None:
        """Force it to the device; if the block has failed, remove it: a full disk has room again."""
        try:
            try:
                if kind is None:
                    filesystem.sync(self._descriptor)
            finally:
                filesystem.close(self._descriptor)
        except BaseException:
            self._remove()
            raise
        if kind is not None:
            self._remove()

    def _remove(self) -> None:
        with suppress(OSError):  # the first error counts
            filesystem.remove(self._path)
