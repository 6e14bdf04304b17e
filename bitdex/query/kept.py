"""KeptBitmaps: decoded bitmaps in memory, by field and value, which snapshots that follow one another share.

::

    base    as it was when the base was made; snapshots share it, nobody changes it
    own     what one snapshot has read, or a commit has altered, since; it goes before the base

A commit copies what is its snapshot's own, and not what there is. When that is much, both become a new base:
at four times the square root of the base it costs about as much to copy the one as to make the other.

What a commit alters of a bitmap is put off until somebody asks for it.
"""

from collections.abc import Callable, Iterator
from math import isqrt
from typing import Any

from pyroaring import BitMap

Key = tuple[str, int]  # a field and a value, as a bound key
Later = tuple[Any, Any, int] | None  # a change that was put off, those before it, how many they are
Entry = tuple[BitMap | None, Later, int]  # a bitmap as it was, its changes, its bytes; None is not kept

PUT_OFF = 1000  # changes of one bitmap or column at most
KEPT_BYTES = 1 << 30  # decoded bitmaps kept, by estimated size
ENTRY_BYTES = 450  # what a bitmap takes beside its members: its object and container, its key and entry
OWN, SHARE = 64, 4
_NOTHING: Entry = None, None, 0


class KeptBitmaps:
    """Bitmaps by field and value; any number of threads may use one, and none of them changes a bitmap.

    Attributes
    ----------
    nbytes : int
        What they take, by estimate.
    """

    def __init__(self) -> None:
        self._base: dict[Key, Entry] = {}
        self._own: dict[Key, Entry] = {}
        self.nbytes = 0

    def following(self) -> "KeptBitmaps":
        """Return the same, to be altered."""
        other = KeptBitmaps()
        if len(self._own) > OWN + SHARE * isqrt(len(self._base)):
            other._base = self._base | self._own
        else:
            other._base, other._own = self._base, self._own.copy()
        other.nbytes = self.nbytes
        return other

    def __contains__(self, key: Key) -> bool:
        return self._entry(key)[0] is not None

    def __len__(self) -> int:
        return len(self._base) + len(self._own)  # at least as many as there are

    def __iter__(self) -> Iterator[Key]:
        return (key for key, (one, _, _) in (self._base | self._own).items() if one is not None)

    def get(self, key: Key, alter: Callable[[BitMap, Later], BitMap]) -> BitMap | None:
        """Return a bitmap, or None; changes that were put off are made by `alter`."""
        found, later, size = self._entry(key)
        if found is not None and later is not None:
            found = alter(found, later)
            self._own[key] = found, None, size
        return found

    def keep(self, key: Key, bitmap: BitMap, most: int) -> BitMap:
        """Keep a bitmap, whose members take so many bytes at most; return it."""
        self.drop(key)
        size = ENTRY_BYTES + min(2 * len(bitmap), most)
        if self.nbytes + size > KEPT_BYTES:
            self._base, self._own, self.nbytes = {}, {}, 0
        self._own[key] = bitmap, None, size
        self.nbytes += size
        return bitmap

    def put_off(self, key: Key, change: Any) -> None:
        """Note a change of a bitmap, if it is kept; drop it if there are many."""
        found, later, size = self._entry(key)
        if found is not None:
            later = behind(later, change)
            if later is None:
                self.drop(key)
            else:
                self._own[key] = found, later, size

    def drop(self, key: Key) -> None:
        """Keep a bitmap no longer."""
        found, _, size = self._entry(key)
        if found is not None:
            self._own[key] = _NOTHING
            self.nbytes -= size

    def _entry(self, key: Key) -> Entry:
        entry = self._own.get(key)
        return self._base.get(key, _NOTHING) if entry is None else entry


def behind(later: Later, change: Any) -> Later:
    """Return changes that are put off with one more; None if there are too many."""
    depth = 1 if later is None else later[2] + 1
    return None if depth > PUT_OFF else (change, later, depth)


def in_order(later: Later) -> list[Any]:
    """Return changes that were put off, the oldest first."""
    changes = []
    while later is not None:
        changes.append(later[0])
        later = later[1]
    return changes[::-1]
