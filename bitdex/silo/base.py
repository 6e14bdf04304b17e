"""The committed part of a silo: ``data.bin`` and its index, as one immutable snapshot."""

from dataclasses import dataclass, field, replace

import numpy as np

from bitdex.errors import CorruptError
from bitdex.formats import data, frame
from bitdex.kernels import hash_index as index_kernels
from bitdex.kernels import records
from bitdex.silo.files import SiloFiles
from bitdex.silo.key_index import KeyIndex, read_index

WALK = 1 << 20  # regions walked at a time
FILES = ("identity", "data_generation", "data_end", "index_generation", "delta_end")  # of a commit record


@dataclass(frozen=True, slots=True)
class Base:
    """One committed state; readers that hold it keep reading it.

    Attributes
    ----------
    data : ndarray of uint8
        The data file up to its committed end, read-only.
    index : KeyIndex
    meta : ndarray of formats.meta.META, shape (1,)
    name : str
        The data file, for errors.
    indexed : bool
        Whether the index files hold `index`; False where it had to be rebuilt.
    seed : np.uint32
        The checksum state from which this store's frames continue.
    applied : int
        The last sequence of the logs that it holds.
    """

    data: np.ndarray
    index: KeyIndex
    meta: np.ndarray
    name: str = "data.bin"
    indexed: bool = True
    seed: np.uint32 = field(init=False)
    applied: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", np.uint32(frame.seed(int(self.meta["identity"][0]))))
        object.__setattr__(self, "applied", int(self.meta["applied"][0]))

    @property
    def count(self) -> int:
        """Number of keys."""
        return self.index.count

    @classmethod
    def empty(cls, meta: np.ndarray) -> "Base":
        """Return the state of a silo that has no data file yet."""
        return cls(np.empty(0, np.uint8), KeyIndex.whole(index_kernels.new_table(0), 0), meta)

    @classmethod
    def open(cls, files: SiloFiles, meta: np.ndarray, before: "Base | None" = None) -> "Base":
        """Map the files that a commit record names; rebuild the index when it is missing or damaged.

        What has been read of them for a state `before` is not read again.
        """
        if int(meta["data_generation"][0]) == 0:
            return cls.empty(meta)
        if before is not None and before.rests_on(meta):
            return replace(before, meta=meta)
        mapped = files.map_data(
            int(meta["data_generation"][0]), int(meta["identity"][0]), int(meta["data_end"][0])
        )
        try:
            index = read_index(files, meta, None if before is None else before.index_for(meta))
        except CorruptError:
            if int(files.read_meta(None)["commit"][0]) > int(meta["commit"][0]) + 1:
                raise  # a writer has passed by; the state to be opened is gone
            index = rebuild_index(mapped, meta)
            return cls(mapped, index, meta, str(files.data), indexed=False)
        return cls(mapped, index, meta, str(files.data))

    def rests_on(self, meta: np.ndarray) -> bool:
        """Tell whether the same files, as far as they count, lie under a later commit record."""
        return self.indexed and self._says_same(meta, FILES)

    def index_for(self, meta: np.ndarray) -> KeyIndex | None:
        """Return the index if that of a commit record rests on the same ``index.bin``."""
        same = self._says_same(meta, ("identity", "index_generation"))
        return self.index if same and self.indexed and int(self.meta["data_generation"][0]) else None

    def _says_same(self, meta: np.ndarray, names: tuple[str, ...]) -> bool:
        return all(int(self.meta[name][0]) == int(meta[name][0]) for name in names)


def rebuild_index(mapped: np.ndarray, meta: np.ndarray) -> KeyIndex:
    """Build the index from the regions of ``data.bin`` (rules: `formats.data`)."""
    parts = list(_walk(mapped, meta))
    keys, offsets, lengths, allocated = (np.concatenate(column) for column in zip(*parts))
    latest = len(keys) - 1 - np.unique(keys[::-1], return_index=True)[1]
    latest = latest[lengths[latest] > 0]
    table = index_kernels.build_index(keys[latest], offsets[latest], lengths[latest], allocated[latest])
    return KeyIndex.whole(table, len(latest))


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
            raise CorruptError.at("data.bin", stop[0], "expected a region header, found damaged bytes")
        if stop[0] >= len(mapped):
            return parts
        at = int(stop[0])
