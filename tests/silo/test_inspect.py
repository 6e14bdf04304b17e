"""Looking into a silo: counts and sizes add up, and the frames show what lies in the files."""

import numpy as np
import pytest

from bitdex.errors import CorruptError, InvalidError
from tests.silo.ops_logs import freeze


@pytest.fixture
def filled(silos):
    """A silo with records of one and of several frames, dead space, and pending operations."""
    silo = silos(headroom=1.5)
    silo.put_many(range(10), [b"x" * key for key in range(10)])
    silo.compact()
    silo.merge_many(np.array([1, 2**63], np.uint64), [b"merged" * 20, b"new"])
    silo.delete(5)
    silo.compact()
    silo.put_many([2, 3], [b"two", b"three"])
    silo.delete(3)
    silo.merge(1, b"pending")
    return silo


def test_bytes_add_up(filled):
    stats = filled.stats()
    entries = len(filled.index_frame())
    headers = 64 + 8 * entries
    parts = stats["live_bytes"] + stats["headroom_bytes"] + stats["dead_bytes"] + headers
    assert stats["data_bytes"] == parts == len(filled.data)
    assert stats["dead_bytes"] > 0 and stats["headroom_bytes"] > 0
    assert stats["log_bytes"] == sum(path.stat().st_size for path in filled.files.logs)
    assert stats["index_bytes"] == filled.files.index.stat().st_size + filled.files.delta.stat().st_size


def test_counts(filled):
    stats = filled.stats()
    assert (stats["keys"], stats["pending"], stats["sequence"]) == (9, 4, 6)
    assert stats["rule"] == "concatenate"
    assert (stats["data_generation"], stats["index_generation"]) == (1, 1)
    assert 1 <= stats["mean_probe"] <= stats["longest_probe"] < 20
    assert stats["index_bytes_per_key"] * 10 == filled.files.index.stat().st_size - 64
    filled.rewrite()
    assert filled.stats()["dead_bytes"] == 0 and filled.stats()["data_generation"] == 2


def test_an_empty_silo_has_figures_and_frames(silo):
    stats = silo.stats()
    assert stats["keys"] == stats["data_bytes"] == stats["mean_probe"] == stats["load"] == 0
    assert silo.index_frame().empty and silo.records_frame().empty and silo.ops_frame().empty
    assert silo.records_frame([1]).empty


def test_the_index_as_a_frame(filled):
    frame = filled.index_frame()
    assert list(frame.columns) == ["key", "offset", "length", "allocated", "single", "home", "distance"]
    assert sorted(frame["key"]) == [0, 1, 2, 3, 4, 6, 7, 8, 9, 2**63]
    places, lengths = filled.find_many(frame["key"].to_numpy())
    assert np.array_equal(frame["offset"], places) and np.array_equal(frame["length"], lengths)
    assert (frame["allocated"] >= frame["length"]).all() and (frame["allocated"] % 8 == 0).all()
    assert set(frame.loc[~frame["single"], "key"]) == {1, 2**63}
    assert (frame["distance"] >= 0).all()
    places = frame["home"] + frame["distance"]
    index = filled.pin().base.index
    assert [len(positions) for _, positions in index.parts()] == [8, 2]  # merged into or new: behind
    assert (np.diff(places[:8]) > 0).all() and (np.diff(places[8:]) > 0).all()
    assert frame["distance"].max() + 1 == filled.stats()["longest_probe"]


def test_records_as_a_frame(filled):
    frame = filled.records_frame(np.array([1, 3, 5, 2**63, 77], np.uint64))
    rows = frame[["key", "number", "file", "kind", "sequence", "length"]].itertuples(index=False)
    (log,) = filled.ops_frame()["log"].unique()
    assert [tuple(row) for row in rows] == [
        (1, 0, "data.bin", "put", 1, 1),
        (1, 1, "data.bin", "merge", 2, 120),
        (1, 2, log, "merge", 6, 7),
        (3, 0, "data.bin", "put", 1, 3),
        (3, 1, log, "put", 4, 5),
        (3, 2, log, "delete", 5, 0),
        (2**63, 0, "data.bin", "merge", 2, 3),
    ]
    assert len(filled.records_frame()) == 11 + 4


def test_frames_lie_where_the_records_frame_says(filled):
    files = {path.name: path.read_bytes() for path in (filled.files.data, *filled.files.logs)}
    for row in filled.records_frame().itertuples():
        head = files[row.file][row.offset : row.offset + 24]
        assert int.from_bytes(head[8:16], "little") == row.key
        assert int.from_bytes(head[4:8], "little") == row.length
        assert int.from_bytes(head[16:24], "little") >> 8 == row.sequence


def test_operations_as_a_frame(filled):
    frame = filled.ops_frame()
    assert frame[["key", "kind", "sequence", "length", "commit"]].to_numpy().tolist() == [
        [2, "put", 4, 3, False],
        [3, "put", 4, 5, True],
        [3, "delete", 5, 0, True],
        [1, "merge", 6, 7, True],
    ]
    assert frame["log"].nunique() == 1 and frame["offset"].is_monotonic_increasing


def test_a_reopened_silo_shows_the_same(filled, silos):
    shown = [filled.index_frame(), filled.records_frame(), filled.ops_frame()]
    filled.close()
    reader = silos(mode="r")
    found = [reader.index_frame(), reader.records_frame(), reader.ops_frame()]
    for frames in (shown, found):  # the table of what has changed is made anew: another order, other homes
        frames[0] = frames[0].drop(columns=["home", "distance"]).sort_values("key", ignore_index=True)
    for before, after in zip(shown, found):
        assert before.equals(after)


def test_operations_of_both_logs_stand_in_order(silo, monkeypatch):
    silo.put(1, b"a")
    silo.compact()
    silo.merge(1, b"b")
    freeze(silo, monkeypatch)
    silo.merge(1, b"c")
    assert silo.ops_frame()["sequence"].tolist() == [2, 3] and silo.ops_frame()["log"].nunique() == 2
    assert silo.records_frame()["sequence"].tolist() == [1, 2, 3]


def test_a_prepared_compaction_is_shown_once(silo):
    silo.put(1, b"a")
    silo.compact()
    silo.merge(1, b"b")
    silo.compact(commit=False)
    assert silo.ops_frame().empty
    assert silo.records_frame()["file"].tolist() == ["data.bin"] * 2
    assert not list(silo.check())


def test_damaged_frames_are_not_shown(filled, silos):
    silos.damaged = True
    filled.close()
    reader = silos(mode="r")
    place = int(reader.find_many([7])[0][0])
    reader.close()
    data = bytearray(reader.files.data.read_bytes())
    data[place + 4] ^= 1
    reader.files.data.write_bytes(data)
    with pytest.raises(CorruptError, match=rf"data\.bin: offset {place}: expected a frame of key 7"):
        silos(mode="r").records_frame()


def test_keys_of_the_records_frame_are_checked(silo):
    with pytest.raises(InvalidError, match="keys"):
        silo.records_frame([-1])
