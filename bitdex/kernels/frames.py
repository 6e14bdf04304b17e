"""Writing, verifying and scanning frames (layout: `formats.frame`)."""

from typing import Any

import numpy as np

from bitdex.kernels.checksum import (
    STRIDE,
    advance,
    crc_byte,
    crc_state_at,
    crc_states,
    crc_update,
    crc_word,
)
from bitdex.kernels.jit import (
    device,
    i64,
    kernel,
    r_i64,
    r_u8,
    r_u32,
    r_u64,
    u32,
    u64,
    w_i64,
    w_u8,
    w_u64,
)
from bitdex.kernels.memory import copy, load32, load64, store32, store64

HEAD = 24
BEGINS_SYNCED = np.uint64(0x60)
_HALF = np.uint64(32)
_KIND, _NO_KIND, _LAST_KIND = np.uint64(0x0F), np.uint64(0), np.uint64(3)


@device
def _frame_crc(key: Any, order: Any, values: Any, start: Any, size: Any, seed: Any) -> Any:
    """Return the checksum of a frame from its parts.

    Reading the frame back would wait until its cache line has arrived and taken the stores.
    """
    state = crc_word(~seed, np.uint64(size) | key << _HALF)
    state = crc_word(state, key >> _HALF | order << _HALF)
    if size >= 4:
        state = crc_word(state, order >> _HALF | np.uint64(load32(values, start)) << _HALF)
        return np.uint32(~crc_update(state, values, start + 4, size - 4))
    for shift in range(32, 64, 8):
        state = crc_byte(state, np.uint8((order >> np.uint64(shift)) & np.uint64(0xFF)))
    return np.uint32(~crc_update(state, values, start, size))


@device
def put_frame(key: Any, order: Any, values: Any, start: Any, size: Any, seed: Any, out: Any, at: Any) -> Any:
    """Write one frame at ``out[at:]``; return the bytes taken, padding included."""
    store32(out, at, _frame_crc(key, order, values, start, size, seed))
    store32(out, at + 4, np.uint32(size))
    store64(out, at + 8, key)
    store64(out, at + 16, order)
    tail = size & 7
    if tail:  # zero the padding first, the payload then covers the rest of the word
        store64(out, at + HEAD + size - tail, np.uint64(0))
    copy(out, at + HEAD, values, start, size)
    return (HEAD + size + 7) & ~7


@device
def frame_holds(data: Any, at: Any, end: Any, seed: Any) -> Any:
    """Tell whether a whole frame of a known kind with a right checksum lies at `at`, before `end`."""
    if at < 0 or at > end - HEAD:
        return False
    size, kind = np.int64(load32(data, at + 4)), load64(data, at + 16) & _KIND
    if size > end - at - HEAD or kind == _NO_KIND or kind > _LAST_KIND:
        return False
    return np.uint32(~crc_update(~seed, data, at + 4, 20 + size)) == load32(data, at)


@device
def is_frame_of(key: Any, size: Any, data: Any, at: Any, seed: Any) -> Any:
    """Tell whether the frame of `key` with `size` bytes of payload lies, whole and right, at `at`."""
    if at < 0 or size < 0 or at > len(data) - HEAD - size:
        return False
    if np.int64(load32(data, at + 4)) != size or load64(data, at + 8) != key:
        return False
    return np.uint32(~crc_update(~seed, data, at + 4, 20 + size)) == load32(data, at)


@kernel(r_i64, i64, i64, returns=i64)
def check_offsets(offsets: Any, end: Any, longest: Any) -> Any:
    """Return the first value that does not lie in ``0..end`` or passes `longest` bytes, or -1."""
    if offsets[0] < 0 or offsets[0] > end:
        return 0
    for i in range(len(offsets) - 1):
        size = offsets[i + 1] - offsets[i]
        if size < 0 or size > longest or offsets[i + 1] > end:
            return i
    return -1


@kernel(r_i64, i64, w_i64)
def place_frames(offsets: Any, start: Any, out: Any) -> None:
    """Fill `out` (n + 1) with the places of frames whose payloads have these offsets (n + 1)."""
    at = start
    for i in range(len(offsets) - 1):
        out[i] = at
        at += (HEAD + offsets[i + 1] - offsets[i] + 7) & ~7
    out[len(offsets) - 1] = at


@kernel(r_u64, r_i64, i64, u64, w_u64, w_i64, w_i64, w_u64, returns=i64)
def enter_operations(
    keys: Any, offsets: Any, start: Any, word: Any, out: Any, places: Any, sizes: Any, words: Any
) -> Any:
    """Fill the columns of a batch whose frames follow one another from `start` on; return where they end."""
    at = start
    for i in range(len(keys)):
        out[i] = keys[i]
        places[i] = at
        sizes[i] = offsets[i + 1] - offsets[i]
        words[i] = word
        at += (HEAD + sizes[i] + 7) & ~7
    return at


@kernel(r_u64, r_u8, r_i64, r_u64, u32, r_i64, i64, i64, i64, w_u8)
def write_frames(
    keys: Any,
    values: Any,
    offsets: Any,
    order: Any,
    seed: Any,
    places: Any,
    lo: Any,
    hi: Any,
    base: Any,
    out: Any,
) -> None:
    """Write the frames ``lo..hi`` at ``places - base`` in `out`; `order` has one word each or for all."""
    each = len(order) > 1
    for i in range(lo, hi):
        word = order[i] if each else order[0]
        size = offsets[i + 1] - offsets[i]
        put_frame(keys[i], word, values, offsets[i], size, seed, out, places[i] - base)


@kernel(w_u8, i64, u64, u32)
def mark_frame(out: Any, at: Any, flag: Any, seed: Any) -> None:
    """Set a flag of the frame at `at` and renew its checksum."""
    store64(out, at + 16, load64(out, at + 16) | flag)
    size = np.int64(load32(out, at + 4))
    store32(out, at, ~crc_update(~seed, out, at + 4, 20 + size))


@kernel(w_u8, i64, u64, u64, u32, i64, w_u64, w_i64, w_i64, w_u64, returns=i64)
def seal_frames(
    out: Any,
    start: Any,
    first_flag: Any,
    last_flag: Any,
    seed: Any,
    row: Any,
    keys: Any,
    places: Any,
    sizes: Any,
    words: Any,
) -> Any:
    """Complete a batch of frames that lie in `out` without flags and checksums, to be written at `start`.

    Enters them into the columns from `row` on; returns how many there are.
    """
    at: Any = 0
    count = 0
    while at < len(out):
        size = np.int64(load32(out, at + 4))
        stop = at + ((HEAD + size + 7) & ~7)
        word = load64(out, at + 16)
        if count == 0:
            word |= first_flag
        if stop == len(out):
            word |= last_flag
        store64(out, at + 16, word)
        store32(out, at, ~crc_update(~seed, out, at + 4, 20 + size))
        keys[row + count] = load64(out, at + 8)
        places[row + count] = start + at
        sizes[row + count] = size
        words[row + count] = word
        at = stop
        count += 1
    return count


@kernel(r_u8, i64, i64, u32, w_u64, w_i64, w_i64, w_u64, returns=i64)
def scan_frames(
    data: Any, start: Any, end: Any, seed: Any, keys: Any, places: Any, sizes: Any, orders: Any
) -> Any:
    """Walk frames from `start`; return how many hold one after the other (at most ``len(keys)``)."""
    at = start
    count = 0
    while count < len(keys) and frame_holds(data, at, end, seed):
        sizes[count] = np.int64(load32(data, at + 4))
        keys[count] = load64(data, at + 8)
        orders[count] = load64(data, at + 16)
        places[count] = at
        at += (HEAD + sizes[count] + 7) & ~7
        count += 1
    return count


@kernel(r_u8, i64, i64, u64, u32, r_u32, returns=i64)
def search_frames(data: Any, start: Any, end: Any, sequence: Any, seed: Any, states: Any) -> Any:
    """As `find_later_frame`, with the `crc_states` of the range."""
    for at in range(start, end - HEAD + 1, 8):
        order = load64(data, at + 16)
        size = 20 + np.int64(load32(data, at + 4))
        begins = order & BEGINS_SYNCED == BEGINS_SYNCED and (order >> np.uint64(8)) > sequence
        if not begins or size > end - at - 4:
            continue
        before = crc_state_at(data, start, at + 4, states)
        after = crc_state_at(data, start, at + 4 + size, states)
        checksum = np.uint32(~(advance(np.uint32(~seed) ^ before, size) ^ after))
        if checksum == load32(data, at) and frame_holds(data, at, end, seed):
            return at
    return -1


def find_later_frame(data: np.ndarray, start: int, end: int, sequence: np.uint64, seed: np.uint32) -> int:
    """Return the place of the first frame that holds and begins, SYNCED, a batch above `sequence`; or -1.

    Any bytes may look like the beginning of a long frame; the time still grows with the range only.
    """
    if end - start < HEAD:  # the last frame may end in padding that a cut has taken
        return -1
    states = np.empty((end - start) // STRIDE + 1, np.uint32)
    crc_states(data, start, end, states)
    return search_frames(data, start, end, sequence, seed, states)
