"""Line: what snapshots that follow one another share, so that what one has read serves those behind it.

Reading a bitmap or building a column may take longer than some commits; when it is done, newer snapshots
have begun without it, and would begin anew for ever. It is handed over here with the sequence that it shows.
A later snapshot takes it, and the changes since. Nobody reads for long: what is older than that is forgotten.
"""

import time
from collections import OrderedDict, deque
from collections.abc import Hashable, Mapping
from typing import Any, Protocol

import numpy as np
from pyroaring import BitMap

from bitdex.query.edited import Edits

MOST = 1000  # commits that are remembered, and
KEYS = 200_000  # bitmaps that they alter
AGE = 10.0  # seconds after which they are forgotten
HANDED = 64  # things that wait to be taken

EditsOf = Mapping[str, Edits]  # what a commit changes of sort columns, by field
_Change = tuple[float, int, int, "Altering", EditsOf]  # when, from, to, what is altered


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

    @property
    def due(self) -> float: ...

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

    def note(self, sequence: int, altered: Altering, edits: EditsOf) -> None:
        """Note what a commit alters, and what that changes of sort columns."""
        now = time.monotonic()
        self._changes.append((now, self.latest, sequence, altered, edits))
        self.latest = sequence
        self._keys += len(altered.keys)
        while self._changes and self._is_over(now):
            self._forget_oldest()

    def _is_over(self, now: float) -> bool:
        """Tell whether the oldest commit is remembered for too long, or too many are."""
        return len(self._changes) > MOST or self._keys > KEYS or self._changes[0][0] < now - AGE

    def _forget_oldest(self) -> None:
        """Forget a commit, and what was handed over before it."""
        _, _, reached, oldest, _ = self._changes.popleft()
        self._keys -= len(oldest.keys)
        for key, (made, _) in list(self._handed.items()):
            if made < reached:
                self._handed.pop(key, None)

    def hand(self, key: Hashable, sequence: int, one: Any) -> None:
        """Hand over what was made of the state at a sequence."""
        self._handed[key] = sequence, one
        while len(self._handed) > HANDED:
            self._handed.popitem(last=False)

    def take(self, key: Hashable, sequence: int) -> tuple[Any, list[tuple[Altering, EditsOf]]] | None:
        """Return what was handed over at or before a sequence, and the changes since (`note`)."""
        made, one = self._handed.get(key, (sequence + 1, None))
        if made > sequence:
            return None
        changes = list(self._changes)
        first = changes[0][1] if changes else self.latest
        if made < min(first, sequence):
            return None  # some changes since then are forgotten
        return one, [(altered, edits) for _, _, to, altered, edits in changes if made < to <= sequence]

    def forget(self, key: Hashable) -> None:
        """Take back what was handed over."""
        self._handed.pop(key, None)
