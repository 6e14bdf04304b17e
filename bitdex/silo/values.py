"""Packed values: many byte strings in one array, and the keys they belong to."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import index
from typing import Any

import numpy as np

from bitdex.errors import InvalidError
from bitdex.formats.frame import MAX_PAYLOAD, SEQUENCES
from bitdex.kernels.frames import check_offsets
from bitdex.silo.integers import as_integers


@dataclass(frozen=True, slots=True)
class Values:
    """Values read for a batch of keys.

    Attributes
    ----------
    data : ndarray of uint8, shape (bytes,)
    offsets : ndarray of int64, shape (n + 1,)
        Value i is ``data[offsets[i]:offsets[i + 1]]``.
    found : ndarray of bool, shape (n,)
        False where the key is not there; its value is then empty.
    """

    data: np.ndarray
    offsets: np.ndarray
    found: np.ndarray

    def __len__(self) -> int:
        return len(self.found)

    def __getitem__(self, i: int) -> bytes | None:
        """Return value i as bytes, or None where the key is not there."""
        if not self.found[i]:
            return None
        i = range(len(self.found))[i]
        return self.data[self.offsets[i] : self.offsets[i + 1]].tobytes()

    def __iter__(self) -> Iterator[bytes | None]:
        return (self[i] for i in range(len(self)))

    def packed(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return some of the values, where `chosen` (bool, shape (n,)) is true, and their offsets."""
        if chosen.all():
            return self.data, self.offsets
        sizes = np.diff(self.offsets)
        offsets = np.concatenate(([0], np.cumsum(sizes[chosen])))
        return self.data[np.repeat(chosen, sizes)], offsets


def as_keys(keys: Any) -> np.ndarray:
    """Return keys as uint64, shape (n,); refuse what does not fit."""
    return as_integers(keys, "keys", (1 << 64) - 1)


def as_key(key: Any) -> int:
    """Return one key as an integer; refuse what is none."""
    try:
        number = index(key)
    except TypeError:
        raise InvalidError(f"key: expected an integer from 0 to 2^64-1, found {key!r}") from None
    if not 0 <= number < 1 << 64:
        raise InvalidError(f"key: {number} is outside 0 to 2^64-1")
    return number


def as_sequence(sequence: Any) -> int | None:
    """Return the sequence that a caller wants, an integer, or None; refuse what no batch can have."""
    if sequence is None:
        return None
    try:
        number = index(sequence)
    except TypeError:
        number = 0
    if not 0 < number < SEQUENCES:
        raise InvalidError(f"sequence: expected an integer from 1 to 2^56-1, found {sequence!r}")
    return number


def as_packed(values: Any, offsets: Any, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return values as packed bytes and int64 offsets (count + 1), from either form a caller may use."""
    if offsets is None:
        return _pack(values, count)
    data = np.ascontiguousarray(np.asarray(values)).view(np.uint8)
    places = np.ascontiguousarray(np.asarray(offsets), dtype=np.int64)
    if len(places) != count + 1:
        raise InvalidError(f"offsets: expected {count + 1} for {count} keys, found {len(places)}")
    _check_offsets(places, len(data))
    return data, places


def _pack(values: Sequence[bytes], count: int) -> tuple[np.ndarray, np.ndarray]:
    if len(values) != count:
        raise InvalidError(f"values: expected {count} for {count} keys, found {len(values)}")
    if not set(map(type, values)) <= {bytes, bytearray}:  # the length of others may not be their bytes
        values = [_as_bytes(value, row) for row, value in enumerate(values)]
    offsets = np.zeros(count + 1, np.int64)
    np.cumsum(np.fromiter(map(len, values), np.int64, count), out=offsets[1:])
    _check_offsets(offsets, int(offsets[-1]))
    return np.frombuffer(b"".join(values), np.uint8), offsets


def _as_bytes(value: Any, row: int) -> bytes:
    try:
        return memoryview(value).tobytes()
    except (TypeError, ValueError):
        found = type(value).__name__
        raise InvalidError(f"values: expected bytes, found {found} as value {row}") from None


def _check_offsets(offsets: np.ndarray, end: int) -> None:
    row = check_offsets(offsets, end, MAX_PAYLOAD)
    if row < 0:
        return
    size = int(offsets[row + 1] - offsets[row]) if len(offsets) > 1 else 0
    if size > MAX_PAYLOAD:
        raise InvalidError(f"values: value {row} has {size} bytes; at most {MAX_PAYLOAD} are possible")
    raise InvalidError(f"offsets: expected an ascending sequence from 0 to {end}, found others at {row}")
