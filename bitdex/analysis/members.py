"""Members: one set of documents in the forms that kernels take, each made when it is first asked for.

::

    bitmap     a Roaring bitmap
    slots      ascending, u32
    words      1,024 (u64) for each chunk that has members (`kernels.members` draws them)
    flat       1,024 for each chunk from the first on (`kernels.words`)
    along      a bit for each position of an order (`analysis.along`)

A set begins as a bitmap, or as what sets in flat words have in common (`analysis.found`).
"""

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
from pyroaring import BitMap

from bitdex.analysis.along import PER_POSITION, Along, join
from bitdex.analysis.team import share
from bitdex.cached import cached
from bitdex.errors import InvalidError
from bitdex.kernels import members as kernels
from bitdex.kernels import words as flat_kernels
from bitdex.kernels.jit import THREADS
from bitdex.kernels.roaring import FAULTS

SHORT = 1 << 25  # bytes of payloads that one call of a kernel goes through
PER_STEP = 0.6  # nanoseconds of a step along an order
PER_LISTED = 5.0  # and of a word whose slots are listed
ASKED = 2  # how often a set is asked for along an order before it is kept so
DENSE = 4096  # members of a chunk from which on a set is words, in which one is looked up
LISTED = 1 << 17  # slots that are listed at a time

Parts = list[tuple["Members", bool]]
_Arranged = tuple[Any, int, Along | None]  # an order, how often the set was asked for along it, the set


class Members:
    """One set; it does not change.

    Parameters
    ----------
    found : BitMap, or a function that returns it
        The set; a function together with `parts`.
    parts : list of (Members, bool), optional
        Sets in words, of `chunks` chunks, that have the members in common; True: all but the members of it.
    chunks : int, optional
    is_kept : bool
        Whether the set is asked for again and again.
    """

    def __init__(
        self,
        found: BitMap | Callable[[], BitMap],
        parts: "Parts | None" = None,
        chunks: int = 0,
        is_kept: bool = False,
    ):
        self._find, self._parts, self.is_kept = found, parts, is_kept
        self._chunks = chunks
        self._arranged: dict[int, _Arranged] = {}

    def __len__(self) -> int:
        return self._size

    @cached
    def _size(self) -> int:
        return int(self._joined[1].sum()) if self.is_words else len(self.bitmap)

    @property
    def most(self) -> int:
        """How many members there are at most, without a look at them."""
        if not self.is_words or "_size" in self.__dict__:
            return len(self)
        return min(one.most for one, minus in self.parts if not minus)

    @property
    def parts(self) -> Parts:
        """The sets that have the members in common, itself if it is no such."""
        return [(self, False)] if self._parts is None else self._parts

    @cached
    def _joined(self) -> tuple[np.ndarray, np.ndarray]:
        """The words that the parts have in common, and how many members each chunk has."""
        (first, _), *others = self.parts
        words = first.flat(self._chunks)
        for one, minus in others:
            words, counts = join(words, one.flat(self._chunks), minus)
        return words, counts

    @cached
    def bitmap(self) -> BitMap:
        """The members as a bitmap, which is not to be changed."""
        return self._find() if callable(self._find) else self._find

    @property
    def is_words(self) -> bool:
        """Whether the set begins as words, and nobody wanted a bitmap."""
        return self._parts is not None and "bitmap" not in self.__dict__

    @cached
    def chunks(self) -> int:
        """How many chunks the members reach into."""
        if self._parts is None:
            return (self.bitmap.max() >> 16) + 1 if self._size else 0
        return self._chunks

    @property
    def is_dense(self) -> bool:
        """Whether a bitmap of the members is mostly words."""
        return self._size > DENSE * self.chunks

    @cached
    def _expanded(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The table, words and chunks with members."""
        if self._parts is not None:
            every = np.arange(self.chunks)
            return every, self._joined[0], every
        payload = np.frombuffer(self.bitmap.serialize(), np.uint8)
        table = np.empty(self.chunks, np.int64)
        words = np.empty(self.chunks * kernels.WORDS, np.uint64)
        chunks = checked(kernels.expand(payload, table, words))
        if chunks < self.chunks:
            words = words[: chunks * kernels.WORDS].copy()
        return table, words, np.flatnonzero(table >= 0)

    @property
    def words(self) -> np.ndarray:
        """The members, 1,024 words (u64) for each of `keys`; not to be changed."""
        return self._expanded[1]

    @property
    def keys(self) -> np.ndarray:
        """The chunks (int64), ascending."""
        return self._expanded[2]

    @property
    def nbytes(self) -> int:
        """Bytes of words and slots that are kept."""
        known = self.__dict__
        forms = [
            *known.get("_joined", ()),
            *known.get("_expanded", ()),
            known.get("_slots"),
            known.get("_ranks"),
        ]
        forms += [one[2] for one in list(self._arranged.values())]
        return sum(one.nbytes for one in {id(one): one for one in forms if one is not None}.values())

    @property
    def stays(self) -> bool:
        """Whether all parts are asked for again and again."""
        return all(one.is_kept for one, _ in self.parts)

    def along(self, order: np.ndarray, nanoseconds: float) -> Along | None:
        """Return the members along an order of slots (u32); None if their parts are not kept so.

        They are from the second time on that each is asked for, but not where another way takes no more than
        some nanoseconds.
        """
        parts = self.parts
        if PER_POSITION * len(parts) * len(order) > nanoseconds or not self.stays:
            return None
        first, *others = [one._along(order) for one, _ in parts]
        for one, (_, minus) in zip(others, parts[1:]):
            if first is None or one is None:
                return None
            first = first.joined(one, minus)
        return first

    def _along(self, order: np.ndarray) -> Along | None:
        """Return this set along an order, which is kept; None the first time."""
        of, asked, found = self._arranged.get(id(order), (None, 0, None))
        if of is None or of() is not order:
            asked, found = 0, None
        asked += 1
        if found is None and asked >= ASKED:
            found = Along.of(self.flat(0), order)
        self._arranged[id(order)] = weakref.ref(order), asked, found
        for key in [key for key, one in list(self._arranged.items()) if one[0]() is None]:
            self._arranged.pop(key, None)
        return found

    def flat(self, chunks: int) -> np.ndarray:
        """Return the words of chunks from the first on, also of those without members, as many or more."""
        table, words, keys = self._expanded
        if len(keys) == len(table) >= chunks:
            return words
        flat = np.zeros((max(chunks, len(table)), kernels.WORDS), np.uint64)
        flat[keys] = words.reshape(-1, kernels.WORDS)
        return flat.reshape(-1)

    @property
    def slots(self) -> np.ndarray:
        """The members (u32), ascending; those of small sets are kept."""
        kept = self.__dict__.get("_slots")
        if kept is None:
            kept = self._listed()
            if not self.is_dense:
                self._slots = kept
        return kept

    @property
    def listing(self) -> float:
        """Nanoseconds that it takes to list the slots word by word; 0 where that is not needed."""
        if not self.is_words or "_slots" in self.__dict__:
            return 0
        return PER_LISTED * kernels.WORDS * self.chunks

    def _listed(self) -> np.ndarray:
        if not self.is_words:
            return np.frombuffer(self.bitmap.to_array(), np.uint32)
        out = np.empty(self._size + flat_kernels.AT_ONCE, np.uint32)
        flat_kernels.list_slots(self.words, 0, self.chunks, out)
        return out[: self._size]

    def each_slot(
        self, stop: int, nanoseconds: float, work: Callable[[int, np.ndarray, int, int], None]
    ) -> None:
        """Call ``work(thread, slots, lo, hi)`` for all members below `stop`: pieces ``slots[lo:hi]`` (u32).

        Parameters
        ----------
        stop : int
        nanoseconds : float
            What one member costs; threads share what is long (`team.share`).
        work : callable
        """
        if not self.listing:
            slots = self.slots
            slots = slots[: np.searchsorted(slots, stop)]
            share(len(slots), nanoseconds * len(slots), lambda thread, lo, hi: work(thread, slots, lo, hi))
            return
        words, counts = self._joined
        room: list[np.ndarray | None] = [None] * THREADS

        def listed(thread: int, lo: int, hi: int) -> None:
            before = np.concatenate((np.zeros(1, np.int64), np.cumsum(counts[lo:hi])))
            while lo < hi:
                last = max(int(np.searchsorted(before, before[0] + LISTED, "right")) - 1, 1)
                size = int(before[last] - before[0])
                slots = room[thread]
                if slots is None or len(slots) < size + flat_kernels.AT_ONCE:
                    slots = room[thread] = np.empty(max(size, LISTED) + flat_kernels.AT_ONCE, np.uint32)
                flat_kernels.list_slots(words, lo, lo + last, slots)
                within = size if (lo + last) << 16 <= stop else int(np.searchsorted(slots[:size], stop))
                work(thread, slots, 0, within)
                lo, before = lo + last, before[last:]

        share(self.chunks, nanoseconds * self._size + self.listing, listed)

    @cached
    def _ranks(self) -> np.ndarray:
        counts = np.bitwise_count(self.words).astype(np.int64)
        return np.cumsum(counts) - counts

    def count(self, data: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
        """Return how many members each payload ``data[starts[i]:stops[i]]`` has (int64)."""
        counts = np.empty(len(starts), np.int64)
        for lo, hi in stretches(stops - starts):
            kernels.count_members(data, starts, stops, lo, hi, THREADS, *self._expanded[:2], counts)
        return checked_all(counts)

    def list(self, data: np.ndarray, starts: np.ndarray, stops: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Return the ranks among the members of those that each payload has (u32), payload by payload."""
        places = np.cumsum(counts) - counts
        out = np.empty(int(counts.sum()), np.uint32)
        shared = *self._expanded[:2], self._ranks
        for lo, hi in stretches(stops - starts):
            kernels.list_members(data, starts, stops, lo, hi, THREADS, *shared, places, out)
        return out

    def total(self, values: np.ndarray) -> tuple[int, int, int, int]:
        """Return count, sum, least and greatest of ``values[slot]`` (u32 or u64); all have one."""
        out = np.empty(5 * THREADS, np.uint64)
        kernel = kernels.total32 if values.itemsize == 4 else kernels.total64
        kernel(self.words, self.keys, values, THREADS, out)
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
        words = self.flat(int(slots[-1] >> 16) + 1 if len(slots) else 0)
        counts = np.zeros((THREADS, len(sizes)), np.int64)

        def work(thread: int, lo: int, hi: int) -> None:
            for first, stop in ((lo, min(hi, begin)), (max(lo, begin) + gap, hi + gap)):
                if first < stop:
                    kernels.count_stretches(order, cuts, first, stop, words, counts[thread])

        share(len(order) - gap, PER_STEP * (len(order) - gap), work)
        told = counts.sum(axis=0)
        told[longest] = len(self) - told.sum()
        return told

    def nth(self, order: np.ndarray, start: int, stop: int, n: int) -> int:
        """Return the position in ``order[start:stop]`` of the member that has n others before it there."""
        return kernels.nth_member(order, start, stop, 1, n, *self._expanded[:2])

    def ends(self, order: np.ndarray) -> tuple[int, int]:
        """Return the positions of the first and the last member in an order that has one."""
        last = len(order) - 1
        up, down = (0, last + 1, 1), (last, -1, -1)
        first, last = (kernels.nth_member(order, *way, 0, *self._expanded[:2]) for way in (up, down))
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
