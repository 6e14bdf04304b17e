"""Payloads equal CRoaring's own, byte by byte; damaged ones are refused, never misread."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroaring import BitMap

from bitdex.kernels import roaring
from bitdex.kernels.roaring import FAULTS, cardinality, decode_slots, encode_runs
from tests.kernels.slot_sets import DENSE, ENDS, FEW, MAX_SLOT, RUN, RUNS, chunk_of, quick, slot_sets


def reference(slots: np.ndarray) -> bytes:
    bitmap = BitMap(slots.tolist())
    bitmap.run_optimize()
    return bitmap.serialize()


def payloads_of(runs: list[np.ndarray]) -> list[bytes]:
    offsets = np.cumsum([0, *(len(run) for run in runs)])
    packed, ends = encode_runs(np.concatenate([np.empty(0, np.uint32), *runs]), offsets)
    assert ends[0] == 0 and ends[-1] == len(packed)
    return [packed[first:stop].tobytes() for first, stop in pairwise(ends)]


def bytes_of(payload: bytes) -> np.ndarray:
    return np.frombuffer(payload, np.uint8)


@quick
@given(st.lists(slot_sets(), max_size=4))
def test_payloads_are_those_of_croaring(runs: list[np.ndarray]) -> None:
    for run, payload in zip(runs, payloads_of(runs), strict=True):
        assert payload == reference(run)
        assert BitMap.deserialize(payload) == BitMap(run.tolist())


@quick
@given(slot_sets())
def test_decoding_gives_the_slots_back(slots: np.ndarray) -> None:
    (payload,) = payloads_of([slots])
    assert np.array_equal(decode_slots(bytes_of(payload)), slots)


@pytest.mark.parametrize("shape", [FEW, DENSE, RUN, RUNS, ENDS])
def test_every_kind_of_container_is_reached(shape: int) -> None:
    slots = chunk_of(shape, 1).astype(np.uint32)
    kinds = BitMap.deserialize(payloads_of([slots])[0]).get_statistics()
    wanted = {FEW: "array", ENDS: "array", DENSE: "bitset", RUN: "run", RUNS: "run"}[shape]
    assert kinds[f"n_{wanted}_containers"] == kinds["n_containers"] == 1


def test_edges_of_the_space() -> None:
    for slots in ([], [0], [MAX_SLOT], [0, MAX_SLOT], [65535, 65536], range(65536), range(4096), range(4097)):
        array = np.array(slots, np.uint32)
        (payload,) = payloads_of([array])
        assert payload == reference(array)
        assert decode_slots(bytes_of(payload)).tolist() == list(slots)


def test_many_short_runs() -> None:
    rng = np.random.default_rng(3)
    runs = [np.unique(rng.integers(0, 2**32, rng.integers(0, 5))).astype(np.uint32) for _ in range(300)]
    assert payloads_of(runs) == [reference(run) for run in runs]


@quick
@given(slot_sets(min_chunks=1), st.data())
def test_a_cut_payload_is_refused(slots: np.ndarray, data: st.DataObject) -> None:
    (payload,) = payloads_of([slots])
    short = payload[: data.draw(st.integers(0, len(payload) - 1))]
    with pytest.raises(ValueError):
        decode_slots(bytes_of(short))
    with pytest.raises(ValueError, match="bytes follow"):
        decode_slots(bytes_of(payload + b"\0"))


@quick
@given(slot_sets(min_chunks=1), st.data())
def test_a_changed_byte_is_refused_or_gives_sound_slots(slots: np.ndarray, data: st.DataObject) -> None:
    damaged = bytearray(payloads_of([slots])[0])
    at = data.draw(st.integers(0, min(len(damaged), 80) - 1))
    damaged[at] ^= data.draw(st.integers(1, 255))
    try:
        found = decode_slots(bytes_of(bytes(damaged)))
    except ValueError as error:
        assert str(error) in FAULTS.values()
    else:
        assert np.all(found[1:] > found[:-1])
        assert len(found) == cardinality(bytes_of(bytes(damaged)), 0, len(damaged))


def _u16(*words: int) -> bytes:
    return np.array(words, "<u2").tobytes()


PLAIN, RUNNING = b"\x3a\x30\0\0", b"\x3b\x30\0\0\x01"
CASES = {
    "the cookie or the number of containers is wrong": b"12345678",
    "the payload ends too early": PLAIN + b"\xff\xff\0\0",
    "the container keys do not ascend": PLAIN + b"\2\0\0\0" + _u16(5, 0, 5, 0) + bytes(8) + _u16(1, 1),
    "the slots of a container do not ascend": PLAIN + b"\1\0\0\0" + _u16(0, 1, 16, 0, 7, 7),
    "a container does not hold as many slots as it says": RUNNING + _u16(0, 4, 1, 3, 1),
    "bytes follow the last container": PLAIN + bytes(4) + b"x",
}


@pytest.mark.parametrize("fault", CASES)
def test_faults_are_named(fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        decode_slots(bytes_of(CASES[fault]))


@pytest.mark.parametrize("runs", [(1, 65530, 9), (2, 10, 3, 13, 4), (2, 20, 3, 2, 4)])
def test_runs_that_overflow_or_overlap_are_refused(runs: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="do not ascend"):
        decode_slots(bytes_of(RUNNING + _u16(0, 8 if runs[0] == 2 else 9) + _u16(*runs)))


def test_a_bitset_with_a_wrong_count_is_refused() -> None:
    payload = bytearray(payloads_of([chunk_of(DENSE, 1).astype(np.uint32)])[0])
    for change in (payload[-8192:].find(b"\xff"), 0):
        wrong = bytearray(payload)
        wrong[len(wrong) - 8192 + change] ^= 1
        with pytest.raises(ValueError, match="as many slots"):
            decode_slots(bytes_of(bytes(wrong)))


def test_decoding_needs_exactly_enough_room() -> None:
    data = bytes_of(payloads_of([np.arange(5, dtype=np.uint32)])[0])
    for room in (4, 6):
        assert roaring.decode(data, 0, len(data), np.empty(room, np.uint32)) == roaring.ROOM


def test_a_payload_inside_a_larger_array() -> None:
    payload = payloads_of([np.array([3, 70000], np.uint32)])[0]
    data, out = bytes_of(b"abc" + payload + b"xyz"), np.empty(2, np.uint32)
    assert roaring.decode(data, 3, 3 + len(payload), out) == 2
    assert out.tolist() == [3, 70000]
    assert roaring.cardinality(data, 3, len(data) + 1) == roaring.TRUNCATED
