"""Keys and values in every form that is taken, and all that is refused."""

import numpy as np
import pytest

import bitdex
from bitdex.errors import ClosedError, InvalidError, LockedError, NotFoundError


def values(silo, keys):
    return list(silo.get_many(keys))


# ---- values in and out


def test_values_are_a_sequence(silo):
    silo.put_many([1, 2], [b"ab", b"c"])
    found = silo.get_many([2, 9, 1])
    assert len(found) == 3 and found[0] == b"c" and found[1] is None and found[-1] == b"ab"
    assert found.data.tobytes() == b"cab" and found.offsets.tolist() == [0, 1, 1, 3]
    assert found.found.tolist() == [True, False, True]
    assert isinstance(found, bitdex.Values)


def test_packed_values_may_begin_anywhere_and_have_any_type(silo):
    silo.put_many([1, 2], np.arange(5, dtype="<u2"), np.array([2, 6, 10]))
    assert values(silo, [1, 2]) == [b"\1\0\2\0", b"\3\0\4\0"]


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64, np.uint64])
def test_keys_of_any_integer_type(silo, dtype):
    silo.put_many(np.array([1, 100], dtype), [b"a", b"b"])
    assert values(silo, np.array([100, 1], dtype)) == [b"b", b"a"]


def test_lists_of_small_and_great_keys(silo):
    """NumPy makes float64 of [1, 2**63]; keys are integers all the same."""
    silo.put_many([1, 2**63], [b"a", b"b"])
    assert values(silo, [2**63, 1]) == [b"b", b"a"]
    assert silo.get(2**63) == b"b" and silo.get(2**64 - 1) is None


@pytest.mark.parametrize("keys", [[-1], [0.5], [[1]], ["a"], [2**64], [None]])
def test_keys_that_are_none_are_refused(silo, keys):
    for call in (silo.get_many, silo.delete_many, lambda keys: silo.put_many(keys, [b"a"])):
        with pytest.raises(InvalidError, match="keys: "):
            call(keys)
    assert silo.pending == 0


@pytest.mark.parametrize("key", [-1, 2**64])
def test_a_single_key_outside_is_refused(silo, key):
    with pytest.raises(InvalidError, match=rf"keys?: {key} is"):
        silo.get(key)


@pytest.mark.parametrize(
    ("payloads", "offsets", "message"),
    [
        ([b"a"], None, "values: expected 2 for 2 keys, found 1"),
        (np.zeros(4, np.uint8), [0, 2], "offsets: expected 3 for 2 keys, found 2"),
        (np.zeros(4, np.uint8), [0, 2, 5], "offsets: expected an ascending sequence from 0 to 4"),
        (np.zeros(4, np.uint8), [0, 3, 2], "offsets: expected an ascending sequence"),
        (np.zeros(4, np.uint8), [-1, 3, 4], "offsets: expected an ascending sequence"),
    ],
)
def test_values_that_do_not_fit_the_keys_are_refused(silo, payloads, offsets, message):
    with pytest.raises(InvalidError, match=message):
        silo.put_many([1, 2], payloads, offsets)
    assert silo.pending == 0 and silo.get(1) is None


# ---- refusing


def test_a_reader_cannot_write(silos):
    silos().put(1, b"a")
    reader = silos(mode="r")
    for call in (
        lambda: reader.put(1, b"b"),
        lambda: reader.delete(1),
        reader.compact,
        reader.rewrite,
        lambda: reader.merge_writer().__enter__(),
    ):
        with pytest.raises(LockedError, match='open it with mode="w"'):
            call()
    assert reader.get(1) == b"a"


def test_a_closed_silo_says_so(silo):
    silo.close()
    silo.close()
    for call in (lambda: silo.get(1), silo.keys, lambda: silo.put(1, b""), silo.compact):
        with pytest.raises(ClosedError, match="the silo was closed"):
            call()


def test_a_silo_that_is_not_there(tmp_path):
    with pytest.raises(NotFoundError, match="there is no silo here"):
        bitdex.Silo.open(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize(
    "options",
    [
        {"rule": "sum"},
        {"headroom": 0.9},
        {"headroom": 61.0},
        {"minimum": -1},
        {"minimum": 1 << 24},
        {"alignment": 12},
        {"sync": "sometimes"},
        {"mode": "a"},
    ],
)
def test_options_outside_what_is_possible(tmp_path, options):
    name = next(iter(options))
    with pytest.raises(InvalidError, match=f"{name}: "):
        bitdex.Silo.open(tmp_path / "silo", **{"mode": "w", **options})
    assert not (tmp_path / "silo").exists()


def test_a_silo_closes_with_its_block(tmp_path):
    with bitdex.Silo.open(tmp_path / "silo", "w") as silo:
        silo.put(1, b"a")
    with pytest.raises(ClosedError):
        silo.get(1)
    with bitdex.Silo.open(tmp_path / "silo") as silo:
        assert silo.get(1) == b"a"
