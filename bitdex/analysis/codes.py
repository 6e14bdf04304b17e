"""Codes: which values each document has, by slot, as far as one data file tells; counting by them.

`kernels.codes` draws them. Few values of one a document have planes as well (`kernels.planes`): of a large
set words are joined there, and no document is looked at. A set may have slots that there are no codes for.
"""

import math
from typing import Any

import numpy as np
from pyroaring import BitMap

from bitdex.analysis.along import ByCode
from bitdex.analysis.members import Members
from bitdex.analysis.team import share
from bitdex.cached import cached
from bitdex.kernels import codes as kernels
from bitdex.kernels import planes
from bitdex.kernels.jit import THREADS

FEW = 255  # values whose codes take a byte
PER_MEMBER, PER_MATCH = 0.7, 2.0  # nanoseconds of a member of a bitmap, met with words or with members
LEAVES = 8  # bits of codes that are counted by planes
PER_DOCUMENT, PER_ENTRY, PER_HALF, PER_GROUP, PER_PAIR = 0.6, 1.0, 30, 8, 0.5  # nanoseconds

OfAll = tuple[BitMap, np.ndarray] | None  # all documents of a commit, and how many of them have each value


class Column:
    """Codes of a field with one value a document (u8 or u32, by slot), in the order of the values."""

    def __init__(self, values: np.ndarray, codes: np.ndarray):
        self.values, self.codes = values, codes
        self.of_all: OfAll = None
        self.few = codes.itemsize == 1
        self.levels = max(2, len(values).bit_length())  # bits of a code
        self.bits = max(self.levels, planes.LAST)  # of which there are planes

    @property
    def nbytes(self) -> int:
        """Bytes of the codes, their planes and their order, if every other slot is free."""
        more = self.codes.nbytes * self.bits // 8 + 2 * self.codes.nbytes if self.few else 0
        return self.codes.nbytes + more

    @cached
    def by_code(self) -> ByCode | None:
        """The slots by their code, of few values."""
        return ByCode(self.codes, len(self.values) + 1) if self.few else None

    def of_values(self, counts: np.ndarray) -> np.ndarray:
        """Return counts of codes, from 1 on, as those of the values."""
        return counts

    @cached
    def planes(self) -> np.ndarray:
        """The codes bit by bit."""
        chunks = -(-len(self.codes) // 65536)
        out = np.empty(chunks * self.bits * planes.WORDS, np.uint64)
        cost = 65536.0 * chunks * self.bits

        def fill(_: int, lo: int, hi: int) -> None:
            planes.fill_planes(self.codes, self.bits, lo, hi, out)

        share(chunks, cost, fill)
        return out

    def by_slot(self, of_values: np.ndarray) -> np.ndarray:
        """Return by slot what there is for each of the values; 0 where a document has none."""
        return np.concatenate((np.zeros(1, of_values.dtype), of_values))[self.codes]

    def worth(self, found: Members) -> bool:
        """Tell whether counting by codes is faster than by bitmaps."""
        return True

    def cost(self, found: Members) -> float:
        """Return nanoseconds that `count` takes."""
        planes = _planes(found, self.bits) if self.few else math.inf
        return min(planes, _documents(found, PER_DOCUMENT))

    def count(self, found: Members) -> np.ndarray:
        """Return how many documents of a set have each value (int64)."""
        if self.few and _planes(found, self.bits) < _documents(found, PER_DOCUMENT):
            return count_planes(found, self, None)[1 : len(self.values) + 1]
        size = len(self.values) + 1
        counts = np.zeros((THREADS, kernels.TABLES * size), np.int64)
        kernel: Any = getattr(kernels, f"count{8 * self.codes.itemsize}")

        def work(thread: int, slots: np.ndarray, lo: int, hi: int) -> None:
            kernel(slots, lo, hi, self.codes, counts[thread])

        found.each_slot(len(self.codes), PER_DOCUMENT, work)
        return counts.reshape(-1, size).sum(axis=0)[1:]

    def crossed(self, other: "Column") -> ByCode:
        """Return the slots by this code, then another, as code * (values of the other + 1) + code."""
        size, width = min(len(self.codes), len(other.codes)), len(other.values) + 1
        both: np.ndarray = np.empty(size, np.uint16)
        given = self.codes, other.codes, width
        share(size, PER_PAIR * size, lambda _, lo, hi: kernels.pair_codes(*given, lo, hi, both))
        return ByCode(both, (len(self.values) + 1) * width)

    def cross(self, other: "Column", found: Members, order: ByCode | None = None) -> np.ndarray:
        """Return how many documents of a set have each value and each of another field (int64).

        `order` is what `crossed` gives, if it is kept.
        """
        shape = len(self.values) + 1, len(other.values) + 1
        cost = min(_planes(found, self.levels + other.levels), _documents(found, 2 * PER_DOCUMENT))
        along = None if order is None else found.along(order.order, cost)
        if order is not None and along is not None:
            return np.append(0, along.between(order.cuts)).reshape(shape)[1:, 1:]
        if _planes(found, self.levels + other.levels) < _documents(found, 2 * PER_DOCUMENT):
            counts = count_planes(found, self, other).reshape(1 << self.levels, 1 << other.levels)
            return counts[1 : shape[0], 1 : shape[1]]
        tables = np.zeros((THREADS, kernels.TABLES * shape[0] * shape[1]), np.int64)

        def work(thread: int, slots: np.ndarray, lo: int, hi: int) -> None:
            kernels.count_crossed(slots, lo, hi, self.codes, other.codes, shape[1], tables[thread])

        found.each_slot(min(len(self.codes), len(other.codes)), 2 * PER_DOCUMENT, work)
        return tables.reshape(-1, *shape).sum(axis=0)[1:, 1:]

    def reduce(self, found: Members, values: np.ndarray, extremes: bool) -> np.ndarray:
        """Return how many documents of a set have each of many values, and what ``values[slot]`` come to.

        A row for each: the count, and of those (u32 or u64) the sums of their low and high halves,
        or the complement of the least and the greatest.
        """
        kernel: Any = getattr(kernels, f"{'extremes' if extremes else 'sum'}{8 * values.itemsize}")
        tables = np.zeros((THREADS, kernels.ROW * (len(self.values) + 1)), np.uint64)
        used = [False] * THREADS

        def work(thread: int, slots: np.ndarray, lo: int, hi: int) -> None:
            used[thread] = True
            kernel(slots, lo, hi, self.codes, values, tables[thread])

        found.each_slot(len(self.codes), PER_GROUP, work)
        total, *others = tables[np.flatnonzero(used)] if any(used) else tables[:1]
        for one in others:
            if extremes:
                counts = total[:: kernels.ROW] + one[:: kernels.ROW]
                np.maximum(total, one, out=total)
                total[:: kernels.ROW] = counts
            else:
                total += one
        return total.reshape(-1, kernels.ROW)[1:, :3]


class Lists:
    """Codes of a field with several values a document (u16 or u32, in lists by slot); they do not change.

    `numbers` are the codes of `values`, from 1 on.
    """

    def __init__(self, values: np.ndarray, codes: np.ndarray, starts: np.ndarray, numbers: np.ndarray):
        self.values, self.codes, self.starts, self._numbers = values, codes, starts, numbers
        self.of_all: OfAll = None

    @property
    def nbytes(self) -> int:
        """Bytes of the codes, of where the lists begin, and of their order."""
        return self.codes.nbytes + self.starts.nbytes + (4 * len(self.codes) if self._few else 0)

    @property
    def _few(self) -> bool:
        return len(self.values) <= FEW and self.codes.itemsize == 2

    @cached
    def by_code(self) -> ByCode | None:
        """The slots by each of their codes, of few values."""
        return ByCode(self.codes, len(self.values) + 1, self.starts) if self._few else None

    def of_values(self, counts: np.ndarray) -> np.ndarray:
        """Return counts of codes, from 1 on, as those of the values."""
        return counts[self._numbers - 1]

    def cost(self, found: Members) -> float:
        """Return nanoseconds that it takes to count a set list by list or, if that is faster, by bitmaps."""
        return min(_documents(found, self._cost), self._met(found))

    def _met(self, found: Members) -> float:
        """Return nanoseconds that it takes to meet the bitmaps of all values."""
        return (PER_MEMBER if found.is_words or found.is_dense else PER_MATCH) * len(self.codes)

    def worth(self, found: Members) -> bool:
        """Tell whether counting by codes is faster than by bitmaps: lists of a few values are often empty."""
        if len(self.values) > FEW or not found.most:
            return True
        return _documents(found, self._cost) < self._met(found)

    @property
    def _cost(self) -> float:
        """Nanoseconds for a document."""
        return PER_ENTRY * len(self.codes) / max(len(self.starts), 1) + 3

    def count(self, found: Members) -> np.ndarray:
        """Return how many documents of a set have each value (int64)."""
        counts = np.zeros((THREADS, len(self.values) + 1), np.int64)
        kernel = kernels.count_lists16 if self.codes.itemsize == 2 else kernels.count_lists32

        def work(thread: int, slots: np.ndarray, lo: int, hi: int) -> None:
            kernel(slots, lo, hi, self.starts, self.codes, counts[thread])

        found.each_slot(len(self.starts) - 1, self._cost, work)
        return counts.sum(axis=0)[self._numbers]


def _planes(found: Members, bits: int) -> float:
    """Return nanoseconds that it takes to count a set by planes of so many bits."""
    if not found.most or bits > LEAVES:
        return math.inf
    expanded = 0 if found.is_words or found.is_dense else PER_ENTRY * found.most
    return PER_HALF * found.chunks * (2 << bits) + expanded


def _documents(found: Members, cost: float) -> float:
    """Return nanoseconds that it takes to count a set by its documents, at some cost of one."""
    return cost * found.most + found.listing


def count_planes(found: Members, rows: Column, columns: Column | None) -> np.ndarray:
    """Return how many documents that there are codes for have each code, or each of two fields."""
    no_planes: np.ndarray = np.empty(0, np.uint64)
    given = [(rows.planes, rows.bits, rows.bits), (no_planes, 0, 0)]
    if columns is not None:
        given = [(one.planes, one.bits, one.levels) for one in (rows, columns)]
    levels = sum(one[2] for one in given)
    held = len(rows.codes) if columns is None else min(len(rows.codes), len(columns.codes))
    chunks = min(found.chunks, -(-held // 65536))
    words = found.flat(chunks)
    counts, masks = (
        np.zeros((THREADS, 1 << levels), np.int64),
        np.empty((THREADS, levels * planes.WORDS), np.uint64),
    )
    sizes = np.empty((THREADS, 2, levels), np.int64)

    def work(thread: int, lo: int, hi: int) -> None:
        planes.count_planes(
            words, lo, hi, *given[0], *given[1], masks[thread], *sizes[thread], counts[thread]
        )

    share(chunks, PER_HALF * chunks * (2 << levels), work)
    return counts.sum(axis=0)
