"""Folding: the payloads of each record become one payload.

A record's entries are walked once. Every field gets a slot that remembers the entry
which holds its value, and a chain of the list changes behind it. Then the slots are
written in the order in which their fields were first seen; values that stand side by
side in the source are copied as one run.

    table      field -> number of the record << 16 | slot   (the number, from 1, saves a reset)
    slots      four words a slot: entry's start (-1: no value), its end, chain, chain's last
    chain      PLAIN: copied as it is; RETAGGED: an append to nothing, becomes a replace;
               otherwise the first link
    links      two words a link: start of an append or remove entry, next link or -1

Scratch belongs to the caller: `table` has 65,536 words and begins as zeros, `slots` and
`links` have room for the entries of the longest record (three bytes at least each),
`elements` for its bytes.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from bitdex.errors import CorruptError
from bitdex.formats.document import (
    CLEAR,
    COMBINES,
    LIST,
    LIST_REMOVE,
    LONG,
    MAX_FIELD,
    REPLACES,
    decode_record,
    encode_document,
)
from bitdex.kernels.blocks import each_block
from bitdex.kernels.document_decode import (
    ascending,
    element,
    entry_end,
    get_elements,
    packed,
    refuse,
    value_start,
)
from bitdex.kernels.document_encode import element_code_of, list_size, put_list
from bitdex.kernels.jit import device, i64, kernel, r_i64, r_u8, w_i64, w_u8
from bitdex.kernels.memory import copy, load16, load32

PLAIN, RETAGGED = -1, -2
FOLDED, IN_PYTHON, DAMAGED, FULL = 0, 1, 2, 3
BLOCK = 8192  # records
GROWTH = 8  # an element of one byte beside one of eight


@device
def _count(data: Any, at: Any) -> Any:
    short = np.int64(data[at + 3])
    return short if short < LONG else np.int64(load32(data, at + 4))


@device
def _combine(data: Any, at: Any, end: Any, tag: Any, slot: Any, slots: Any, links: Any, used: Any) -> Any:
    """Apply an append or remove to a slot; return the number of links, or -1 if it takes Python."""
    held = slots[slot]
    if held < 0:
        if tag < LIST_REMOVE:
            slots[slot], slots[slot + 1], slots[slot + 2] = at, end, RETAGGED
        return used
    old = data[held + 2]
    if old < LIST:  # a scalar
        return used if tag >= LIST_REMOVE else np.int64(-1)
    if (old | tag) & 0x10:  # a mixed list is one of them
        return np.int64(-1)
    links[2 * used], links[2 * used + 1] = at, -1
    if slots[slot + 2] < 0:
        slots[slot + 2] = used
    else:
        links[2 * slots[slot + 3] + 1] = used
    slots[slot + 3] = used
    return used + 1


@device
def _walk(
    data: Any, at: Any, stop: Any, number: Any, table: Any, slots: Any, links: Any, count: Any, used: Any
) -> Any:
    """Apply a payload's entries; return FOLDED, IN_PYTHON or DAMAGED, the numbers of slots and links."""
    while at < stop:
        end = entry_end(data, at, stop)
        if end < 0:
            return DAMAGED, count, used
        field, tag = load16(data, at), data[at + 2]
        known = table[field]
        if known >> 16 == number:
            slot = (known & 0xFFFF) << 2
        else:
            slot = count << 2
            table[field] = number << 16 | count
            slots[slot] = -1
            count += 1
        if tag < COMBINES:
            slots[slot] = at if tag != CLEAR else -1
            slots[slot + 1], slots[slot + 2] = end, PLAIN
        else:
            used = _combine(data, at, end, tag, slot, slots, links, used)
            if used < 0:
                return IN_PYTHON, count, used
        at = end
    return FOLDED, count, used


@device
def _remove(data: Any, at: Any, elements: Any, count: Any) -> Any:
    """Take the elements of the remove entry at `at` out of `elements[:count]`; return how many stay."""
    start, code = value_start(data, at), data[at + 2] & 7
    for k in range(_count(data, at)):
        gone = element(data, start + (k << (code & 3)), code)
        kept = np.int64(0)
        for i in range(count):
            elements[kept] = elements[i]
            kept += np.int64(elements[i] != gone)
        count = kept
    return count


@device
def _gather(data: Any, slots: Any, slot: Any, links: Any, elements: Any) -> Any:
    """Collect the elements of a slot and its chain; return how many there are."""
    at, link = slots[slot], slots[slot + 2]
    count = np.int64(0)
    while True:
        if data[at + 2] >= LIST_REMOVE:
            count = _remove(data, at, elements, count)
        else:
            more = _count(data, at)
            get_elements(data, value_start(data, at), np.int64(data[at + 2] & 7), more, elements, count)
            count += more
        if link < 0:
            return count
        at, link = links[2 * link], links[2 * link + 1]


@device
def _put_chain(data: Any, slots: Any, slot: Any, links: Any, elements: Any, to: Any, out: Any) -> Any:
    """Write the list of a slot with a chain; return where it ends, or -1 if it does not fit."""
    count = _gather(data, slots, slot, links, elements)
    least, greatest = np.int64(0), np.int64(0)
    for k in range(count):
        least, greatest = min(least, elements[k]), max(greatest, elements[k])
    code = element_code_of(least, greatest)
    if to + list_size(code, count) > len(out):
        return np.int64(-1)
    head = np.int64(load16(data, slots[slot])) | LIST << 16
    return put_list(out, to, head, code, elements, 0, count)


@device
def _put_slots(data: Any, count: Any, slots: Any, links: Any, elements: Any, to: Any, out: Any) -> Any:
    """Write the first `count` slots; return where they end, or -1 if they do not fit."""
    run = run_end = np.int64(0)
    for slot in range(0, count << 2, 4):
        at, end, chain = slots[slot], slots[slot + 1], slots[slot + 2]
        if at < 0:
            continue
        if at == run_end and chain == PLAIN:
            run_end = end
            continue
        if to + run_end - run > len(out):
            return np.int64(-1)
        copy(out, to, data, run, run_end - run)
        to += run_end - run
        run, run_end = at, end
        if chain == PLAIN:
            continue
        run_end = run
        if chain >= 0:
            to = _put_chain(data, slots, slot, links, elements, to, out)
            if to < 0:
                return to
        elif to + end - at > len(out):
            return np.int64(-1)
        else:
            copy(out, to, data, at, end - at)
            out[to + 2] ^= REPLACES
            to += end - at
    if to + run_end - run > len(out):
        return np.int64(-1)
    copy(out, to, data, run, run_end - run)
    return to + run_end - run


@kernel(r_u8, r_i64, r_i64, w_i64, w_i64, w_i64, w_i64, w_i64, w_u8, w_u8, returns=i64)
def fold(
    data: Any, payloads: Any, records: Any, table: Any, slots: Any, links: Any, elements: Any,
    ends: Any, flags: Any, out: Any,
) -> Any:  # fmt: skip
    """Fold a block of records into `out`; return the first one not done, or their number.

    Payload j lies at ``payloads[j]:payloads[j + 1]``, record r is the payloads
    ``records[r]:records[r + 1]``. `ends[r]` says where its folded payload ends, `flags[r]`
    how it went: FOLDED; IN_PYTHON (a mixed list or a scalar to append to, nothing is
    written); DAMAGED and FULL end the call.
    """
    to = np.int64(0)
    for record in range(len(ends)):
        count = used = np.int64(0)
        flag = FOLDED
        for j in range(records[record], records[record + 1]):
            flag, count, used = _walk(
                data, payloads[j], payloads[j + 1], record + 1, table, slots, links, count, used
            )
            if flag != FOLDED:
                break
        if flag == FOLDED:
            end = _put_slots(data, count, slots, links, elements, to, out)
            flag = FOLDED if end >= 0 else FULL
            to = max(to, end)
        ends[record] = to
        flags[record] = flag
        if flag >= DAMAGED:
            return np.int64(record)
    return np.int64(len(ends))


def fold_documents(
    payloads: np.ndarray, payload_offsets: np.ndarray, record_starts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Fold the payloads of each record into one that replaces them.

    Parameters
    ----------
    payloads : ndarray of uint8
    payload_offsets : ndarray of int64, shape (payloads + 1,)
    record_starts : ndarray of int64, shape (records + 1,)
        Record r is the payloads ``record_starts[r]:record_starts[r + 1]``, in order.

    Returns
    -------
    data : ndarray of uint8
    offsets : ndarray of int64, shape (records + 1,)

    Raises
    ------
    CorruptError
        If a payload is damaged; names its record and offset.

    Examples
    --------
    >>> from bitdex.formats.document import Append, encode_document
    >>> one, two = encode_document({1: 5, 2: [7]}), encode_document({1: 6, 2: Append([8])})
    >>> data, _ = fold_documents(np.frombuffer(one + two, np.uint8), [0, len(one), len(one + two)], [0, 2])
    >>> data.tobytes() == encode_document({1: 6, 2: [7, 8]})
    True
    """
    payloads, payload_offsets = packed(payloads, payload_offsets)
    record_starts = ascending(record_starts, len(payload_offsets) - 1)
    records = len(record_starts) - 1
    offsets = np.zeros(records + 1, np.int64)

    def work(lo: int, hi: int) -> list[np.ndarray]:
        starts, sizes = record_starts[lo : hi + 1], offsets[lo + 1 : hi + 1]
        return list(_fold_block(payloads, payload_offsets, starts, sizes, lo))

    pieces = [piece for block in each_block(records, BLOCK, work) for piece in block]
    np.cumsum(offsets, out=offsets)
    return np.concatenate([np.empty(0, np.uint8), *pieces]), offsets


def _fold_block(
    data: np.ndarray, bounds: np.ndarray, starts: np.ndarray, sizes: np.ndarray, first: int
) -> Iterator[np.ndarray]:
    """Yield the folded bytes of a block of records, piece by piece, and set their sizes."""
    edges = bounds[starts]
    longest, total = int(np.diff(edges).max()), int(edges[-1] - edges[0])
    ends, flags = np.empty(len(sizes), np.int64), np.zeros(len(sizes), np.uint8)
    for capacity in (total, GROWTH * total):
        out, scratch = np.empty(capacity, np.uint8), _scratch(longest)
        done = fold(data, bounds, starts, *scratch, ends, flags, out)
        if done == len(sizes) or flags[done] == DAMAGED:
            break
    if done < len(sizes):
        refuse(f"document row {first + done}", data, bounds[starts[done] : starts[done + 1] + 1].tolist())
    sizes[:] = np.diff(ends, prepend=0)
    at = 0
    for row in np.flatnonzero(flags).tolist():
        piece = _fold_in_python(data, bounds[starts[row] : starts[row + 1] + 1].tolist(), first + row)
        sizes[row] = len(piece)
        yield out[at : ends[row]]
        yield piece
        at = ends[row]
    yield out[at : ends[-1]]


def _scratch(longest: int) -> tuple[np.ndarray, ...]:
    """Return `table`, `slots`, `links` and `elements` for records of up to `longest` bytes."""
    words = (MAX_FIELD + 1, 4 * (longest // 3 + 1), 2 * (longest // 3 + 1), longest + 1)
    return tuple(np.zeros(count, np.int64) for count in words)


def _fold_in_python(data: np.ndarray, bounds: list[int], record: int) -> np.ndarray:
    """Fold one record; a damaged payload raises."""
    try:
        fields = decode_record(data[start:stop].tobytes() for start, stop in pairwise(bounds))
    except CorruptError:
        refuse(f"document row {record}", data, bounds)
    return np.frombuffer(encode_document(fields), np.uint8)
