"""The index while something is merged into a silo: the one table that kernels read and change.

As long as few keys are concerned it is a copy of the base's `recent`, into which the entry of every key is
brought before it is merged into. When they come to an eighth of the whole table, it is a copy of that.

A thread brings the entries of its own keys, whose homes are a range of the table that no other thread
writes to; what would pass the range's end is brought when all threads have finished. Where the hashes of the
table are turned, one thread brings all.
"""

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from bitdex.kernels import hash_index as kernels
from bitdex.kernels import merge
from bitdex.kernels.jit import THREADS
from bitdex.silo.key_index import NOTHING, SHARE, KeyIndex, begun_copy, columns_of, with_entries
from bitdex.silo.scratch import scratch
from bitdex.silo.threads import each, ended

ENTRY = 24
ALONE = 4_000  # keys whose entries one thread brings
OFTEN = 64  # lists of changed keys that become one


class WorkingIndex:
    """Entries that change, of the keys that were announced by `prepare`; used by one merge.

    Attributes
    ----------
    table : ndarray of uint64
        What kernels merge by. Another one after `prepare` and `insert`.
    count : int
        Number of keys.
    """

    def __init__(self, base: KeyIndex, pool: ThreadPoolExecutor, coming: int = 0):
        self._base, self._pool = base, pool
        self.count = base.count
        self._changed: list[np.ndarray] | None = [NOTHING]  # None: the table is a whole one
        self._copying: list[Future[None]] = []
        self._used = int(np.count_nonzero(base.recent[2::3]))  # entries of the table
        if self._many(coming):
            self._begin_copy()
        else:
            self.table = base.recent.copy() if self._used else kernels.new_table(0)

    def prepare(self, keys: np.ndarray, coming: int = 0) -> None:
        """Make sure that `table` has the entries of these keys; so many are still to come in all."""
        if self._copying:
            self._end_copy(self._base.recent)
        if self._changed is None:
            return
        if self._many(max(len(keys), coming)):
            changes = self.table
            self._begin_copy()
            self._end_copy(changes)
            return
        self._changed.append(keys.copy())  # the caller may use the buffer again
        if len(self._changed) > OFTEN:  # the same ones again and again
            self._changed = [np.unique(np.concatenate(self._changed))]
        self._make_room(len(keys))
        self._bring(keys)

    def insert(self, keys: np.ndarray, offsets: np.ndarray, extents: np.ndarray) -> None:
        """Enter new keys, which are distinct."""
        self._make_room(len(keys))
        added = int(kernels.insert_entries(keys, offsets, extents, self.table))
        if added >= 0:
            self._used += added
        else:  # too many lie together; some are in it already
            self._rebuild(self._used // 2, (keys, offsets, extents))
        self.count += len(keys)

    def delete(self, keys: np.ndarray) -> np.ndarray:
        """Take keys out, which are distinct and there; return the third words of their entries."""
        entries, words = kernels.lookup(self.table, keys), self.table.reshape(-1, 3)
        extents = words[entries, 2]
        if self._changed is None:
            self._used -= int(kernels.delete_entries(keys, self.table))
        else:
            words[entries, 2] = kernels.GONE
        self.count -= len(keys)
        return extents

    def finish(self) -> tuple[KeyIndex, np.ndarray | None]:
        """Return the index, and the keys by whose entries it differs from the base's, if that was kept."""
        if self._copying:
            self._end_copy(self._base.recent)
        if self._changed is None:
            return KeyIndex.whole(self.table, self.count), None
        return self._base.changed(self.table, self.count), np.concatenate(self._changed)

    # -- a whole table -------------------------------------------------------------------------

    def _many(self, coming: int) -> bool:
        """Tell whether entries of so many more keys are too many for a table beside the other one."""
        return ENTRY * SHARE * (self._used + coming) > self._base.table.nbytes

    def _begin_copy(self) -> None:
        """Let threads copy the whole table."""
        self._changed = None
        self.table, self._copying = begun_copy(self._base.table, self._pool)

    def _end_copy(self, changes: np.ndarray) -> None:
        """Wait for the copy, and change it as another table says."""
        for copying in self._copying:
            ended(copying)
        self._copying = []
        if len(changes):
            self.table = with_entries(self.table, self._base.held, changes)
        self._used = self.count

    # -- a table of what changes ---------------------------------------------------------------

    def _bring(self, keys: np.ndarray) -> None:
        """Copy the entries of keys from the base's table, unless they are here."""
        parts = THREADS if len(keys) > ALONE and not kernels.is_turned(self.table) else 1
        homes, last = len(self.table) // 3 - kernels.SPILL, len(self.table) // 3 - kernels.WINDOW

        def bring(part: int) -> tuple[int, np.ndarray]:
            rows = scratch.take(8 * len(keys)).view(np.int64)
            rows = rows[: merge.own_rows(keys, part, parts, rows)]
            return self._bring_rows(keys, rows, last if parts == 1 else (part + 1) * homes // parts)

        brought = each(self._pool, bring, range(parts))
        self._used += sum(count for count, _ in brought)
        left = np.concatenate([rows for _, rows in brought])
        if len(left):
            count, left = self._bring_rows(keys, left, len(self.table) // 3 - kernels.WINDOW)
            self._used += count
        if len(left):  # too many lie together
            entries = kernels.lookup(self._base.table, keys[left])
            self._rebuild(self._used // 2, columns_of(self._base.table.reshape(-1, 3)[entries]))

    def _bring_rows(self, keys: np.ndarray, rows: np.ndarray, limit: int) -> tuple[int, np.ndarray]:
        left = np.empty(len(rows) + 1, np.int64)
        count = kernels.bring_entries(keys, rows, self._base.table, limit, self.table, left)
        return int(count), left[1 : 1 + left[0]]

    # -- both ----------------------------------------------------------------------------------

    def _make_room(self, more: int) -> None:
        """Give the table room for so many more entries; rebuild it larger when it would be too full."""
        homes = len(self.table) // 3 - kernels.SPILL
        if self._used + more > homes * kernels.MAX_LOAD:
            self._rebuild(max(more, self._used // 2))

    def _rebuild(self, more: int, *new: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
        """Move the entries, and new ones, to a table with room for so many more."""
        entries = self.table.reshape(-1, 3)
        entries = entries[entries[:, 2] != 0]
        self.table = kernels.build_table([columns_of(entries), *new], more)
        self._used = int(np.count_nonzero(self.table[2::3])) if new else len(entries)
