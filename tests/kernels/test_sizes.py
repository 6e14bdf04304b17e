"""Container statistics and bytes by field equal their plain definitions; damage is named, never misread."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from pyroaring import BitMap

from bitdex.formats.document import encode_document
from bitdex.kernels.containers import list_containers, measure_containers
from bitdex.kernels.document_sizes import add_field_sizes
from bitdex.kernels.roaring import encode_runs
from tests.kernels.slot_sets import quick, slot_sets


def measured(data: np.ndarray, ends: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    count = len(ends) - 1
    counts, sizes = np.empty(3 * count, np.int64), np.empty(3 * count, np.int64)
    bad = measure_containers(data, ends[:-1].copy(), ends[1:].copy(), 0, count, counts, sizes)
    return bad, counts.reshape(-1, 3), sizes.reshape(-1, 3)


@quick
@given(st.lists(slot_sets(), max_size=4))
def test_containers_are_those_of_croaring(runs: list[np.ndarray]) -> None:
    offsets = np.cumsum([0, *(len(run) for run in runs)])
    data, ends = encode_runs(np.concatenate([np.empty(0, np.uint32), *runs]), offsets)
    bad, counts, sizes = measured(data, ends)
    assert bad == -1
    for i, run in enumerate(runs):
        told = BitMap.deserialize(data[ends[i] : ends[i + 1]].tobytes()).get_statistics()
        assert counts[i].tolist() == [told[f"n_{kind}_containers"] for kind in ("array", "bitset", "run")]
        assert sizes[i][0] == 2 * told["n_values_array_containers"]
        assert sizes[i][1] == 8192 * told["n_bitset_containers"]
        assert 0 <= ends[i + 1] - ends[i] - sizes[i].sum() <= 8 + 9 * counts[i].sum() + len(run) // 65536


@quick
@given(slot_sets(), st.integers(0, 3))
def test_containers_lie_where_they_are_listed(slots: np.ndarray, before: int) -> None:
    payload, _ = encode_runs(slots, np.array([0, len(slots)]))
    data = np.concatenate((np.full(before, 9, np.uint8), payload, np.zeros(2, np.uint8)))
    chunks = np.unique(slots >> 16)
    out = np.full(5 * len(chunks) + 1, -7, np.int64)
    assert list_containers(data, before, before + len(payload), out) == len(chunks) and out[-1] == -7
    rows = out[:-1].reshape(-1, 5).tolist()
    assert [row[0] for row in rows] == chunks.tolist()
    for (key, kind, count, start, stop), following in zip(rows, [*rows[1:], None]):
        low = slots[slots >> 16 == key] & 0xFFFF
        body = data[start:stop].tobytes()
        if kind == 0:
            held = np.frombuffer(body, "<u2").tolist()
        elif kind == 1:
            held = np.flatnonzero(np.unpackbits(np.frombuffer(body, np.uint8), bitorder="little")).tolist()
        else:
            runs = np.frombuffer(body, "<u2")
            held = [one for a, n in runs[1:].reshape(-1, 2).tolist() for one in range(a, a + n + 1)]
            assert runs[0] == len(runs) // 2
        assert held == low.tolist() and count == len(low)
        assert stop == (before + len(payload) if following is None else following[3])


@quick
@given(slot_sets(min_chunks=1), st.integers(0, 40), st.integers(0, 255))
def test_damaged_lists_are_faults(slots: np.ndarray, place: int, byte: int) -> None:
    data, _ = encode_runs(slots, np.array([0, len(slots)]))
    data[place % len(data)] = byte
    counts, sizes = np.empty(3, np.int64), np.empty(3, np.int64)
    if measure_containers(data, np.array([0]), np.array([len(data)]), 0, 1, counts, sizes) == -1:
        out = np.empty(5 * counts.sum(), np.int64)
        assert list_containers(data, 0, len(data), out) == counts.sum()


@quick
@given(slot_sets(), st.integers(0, 40), st.integers(0, 255))
def test_damaged_payloads_are_named(slots: np.ndarray, place: int, byte: int) -> None:
    data, ends = encode_runs(slots, np.array([0, len(slots)]))
    assert measured(data, np.array([0, len(data) - 1]))[0] == 0
    assert measured(data, np.array([0, len(data) + 1]))[0] == 0
    data[place % len(data)] = byte
    measured(data, ends)  # whatever it says, it stays inside the payload


DOCUMENTS = st.dictionaries(
    st.integers(1, 65535),
    st.one_of(
        st.integers(-(2**63), 2**63 - 1), st.text(max_size=300), st.lists(st.integers(0, 9)), st.booleans()
    ),
    max_size=4,
)


@quick
@given(st.lists(DOCUMENTS, max_size=4))
def test_bytes_by_field_are_those_of_its_entries(documents: list[dict]) -> None:
    parts = [encode_document(one) for one in documents]
    data = np.frombuffer(b"".join(parts), np.uint8)
    ends = np.cumsum([0, *map(len, parts)])
    counts, sizes = np.zeros(1 << 16, np.int64), np.zeros(1 << 16, np.int64)
    bad = add_field_sizes(data, ends[:-1].copy(), ends[1:].copy(), 0, len(parts), counts, sizes)
    assert bad == -1 and sizes.sum() == len(data)
    for field in {number for one in documents for number in one}:
        entries = [encode_document({field: one[field]}) for one in documents if field in one]
        assert (counts[field], sizes[field]) == (len(entries), sum(map(len, entries)))


def test_a_damaged_document_is_named() -> None:
    data = np.frombuffer(encode_document({1: 300}) + b"\x02\x00\xff", np.uint8)
    counts, sizes = np.zeros(1 << 16, np.int64), np.zeros(1 << 16, np.int64)
    starts = np.array([0, 5])
    assert add_field_sizes(data, starts, np.array([5, 8]), 0, 2, counts, sizes) == 1
    assert add_field_sizes(data, starts, np.array([5, 99]), 0, 2, counts, sizes) == 1
