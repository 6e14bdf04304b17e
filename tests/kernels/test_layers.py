"""Layers hold exactly the slots whose bit is set, and give the values back."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroaring import BitMap

from bitdex.kernels import layers
from bitdex.kernels.layers import chunk_starts, decode_layers, encode_layers
from bitdex.kernels.roaring import encode_runs
from tests.kernels.slot_sets import quick, slot_sets

TOP = 2**64 - 1


@st.composite
def columns(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Draw slots and values that make layers dense, sparse, equal to `present`, or in runs."""
    slots = draw(slot_sets(max_chunks=3))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    style = draw(st.sampled_from(["random", "rising", "constant", "rare", "top"]))
    values = {
        "random": rng.integers(0, 2**10, len(slots)),
        "rising": np.arange(len(slots)) // 100,
        "constant": np.full(len(slots), 5),
        "rare": np.where(rng.random(len(slots)) < 0.01, 9, 0),
        "top": rng.integers(0, 2, len(slots)).astype(np.uint64) * np.uint64(TOP - 2**62),
    }[style].astype(np.uint64)
    return slots, values


def split(payloads: np.ndarray, offsets: np.ndarray) -> list[bytes]:
    return [payloads[first:stop].tobytes() for first, stop in pairwise(offsets)]


@quick
@given(columns())
def test_a_layer_is_the_slots_with_its_bit(column: tuple[np.ndarray, np.ndarray]) -> None:
    slots, values = column
    bits, payloads, offsets = encode_layers(slots, values)
    held = {bit: slots[(values >> np.uint64(bit)) & np.uint64(1) == 1].tolist() for bit in range(64)}
    assert bits.tolist() == [bit for bit in range(64) if held[bit]]
    for bit, payload in zip(bits.tolist(), split(payloads, offsets), strict=True):
        wanted = BitMap(held[bit])
        wanted.run_optimize()
        assert payload == wanted.serialize()


@quick
@given(columns())
def test_decoding_gives_the_values_back(column: tuple[np.ndarray, np.ndarray]) -> None:
    slots, values = column
    assert np.array_equal(decode_layers(*encode_layers(slots, values), slots), values)


def test_the_widest_values_at_the_last_slots() -> None:
    slots = np.array([0, 2**32 - 2, 2**32 - 1], np.uint32)
    values = np.array([TOP, 0, 2**63], np.uint64)
    bits, payloads, offsets = encode_layers(slots, values)
    assert len(bits) == 64 and BitMap.deserialize(split(payloads, offsets)[63]) == BitMap([0, 2**32 - 1])
    assert decode_layers(bits, payloads, offsets, slots).tolist() == values.tolist()


def test_no_values_and_only_zeros() -> None:
    empty = np.empty(0, np.uint32)
    bits, payloads, offsets = encode_layers(empty, np.empty(0, np.uint64))
    assert (len(bits), len(payloads), offsets.tolist()) == (0, 0, [0])
    assert len(decode_layers(bits, payloads, offsets, empty)) == 0
    slots = np.array([4, 8], np.uint32)
    assert decode_layers(*encode_layers(slots, np.zeros(2, np.uint64)), slots).tolist() == [0, 0]


def test_chunks_begin_where_the_high_half_changes() -> None:
    slots = np.array([1, 2, 65536, 2**32 - 1], np.uint32)
    assert chunk_starts(slots).tolist() == [0, 2, 3, 4]


def layer(*held: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    payloads, offsets = encode_runs(np.array(held, np.uint32), np.array([0, len(held)]))
    return np.array([0]), payloads, offsets


@pytest.mark.parametrize("stray", [(0, 5), (5, 70000), (5, 1 << 20), tuple(range(5, 30))])
def test_a_layer_outside_the_present_slots_is_refused(stray: tuple[int, ...]) -> None:
    slots = np.array([5, 6, 65536, 1 << 17], np.uint32)
    with pytest.raises(ValueError, match="slots that have no value"):
        decode_layers(*layer(*stray), slots)


def test_damaged_layers_are_refused() -> None:
    slots = np.arange(9, dtype=np.uint32)
    bits, payloads, offsets = layer(1, 4, 7)
    for wrong in (payloads[:-1], np.append(payloads, np.uint8(0))):
        with pytest.raises(ValueError, match=r"too early|bytes follow"):
            decode_layers(bits, wrong, np.array([0, len(wrong)]), slots)
    cookie = payloads.copy()
    cookie[0] = 0
    with pytest.raises(ValueError, match="cookie"):
        decode_layers(bits, cookie, offsets, slots)
    repeated = payloads.copy()
    repeated[-4:-2] = repeated[-2:]
    with pytest.raises(ValueError):
        decode_layers(bits, repeated, offsets, slots)


def test_a_run_beyond_the_chunk_is_refused() -> None:
    bits, payloads, offsets = layer(*range(65000, 65536))
    payloads = payloads.copy()
    payloads[-2:] = 255
    with pytest.raises(ValueError, match="do not ascend"):
        decode_layers(bits, payloads, offsets, np.arange(65536, dtype=np.uint32))


def test_blocks_of_chunks_continue_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    slots = (np.arange(7, dtype=np.uint32) << np.uint32(16)) + np.uint32(3)
    values = np.arange(7, dtype=np.uint64)
    whole = encode_layers(slots, values)
    monkeypatch.setattr(layers, "BLOCK", 2)
    assert all(np.array_equal(a, b) for a, b in zip(whole, encode_layers(slots, values)))
    assert decode_layers(*whole, slots).tolist() == values.tolist()
