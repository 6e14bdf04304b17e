"""SortColumn: one sort field in memory, derived from its layers; top rows, ranges and values.

Three views of the same pairs:

    slots, values   ascending by slot; a slot's position costs a few instructions
    order           the slots by (value, slot)
    bounds          nested bitmaps: bounds[j] = the slots from position edges[j] of the order on
    strips          the order cut in pieces an eighth of what lies between two bounds

`top` walks the order from the cursor and takes what the candidates hold. Where it meets too
few of them, because they are few or lie at the other end, it gathers: all candidates' values,
keeping the best; before that, many candidates are cut with the bounds to the stretch of the
order that holds the answer. Every way gives the same, exact rows. A range is made of bounds and strips, or
of one before that lay nearly there.

A column does not change. Any number of threads may use one.
"""

import functools
from bisect import bisect_left, bisect_right
from itertools import pairwise

import numpy as np
from pyroaring import BitMap

from bitdex.cached import cached
from bitdex.errors import InvalidError
from bitdex.kernels import order as kernels
from bitdex.kernels.pairs import sort_pairs
from bitdex.kernels.roaring import FAULTS, encode_runs
from bitdex.query.ranges import Ranges, distance

BANDS, STRIPS, NARROW = 64, 512, 8
SAMPLED = 64  # positions of the order between two whose values are kept
WALK_COST, GATHER_COST = 6, 3  # nanoseconds per position and per candidate
SLOT_LIMIT = 1 << 32
SPREAD = 4

_ALL, _LOW = np.uint64(0xFFFFFFFFFFFFFFFF), np.uint64(0xFFFFFFFF)
_Cursor = tuple[int, int]
_Bands = tuple[int, int, int, int]


def bitmap_of(slots: np.ndarray) -> BitMap:
    """Return the bitmap of ascending, distinct slots (u32)."""
    payload, _ = encode_runs(slots, np.array([0, len(slots)]))
    return BitMap.deserialize(payload.data)  # type: ignore[arg-type]  # any buffer will do


def close(last: int, count: int) -> bool:
    """Whether so many slots, up to `last`, are close enough for arrays by slot to be worth their space."""
    return last < SPREAD * count


def among(slots: np.ndarray, members: BitMap) -> np.ndarray:
    """Return which of ascending, distinct slots (u32) are in a bitmap, however large that is: bool."""
    inside = np.zeros(len(slots), bool)
    found = np.frombuffer((bitmap_of(slots) & members).to_array(), np.uint32)
    inside[np.searchsorted(slots, found)] = True
    return inside


class SortColumn:
    """The values of one sort field, by slot and in order.

    Parameters
    ----------
    slots : ndarray of uint32, shape (n,)
        The slots that have a value, ascending and distinct.
    values : ndarray of uint64, shape (n,)
        Their values in order-preserving unsigned form.

    Examples
    --------
    >>> column = SortColumn(np.array([2, 5, 9], "u4"), np.array([70, 10, 70], "u8"))
    >>> slots, values = column.top(BitMap([2, 5, 9]), limit=2, descending=True)
    >>> slots.tolist(), values.tolist()
    ([9, 2], [70, 70])
    >>> column.range(11, None)
    BitMap([2, 9])
    """

    def __init__(self, slots: np.ndarray, values: np.ndarray):
        if len(slots) != len(values) or not np.all(slots[1:] > slots[:-1]):
            raise InvalidError("a sort column takes ascending, distinct slots and one value for each")
        narrow = not len(values) or values.max() < SLOT_LIMIT
        self.slots = np.ascontiguousarray(slots, np.uint32)
        self.values = np.ascontiguousarray(values, np.uint32 if narrow else np.uint64)
        self._look_up = kernels.look_up32 if narrow else kernels.look_up64
        self._rank = kernels.rank32 if narrow else kernels.rank64
        self._gather = kernels.gather32 if narrow else kernels.gather64
        self._ranges = Ranges()
        self._table = (*_chunk_table(self.slots), self.values)

    def __len__(self) -> int:
        return len(self.slots)

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return self.values.nbytes

    @cached
    def order(self) -> np.ndarray:
        """The slots (u32) sorted by value, then slot."""
        return sort_pairs(self.values, self.slots)[1]

    @property
    def ordered(self) -> bool:
        """Whether the order is made already."""
        return "order" in self.__dict__

    @cached
    def present(self) -> BitMap:
        """The slots that have a value."""
        return bitmap_of(self.slots)

    @cached
    def dense(self) -> np.ndarray | None:
        """The values by slot, 0 where there is none, for whole words; None where slots lie far apart."""
        last = int(self.slots[-1]) if len(self) else 0
        if not close(last, len(self)):
            return None
        dense = np.zeros((last | 63) + 1, self.values.dtype)
        dense[self.slots] = self.values
        return dense

    @cached
    def _samples(self) -> np.ndarray:
        """The values at each `SAMPLED`-th position of the order (u64)."""
        return self.values_of(self.order[::SAMPLED])[0]

    def places(self, words: np.ndarray) -> np.ndarray:
        """Return how many values are less than each of some words (u64): positions in the order."""
        high = np.searchsorted(self._samples, words) * SAMPLED  # behind the last sample below, or 0
        low, high = np.maximum(high - SAMPLED, 0), np.minimum(high, len(self))
        while (low < high).any():
            middle = (low + high) // 2
            found = self.values_of(self.order[np.minimum(middle, len(self) - 1)])[0]
            below = (found < words) & (low < high)
            low, high = np.where(below, middle + 1, low), np.where(below, high, np.minimum(middle, high))
        return low

    def values_of(self, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the values (u64, 0 where there is none) of slots (u32), and whether each has one."""
        values, present = np.empty(len(slots), np.uint64), np.empty(len(slots), np.bool_)
        self._look_up(
            np.ascontiguousarray(slots, np.uint32), *self._table, np.empty(65536, np.int64), values, present
        )
        return values, present

    def top(
        self, candidates: BitMap, limit: int, descending: bool, after: _Cursor | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the first candidates by (value, slot), both in the direction.

        Parameters
        ----------
        candidates : BitMap
            Slots to choose from; those without a value are passed over.
        limit : int
            At most so many rows.
        descending : bool
            Greatest value first, and greatest slot first among equals.
        after : tuple of (value, slot), optional
            Return only rows that come strictly after this one, which need not exist.

        Returns
        -------
        slots : ndarray of uint32
        values : ndarray of uint64
        """
        total, (first, stop) = len(candidates), self._remaining(descending, after)
        if limit <= 0 or total == 0 or first == stop:
            return np.empty(0, np.uint32), np.empty(0, np.uint64)
        payload = np.frombuffer(candidates.serialize(), np.uint8)
        steps = 4 * (limit * len(self) // total) + 256
        if steps * WALK_COST < total * GATHER_COST:
            found = self._walk(payload, first, stop, descending, limit, steps)
            if found is not None:
                return found, self.values_of(found)[0]
            if total > 2 * len(self) // BANDS:
                bands = self._bands(candidates, limit, descending, first, stop)
                found = self._walk_bands(payload, bands, first, stop, descending, limit)
                if found is not None:
                    return found, self.values_of(found)[0]
                payload = self._window(candidates, bands)
        return self._best(payload, min(limit, total), descending, after)

    def range(self, low: int | None = None, high: int | None = None) -> BitMap:
        """Return the slots whose value lies between two bounds, both inclusive; None is open.

        The set is kept, and not to be changed.
        """
        first, stop = self._positions(low, high)
        near = self._ranges.nearest(first, stop)
        if near is not None:
            begin, end, known = near
            if (begin, end) == (first, stop):
                return known
            width = (stop - first) // NARROW
            if width <= len(self) // NARROW**2 and distance(near, first, stop) < width:
                moved = known.copy()
                self._move_edge(moved, begin, first)
                self._move_edge(moved, stop, end)
                return self._ranges.keep(first, stop, moved)
        return self._ranges.keep(first, stop, self._between(first, stop))

    def settle(self, low: int, high: int) -> tuple[int, int] | None:
        """Return the least and the greatest value that occur between two bounds, or None."""
        first, stop = self._positions(low, high)
        if first == stop:
            return None
        least, greatest = self.values_of(self.order[[first, stop - 1]])[0].tolist()
        return least, greatest

    def _between(self, first: int, stop: int) -> BitMap:
        """Return the slots between two positions of the order."""
        width, band = stop - first, len(self) // BANDS
        if width <= band:
            return self._stretch(first, stop)
        if width <= 4 * band:
            return BitMap.union(*self._pieces(first, stop))
        lower, upper = self._nearest_edge(first), self._nearest_edge(stop)
        found = self.bounds[lower] - self.bounds[upper]
        self._move_edge(found, self.edges[lower], first)
        self._move_edge(found, stop, self.edges[upper])
        return found

    def count_range(self, low: int | None = None, high: int | None = None) -> int:
        """Return how many slots `range` would return."""
        first, stop = self._positions(low, high)
        return stop - first

    @cached
    def cuts(self) -> list[int]:
        """The positions in the order at which the strips begin, and its end."""
        return [strip * len(self) // STRIPS for strip in range(STRIPS + 1)]

    @cached
    def edges(self) -> list[int]:
        """The positions in the order at which the bounds begin."""
        return self.cuts[:: STRIPS // BANDS]

    @cached
    def strips(self) -> list[BitMap]:
        """The order in pieces: `strips[j]` holds the slots between `cuts[j]` and the next."""
        return [self._stretch(first, stop) for first, stop in pairwise(self.cuts)]

    @cached
    def bounds(self) -> list[BitMap]:
        """Nested bitmaps: `bounds[j]` holds the slots from position `edges[j]` of the order on."""
        bounds, width = [BitMap()], STRIPS // BANDS
        for first in range(STRIPS - width, -1, -width):
            bounds.append(BitMap.union(bounds[-1], *self.strips[first : first + width]))
        return bounds[::-1]

    def _before(self, value: int, slot: int) -> int:
        return self._rank(self.order, *self._table, np.uint64(value), slot, np.empty(1, np.int64))

    def _positions(self, low: int | None, high: int | None) -> tuple[int, int]:
        first = 0 if low is None else self._before(low, 0)
        stop = len(self) if high is None else self._before(high, SLOT_LIMIT)
        return first, max(first, stop)

    def _remaining(self, descending: bool, after: _Cursor | None) -> tuple[int, int]:
        if after is None:
            return 0, len(self)
        if descending:
            return 0, self._before(*after)
        return self._before(after[0], after[1] + 1), len(self)

    def _nearest_edge(self, position: int) -> int:
        return (2 * position * BANDS + len(self)) // (2 * len(self))

    def _stretch(self, first: int, stop: int) -> BitMap:
        return bitmap_of(np.sort(self.order[first:stop])) if first < stop else BitMap()

    def _pieces(self, first: int, stop: int) -> list[BitMap]:
        """Return bitmaps that make up a stretch of the order: strips, and what is left at the ends."""
        begin, end = bisect_left(self.cuts, first), bisect_right(self.cuts, stop) - 1
        if begin >= end:
            return [self._stretch(first, stop)]
        ends = (first, self.cuts[begin]), (self.cuts[end], stop)
        return [*self.strips[begin:end], *(self._stretch(*part) for part in ends if part[0] < part[1])]

    def _move_edge(self, found: BitMap, edge: int, position: int) -> None:
        """Make a set that begins at `edge` of the order begin at `position`; or end, given in turn."""
        if edge < position:
            for piece in self._pieces(edge, position):
                found -= piece
        elif position < edge:
            for piece in self._pieces(position, edge):
                found |= piece

    def _walk(
        self, payload: np.ndarray, first: int, stop: int, descending: bool, limit: int, steps: int
    ) -> np.ndarray | None:
        """Take candidates from the order; None if `steps` positions did not hold enough of them."""
        at, step = (stop - 1, -1) if descending else (first, 1)
        steps = min(steps, stop - first)
        table = np.empty(3 * (len(self._table[0]) - 1), np.int64)
        found = np.empty(min(limit, steps), np.uint32)
        count = _checked(kernels.walk(payload, self.order, at, step, steps, table, found))
        return found[:count] if count == limit or steps == stop - first else None

    def _bands(self, candidates: BitMap, limit: int, descending: bool, first: int, stop: int) -> _Bands:
        """Return (low, high, begin, end): bands low..high and begin..end hold the next `limit` candidates.

        begin..end is the band that the cursor cuts, none without a cursor; between the two there
        are only bands without a candidate. Descending from `stop`:

            low ........... high          begin      end
             | enough rows   |  - - - - -   |---stop--|
        """

        @functools.cache
        def held(band: int) -> int:
            return candidates.intersection_cardinality(self.bounds[band])

        if descending:
            begin, end = bisect_right(self.edges, stop) - 1, bisect_left(self.edges, stop)
            enough, every = held(begin) + limit, range(begin + 1)
            low = max(bisect_left(every, True, key=lambda band: held(band) < enough) - 1, 0)
            high = bisect_left(every, True, lo=low, key=lambda band: held(band) == held(begin))
        else:
            begin, end = bisect_right(self.edges, first) - 1, bisect_left(self.edges, first)
            enough, every = held(end) - limit, range(BANDS)
            high = bisect_left(every, True, lo=end, key=lambda band: held(band) <= enough)
            low = bisect_left(every, True, lo=end, key=lambda band: held(band) < held(end)) - 1
        return max(low, 0 if descending else end), high, begin, end

    def _walk_bands(
        self, payload: np.ndarray, bands: _Bands, first: int, stop: int, descending: bool, limit: int
    ) -> np.ndarray | None:
        low, high, begin, end = (self.edges[band] for band in bands)
        begin, end = max(begin, first), min(end, stop)
        cut = self._walk(payload, begin, end, descending, limit, end - begin)
        if cut is None or len(cut) == limit:
            return cut
        steps = len(self) // BANDS + 256
        rest = self._walk(payload, low, high, descending, limit - len(cut), steps)
        return None if rest is None else np.concatenate([cut, rest])

    def _window(self, candidates: BitMap, bands: _Bands) -> np.ndarray:
        """Return the payload of the candidates in the bands."""
        low, high, begin, end = (self.bounds[band] for band in bands)
        return np.frombuffer((candidates & ((low - high) | (begin - end))).serialize(), np.uint8)

    def _best(
        self, payload: np.ndarray, limit: int, descending: bool, after: _Cursor | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Look at every candidate and keep the best; order them."""
        flip = _ALL if descending else np.uint64(0)
        value, slot = after or (0, 0)
        cursor = after is not None, np.uint64(value) ^ flip, np.uint32(slot ^ int(flip) & 0xFFFFFFFF)
        values, slots = np.empty(2 * limit + 256, np.uint64), np.empty(2 * limit + 256, np.uint32)
        room = np.empty(65536, np.uint32), np.empty(65536, np.int64)
        count = _checked(self._gather(payload, *self._table, flip, *cursor, limit, *room, values, slots))
        order = np.lexsort((slots[:count], values[:count]))
        return slots[order] ^ np.uint32(flip & _LOW), values[order] ^ flip


def _chunk_table(slots: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return starts, shapes, slots, masks and ranks: where each chunk's slots are and how to find one."""
    chunks = (int(slots[-1]) >> 16) + 1 if len(slots) else 0
    firsts = np.arange(chunks, dtype=np.uint32) << np.uint32(16)
    starts = np.append(np.searchsorted(slots, firsts), len(slots))
    counts = np.diff(starts)
    shapes = np.full(chunks, kernels.ABSENT, np.int64)
    filled = np.flatnonzero(counts)
    spans = slots[starts[filled + 1] - 1].astype(np.int64) - slots[starts[filled]] + 1
    shapes[filled] = np.where(spans == counts[filled], kernels.CONTIGUOUS, kernels.SEARCHED)
    masked = np.flatnonzero((shapes == kernels.SEARCHED) & (counts >= kernels.MASKED_MIN))
    shapes[masked] = np.arange(len(masked))
    masks, ranks = np.zeros(1024 * len(masked), np.uint64), np.empty(1024 * len(masked), np.uint16)
    kernels.fill_masks(slots, starts, shapes, masks, ranks)
    return starts, shapes, slots, masks, ranks


def _checked(count: int) -> int:
    if count < 0:
        raise InvalidError(f"the candidates are not a Roaring bitmap: {FAULTS[count]}")
    return count
