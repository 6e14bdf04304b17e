"""Reading records: kernels against definitions in plain Python, and what they do with damaged bytes."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bitdex.formats import frame
from bitdex.kernels import gather, hash_index
from bitdex.kernels.jit import THREADS
from tests.kernels.frame_store import SEED, frames_at, packed, u64

PUT, MERGE, DELETE = frame.PUT, frame.MERGE, frame.DELETE
NOTHING = np.empty(0, np.uint64)
quick = settings(max_examples=80, derandomize=True, deadline=None)
operations = st.tuples(st.sampled_from([PUT, MERGE, DELETE]), st.binary(max_size=12))
record_kinds = st.lists(st.lists(operations, min_size=1, max_size=4), max_size=5)


class Singles:
    """Records of one PUT frame each, and their table.

    None stands for an absent key, a list for a record that has to be folded.
    """

    def __init__(self, payloads):
        self.keys = u64(range(len(payloads)))
        self.payloads = payloads
        there = [key for key, payload in enumerate(payloads) if payload is not None]
        flat = [p if isinstance(p, bytes) else b"".join(p) for p in map(payloads.__getitem__, there)]
        self.data, places = frames_at([(k, p, frame.order(1, PUT)) for k, p in zip(there, flat)], 72)
        single = [isinstance(payloads[key], bytes) for key in there]
        extents = [24 + len(p) | (frame.padded(len(p)) | one) << 32 for p, one in zip(flat, single)]
        self.table = hash_index.new_table(len(there))
        hash_index.insert_entries(u64(there), places.astype(np.uint64), u64(extents), self.table)
        self.tables = self.table, NOTHING, NOTHING
        self.places = dict(zip(there, places.tolist()))

    def sizes(self):
        return [len(payload) if isinstance(payload, bytes) else 0 for payload in self.payloads]

    def measure(self, blocks=0):
        """Return places, offsets and totals, as the serial kernel or in blocks."""
        count = len(self.keys)
        places, offsets = np.empty(count, np.int64), np.empty(count + 1, np.int64)
        totals = np.empty(2 * max(blocks, 1), np.int64)
        if blocks:
            gather.measure_singles_parallel(*self.tables, self.keys, blocks, places, offsets, totals)
        else:
            gather.measure_singles_serial(*self.tables, self.keys, places, offsets, totals)
        return places, offsets, totals

    def copy(self, places, offsets, totals):
        """Return the copied payloads and the first failure of each block."""
        out = np.zeros(totals[::2].sum(), np.uint8)
        if len(totals) == 2:
            return out, [gather.copy_singles_serial(self.data, self.keys, places, SEED, offsets, out)]
        bad = np.empty(len(totals) // 2, np.int64)
        starts = np.cumsum(totals[::2]) - totals[::2]
        gather.copy_singles_parallel(self.data, self.keys, places, SEED, starts, offsets, out, bad)
        return out, bad.tolist()


kinds_of_payload = st.one_of(st.none(), st.binary(max_size=90), st.lists(st.binary(max_size=9), max_size=2))


@quick
@given(st.lists(kinds_of_payload, max_size=25), st.sampled_from([0, 1, 2, 3, THREADS]))
def test_payloads_are_measured_and_copied(payloads, blocks):
    store = Singles(payloads)
    places, offsets, totals = store.measure(blocks)
    expected = [
        gather.ABSENT
        if payload is None
        else store.places[key]
        if isinstance(payload, bytes)
        else gather.FOLDED
        for key, payload in enumerate(payloads)
    ]
    assert places.tolist() == expected
    assert offsets.tolist() == [0, *store.sizes()]
    for block in range(max(blocks, 1)):
        lo, hi = block * len(payloads) // max(blocks, 1), (block + 1) * len(payloads) // max(blocks, 1)
        folded = sum(isinstance(payload, list) for payload in payloads[lo:hi])
        assert totals[2 * block : 2 * block + 2].tolist() == [sum(store.sizes()[lo:hi]), folded]
    out, bad = store.copy(places, offsets, totals)
    assert set(bad) == {-1}
    assert out.tobytes() == b"".join(payload for payload in payloads if isinstance(payload, bytes))
    assert offsets.tolist() == np.cumsum([0, *store.sizes()]).tolist()


def test_what_has_changed_counts_instead_of_the_table():
    store = Singles([b"zero", b"one", b"two", None, b"four"])
    moved, places = frames_at([(1, b"new one", 257), (3, b"three", 257)], len(store.data))
    data = np.concatenate((store.data, moved))
    extents = u64([31 | 33 << 32, 29 | 33 << 32, hash_index.GONE, 30 << 32 | 30])
    recent = hash_index.build_table([(u64([1, 3, 2, 4]), u64([*places + len(store.data), 0, 72]), extents)])
    marks = np.zeros(2, np.uint64)
    hash_index.set_marks(recent, marks)
    wanted, sizes = u64([0, 1, 2, 3, 4, 9]), np.empty(1, np.int64)
    found, offsets, totals = np.empty(6, np.int64), np.empty(7, np.int64), np.empty(2, np.int64)
    gather.measure_singles_serial(store.table, recent, marks, wanted, found, offsets, totals)
    expected = [store.places[0], places[0] + len(store.data), -1, places[1] + len(store.data), -2, -1]
    assert found.tolist() == expected and offsets.tolist() == [0, 4, 7, 0, 5, 0, 0]
    assert totals.tolist() == [16, 1]
    alone = [gather.find_single(store.table, recent, marks, data, key, SEED, sizes) for key in wanted]
    assert alone == expected


def test_one_record_is_found_alone():
    store = Singles([b"zero", None, [b"to", b"fold"], b""])
    size = np.empty(1, np.int64)

    def find(key):
        return gather.find_single(store.table, NOTHING, NOTHING, store.data, np.uint64(key), SEED, size)

    assert (find(0), size[0]) == (store.places[0], 4)
    assert (find(3), size[0]) == (store.places[3], 0)
    assert find(1) == find(2**64 - 1) == gather.ABSENT and find(2) == gather.FOLDED
    store.data[store.places[0] + 25] ^= 1
    assert find(0) == gather.DAMAGED


def test_a_flipped_bit_is_never_copied():
    store = Singles([b"zero", b"one!", b"two"])
    measured = store.measure()
    for bit in range(8 * (24 + 4)):
        store.data[store.places[1] + bit // 8] ^= 1 << bit % 8
        assert store.copy(measured[0], measured[1].copy(), measured[2])[1] == [1], bit
        store.data[store.places[1] + bit // 8] ^= 1 << bit % 8
    assert store.copy(*measured)[1] == [-1]


@pytest.mark.parametrize("change", ["key", "place", "size", "beyond", "negative"])
@pytest.mark.parametrize("blocks", [0, 3])
def test_a_frame_that_is_not_the_wanted_one_is_refused(change, blocks):
    store = Singles([b"four", b"four", b"four"])
    places, offsets, totals = store.measure(blocks)
    if change == "key":
        store.keys[1] = 9
    elif change == "place":
        places[1] = places[0]
    elif change == "size":
        offsets[2] -= 1
    elif change == "negative":
        offsets[2] = -30
    else:
        places[1] = len(store.data) - 20
    assert store.copy(places, offsets, totals)[1] == ([-1, 1, -1] if blocks else [1])


def store(kinds):
    """Return data with one record a key, and places, lengths; some keys have none."""
    data, places, lengths = np.zeros(64, np.uint8), [], []
    for key, ops in enumerate(kinds):
        frames, _ = frames_at(
            [(key, payload, frame.order(3 + i, kind)) for i, (kind, payload) in enumerate(ops)]
        )
        places.append(len(data))
        lengths.append(len(frames) - (-len(ops[-1][1]) % 8))
        data = np.concatenate((data, frames))
    return data, np.array(places, np.int64), np.array(lengths, np.int64)


def kept_frames(ops):
    kept = []
    for kind, payload in ops:
        kept = [] if kind != MERGE else kept
        kept += [payload] if kind != DELETE else []
    return kept


@quick
@example([[(PUT, b"a"), (MERGE, b"b"), (MERGE, b"c"), (DELETE, b""), (MERGE, b"d")]])
@given(record_kinds)
def test_frames_of_records_are_listed_measured_and_copied(kinds):
    data, places, lengths = store(kinds)
    keys = u64(range(len(kinds)))
    counts = np.empty(len(kinds), np.int64)
    assert gather.count_base_frames(data, keys, places, lengths, SEED, counts) == -1
    expected = [kept_frames(ops) for ops in kinds]
    assert counts.tolist() == [len(kept) for kept in expected]
    starts = np.cumsum(counts) - counts
    guarded = np.full(int(counts.sum()) + 8, -9, np.int64)
    listed = guarded[: int(counts.sum())]
    gather.list_base_frames(data, places, lengths, counts, starts, listed)
    assert (guarded[len(listed) :] == -9).all(), "written behind the output"
    nothing = np.empty(0, np.uint8)
    sources, offsets = np.zeros(len(listed), np.uint64), np.empty(len(listed) + 1, np.int64)
    gather.measure_frames(data, nothing, nothing, listed, sources, offsets)
    out = np.empty(offsets[-1], np.uint8)
    assert gather.copy_frames(data, nothing, nothing, listed, sources, offsets, SEED, out) == -1
    flat = [payload for kept in expected for payload in kept]
    assert out.tobytes() == b"".join(flat)
    assert np.diff(offsets).tolist() == [len(payload) for payload in flat]


def test_keys_without_a_record_have_no_frames():
    counts = np.empty(1, np.int64)
    nothing = np.zeros(64, np.uint8)
    assert gather.count_base_frames(nothing, u64([1]), np.array([-1]), np.array([0]), SEED, counts) == -1
    assert counts.tolist() == [0]


@pytest.mark.parametrize("row", [0, 1, 2])
def test_a_record_with_a_flipped_bit_is_refused(row):
    data, places, lengths = store([[(PUT, b"a"), (MERGE, b"bc")]] * 3)
    counts, keys = np.empty(3, np.int64), u64(range(3))
    for at in range(24 + 1), range(32, 32 + 26):
        for byte in at:
            data[places[row] + byte] ^= 0x10
            assert gather.count_base_frames(data, keys, places, lengths, SEED, counts) == row, byte
            data[places[row] + byte] ^= 0x10
    assert gather.count_base_frames(data, keys, places, lengths + 2**40, SEED, counts) == 0
    assert gather.count_base_frames(data, keys + np.uint64(1), places, lengths, SEED, counts) == 0


def test_frames_come_from_the_data_and_from_both_logs():
    word = frame.order(1, MERGE)
    origins = [frames_at([(i, f"file {i}, {j}".encode(), word) for j in range(3)], 64) for i in range(3)]
    files = [data for data, _ in origins]
    picks = [(2, 1), (0, 0), (1, 2), (2, 0)]
    listed = np.array([origins[source][1][row] for source, row in picks])
    sources, offsets = u64(source for source, _ in picks), np.empty(5, np.int64)
    gather.measure_frames(*files, listed, sources, offsets)
    out = np.empty(offsets[-1], np.uint8)
    assert gather.copy_frames(*files, listed, sources, offsets, SEED, out) == -1
    assert out.tobytes() == b"".join(f"file {i}, {j}".encode() for i, j in picks)
    files[1][listed[2] + 24] ^= 1
    assert gather.copy_frames(*files, listed, sources, offsets, SEED, out) == 2


def test_values_are_scattered_to_their_rows():
    values, offsets = packed([b"ab", b"", b"cde"])
    out = np.zeros(10, np.uint8)
    gather.scatter_values(values, offsets, np.array([3, 1, 0]), np.array([7, 5, 9, 1]), out)
    assert out.tobytes() == b"\0ab\0\0\0\0cde"


rows_of_bytes = st.lists(
    st.tuples(st.binary(max_size=20), st.none() | st.binary(max_size=20) | st.integers(0, 19)), max_size=6
)


@quick
@given(rows_of_bytes)
def test_values_are_compared_row_by_row(rows):
    """The other value is the same, another one, or the same but for one byte."""
    others = [one if not isinstance(other, bytes) else other for one, other in rows]
    for row, (one, at) in enumerate(rows):
        if isinstance(at, int) and at < len(one):
            others[row] = one[:at] + bytes([one[at] ^ 1]) + one[at + 1 :]
    same = np.zeros(len(rows), bool)
    gather.compare_values(*packed([one for one, _ in rows]), *packed(others), same)
    assert same.tolist() == [one == other for (one, _), other in zip(rows, others)]


def test_the_last_word_is_a_put_at_the_sequence_of_the_last_frame():
    data, places, lengths = store([[(PUT, b"a")], [(MERGE, b"b"), (MERGE, b"c"), (MERGE, b"d")]])
    out = np.empty(2, np.uint64)
    gather.last_words(data, places.astype(np.uint64), lengths.astype(np.uint64) | np.uint64(64 << 32), out)
    assert out.tolist() == [frame.order(3, PUT), frame.order(5, PUT)]
