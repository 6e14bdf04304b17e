"""Ranges: the last few stretches of an order that were made into bitmaps, by the positions of their ends.

A window that ends now moves a little from query to query: its bitmap follows from the one before by what has
come in and gone out.
"""

from pyroaring import BitMap

KEPT = 4
LEAST = 512  # positions; shorter stretches are made in no time

Range = tuple[int, int, BitMap]  # first position, the one behind the last, the slots


class Ranges:
    """Ranges of one order, the latest first; any number of threads may use them."""

    def __init__(self) -> None:
        self._kept: tuple[Range, ...] = ()

    def nearest(self, first: int, stop: int) -> Range | None:
        """Return the kept range whose ends are fewest positions away, or None."""
        return min(self._kept, key=lambda one: distance(one, first, stop), default=None)

    def keep(self, first: int, stop: int, slots: BitMap) -> BitMap:
        """Keep a range in place of the nearest, if that overlaps it, or of the oldest; return its slots."""
        if stop - first >= LEAST:
            others = [one for one in self._kept if distance(one, first, stop) >= stop - first]
            self._kept = ((first, stop, slots), *others[: KEPT - 1])
        return slots


def distance(one: Range, first: int, stop: int) -> int:
    """Return by how many positions the ends of a range differ from others."""
    return abs(one[0] - first) + abs(one[1] - stop)
