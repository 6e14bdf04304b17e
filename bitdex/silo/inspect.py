"""What lies in a silo, as numbers and as DataFrames, for people who look into its files."""

from typing import TYPE_CHECKING, Any

import numpy as np

from bitdex import filesystem
from bitdex.errors import CorruptError
from bitdex.formats import frame, hash_index, header
from bitdex.kernels import hash_index as index_kernels
from bitdex.kernels import probes
from bitdex.silo.base import Base
from bitdex.silo.files import SiloFiles
from bitdex.silo.pending import Waiting
from bitdex.silo.state import State
from bitdex.silo.values import as_keys

if TYPE_CHECKING:
    import pandas as pd

KINDS = ("put", "merge", "delete")
FRAME_COLUMNS = ("key", "number", "file", "offset", "kind", "sequence", "length")


def space(state: State) -> dict[str, int]:
    """Return the bytes of a data file by use: live, headroom and dead."""
    entries = state.base.index.entries()
    live, allocated = int(entries["length"].sum()), int(_allocated(entries).sum())
    return {"live": live, "headroom": allocated - live, "dead": int(state.base.meta["dead_bytes"][0])}


def stats(state: State, files: SiloFiles) -> dict[str, Any]:
    """Return counts and sizes of a silo.

    ``data_bytes`` is the sum of ``live_bytes`` (committed records), ``headroom_bytes``
    (space that records may grow into), ``dead_bytes`` (nothing points at it) and the
    headers of the file and of the live regions. Index figures count the entries that a
    lookup of a key which is there looks at. ``log_bytes`` are those of the logs as they lie there now.
    """
    base, index = state.base, state.base.index
    distances = _distances(index.parts())
    homes = len(index.table) // 3 - index_kernels.SPILL
    return {
        "keys": len(state),
        "pending": state.pending,
        "sequence": state.sequence,
        "rule": base.meta["rule"][0].decode(),
        "data_bytes": len(base.data),
        **{f"{part}_bytes": count for part, count in space(state).items()},
        "log_bytes": sum(filesystem.size(path) for path in files.logs if filesystem.exists(path)),
        "index_bytes": index.table.nbytes + header.SIZE + int(base.meta["delta_end"][0]),
        "index_bytes_per_key": index.table.nbytes / base.count if base.count else 0.0,
        "load": base.count / homes,
        "mean_probe": 1 + float(distances.mean()) if base.count else 0.0,
        "longest_probe": 1 + int(distances.max()) if base.count else 0,
        "data_generation": int(base.meta["data_generation"][0]),
        "index_generation": int(base.meta["index_generation"][0]),
        "commit": int(base.meta["commit"][0]),
    }


def index_frame(state: State) -> "pd.DataFrame":
    """Return the entries of the hash index, in table order, those that have changed since behind the others.

    Columns: key, offset (of the record's first frame in ``data.bin``), length (committed
    bytes), allocated (bytes up to the end of the region), single (the record is one
    put), home, distance (entries between home and the key).
    """
    import pandas as pd

    base = state.base
    entries, parts = base.index.entries(), base.index.parts()
    positions, distances = np.concatenate([one for _, one in parts]), _distances(parts)
    return pd.DataFrame(
        {
            "key": entries["key"],
            "offset": entries["offset"].astype(np.int64),
            "length": entries["length"].astype(np.int64),
            "allocated": _allocated(entries),
            "single": (entries["allocated"] & hash_index.SINGLE).astype(bool),
            "home": positions - distances,
            "distance": distances,
        }
    )


def records_frame(state: State, keys: Any = None) -> "pd.DataFrame":
    """Return the frames of records, those in ``data.bin`` before those in the logs, by key.

    Columns: key, number (of the frame in its record), file, offset, kind, sequence,
    length (of the payload). Frames that a later put or delete cuts off are listed too.

    Parameters
    ----------
    keys : integers, shape (n,), optional
        All keys of the index and the logs, if not given.

    Raises
    ------
    CorruptError
        If a frame in ``data.bin`` does not hold; `check` finds all of them.
    """
    import pandas as pd

    wanted = None if keys is None else np.unique(as_keys(keys))
    logs, base = state.waiting, state.base
    parts = [_data_rows(base, wanted), *(_log_rows(log, wanted) for log in logs)]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(columns["key"], kind="stable")
    columns = {name: column[order] for name, column in columns.items()}
    columns["number"] = _numbers(columns["key"])
    kinds = pd.Categorical.from_codes(columns["kind"], pd.Index(KINDS))
    return pd.DataFrame({**columns, "kind": kinds})[list(FRAME_COLUMNS)]


def ops_frame(state: State) -> "pd.DataFrame":
    """Return the operations that still lie in the logs, in sequence order.

    Columns: log, offset, key, kind, sequence, length (of the payload), commit (last of
    its batch).
    """
    import pandas as pd

    logs, base = state.waiting, state.base
    parts = [_data_rows(base, _NO_KEYS), *(_log_rows(log, None) for log in logs)]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    words = [_NO_KEYS, *(log.operations.words for log in logs)]
    return pd.DataFrame(
        {
            "log": columns["file"],
            "offset": columns["offset"],
            "key": columns["key"],
            "kind": pd.Categorical.from_codes(columns["kind"], pd.Index(KINDS)),
            "sequence": columns["sequence"],
            "length": columns["length"],
            "commit": (np.concatenate(words) & np.uint64(frame.COMMIT)) != 0,
        }
    )


_NO_KEYS = np.empty(0, np.uint64)


def _distances(parts: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Return how far entries at positions of tables stand from their homes."""
    found = [np.empty(len(positions), np.int64) for _, positions in parts]
    for (table, positions), out in zip(parts, found):
        probes.measure_distances(table, positions, out)
    return np.concatenate(found)


def _allocated(entries: np.ndarray) -> np.ndarray:
    return (entries["allocated"] & ~np.uint32(hash_index.FLAGS)).astype(np.int64)


def _words(content: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the order words of the frames at these places."""
    return content[places[:, None] + np.arange(16, 24)].view("<u8").reshape(-1).astype(np.uint64)


def _rows(name: str, keys: np.ndarray, places: np.ndarray, sizes: np.ndarray, words: np.ndarray) -> dict:
    return {
        "key": keys,
        "file": np.full(len(keys), name, object),
        "offset": places,
        "kind": (words & np.uint64(frame.KIND_MASK)).astype(np.int8) - 1,
        "sequence": (words >> np.uint64(8)).astype(np.int64),
        "length": sizes,
    }


def _data_rows(base: Base, wanted: np.ndarray | None) -> dict[str, np.ndarray]:
    entries = base.index.entries()
    if wanted is not None:
        entries = entries[np.isin(entries["key"], wanted)]
    keys = np.ascontiguousarray(entries["key"])
    places, lengths = entries["offset"].astype(np.int64), entries["length"].astype(np.int64)
    counts, bad = np.empty(len(keys), np.int64), np.empty(len(keys), np.int64)
    probes.verify_records(base.data, keys, places, lengths, base.seed, 0, len(keys), counts, bad)
    for row in np.flatnonzero(bad >= 0)[:1]:
        raise CorruptError.at(
            "data.bin", bad[row], f"expected a frame of key {keys[row]}, found damaged bytes"
        )
    starts = np.cumsum(counts) - counts
    listed = np.empty(int(counts.sum()), np.int64)
    probes.list_record_frames(base.data, places, counts, starts, listed)
    sizes = base.data[listed[:, None] + np.arange(4, 8)].view("<u4").reshape(-1).astype(np.int64)
    return _rows("data.bin", np.repeat(keys, counts), listed, sizes, _words(base.data, listed))


def _log_rows(log: Waiting, wanted: np.ndarray | None) -> dict[str, np.ndarray]:
    operations = log.operations
    mine = slice(None) if wanted is None else np.isin(operations.keys, wanted)
    columns = (operations.keys, operations.places, operations.sizes, operations.words)
    return _rows(log.log.path.name, *(column[mine] for column in columns))


def _numbers(keys: np.ndarray) -> np.ndarray:
    """Return 0, 1, ... within each run of equal keys."""
    if not len(keys):
        return np.empty(0, np.int64)
    first = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
    return np.arange(len(keys)) - np.repeat(first, np.diff(np.concatenate((first, [len(keys)]))))
