"""BitmapSilo: the bitmaps of an index, by field and value, field and bit, or role.

Keys and payloads are specified in `formats.bitmap`. This module gives them their
meaning: values of filter fields, layers of sort fields, the alive bitmap, the slots a
field has a value for, the slots a phase wrote.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from pyroaring import BitMap

from bitdex.dictionaries import Dictionaries
from bitdex.errors import CorruptError
from bitdex.formats import bitmap as format_
from bitdex.kernels.layers import decode_layers, encode_layers
from bitdex.kernels.roaring import decode_slots
from bitdex.schema import Field
from bitdex.silo.silo import Silo
from bitdex.silo.state import State

WIDE = 1 << 47  # stored values from here on are WIDE + a dictionary number
_SETTINGS: dict[str, Any] = {"headroom": 1.0, "minimum": 0, "alignment": 32}


@dataclass(frozen=True, slots=True)
class Packed:
    """Encoded bitmaps of one field: values (u64), packed payloads (u8), offsets (i64, n + 1)."""

    values: np.ndarray
    payloads: np.ndarray
    offsets: np.ndarray

    def payload(self, i: int) -> np.ndarray:
        """Return the bytes of bitmap i."""
        return self.payloads[self.offsets[i] : self.offsets[i + 1]]


class BitmapSilo:
    """Bitmaps by role, over a silo that folds them or a pinned state; reads are safe from any thread."""

    def __init__(self, source: Silo | State, dictionaries: Dictionaries):
        self.source = source
        self._dictionaries = dictionaries
        self._keys: tuple[Any, np.ndarray] | None = None

    @property
    def silo(self) -> Silo:
        """The silo itself; a pinned state has none."""
        assert isinstance(self.source, Silo)
        return self.source

    @classmethod
    def open(
        cls,
        path: Any,
        mode: str,
        at: int | None,
        sync: str,
        dictionaries: Dictionaries,
        before: Silo | None = None,
    ) -> "BitmapSilo":
        """Open the silo of bitmaps at a sequence; with `mode` "w" and without one, make it."""
        settings = _SETTINGS if at is None else {}  # one that is there has its own
        identity = dictionaries.identity + 1  # so that blocks of the two silos are told apart
        silo = Silo.open(path, mode, "bitmap", at=at, sync=sync, identity=identity, before=before, **settings)
        return cls(silo, dictionaries)

    def get(self, key: int) -> BitMap:
        """Return the bitmap of a key; empty where nothing is stored."""
        payload = self.source.view(key)
        return BitMap() if payload is None else self._decode(payload)

    def get_many(self, keys: list[int]) -> list[BitMap]:
        """Return the bitmaps of keys."""
        values = self.source.get_many(np.array(keys, np.uint64))
        ends = values.offsets.tolist()
        return [self._decode(values.data[a:b]) if b > a else BitMap() for a, b in zip(ends, ends[1:])]

    def get_values(self, field: int, values: list[int]) -> list[BitMap]:
        """Return the bitmaps of several values of a filter field."""
        if min(values) >= 0 and max(values) < WIDE:
            first = field << 48
            return self.get_many([first | value for value in values])
        stored = [self.stored_value(field, value) for value in values]
        found = iter(self.get_many([format_.filter_key(field, s) for s in stored if s is not None]))
        return [BitMap() if s is None else next(found) for s in stored]

    def alive(self) -> BitMap:
        """Return the slots of all visible documents."""
        return self.get(format_.alive_key())

    def present(self, field: int) -> BitMap:
        """Return the slots that have a value of a field, alive or not."""
        return self.get(format_.present_key(field))

    def stored_values(self, field: int) -> np.ndarray:
        """Return the stored values of a filter field, ascending uint64."""
        keys = self._sorted_keys()
        first = np.searchsorted(keys, np.uint64(field << 48))
        stop = np.searchsorted(keys, np.uint64((field + 1) << 48))
        return keys[first:stop] & np.uint64(format_.VALUE_MAX)

    def layers(self, field: int) -> tuple[np.ndarray, np.ndarray]:
        """Return slots (uint32, ascending) and values (uint64, order-preserving) of a sort field."""
        present = self.source.view(format_.present_key(field))
        if present is None:
            return np.empty(0, np.uint32), np.empty(0, np.uint64)
        slots = decode_slots(present)
        keys = np.array([format_.layer_key(field, bit) for bit in range(64)], np.uint64)
        stored = self.source.get_many(keys)
        bits = np.flatnonzero(stored.found)
        offsets = np.concatenate((stored.offsets[:-1][bits], stored.offsets[-1:]))
        try:
            return slots, decode_layers(bits, stored.data, offsets, slots)
        except ValueError as error:
            raise CorruptError(f"sort layers of field id {field}: {error}") from None

    # -- values of integer filter fields -------------------------------------------------

    def encode_values(self, field: int, values: np.ndarray) -> np.ndarray:
        """Return integers (int64) as stored values (uint64); those outside 47 bits by dictionary number."""
        wide = (values < 0) | (values >= WIDE)
        out = values.astype(np.uint64)
        if wide.any():
            distinct, inverse = np.unique(values[wide], return_inverse=True)
            numbers = self._dictionaries.ensure(field, [str(v) for v in distinct.tolist()])
            out[wide] = np.array(numbers, np.uint64)[inverse] + np.uint64(WIDE)
        return out

    def stored_value(self, field: int, value: int) -> int | None:
        """Return the stored value of one integer, or None where it was never seen."""
        if 0 <= value < WIDE:
            return value
        number = self._dictionaries.find(field, str(value))
        return None if number is None else WIDE + number

    def decode_values(self, field: int, stored: np.ndarray) -> np.ndarray:
        """Return stored values (uint64) as the integers they stand for (int64)."""
        out = stored.astype(np.int64)
        wide = stored >= WIDE
        if wide.any():
            numbers, known = out[wide] - WIDE, self._dictionaries.integers(field)
            out[wide] = known[np.where(numbers < len(known), numbers, 0)]  # 0 of what is not known
        return out

    def _sorted_keys(self) -> np.ndarray:
        state = (id(self.source.data), self.source.sequence)
        if self._keys is None or self._keys[0] != state:
            self._keys = (state, self.source.keys())
        return self._keys[1]

    def _decode(self, payload: np.ndarray) -> BitMap:
        """Take the bytes of a bitmap whose frame was verified when it was read."""
        buffer: Any = payload
        return BitMap.deserialize(memoryview(buffer))  # type: ignore[arg-type]


def sort_word(field: Field, value: Any) -> int:
    """Return a sort value in order-preserving unsigned form (`formats.bitmap`)."""
    assert field.sort is not None
    if field.kind == "float":
        return int(format_.to_ordered(np.array([value], np.float64))[0])
    return int(value) + (1 << 63) if field.sort.signed else int(value)


def sort_words(field: Field, values: np.ndarray) -> np.ndarray:
    """Return sort values (numbers or booleans, without nulls) in that form (u64)."""
    assert field.sort is not None
    if field.kind == "float":
        return format_.to_ordered(values.astype(np.float64))
    return format_.to_ordered(values.astype(np.int64 if field.sort.signed else np.uint64))


class BitmapChanges:
    """The bitmaps that one commit writes: puts and deletes collected, then applied at once."""

    def __init__(self, bitmaps: BitmapSilo):
        self.bitmaps = bitmaps
        self._keys: list[np.ndarray] = []
        self._payloads: list[np.ndarray] = []
        self._sizes: list[np.ndarray] = []
        self._deleted: list[int] = []

    def __bool__(self) -> bool:
        silo = self.bitmaps.silo
        return any(map(len, self._keys)) or bool(self._deleted and (len(silo) or silo.pending))

    def delete(self, keys: np.ndarray) -> None:
        """Delete bitmaps, but for those that are put as well."""
        self._deleted += keys.tolist()

    def put(self, key: int, bitmap: BitMap) -> None:
        """Write a bitmap; an empty one is deleted."""
        if not bitmap:
            self._deleted.append(key)
            return
        payload = np.frombuffer(format_.encode(bitmap), np.uint8)
        self.put_packed(np.array([key], np.uint64), payload, np.array([0, len(payload)]))

    def put_packed(self, keys: np.ndarray, payloads: np.ndarray, offsets: np.ndarray) -> None:
        """Write encoded bitmaps."""
        self._keys.append(keys)
        self._payloads.append(payloads)
        self._sizes.append(np.diff(offsets))

    def put_layers(self, field: int, slots: np.ndarray, values: np.ndarray) -> None:
        """Write the layers of a sort field: slots (uint32, ascending), values (uint64, order-preserving)."""
        bits, payloads, offsets = encode_layers(slots, values)
        keys = np.array([format_.layer_key(field, int(bit)) for bit in bits], np.uint64)
        self.put_packed(keys, payloads, offsets)
        self._deleted += [format_.layer_key(field, bit) for bit in range(64) if bit not in set(bits.tolist())]

    def write(self, sequence: int) -> None:
        """Apply everything to the silo and prepare its commit; `silo.finish` makes it final."""
        silo = self.bitmaps.silo
        keys = np.concatenate([*self._keys, np.empty(0, np.uint64)])
        payloads = np.concatenate([*self._payloads, np.empty(0, np.uint8)])
        offsets = np.concatenate(([0], np.cumsum(np.concatenate([*self._sizes, np.empty(0, np.int64)]))))
        self._payloads.clear()
        if not len(silo) and not silo.pending:
            silo.put_many(keys, payloads, offsets.astype(np.int64), sequence=sequence)
            silo.compact(commit=False)
            return
        with silo.merge_writer(sequence, commit=False) as writer:
            writer.delete_many(np.setdiff1d(np.array(self._deleted, np.uint64), keys))
            writer.put_many(keys, payloads, offsets.astype(np.int64))
