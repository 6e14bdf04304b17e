"""Replay: finding the batches of a log again (rules: `formats.oplog`)."""

import numpy as np

from bitdex.errors import CorruptError
from bitdex.formats import frame
from bitdex.kernels import frames as kernels
from bitdex.silo.operations import Operations

SCAN = 1 << 20  # frames scanned at a time


def whole_batches(data: np.ndarray, at: int, last: int, seed: np.uint32, name: str) -> Operations:
    """Return the operations of the whole batches from offset `at` on; `last` is the sequence before them.

    What follows them is a torn tail. A writer may be appending meanwhile: where a batch seems damaged
    and a later one follows, the damage counts only if a second look sees it too.
    """
    seen = -1
    while True:
        found = _scan_frames(data, at, seed)
        end = _torn_from(found, last, name)
        after = _place_after(found, at, end)
        later = kernels.find_later_frame(
            data, after, len(data), np.uint64(_last_sequence(found[:end], last)), seed
        )
        if later < 0:
            return found[: _committed(found[:end])]
        if after == seen:
            raise CorruptError.at(
                name,
                after,
                "expected a frame with a right checksum, found damaged bytes; "
                f"a later batch follows at offset {later}",
            )
        seen = after


def sequences_of(operations: Operations) -> np.ndarray:
    """Return the sequence of each operation."""
    return operations.words >> np.uint64(8)


def _scan_frames(data: np.ndarray, at: int, seed: np.uint32) -> Operations:
    parts = []
    room = max(1, min(SCAN, (len(data) - at) // frame.SIZE + 1))  # a file may end in the padding before
    while True:
        part = Operations.empty(room)
        count = kernels.scan_frames(data, at, len(data), seed, part.keys, part.places, part.sizes, part.words)
        parts.append(part[:count])
        if count < room:
            return Operations.join(parts)
        at = int(part.places[-1] + frame.padded(part.sizes[-1]))


def _torn_from(found: Operations, last: int, name: str) -> int:
    """Return the first frame that no batch can have there; refuse batches out of order.

    Behind a batch that was cut short lie, at most, frames of one that was begun in the same place
    before: they do not begin a batch, and belong to another sequence or follow a finished batch.
    """
    if not len(found):
        return 0
    sequences, begins = sequences_of(found), found.words & np.uint64(frame.BEGIN) != 0
    due = np.concatenate(([True], found.words[:-1] & np.uint64(frame.COMMIT) != 0))
    before = np.concatenate(([np.uint64(last)], sequences[:-1]))
    disorder = np.flatnonzero(begins & (~due | (sequences <= before)))
    stray = np.flatnonzero(~begins & (due | (sequences != before)))
    stop = int(stray[0]) if len(stray) else len(found)
    if len(disorder) and disorder[0] < stop:
        row = int(disorder[0])
        raise CorruptError.at(
            name, found.places[row], f"expected a batch above sequence {before[row]}, found {sequences[row]}"
        )
    return stop


def _place_after(found: Operations, at: int, stop: int) -> int:
    if stop < len(found):
        return int(found.places[stop])
    return int(found.places[-1] + frame.padded(found.sizes[-1])) if len(found) else at


def _last_sequence(found: Operations, last: int) -> int:
    return int(found.words[-1]) >> 8 if len(found) else last


def _committed(found: Operations) -> int:
    """Return how many of the operations belong to whole batches."""
    stops = np.flatnonzero(found.words & np.uint64(frame.COMMIT))
    return int(stops[-1]) + 1 if len(stops) else 0
