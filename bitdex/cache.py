"""Cache: results of queries in memory, bounded in entries and bytes, and kept true by epochs.

::

    Epochs   token -> sequence of the commit that last altered it        one for a line of snapshots
    Kept     a value, the tokens it depends on, the sequence it was made at
    Cache    key -> Kept                                                  the least used goes first

A value made at sequence s is true at q if no token of it has an epoch above s; q is s or later. A snapshot
that was not made from the one before (a phase was loaded, documents became due, a reader moved on) begins a
new line, in which nothing kept before is true. A token gets its epoch when something is first kept that
depends on it: then it counts as altered by the newest commit, because nobody took note before.

Keys are compared whole. Any number of threads may use a cache beside the one that commits: it notes what a
commit alters before a snapshot shows it, and no lock is held while a value is made.
"""

import itertools
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator, Set
from dataclasses import dataclass
from typing import Any

from bitdex.locks import lock_of

TOKENS = 1 << 17  # of one line; when there are more, all are forgotten and with them what depends on them
ENTRY_BYTES, TOKEN_BYTES = 600, 100  # what an entry takes in memory beside its value, and each of its tokens

_numbers = itertools.count(1)


class Epochs:
    """When what queries depend on was last altered, in one line of snapshots.

    Attributes
    ----------
    latest : int
        The sequence of the newest commit that was noted.
    number : int
        Later lines have higher ones.
    """

    def __init__(self, sequence: int):
        self.latest, self.number = sequence, next(_numbers)
        self._altered: dict[Hashable, int] = {}
        self._lock = lock_of(self)

    def note(self, sequence: int, tokens: Set[Hashable]) -> None:
        """Note that a commit alters what these tokens stand for; no snapshot shows it yet."""
        with self._lock:
            for token in self._altered.keys() & tokens:
                self._altered[token] = sequence
            self.latest = max(self.latest, sequence)  # last: until then nobody takes the tokens for looked at

    def admit(self, tokens: Iterable[Hashable], sequence: int) -> bool:
        """Follow tokens from now on; tell whether what was made at a sequence is true."""
        with self._lock:
            if len(self._altered) > TOKENS:
                self._altered.clear()
            return (
                max([self._altered.setdefault(token, self.latest) for token in tokens], default=0) <= sequence
            )

    def unaltered(self, tokens: Iterable[Hashable], sequence: int) -> bool:
        """Tell whether no token was altered behind a sequence."""
        altered, forgotten = self._altered, sequence + 1
        return not [token for token in tokens if altered.get(token, forgotten) > sequence]


@dataclass(slots=True)
class Kept:
    """A value that a cache keeps.

    Attributes
    ----------
    checked : int
        The newest commit that is known not to alter it.
    """

    value: Any
    epochs: Epochs
    sequence: int
    tokens: frozenset[Hashable]
    nbytes: int
    checked: int

    def holds(self, epochs: Epochs, sequence: int) -> bool:
        """Tell whether the value is true at a sequence of a line."""
        if self.epochs is not epochs or self.sequence > sequence:
            return False
        latest = epochs.latest  # read first: what is noted meanwhile is looked at the next time
        if self.checked == latest:
            return True
        if not epochs.unaltered(self.tokens, self.sequence):
            return False
        self.checked = latest
        return True


class Cache:
    """Values by key, bounded; any number of threads may use one.

    Attributes
    ----------
    hits, misses : int
        Lookups that found a value, and those that did not.
    """

    def __init__(self, max_entries: int, max_bytes: int):
        self.max_entries, self.max_bytes = max_entries, max_bytes
        self.hits = self.misses = 0
        self.changes = 0  # counts what was kept, so that the same is not saved twice
        self._kept: OrderedDict[Hashable, Kept] = OrderedDict()
        self._bytes = 0
        self._lock = lock_of(self)

    def get(self, key: Hashable, epochs: Epochs, sequence: int) -> Any:
        """Return what is kept under a key and true at a sequence of a line, or None."""
        with self._lock:
            kept = self._kept.get(key)
            if kept is None or not kept.holds(epochs, sequence):
                return None
            self._kept.move_to_end(key)
            return kept.value

    def keep(
        self, key: Hashable, value: Any, size: int, tokens: frozenset, epochs: Epochs, sequence: int
    ) -> None:
        """Keep a value of so many bytes that was made at a sequence of a line, unless it is over already."""
        nbytes = size + ENTRY_BYTES + TOKEN_BYTES * len(tokens)
        if nbytes > self.max_bytes or not epochs.admit(tokens, sequence):
            return
        with self._lock:
            before = self._kept.get(key)
            if before is not None:
                if (before.epochs.number, before.sequence) > (epochs.number, sequence):
                    return
                self._drop(key)
            self._kept[key] = Kept(value, epochs, sequence, tokens, nbytes, sequence)
            self._bytes += nbytes
            self.changes += 1
            while len(self._kept) > self.max_entries or self._bytes > self.max_bytes:
                self._drop(next(iter(self._kept)))

    def tally(self, hit: bool) -> None:
        """Count a lookup."""
        with self._lock:
            if hit:
                self.hits += 1
            else:
                self.misses += 1

    def true_at(self, epochs: Epochs, sequence: int) -> Iterator[tuple[Hashable, Any]]:
        """Yield keys and values that are true at a sequence of a line, the least used first."""
        with self._lock:
            kept = list(self._kept.items())
        for key, one in kept:
            if one.holds(epochs, sequence):
                yield key, one.value

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()
            self._bytes = 0

    def stats(self) -> dict[str, int]:
        """Return entries, bytes and lookups; an entry that is over counts until its place is needed."""
        with self._lock:
            return {
                "entries": len(self._kept),
                "bytes": self._bytes,
                "hits": self.hits,
                "misses": self.misses,
            }

    def _drop(self, key: Hashable) -> None:
        self._bytes -= self._kept.pop(key).nbytes
