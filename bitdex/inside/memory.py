"""Memory: what every byte of every file of an index is for, by file, part, field, value and container kind.

::

    directory = data.bin of both silos + everything else
    data.bin  = records, by field + headroom + dead regions + headers + room that no commit accounts for yet

The parts are counted one by one, from the committed state; their sum is what the file system says. Of a data
file that a writer has replaced since, they are what the state shows.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bitdex import filesystem
from bitdex.configuration import nearest
from bitdex.errors import CorruptError, InvalidError
from bitdex.formats import bitmap, data, frame
from bitdex.formats.header import SIZE as FILE_HEADER
from bitdex.inside.values import shown_values
from bitdex.kernels.containers import measure_containers
from bitdex.kernels.document_sizes import add_field_sizes
from bitdex.silo import inspect
from bitdex.silo.files import SiloFiles
from bitdex.silo.state import State
from bitdex.store import BITMAPS, DOCUMENTS, Committed, Store

GROUPS = {
    "value": ["file", "part", "field", "value"],
    "field": ["file", "part", "field"],
    "file": ["file"],
    "container": ["file", "part", "field", "container"],
}
CONTAINERS = ("array", "bitset", "run")
COUNTS = ("count", "arrays", "bitsets", "runs")
BLOCK = 1 << 15  # records between two answers to an interrupt
_ROLES = {"filter": "values", "layer": "layers"}  # of the others the name will do


@dataclass(slots=True)
class Parts:
    """Rows about one file: columns of one length, or single values that hold for all of them."""

    columns: dict[str, Any]

    def frame(self) -> pd.DataFrame:
        """Return the rows with every column that there is."""
        empty = {"part": "", "field": None, "value": None, "bytes": 0, **dict.fromkeys(COUNTS, 0)}
        sized = {f"{kind}_bytes": 0 for kind in CONTAINERS}
        return pd.DataFrame({**empty, **sized, **self.columns})


def memory_of(store: Store, by: str) -> pd.DataFrame:
    """Return what `Index.memory` shows."""
    if by not in GROUPS:
        raise InvalidError(f"by: {by!r} is unknown; {nearest(by, GROUPS)}")
    with store.maintenance.awaited(), store.turn.awaited():
        parts = [one.frame() for one in _parts(store.directory, store.committed)]
    every = pd.concat(parts, ignore_index=True)
    if by == "container":
        return _by_container(every)
    shown = GROUPS[by] + [name for name in (*COUNTS, "bytes") if by != "file" or name == "bytes"]
    rows = every[shown]
    if by != "value":
        counted = shown[len(GROUPS[by]) :]
        rows = every.groupby(GROUPS[by], sort=False, dropna=False)[counted].sum().reset_index()
    return rows.sort_values("bytes", ascending=False, kind="stable", ignore_index=True)


def _by_container(every: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each kind of container, and one for what lies in no container."""
    keys = GROUPS["field"]
    rows = []
    for kind in CONTAINERS:
        one = every[[*keys, f"{kind}s", f"{kind}_bytes"]]
        rows.append(one.set_axis([*keys, "count", "bytes"], axis=1).assign(container=kind))
    inside = every[[f"{kind}_bytes" for kind in CONTAINERS]].sum(axis=1)
    rest = every[keys].assign(container="none", count=0, bytes=every["bytes"] - inside)
    rows = [one[one["bytes"] > 0] for one in (*rows, rest)]
    grouped = (
        pd.concat(rows).groupby([*keys, "container"], sort=False, dropna=False)[["count", "bytes"]].sum()
    )
    return grouped.reset_index().sort_values("bytes", ascending=False, kind="stable", ignore_index=True)


def _parts(directory: Path, committed: Committed) -> Iterator[Parts]:
    yield from _data_parts(directory, BITMAPS, committed, _bitmap_parts)
    yield from _data_parts(directory, DOCUMENTS, committed, _document_parts)
    known = {f"{name}/data.bin" for name in (BITMAPS, DOCUMENTS) if len(committed.state(name).data)}
    for name, size in filesystem.sizes(directory):
        if name not in known and size:
            yield Parts({"file": [name], "part": _part_of(name), "bytes": size})


def _part_of(name: str) -> str:
    last = name.rpartition("/")[2]
    if name.startswith("cache/"):
        return "kept answers"
    if last.startswith("index."):
        return "hash index"
    return "log" if last.startswith("ops_") else "other"


def _data_parts(
    directory: Path, name: str, committed: Committed, records_of: Callable[[Committed], Parts]
) -> Iterator[Parts]:
    """Yield the parts of a data file: its records, and what lies between them."""
    state, file = committed.state(name), f"{name}/data.bin"
    if not len(state.data):
        return
    records = records_of(committed)
    records.columns["file"] = file
    yield records
    entries, space = inspect.index_frame(state), inspect.space(state)
    headers = FILE_HEADER + data.REGION_SIZE * len(entries)
    files = SiloFiles(directory / name)
    found = files.map_generation(files.data, data.MAGIC, int(state.base.meta["data_generation"][0]))
    rest = {
        "headroom": space["headroom"],
        "dead": len(state.data) - headers - space["headroom"] - space["live"],
        "headers": headers,
        "uncommitted": 0 if found is None else len(found[1]) - len(state.data),
    }
    parts = [part for part, size in rest.items() if size]
    yield Parts({"file": file, "part": parts, "bytes": [rest[part] for part in parts]})


def _frames(state: State) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return key, begin and end of the payload of every frame in the data file, and whether it is a put."""
    found = inspect.records_frame(state)
    found = found[found["file"] == "data.bin"]
    starts = found["offset"].to_numpy(np.int64) + frame.SIZE
    sizes = found["length"].to_numpy(np.int64)
    return found["key"].to_numpy(np.uint64), starts, starts + sizes, (found["kind"] == "put").to_numpy()


def _bitmap_parts(committed: Committed) -> Parts:
    state = committed.state(BITMAPS)
    keys, starts, stops, put = _frames(state)
    counts, sizes = np.zeros((len(keys), 3), np.int64), np.zeros((len(keys), 3), np.int64)
    whole = np.flatnonzero(put)  # the others hold operations
    counts[whole], sizes[whole] = _containers(state, starts[whole], stops[whole])
    distinct, first = np.unique(keys, return_index=True)
    columns: dict[str, Any] = {"count": np.ones(len(distinct), np.int64)}
    for number, kind in enumerate(CONTAINERS):
        columns[f"{kind}s"] = _sums(counts[:, number], first)
        columns[f"{kind}_bytes"] = _sums(sizes[:, number], first)
    columns["bytes"] = state.find_many(distinct)[1]
    return Parts(columns | _roles(committed, distinct))


def _containers(state: State, starts: np.ndarray, stops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the containers of each payload by kind, and their bytes: shape (n, 3)."""
    counts, sizes = np.empty(3 * len(starts), np.int64), np.empty(3 * len(starts), np.int64)
    for lo in range(0, len(starts), BLOCK):
        bad = measure_containers(state.data, starts, stops, lo, min(lo + BLOCK, len(starts)), counts, sizes)
        if bad >= 0:
            raise CorruptError.at(state.base.name, starts[bad], "expected a bitmap, found damaged bytes")
    return counts.reshape(-1, 3), sizes.reshape(-1, 3)


def _sums(values: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Return the sums of values from each place up to the next."""
    return np.add.reduceat(values, first) if len(first) else np.empty(0, np.int64)


def _roles(committed: Committed, keys: np.ndarray) -> dict[str, list[Any]]:
    """Return what each key of a bitmap stands for: part, field and value."""
    parts, fields, values, registry = [], [], [], committed.documents.registry
    filtered = (keys >> np.uint64(48) > 0) & (keys >> np.uint64(48) <= bitmap.FIELD_MAX)
    numbers = (keys[filtered] >> np.uint64(48)).astype(np.int64)
    shown: list[Any] = []
    for number in np.unique(numbers).tolist():
        stored = keys[filtered][numbers == number] & np.uint64(bitmap.VALUE_MAX)
        shown += shown_values(committed, number, stored)
    each = iter(shown)
    for key, is_value in zip(keys.tolist(), filtered.tolist()):
        kind, number, value = ("filter", key >> 48, next(each)) if is_value else bitmap.describe(key)
        parts.append(_ROLES.get(kind, kind))
        fields.append(None if number is None else registry.name(number) or f"field_{number}")
        values.append(value)
    return {"part": parts, "field": fields, "value": values}


def _document_parts(committed: Committed) -> Parts:
    """Return the bytes of documents by field, and those of their frames."""
    state, registry = committed.state(DOCUMENTS), committed.documents.registry
    keys, starts, stops, _ = _frames(state)
    counts, sizes = np.zeros(1 << 16, np.int64), np.zeros(1 << 16, np.int64)
    for lo in range(0, len(keys), BLOCK):
        hi = min(lo + BLOCK, len(keys))
        bad = add_field_sizes(state.data, starts, stops, lo, hi, counts, sizes)
        if bad >= 0:
            raise CorruptError.at(state.base.name, starts[bad], "expected a document, found damaged bytes")
    numbers = np.flatnonzero(counts).tolist()
    live = inspect.space(state)["live"]
    names = [registry.name(number) or f"field_{number}" for number in numbers]
    return Parts(
        {
            "part": ["documents"] * len(numbers) + ["frames"],
            "field": [*names, None],
            "count": [*counts[numbers].tolist(), len(keys)],
            "bytes": [*sizes[numbers].tolist(), live - int(sizes.sum())],
        }
    )
