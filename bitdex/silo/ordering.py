"""Operations in key order, sorted by all threads (how: `kernels.sorting`)."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from bitdex.kernels import sorting
from bitdex.kernels.jit import THREADS
from bitdex.silo.operations import Operations
from bitdex.silo.threads import each

PARTS = 2 * THREADS  # more than threads, because parts are not all alike


@dataclass(frozen=True, slots=True)
class Part:
    """Operations in key order, those of one key in sequence order; no other part has their keys.

    `frames` holds the places in the log, with the kind in the low three bits.
    """

    keys: np.ndarray
    frames: np.ndarray
    sizes: np.ndarray


def order_operations(operations: Operations, pool: ThreadPoolExecutor) -> list[Part]:
    """Return the operations in key order, in parts whose keys ascend."""
    count = len(operations)
    if not count:
        return []
    edges = [block * count // THREADS for block in range(THREADS + 1)]
    blocks = list(pairwise(edges))
    surveys = np.empty((THREADS, 3), np.uint64)

    def survey(block: int) -> None:
        sorting.survey_keys(operations.keys, *blocks[block], surveys[block])

    each(pool, survey, range(THREADS))
    if surveys[:, 2].all():
        return _cut_ordered(operations, blocks, pool)
    varying = int(np.bitwise_and.reduce(surveys[:, 0]) ^ np.bitwise_or.reduce(surveys[:, 1]))
    shift = max(0, varying.bit_length() - sorting.BITS)
    columns = np.empty(count, np.uint64), np.empty(count, np.int64), np.empty(count, np.int64)
    starts = _deal_out(operations, blocks, shift, columns, pool)
    others = tuple(np.empty_like(column) for column in columns)

    def sort(part: tuple[int, int]) -> Part:
        first, last = part
        counts = np.empty(sorting.BUCKETS, np.int64)
        sorting.sort_buckets(starts, first, last, shift, *columns, *others, counts)
        return Part(*(column[starts[first] : starts[last]] for column in columns))

    cuts = np.searchsorted(starts, np.arange(1, PARTS) * count // PARTS)
    edges = np.unique(np.concatenate(([0], cuts, [sorting.BUCKETS]))).tolist()
    return each(pool, sort, pairwise(edges))


def _deal_out(
    operations: Operations,
    blocks: list[tuple[int, int]],
    shift: int,
    columns: tuple[np.ndarray, ...],
    pool: ThreadPoolExecutor,
) -> np.ndarray:
    """Fill `columns` with the operations, bucket after bucket; return where the buckets begin."""
    counts = np.zeros((THREADS, sorting.BUCKETS), np.int64)

    def count(block: int) -> None:
        sorting.count_buckets(operations.keys, *blocks[block], shift, counts[block])

    each(pool, count, range(THREADS))
    ends = np.cumsum(counts.T.reshape(-1)).reshape(-1, THREADS)  # bucket by bucket, block by block
    cursors = np.ascontiguousarray(ends.T - counts)

    def deal(block: int) -> None:
        names = Operations.__slots__
        source = (getattr(operations, name) for name in names)
        sorting.deal_out(*source, *blocks[block], shift, cursors[block], *columns)

    each(pool, deal, range(THREADS))
    return np.concatenate(([0], ends[:, -1]))


def _cut_ordered(
    operations: Operations, blocks: list[tuple[int, int]], pool: ThreadPoolExecutor
) -> list[Part]:
    """Cut operations that are in order already, between keys."""
    frames = np.empty(len(operations), np.int64)

    def pack(block: tuple[int, int]) -> None:
        sorting.pack_frames(operations.places, operations.words, *block, frames)

    each(pool, pack, blocks)
    nth = np.arange(1, PARTS) * len(operations) // PARTS
    cuts = np.searchsorted(operations.keys, operations.keys[nth])
    edges = np.unique(np.concatenate(([0], cuts, [len(operations)]))).tolist()
    columns = operations.keys, frames, operations.sizes
    return [Part(*(column[lo:hi] for column in columns)) for lo, hi in pairwise(edges)]
