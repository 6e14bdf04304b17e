"""Members: a set of documents expanded to words, in which kernels look slots up."""

import functools

import numpy as np
from pyroaring import BitMap

from bitdex.analysis.team import share
from bitdex.errors import InvalidError
from bitdex.kernels import members as kernels
from bitdex.kernels.jit import THREADS
from bitdex.kernels.roaring import FAULTS

SHORT = 1 << 25  # bytes of payloads that one call of a kernel goes through
PER_STEP = 0.6  # nanoseconds of a step along an order


class Members:
    """One set, expanded (`kernels.members` draws it); it does not change."""

    def __init__(self, found: BitMap):
        payload = np.frombuffer(found.serialize(), np.uint8)
        self.found = found
        self._table = np.empty((found.max() >> 16) + 1 if found else 0, np.int64)
        self._words = np.empty(len(self._table) * kernels.WORDS, np.uint64)
        chunks = checked(kernels.expand(payload, self._table, self._words))
        self._words = self._words[: chunks * kernels.WORDS].copy()
        self._keys = np.flatnonzero(self._table >= 0)

    @property
    def words(self) -> np.ndarray:
        """The members, 1,024 words (u64) a chunk; not to be changed."""
        return self._words

    @property
    def keys(self) -> np.ndarray:
        """The chunks (int64), ascending."""
        return self._keys

    @functools.cached_property
    def _ranks(self) -> np.ndarray:
        counts = np.bitwise_count(self._words).astype(np.int64)
        return np.cumsum(counts) - counts

    def count(self, data: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
        """Return how many members each payload ``data[starts[i]:stops[i]]`` has (int64)."""
        counts = np.empty(len(starts), np.int64)
        for lo, hi in stretches(stops - starts):
            kernels.count_members(data, starts, stops, lo, hi, THREADS, self._table, self._words, counts)
        return checked_all(counts)

    def list(self, data: np.ndarray, starts: np.ndarray, stops: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Return the ranks among the members of those that each payload has (u32), payload by payload."""
        places = np.cumsum(counts) - counts
        out = np.empty(int(counts.sum()), np.uint32)
        shared = self._table, self._words, self._ranks
        for lo, hi in stretches(stops - starts):
            kernels.list_members(data, starts, stops, lo, hi, THREADS, *shared, places, out)
        return out

    def total(self, values: np.ndarray) -> tuple[int, int, int, int]:
        """Return count, sum, least and greatest of ``values[slot]`` (u32 or u64); all have one."""
        out = np.empty(5 * THREADS, np.uint64)
        kernel = kernels.total32 if values.itemsize == 4 else kernels.total64
        kernel(self._words, self._keys, values, THREADS, out)
        counts, low, high, least, greatest = (out[i::5].tolist() for i in range(5))
        return sum(counts), sum(low) + (sum(high) << 32), min(least), max(greatest)

    def in_stretches(self, order: np.ndarray, cuts: np.ndarray, slots: np.ndarray) -> np.ndarray:
        """Return how many members lie in the stretches of an order between ascending cuts (int64).

        The order is one of `slots`, which ascend and lie near each other. The first cut is 0, the last one
        the length of the order; the longest stretch is not walked.
        """
        sizes = np.diff(cuts)
        longest = int(np.argmax(sizes))
        begin, gap = int(cuts[longest]), int(sizes[longest])
        words = self._flat(int(slots[-1] >> 16) + 1 if len(slots) else 0)
        counts = np.zeros((THREADS, len(sizes)), np.int64)

        def work(thread: int, lo: int, hi: int) -> None:
            for first, stop in ((lo, min(hi, begin)), (max(lo, begin) + gap, hi + gap)):
                if first < stop:
                    kernels.count_stretches(order, cuts, first, stop, words, counts[thread])

        share(len(order) - gap, PER_STEP * (len(order) - gap), work)
        told = counts.sum(axis=0)
        told[longest] = len(self.found) - told.sum()
        return told

    def _flat(self, chunks: int) -> np.ndarray:
        """Return the words of all chunks, also of those that have no members."""
        if len(self._keys) == chunks == len(self._table):
            return self._words
        flat = np.zeros((max(chunks, len(self._table)), kernels.WORDS), np.uint64)
        flat[self._keys] = self._words.reshape(-1, kernels.WORDS)
        return flat.reshape(-1)

    def nth(self, order: np.ndarray, start: int, stop: int, n: int) -> int:
        """Return the position in ``order[start:stop]`` of the member that has n others before it there."""
        return kernels.nth_member(order, start, stop, 1, n, self._table, self._words)

    def ends(self, order: np.ndarray) -> tuple[int, int]:
        """Return the positions of the first and the last member in an order that has one."""
        last = len(order) - 1
        up, down = (0, last + 1, 1), (last, -1, -1)
        first, last = (kernels.nth_member(order, *way, 0, self._table, self._words) for way in (up, down))
        return first, last


def checked(count: int) -> int:
    """Return what a kernel has counted, or raise what it says of a damaged payload."""
    if count < 0:
        raise InvalidError(f"a set is not a Roaring bitmap: {FAULTS[count]}")
    return count


def checked_all(counts: np.ndarray) -> np.ndarray:
    """Return counts of a kernel, none of which is a fault."""
    checked(int(counts.min(initial=0)))
    return counts


def stretches(sizes: np.ndarray) -> list[tuple[int, int]]:
    """Return ranges of payloads that are about `SHORT` bytes together: Ctrl-C is answered between them."""
    if not len(sizes):
        return []
    blocks = np.cumsum(sizes) // SHORT
    cuts = np.flatnonzero(blocks[1:] != blocks[:-1]) + 1
    return list(zip([0, *cuts.tolist()], [*cuts.tolist(), len(sizes)]))
