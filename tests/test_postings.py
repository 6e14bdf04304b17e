"""Postings give each (field, value) the bitmap of its slots, in memory or through the file."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyroaring import BitMap

from bitdex import filesystem
from bitdex.dump import postings as module
from bitdex.dump.postings import Bitmaps, Postings
from bitdex.errors import ClosedError, CorruptError, InvalidError
from tests.kernels.slot_sets import MAX_SLOT, quick

PLENTY = 1 << 30
VALUES = st.one_of(st.integers(0, 5), st.sampled_from([0, 2**32 - 1, 2**32, 2**64 - 1]))
SLOTS = st.one_of(st.integers(0, 40), st.sampled_from([0, 65536, MAX_SLOT]))
BLOCKS = st.lists(
    st.tuples(st.sampled_from([1, 2, 16383]), st.lists(st.tuples(VALUES, SLOTS), max_size=20)), max_size=8
)
several = settings(quick, suppress_health_check=[HealthCheck.function_scoped_fixture])


def columns(rows: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([row[0] for row in rows], np.uint64), np.array([row[1] for row in rows], np.uint32)


def unpack(parts: list[Bitmaps]) -> dict[tuple[int, int], BitMap]:
    found = {}
    for part in parts:
        ends = part.offsets.tolist()
        assert len(part.values) == len(part.cardinalities) == len(ends) - 1 > 0
        assert (part.values.dtype, part.payloads.dtype) == (np.uint64, np.uint8)
        for i, value in enumerate(part.values.tolist()):
            bitmap = BitMap.deserialize(part.payloads[ends[i] : ends[i + 1]].tobytes())
            assert len(bitmap) == part.cardinalities[i]
            found[part.field_id, value] = bitmap
    keys = [(part.field_id, value) for part in parts for value in part.values.tolist()]
    assert keys == sorted(set(keys))
    return found


@several
@given(BLOCKS, st.sampled_from([0, 600, PLENTY]), st.sampled_from([1, 7, 10**6]))
def test_each_value_gets_its_slots(
    tmp_path: Path, blocks: list[tuple[int, list[tuple[int, int]]]], memory: int, batch: int
) -> None:
    expected: dict[tuple[int, int], BitMap] = {}
    with Postings(memory, tmp_path) as postings:
        for field_id, rows in blocks:
            postings.add(field_id, *columns(rows))
            for value, slot in rows:
                expected.setdefault((field_id, value), BitMap()).add(slot)
        assert unpack(list(postings.bitmaps(batch))) == expected
    assert list(tmp_path.iterdir()) == []


def filled(postings: Postings, blocks: int = 6, rows: int = 1000) -> dict[tuple[int, int], BitMap]:
    """Add blocks of ascending slots, as a dump does; return the bitmaps they make."""
    rng = np.random.default_rng(8)
    expected: dict[tuple[int, int], BitMap] = {}
    for block in range(blocks):
        slots = np.sort(rng.integers(block * 500, (block + 1) * 500, rows)).astype(np.uint32)
        values = rng.integers(0, 50, rows).astype(np.uint64)
        postings.add(7, values, slots)
        for value, slot in zip(values.tolist(), slots.tolist()):
            expected.setdefault((7, value), BitMap()).add(slot)
    return expected


def test_memory_and_file_give_the_same_bytes(tmp_path: Path) -> None:
    results = []
    for memory in (PLENTY, 100_000, 1):
        with Postings(memory, tmp_path) as postings:
            expected = filled(postings)
            spilled = list(tmp_path.glob("postings-*.spill"))
            assert bool(spilled) == (memory < PLENTY)
            results.append(list(postings.bitmaps()))
        assert unpack(results[-1]) == expected
    assert len({b"".join(part.payloads.tobytes() for part in parts) for parts in results}) == 1


def test_batches_hold_whole_values_and_stay_small(tmp_path: Path) -> None:
    for memory in (PLENTY, 1):
        with Postings(memory, tmp_path) as postings:
            expected = filled(postings)
            parts = list(postings.bitmaps(batch_slots=400))
        assert unpack(parts) == expected
        largest = max(len(bitmap) for bitmap in expected.values())
        assert len(parts) > 5
        assert all(part.cardinalities.sum() <= max(400, largest) for part in parts)


def test_the_file_goes_when_something_fails(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Postings(1, tmp_path) as postings:
        filled(postings)
        assert list(tmp_path.iterdir()) != []
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, data: np.ndarray, offset: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(filesystem, "write_at", refuse)
    with pytest.raises(OSError, match="No space left"), Postings(1, tmp_path) as postings:
        filled(postings)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_is_corrupt(tmp_path: Path) -> None:
    with Postings(1, tmp_path) as postings:
        filled(postings)
        (path,) = tmp_path.iterdir()
        with open(path, "r+b") as handle:
            handle.seek(300)
            byte = handle.read(1)
            handle.seek(300)
            handle.write(bytes([byte[0] ^ 1]))
        with pytest.raises(CorruptError, match=r"offset \d+: expected CRC"):
            list(postings.bitmaps())
    assert list(tmp_path.iterdir()) == []


def test_the_directory_is_made_when_it_is_needed(tmp_path: Path) -> None:
    with Postings(PLENTY, tmp_path / "a") as postings:
        filled(postings)
        assert not (tmp_path / "a").exists()
    with Postings(1, tmp_path / "b") as postings:
        filled(postings)
        assert list((tmp_path / "b").iterdir()) != []


def test_nothing_can_be_added_or_taken_afterwards(tmp_path: Path) -> None:
    one = np.ones(1, np.uint64), np.ones(1, np.uint32)
    with Postings(PLENTY, tmp_path) as postings:
        postings.add(1, *one)
        assert len(list(postings.bitmaps())) == 1
        with pytest.raises(ClosedError):
            postings.add(1, *one)
        with pytest.raises(ClosedError):
            next(postings.bitmaps())
    postings.close()


@pytest.mark.parametrize(
    ("values", "slots"),
    [
        (np.zeros(2, np.uint64), np.zeros(1, np.uint32)),
        (np.zeros(1, np.int64), np.zeros(1, np.uint32)),
        (np.zeros(1, np.uint64), np.zeros(1, np.uint64)),
    ],
)
def test_other_arrays_are_refused(tmp_path: Path, values: np.ndarray, slots: np.ndarray) -> None:
    with Postings(PLENTY, tmp_path) as postings, pytest.raises(InvalidError, match="field id 4: expected"):
        postings.add(4, values, slots)


def test_positions_in_narrow_arrays() -> None:
    array = np.array([1, 5, 2**32 - 1], np.uint32)
    found = [module._position(array, number) for number in (0, 1, 2, 2**32 - 1, 2**32, 2**64)]
    assert found == [0, 0, 1, 2, 3, 3]
