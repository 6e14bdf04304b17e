"""Codes: which values each document has, by slot, as far as one data file tells; counting by them.

`kernels.codes` draws them. Few values of one a document have planes as well (`kernels.planes`): of a large
set words are joined there, and no document is looked at. A set may have slots that there are no codes for.
"""

import functools
from typing import Any

import numpy as np
from pyroaring import BitMap

from bitdex.analysis.members import checked
from bitdex.analysis.team import share
from bitdex.kernels import codes as kernels
from bitdex.kernels import planes
from bitdex.kernels.jit import THREADS

FEW = 255  # values whose codes take a byte
DENSE = 4096  # members of a chunk from which on a set is words, in which one is looked up
PER_MEMBER, PER_MATCH = 0.7, 2.0  # nanoseconds of a member of a bitmap, met with words or with members
LEAVES = 8  # bits of codes that are counted by planes
PER_DOCUMENT, PER_ENTRY, PER_HALF, PER_GROUP = 0.8, 1.0, 35, 8  # nanoseconds


class Column:
    """Codes of a field with one value a document (u8 or u32, by slot), in the order of the values."""

    def __init__(self, values: np.ndarray, codes: np.ndarray):
        self.values, self.codes = values, codes
        self.few = codes.itemsize == 1
        self.bits = max(2, len(values).bit_length())  # of a code

    @property
    def nbytes(self) -> int:
        """Bytes of the codes and their planes."""
        return self.codes.nbytes + (self.codes.nbytes * self.bits // 8 if self.few else 0)

    @functools.cached_property
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

    def worth(self, found: BitMap) -> bool:
        """Tell whether counting by codes is faster than by bitmaps."""
        return True

    def slots_in(self, found: BitMap) -> np.ndarray:
        """Return the slots (u32) of a set that there are codes for."""
        slots = slots_of(found)
        return slots[: np.searchsorted(slots, len(self.codes))]

    def count(self, found: BitMap) -> np.ndarray:
        """Return how many documents of a set have each value (int64)."""
        if self.few and _by_planes(found, self.bits, PER_DOCUMENT):
            return count_planes(found, self, None)[1 : len(self.values) + 1]
        slots, size = self.slots_in(found), len(self.values) + 1
        counts = np.zeros((THREADS, kernels.TABLES * size), np.int64)
        kernel = kernels.count8 if self.few else kernels.count32
        share(
            len(slots),
            PER_DOCUMENT * len(slots),
            lambda thread, lo, hi: kernel(slots, lo, hi, self.codes, counts[thread]),
        )
        return counts.reshape(-1, size).sum(axis=0)[1:]

    def cross(self, other: "Column", found: BitMap) -> np.ndarray:
        """Return how many documents of a set have each value and each of another field (int64)."""
        shape = len(self.values) + 1, len(other.values) + 1
        if _by_planes(found, self.bits + other.bits, 2 * PER_DOCUMENT):
            counts = count_planes(found, self, other).reshape(1 << self.bits, 1 << other.bits)
            return counts[1 : shape[0], 1 : shape[1]]
        slots = self.slots_in(found)
        slots = slots[: np.searchsorted(slots, len(other.codes))]
        tables = np.zeros((THREADS, kernels.TABLES * shape[0] * shape[1]), np.int64)
        share(
            len(slots),
            PER_DOCUMENT * len(slots),
            lambda thread, lo, hi: kernels.count_crossed(
                slots, lo, hi, self.codes, other.codes, shape[1], tables[thread]
            ),
        )
        return tables.reshape(-1, *shape).sum(axis=0)[1:, 1:]

    def reduce(self, slots: np.ndarray, values: np.ndarray, extremes: bool) -> np.ndarray:
        """Return how many of some slots have each of many values, and what ``values[slot]`` come to.

        A row for each: the count, and of those (u32 or u64) the sums of their low and high halves,
        or the complement of the least and the greatest. The slots are among `slots_in`.
        """
        kernel: Any = getattr(kernels, f"{'extremes' if extremes else 'sum'}{8 * values.itemsize}")
        tables = np.zeros((THREADS, kernels.ROW * (len(self.values) + 1)), np.uint64)
        used = [False] * THREADS

        def work(thread: int, lo: int, hi: int) -> None:
            used[thread] = True
            kernel(slots, lo, hi, self.codes, values, tables[thread])

        share(len(slots), PER_GROUP * len(slots), work)
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

    @property
    def nbytes(self) -> int:
        """Bytes of the codes, and of where the lists begin."""
        return self.codes.nbytes + self.starts.nbytes

    def worth(self, found: BitMap) -> bool:
        """Tell whether counting by codes is faster than by bitmaps: lists of a few values are often empty."""
        if len(self.values) > FEW or not found:
            return True
        dense = len(found) > DENSE * ((found.max() >> 16) + 1)
        return self._cost * len(found) < (PER_MEMBER if dense else PER_MATCH) * len(self.codes)

    @property
    def _cost(self) -> float:
        """Nanoseconds for a document."""
        return PER_ENTRY * len(self.codes) / max(len(self.starts), 1) + 3

    def count(self, found: BitMap) -> np.ndarray:
        """Return how many documents of a set have each value (int64)."""
        slots = slots_of(found)
        slots = slots[: np.searchsorted(slots, len(self.starts) - 1)]
        counts = np.zeros((THREADS, len(self.values) + 1), np.int64)
        kernel = kernels.count_lists16 if self.codes.itemsize == 2 else kernels.count_lists32
        share(
            len(slots),
            self._cost * len(slots),
            lambda thread, lo, hi: kernel(slots, lo, hi, self.starts, self.codes, counts[thread]),
        )
        return counts.sum(axis=0)[self._numbers]


def slots_of(found: BitMap) -> np.ndarray:
    """Return the slots of a set, ascending (u32)."""
    return np.frombuffer(found.to_array(), np.uint32)


def _by_planes(found: BitMap, bits: int, cost: float) -> bool:
    """Tell whether a set is so large that planes of so many bits are faster than documents at some cost."""
    if not found or bits > LEAVES:
        return False
    chunks = (found.max() >> 16) + 1
    expanded = 0 if len(found) > DENSE * chunks else PER_ENTRY * len(found)
    return PER_HALF * chunks * (2 << bits) + expanded < cost * len(found)


def count_planes(found: BitMap, rows: Column, columns: Column | None) -> np.ndarray:
    """Return how many documents of a set have each code, or each code of two fields."""
    payload = np.frombuffer(found.serialize(), np.uint8)
    no_planes: np.ndarray = np.empty(0, np.uint64)
    others, other_bits = (no_planes, 0) if columns is None else (columns.planes, columns.bits)
    bits = rows.bits + other_bits
    chunks = (found.max() >> 16) + 1
    counts = np.zeros((THREADS, 1 << bits), np.int64)
    masks, sizes = np.empty((THREADS, bits * planes.WORDS), np.uint64), np.empty((THREADS, 2, bits), np.int64)
    faults = [0] * THREADS

    def work(thread: int, lo: int, hi: int) -> None:
        room = masks[thread], *sizes[thread], counts[thread]
        given = rows.planes, rows.bits, others, other_bits
        faults[thread] = min(faults[thread], planes.count_planes(payload, lo, hi, *given, *room))

    share(chunks, PER_HALF * chunks * (2 << bits), work)
    checked(min(faults))
    return counts.sum(axis=0)
