"""The merge writer's arenas: full ones, gaps between them, large records, and syncs that begin early."""

import numpy as np
import pytest

from bitdex import filesystem
from bitdex.errors import WriteFailedError
from bitdex.kernels import hash_index as index_kernels
from bitdex.silo import merge_writer
from bitdex.silo.silo import Silo


@pytest.fixture
def small_arenas(monkeypatch):
    """Arenas that are full soon, and much to be synced."""
    for name, size in {"LEAST_ARENAS": 1 << 10, "FIRST_ARENAS": 1 << 10, "LAST_ARENA": 1 << 12}.items():
        monkeypatch.setattr(merge_writer, name, size)
    monkeypatch.setattr(merge_writer, "EARLY", 1 << 12)


def some_values(rng, count):
    sizes = rng.choice([0, 7, 60, 300, 9000], count, p=[0.2, 0.3, 0.3, 0.19, 0.01])
    return [rng.bytes(int(size)) for size in sizes]


def open_silo(path):
    return Silo.open(path, "w", "concatenate", headroom=1.2, sync="none", reclaim=1.0)


def test_many_arenas_hold_what_one_would(tmp_path, small_arenas):
    """Through the log and directly, keys new and known, often in one batch; also without the index."""
    rng, model = np.random.default_rng(5), {}
    with open_silo(tmp_path / "silo") as silo:
        for turn in range(6):
            keys = rng.integers(0, 300 + 100 * turn, 500).astype(np.uint64)
            values = some_values(rng, len(keys))
            for key, value in zip(keys.tolist(), values):
                model[key] = value if turn == 3 else model.get(key, b"") + value
            if turn % 2:
                with silo.merge_writer() as writer:
                    (writer.put_many if turn == 3 else writer.merge_many)(keys, values)
            else:
                silo.merge_many(keys, values)
                silo.compact()
            assert not list(silo.check())
            assert dict(zip(model, silo.get_many(np.array(list(model), np.uint64)))) == model
    (tmp_path / "silo" / "index.bin").unlink()
    with Silo.open(tmp_path / "silo") as silo:
        assert dict(zip(silo.keys().tolist(), silo.get_many(silo.keys()))) == model


def test_nothing_is_synced_behind_an_early_sync_that_failed(tmp_path, small_arenas, monkeypatch):
    keys, rng, syncs = np.arange(600, dtype=np.uint64), np.random.default_rng(6), []
    sync = filesystem.sync

    def fail(descriptor):
        if filesystem._names[descriptor].name != "data.bin":
            return sync(descriptor)
        syncs.append(descriptor)
        raise WriteFailedError(5, "told to fail", "data.bin")

    with open_silo(tmp_path / "silo") as silo:
        silo.put_many(keys, some_values(rng, len(keys)))
        silo.compact()
        silo.merge_many(keys, [bytes(100)] * len(keys))
        before = list(silo.get_many(keys))
        monkeypatch.setattr(filesystem, "sync", fail)
        with pytest.raises(WriteFailedError, match="told to fail") as caught:
            silo.compact()
        assert len(syncs) == 1 and silo.failure is caught.value
        assert list(silo.get_many(keys)) == before
    monkeypatch.undo()
    with open_silo(tmp_path / "silo") as silo:
        assert list(silo.get_many(keys)) == before
        silo.compact()
        assert list(silo.get_many(keys)) == before and not list(silo.check())


def lying_together(count, bits=12):
    """Return keys (u64) whose homes are the last ones of every table: the mixing of `home`, backwards."""
    rng = np.random.default_rng(7)
    wanted = (((1 << bits) - 1) << (64 - bits)) + np.unique(rng.integers(0, 1 << (64 - bits), count)).astype(
        object
    )
    keys = []
    for mixed in wanted:
        mixed = mixed * pow(int(index_kernels._SECOND), -1, 1 << 64) % (1 << 64)
        mixed ^= (mixed >> 29) ^ (mixed >> 58)
        mixed = mixed * pow(int(index_kernels._FIRST), -1, 1 << 64) % (1 << 64)
        keys.append(mixed ^ (mixed >> 32))
    return np.array(keys, np.uint64)


def test_keys_that_lie_together_all_find_room(tmp_path):
    """More new keys than places behind the last home: none is lost, though some of them were in already."""
    keys = lying_together(300)
    with open_silo(tmp_path / "silo") as silo:
        silo.put_many(np.arange(50, dtype=np.uint64), [b"before"] * 50)
        silo.compact()
        with silo.merge_writer() as writer:
            writer.merge_many(keys, [b"%d" % key for key in keys.tolist()])
        assert list(silo.get_many(keys)) == [b"%d" % key for key in keys.tolist()]
        assert len(silo) == 350 and silo.get(7) == b"before"
    with open_silo(tmp_path / "silo") as silo:
        assert list(silo.get_many(keys)) == [b"%d" % key for key in keys.tolist()]
        assert not list(silo.check())


@pytest.mark.parametrize("threads", [2, 16, 64])
def test_arenas_of_many_threads_waste_no_more_than_they_hold(silos, monkeypatch, threads):
    """All doubled the same size, so that each of them soon reserved megabytes and left them dead."""
    monkeypatch.setattr(merge_writer, "THREADS", threads)
    silo = silos(headroom=1.0, reclaim=1.0)
    keys = np.arange(300, dtype=np.uint64)
    silo.put_many(keys, [bytes(200)] * 300)
    silo.compact()
    before, moved = len(silo.data), 300 * (8 + 2 * 224)
    silo.merge_many(keys, [bytes(200)] * 300)
    silo.compact()
    assert moved < len(silo.data) - before < 2 * moved
