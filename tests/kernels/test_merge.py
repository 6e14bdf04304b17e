"""Merging frames in place: outcomes, what is written where, and what is never touched."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitdex.formats import data as data_format
from bitdex.formats import frame
from bitdex.kernels import hash_index, merge, records
from tests.kernels.frame_store import SEED, frames_at, packed, read_frames, u64

PUT, MERGE, DELETE = frame.PUT, frame.MERGE, frame.DELETE
quick = settings(max_examples=80, derandomize=True, deadline=None)
payloads = st.binary(max_size=40)
operations = st.lists(
    st.tuples(st.integers(0, 6), st.sampled_from([PUT, MERGE, DELETE]), payloads), max_size=14
)


class Store:
    """Records 0..n-1 of one PUT each, their table, and free space behind them."""

    def __init__(self, values, headroom=0, minimum=0, alignment=8, free=1 << 14):
        packed_values, offsets = packed(values)
        count = len(values)
        self.geometry = (headroom, minimum, alignment)
        regions = np.empty(count + 1, np.int64)
        extents, words = np.empty(count, np.uint64), u64([frame.order(1, PUT)] * count)
        one_each, puts = np.arange(count + 1), np.full(count, PUT)
        records.lay_out(one_each, puts, np.diff(offsets), 64, *self.geometry, regions, extents)
        self.end = int(regions[-1])
        self.data = np.zeros(self.end + free, np.uint8)
        keys, area = u64(range(count)), self.data[64 : self.end]
        records.write_records(keys, packed_values, offsets, words, regions, 0, count, SEED, area)
        self.table = hash_index.build_table([(keys, u64(regions[:-1] + 8), extents)])
        self.arena = self.end
        self.dead = 0

    def merge(self, ops, part=0, parts=1, start=0, arena_end=None, direct=False):
        """Apply operations (key, kind, payload); return the outcomes and where it stopped.

        With `direct` the operations are of one kind, and merged as values.
        """
        keys, outcome = u64(key for key, _, _ in ops), np.zeros(len(ops), np.uint8)
        rows, ring = np.empty(len(ops), np.int64), np.full(merge.AHEAD, 10**9)
        rows = rows[: merge.own_rows(keys, part, parts, rows)]
        state = np.array([self.arena, len(self.data) if arena_end is None else arena_end, self.arena, 0, 0])
        buffer = np.full(len(self.data) - self.arena, 0xAA, np.uint8)
        target = (
            np.array([*self.geometry, self.end]),
            SEED,
            self.table,
            self.data,
            buffer,
            state,
            ring,
            outcome,
        )
        if direct:
            values, offsets = packed([payload for _, _, payload in ops])
            word = np.uint64(frame.order(2, ops[0][1]))
            given = (keys, values, offsets, word, rows, start)
            stopped = merge.merge_values(*given, *target)
        else:
            frames, places = frames_at([(key, payload, frame.order(2, kind)) for key, kind, payload in ops])
            sizes = np.array([len(payload) for _, _, payload in ops], np.int64)
            stopped = merge.merge_frames(keys, frames, places, sizes, rows, start, *target)
        self.data[self.arena : state[merge.ARENA]] = buffer[: state[merge.ARENA] - self.arena]
        self.arena = int(state[merge.ARENA])
        self.dead += int(state[merge.DEAD])
        self.needed = int(state[merge.NEEDED])
        return [merge.OUTCOMES[code] for code in outcome], stopped

    def entry(self, key):
        row = self.table.reshape(-1, 3)[hash_index.lookup(self.table, u64([key]))[0]].tolist()
        return row[1], row[2] & 0xFFFFFFFF, row[2] >> 32 & ~7, row[2] >> 32 & 7

    def record(self, key):
        """Return the record's payloads after its last cut, having checked all its frames."""
        offset, length, room, single = self.entry(key)
        assert length <= room
        kept = []
        for owner, kind, payload in read_frames(self.data, offset, offset + length):
            assert owner == key
            kept = [] if kind != MERGE else kept
            kept += [payload] if kind != DELETE else []
        assert bool(single) <= (len(kept) == 1)
        return kept


@quick
@given(operations, st.sampled_from([(0, 0, 8), (250, 64, 8), (3000, 0, 8), (1000, 100, 32)]), st.data())
def test_merging_equals_the_definition_and_leaves_committed_bytes(ops, geometry, draw):
    values = draw.draw(st.lists(payloads, min_size=1, max_size=5))
    store = Store(values, *geometry)
    before, model = store.data.copy(), {key: [value] for key, value in enumerate(values)}
    committed = [(offset, offset + length) for offset, length, _, _ in map(store.entry, model)]
    outcomes, stopped = store.merge(ops)
    assert stopped == len(ops)
    for (key, kind, payload), outcome in zip(ops, outcomes):
        assert (outcome == "missing") == (key not in model)
        assert (outcome == "deleted") == (kind == DELETE and key in model)
        if key in model:
            model[key] = (model[key] if kind == MERGE else []) + ([payload] if kind != DELETE else [])
    assert {key: store.record(key) for key in model} == model
    for lo, hi in committed:
        assert np.array_equal(store.data[lo:hi], before[lo:hi])
    used = sum(8 + store.entry(key)[2] for key in model)
    assert used + store.dead == store.arena - 64


@quick
@given(
    st.sampled_from([PUT, MERGE, DELETE]),
    st.lists(st.tuples(st.integers(0, 6), payloads), min_size=1, max_size=60),
    st.sampled_from([(0, 0, 8), (3000, 0, 8), (1000, 100, 32)]),
)
def test_values_are_merged_as_their_frames_are(kind, pairs, geometry):
    """The same outcomes, entries and bytes, for more operations than the stages hold."""
    ops = [(key, kind, payload) for key, payload in pairs]
    stores = [Store([b"some", b"", b"values", b"x" * 40, b"y"], *geometry, free=1 << 15) for _ in range(2)]
    assert stores[0].merge(ops) == stores[1].merge(ops, direct=True)
    assert np.array_equal(stores[0].table, stores[1].table)
    assert np.array_equal(stores[0].data, stores[1].data)
    assert (stores[0].arena, stores[0].dead) == (stores[1].arena, stores[1].dead)


def test_defect_11_a_merge_fills_the_headroom_and_not_the_record():
    store = Store([b"12345678"], headroom=1000)
    offset, length, room, _ = store.entry(0)
    before = store.data.copy()
    assert store.merge([(0, MERGE, b"x")]) == (["in_place"], 1)
    assert store.entry(0) == (offset, length + 25, room, 0)
    changed = np.flatnonzero(store.data != before)
    assert changed.min() >= offset + length and changed.max() < offset + room


def test_an_exact_fit_stays_and_one_byte_more_is_relocated():
    """The original's DumpMergeWriter overflow: dropped there, moved here (defect 3)."""
    store = Store([bytes(8), bytes(8)], headroom=1000)  # 32 bytes and as many again
    assert store.merge([(0, MERGE, bytes(8)), (1, MERGE, bytes(9))])[0] == ["in_place", "relocated"]
    assert store.entry(0)[:3] == (72, 64, 64)
    assert store.entry(1)[0] == store.end + 8 and store.record(1) == [bytes(8), bytes(9)]
    assert store.dead == 64 + 8


def test_a_put_moves_the_beginning_of_a_record_and_keeps_alignment():
    plain, aligned = Store([b"old"], 9000), Store([b"old"], 9000, alignment=32)
    assert plain.merge([(0, PUT, b"new")])[0] == ["in_place"]
    assert aligned.merge([(0, PUT, b"new")])[0] == ["relocated"]
    for store in (plain, aligned):
        assert store.record(0) == [b"new"] and store.entry(0)[3] == 1
    assert (aligned.entry(0)[0] + 24) % 32 == 0
    assert plain.dead == 32


def test_a_full_arena_stops_the_merge_and_says_what_it_needs():
    store = Store([b"", b""])
    ops = [(0, MERGE, bytes(8)), (1, MERGE, bytes(80)), (0, MERGE, b"")]
    assert store.merge(ops, arena_end=store.end + 64) == (["relocated", "waiting", "waiting"], 1)
    assert store.arena == store.end + 8 + 56 and store.needed == 8 + 24 + 104
    store.arena = store.end + 1000
    assert store.merge(ops, start=1)[0] == ["waiting", "relocated", "relocated"]
    assert store.record(0) == [b"", bytes(8), b""] and store.record(1) == [b"", bytes(80)]


def test_what_was_relocated_is_found_in_the_arena_and_later_in_the_file():
    store = Store([b"first", b"second"])
    assert store.merge([(1, MERGE, b"a"), (1, MERGE, b"b"), (0, PUT, b"c")])[0] == ["relocated"] * 3
    store.geometry = (3000, 0, 8)
    d = b"d" * 80  # more than was left behind "b", when the record was relocated once more
    assert store.merge([(1, MERGE, d), (1, MERGE, b"e"), (0, MERGE, b"f"), (0, MERGE, b"g")])[0] == [
        "relocated", "in_place", "relocated", "in_place"
    ]  # fmt: skip
    assert store.merge([(1, MERGE, b"h"), (0, MERGE, b"i")])[0] == ["in_place", "in_place"]
    assert store.record(1) == [b"second", b"a", b"b", d, b"e", b"h"]
    assert store.record(0) == [b"c", b"f", b"g", b"i"]


@pytest.mark.parametrize("parts", [2, 3, 7])
def test_every_key_belongs_to_one_part(parts):
    keys = u64(range(500))
    owner = np.empty(500, np.int64)
    merge.part_of_keys(keys, parts, owner)
    assert set(owner.tolist()) == set(range(parts))
    store = Store([b""] * 40, 2000)
    outcomes = np.array(
        [store.merge([(key, MERGE, b"x") for key in range(40)], part, parts)[0] for part in range(parts)]
    )
    assert np.array_equal((outcomes == "in_place").argmax(axis=0), owner[:40])
    assert ((outcomes == "in_place").sum(axis=0) == 1).all()


@pytest.mark.parametrize("key", [0, 1], ids=["known", "new"])
@pytest.mark.parametrize("at", [0, 4, 8, 16, 24])
def test_a_damaged_frame_is_not_merged(key, at):
    store = Store([b"value"], 3000)
    frames, places = frames_at([(key, b"payload", frame.order(2, MERGE))])
    frames[places[0] + at] ^= 1
    before, outcome, ring = store.data.copy(), np.zeros(1, np.uint8), np.empty(merge.AHEAD, np.int64)
    state, geometry = np.array([store.end, len(store.data), store.end, 0, 0]), np.array([3000, 0, 8, 0])
    merge.merge_frames(
        u64([key]), frames, places, np.array([7]), np.array([0]), 0, geometry, SEED, store.table, store.data,
        store.data[store.end :], state, ring, outcome,
    )  # fmt: skip
    assert merge.OUTCOMES[outcome[0]] == "damaged" and np.array_equal(store.data, before)


def test_headroom_that_would_go_beyond_32_bits_gives_way():
    """75 MB with sixtyfold headroom are 4.5 GB, whose size would not fit the entry."""
    store = Store([b""])
    store.geometry = (59_000, 0, 8)
    outcomes, _ = store.merge([(0, MERGE, bytes(75_000_000))])
    assert outcomes == ["waiting"] and store.needed == 8 + data_format.MAX_ALLOCATED
    assert store.record(0) == [b""]


def test_a_record_beyond_32_bits_is_refused():
    store = Store([b""])
    store.table.reshape(-1, 3)[store.table[2::3] > 0, 2] = np.uint64(2**32 - 128)  # so long it is already
    outcomes, _ = store.merge([(0, MERGE, bytes(64))])
    assert outcomes == ["too_long"]


def test_a_record_that_is_relocated_once_more_is_copied_less_and_less():
    """Without headroom every merge into one key copied the record: 64 KB took 2.5 GiB."""
    store = Store([b""], free=1 << 20)
    store.merge([(0, MERGE, b"12345678")] * 1000)
    assert store.record(0) == [b"", *[b"12345678"] * 1000]
    length = store.entry(0)[1]
    assert store.arena - store.end < 5 * length and store.dead < 4 * length
    store.merge([(0, PUT, b"x" * 40_000)])
    assert store.entry(0)[2] == 40_024


@quick
@given(
    st.lists(st.tuples(st.sampled_from([PUT, MERGE]), payloads), min_size=1, max_size=8),
    st.sampled_from([8, 32]),
)
def test_new_keys_are_placed_one_after_the_other(firsts, alignment):
    frames, places = frames_at(
        [(key, payload, frame.order(2, kind)) for key, (kind, payload) in enumerate(firsts)]
    )
    rows = np.arange(0, len(firsts), 2)
    geometry, state = np.array([250, 40, alignment, 0]), np.array([64, 1 << 13, 64, 0, 0])
    data = np.full(1 << 13, 0xAA, np.uint8)
    offsets, extents = np.empty(len(rows), np.uint64), np.empty(len(rows), np.uint64)
    sizes = np.array([len(payload) for _, payload in firsts], np.int64)
    merge.place_new(frames, places, sizes, rows, geometry, SEED, data[64:], state, offsets, extents)
    at = 64
    for row, offset, extent in zip(rows, offsets.tolist(), extents.tolist()):
        kind, payload = firsts[row]
        assert offset == at + 8
        assert extent & 0xFFFFFFFF == 24 + len(payload) and (extent >> 32 & 7) == (kind == PUT)
        assert read_frames(data, offset, offset + 24 + len(payload)) == [(row, kind, payload)]
        assert not data[offset + 24 + len(payload) : offset + (extent >> 32 & ~7)].any()
        at = offset + (extent >> 32 & ~7)
        assert (at + 32) % alignment == 0
    assert state[merge.ARENA] == at


@pytest.mark.parametrize("size", [8, 16, 32, 40, 4096])
def test_a_gap_becomes_a_region_that_a_walk_steps_over(size):
    data, state = np.full(64 + size, 0xAA, np.uint8), np.array([64, 64 + size, 40, 0, 0])
    old, _ = frames_at([(1, b"left from another arena"[: max(size - 32, 0)], frame.order(1, PUT))])
    data[72 : 72 + len(old)] = old[: size - 8]
    merge.fill_arena(SEED, data[40:], state)
    assert state[merge.ARENA] == 64 + size and not data[72:].any() and (data[:64] == 0xAA).all()
    merge.fill_arena(SEED, data[:0], state)  # nothing is left
    columns, stop = [np.empty(4, np.uint64) for _ in range(4)], np.zeros(2, np.int64)
    count = records.walk_regions(data, 64, len(data), SEED, u64([9]), u64([]), *columns, stop)
    assert (count, stop.tolist()) == (0, [64 + size, 0])
