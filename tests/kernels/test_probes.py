"""Kernels that look for bytes nothing accounts for, against their plain definition."""

import numpy as np
import pytest

from bitdex.formats import frame
from bitdex.kernels import merge, probes
from tests.kernels.frame_store import IDENTITY, SEED, frames_at


def random_file(rng):
    """Return bytes with regions, frames, zeros and garbage in them, and the places of the region headers."""
    data, at, headers = np.zeros(int(rng.integers(40, 1500)), np.uint8), 0, []
    while at + 8 <= len(data):
        kind, room = int(rng.integers(5)), int(rng.integers(0, 12)) * 8
        if kind == 0 and at + 8 + room <= len(data):
            state = np.zeros(5, np.int64)
            state[[merge.ARENA, merge.ARENA_END]] = at, at + 8 + room
            merge.fill_arena(SEED, data, state)
            headers.append(at)
            at += 8
        elif kind < 3:
            payload = rng.bytes(int(rng.integers(0, 40)))
            content = frame.encode(int(rng.integers(9)), payload, 257, IDENTITY)
            data[at : at + len(content)] = np.frombuffer(content, np.uint8)[: len(data) - at]
            at += len(content)
        elif kind == 3 and rng.integers(3) == 0:
            garbage = rng.integers(0, 256, room, np.uint8)
            data[at : at + room] = garbage[: len(data) - at]
        at += room if kind > 2 else 0
    return data, headers


def holds_frame(data, at, stop):
    """Return the end of a whole frame with zeros behind it, or None."""
    if at + 24 > stop:
        return None
    size = int(data[at + 4 : at + 8].view("<u4")[0])
    key, word = (int(one) for one in data[at + 8 : at + 24].copy().view("<u8"))
    if at + 24 + size > stop:
        return None
    whole = frame.encode(key, data[at + 24 : at + 24 + size].tobytes(), word, IDENTITY)
    end = min(at + len(whole), stop)
    return end if data[at:end].tobytes() == whole[: end - at] else None


def plain_walk(data, headers, start, stop):
    """Return the first stray of a gap and how many bytes of strays there are."""
    at, first, count, lost = start, -1, 0, False
    while at < stop:
        word = data[at : min(at + 8, stop)]
        if len(word) == 8 and at in headers:
            at, lost = at + 8, False
        elif lost:
            count += len(word) if word.any() else 0
            at += len(word)
        elif not word.any():
            at += len(word)
        elif (end := holds_frame(data, at, stop)) is not None:
            at = end
        else:
            first, lost = (at if first < 0 else first), True
    return first, count


def walk(data, starts, stops, budget):
    strays, sizes = np.full(len(starts), 99), np.full(len(starts), 99)
    state, calls = np.array([0, -1, 0]), 0
    while state[0] < len(starts):
        probes.walk_gaps(data, starts, stops, budget, SEED, state, strays, sizes)
        calls += 1
    return list(zip(strays.tolist(), sizes.tolist())), calls


@pytest.mark.parametrize("seed", range(60))
def test_strays_are_found_wherever_a_walk_is_interrupted(seed):
    rng = np.random.default_rng(seed)
    data, headers = random_file(rng)
    edges = np.sort(rng.integers(0, len(data) + 1, 8) // 8 * 8)
    starts, stops = edges[::2].copy(), np.append(edges[1::2][:-1], len(data))
    expected = [plain_walk(data, set(headers), *gap) for gap in zip(starts.tolist(), stops.tolist())]
    found, calls = walk(data, starts, stops, 1 << 30)
    assert found == expected and calls == 1
    for budget in (1, 8, 50):
        assert walk(data, starts, stops, budget)[0] == expected


def test_the_random_files_have_strays_and_none():
    files = [random_file(np.random.default_rng(seed)) for seed in range(60)]
    firsts = [plain_walk(data, set(headers), 0, len(data))[0] for data, headers in files]
    assert 5 < sum(first < 0 for first in firsts) < 55


def test_a_gap_that_stops_before_it_starts_is_empty():
    assert walk(np.full(64, 7, np.uint8), np.array([40, 8]), np.array([8, 8]), 100)[0] == [(-1, 0)] * 2


@pytest.mark.parametrize("seed", range(10))
def test_the_next_region_header_that_holds(seed):
    data, headers = random_file(np.random.default_rng(seed))
    for start in range(0, len(data) // 8 * 8, 8):
        following = [at for at in headers if at >= start]
        assert probes.find_region(data, start, len(data), SEED) == (following or [len(data)])[0]


@pytest.mark.parametrize("size", range(9))
def test_padding_that_is_not_zero(size):
    data, places = frames_at([(1, b"x" * size, 257), (1, b"yyy", 258), (1, b"z" * size, 259)], 16)
    records = np.array([16]), np.array([len(data) - 16])
    assert probes.find_padding(data, *records, 0, 1) == -1
    padding = [
        at for place in places[[2, 0]] for at in range(place + 24 + size, place + (24 + size + 7 & ~7))
    ]
    for at in padding:
        data[at] = 1
        assert probes.find_padding(data, *records, 0, 1) == at
        data[at] = 0
    assert probes.find_padding(data, *records, 1, 1) == -1
