"""Along: a set as bits along an order of the slots, those with one value side by side.

How many members have each value, or lie in each bin, is then how many bits are set between two cuts, and the
n-th of them is a quantile. Sets along the same order are joined as all words are. An order is that of a sort
field, or of the codes of a field, or of two: a projection, as column stores have them (Stonebraker et al.,
C-Store, 2005), but of sets only.
"""

import numpy as np

from bitdex.analysis.team import share
from bitdex.cached import cached
from bitdex.kernels import codes as code_kernels
from bitdex.kernels import words as kernels
from bitdex.kernels.jit import THREADS

PER_POSITION = 0.008  # nanoseconds, of words that are counted or joined
PER_ARRANGED = 0.6  # and of a position that is looked up
PER_CHUNK = 700  # and of a chunk of words that is joined to another
BLOCK = 1 << 24  # slots that are put in order in one call, some ten milliseconds
ALL, NONE = np.uint64(0xFFFFFFFFFFFFFFFF), np.uint64(0)


class Along:
    """The members along one order, in whole chunks of words: one set, or two that are not joined yet."""

    def __init__(self, one: np.ndarray, other: np.ndarray | None = None, minus: bool = False):
        self._one, self._other, self._minus = one, other, minus

    @classmethod
    def of(cls, words: np.ndarray, order: np.ndarray) -> "Along":
        """Return a set (words by slot) along an order (u32)."""
        size = -(-len(order) // 64)
        out = np.zeros(-(-size // kernels.WORDS) * kernels.WORDS, np.uint64)
        cost = 64 * PER_ARRANGED * size
        share(size, cost, lambda _, lo, hi: kernels.arrange(words, order, lo, hi, out))
        return cls(out)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._one) else 0

    @cached
    def _whole(self) -> tuple[np.ndarray, np.ndarray]:
        """The words, and how many bits of each chunk are set."""
        if self._other is None:
            counts = np.bitwise_count(self._one.reshape(-1, kernels.WORDS)).sum(axis=1, dtype=np.int64)
            return self._one, counts
        return join(self._one, self._other, self._minus)

    @cached
    def _ends(self) -> np.ndarray:
        """How many members lie before the end of each chunk."""
        return np.cumsum(self._whole[1])

    @property
    def nbytes(self) -> int:
        """Bytes of one set."""
        return self._one.nbytes

    def joined(self, other: "Along", minus: bool) -> "Along":
        """Return what two sets share, or what the first has alone."""
        return Along(self._whole[0] if self._other is not None else self._one, other._one, minus)

    def between(self, cuts: np.ndarray) -> np.ndarray:
        """Return how many members lie between ascending cuts, the first of them 0 (int64)."""
        counts, size = np.zeros((THREADS, len(cuts) - 1), np.int64), -(-int(cuts[-1]) // 64)
        given = self._one, self._one, NONE
        if self._other is not None:
            given = self._one, self._other, ALL if self._minus else NONE

        def work(thread: int, lo: int, hi: int) -> None:
            kernels.count_between(*given, cuts, lo, hi, counts[thread])

        share(size, 64 * PER_POSITION * size, work)
        return counts.sum(axis=0)

    def nth(self, n: int) -> int:
        """Return the position of the member that n others come before."""
        words, counts = self._whole
        chunk = int(np.searchsorted(self._ends, n, "right"))
        first = chunk * kernels.WORDS
        rest = n - int(self._ends[chunk] - counts[chunk])
        return 64 * first + kernels.nth_bit(words[first : first + kernels.WORDS], rest)


class ByCode:
    """The slots by their code, those without one left out; in lists a slot comes once for each of its codes.

    Attributes
    ----------
    order : ndarray of uint32
    cuts : ndarray of int64
        Where each code begins, from code 1 on, and the end.
    """

    def __init__(self, codes: np.ndarray, size: int, starts: np.ndarray | None = None):
        counts = np.zeros((THREADS, size), np.int64)
        tally, put = (getattr(code_kernels, f"{name}{8 * codes.itemsize}") for name in ("tally", "order"))
        share(len(codes), 1.0 * len(codes), lambda thread, lo, hi: tally(codes, lo, hi, counts[thread]))
        self.cuts = np.concatenate((np.zeros(1, np.int64), np.cumsum(counts.sum(axis=0)[1:])))
        self.order = np.empty(self.cuts[-1], np.uint32)
        places = np.concatenate((np.zeros(1, np.int64), self.cuts[:-1]))
        slots = len(codes) if starts is None else len(starts) - 1
        for lo in range(0, slots, BLOCK):
            hi = min(lo + BLOCK, slots)
            if starts is None:
                put(codes, lo, hi, places, self.order)
            else:
                code_kernels.order_lists(starts, codes, lo, hi, places, self.order)

    @property
    def nbytes(self) -> int:
        """Bytes of the order."""
        return self.order.nbytes


def join(one: np.ndarray, other: np.ndarray, minus: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the words that two sets share, or what the first has alone, and what each chunk has of them."""
    chunks = len(one) // kernels.WORDS
    words, counts = np.empty(len(one), np.uint64), np.empty(chunks, np.int64)
    flip = ALL if minus else NONE

    def work(_: int, lo: int, hi: int) -> None:
        kernels.join(one, other, flip, lo, hi, words, counts)

    share(chunks, PER_CHUNK * chunks, work)
    return words, counts
