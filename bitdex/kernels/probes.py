"""Looking into a silo: how far keys stand from their homes, and the frames of every record."""

from typing import Any

import numpy as np

from bitdex.kernels.frames import frame_holds
from bitdex.kernels.hash_index import home, homes_of
from bitdex.kernels.jit import i64, kernel, r_i64, r_u8, r_u64, u32, w_i64
from bitdex.kernels.memory import load32, load64

HEAD = 24


@kernel(r_u64, r_i64, w_i64)
def measure_distances(table: Any, entries: Any, out: Any) -> None:
    """Fill `out` with how many entries lie between the home of the key at each entry and the entry."""
    homes = homes_of(table)
    for i in range(len(entries)):
        out[i] = entries[i] - home(table[3 * entries[i]], homes)


@kernel(r_u8, r_u64, r_i64, r_i64, u32, i64, i64, w_i64, w_i64)
def verify_records(
    data: Any, keys: Any, places: Any, lengths: Any, seed: Any, lo: Any, hi: Any, counts: Any, bad: Any
) -> None:
    """Walk the frames of the records ``lo..hi``: their number, and the place of the first bad one or -1.

    A frame is bad when it does not hold, belongs to another key or passes the record's
    end; a record that lies outside `data` or has no frame is bad at its beginning.
    """
    for i in range(lo, hi):
        at = places[i]
        end = places[i] + lengths[i]
        counts[i] = 0
        bad[i] = -1
        if at < 0 or lengths[i] < HEAD or lengths[i] > len(data) - at:
            bad[i] = at
            continue
        while at < end:
            if not frame_holds(data, at, end, seed) or load64(data, at + 8) != keys[i]:
                bad[i] = at
                break
            at += (HEAD + np.int64(load32(data, at + 4)) + 7) & ~7
            counts[i] += 1


@kernel(r_u8, r_i64, r_i64, r_i64, w_i64)
def list_record_frames(data: Any, places: Any, counts: Any, starts: Any, out: Any) -> None:
    """Write the places of the ``counts[i]`` frames of each (verified) record at ``starts[i]`` in `out`."""
    for i in range(len(places)):
        at = places[i]
        for frame in range(counts[i]):
            out[starts[i] + frame] = at
            at += (HEAD + np.int64(load32(data, at + 4)) + 7) & ~7
