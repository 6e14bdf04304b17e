"""Words: sets that are joined and listed word by word are what NumPy makes of booleans."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitdex.analysis.along import Along, ByCode
from bitdex.analysis.codes import Column
from bitdex.kernels import words as kernels
from tests.kernels.slot_sets import quick

CHUNKS = 3
ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
ranges = st.tuples(st.integers(0, CHUNKS), st.integers(0, CHUNKS)).map(sorted)


@st.composite
def sets(draw: st.DrawFn) -> np.ndarray:
    """Draw which slots of some chunks are in a set, each chunk of a density of its own."""
    rng = np.random.default_rng(draw(st.integers(0, 9999)))
    shares = draw(st.lists(st.sampled_from([0, 0.0001, 0.05, 0.5, 1]), min_size=CHUNKS, max_size=CHUNKS))
    return np.concatenate([rng.random(65536) < share for share in shares])


def words_of(held: np.ndarray) -> np.ndarray:
    return np.packbits(held, bitorder="little").view(np.uint64)


def only(held: np.ndarray, lo: int, hi: int) -> np.ndarray:
    """Return a set without what lies outside of chunks [lo, hi)."""
    inside = np.zeros(len(held), bool)
    inside[lo << 16 : hi << 16] = held[lo << 16 : hi << 16]
    return inside


@quick
@given(sets(), sets(), st.booleans(), ranges, st.booleans())
def test_sets_are_joined(
    one: np.ndarray, other: np.ndarray, minus: bool, bounds: list[int], in_place: bool
) -> None:
    lo, hi = bounds
    first, counts = words_of(one), np.zeros(CHUNKS, np.int64)
    out = first if in_place else np.zeros_like(first)
    kernels.join(first, words_of(other), ALL if minus else ALL ^ ALL, lo, hi, out, counts)
    expected = only(one & ~other if minus else one & other, lo, hi)
    assert np.array_equal(out[lo * 1024 : hi * 1024], words_of(expected)[lo * 1024 : hi * 1024])
    assert counts.tolist() == expected.reshape(CHUNKS, -1).sum(axis=1).tolist()
    if not minus:
        assert kernels.meet(words_of(one), words_of(other), lo, hi) == expected.sum()


@quick
@given(sets(), ranges)
def test_slots_are_listed(held: np.ndarray, bounds: list[int]) -> None:
    expected = np.flatnonzero(only(held, *bounds))
    out = np.full(len(expected) + kernels.AT_ONCE, 7, np.uint32)
    assert kernels.list_slots(words_of(held), *bounds, out) == len(expected)
    assert np.array_equal(out[: len(expected)], expected)


@quick
@given(sets(), sets(), st.booleans(), st.integers(0, 999), st.integers(1, 200_000))
def test_sets_along_an_order(one: np.ndarray, other: np.ndarray, minus: bool, seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(one) + 70_000)[:size].astype(np.uint32)  # some of it lies behind the sets
    found = [Along.of(words_of(held), order) for held in (one, other)]
    padded = np.concatenate((np.stack((one, other)), np.zeros((2, 70_000), bool)), axis=1)[:, order]
    cuts = np.concatenate([[0], np.sort(rng.integers(0, size + 1, 9)), [size]])
    expected = padded[0] & (~padded[1] if minus else padded[1])
    both = found[0].joined(found[1], minus)
    for along, held in (
        (found[0], padded[0]),
        (both, expected),
        (both.joined(found[1], False), expected & padded[1]),
    ):
        assert along.between(cuts).tolist() == [int(held[a:b].sum()) for a, b in pairwise(cuts)]
        assert len(along) == held.sum()
        places = np.flatnonzero(held)
        for n in {0, len(places) // 2, len(places) - 1} if len(places) else ():
            assert along.nth(n) == places[n]


@quick
@given(st.integers(1, 300), st.integers(1, 200), st.integers(0, 999))
def test_slots_by_code(rows: int, columns: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, rows, 3000).astype(np.uint8 if rows <= 256 else np.uint16)
    made = ByCode(codes, rows)
    assert made.order.tolist() == [slot for slot in np.argsort(codes, kind="stable") if codes[slot]]
    assert np.diff(made.cuts).tolist() == np.bincount(codes, minlength=rows)[1:].tolist()
    one, other = (
        Column(np.arange(n), rng.integers(0, n + 1, 3000).astype(np.uint8)) for n in (rows % 256, columns)
    )
    crossed = one.crossed(other)
    both = one.codes.astype(int) * (columns + 1) + other.codes
    both[(one.codes == 0) | (other.codes == 0)] = 0
    assert crossed.order.tolist() == [slot for slot in np.argsort(both, kind="stable") if both[slot]]
    assert (
        np.diff(crossed.cuts).tolist()
        == np.bincount(both, minlength=(rows % 256 + 1) * (columns + 1))[1:].tolist()
    )


@pytest.mark.parametrize("byte", range(256))
def test_every_byte(byte: int) -> None:
    words = np.zeros(1024, np.uint64)
    words[1023] = np.uint64(byte) << np.uint64(56)
    out = np.zeros(16, np.uint32)
    count = kernels.list_slots(words, 0, 1, out)
    assert out[:count].tolist() == [65528 + bit for bit in range(8) if byte >> bit & 1]
