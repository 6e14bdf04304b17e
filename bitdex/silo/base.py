"""The committed part of a silo: ``data.bin`` and its index, as one immutable snapshot."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bitdex.errors import CorruptError
from bitdex.formats import data, frame, hash_index, index_delta
from bitdex.kernels import apart, records
from bitdex.kernels import hash_index as index_kernels
from bitdex.silo.files import SiloFiles

WALK = 1 << 20  # regions walked at a time


@dataclass(frozen=True, slots=True)
class Base:
    """One committed state; readers that hold it keep reading it.

    Attributes
    ----------
    data : ndarray of uint8
        The data file up to its committed end, read-only.
    table : ndarray of uint64, shape (3 * entries,)
        The hash index.
    meta : ndarray of formats.meta.META, shape (1,)
    count : int
        Number of keys.
    name : str
        The data file, for errors.
    indexed : bool
        Whether the index files hold `table`; False where it had to be rebuilt.
    seed : np.uint32
        The checksum state from which this store's frames continue.
    applied : int
        The last sequence of the logs that it holds.
    """

    data: np.ndarray
    table: np.ndarray
    meta: np.ndarray
    count: int
    name: str = "data.bin"
    indexed: bool = True
    seed: np.uint32 = field(init=False)
    applied: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", np.uint32(frame.seed(int(self.meta["identity"][0]))))
        object.__setattr__(self, "applied", int(self.meta["applied"][0]))

    def entries(self) -> np.ndarray:
        """Return the entries in use, in table order, as a structured array (formats.hash_index.ENTRY)."""
        used = np.empty(self.count, np.int64)
        index_kernels.occupied_entries(self.table, used)
        return self.table.view(hash_index.ENTRY)[used]

    def keys(self) -> np.ndarray:
        """Return all keys, in table order, uint64."""
        words = apart.zeros(self.count, np.int64)
        index_kernels.occupied_entries(self.table, words)
        words *= 3
        return np.take(self.table, words, out=apart.zeros(self.count, np.uint64), mode="clip")

    @classmethod
    def empty(cls, meta: np.ndarray) -> "Base":
        """Return the state of a silo that has no data file yet."""
        return cls(np.empty(0, np.uint8), index_kernels.new_table(0), meta, 0)

    @classmethod
    def open(cls, files: SiloFiles, meta: np.ndarray) -> "Base":
        """Map the files that a commit record names; rebuild the index when it is missing or damaged."""
        if int(meta["data_generation"][0]) == 0:
            return cls.empty(meta)
        mapped = files.map_data(
            int(meta["data_generation"][0]), int(meta["identity"][0]), int(meta["data_end"][0])
        )
        try:
            table, count = read_index(files, meta)
        except CorruptError:
            if int(files.read_meta(None)["commit"][0]) > int(meta["commit"][0]) + 1:
                raise  # a writer has passed by; the state to be opened is gone
            table, count = rebuild_table(mapped, meta)
            return cls(mapped, table, meta, count, str(files.data), indexed=False)
        return cls(mapped, table, meta, count, str(files.data))


def read_index(files: SiloFiles, meta: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the index table that a commit record names, and its number of keys."""
    generation, identity = int(meta["index_generation"][0]), int(meta["identity"][0])
    path, content = _of_generation(files, files.index, hash_index.MAGIC, generation)
    head, table = hash_index.decode(content, str(path))
    _check_identity(head, identity, path)
    count, end = int(head["count"]), int(meta["delta_end"][0])
    if not end:
        return table, count
    path, content = _of_generation(files, files.delta, index_delta.MAGIC, generation)
    _check_identity(index_delta.decode_header(content, str(path)), identity, path)
    table = table.copy()
    for entries in index_delta.decode(content, end, identity, str(path)):
        count += _apply_delta(table, entries, path)
    return table, count


def _of_generation(files: SiloFiles, path: Path, magic: bytes, generation: int) -> tuple[Path, np.ndarray]:
    found = files.map_generation(path, magic, generation)
    if found is None:
        raise CorruptError(f"{path}: offset 24: expected generation {generation}, found none")
    return found


def _check_identity(head: np.void, identity: int, path: Path) -> None:
    if int(head["identity"]) != identity:
        raise CorruptError(
            f"{path}: offset 16: expected identity {identity}, found {head['identity']} "
            "(another store's file)"
        )


def _apply_delta(table: np.ndarray, entries: np.ndarray, path: Path) -> int:
    """Put changed entries into a table; return by how many its keys have grown."""
    columns = entries.view(np.uint64).reshape(-1, 3)
    gone = columns[:, 2] == 0
    removed = index_kernels.delete_entries(np.ascontiguousarray(columns[gone, 0]), table)
    kept = (np.ascontiguousarray(columns[~gone, i]) for i in range(3))
    added = index_kernels.insert_entries(*kept, table)
    if added < 0:
        raise CorruptError(f"{path}: expected entries that fit the table of index.bin, found too many")
    return int(added - removed)


def rebuild_table(mapped: np.ndarray, meta: np.ndarray) -> tuple[np.ndarray, int]:
    """Build the index from the regions of ``data.bin`` (rules: `formats.data`); return it and its count."""
    parts = list(_walk(mapped, meta))
    keys, offsets, lengths, allocated = (np.concatenate(column) for column in zip(*parts))
    latest = len(keys) - 1 - np.unique(keys[::-1], return_index=True)[1]
    latest = latest[lengths[latest] > 0]
    table = index_kernels.build_index(keys[latest], offsets[latest], lengths[latest], allocated[latest])
    return table, len(latest)


def _walk(mapped: np.ndarray, meta: np.ndarray) -> "list[tuple[np.ndarray, ...]]":
    seed = np.uint32(frame.seed(int(meta["identity"][0])))
    aborted = meta["aborted"][0][: int(meta["aborted_count"][0])].copy()
    at, parts = data.FIRST_REGION, []
    stop = np.zeros(2, np.int64)
    while True:
        columns = [np.empty(WALK, np.uint64) for _ in range(4)]
        count = records.walk_regions(
            mapped, at, len(mapped), seed, meta["sequence"].copy(), aborted, *columns, stop
        )
        parts.append(tuple(column[:count] for column in columns))
        if stop[1]:
            raise CorruptError(f"data.bin: offset {stop[0]}: expected a region header, found damaged bytes")
        if stop[0] >= len(mapped):
            return parts
        at = int(stop[0])
