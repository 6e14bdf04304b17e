"""The index of a silo in memory: ``index.bin`` as it lies in its file, and what has changed since.

::

    table    the table of index.bin, mapped, never changed
    recent   a small table of the entries that index.delta holds: they count instead of those in `table`,
             and GONE says that a key has none any more
    marks    a bit for the hash of every key in `recent`, among many: one lookup in twenty of other keys
             at most looks into `recent` in vain

Whoever commits makes a new `recent` and shares `table`, so a commit takes time and memory for what changes
and not for what there is. When an eighth of the table has changed, the next commit writes it whole.
"""

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bitdex.errors import CorruptError
from bitdex.formats import hash_index, index_delta
from bitdex.kernels import apart
from bitdex.kernels import hash_index as kernels
from bitdex.kernels.jit import THREADS
from bitdex.silo.files import SiloFiles
from bitdex.silo.threads import begun, ended

SHARE = 8  # changes lie beside the table until they are an eighth of it
MARKS = 16  # bits for each place in the table of changes
NOTHING = np.empty(0, np.uint64)


@dataclass(frozen=True, slots=True)
class KeyIndex:
    """Where the record of each key lies; it never changes.

    Attributes
    ----------
    table : ndarray of uint64, shape (3 * entries,)
        A hash table (`formats.hash_index`).
    held : int
        Number of keys in `table`.
    recent, marks : ndarray of uint64
        Another one, whose entries count instead of those in `table`, and bits that are set for its keys
        (`kernels.hash_index`); both may be empty.
    count : int
        Number of keys.
    tables : tuple
        What kernels look keys up by: `table`, `recent` and `marks`.
    """

    table: np.ndarray
    held: int
    recent: np.ndarray
    marks: np.ndarray
    count: int
    tables: tuple[np.ndarray, np.ndarray, np.ndarray] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tables", (self.table, self.recent, self.marks))

    @classmethod
    def whole(cls, table: np.ndarray, count: int) -> "KeyIndex":
        """Return an index of one table."""
        return cls(table, count, NOTHING, NOTHING, count)

    def changed(self, recent: np.ndarray, count: int) -> "KeyIndex":
        """Return the index of the same table and another `recent`, which has `count` keys."""
        marks = np.zeros(len(recent) // 3 * MARKS // 64 + 1, np.uint64)
        kernels.set_marks(recent, marks)
        return KeyIndex(self.table, self.held, recent, marks, count)

    def parts(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return each table and the positions of its entries that count, ascending, int64."""
        held = apart.zeros(self.held, np.int64)
        kernels.occupied_entries(self.table, held)
        if not len(self.recent):
            return [(self.table, held)]
        keys = np.take(self.table, 3 * held, out=apart.zeros(self.held, np.uint64), mode="clip")
        return [
            (self.table, held[kernels.lookup(self.recent, keys) < 0]),
            (self.recent, np.flatnonzero(_counting(self.recent[2::3]))),
        ]

    def entries(self) -> np.ndarray:
        """Return the entries, in the order of `parts`, as a structured array (formats.hash_index.ENTRY)."""
        found = [table.view(hash_index.ENTRY)[positions] for table, positions in self.parts()]
        return np.concatenate(found) if len(found) > 1 else found[0]

    def keys(self) -> np.ndarray:
        """Return all keys, in the order of `parts`, uint64."""
        out, at = apart.zeros(self.count, np.uint64), 0
        for table, positions in self.parts():
            positions *= 3
            np.take(table, positions, out=out[at : at + len(positions)], mode="clip")
            at += len(positions)
        return out

    def find(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return offset and length of the record of each key, or -1, shape (n,) int64 each."""
        places, lengths = np.empty(len(keys), np.int64), np.empty(len(keys), np.int64)
        if len(keys) < kernels.PARALLEL_FROM:
            kernels.find_records_serial(*self.tables, keys, places, lengths)
        else:
            kernels.find_records_parallel(*self.tables, keys, THREADS, places, lengths)
        return places, lengths

    def lookup(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return second and third word of the entry of each key, uint64; both are 0 where it has none."""
        offsets, extents = np.empty(len(keys), np.uint64), np.empty(len(keys), np.uint64)
        kernels.copy_entries(*self.tables, keys, offsets, extents)
        return offsets, extents

    def merged(self, pool: ThreadPoolExecutor) -> np.ndarray:
        """Return one new table of all entries."""
        table, copying = begun_copy(self.table, pool)
        for one in copying:
            ended(one)
        return with_entries(table, self.held, self.recent) if len(self.recent) else table


def begun_copy(table: np.ndarray, pool: ThreadPoolExecutor) -> tuple[np.ndarray, list[Future[None]]]:
    """Let threads copy a table; return what it becomes, and what to wait for."""
    copy = apart.zeros(len(table), np.uint64)
    parts = zip(np.array_split(copy, THREADS), np.array_split(table, THREADS))
    return copy, [begun(pool, np.copyto, *part) for part in parts]


def _counting(extents: np.ndarray) -> np.ndarray:
    """Tell for the third words of a table of changes which are those of records."""
    return (extents != 0) & (extents != kernels.GONE)


def with_entries(table: np.ndarray, held: int, recent: np.ndarray) -> np.ndarray:
    """Change a table of `held` keys as another says; return it, or a larger one where that does not fit."""
    entries = recent.reshape(-1, 3)
    gone = np.ascontiguousarray(entries[entries[:, 2] == kernels.GONE, 0])
    held -= int(kernels.delete_entries(gone, table))
    new = columns_of(entries[_counting(entries[:, 2])])
    homes = len(table) // 3 - kernels.SPILL
    used = held + int((kernels.lookup(table, new[0]) < 0).sum())
    if used <= homes * kernels.MAX_LOAD and kernels.insert_entries(*new, table) >= 0:
        return table
    old = table.reshape(-1, 3)[table[2::3] != 0]
    old = old[kernels.lookup(recent, np.ascontiguousarray(old[:, 0])) < 0]  # some are in it already
    return kernels.build_table([columns_of(old), new], used // 2)


def columns_of(entries: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return keys, second and third words of entries of shape (n, 3)."""
    keys, offsets, extents = (np.ascontiguousarray(entries[:, i]) for i in range(3))
    return keys, offsets, extents


# -- from the files ------------------------------------------------------------------------


def read_index(files: SiloFiles, meta: np.ndarray, before: KeyIndex | None = None) -> KeyIndex:
    """Return the index that a commit record names; `before` is one of the same ``index.bin``."""
    generation, identity = int(meta["index_generation"][0]), int(meta["identity"][0])
    if before is None:
        path, content = _of_generation(files, files.index, hash_index.MAGIC, generation)
        head, table = hash_index.decode(content, str(path))
        _check_identity(head, identity, path)
        before = KeyIndex.whole(table, int(head["count"]))
    end = int(meta["delta_end"][0])
    if not end:
        return KeyIndex.whole(before.table, before.held)
    path, content = _of_generation(files, files.delta, index_delta.MAGIC, generation)
    _check_identity(index_delta.decode_header(content, str(path)), identity, path)
    recent = _recent(index_delta.decode(content, end, identity, str(path)))
    return before.changed(recent, before.held + _growth(before.table, recent))


def _of_generation(files: SiloFiles, path: Path, magic: bytes, generation: int) -> tuple[Path, np.ndarray]:
    found = files.map_generation(path, magic, generation)
    if found is None:
        raise CorruptError.at(path, 24, f"expected generation {generation}, found none")
    return found


def _check_identity(head: np.void, identity: int, path: Path) -> None:
    if int(head["identity"]) != identity:
        raise CorruptError.at(
            path, 16, f"expected identity {identity}, found {head['identity']} (another store's file)"
        )


def _recent(blocks: Iterable[np.ndarray]) -> np.ndarray:
    """Return a table of the entries in blocks of ``index.delta``, the later ones instead of the earlier."""
    parts = []
    for block in blocks:
        keys, offsets, extents = columns_of(block.view(np.uint64).reshape(-1, 3))
        parts.append((keys, offsets, np.where(extents == 0, kernels.GONE, extents)))
    return kernels.build_table(parts)


def _growth(table: np.ndarray, recent: np.ndarray) -> int:
    """Return by how many keys both tables have more than the first alone."""
    entries = recent.reshape(-1, 3)[recent[2::3] != 0]
    known = kernels.lookup(table, np.ascontiguousarray(entries[:, 0])) >= 0
    there = entries[:, 2] != kernels.GONE
    return int((there & ~known).sum()) - int((~there & known).sum())
