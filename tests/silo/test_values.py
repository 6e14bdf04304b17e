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


@pytest.mark.parametrize("key", [1.7, 1.0, "1", None, np.float64(1)])
def test_a_single_key_that_is_no_integer_is_refused(silo, key):
    """1.7 was taken for 1."""
    silo.put(1, b"one")
    for call in (silo.get, silo.view, lambda key: silo.apply_few([(1, key, b"x")])):
        with pytest.raises(InvalidError, match=r"expected .*integer"):
            call(key)
    assert silo.get(np.int8(1)) == silo.get(True) == b"one"


def test_a_value_of_wide_items_is_stored_whole(silo):
    """As many bytes were stored as it has items, and the values behind it began too early."""
    wide, empty = np.arange(3, dtype="<u4"), np.empty((3, 0), np.uint8)
    silo.put_many([1, 2, 3, 4], [wide, b"two", wide[::2], memoryview(b"four")])
    assert values(silo, [1, 2, 3, 4]) == [wide.tobytes(), b"two", wide[::2].tobytes(), b"four"]
    silo.apply_few([(1, 5, wide), (1, 6, empty), (1, 7, bytearray(b"seven"))])
    assert values(silo, [5, 6, 7]) == [wide.tobytes(), b"", b"seven"]


@pytest.mark.parametrize("value", ["text", 5, None, [1, 2]])
def test_values_that_are_no_bytes_are_refused(silo, value):
    for call in (lambda: silo.put_many([1, 2], [b"", value]), lambda: silo.apply_few([(1, 1, value)])):
        with pytest.raises(InvalidError, match="bytes"):
            call()
    assert silo.pending == 0


@pytest.mark.parametrize("sequence", [0, -1, 2**56, 50.0, "5"])
@pytest.mark.parametrize("way", ["put_many", "apply_few", "nothing", "merge_writer"])
def test_a_sequence_that_no_batch_can_have_is_refused_and_leaves_no_trace(silo, sequence, way):
    """2**56 and 50.0 were taken before they were refused: every later batch failed."""
    silo.put(1, b"one")
    calls = {
        "put_many": lambda: silo.put_many([1], [b""], sequence=sequence),
        "apply_few": lambda: silo.apply_few([(1, 1, b"")], sequence=sequence),
        "nothing": lambda: silo.put_many([], [], sequence=sequence),
        "merge_writer": lambda: silo.merge_writer(sequence).__enter__(),
    }
    with pytest.raises(InvalidError, match=r"sequence: expected an integer from 1 to 2\^56-1, found"):
        calls[way]()
    assert silo.put(1, b"two") == 2
    assert silo.put_many([1], [b"three"], sequence=np.int64(9)) == 9 and silo.put(1, b"four") == 10


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
