"""What a silo does, one example each: writing, reading, compacting, merging in place, refusing."""

import numpy as np
import pytest

from bitdex.errors import ClosedError, InvalidError


def offset_and_length(silo, key):
    places, lengths = silo.find_many([key])
    return int(places[0]), int(lengths[0])


def values(silo, keys):
    return list(silo.get_many(keys))


# ---- writing and compacting


def test_a_few_operations_are_written_as_many_are(silos):
    operations = [(1, 7, b"seven"), (2, 7, b" and"), (1, 2**64 - 1, b""), (3, 8, b""), (1, 0, b"x" * 100)]
    few, many = silos("few"), silos("many")
    for silo in (few, many):
        silo.put(8, b"eight")
    kinds, keys, payloads = zip(*operations)
    assert few.apply_few(operations) == many.apply_many(kinds, keys, payloads) == 2
    before = few.ops_frame(), values(few, [0, 7, 8, 2**64 - 1])
    assert before[1] == values(many, [0, 7, 8, 2**64 - 1]) and before[0].equals(many.ops_frame())
    assert few.apply_few([(1, 5, b"five")], sequence=9) == 9 and few.sequence == 9
    few.compact()
    assert values(few, [5, 8]) == [b"five", None]


@pytest.mark.parametrize("wrong", [(0, 1, b""), (4, 1, b""), (1, -1, b""), (1, 2**64, b"")])
def test_operations_that_are_none_are_refused(silo, wrong):
    with pytest.raises(InvalidError, match="operations: expected"):
        silo.apply_few([(1, 1, b"one"), wrong])
    assert silo.pending == 0 and silo.put(1, b"one") and values(silo, [1]) == [b"one"]


def test_a_write_is_read_before_and_after_cold_compaction(silo):
    silo.put_many([0, 7], [b"zero", b"seven"])
    assert values(silo, [7, 0, 8]) == [b"seven", b"zero", None]
    assert silo.pending == 2 and len(silo.data) == 0
    assert silo.compact() == 2
    assert values(silo, [7, 0, 8]) == [b"seven", b"zero", None]
    assert silo.pending == 0 and len(silo.data) > 0


def test_a_hot_round_updates_adds_and_keeps(silo):
    silo.put_many([1, 2], [b"one", b"two"])
    silo.compact()
    silo.put_many([2, 3], [b"TWO", b"three"])
    for _ in range(2):
        assert values(silo, [1, 2, 3]) == [b"one", b"TWO", b"three"]
        silo.compact()


def test_what_fits_is_merged_in_place(silos):
    silo = silos(headroom=4.0)
    silo.put_many([1, 2], [b"x" * 40, b"y"])
    silo.compact()
    offset, length = offset_and_length(silo, 1)
    end = len(silo.data)
    silo.merge(1, b"more")
    silo.compact()
    assert offset_and_length(silo, 1) == (offset, length + 24 + 4)
    assert len(silo.data) == end and silo.get(1) == b"x" * 40 + b"more"


def test_the_last_write_wins(silo):
    for value in (b"a", b"b", b"c"):
        silo.put(1, value)
    assert silo.get(1) == b"c"
    silo.put_many([1, 1, 2, 1], [b"d", b"e", b"f", b"g"])
    for _ in range(2):
        assert values(silo, [1, 2]) == [b"g", b"f"]
        silo.compact()


def test_sparse_keys(silo):
    keys = np.array([0, 1, 2**32, 2**63, 2**64 - 1], np.uint64)
    silo.put_many(keys, [str(key).encode() for key in keys])
    for _ in range(2):
        assert values(silo, keys) == [str(key).encode() for key in keys]
        assert np.array_equal(silo.keys(), keys) and len(silo) == 5
        silo.compact()


def test_a_batch_of_many(silo):
    keys = np.arange(30_000, dtype=np.uint64)[::-1].copy()
    payloads, offsets = np.repeat(np.arange(30_000, dtype=np.uint32)[::-1], 2), np.arange(30_001) * 8
    silo.put_many(keys, payloads, offsets)
    for _ in range(2):
        found = silo.get_many(np.arange(30_001, dtype=np.uint64))
        assert found.found.sum() == 30_000 and not found.found[-1]
        assert np.array_equal(found.data.view(np.uint32)[::2], np.arange(30_000))
        silo.compact()


@pytest.mark.parametrize("base", [False, True], ids=["cold", "hot"])
def test_deletes(silo, base):
    silo.put_many([1, 2, 3], [b"a", b"b", b"c"])
    if base:
        silo.compact()
    silo.delete_many([1, 3, 9])
    for _ in range(2):
        assert values(silo, [1, 2, 3, 9]) == [None, b"b", None, None]
        assert silo.keys().tolist() == [2] and len(silo) == 1
        silo.compact()
    silo.put(3, b"again")
    assert silo.get(3) == b"again"
    silo.compact()
    assert silo.keys().tolist() == [2, 3]


def test_a_delete_hides_what_the_data_file_still_holds(silo):
    silo.put(1, b"old")
    silo.compact()
    silo.delete(1)
    assert silo.get(1) is None
    assert offset_and_length(silo, 1)[0] > 0


def test_all_keys_can_go_and_come_back(silo):
    for round_ in range(3):
        silo.put_many([1, 2], [b"a", b"b"])
        silo.compact()
        silo.delete_many([1, 2])
        silo.compact()
        assert len(silo) == 0 and silo.keys().tolist() == [], round_


def test_logs_take_turns_and_nothing_is_lost(silos):
    silo = silos()
    for round_ in range(3):
        silo.put_many([round_, 100], [b"%d" % round_, b"%d" % round_])
        silo.compact()
    assert values(silo, [0, 1, 2, 100]) == [b"0", b"1", b"2", b"2"]
    assert silo.pending == 0 and [path.stat().st_size for path in silo.files.logs] == [64, 64]


def test_ten_rounds_of_updates_and_a_new_key(silo):
    model = {}
    for round_ in range(10):
        keys = [*range(round_ % 2, 50, 2), 1000 + round_]
        model |= {key: b"%d of round %d" % (key, round_) for key in keys}
        silo.put_many(keys, [model[key] for key in keys])
        silo.compact()
        assert dict(zip(model, values(silo, list(model)))) == model


def test_empty_batches_and_empty_values(silo):
    assert silo.put_many([], []) == 1
    assert silo.merge_many(np.empty(0, np.uint64), []) == 1 and silo.delete_many([]) == 1
    assert silo.compact() == 0 and len(silo) == 0
    silo.put(5, b"")
    for _ in range(2):
        assert silo.get(5) == b"" and values(silo, []) == []
        silo.compact()


# ---- merging


def test_merges_fold_in_order_before_and_after_compaction(silo):
    silo.put(1, b"a")
    silo.merge(1, b"b")
    silo.merge_many([1, 2], [b"c", b"first"])
    for _ in range(2):
        assert values(silo, [1, 2]) == [b"abc", b"first"]
        silo.compact()
    silo.merge(1, b"d")
    silo.merge(1, b"e")
    for _ in range(2):
        assert silo.get(1) == b"abcde"
        silo.compact()


def test_without_a_rule_merges_replace(silos):
    silo = silos(rule=None)
    assert silo.rule == "replace"
    silo.put(1, b"a")
    silo.compact()
    silo.merge_many([1, 1], [b"b", b"c"])
    for _ in range(2):
        assert silo.get(1) == b"c"
        silo.compact()
    silo.rewrite()
    assert silo.get(1) == b"c"


@pytest.mark.parametrize("compacts", range(8))
def test_puts_deletes_and_merges_in_any_order(silo, compacts):
    """Put after merge replaces, merge after delete revives, wherever compactions fall."""
    steps = [("put", b"a"), ("merge", b"b"), ("delete", b""), ("merge", b"c"), ("put", b"d"), ("merge", b"e")]
    expected = [b"a", b"ab", None, b"c", b"d", b"de"]
    for number, ((kind, value), after) in enumerate(zip(steps, expected)):
        getattr(silo, kind)(*(1, value)[: 1 if kind == "delete" else 2])
        if compacts >> number % 3 & 1:
            silo.compact()
        assert silo.get(1) == after, (number, kind)


# ---- the merge writer


def test_the_merge_writer_merges_without_a_log(silo):
    silo.put_many(range(5), [b"%d" % key for key in range(5)])
    silo.compact()
    with silo.merge_writer() as writer:
        writer.merge_many([1, 2, 1], [b"x", b"y", b"z"])
        writer.put_many([3, 7], [b"new", b"seven"])
        writer.delete_many([4, 9])
        assert values(silo, [1, 3, 4, 7]) == [b"1", b"3", b"4", None]
    assert values(silo, range(8)) == [b"0", b"1xz", b"2y", b"new", None, None, None, b"seven"]
    assert silo.pending == 0 and silo.keys().tolist() == [0, 1, 2, 3, 7]
    assert writer.counts["inserted"] == 1 and writer.counts["deleted"] == 1 and writer.counts["ignored"] == 1
    assert writer.counts["in_place"] + writer.counts["relocated"] == 4


def test_the_merge_writer_serves_an_empty_silo(silo):
    with silo.merge_writer() as writer:
        writer.merge_many([1, 1, 2], [b"a", b"b", b"c"])
        writer.delete_many([2])
    assert values(silo, [1, 2]) == [b"ab", None]
    with silo.merge_writer():
        pass
    assert silo.get(1) == b"ab" and len(silo) == 1


def test_the_merge_writer_takes_pending_operations_with_it(silo):
    silo.put(1, b"a")
    with silo.merge_writer() as writer:
        writer.merge_many([1], [b"b"])
    assert silo.get(1) == b"ab" and silo.pending == 0


def test_a_merge_of_many_keys_in_many_calls(silo):
    keys = np.arange(1000, dtype=np.uint64)
    silo.put_many(keys, [b"base"] * 1000)
    with silo.merge_writer() as writer:
        for part in range(4):
            writer.merge_many(keys[::-1].copy(), [b"%d" % part * (int(key) % 30) for key in keys[::-1]])
    expected = [b"base" + b"".join(b"%d" % part * (int(key) % 30) for part in range(4)) for key in keys]
    assert values(silo, keys) == expected


def test_a_new_key_may_be_put_merged_and_deleted_in_one_call(silos):
    silo = silos(headroom=1.0)
    silo.put(100, b"")
    silo.compact()
    steps = [(1, b"a"), (2, b"b"), (1, b"c" * 99), (3, b"d"), (1, b"e")]
    with silo.merge_writer() as writer:
        writer.merge_many([key for key, _ in steps], [value for _, value in steps])
        writer.delete_many([2, 2, 5])
        writer.merge_many([2, 3], [b"back", b"d"])
    assert values(silo, [1, 2, 3]) == [b"a" + b"c" * 99 + b"e", b"back", b"dd"]


def test_an_abandoned_merge_leaves_no_trace(silo):
    silo.put_many([1, 2], [b"a", b"b"])
    silo.compact()
    with pytest.raises(ZeroDivisionError), silo.merge_writer() as writer:
        writer.merge_many([1, 3], [b"x" * 100, b"y"])
        writer.delete_many([2])
        raise ZeroDivisionError
    assert values(silo, [1, 2, 3]) == [b"a", b"b", None]
    with silo.merge_writer() as again:
        again.merge_many([1], [b"c"])
    assert values(silo, [1, 2, 3]) == [b"ac", b"b", None]


def test_a_finished_merge_writer_takes_no_more(silo):
    with silo.merge_writer() as writer:
        writer.put_many([1], [b"a"])
    with pytest.raises(ClosedError, match="merge writer was closed"):
        writer.put_many([1], [b"b"])


# ---- opening


def test_reopening_replays_the_logs(silos):
    silo = silos()
    silo.put(1, b"a")
    silo.compact()
    silo.merge(1, b"b")
    silo.put_many([2, 3], [b"two", b"three"])
    silo.delete(3)
    silo.close()
    for mode in ("r", "w", "r"):
        silo = silos(mode=mode)
        assert values(silo, [1, 2, 3]) == [b"ab", b"two", None] and silo.pending == 4
        silo.close()
    silo = silos()
    silo.compact()
    assert values(silo, [1, 2, 3]) == [b"ab", b"two", None]


def test_reopening_continues_the_sequence(silos):
    for expected in (1, 2):
        silo = silos()
        assert silo.put(1, b"a") == expected
        silo.close()
    silo = silos()
    silo.compact()
    assert silo.sequence == 2 and silo.next_sequence == 3
    assert silo.put_many([1], [b"c"], sequence=10) == 10
    assert silos(mode="r").sequence == 10
    with pytest.raises(InvalidError, match="sequence: 9 was used before; the next one is 11"):
        silo.put_many([1], [b"d"], sequence=9)


def test_rule_and_geometry_are_stored(silos):
    silos(rule="concatenate", headroom=3.0, minimum=256, alignment=32).close()
    silo = silos(rule=None)
    assert silo.rule == "concatenate"
    silo.put_many([1, 2], [b"a", b"b" * 100])
    silo.compact()
    places, _ = silo.find_many([1, 2])
    silo.close()
    assert ((places + 24) % 32 == 0).all() and places[1] - places[0] >= 256
    with pytest.raises(InvalidError, match=r"rule: .* was made with 'concatenate', not 'replace'"):
        silos(rule="replace")


def test_payloads_stay_aligned_through_every_way_of_writing(silos):
    silo = silos(alignment=32, headroom=1.0)
    rng = np.random.default_rng(0)
    sizes = rng.integers(0, 3000, 400)
    silo.put_many(range(200), [b"x" * size for size in sizes[:200]])
    silo.compact()
    silo.put_many(range(100, 300), [b"y" * size for size in sizes[200:]])
    silo.compact()
    with silo.merge_writer() as writer:
        writer.put_many(range(400), [b"z" * size for size in sizes])
    assert ((silo.find_many(range(400))[0] + 24) % 32 == 0).all()
    silo.rewrite()
    assert ((silo.find_many(range(400))[0] + 24) % 32 == 0).all()


def test_large_arenas_keep_alignment(silos):
    """New keys that need more than an arena: what is reserved for them has to be whole alignments too."""
    silo = silos(alignment=32, headroom=1.0)
    silo.put(0, b"")
    silo.compact()
    sizes = np.random.default_rng(1).integers(300_000, 300_100, 160)
    with silo.merge_writer() as writer:
        for start in (1, 1001):
            writer.put_many(range(start, start + 160), [bytes(int(size)) for size in sizes])
    keys = [*range(1, 161), *range(1001, 1161)]
    assert ((silo.find_many(keys)[0] + 24) % 32 == 0).all()


def test_a_reader_keeps_its_state_while_the_writer_goes_on(silos):
    silo = silos()
    silo.put_many([1, 2], [b"one", b"two"])
    silo.compact()
    reader = silos(mode="r")
    data = reader.data.copy()
    silo.put_many([1, 3], [b"ONE", b"three"])
    silo.compact()
    with silo.merge_writer() as writer:
        writer.merge_many([2], [b"!"])
    silo.rewrite()
    assert values(reader, [1, 2, 3]) == [b"one", b"two", None]
    assert np.array_equal(reader.data, data)
    assert values(silos(mode="r"), [1, 2, 3]) == [b"ONE", b"two!", b"three"]


def test_rewriting_reclaims_dead_space_and_restores_headroom(silos):
    silo = silos(headroom=2.0, reclaim=1.0)
    keys = np.arange(200, dtype=np.uint64)
    for round_ in range(4):
        silo.put_many(keys, [b"x" * (20 * (round_ + 1))] * 200)
        silo.compact()
    silo.delete_many(keys[::2].copy())
    silo.merge_many(keys[1::2].copy(), [b"y"] * 100)
    silo.compact()
    before = silo.stats()
    assert before["dead_bytes"] > before["live_bytes"]
    silo.close()
    silo = silos()
    assert silo.stats()["dead_bytes"] == before["dead_bytes"]
    silo.rewrite()
    after = silo.stats()
    assert after["dead_bytes"] == 0 and after["data_bytes"] < before["data_bytes"] // 3
    assert values(silo, keys) == [None, b"x" * 80 + b"y"] * 100
    places, lengths = silo.find_many(keys[1::2])
    assert (lengths == 24 + 81).all() and (np.diff(places) >= 2 * 105).all()


def test_a_silo_says_where_it_is_and_what_it_holds(silos):
    silo = silos("counters")
    silo.put_many([1, 2, 3], [b"x"] * 3)
    assert repr(silo) == f"<Silo {silo.files.directory}: 3 keys>"
    silo.close()
    assert repr(silo) == f"<Silo {silo.files.directory}, closed>"
