"""Writes: what a batch of several silos writes into one of them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter

import numpy as np

from bitdex.formats import frame
from bitdex.silo.silo import Silo

NOBODY = (1 << 64) - 1  # a key that no document and no bitmap has
FEW = 256  # frames that are sooner put together one by one than in arrays


@dataclass(slots=True)
class Writes:
    """What a batch writes into one silo: frames of a kind (`formats.frame`), key and payload.

    Several frames of one key have to be added in the same way, `single` or packed; they count in order.

    Attributes
    ----------
    single : list of (int, int, bytes)
        Kind, key and payload of each frame.
    packed : list of (int, ndarray, ndarray, ndarray)
        A kind, keys (u64) and packed payloads with their offsets each.
    """

    single: list[frame.Operation] = field(default_factory=list)
    packed: list[tuple[int, np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=list)

    def add(self, kind: int, key: int, payload: bytes) -> None:
        """Add one frame."""
        self.single.append((kind, key, payload))

    def add_many(self, kind: int, keys: np.ndarray, payloads: np.ndarray, offsets: np.ndarray) -> None:
        """Add several frames: the payload of keys[i] is ``payloads[offsets[i]:offsets[i + 1]]``."""
        if len(keys):
            self.packed.append((kind, keys, payloads, offsets))

    def __bool__(self) -> bool:
        return bool(self.single or self.packed)

    def append(self, silo: Silo, sequence: int) -> None:
        """Write them as one batch, without effect if there are none: the log tells how far it reaches."""
        if not self:
            self.add(frame.DELETE, NOBODY, b"")
        if not self.packed and len(self.single) <= FEW:
            silo.apply_few(self.single, sequence)
            return
        parts = [*self.packed, *_packed(self.single)]
        kinds, keys, payloads, offsets = zip(*parts)
        each = np.repeat(np.array(kinds, np.uint64), [len(one) for one in keys])
        ends = np.zeros(len(each) + 1, np.int64)
        np.cumsum(np.concatenate([one[1:] - one[:-1] for one in offsets]), out=ends[1:])
        silo.apply_many(each, np.concatenate(keys), np.concatenate(payloads), ends, sequence=sequence)


def _packed(single: list[frame.Operation]) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
    """Yield frames that were added one by one, those of a kind that follow each other together."""
    for kind, group in groupby(single, itemgetter(0)):
        _, keys, payloads = zip(*group)
        ends = np.zeros(len(keys) + 1, np.int64)
        np.cumsum([len(one) for one in payloads], out=ends[1:])
        yield kind, np.array(keys, np.uint64), np.frombuffer(b"".join(payloads), np.uint8), ends


def reach(silo: Silo, sequence: int) -> None:
    """Let a silo reach a sequence in which it does not change, durably: the lesser reach counts."""
    Writes().append(silo, sequence)
    silo.sync()
