"""Defects of the system that BitDex reimplements, by their number there; `test_damage` has 13."""

import time

import numpy as np
import pytest

from bitdex.errors import CorruptError
from bitdex.formats.document import encode_document
from bitdex.silo.merge_writer import MergeWriter
from bitdex.silo.silo import Silo
from tests.silo.ops_logs import freeze
from tests.silo.store import content, copy_of


def values(silo, keys):
    return list(silo.get_many(keys))


def bitmap_payloads():
    """Return a bitmap of 1, 5, 9, and operations that set 7, clear 5, set 5."""
    from pyroaring import BitMap

    from bitdex.formats import bitmap

    ops = ((bitmap.SET, BitMap([7])), (bitmap.CLEAR, BitMap([5])), (bitmap.SET, BitMap([5])))
    return bitmap.encode(BitMap([1, 5, 9])), *(bitmap.encode_ops([one]) for one in ops)


def test_defect_1_a_batch_greater_than_any_estimate_is_written_whole(silo):
    payloads = [bytes([key % 251]) * (key % 2000) for key in range(9_000)]
    silo.put_many(range(9_000), payloads)  # chunks of 4 MiB, written by several threads
    assert silo.pending == 9_000
    assert values(silo, range(9_000)) == payloads
    path = silo.files.directory
    silo.close()
    assert content(path) == dict(enumerate(payloads))


def test_defect_2_frames_longer_than_a_mebibyte(silo):
    large = [bytes([key]) * (key * 700_000) for key in range(8)]
    silo.put_many(range(8), large)
    silo.put(8, b"behind")
    for _ in range(2):
        assert values(silo, range(9)) == [*large, b"behind"]
        silo.compact()
    with silo.merge_writer() as writer:
        writer.merge_many([0, 7, 9], [large[7], large[1], large[6]])
    assert [len(value) for value in values(silo, [0, 7, 8, 9])] == [4_900_000, 5_600_000, 6, 4_200_000]


def test_defect_3_what_does_not_fit_is_relocated_and_counted(silos):
    silo = silos(headroom=1.0)
    silo.put_many(range(100), [b"x"] * 100)
    silo.compact()
    with silo.merge_writer() as writer:
        writer.merge_many(range(100), [b"y" * key for key in range(100)])
    assert writer.counts["relocated"] == 100
    assert values(silo, range(100)) == [b"x" + b"y" * key for key in range(100)]
    silo.merge_many(range(100), [b"z" * 500] * 100)
    silo.compact()
    assert values(silo, range(100)) == [b"x" + b"y" * key + b"z" * 500 for key in range(100)]


@pytest.mark.parametrize("way", ["log", "merge writer"])
def test_defect_4_the_index_never_refuses(silo, way):
    """The original's index refused everything after as many deletes and inserts as it had keys."""
    silo.put_many(range(6), [b"x"] * 6)
    silo.compact()
    rng = np.random.default_rng(4)
    live = np.arange(6)
    for _ in range(60):
        fresh = rng.integers(0, 2**64, 6, np.uint64)
        if way == "log":
            silo.delete_many(live)
            silo.put_many(fresh, [b"y"] * 6)
            silo.compact()
        else:
            with silo.merge_writer() as writer:
                writer.delete_many(live)
                writer.put_many(fresh, [b"y"] * 6)
        live = fresh
        assert values(silo, live) == [b"y"] * 6
    assert len(silo) == 6 and silo.stats()["longest_probe"] < 20


def test_defect_4_an_index_grows_from_six_keys_to_many(silo):
    silo.put_many(range(6), [b""] * 6)
    silo.compact()
    keys = np.random.default_rng(5).integers(0, 2**64, 30_000, np.uint64)
    with silo.merge_writer() as writer:
        for start in range(0, 30_000, 7_000):
            part = keys[start : start + 7_000]
            writer.put_many(part, part, np.arange(len(part) + 1) * 8)
    assert silo.get_many(keys).data.tobytes() == keys.tobytes()
    assert silo.stats()["load"] < 0.9


def test_defect_5_bit_operations_survive_compaction(silos):
    silo = silos(rule="bitmap")
    base, set_7, clear_5, _ = bitmap_payloads()
    silo.put(1, base)
    silo.compact()
    silo.merge_many([1, 1], [set_7, clear_5])
    seen = [silo.get(1)]
    silo.compact()
    seen.append(silo.get(1))
    silo.rewrite()
    seen.append(silo.get(1))
    assert [slots(value) for value in seen] == [[1, 7, 9]] * 3


def slots(value):
    from bitdex.formats import bitmap

    return sorted(bitmap.decode(value))


def test_defect_6_a_set_after_a_clear_is_kept(silos):
    silo = silos(rule="bitmap")
    base, _, clear_5, set_5 = bitmap_payloads()
    silo.put_many([1, 2], [base, base])
    silo.compact()
    silo.merge_many([1, 1, 2, 2], [clear_5, set_5, set_5, clear_5])
    for _ in range(2):
        assert slots(silo.get(1)) == [1, 5, 9] and slots(silo.get(2)) == [1, 9]
        silo.compact()


def test_defect_7_a_put_after_a_delete_does_not_see_the_old_record(silo):
    silo.put(1, b"old")
    silo.compact()
    silo.delete(1)
    silo.put(1, b"new")
    silo.merge(1, b"er")
    for _ in range(2):
        assert silo.get(1) == b"newer"
        silo.compact()
    silo.delete(1)
    silo.merge(1, b"revived")
    for _ in range(2):
        assert silo.get(1) == b"revived"
        silo.compact()


def test_defect_8_order_is_the_sequence_and_not_the_file(silos):
    """Write, compact, write (log B), reopen, write (log A in the original): the newer one counts."""
    silo = silos()
    silo.put(1, b"v0")
    silo.compact()
    silo.put(1, b"v1")
    silo.close()
    silo = silos()
    silo.put(1, b"v2")
    silo.close()
    for _ in range(2):
        silo = silos()
        assert silo.get(1) == b"v2"
        silo.compact()
        silo.close()


def test_defect_8_both_logs_hold_operations_after_a_crash(silos, tmp_path, monkeypatch):
    """A compaction of A failed while B took writes; reopening finds both."""
    silo = silos()
    silo.put(1, b"a;")
    silo.compact()
    silo.merge(1, b"b;")
    freeze(silo, monkeypatch)
    silo.merge_many([1, 2], [b"c;", b"c;"])
    copy = copy_of(silo, tmp_path / "copy")
    silo.close()
    assert content(copy) == {1: b"a;b;c;", 2: b"c;"}
    with Silo.open(copy, "w") as again:
        again.merge(1, b"d;")
        assert again.compact() == 4
    assert content(copy) == {1: b"a;b;c;d;", 2: b"c;"}


def test_defect_9_a_compaction_empties_only_the_log_it_compacts(silos, tmp_path, monkeypatch):
    silo = silos()
    silo.put(1, b"a")
    silo.compact()
    silo.merge(1, b"b")
    finish = MergeWriter.finish

    def finish_beside_a_write(writer):
        silo.merge(1, b"c")
        return finish(writer)

    with monkeypatch.context() as patched:
        patched.setattr(MergeWriter, "finish", finish_beside_a_write)
        assert silo.compact() == 1
    assert silo.pending == 1
    copy = copy_of(silo, tmp_path / "copy")
    assert content(copy) == {1: b"abc"} and silo.get(1) == b"abc"


@pytest.mark.parametrize("damage", ["deleted", "empty", "garbage", "flipped", "of another silo", "older"])
@pytest.mark.parametrize("mode", ["r", "w"])
def test_defect_10_a_lost_index_is_rebuilt_from_the_data(silos, mode, damage):
    silos.damaged = True
    other = silos("other")
    other.put(1, b"other")
    other.compact()
    silo = silos()
    silo.put_many(range(20), [b"base"] * 20)
    silo.compact()
    index = silo.files.index
    older = index.read_bytes()
    silo.merge_many(range(0, 20, 2), [b" and more" * 9] * 10)
    silo.delete_many([5, 6])
    silo.put(2**64 - 1, b"new")
    silo.compact()
    expected = dict(zip(silo.keys().tolist(), silo.get_many(silo.keys())))
    silo.close()
    content_ = bytearray(index.read_bytes())
    content_[-30] ^= 1
    index.unlink()
    if damage != "deleted":
        index.write_bytes(
            {
                "empty": b"",
                "garbage": b"garbage" * 1000,
                "flipped": content_,
                "of another silo": other.files.index.read_bytes(),
                "older": older,
            }[damage]
        )
    assert content(silo.files.directory, mode) == expected
    with Silo.open(silo.files.directory, "w") as again, again.merge_writer():
        pass
    assert index.stat().st_size > 0 and not list(Silo.open(silo.files.directory).check())


def test_defect_11_a_merge_never_touches_committed_bytes(silos, tmp_path):
    """Neither one that is abandoned nor one that is committed, in the file or in what a reader sees."""
    silo = silos(headroom=2.0)
    silo.put_many(range(300), [bytes([key % 251]) * (key % 60) for key in range(300)])
    silo.compact()
    silo.merge_many(range(0, 300, 2), [b"more"] * 150)
    silo.compact()
    frame_ = silo.index_frame()
    before, reader = silo.data.copy(), silos(mode="r")
    for abandon in (True, False):
        try:
            with silo.merge_writer() as writer:
                writer.merge_many(range(310), [b"x" * (key % 90) for key in range(310)])
                writer.put_many(range(20), [b"put"] * 20)
                writer.delete_many(range(20, 40))
                if abandon:
                    raise ZeroDivisionError
        except ZeroDivisionError:
            pass
        after = np.fromfile(silo.files.data, np.uint8)[: len(before)]
        for offset, length in zip(frame_["offset"], frame_["length"]):
            assert np.array_equal(after[offset - 8 : offset + length], before[offset - 8 : offset + length])
        assert (after != before).any(), "nothing was written into headroom"
        assert reader.get(0) == b"more" and reader.get(21) == bytes([21]) * 21


def test_defect_11_replaying_a_concatenating_merge_does_not_double_it(silos, tmp_path):
    """The commit came, the log was not emptied: the crash between two files of the original."""
    silo = silos()
    silo.put(1, b"a")
    silo.compact()
    silo.merge(1, b"b")
    silo.compact(commit=False)
    copy = copy_of(silo, tmp_path / "copy")
    silo.close()
    for _ in range(2):
        assert content(copy) == {1: b"ab"}
        assert content(copy, "w") == {1: b"ab"}


@pytest.mark.parametrize("when", ["pending", "compacted"])
def test_defect_14_an_old_record_that_cannot_be_decoded_raises(silos, when):
    """The original replaced it by the new one."""
    silos.damaged = True  # the rewrite that fails leaves what it has written
    silo = silos(rule="documents", reclaim=1.0)
    silo.put_many([1, 2], [b"\x01\x00\xff no document", encode_document({1: 5})])
    if when == "compacted":
        silo.compact()
    silo.merge_many([1, 2], [encode_document({2: 6})] * 2)
    for _ in range(2):
        with pytest.raises(CorruptError):
            silo.get(1)
        assert silo.get(2) is not None
        silo.compact()
    with pytest.raises(CorruptError):
        silo.rewrite()
    with pytest.raises(CorruptError):
        silo.get(1)


def test_defect_25_space_is_counted_in_integers(silos):
    """In float32, 20,000,001 bytes at ratio 1.0 were given 20,000,000 and the next record overlapped."""
    silo = silos(headroom=1.0)
    silo.put_many([1, 2], [b"x" * 20_000_001, b"behind"])
    silo.compact()
    places, lengths = silo.find_many([1, 2])
    assert lengths.tolist() == [20_000_025, 30] and places[1] >= places[0] + 20_000_025 + 8
    assert [len(value) for value in values(silo, [1, 2])] == [20_000_001, 6]
    silo.put(1, b"")


def test_defect_29_a_read_does_not_depend_on_the_length_of_the_log(silos):
    """With 50 times as many pending operations a read may not take 10 times as long."""

    def seconds_of_a_read(name, count):
        silo = silos(name)
        silo.put_many(
            np.arange(count, dtype=np.uint64), np.zeros(count * 8, np.uint8), np.arange(count + 1) * 8
        )
        silo.get(0)
        return min(_seconds(lambda: [silo.get(key) for key in range(50)]) for _ in range(5))

    short, long = seconds_of_a_read("short", 10_000), seconds_of_a_read("long", 500_000)
    assert long < 10 * short


def test_defect_29_a_read_after_a_write_does_not_depend_on_the_length_of_the_log(silos):
    def seconds_of_a_turn(name, count):
        silo = silos(name)
        silo.put_many(
            np.arange(count, dtype=np.uint64), np.zeros(count * 8, np.uint8), np.arange(count + 1) * 8
        )
        silo.get(0)
        return min(_seconds(lambda: (silo.put(7, b"x"), silo.get(7))) for _ in range(15))

    short, long = seconds_of_a_turn("short", 10_000), seconds_of_a_turn("long", 1_000_000)
    assert long < 10 * short


def _seconds(action):
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def test_defect_31_dead_space_is_counted_over_reopening_and_reclaimed(silos):
    silo = silos(headroom=1.0, reclaim=1.0)
    for round_ in range(3):
        silo.put_many(range(50), [b"x" * 100 * (round_ + 1)] * 50)
        silo.compact()
    dead = silo.stats()["dead_bytes"]
    assert dead >= 50 * (8 + 128) + 50 * (8 + 224)
    silo.close()
    silo = silos()
    assert silo.stats()["dead_bytes"] == dead
    silo.rewrite()
    assert silo.stats()["dead_bytes"] == 0 and len(silo.data) == 64 + 50 * (8 + 328)


def test_no_key_is_reserved(silo):
    """The original could log key 0 and never index it."""
    keys = np.array([0, 1, 2, 2**63 - 1, 2**63, 2**64 - 2, 2**64 - 1], np.uint64)
    for way in (silo.put_many, silo.merge_many):
        way(keys, [str(key).encode() for key in keys])
        for _ in range(2):
            assert all(str(key).encode() in value for key, value in zip(keys, values(silo, keys)))
            silo.compact()
    silo.delete_many(keys[[0, -1]])
    silo.compact()
    assert silo.keys().tolist() == keys[1:-1].tolist()
