"""The index in two tables, and the one that merges work on, against a dict."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitdex.formats import hash_index as format_
from bitdex.kernels import hash_index as kernels
from bitdex.silo import key_index, working_index
from bitdex.silo.key_index import KeyIndex
from bitdex.silo.repair import repair_silo
from bitdex.silo.silo import Silo
from bitdex.silo.working_index import WorkingIndex
from tests.kernels.frame_store import u64
from tests.kernels.test_hash_index import build, content, keys_of_hash, two_tables

quick = settings(max_examples=60, derandomize=True, deadline=None)


@pytest.fixture(scope="module")
def pool():
    with ThreadPoolExecutor(2) as threads:
        yield threads


def index_of(tables):
    table, recent, model = tables
    index = KeyIndex.whole(table, len(content(table)))
    return index.changed(recent, len(model)) if len(recent) else index, model


def held(index):
    """Return {key: (offset, extent)} of an index, which all its questions agree on."""
    entries = index.entries()
    words = np.ascontiguousarray(entries).view(np.uint64).reshape(-1, 3).tolist()
    found = {key: (offset, extent) for key, offset, extent in words}
    assert len(found) == len(entries) == index.count
    assert index.keys().tolist() == entries["key"].tolist()
    offsets, extents = index.lookup(u64(found))
    assert dict(zip(found, zip(offsets.tolist(), extents.tolist()))) == found
    assert len(index.parts()[0][1]) <= index.held
    return found


@quick
@given(two_tables())
def test_two_tables_are_one_index(tables):
    index, model = index_of(tables)
    assert held(index) == model
    for size in (0, 1):  # in a row, and side by side
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(kernels, "PARALLEL_FROM", size)
            places, lengths = index.find(u64([*model, 2**64 - 7]))
        assert places.tolist() == [*(offset for offset, _ in model.values()), -1]
        assert lengths.tolist() == [*(extent & 0xFFFFFFFF for _, extent in model.values()), -1]


@quick
@given(two_tables())
def test_two_tables_become_one(pool, tables):
    index, model = index_of(tables)
    table = index.merged(pool)
    assert content(table) == model == held(KeyIndex.whole(table, len(model)))
    assert held(index) == model, "nothing has changed here"


def test_two_tables_become_a_larger_one_where_they_do_not_fit(pool):
    entries = dict.fromkeys(range(100), (72, 24 | 24 << 32))
    others = dict.fromkeys(range(50, 1000), (800, 30 | 32 << 32))
    others[7] = (0, int(kernels.GONE))
    index = KeyIndex.whole(build(entries), 100).changed(build(others), 999)
    table = index.merged(pool)
    assert len(table) > len(index.table) and content(table) == held(index)
    assert held(index) == {key: entry for key, entry in (entries | others).items() if key != 7}


operations = st.tuples(st.sampled_from(["set", "delete"]), st.lists(st.integers(0, 90), max_size=30))


@quick
@given(
    two_tables(),
    st.lists(operations, max_size=12),
    st.sampled_from([0, 10**6]),
    st.sampled_from([0, 2, 8, 1000]),
    st.integers(0, 40),
)
def test_the_index_of_a_merge(pool, tables, steps, alone, share, coming):
    """Entries are changed, entered and taken out as the merge writer does it, in either kind of table."""
    index, model = index_of(tables)
    before, touched = dict(model), set()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(working_index, "ALONE", alone)
        patch.setattr(working_index, "SHARE", share)
        working = WorkingIndex(index, pool, coming)
        for number, (kind, numbers) in enumerate(steps):
            keys = u64(dict.fromkeys(numbers))
            working.prepare(keys, len(keys))
            touched.update(keys.tolist())
            known = np.isin(keys, u64(model))
            rows = kernels.lookup(working.table, keys)
            words = working.table.reshape(-1, 3)
            there = (rows >= 0) & (words[rows, 2] != kernels.GONE)
            assert np.array_equal(there, known)
            if kind == "delete":
                extents = working.delete(keys[known])
                assert extents.tolist() == [model.pop(key)[1] for key in keys[known].tolist()]
                continue
            words[rows[known], 1] = number  # as kernels do
            offsets, lengths = np.full((~known).sum(), number), np.full((~known).sum(), 24 + number)
            working.insert(keys[~known], offsets.astype(np.uint64), lengths.astype(np.uint64))
            model |= {key: (number, model[key][1] if key in model else 24 + number) for key in keys.tolist()}
        found, changed = working.finish()
    assert found.count == working.count == len(model) and held(found) == model
    if changed is not None:
        assert set(changed.tolist()) == touched and found.table is index.table
    assert held(index) == before, "the base is what it was"
    if share == 0:
        assert changed is not None, "nothing is too much"


def test_entries_that_pass_the_end_of_a_threads_range_are_brought_behind(monkeypatch, pool):
    """A full table: runs reach from the homes of one thread into those of the other."""
    monkeypatch.setattr(working_index, "ALONE", 0)
    monkeypatch.setattr(working_index, "SHARE", 0)
    monkeypatch.setattr(kernels, "MAX_LOAD", 1.0)
    keys = np.arange(5000, dtype=np.uint64) * np.uint64(977)
    index = KeyIndex.whole(kernels.build_index(keys, keys, *[np.full(5000, 24, np.uint64)] * 2), 5000)
    working = WorkingIndex(index, pool)
    for part in np.array_split(np.random.default_rng(3).permutation(keys), 40):
        working.prepare(part)
        assert (kernels.lookup(working.table, part) >= 0).all()
    assert held(working.finish()[0]) == held(index)


def test_a_small_compaction_of_a_large_silo_copies_nothing(tmp_path):
    """Each made a table of all keys: 370 MB and 0.1 s at ten million, in the writer and in every reader."""
    with Silo.open(tmp_path / "silo", "w", sync="none") as silo:
        silo.put_many(range(20_000), [b"%d" % key for key in range(20_000)])
        silo.compact()
        reader, table = Silo.open(silo.files.directory), silo.pin().base.index.table
        seen = reader.pin().base.index.table
        for turn in range(5):
            silo.put_many(range(turn, 20_000, 200), [b"turn %d" % turn] * 100)
            silo.delete_many([7 + turn, 40_000])
            silo.put(30_000 + turn, b"new")
            silo.compact()
            assert silo.pin().base.index.table is table and silo.pin().base.index.recent.nbytes < 60_000
            reader.refresh()
            assert reader.pin().base.index.table is seen
        model = {key: b"%d" % key for key in range(20_000)}
        for turn in range(5):
            model |= dict.fromkeys(range(turn, 20_000, 200), b"turn %d" % turn) | {30_000 + turn: b"new"}
        for turn in range(5):
            del model[7 + turn]
        for one in (silo, reader):
            assert len(one) == len(model) and dict(zip(model, one.get_many(list(model)))) == model
        silo.put_many(range(5000), [b"many"] * 5000)  # an eighth and more: written whole
        silo.compact()
        index = silo.pin().base.index
        assert not len(index.recent) and not index.table.flags.writeable and not silo.files.delta.exists()
        assert reader.refresh() and reader.pin().base.index.table is not seen
        assert list(silo.check()) == []
        reader.close()


def test_the_shares_of_both_tables_are_those_of_the_files():
    assert key_index.SHARE == working_index.SHARE
    assert format_.ENTRY.itemsize == working_index.ENTRY


def test_a_merge_does_not_begin_before_its_index_is_ready(tmp_path, monkeypatch):
    """Two threads copied what had changed into the table of a merge, and entries of before came back."""
    with_entries = working_index.with_entries

    def late(*arguments):
        if threading.current_thread() is not threading.main_thread():
            time.sleep(0.05)
        return with_entries(*arguments)

    with Silo.open(tmp_path / "silo", "w", sync="none") as silo:
        silo.put_many(range(2000), [b"first"] * 2000)
        silo.compact()
        silo.put_many(range(50), [b"second"] * 50)
        silo.compact()
        assert len(silo.pin().base.index.recent)
        monkeypatch.setattr(working_index, "with_entries", late)
        monkeypatch.setattr(working_index, "SHARE", 10**6)  # the table is copied as a whole
        with silo.merge_writer() as writer:
            writer.put_many(range(50), [b"third, and longer than its region has room for"] * 50)
        assert set(silo.get_many(list(range(50)))) == {b"third, and longer than its region has room for"}
        assert list(silo.check()) == []


@pytest.mark.parametrize("before", [0, 50, 20_000])
def test_keys_that_were_made_to_collide_are_keys_like_others(tmp_path, before):
    """From 253 keys on that share the last 32 bits of the hash a silo could not be compacted any more."""
    crowd, others = keys_of_hash(0xFFFFFFFF, 900), np.arange(before, dtype=np.uint64)
    held = {int(key): b"%d" % key for key in others}
    with Silo.open(tmp_path / "silo", "w", "concatenate", sync="none") as silo:
        silo.put_many(others, list(held.values()))
        silo.compact()
        for part in (crowd[:300], crowd[300:600]):
            silo.put_many(part, [b"of a log"] * 300)
            silo.compact()
            held |= dict.fromkeys(part.tolist(), b"of a log")
        with silo.merge_writer() as writer:
            writer.merge_many(crowd[400:], [b" merged"] * 500)
        for key in crowd[400:].tolist():
            held[key] = held.get(key, b"") + b" merged"
        silo.delete_many(crowd[:100])
        silo.compact()
        for key in crowd[:100].tolist():
            del held[key]
        assert sorted(silo.keys().tolist()) == sorted(held) and not list(silo.check())
        assert list(silo.get_many(list(held))) == list(held.values())
        silo.rewrite()
    for _ in range(2):
        with Silo.open(tmp_path / "silo") as silo:
            assert list(silo.get_many(list(held))) == list(held.values()) and not list(silo.check())
            assert list(silo.get_many(crowd[:100])) == [None] * 100
        (tmp_path / "silo" / "index.bin").unlink()
        assert repair_silo(tmp_path / "silo", dry_run=False)
