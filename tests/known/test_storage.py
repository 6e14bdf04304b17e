"""Defects of the storage that BitDex reimplements, by their number there, as far as no other test has them.

`tests.test_known_defects` lists all of them and the tests of each.
"""

import time
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from pyroaring import BitMap

import bitdex
from bitdex.errors import ClosedError, InvalidError, NotFoundError
from bitdex.formats import bitmap
from bitdex.formats.document import decode_document, encode_document
from bitdex.formats.registry import MAX_FIELD
from bitdex.kernels.jit import JIT_ENABLED
from bitdex.registry import FieldRegistry
from bitdex.silo.silo import Silo
from bitdex.store import Store
from tests.known.writing import Counted, file_calls, traced, unsynced_before

SCHEMA = {
    "name": "known",
    "config": {
        "filter_fields": [
            {"name": "n:1", "field_type": "single_value"},
            {"name": "kind", "field_type": "single_value"},
        ],
        "sort_fields": [{"name": 'li"ke:s'}],
    },
    "data_schema": {
        "fields": [{"source": "kind", "target": "kind", "value_type": "low_cardinality_string"}],
    },
}
ROWS = {"name": "rows", "slot_field": "id", "sets_alive": True, "fields": ["n:1", "kind", 'li"ke:s']}


def table(ids, n, kinds):
    """Return a table of `ROWS`."""
    return {"rows": pd.DataFrame({"id": ids, "n:1": n, "kind": kinds, 'li"ke:s': n})}


@pytest.fixture
def index(tmp_path):
    """Return an empty index, and close it."""
    with bitdex.create(tmp_path / "index", SCHEMA) as made:
        yield made


def test_storage_12_an_index_is_synced_before_a_commit_names_it(tmp_path):
    """There, lengths could be older than the data: a merge ended without a sync of the index."""
    with Silo.open(tmp_path / "silo", "w", "concatenate") as silo, traced(tmp_path) as tracer:
        silo.put_many([1, 2], [b"one", b"two"])
        silo.compact()
        for key in (1, 3):
            with silo.merge_writer() as writer:
                writer.merge_many([key], [b"more"])
        silo.rewrite()
    commits = [at for at, event in enumerate(tracer.events) if str(event).startswith("write silo/meta.bin")]
    assert len(commits) >= 4
    for commit in commits:
        assert not unsynced_before(tracer.events, commit)


def test_storage_15_no_two_roles_share_a_key():
    """There, the first bucket had the key of the metadata. Roles at their smallest and greatest numbers."""
    fields, values, numbers = (1, 2, 3, MAX_FIELD), (0, 1, 2, bitmap.VALUE_MAX), (0, 1, 2, 63, (1 << 32) - 1)
    keys = [bitmap.alive_key()]
    keys += [bitmap.filter_key(field, value) for field in fields for value in values]
    keys += [bitmap.layer_key(field, bit) for field in fields for bit in range(64)]
    keys += [bitmap.present_key(field) for field in fields]
    keys += [bitmap.phase_key(number) for number in numbers]
    assert len(set(keys)) == len(keys)
    assert len({bitmap.describe(key) for key in keys}) == len(keys)


@pytest.mark.parametrize("reopened", [False, True])
def test_storage_16_what_waits_in_the_log_is_read_like_anything_else(silos, reopened):
    """There, metadata could not be read back until a compaction: its readers did not look at the log."""
    silo = silos()
    silo.put_many([1, 2], [b"one", b"two"])
    silo.compact()
    silo.put_many([2, 3], [b"TWO", b"three"])
    silo.delete(1)
    if reopened:
        silo.close()
        silo = silos()
    assert silo.pending == 3
    for _ in range(2):
        assert list(silo.get_many([1, 2, 3])) == [None, b"TWO", b"three"]
        assert [silo.get(key) for key in (1, 2, 3)] == [None, b"TWO", b"three"]
        assert silo.view(3).tobytes() == silo.pin().get(3) == b"three"
        assert silo.keys().tolist() == [2, 3] and len(silo) == 2
        silo.compact()


def test_storage_17_bitmaps_load_as_any_roaring_library_reads_them(index):
    """There, whole fields failed to load once their bitmaps had been compacted to another of two formats."""
    index.dump(ROWS, source=table(range(3000), [id % 7 for id in range(3000)], ["a", "b", "c"] * 1000))
    for _ in range(2):
        keys = index.bitmaps.silo.keys()
        for key, payload in zip(keys.tolist(), index.bitmaps.silo.get_many(keys)):
            assert BitMap.deserialize(payload) == index.bitmaps.get(key)
        assert index.ids({"Eq": ["n:1", 3]}).tolist() == list(range(3, 3000, 7))
        assert index.query(sort='-li"ke:s', limit=1).ids.tolist() == [2995]
        index.bitmaps.silo.rewrite()


def test_storage_18_a_bitmap_is_never_taken_for_an_operation(silos):
    """There, a bitmap in the log whose first byte was 1 or 2 was. Bitmaps of every kind of container."""
    silo = silos(rule="bitmap")
    whole = [BitMap([slot]) for slot in (0, 1, 2, 257, 1 << 16, (1 << 32) - 1)]
    whole += [BitMap(range(1 << 17)), BitMap(range(0, 1 << 17, 2)), BitMap(range(1, 600)), BitMap()]
    payloads = [bitmap.encode(one) for one in whole]
    assert {payload[0] for payload in payloads}.isdisjoint({bitmap.SET, bitmap.CLEAR})
    silo.put_many(range(len(whole)), payloads)
    silo.merge_many([0, 9], [bitmap.encode_ops([(bitmap.SET, BitMap([258]))])] * 2)
    whole[0], whole[9] = BitMap([0, 258]), BitMap([258])
    for _ in range(2):
        assert [bitmap.decode(value) for value in silo.get_many(range(len(whole)))] == whole
        silo.compact()


def test_storage_20_a_state_keeps_its_place_in_a_log_that_was_replaced(silos):
    """There, entries kept an offset into the log before and skipped so many bytes of the next one."""
    silo = silos()
    silo.put_many([1, 2], [b"one", b"two" * 99])
    states = [(silo.pin(), [b"one", b"two" * 99, None])]
    for round_ in range(4):
        silo.compact()
        silo.put(1, b"round %d" % round_)
        silo.merge(3, b"%d" % round_)
        expected = [b"round %d" % round_, b"two" * 99, b"0123"[: round_ + 1]]
        states.append((silo.pin(), expected))
        for state, values in states:
            assert list(state.get_many([1, 2, 3])) == [state.get(key) for key in (1, 2, 3)] == values


def test_storage_22_names_are_on_the_device_before_what_uses_them(index):
    """There, new names were saved on request only: lost in a crash, and their numbers given to others."""
    with traced(index.path) as tracer:
        index.dump(ROWS, source=table([1, 2], [3, 4], ["a", "b"]))
    commit = max(at for at, event in enumerate(tracer.events) if event.path.name == "commit.bin")
    named = {event.target.name for event in tracer.events[:commit] if event.kind == "rename"}
    named |= {event.path.name for event in tracer.events[:commit] if event.kind == "write"}  # appended
    assert {"fields.bin", "dictionaries.bin", "dumps.json"} <= named
    assert not unsynced_before(tracer.events, commit - 1)


def test_storage_22_numbers_of_labels_are_not_given_twice(tmp_path, monkeypatch):
    """Neither after a phase that was given up, nor after closing."""
    with bitdex.create(tmp_path / "index", SCHEMA) as index:
        index.dump(ROWS, source=table([1], [1], ["a"]))
        monkeypatch.setattr(Store, "commit", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            index.dump(ROWS, source=table([1], [1], ["given up"]))
        monkeypatch.undo()
        index.dump(ROWS, source=table([1, 2], [1, 1], ["b", "a"]))
        first = index.labels("kind")
    with bitdex.open(tmp_path / "index") as index:
        index.dump(ROWS, source=table([1, 2, 3], [1, 1, 1], ["c", "a", "b"]))
        assert [index.get(id)["kind"] for id in (1, 2, 3)] == ["c", "a", "b"]
        second = index.labels("kind")
    assert first.items() <= second.items() and {"a", "b", "c"} <= set(second.values())
    assert len(set(second.values())) == len(second)


def test_storage_22_one_field_too_many_is_refused(tmp_path):
    """There, its number was cut to 16 bits."""
    FieldRegistry.create(tmp_path / "fields.bin", 7)
    registry = FieldRegistry(tmp_path / "fields.bin", 7)
    registry.ensure([f"field {number}" for number in range(1, MAX_FIELD + 1)])
    with pytest.raises(InvalidError, match=f"'one more': at most {MAX_FIELD} fields"):
        registry.ensure(["one more"])
    again = FieldRegistry(tmp_path / "fields.bin", 7)
    assert again.number(f"field {MAX_FIELD}") == MAX_FIELD and "one more" not in again


def test_storage_23_a_document_updated_in_part_shows_all_its_fields(silos):
    """There, the fields that a pending update did not name were hidden until the next compaction."""
    silo = silos(rule="documents")
    silo.put(1, encode_document({1: 5, 2: "text", 3: [1, 2]}))
    silo.compact()
    silo.merge_many([1, 1], [encode_document({1: 6}), encode_document({4: True})])
    for _ in range(2):
        assert decode_document(silo.get(1)) == {1: 6, 2: "text", 3: [1, 2], 4: True}
        silo.compact()


def test_storage_24_a_field_that_is_not_known_is_an_error_and_never_number_0(tmp_path):
    """There, it fell back to 0, which is in the range of the system's own keys."""
    FieldRegistry.create(tmp_path / "fields.bin", 7)
    registry = FieldRegistry(tmp_path / "fields.bin", 7)
    registry.ensure(["a"])
    assert registry.number("a") == 1
    with pytest.raises(NotFoundError, match="'b'"):
        registry.number("b")
    for key in (bitmap.filter_key, bitmap.layer_key):
        with pytest.raises(InvalidError):
            key(0, 1)


@pytest.mark.parametrize("later", [False, True])
def test_storage_26_a_merge_cannot_outlive_its_silo(silos, later):
    """There, writers held raw pointers. A silo that is closed in the middle of a merge has let go of its
    lock: whoever opens it next may not be disturbed."""
    silo = silos()
    silo.put(1, b"one")
    silo.compact()
    with pytest.raises(ClosedError), silo.merge_writer() as writer:
        writer.merge_many([1], [b"more"])
        silo.close()
        other = silos()
        other.put(1, b"another's")
        other.compact()
        if later:
            writer.merge_many([1, 2], [b"more", b"two"])
    assert other.get(1) == b"another's" and other.get(2) is None
    other.close()
    assert silos().get(1) == b"another's"


def test_storage_26_what_was_handed_out_stays_valid(silos):
    silo = silos(alignment=32)
    silo.put_many([1, 2], [b"one" * 999, b"two"])
    pending = silo.view(1)
    silo.compact()
    compacted, state = silo.view(1), silo.pin()
    silo.put(1, b"")
    silo.rewrite()
    silo.close()
    assert pending.tobytes() == compacted.tobytes() == state.get(1) == b"one" * 999


def test_storage_27_values_that_a_merge_writes_first_can_be_enumerated(index):
    """There, they were missing in the manifest, so ranges and loading did not find them."""
    index.dump(ROWS, source=table([1, 2], [1, 2], ["a", "b"]))
    index.dump(ROWS, source=table([1, 2, 3], [7, 2, 9], ["a", "b", "c"]))  # merges into what is there
    field = index._store.registry.number("n:1")
    assert index.bitmaps.stored_values(field).tolist() == [2, 7, 9]
    assert index.ids({"Gte": ["n:1", 5]}).tolist() == [1, 3]
    assert index.ids({"Lt": ["n:1", 5]}).tolist() == [2]


def test_storage_30_opening_does_not_walk_a_log_byte_by_byte(silos):
    """There, it did, over all the space that was allocated."""
    silo, count = silos(), 400_000 if JIT_ENABLED else 400
    silo.put_many(np.arange(count, dtype=np.uint64), np.zeros(count * 8, np.uint8), np.arange(count + 1) * 8)
    silo.close()
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        again = silos(mode="r")
        seconds.append(time.perf_counter() - start)
        assert again.pending == count
        again.close()
    assert min(seconds) < 1


def test_storage_33_a_small_document_takes_little_space(silos):
    """There, 230 bytes took 1,024, and a key 48 bytes of the index."""
    silo = silos()
    silo.put_many(range(5000), [bytes([key % 251]) * 230 for key in range(5000)])
    silo.compact()
    assert silo.files.data.stat().st_size < 5000 * 345
    assert silo.files.index.stat().st_size < 5000 * 42


def test_storage_34_compaction_holds_blocks_and_not_all_values(silos):
    """There, every value was copied into a map."""
    size = 96 << 20 if JIT_ENABLED else 1 << 18
    silo, payload = silos(), np.zeros(size, np.uint8)
    offsets = np.linspace(0, size, 6001).astype(np.int64)
    for _ in range(2):  # cold, and hot
        silo.put_many(range(6000), payload, offsets)
        tracemalloc.start()
        silo.compact()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 64 << 20


def test_storage_35_names_hold_any_characters(index):
    """There, names were joined by colons in a manifest and taken apart again."""
    labels = ["a:b", "", 'quoted "text"', "two\nlines", "../../up", "ä:\u2028"]
    index.dump(ROWS, source=table(range(6), range(6), labels))
    index.close()
    with bitdex.open(index.path, "r") as again:
        for id, label in enumerate(labels):
            assert again.ids({"Eq": ["kind", label]}).tolist() == [id] or not label
            assert again.ids({"Eq": ["n:1", id]}).tolist() == [id]
        assert again.query(sort='-li"ke:s').ids.tolist() == [5, 4, 3, 2, 1, 0]


def test_storage_36_a_compaction_costs_what_has_changed(silos, monkeypatch):
    """There, whole maps were synced. With a thousand times the records, as many syncs and no more bytes."""
    costs = []
    for count in (20, 20_000):
        silo = silos(f"{count}", sync="batch", headroom=2.0)
        silo.put_many(range(count), [b"value"] * count)
        silo.compact()
        silo.merge_many(range(10), [b"more"] * 10)
        with file_calls(monkeypatch, Counted()) as counted:
            silo.compact()
        costs.append((counted.syncs, counted.bytes))
    (few_syncs, _), (many_syncs, many_bytes) = costs
    assert few_syncs == many_syncs and many_bytes < 16_384
