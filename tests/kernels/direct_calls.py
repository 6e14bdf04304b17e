"""Kernels called on little input: those that the package calls once for a whole table.

Or only from some thousands of keys on, which would be slow to repeat without a compiler.
"""

import numpy as np
import pyarrow as pa
from pyroaring import BitMap

from bitdex.analysis import codes as counted
from bitdex.analysis.along import Along
from bitdex.analysis.bins import code_bins, count_bins
from bitdex.analysis.kept import lists_of
from bitdex.analysis.members import Members
from bitdex.analysis.postings import Postings
from bitdex.columns import Column, decode_columns, encode_columns, scan_fields
from bitdex.formats import bitmap, frame
from bitdex.kernels import (
    bit_ops,
    codes,
    csv_rows,
    frames,
    gather,
    hash_index,
    integer_csv,
    labels,
    layers,
    merge,
    pairs,
    probes,
    records,
    roaring,
    sorting,
    words,
)
from bitdex.query.order import SortColumn
from tests.kernels.frame_store import SEED, frames_at, packed

EDGES = (0, 1, -1, 127, 255, 256, 65535, 65536, 2**31, 2**32 - 1, 2**47, 2**63 - 1, -(2**63))
MASKS = np.array([1, 7, 1 << 63, 0x8000_0000_0000_00FF, 0x0001_0001_0001_0001], np.uint64)
TEXTS = ("a", "B", "x y", 'say "hi"', "1,2", "line\nbreak", "Zoë", "")


def call_all(rng):
    """Make every direct call once."""
    for call in DIRECT:
        call(rng)


def random_keys(rng):
    """Return up to 60 keys: near each other, far apart, or at the ends; some of them twice."""
    pool = [np.arange(40), np.arange(40) << 48, np.array([0, 1, 2**32, 2**63, 2**64 - 1], np.uint64)]
    return rng.choice(np.concatenate([one.astype(np.uint64) for one in pool]), int(rng.integers(0, 60)))


def random_integers(rng):
    return [int(value) for value in rng.choice(np.array(EDGES), int(rng.integers(0, 6)))]


def random_slots(rng):
    """Return ascending slots in some chunks: few or many, runs, a whole chunk but one."""
    shapes = (
        lambda: rng.integers(0, 65536, int(rng.integers(1, 40))),
        lambda: np.arange(int(rng.integers(1, 300))) + int(rng.integers(0, 60000)),
        lambda: rng.choice(65536, 5000, replace=False) if rng.integers(4) == 0 else np.arange(0, 3000, 2),
    )
    chunks = rng.choice([0, 1, 2, 7, 65535], int(rng.integers(0, 4)), replace=False)
    parts = [(int(chunk) << 16) | rng.choice(shapes)() for chunk in np.sort(chunks)]
    return np.unique(np.concatenate([np.empty(0, np.int64), *parts])).astype(np.uint32)


def _table(rng):
    """Return a table of up to 60 keys whose records are one frame each, the frames, keys and payloads."""
    keys = np.unique(random_keys(rng))
    contents = [rng.bytes(int(rng.integers(0, 40))) for _ in keys]
    word = frame.order(3, frame.PUT)
    data, places = frames_at([(int(key), one, word) for key, one in zip(keys, contents)])
    lengths = np.array([frame.SIZE + len(one) for one in contents], np.uint64)
    extents = (lengths + np.uint64(7)) & ~np.uint64(7) | np.uint64(1)
    return hash_index.build_index(keys, places.astype(np.uint64), lengths, extents), data, keys


def _recent(rng, keys):
    """Return a table of changes: of some of the keys, which may be gone, and of others; or none."""
    if rng.integers(3) == 0:
        return np.empty(0, np.uint64), np.empty(0, np.uint64)
    some = np.unique(np.concatenate((keys[rng.random(len(keys)) < 0.3], random_keys(rng)[:5])))
    extents = np.where(rng.random(len(some)) < 0.3, hash_index.GONE, np.uint64(24 | 25 << 32))
    recent = hash_index.build_table([(some, np.full(len(some), 72, np.uint64), extents)])
    marks = np.zeros(9, np.uint64)
    hash_index.set_marks(recent, marks)
    return recent, marks


def _look_up_in_parallel(rng):
    table, _, keys = _table(rng)
    recent = _recent(rng, keys)
    wanted = np.concatenate((keys, random_keys(rng)))
    blocks = int(rng.integers(1, 5))
    places, lengths = np.empty(len(wanted), np.int64), np.empty(len(wanted), np.int64)
    hash_index.lookup_parallel(table, wanted, blocks, places)
    assert (places[: len(keys)] >= 0).all()
    hash_index.lookup_serial(table, wanted, places)
    hash_index.find_records_parallel(table, *recent, wanted, blocks, places, lengths)
    parts = np.empty(len(wanted), np.int64)
    merge.part_of_keys(wanted, blocks, parts)


def _copy_in_parallel(rng):
    table, data, keys = _table(rng)
    blocks = int(rng.integers(1, 4))
    places, offsets = np.empty(len(keys), np.int64), np.empty(len(keys) + 1, np.int64)
    totals, bad = np.empty(2 * blocks, np.int64), np.empty(blocks, np.int64)
    nothing = np.empty(0, np.uint64)
    gather.measure_singles_parallel(table, nothing, nothing, keys, blocks, places, offsets, totals)
    out = np.zeros(totals[::2].sum(), np.uint8)
    starts = np.cumsum(totals[::2]) - totals[::2]
    gather.copy_singles_parallel(data, keys, places, SEED, starts, offsets, out, bad)
    assert (bad == -1).all() and offsets[-1] == len(out)


def _search(rng):
    contents = [rng.bytes(int(rng.integers(0, 40))) for _ in range(int(rng.integers(0, 20)))]
    data, _ = frames_at([(1, one, 257) for one in contents])
    if len(data) and rng.integers(2):
        data[int(rng.integers(0, len(data)))] ^= 4
    frames.find_later_frame(data, 0, len(data), np.uint64(0), SEED)


def _group(rng):
    """Group and merge pairs, packed and wide ones, of both widths of values."""
    count = int(rng.integers(1, 300))
    slots = rng.integers(0, 2**32, count, np.uint32)
    if rng.integers(2):
        slots.sort()
    for dtype in (np.uint32, np.uint64):
        top = 2 ** int(rng.integers(1, 33 if dtype is np.uint32 else 65))
        values = rng.integers(0, top, count, dtype) & dtype(rng.integers(1, top, dtype=np.uint64))
        pairs.sort_pairs(values, slots)
        one, two = pairs.group_pairs(values, slots), pairs.group_pairs(values[::2], slots[::2])
        pairs.merge_groups(*map(list, zip(one, two)))
        pairs.subtract_pairs(pairs.sort_pairs(values, slots), pairs.sort_pairs(values[::2], slots[::2]))


def _encode_and_decode_columns(rng):
    rows = int(rng.integers(1, 60))
    columns = {
        "integer": rng.choice(np.array(EDGES), rows).tolist(),
        "boolean": (rng.integers(0, 2, rows) == 1).tolist(),
        "float": rng.normal(size=rows).tolist(),
        "string": [str(one) * int(rng.integers(0, 99)) for one in rng.choice(TEXTS, rows)],
        "list": [random_integers(rng) or [1] for _ in range(rows)],
    }
    gaps = rng.integers(0, 3, rows) == 0
    arrays = [
        pa.array([None if gap else one for gap, one in zip(gaps, column)]) for column in columns.values()
    ]
    fields = [(number, kind) for number, kind in enumerate(columns, 1)]
    data, offsets = encode_columns([Column(*one, array) for one, array in zip(fields, arrays)], rows)
    for found, array in zip(decode_columns(data, offsets, fields), arrays):
        assert found.to_pylist() == array.to_pylist()
    scan_fields(data, offsets)


def _encode_and_decode_bitmaps(rng):
    slots = random_slots(rng)
    values = rng.integers(0, 2**63, len(slots), np.uint64) & rng.choice(MASKS)
    bits, payloads, offsets = layers.encode_layers(slots, values)
    assert np.array_equal(layers.decode_layers(bits, payloads, offsets, slots), values)
    runs = np.sort(rng.integers(0, len(slots) + 1, 4))
    payloads, ends = roaring.encode_runs(slots, np.array([0, *runs, len(slots)]))
    assert np.array_equal(roaring.decode_slots(payloads[: ends[1]]), slots[: runs[0]])


def _bit_ops(rng):
    """List the bits of ops in frames, some of them damaged."""
    operations = []
    for key in range(int(rng.integers(0, 6))):
        ops = [(int(rng.integers(1, 3)), BitMap(random_slots(rng)[:500])) for _ in range(rng.integers(1, 4))]
        payload = bitmap.encode_ops(ops)
        operations.append(
            (key, payload[: len(payload) - int(rng.random() < 0.1)], frame.order(1, frame.MERGE))
        )
    data, places = frames_at(operations, 64)
    keys = np.arange(len(operations), dtype=np.uint64)
    sizes = np.array([len(payload) for _, payload, _ in operations], np.int64)
    bit_ops.bits_of(data, keys, places, sizes, SEED, int(rng.choice([100, 1 << 20])))


def _order(rng):
    """Rank and walk a sort column that fills some chunks."""
    slots = np.unique(rng.integers(0, int(rng.choice([1500, 1 << 18])), 1200)).astype(np.uint32)
    values = rng.integers(0, 2 ** int(rng.choice([3, 20, 64])), len(slots), np.uint64)
    column = SortColumn(slots, values)
    candidates = BitMap(slots[rng.random(len(slots)) < rng.choice([0.02, 0.5, 1])])
    for descending in (False, True):
        found, words = column.top(candidates, 5, descending)
        if len(found):
            column.top(candidates, 40, descending, (int(words[-1]), int(found[-1])))
    column.values_of(rng.integers(0, 1 << 18, 50, np.uint32))
    column.range(3, int(values[0]))


def _members(rng):
    """Count, list and sum the members of a set among some payloads, and find one in an order."""
    chosen, others = random_slots(rng), [BitMap(random_slots(rng)) for _ in range(3)]
    for one in others:
        one.run_optimize()
    ends = np.cumsum([0, *(len(one.serialize()) for one in others)])
    data = np.frombuffer(b"".join(one.serialize() for one in others), np.uint8)
    members = Members(BitMap(chosen))
    counts = members.count(data, ends[:-1], ends[1:])
    assert counts.tolist() == [one.intersection_cardinality(members.bitmap) for one in others]
    members.list(data, ends[:-1], ends[1:], counts)
    members.nth(rng.permutation(chosen), 0, len(chosen), int(rng.integers(0, 5)))
    slots = np.unique(rng.integers(0, 300, 40)).astype(np.uint32)
    few, order = Members(BitMap(slots)), rng.permutation(300).astype(np.uint32)
    cuts = np.sort(rng.integers(0, 301, 5))
    few.in_stretches(order, np.concatenate([[0], cuts, [300]]), np.sort(order))
    for dtype in (np.uint32, np.uint64):
        values = rng.integers(0, 1 << 32, 320, dtype)
        few.total(values)
        edges = np.unique(rng.integers(0, 1 << 32, 9, np.uint64))
        count_bins(few, values, edges)
        for kind in (np.uint8, np.uint16):
            code_bins(slots, values, edges, np.zeros(320, kind))


def _codes(rng):
    """Make codes of a few payloads, in every width, and count and add up by them."""
    slots = np.unique(rng.integers(0, 70_000, 60)).astype(np.uint32)
    payloads = [BitMap(one).serialize() for one in np.array_split(rng.permutation(slots), 3)]
    ends, chosen = np.cumsum([0, *map(len, payloads)]), Members(BitMap(rng.choice(slots, 20)))
    data, totals, found = np.frombuffer(b"".join(payloads), np.uint8), np.zeros(2, np.int64), slots.copy()
    given, numbers = (data, ends[:-1], ends[1:]), np.arange(3) + 1
    columns = [np.zeros(70_000, dtype) for dtype in (np.uint8, np.uint32)]
    codes.fill8(*given, numbers, 0, 3, found, columns[0])
    codes.fill32(*given, numbers, 0, 3, found, columns[1])
    codes.measure_chunks(*given, 0, 3, totals)
    for dtype in (np.uint16, np.uint32):
        lists = lists_of([Postings(np.arange(3), *given)], totals, dtype)
        lists.count(chosen)
        assert lists.by_code is None or len(lists.by_code.order) == len(lists.codes)
    few, many = (counted.Column(np.arange(3), one) for one in columns)
    for one in (few, many, counted.Column(np.arange(3), columns[1].astype(np.uint16))):
        one.count(chosen)
    few.cross(few, chosen)
    few.crossed(few)
    assert len(few.by_code.order) == len(counted.ByCode(columns[0].astype(np.uint16), 4).order)
    for dtype in (np.uint32, np.uint64):
        for extremes in (False, True):
            many.reduce(chosen, rng.integers(0, 1 << 32, 70_000, dtype), extremes)


def _planes(rng):
    """Count by planes of a part of a chunk, now and then of one and a little of the next."""
    rows = int(rng.choice([60, 500, 3000])) if rng.integers(20) else 65_600
    column = counted.Column(np.arange(5), rng.integers(0, 6, rows).astype(np.uint8))
    chosen = BitMap(random_slots(rng))
    if chosen:
        counted.count_planes(Members(chosen), column, None)
        counted.count_planes(Members(chosen), column, column)


def _words(rng):
    """Join two sets, count what they share, and list it."""
    one, other = rng.integers(0, 1 << 63, (2, 2048), np.uint64)
    out, counts = np.empty(2048, np.uint64), np.empty(2, np.int64)
    flip = rng.choice(np.array([0, 0xFFFFFFFFFFFFFFFF], np.uint64))
    words.join(one, other, flip, 0, 2, out, counts)
    assert flip or words.meet(one, other, 0, 2) == counts.sum()
    order = rng.permutation(1 << 17)[: int(rng.integers(100, 2000))].astype(np.uint32)
    along = Along.of(one, order).joined(Along.of(other, order), bool(flip))
    counts_between = along.between(np.array([0, 50, 70, len(order)]))
    assert counts_between.sum() == len(along)
    if len(along):
        along.nth(len(along) // 2)
    words.list_slots(out, 0, 2, np.zeros(counts.sum() + words.AT_ONCE, np.uint32))


def _read_text(rng):
    """Parse integers, now and then with something else among them, and look for ends of rows."""
    rows = rng.integers(-300, 10 ** int(rng.integers(1, 18)), (int(rng.integers(1, 20)), 2))
    text = "\n".join(",".join(map(str, row)) for row in rows.tolist()) + str(rng.choice(["", "\n", "\r\n"]))
    data = np.frombuffer(text.encode(), np.uint8).copy()
    if rng.integers(2):
        data[int(rng.integers(0, len(data)))] = rng.choice(list(b'",\n-\r9x'))
    lines = integer_csv.count_lines(data) + 1
    integer_csv.parse_integers(data, ord(","), np.array([1, 0]), lines, np.zeros(2 * lines, np.int64))
    csv_rows.find_row_end(data, 0, int(rng.integers(0, len(data))), ord(","))
    more = np.append(data, np.frombuffer(b",0x", np.uint8))
    csv_rows.find_hexadecimal(more, ord(","), rng.integers(0, 2, 3).astype(bool))


def _walk_regions(rng):
    """Write records in regions and walk them, the last of them aborted or not committed."""
    count = int(rng.integers(1, 20))
    values, offsets = packed([rng.bytes(int(rng.integers(0, 40))) for _ in range(count)])
    sizes = 8 + frame.padded(np.diff(offsets)) + 8 * rng.integers(0, 4, count)
    regions = np.concatenate(([64], 64 + np.cumsum(sizes)))
    words = np.array([frame.order(1 + i // 4, int(rng.integers(1, 4))) for i in range(count)], np.uint64)
    data, keys = np.zeros(regions[-1], np.uint8), rng.integers(0, 5, count, np.uint64)
    records.write_records(keys, values, offsets, words, regions, 0, count, SEED, data[64:])
    columns = np.zeros((4, int(rng.integers(1, 25))), np.uint64)
    limits = np.array([rng.integers(1, 6)], np.uint64), np.array([2], np.uint64)[: int(rng.integers(0, 2))]
    records.walk_regions(data, 64, len(data), SEED, *limits, *columns, np.zeros(2, np.int64))
    probes.find_region(data, 8 * int(rng.integers(0, 30)), len(data), SEED)


def _pack(rng):
    places = 8 * rng.integers(0, 1 << 40, 20)
    words = rng.integers(0, 1 << 60, 20, np.uint64)
    lo, hi = np.sort(rng.integers(0, 21, 2)).tolist()
    sorting.pack_frames(places, words, lo, hi, np.zeros(20, np.int64))
    _, offsets = packed([b"x" * int(one) for one in rng.integers(0, 9, 5)])
    values = rng.integers(0, 2, int(offsets[-1]), np.uint8)
    gather.compare_values(values, offsets, rng.permutation(values), offsets, np.zeros(5, bool))
    frames.check_offsets(offsets, int(offsets[-1]) - int(rng.integers(0, 2)), 8)
    frames.place_frames(offsets, 64, np.zeros(6, np.int64))


def _labels(rng):
    """Find, pack and hash labels, now and then in bytes that were cut."""
    texts = [str(rng.choice(TEXTS)).encode() for _ in range(int(rng.integers(0, 12)))]
    entries = [np.array([7, i, len(text)], "<u4").tobytes() + text for i, text in enumerate(texts)]
    data = np.frombuffer(b"head" + b"".join(entries), np.uint8)
    stop = len(data) - int(rng.integers(0, 3)) * int(rng.integers(0, 2))
    fields, numbers, places, sizes = (
        *np.zeros((2, len(texts)), np.uint32),
        *np.zeros((2, len(texts)), np.int64),
    )
    labels.find_entries(data, 4, stop, len(texts), fields, numbers, places, sizes)
    offsets = np.concatenate(([0], np.cumsum(sizes)))
    out = np.empty(offsets[-1], np.uint8)
    labels.pack_texts(data, places, offsets, out)
    labels.hash_texts(out, offsets, np.empty(len(texts), np.uint32))


DIRECT = (
    _labels,
    _look_up_in_parallel,
    _copy_in_parallel,
    _search,
    _group,
    _encode_and_decode_columns,
    _encode_and_decode_bitmaps,
    _bit_ops,
    _order,
    _members,
    _codes,
    _planes,
    _words,
    _read_text,
    _walk_regions,
    _pack,
)
