"""Predicates: a user's compiled function of fields, run over the documents of a set.

::

    by slot       all fields are kept by slot: sort columns, which are handed over as they are, and codes
                  of filter fields
    in blocks     else: the values of a block of documents are gathered, from columns, from the bitmaps of
                  a filter field, or from the documents

Threads take stretches of either and go through them in calls of some milliseconds, so that Ctrl-C is
answered between two of them.
"""

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow.compute as pc
from pyroaring import BitMap

from bitdex.analysis.codes import Column
from bitdex.analysis.kept import codes_of
from bitdex.analysis.members import Members
from bitdex.analysis.postings import postings_of
from bitdex.cached import cached
from bitdex.errors import InvalidError
from bitdex.formats.bitmap import to_ordered
from bitdex.kernels.jit import THREADS, whole
from bitdex.kernels.predicates import WORDS, checked, loop_of
from bitdex.kernels.roaring import ARRAY_MAX, BITSET_BYTES, PLAIN_COOKIE
from bitdex.query.order import SortColumn, bitmap_of
from bitdex.query.snapshot import Snapshot
from bitdex.schema import Field

BLOCK = 1 << 17  # documents whose values are gathered together
DENSE = 1024  # documents of a chunk, from which on values by slot are worth it
LISTED = 1 << 16  # words whose members are listed together
BRIEF = 0.004  # seconds of a call, below which the next one may be twice as long
PAUSE = 0.05  # seconds

Read = Callable[[int, int], tuple[np.ndarray, np.ndarray | None]]  # values of a block, which are there


class Predicate:
    """A function of fields, of one state of an index (`query.given.Predicate`); any thread may call it."""

    def __init__(self, snapshot: Snapshot, function: Callable, fields: tuple[str, ...]):
        if not fields:
            raise InvalidError('where_jit: name the fields that the function takes, as in (tall, "width")')
        self.fields = fields
        self._snapshot = snapshot
        self._kinds = {name: _kind(snapshot, name) for name in fields}
        self._function = checked(function, tuple(self._kinds[name] for name in fields))

    def prepare(self) -> int:
        """Get the columns into memory; return how many documents may have all the values."""
        for name in self.fields:
            if self._is_sorted(name):
                self._snapshot.column(name)
        return len(self._snapshot.alive) - len(self._lacking)

    def __call__(self, found: BitMap) -> BitMap:
        """Return the documents of a set that have all the values and for which the function is true."""
        found = found - self._lacking if self._lacking else found
        columns = self._by_slot(found)
        return self._in_blocks(found) if columns is None else self._through(found, columns)

    @cached
    def _lacking(self) -> BitMap:
        """The documents that lack a value, as far as bitmaps tell."""
        schema = self._snapshot.schema
        indexed = [name for name in self.fields if name != "id" and schema.field(name).indexed]
        return BitMap.union(BitMap(), *map(self._snapshot.missing, indexed))

    def _is_sorted(self, name: str) -> bool:
        return name != "id" and self._snapshot.schema.field(name).sort is not None

    # -- by slot -----------------------------------------------------------------------------

    def _by_slot(self, found: BitMap) -> tuple[np.ndarray, ...] | None:
        """Return the values of all fields by slot, where they are kept so and that pays."""
        if not found or len(found) < DENSE * (1 + (found.max() >> 16) - (found.min() >> 16)):
            return None
        columns = []
        for name in self.fields:
            dense = self._dense(name, found.max())
            if dense is None:
                return None
            columns.append(dense)
        return tuple(columns)

    def _dense(self, name: str, last: int) -> np.ndarray | None:
        """Return the values of a field by slot, up to the last, as the loop takes them; None if not kept."""
        if name == "id":
            return np.arange((last | 63) + 1, dtype=np.uint32)
        snapshot, field = self._snapshot, self._snapshot.schema.field(name)
        if field.sort is not None:
            column = snapshot.column(name)
            kept = isinstance(column, SortColumn) and column.dense is not None
            return _formed(column.dense, field) if kept else None  # type: ignore[union-attr,arg-type]
        codes, untold = (codes_of(snapshot, name) if field.filter is not None else None) or (None, ())
        if not isinstance(codes, Column) or len(untold) or len(codes.codes) <= last:
            return None
        return codes.by_slot(_of_keys(codes.values, field))

    def _through(self, found: BitMap, columns: tuple[np.ndarray, ...]) -> BitMap:
        members = Members(found)
        words, keys = members.words, members.keys
        out = np.empty(len(words), np.uint64)
        edges = np.linspace(0, len(words), min(4 * THREADS, len(keys)) + 1).astype(int).tolist()
        loop = loop_of(self._function)
        _in_threads(lambda a, b, stop: _run(loop, columns, words, keys, a, b, out, stop), pairwise(edges))
        return _bitmap_of_words(keys, out)

    # -- in blocks -----------------------------------------------------------------------------

    def _in_blocks(self, found: BitMap) -> BitMap:
        slots = np.frombuffer(found.to_array(), np.uint32)
        reads = [self._reader(name, found, slots) for name in self.fields]
        kept = np.zeros(len(slots), bool)
        starts = range(0, len(slots), BLOCK)

        def block(lo: int, hi: int, stop: threading.Event) -> None:
            kept[lo:hi] = self._of_block([read(lo, hi) for read in reads], hi - lo, stop)

        _in_threads(block, ((lo, min(lo + BLOCK, len(slots))) for lo in starts))
        return bitmap_of(slots[kept])

    def _of_block(self, read: list, rows: int, stop: threading.Event) -> np.ndarray:
        """Return for which documents of a block the function is true."""
        words = -(-rows // 64)
        mask = np.zeros(8 * words, np.uint8)
        mask[: -(-rows // 8)] = np.packbits(_all_there(read, rows), bitorder="little")
        out, keys = np.empty(words, np.uint64), np.arange(-(-words // WORDS))
        columns = tuple(values for values, _ in read)
        _run(loop_of(self._function), columns, mask.view(np.uint64), keys, 0, words, out, stop)
        return np.unpackbits(out.view(np.uint8), count=rows, bitorder="little").view(bool)

    def _reader(self, name: str, found: BitMap, slots: np.ndarray) -> Read:
        """Return what reads the values of documents [lo, hi) of a set, in the forms of the loop."""
        snapshot = self._snapshot
        if name == "id":
            return lambda lo, hi: (slots[lo:hi], None)
        field = snapshot.schema.field(name)
        if field.sort is not None:
            column = snapshot.column(name)

            def of_column(lo: int, hi: int) -> tuple[np.ndarray, np.ndarray | None]:
                words, present = column.values_of(slots[lo:hi])
                return _formed(words, field), present

            return of_column
        if field.filter is not None:
            values = _of_bitmaps(snapshot, field, found)
            return lambda lo, hi: (values[lo:hi], None)
        return lambda lo, hi: _of_documents(snapshot, name, slots[lo:hi])


def _kind(snapshot: Snapshot, name: str) -> str:
    """Return what the function gets of a field: "integer", "float" or "boolean"; or refuse it."""
    if name == "id":
        return "integer"
    field = snapshot.schema.field(name)
    if field.is_list or field.is_text:
        what, where = ("lists", "has 1") if field.is_list else ("texts", "== 'a'")
        raise InvalidError(
            f"field {name!r} holds {what}, and a compiled function takes numbers and booleans: select by it "
            f'before, as in index["{name} {where}"].where_jit(...)'
        )
    return "boolean" if field.is_boolean else "float" if field.kind == "float" else "integer"


def _formed(words: np.ndarray, field: Field) -> np.ndarray:
    """Return sort values in unsigned form as the loop takes them (`kernels.predicates`)."""
    if field.is_boolean:
        return words.astype(np.uint8)
    assert field.sort is not None
    if field.kind != "float" and not field.sort.signed:
        return words
    return words.astype(np.uint64, copy=False).view(np.float64 if field.kind == "float" else np.int64)


def _turned(values: np.ndarray) -> np.ndarray:
    """Return integers (int64) as the loop takes signed ones."""
    return to_ordered(values).view(np.int64)


def _of_keys(keys: np.ndarray, field: Field) -> np.ndarray:
    """Return values of a filter field (int64, bound keys) as the loop takes them, in few bytes."""
    if field.is_boolean:
        return keys.astype(np.uint8)
    narrow = keys.min(initial=0) >= 0 and keys.max(initial=0) < 1 << 32
    return keys.astype(np.uint32) if narrow else _turned(keys)


def _of_bitmaps(snapshot: Snapshot, field: Field, found: BitMap) -> np.ndarray:
    """Return the values of a filter field of documents that have one, as the loop takes them."""
    parts = list(postings_of(snapshot, field.name))
    values = _of_keys(np.concatenate([np.empty(0, np.int64), *(part.values for part in parts)]), field)
    members, out, at = Members(found), np.zeros(len(found), values.dtype), 0
    for part in parts:
        counts = members.count(part.data, part.starts, part.stops)
        ranks = members.list(part.data, part.starts, part.stops, counts)
        out[ranks] = np.repeat(values[at : at + len(counts)], counts)
        at += len(counts)
    return out


def _of_documents(snapshot: Snapshot, name: str, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the values of a field that is only stored, and which documents have one."""
    from bitdex.frames import to_arrow

    array = to_arrow(snapshot.documents, slots, [name]).column(name).combine_chunks()
    present = np.asarray(pc.is_valid(array)) if array.null_count else None
    field = snapshot.schema.field(name)
    if field.is_boolean:
        return np.asarray(pc.fill_null(array, False)).astype(np.uint8), present
    if field.kind == "float":
        values = to_ordered(np.asarray(pc.fill_null(array, 0.0), np.float64))
        return values.view(np.float64), present
    return _turned(np.asarray(pc.fill_null(array, 0), np.int64)), present


def _all_there(read: list[tuple[np.ndarray, np.ndarray | None]], rows: int) -> np.ndarray:
    """Tell which documents have all the values."""
    there = np.ones(rows, bool)
    for _, present in read:
        if present is not None:
            there &= present
    return there


def _run(loop: Any, columns: Any, words: Any, keys: Any, lo: int, hi: int, out: Any, stop: Any) -> None:
    """Go through words [lo, hi) in calls of some milliseconds, until it is to stop."""
    whole(lambda: loop(columns, words, keys, lo, lo, out))  # compiled for these columns from here on
    step = 16
    while lo < hi and not stop.is_set():
        clock = time.perf_counter()
        loop(columns, words, keys, lo, min(lo + step, hi), out)
        lo += step
        step *= 2 if time.perf_counter() - clock < BRIEF else 1


def _in_threads(work: Callable[[int, int, threading.Event], None], parts: Iterable[tuple[int, int]]) -> None:
    """Do parts of the work side by side; whatever ends one of them, or this thread's waiting, ends all."""
    stop, every = threading.Event(), list(parts)
    if len(every) < 2 or THREADS == 1:
        for lo, hi in every:
            work(lo, hi, stop)
        return
    with ThreadPoolExecutor(THREADS) as pool:
        waiting = {pool.submit(work, lo, hi, stop) for lo, hi in every}
        try:
            while waiting:  # for a moment each: the signal of Ctrl-C may wake another thread than this one
                done, waiting = wait(waiting, PAUSE)
                for one in done:
                    one.result()
        except BaseException:
            stop.set()
            raise


def _bitmap_of_words(keys: np.ndarray, words: np.ndarray) -> BitMap:
    """Return the bitmap of expanded chunks: full ones as they are, of others the members listed."""
    table = words.reshape(-1, WORDS)
    counts = np.bitwise_count(table).sum(axis=1, dtype=np.int64)
    full = np.flatnonzero(counts > ARRAY_MAX)
    heads = np.stack((keys[full], counts[full] - 1), axis=1).astype("<u2")
    places = 8 + 8 * len(full) + BITSET_BYTES * np.arange(len(full))
    cookie = np.array([PLAIN_COOKIE, len(full)], "<u4")
    parts = cookie, heads, places.astype("<u4"), table[full]
    found = BitMap.deserialize(b"".join(one.tobytes() for one in parts))
    few = np.flatnonzero((counts > 0) & (counts <= ARRAY_MAX))
    listed = table[few].reshape(-1)
    filled = np.flatnonzero(listed)
    for lo in range(0, len(filled), LISTED):
        places = filled[lo : lo + LISTED]
        bits = np.flatnonzero(np.unpackbits(listed[places].view(np.uint8), bitorder="little"))
        firsts = (keys[few[places // WORDS]] << 16) + 64 * (places % WORDS)
        found |= bitmap_of((firsts[bits >> 6] + (bits & 63)).astype(np.uint32))
    return found
