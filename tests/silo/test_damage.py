"""Damaged logs and records: an error that names the place, and never a wrong value (defect 13)."""

import pytest

from bitdex.errors import CorruptError
from bitdex.formats import frame
from bitdex.silo.silo import Silo
from tests.silo.ops_logs import log_end
from tests.silo.store import content


def log_with_batches(silos):
    """Return the path of a closed log of five batches, the places where they begin, and its bytes."""
    silos.damaged = True
    silo = silos()
    ends = [64]
    for batch in range(5):
        silo.merge_many([1, 2 + batch], [b"batch %d;" % batch] * 2)
        ends.append(log_end(silo))
    silo.close()
    path = silo.files.logs[0]
    return path, ends, path.read_bytes()


def test_defect_13_damage_in_the_middle_of_a_log_is_an_error(silos):
    """Every byte of every batch but the last; the length field that ended the original's scans among them."""
    path, ends, whole = log_with_batches(silos)
    for at in range(64, ends[4]):
        damaged = bytearray(whole)
        damaged[at] ^= 0x40
        path.write_bytes(damaged)
        with pytest.raises(CorruptError, match=r"ops_a\.log: offset \d+: expected .* found"):
            Silo.open(path.parent)
    path.write_bytes(whole)
    assert content(path.parent)[1] == b"batch 0;batch 1;batch 2;batch 3;batch 4;"


def test_defect_13_a_length_that_points_past_the_end_is_an_error(silos):
    path, ends, whole = log_with_batches(silos)
    for length in (2**32 - 1, 2**31, len(whole), 0, 256):
        damaged = bytearray(whole)
        damaged[ends[1] + 4 : ends[1] + 8] = length.to_bytes(4, "little")
        path.write_bytes(damaged)
        with pytest.raises(CorruptError, match=rf"offset {ends[1]}: expected"):
            Silo.open(path.parent)


def test_damage_in_the_last_batch_never_gives_a_wrong_value(silos):
    """It cannot be told from a torn write: the batch is cut off as a whole, or refused."""
    path, ends, whole = log_with_batches(silos)
    for at in range(ends[4], ends[5]):
        damaged = bytearray(whole)
        damaged[at] ^= 0x40
        path.write_bytes(damaged)
        try:
            found = content(path.parent)[1]
        except CorruptError:
            continue
        assert found in (b"batch 0;batch 1;batch 2;batch 3;", b"batch 0;batch 1;batch 2;batch 3;batch 4;")


@pytest.mark.parametrize("blocks", ["duplicated", "swapped"])
def test_blocks_of_a_log_in_another_order_are_an_error(silos, blocks):
    path, ends, whole = log_with_batches(silos)
    second, third = whole[ends[1] : ends[2]], whole[ends[2] : ends[3]]
    path.write_bytes(
        whole[: ends[1]] + (second * 2 if blocks == "duplicated" else third + second) + whole[ends[3] :]
    )
    with pytest.raises(CorruptError, match=r"ops_a\.log: offset \d+"):
        Silo.open(path.parent).get(1)


def test_a_log_of_another_silo_is_refused(silos):
    silos.damaged = True
    paths = []
    for name in ("one", "two"):
        silo = silos(name)
        silo.put(1, name.encode())
        silo.close()
        paths.append(silo.files.logs[0])
    paths[0].write_bytes(paths[1].read_bytes())
    with pytest.raises(CorruptError, match=r"one/ops_a\.log: offset 16: expected identity \d+, found \d+"):
        silos("one", "r")


def test_a_damaged_record_is_refused_with_its_file(silos):
    silos.damaged = True
    silo = silos()
    silo.put_many([1, 2], [b"one", b"two"])
    silo.compact()
    place = int(silo.find_many([1])[0][0])
    silo.close()
    data = bytearray(silo.files.data.read_bytes())
    data[place + frame.SIZE] ^= 1
    silo.files.data.write_bytes(data)
    reader = silos(mode="r")
    assert reader.get(2) == b"two"
    with pytest.raises(
        CorruptError, match=rf"data\.bin.*offset {place}.*expected.*found|data\.bin: offset {place}"
    ):
        reader.get(1)


@pytest.mark.parametrize("key", [1, 2], ids=["of a known key", "of a new key"])
@pytest.mark.parametrize(
    ("field", "content"),
    [(4, 30_000_000), (4, 100_000), (4, 0), (8, 77), (24, 0x55)],
    ids=["a length past the end", "a length inside", "no length", "another key", "the payload"],
)
def test_hot_compaction_verifies_every_frame(silos, key, field, content):
    """The first frame of a new key was taken unseen: success was reported, or the process died."""
    silos.damaged = True
    silo = silos()
    silo.put(1, b"one")
    silo.compact()
    place = log_end(silo)
    silo.put(key, b"another")
    path = silo.files.logs[1]
    with path.open("r+b") as file:
        file.seek(place + field)
        file.write(content.to_bytes(4, "little"))
    with pytest.raises(CorruptError, match=rf"{path.name}: offset {place}: expected .* key {key}"):
        silo.compact()
    silo.close()
    assert int(silo.files.read_meta(None)["applied"][0]) == 1  # the log is as it was
