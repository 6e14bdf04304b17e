"""The index's changes beside its table: few changes are appended, many write the table anew."""

import numpy as np
import pytest

from bitdex.silo.silo import Silo
from tests.silo.store import content, copy_of

COUNT = 2000


@pytest.fixture
def filled(silos):
    """Return a silo with two thousand records and no changes beside its table."""
    silo = silos(headroom=1.5)
    silo.put_many(range(COUNT), [b"value %d;" % key for key in range(COUNT)])
    silo.compact()
    assert not silo.files.delta.exists()
    return silo


def change(silo, round_, model):
    """Merge into some records, delete one and add one, and compact."""
    keys = [round_, round_ + 1, 300 + 7 * round_]
    silo.merge_many(keys, [b"round %d;" % round_] * 3)
    silo.delete(1000 + round_)
    silo.put(COUNT + round_, b"new")
    silo.compact()
    for key in keys:
        model[key] = model.get(key, b"") + b"round %d;" % round_
    model.pop(1000 + round_, None)
    model[COUNT + round_] = b"new"


def test_changes_are_appended_until_they_are_many(filled, tmp_path):
    model = {key: b"value %d;" % key for key in range(COUNT)}
    generations, sizes = [], []
    for round_ in range(120):
        change(filled, round_, model)
        generations.append(filled.stats()["index_generation"])
        sizes.append(int(filled.pin().base.meta["delta_end"][0]))
        if round_ % 30 == 7:
            assert content(copy_of(filled, tmp_path / f"copy {round_}")) == model
    assert generations[0] == 1 and generations[-1] > 1, "the table was never written anew"
    assert sizes[1] > sizes[0] > 0 and 0 in sizes
    filled.close()
    assert content(filled.files.directory) == model


def test_a_compaction_of_few_keys_writes_little(filled, monkeypatch):
    """The whole table would be 78,000 bytes."""
    from bitdex import filesystem

    written, write_at = [], filesystem.write_at

    def counting(descriptor, data, offset):
        written.append(memoryview(data).nbytes)
        write_at(descriptor, data, offset)

    filled.merge(5, b"more")
    monkeypatch.setattr(filesystem, "write_at", counting)
    filled.compact()
    assert sum(written) < 8000


@pytest.mark.parametrize("damage", ["missing", "empty", "flipped", "older", "of another silo"])
def test_a_damaged_delta_is_rebuilt_from_the_data(filled, silos, damage):
    silos.damaged = True
    model = {key: b"value %d;" % key for key in range(COUNT)}
    change(filled, 0, model)
    older = filled.files.delta.read_bytes()
    change(filled, 1, model)
    filled.close()
    path = filled.files.delta
    whole = bytearray(path.read_bytes())
    whole[-30] ^= 4
    other = silos("other", headroom=1.5)
    other.put_many(range(COUNT), [b""] * COUNT)
    other.compact()
    other.merge_many(range(10), [b"x"] * 10)
    other.compact()
    path.unlink()
    if damage != "missing":
        others = other.files.delta.read_bytes()
        path.write_bytes({"empty": b"", "flipped": whole, "older": older, "of another silo": others}[damage])
    for mode in ("r", "w"):
        assert content(filled.files.directory, mode) == model
    with Silo.open(filled.files.directory, "w") as silo:  # the next commit writes the table anew
        silo.merge(5, b"!")
        silo.compact()
        assert not list(silo.check())
    assert content(filled.files.directory)[5] == model[5] + b"!"


def test_a_reader_keeps_its_table(filled):
    with Silo.open(filled.files.directory) as reader:
        before = list(reader.get_many(range(20)))
        change(filled, 3, {})
        assert list(reader.get_many(range(20))) == before
        assert reader.refresh() and reader.get(3) == b"value 3;round 3;"
        assert reader.get(1003) is None and reader.get(COUNT + 3) == b"new"
        assert np.array_equal(reader.keys(), filled.keys())
