"""Line: what snapshots that follow one another share, so that what one has read serves those behind it.

Reading a bitmap or building a column may take longer than some commits; when it is done, newer snapshots
have begun without it, and would begin anew for ever. It is handed over here with the sequence that it shows.
A later snapshot takes it, and the changes since.
"""

from collections import OrderedDict, deque
from collections.abc import Hashable, Mapping
from typing import Any, Protocol

import numpy as np
from pyroaring import BitMap

from bitdex.query.edited import Edits

MOST = 1000  # commits that are remembered, and
KEYS = 200_000  # bitmaps that they alter
HANDED = 64  # things that wait to be taken


_Change = tuple[int, int, "Altering", BitMap]  # from, to, what is altered, who is alive behind it


class Changed(Protocol):
    """One bitmap as a commit alters it."""

    @property
    def added(self) -> BitMap: ...

    @property
    def removed(self) -> BitMap: ...


class Altering(Protocol):
    """What a commit alters (`live.alterations.Alterations`)."""

    @property
    def keys(self) -> np.ndarray: ...

    @property
    def edits(self) -> Mapping[int, Edits]: ...

    @property
    def few(self) -> bool: ...

    def get(self, key: int) -> Changed | None: ...


class Line:
    """One committing thread notes; any number of threads hand over and take.

    Attributes
    ----------
    latest : int
        The sequence of the newest commit.
    """

    def __init__(self, sequence: int):
        self.latest = sequence
        self._changes: deque[_Change] = deque()
        self._keys = 0
        self._handed: OrderedDict[Hashable, tuple[int, Any]] = OrderedDict()

    def note(self, sequence: int, altered: Altering, alive: BitMap) -> None:
        """Note what a commit alters, and who is alive behind it."""
        self._changes.append((self.latest, sequence, altered, alive))
        self.latest = sequence
        self._keys += len(altered.keys)
        while len(self._changes) > MOST or self._keys > KEYS:
            _, _, oldest, _ = self._changes.popleft()
            self._keys -= len(oldest.keys)

    def hand(self, key: Hashable, sequence: int, one: Any) -> None:
        """Hand over what was made of the state at a sequence."""
        self._handed[key] = sequence, one
        while len(self._handed) > HANDED:
            self._handed.popitem(last=False)

    def take(self, key: Hashable, sequence: int) -> tuple[Any, list[tuple[Altering, BitMap]]] | None:
        """Return what was handed over at or before a sequence, and the changes since: altered, alive."""
        made, one = self._handed.get(key, (sequence + 1, None))
        if made > sequence:
            return None
        changes = list(self._changes)
        first = changes[0][0] if changes else self.latest
        if made < min(first, sequence):
            return None  # some changes since then are forgotten
        return one, [(altered, alive) for _, to, altered, alive in changes if made < to <= sequence]

    def forget(self, key: Hashable) -> None:
        """Take back what was handed over."""
        self._handed.pop(key, None)
