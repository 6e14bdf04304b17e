"""Postings: the (field, value, slot) pairs of one dump phase, made into bitmaps in bounded memory.

    add       pairs stay in memory, in the blocks they came in
    spill     when sorting them would take more than `memory_bytes`, each field's pairs are grouped
              into a run (distinct values, offsets, slots) and appended to a temporary file
    bitmaps   field by field, the runs are walked side by side by ascending value, so many values
              at a time that their slots make a batch; each value's slots are joined and encoded

The temporary file, `postings-<unique>.spill`, holds the arrays of all runs back to back,
little-endian, each at a multiple of 8. Where they lie, and their CRC-32C, is kept in memory only:
the file has no use after its object. One that is found later is left over from a crash.
"""

import uuid
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np

from bitdex import filesystem
from bitdex.errors import ClosedError, CorruptError, InvalidError
from bitdex.kernels.checksum import crc32c
from bitdex.kernels.pairs import group_pairs, merge_groups
from bitdex.kernels.roaring import encode_runs

SORT_COPIES = 4  # of a pair's bytes: as it came, joined, packed, moved by a pass
BATCH_SLOTS = 2_000_000


class Bitmaps(NamedTuple):
    """Encoded bitmaps of a field: that of values[i] is payloads[offsets[i]:offsets[i + 1]]."""

    field_id: int
    values: np.ndarray
    payloads: np.ndarray
    offsets: np.ndarray
    cardinalities: np.ndarray


class _Run(NamedTuple):
    """Grouped pairs: distinct ascending values, offsets, slots (u32); in the file all are narrow."""

    values: np.ndarray
    offsets: np.ndarray
    slots: np.ndarray

    def group_before(self, slots: int) -> int:
        """Return how many whole groups lie within the first `slots` slots."""
        return _position(self.offsets, slots + 1) - 1

    def cut(self, first: int, stop: int) -> "_Run":
        """Return groups [first, stop) in memory of their own, values u64 and offsets i64."""
        offsets = self.offsets[first : stop + 1].astype(np.int64)
        slots = self.slots[offsets[0] : offsets[-1]].copy()
        return _Run(self.values[first:stop].astype(np.uint64), offsets - offsets[0], slots)


class _Section(NamedTuple):
    """An array in the spill file."""

    offset: int
    length: int
    dtype: str
    crc: int

    def view(self, mapped: np.ndarray) -> np.ndarray:
        return mapped[self.offset : self.offset + self.length].view(self.dtype)


class _SpillFile:
    """The runs that did not fit in memory.

    The file is mapped anew for every look, so that pages that were read do not pile up.
    """

    def __init__(self, directory: Path):
        self.path = directory / f"postings-{uuid.uuid4().hex[:12]}.spill"
        self._descriptor = filesystem.open_write(self.path)
        self._end = 0

    def append(self, run: _Run) -> list[_Section]:
        """Write a run; return where its arrays lie."""
        sections = []
        for array in run:
            dtype = "<u4" if int(array[-1]) <= 0xFFFFFFFF else "<u8"  # the last is the greatest, or a slot
            data = array.astype(dtype, copy=False).view(np.uint8)
            filesystem.write_at(self._descriptor, data, self._end)
            sections.append(_Section(self._end, len(data), dtype, crc32c(data)))
            self._end += -(-len(data) // 8) * 8
        return sections

    def runs(self, places: list[list[_Section]]) -> list[_Run]:
        """Return runs as views of the mapped file."""
        mapped = filesystem.map_read(self.path)
        return [_Run(*(section.view(mapped) for section in sections)) for sections in places]

    def verify(self, section: _Section) -> None:
        """Compare a section with its checksum."""
        found = crc32c(section.view(filesystem.map_read(self.path)).view(np.uint8))
        if found != section.crc:
            raise CorruptError.at(
                self.path, section.offset, f"expected CRC {section.crc:08x}, found {found:08x}"
            )

    def close(self) -> None:
        """Close and remove the file."""
        filesystem.close(self._descriptor)
        filesystem.remove(self.path)


class Postings:
    """Collects the pairs of one phase and yields the bitmaps they make.

    Parameters
    ----------
    memory_bytes : int
        What collecting and sorting may take; beyond it, runs go to a file.
    directory : Path
        Where that file is made, if one is needed.

    Examples
    --------
    >>> with Postings(1 << 20, Path(".")) as postings:
    ...     postings.add(7, np.array([304, 5, 304], "u8"), np.array([1, 1, 2], "u4"))
    ...     for part in postings.bitmaps():
    ...         print(part.field_id, part.values, part.cardinalities)
    7 [  5 304] [1 2]
    """

    def __init__(self, memory_bytes: int, directory: Path):
        self._memory = memory_bytes
        self._directory = directory
        self._blocks: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
        self._spilled: dict[int, list[list[_Section]]] = {}
        self._bytes = 0
        self._file: _SpillFile | None = None
        self._open = True

    def __enter__(self) -> "Postings":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Forget all pairs and remove the temporary file."""
        self._open = False
        self._blocks.clear()
        if self._file is not None:
            self._file.close()
            self._file = None

    def add(self, field_id: int, values: np.ndarray, slots: np.ndarray) -> None:
        """Add pairs of a field, in any order; the same pair may come again.

        Parameters
        ----------
        field_id : int
        values : ndarray of uint64 (or uint32), shape (n,)
        slots : ndarray of uint32, shape (n,)
            Kept as it is, not copied.
        """
        if not self._open:
            raise ClosedError("these postings were closed, or their bitmaps taken")
        if len(values) != len(slots) or values.dtype.kind != "u" or slots.dtype != np.uint32:
            raise InvalidError(
                f"field id {field_id}: expected as many unsigned values as uint32 slots,"
                f" found {len(values)} {values.dtype} and {len(slots)} {slots.dtype}"
            )
        if not len(values):
            return
        narrow = values.itemsize <= 4 or values.max() <= 0xFFFFFFFF
        values = values.astype(np.uint32 if narrow else np.uint64, copy=False)
        self._blocks.setdefault(field_id, []).append((values, slots))
        self._bytes += values.nbytes + slots.nbytes
        if self._bytes * SORT_COPIES > self._memory:
            self._spill()

    def bitmaps(self, batch_slots: int = BATCH_SLOTS) -> Iterator[Bitmaps]:
        """Yield the encoded bitmaps, ascending by field and value; call once, after the last `add`.

        Parameters
        ----------
        batch_slots : int
            A batch holds about so many slots at most, unless one value alone has more.
        """
        if not self._open:
            raise ClosedError("these postings were closed, or their bitmaps taken")
        self._open = False
        for field_id in sorted({*self._blocks, *self._spilled}):
            last = [self._group(field_id)] if field_id in self._blocks else []
            places = self._spilled.get(field_id, [])
            for section in (section for sections in places for section in sections):
                self._spill_file().verify(section)
            for run in self._batches(places, last, batch_slots):
                payloads, offsets = encode_runs(run.slots, run.offsets)
                yield Bitmaps(field_id, run.values, payloads, offsets, np.diff(run.offsets))

    def _group(self, field_id: int) -> _Run:
        blocks = self._blocks.pop(field_id)
        values = np.concatenate([values for values, _ in blocks])
        slots = np.concatenate([slots for _, slots in blocks])
        del blocks
        return _Run(*group_pairs(values, slots))

    def _spill(self) -> None:
        for field_id in list(self._blocks):
            sections = self._spill_file().append(self._group(field_id))
            self._spilled.setdefault(field_id, []).append(sections)
        self._bytes = 0

    def _spill_file(self) -> _SpillFile:
        if self._file is None:
            filesystem.make_directory(self._directory)
            self._file = _SpillFile(self._directory)
        return self._file

    def _batches(self, places: list[list[_Section]], last: list[_Run], batch_slots: int) -> Iterator[_Run]:
        """Walk the runs side by side; yield the joined groups of one stretch of values after the other."""
        done = [0] * (len(places) + len(last))
        while True:
            spilled = self._spill_file().runs(places) if places else []
            parts = _next_parts(spilled + last, done, batch_slots)
            del spilled
            if not parts:
                return
            yield parts[0] if len(parts) == 1 else _Run(*merge_groups(*map(list, zip(*parts))))


def _position(ascending: np.ndarray, number: int) -> int:
    """Return how many entries are below a number, without widening a mapped array."""
    if number > np.iinfo(ascending.dtype).max:
        return len(ascending)
    return int(np.searchsorted(ascending, ascending.dtype.type(number)))


def _next_parts(runs: list[_Run], done: list[int], batch_slots: int) -> list[_Run]:
    """Cut from each run the groups of the next stretch of values; move `done` past them.

    The stretch ends where the first run has given its share of the batch, but holds at least
    one value, because a group is never divided.
    """
    left = [i for i, run in enumerate(runs) if done[i] < len(run.values)]
    if not left:
        return []
    share, end = max(batch_slots // len(left), 1), None
    for i in left:
        group = max(runs[i].group_before(int(runs[i].offsets[done[i]]) + share), done[i] + 1)
        if group < len(runs[i].values):
            end = min(int(runs[i].values[group]), end if end is not None else 1 << 64)
    parts = []
    for i in left:
        values = runs[i].values
        stop = len(values) if end is None else _position(values, end)
        if stop > done[i]:
            parts.append(runs[i].cut(done[i], stop))
        done[i] = stop
    return parts
