"""Ops on bitmaps as they lie in an ops log: which slots each frame sets or clears.

A Merge frame (`formats.frame`) holds ops one after the other, each ``u8 op, u32 length``, a bitmap
(`formats.bitmap`). Frames are verified by their checksum once more, and every length is checked.
"""

from typing import Any

import numpy as np

from bitdex.kernels.frames import HEAD, is_frame_of
from bitdex.kernels.jit import device, i64, kernel, r_i64, r_u8, r_u64, u32, w_bool, w_i64, w_u32
from bitdex.kernels.memory import load32
from bitdex.kernels.roaring import count_payload, read_payload

SET, CLEAR = 1, 2
OP_HEAD = 5  # bytes before the bitmap of an op

Bits = tuple[np.ndarray, np.ndarray, np.ndarray]  # keys (u64) and slots (u32), and which are set (bool)


@device
def op_end(data: Any, at: Any, stop: Any) -> Any:
    """Return where the op at `at` ends, or -1 if none lies there before `stop`."""
    if at + OP_HEAD > stop or not (data[at] == SET or data[at] == CLEAR):
        return np.int64(-1)
    end = at + OP_HEAD + np.int64(load32(data, at + 1))
    return end if end <= stop else np.int64(-1)


@kernel(r_u8, r_u64, r_i64, r_i64, u32, w_i64, returns=i64)
def count_slots(data: Any, keys: Any, places: Any, sizes: Any, seed: Any, counts: Any) -> Any:
    """Count the slots that the ops of each frame name; return the first damaged frame, or -1."""
    for i in range(len(keys)):
        if not is_frame_of(keys[i], sizes[i], data, places[i], seed):
            return i
        at = places[i] + HEAD
        stop = at + sizes[i]
        total = np.int64(0)
        while at < stop:
            end = op_end(data, at, stop)
            count = count_payload(data, at + OP_HEAD, end)
            if end < 0 or count < 0:
                return i
            total += count
            at = end
        counts[i] = total
    return -1


@kernel(r_u8, r_i64, r_i64, r_i64, w_u32, w_bool, returns=i64)
def list_slots(data: Any, places: Any, sizes: Any, starts: Any, slots: Any, sets: Any) -> Any:
    """Write the slots of each frame from ``starts[i]`` on, as counted, and whether its op sets them.

    Return the first damaged frame, or -1.
    """
    for i in range(len(places)):
        at, filled = places[i] + HEAD, starts[i]
        stop = at + sizes[i]
        while at < stop:
            end = op_end(data, at, stop)
            if end < 0:
                return i
            then = read_payload(data, at + OP_HEAD, end, filled, slots)
            if then < 0:
                return i
            for j in range(filled, then):
                sets[j] = data[at] == SET
            filled, at = then, end
        if filled != starts[i + 1]:
            return i
    return -1


def bits_of(
    data: np.ndarray, keys: np.ndarray, places: np.ndarray, sizes: np.ndarray, seed: np.uint32, most: int
) -> Bits | None:
    """Return the bits that frames set and clear, in order.

    Parameters
    ----------
    data : ndarray of uint8
        The log.
    keys, places, sizes : ndarray of uint64, int64, int64, shape (n,)
        Of each frame: its key, where it begins and how long its payload is.
    seed : np.uint32
        The checksum state from which frames of this store continue.
    most : int

    Returns
    -------
    tuple of ndarray or None
        The key, the slot and whether it is set, of each bit. None if there are more than `most`, and if a
        frame is damaged: who reads its bitmap is told what it is.
    """
    counts = np.zeros(len(keys), np.int64)
    damaged = count_slots(data, keys, places, sizes, seed, counts)
    starts = np.concatenate(([0], np.cumsum(counts)))
    if damaged >= 0 or starts[-1] > most:
        return None
    slots, sets = np.empty(starts[-1], np.uint32), np.empty(starts[-1], bool)
    damaged = list_slots(data, places, sizes, starts, slots, sets)
    return None if damaged >= 0 else (np.repeat(keys, counts), slots, sets)
