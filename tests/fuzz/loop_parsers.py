"""Parsers as compiled loops take them: each reads an input with scratch that all inputs share.

They return 1 for what was taken and 0 for what was refused.
"""

import numba
import numpy as np

from bitdex.formats import frame
from bitdex.kernels import (
    checksum,
    csv_rows,
    document_decode,
    document_fold,
    frames,
    gather,
    hash_index,
    integer_csv,
    layers,
    merge,
    probes,
    records,
    roaring,
)
from bitdex.kernels.memory import load16, load32, load64, store32
from tests.fuzz import index_targets
from tests.fuzz.mutation import EDGES
from tests.fuzz.value_targets import Layers
from tests.kernels.frame_store import SEED

SCRATCH = 1 << 17
HEAD, REGION = 24, 8
ONE = np.uint64(1)

compiled = numba.njit(nogil=True)


def of(kernel):
    """Return a kernel as something that a compiled loop can call."""
    return compiled(kernel.python)


@compiled
def nothing(data, start, end):
    """Leave a format without checksums as it is."""


# frames and regions

scan_frames, search_frames = of(frames.scan_frames), of(frames.search_frames)
crc_states, crc32c_range = of(checksum.crc_states), of(checksum.crc32c_range)
verify_records, check_entries = of(probes.verify_records), of(probes.check_entries)
count_base_frames, walk_regions = of(gather.count_base_frames), of(records.walk_regions)


@compiled
def repair_frames(data, start, end):
    """Make the checksums of frames right that follow one another."""
    at = start
    while at + HEAD <= end and np.int64(load32(data, at + 4)) <= end - at - HEAD:
        size = np.int64(load32(data, at + 4))
        store32(data, at, crc32c_range(data, at + 4, 20 + size, SEED))
        at += (HEAD + size + 7) & ~7


@compiled
def repair_regions(data, start, end):
    """Make the checks of regions, and of the frames in them, right."""
    at = start
    while at + REGION <= end:
        room = np.int64(load32(data, at))
        store32(data, at + 4, records.region_check(at, room, SEED))
        repair_frames(data, at + REGION, min(end, at + REGION + room))
        at += REGION + room


@compiled
def parse_frames(data, words, numbers, octets):
    """Scan frames, search for one, and verify what hostile numbers point at."""
    room = len(data) // HEAD + 1
    keys, orders = words[:room], words[room : 2 * room]
    places, sizes = numbers[:room], numbers[room : 2 * room]
    count = scan_frames(data, 0, len(data), SEED, keys, places, sizes, orders)
    states = octets[: 4 * (len(data) // checksum.STRIDE + 1)].view(np.uint32)
    crc_states(data, 0, len(data), states)
    search_frames(data, 0, len(data), ONE, SEED, states)
    hostile, ends = EDGES.view(np.int64), numbers[2 * room : 2 * room + len(EDGES)]
    for i in range(len(EDGES)):
        ends[i] = hostile[(i + len(data)) % len(EDGES)]
    counts = numbers[3 * room + len(EDGES) :]
    verify_records(data, EDGES, hostile, ends, SEED, 0, len(EDGES), counts, counts[len(EDGES) :])
    return np.int64(count > 0)


@compiled
def parse_regions(data, words, numbers, octets):
    """Walk regions, a few at a time; what the walk tells has to be readable."""
    at = taken = 0
    stop, limits = numbers[:2], words[:2]
    limits[0], limits[1] = ONE + ONE, ONE
    numbers[1] = 0
    while at < len(data) and not stop[1]:
        keys, offsets, lengths, rooms = words[8:11], words[16:19], words[24:27], words[32:35]
        committed, aborted = limits[:1], limits[1 : 1 + (len(data) & 1)]
        count = walk_regions(
            data, at, len(data), SEED, committed, aborted, keys, offsets, lengths, rooms, stop
        )
        for i in range(count):
            numbers[8 + i], numbers[16 + i] = np.int64(offsets[i]), np.int64(lengths[i])
        bad = count_base_frames(data, keys[:count], numbers[8:11], numbers[16:19], SEED, numbers[24:27])
        if bad >= 0:
            raise ValueError("a record of a walk does not hold")
        at, taken = stop[0], taken + count
    return np.int64(taken > 0)


# index tables

WANTED, DATA, GEOMETRY = index_targets.WANTED, index_targets.DATA, index_targets.GEOMETRY
NOTHING, EVERY = index_targets.NOTHING, index_targets.EVERY
ROWS, WORD = np.arange(len(WANTED)), np.uint64(frame.order(2, frame.MERGE))
VALUE_OFFSETS = np.arange(0, 3 * len(WANTED) + 1, 3)
lookup_serial, find_records = of(hash_index.lookup_serial), of(hash_index.find_records_serial)
measure_singles, copy_singles = of(gather.measure_singles_serial), of(gather.copy_singles_serial)
find_single, merge_values = of(gather.find_single), of(merge.merge_values)
delete_entries = of(hash_index.delete_entries)


@compiled
def parse_table(data, words, numbers, octets):
    """Look up in any table; read, merge and delete by one that its reader would take."""
    table = words[: len(data) // 24 * 3]
    if len(table) <= 3 * hash_index.SPILL:
        return 0
    for i in range(len(table)):
        table[i] = load64(data, 8 * i)
    n = len(WANTED)
    places, lengths, offsets = numbers[:n], numbers[n : 2 * n], numbers[2 * n : 3 * n + 1]
    lookup_serial(table, WANTED, places)
    find_records(table, table, EVERY, WANTED, places, lengths)
    find_single(table, table, EVERY, DATA, ONE, SEED, offsets)
    last = len(table) - 3
    empty = table[last - 9 : last].max() == np.uint64(0) == table[last + 1 :].max()
    empty = empty and table[last] < np.uint64(1 << 32)
    if check_entries(table, np.uint64(len(DATA))) < 0 or not empty:
        return 0
    totals, counts = numbers[4 * n : 4 * n + 2], numbers[5 * n : 6 * n]
    measure_singles(table, NOTHING, NOTHING, WANTED, places, offsets, totals)
    if totals[0] < 0 or totals[0] > n * len(DATA):
        raise ValueError("sizes of a sound table do not fit the data")
    copy_singles(DATA, WANTED, places, SEED, offsets, octets[: totals[0]])
    find_records(table, table, EVERY, WANTED, places, lengths)
    count_base_frames(DATA, WANTED, places, lengths, SEED, counts)
    return _change_table(table, numbers, octets)


@compiled
def _change_table(table, numbers, octets):
    state, ring, end = numbers[:5], numbers[8 : 8 + merge.AHEAD], len(DATA)
    target, arena = octets[:end], octets[end : end + index_targets.ARENA]
    rest = octets[end + index_targets.ARENA :]
    outcome, values = rest[:64], rest[64:512]
    target[:] = DATA
    state[:] = 0
    state[merge.ARENA], state[merge.ARENA_END], state[merge.BASE] = end, end + index_targets.ARENA, end
    merge_values(
        WANTED, values, VALUE_OFFSETS, WORD, ROWS, 0, GEOMETRY, SEED, table, target, arena, state, ring,
        outcome,
    )  # fmt: skip
    delete_entries(WANTED, table)
    return 1


# documents

COLUMNS = 8
locate, mark_fields = of(document_decode.locate), of(document_decode.mark_fields)
read_integers, read_floats = of(document_decode.read_integers), of(document_decode.read_floats)
measure, read_lists = of(document_decode.measure), of(document_decode.read_lists)
read_strings, fold = of(document_decode.read_strings), of(document_fold.fold)
entry_end = document_decode.entry_end
FIELDS = np.full(1 << 16, -1, np.int32)
FIELDS[: COLUMNS + 1] = np.arange(-1, COLUMNS)


@compiled
def parse_document(data, words, numbers, octets):
    """Read every column of a document as every kind, and fold it."""
    tags, valid, positions = octets[:COLUMNS], octets[16:17].view(np.bool_), numbers[:COLUMNS]
    numbers[8], numbers[9], numbers[10], numbers[11] = 0, len(data), 0, 1
    offsets, seen, rest = numbers[8:10], octets[64 : 64 + (1 << 16)], numbers[16:]
    sound = mark_fields(data, offsets, seen) < 0
    if sound != (locate(data, offsets, 0, 1, FIELDS, tags, positions) < 0):
        raise ValueError("locate and mark_fields disagree")
    if sound:
        for i in range(COLUMNS):
            _read_value(data, tags[i : i + 1], positions[i : i + 1], rest, valid)
    table = words[: 1 << 16].view(np.int64)
    _fold(data, numbers, table, octets)
    at = 0
    while at >= 0 and at + 3 <= len(data):  # scratch that the next input shares
        seen[load16(data, at)] = 0
        table[load16(data, at)] = 0
        at = entry_end(data, at, len(data))
    return np.int64(sound)


@compiled
def _fold(data, numbers, table, octets):
    entries = len(data) // 3 + 1
    slots, links = numbers[16 : 16 + 4 * entries], numbers[16 + 4 * entries : 16 + 6 * entries]
    elements = numbers[16 + 6 * entries : 17 + 6 * entries + len(data)]
    out, flags = octets[64 + (1 << 16) :][: 8 * len(data)], octets[32:33]
    fold(data, numbers[8:10], numbers[10:12], table, slots, links, elements, numbers[12:13], flags, out)


@compiled
def _read_value(data, tags, positions, numbers, valid):
    if tags[0] == document_decode.FOLD_FIRST:
        return
    read_integers(data, tags, positions, numbers[:1], valid)
    read_floats(data, tags, positions, numbers[1:2].view(np.float64), valid)
    starts, lengths, offsets = numbers[2:3], numbers[3:4], numbers[4:6]
    for lists in (False, True):
        if measure(data, tags, positions, lists, starts, lengths, valid) < 0:
            offsets[0], offsets[1] = 0, lengths[0]
            if lists:
                read_lists(data, starts, tags, offsets, numbers[8 : 8 + lengths[0]])
            else:
                text = numbers[8 : 9 + lengths[0] // 8].view(np.uint8)
                read_strings(data, starts, offsets, text[: lengths[0]])


# bitmaps and layers

cardinality, decode = of(roaring.cardinality), of(roaring.decode)
open_layers, read_layers = of(layers.open_layers), of(layers.read_layers)
close_layers = of(layers.close_layers)
LAYER_SLOTS, LAYER_BITS, LAYER_OFFSETS = Layers.slots, Layers.bits, Layers().offsets
LAYER_CHUNKS = layers.chunk_starts(LAYER_SLOTS)


@compiled
def parse_bitmap(data, words, numbers, octets):
    """Decode a bitmap of up to as many slots as there is room for."""
    count = cardinality(data, 0, len(data))
    if count < 0 or count > SCRATCH:
        return 0
    return np.int64(decode(data, 0, len(data), words.view(np.uint32)[:count]) >= 0)


@compiled
def parse_layers(data, words, numbers, octets):
    """Decode the layers of a sort field."""
    count = len(LAYER_BITS)
    offsets, cursors = numbers[: count + 1], numbers[8 : 8 + 5 * count]
    for i in range(count):
        offsets[i] = min(LAYER_OFFSETS[i], len(data))
    offsets[count] = len(data)
    values, last = words[1024 : 1024 + len(LAYER_SLOTS)], len(LAYER_CHUNKS) - 1
    values[:] = 0
    if open_layers(data, offsets, cursors) < 0:
        return 0
    fault = read_layers(
        data, offsets, LAYER_BITS, LAYER_SLOTS, LAYER_CHUNKS, 0, last, cursors, words[:1024], values
    )
    return np.int64(fault == 0 and close_layers(offsets, cursors) == 0)


# text

count_lines, parse_integers = of(integer_csv.count_lines), of(integer_csv.parse_integers)
find_row_end, find_hexadecimal = of(csv_rows.find_row_end), of(csv_rows.find_hexadecimal)
TURN, COMMA, NUMBERS = np.array([2, 0, 1]), np.uint8(44), np.array([True, False, True])


@compiled
def parse_text(data, words, numbers, octets):
    """Parse a block of integers."""
    rows = count_lines(data) + 1
    return np.int64(parse_integers(data, COMMA, TURN, rows, numbers[: 3 * rows]) >= 0)


@compiled
def parse_rows(data, words, numbers, octets):
    """Go from the end of each row to that of the next, and look for a number that is hexadecimal."""
    if find_hexadecimal(data, COMMA, NUMBERS) >= len(data):
        raise ValueError("a cell behind the end")
    at = 0
    while at >= 0 and at < len(data):
        end = find_row_end(data, at, at + 1, COMMA)
        if end >= 0 and end <= at:
            raise ValueError("no end behind the beginning")
        at = end
    return np.int64(at >= 0)
