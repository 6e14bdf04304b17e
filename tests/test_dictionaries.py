"""Labels and their numbers: one of each for ever, whatever threads ask at the same time."""

import sys
import threading

import numpy as np
import pytest

import bitdex
from bitdex import dictionaries as module
from bitdex.bitmaps import WIDE
from bitdex.dictionaries import Dictionaries
from bitdex.errors import CorruptError
from bitdex.formats.dictionary import Label, decode, decode_held

FIELD = 3
LABELLED = {
    "name": "labels",
    "config": {"filter_fields": [{"name": "l", "field_type": "single_value"}]},
    "data_schema": {"fields": [{"source": "l", "target": "l", "value_type": "low_cardinality_string"}]},
}


@pytest.fixture
def make(tmp_path):
    """Return a function that opens dictionaries, with these labels at first."""
    path = tmp_path / "dictionaries.bin"

    def open_(*labels):
        if not path.exists():
            Dictionaries.create(path, 7)
        dictionaries = Dictionaries(path, 7)
        if labels:
            dictionaries.ensure(FIELD, list(labels))
            dictionaries.save()
            return Dictionaries(path, 7)
        return dictionaries

    return open_


class Interrupted(dict):
    """Labels by number; while somebody goes through them, something else is done, unless it has to wait."""

    def __init__(self, held, something):
        super().__init__(held)
        self.meanwhile = threading.Thread(target=something)

    def items(self):
        held = list(super().items())
        if self.meanwhile.ident is None:
            self.meanwhile.start()
            self.meanwhile.join(0.3)
        return held


def test_a_label_that_comes_while_numbers_are_first_looked_up_keeps_its_number(make):
    dictionaries = make("a", "b")
    texts = Interrupted(dictionaries.labels(FIELD), lambda: dictionaries.ensure(FIELD, ["new"]))
    dictionaries._texts[FIELD] = texts
    assert dictionaries.find(FIELD, "a") == 1
    texts.meanwhile.join()
    assert dictionaries.find(FIELD, "New") == 3
    assert dictionaries.ensure(FIELD, ["new", "b", "next"]) == [3, 2, 4]
    dictionaries.save()
    assert make().labels(FIELD) == {1: "a", 2: "b", 3: "new", 4: "next"}


def test_readers_and_a_writer_see_the_same_numbers(make):
    rounds, labels = 30, [f"l{number}" for number in range(3000)]
    make(*labels)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for round_ in range(rounds):
            dictionaries, failed = make(), []

            def read(dictionaries=dictionaries, failed=failed):
                try:
                    assert dictionaries.find(FIELD, "l0") == 1
                except Exception as error:
                    failed.append(error)

            readers = [threading.Thread(target=read) for _ in range(3)]
            for reader in readers:
                reader.start()
            new = dictionaries.ensure(FIELD, [f"new{round_}"])
            for reader in readers:
                reader.join()
            assert not failed
            assert dictionaries.ensure(FIELD, [f"new{round_}"]) == new == [len(labels) + 1]
            assert dictionaries.count == len(labels) + 1
    finally:
        sys.setswitchinterval(interval)


def test_a_document_is_found_by_a_label_that_came_beside_the_first_query(tmp_path):
    with bitdex.create(tmp_path / "index", LABELLED) as index:
        index.put_many([{"id": 1, "l": "a"}, {"id": 2, "l": "b"}])
    with bitdex.open(tmp_path / "index") as index:
        dictionaries, number = index._store.dictionaries, index._store.registry.number("l")
        texts = Interrupted(dictionaries.labels(number), lambda: index.put_many([{"id": 3, "l": "new"}]))
        dictionaries._texts[number] = texts
        assert index.count("l == 'a'") == 1
        texts.meanwhile.join()
        index.put_many([{"id": 4, "l": "new"}])
        assert index.ids("l == 'new'").tolist() == [3, 4]
    with bitdex.open(tmp_path / "index") as index:
        assert index.labels("l") == {1: "a", 2: "b", 3: "new"} and index.check().empty
        assert index.ids("l == 'new'").tolist() == [3, 4]


def content(tmp_path):
    return (tmp_path / "dictionaries.bin").read_bytes()


def test_what_is_saved_is_what_was_given(make, tmp_path):
    make("a", "B")
    assert decode(content(tmp_path), 7) == [Label(FIELD, 1, "a"), Label(FIELD, 2, "B")]


def test_new_labels_are_appended_and_nothing_else_is_written(make, tmp_path):
    dictionaries = make(*(f"label {number}" for number in range(1000)))
    for number in range(20):
        before = content(tmp_path)
        assert dictionaries.ensure(FIELD, ["label 3", f"new {number}"]) == [4, 1001 + number]
        dictionaries.save()
        dictionaries.save()
        after = content(tmp_path)
        assert after.startswith(before) and len(after) - len(before) < 64
        assert dictionaries.saved == dictionaries.count == 1001 + number
    assert make().labels(FIELD) == dictionaries.labels(FIELD)


def test_many_sections_become_a_file_without_any(make, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SECTIONS", 3)
    dictionaries, sections = make(), []
    for number in range(12):
        dictionaries.ensure(FIELD + number % 2, [f"new {number}"])
        dictionaries.save()
        sections.append(decode_held(content(tmp_path), number + 1, 7).sections)
        if number % 5 == 0:
            dictionaries = make()
    assert sections == [1, 2, 3, 0] * 3
    assert make().labels(FIELD) == {i + 1: f"new {2 * i}" for i in range(6)}


@pytest.mark.parametrize("left", [1, 31, 32, 40])
def test_what_a_writer_did_not_finish_goes_with_the_next_label(make, tmp_path, left):
    dictionaries = make("a", "b")
    whole = content(tmp_path)
    dictionaries.ensure(FIELD, ["lost, and of a long text"])
    dictionaries.save()
    torn = content(tmp_path)[: len(whole) + left]
    (tmp_path / "dictionaries.bin").write_bytes(torn)
    dictionaries = make()
    assert dictionaries.labels(FIELD) == {1: "a", 2: "b"} and content(tmp_path) == torn
    assert dictionaries.ensure(FIELD, ["c"]) == [3]
    dictionaries.save()
    assert decode(content(tmp_path), 7) == [
        Label(FIELD, i, text) for i, text in ((1, "a"), (2, "b"), (3, "c"))
    ]
    dictionaries.ensure(FIELD, ["d"])
    dictionaries.save()
    assert len(make().labels(FIELD)) == 4 == len(decode(content(tmp_path), 7))


def test_labels_of_a_save_that_failed_are_saved_by_the_next(make, tmp_path, monkeypatch):
    dictionaries = make("a")
    for number, name in enumerate(("open_write", "write_at", "sync", "close")):
        with monkeypatch.context() as patched:
            real = getattr(module.filesystem, name)

            def fail(*arguments, name=name, real=real):
                if name != "open_write":
                    real(*arguments)
                raise OSError(name)

            patched.setattr(module.filesystem, name, fail)
            dictionaries.ensure(FIELD, [f"new {number}"])
            with pytest.raises(OSError, match=name):
                dictionaries.save()
            assert dictionaries.saved == 1 + number
        dictionaries.save()
        assert dictionaries.saved == 2 + number
        assert dict(make().labels(FIELD)) == dictionaries.labels(FIELD)
        assert len(decode(content(tmp_path), 7)) == 2 + number


def test_labels_that_a_commit_needs_are_not_taken_for_left_overs(tmp_path):
    path = tmp_path / "index" / "dictionaries.bin"
    with bitdex.create(tmp_path / "index", LABELLED) as index:
        for number in range(3):
            index.put({"id": number, "l": f"label {number}"})
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[-1] ^= 1
    for damaged in (whole[:-1], bytes(flipped), whole[:64]):
        path.write_bytes(damaged)
        for mode in "rw":
            with pytest.raises(CorruptError, match=r"dictionaries\.bin: offset \d+: expected \d more labels"):
                bitdex.open(tmp_path / "index", mode)
        (found,) = bitdex.check(tmp_path / "index").query("severity == 'error'").itertuples()
        assert found.file == str(path) and "more labels" in found.what
        (one,) = bitdex.repair(tmp_path / "index", dry_run=False).itertuples()
        assert one.file == str(path) and one.remedy == "restore a backup" and path.read_bytes() == damaged
    path.write_bytes(whole + b"left")
    (found,) = bitdex.check(tmp_path / "index").itertuples()
    assert found.severity == "note" and found.offset == len(whole)
    assert not len(bitdex.repair(tmp_path / "index", dry_run=False))
    with bitdex.open(tmp_path / "index") as index:
        index.backup(tmp_path / "backup")
        index.put({"id": 7, "l": "label 7"})
        assert index.check().empty
    bitdex.restore(tmp_path / "backup", tmp_path / "restored")
    for name, ids in (("restored", [0, 1, 2]), ("index", [0, 1, 2, 7])):
        with bitdex.open(tmp_path / name) as index:
            assert [index.get(id)["l"] for id in ids] == [f"label {id}" for id in ids]
            index.put({"id": 8, "l": "last"})
            assert list(index.labels("l").values()) == [*(f"label {id}" for id in ids), "last"]


def test_integers_are_those_of_the_labels_also_of_new_ones(make):
    values = [-(2**63), 2**63 - 1, 2**47, -1]
    dictionaries = make(*map(str, values))
    assert dictionaries.integers(FIELD).tolist() == [0, *values] and dictionaries.integers(9).tolist() == [0]
    for value in range(2**50, 2**50 + 300):
        before = dictionaries.integers(FIELD)
        (number,) = dictionaries.ensure(FIELD, [str(value)])
        found = dictionaries.integers(FIELD)
        assert found[number] == value and len(found) == number + 1
        assert len(before) == number and before.tolist() == found[:number].tolist()
    assert dictionaries.integers(FIELD).tolist() == [0, *values, *range(2**50, 2**50 + 300)]
    assert found[-1:].base is dictionaries.integers(FIELD).base


def test_stored_values_are_decoded_together(tmp_path):
    values = [2**47 + 5, 3, -7, 2**63 - 1, 2**47 - 1, -(2**63)]
    schema = {"name": "wide", "config": {"filter_fields": [{"name": "o", "field_type": "single_value"}]}}
    with bitdex.create(tmp_path / "index", schema) as index:
        index.put_many([{"id": id, "o": value} for id, value in enumerate(values)])
        bitmaps, number = index._store.bitmaps, index._store.registry.number("o")
        stored = np.array([bitmaps.stored_value(number, value) for value in values], np.uint64)
        assert bitmaps.decode_values(number, stored).tolist() == values
        unknown = np.array([WIDE + 99, 5, WIDE], np.uint64)
        assert bitmaps.decode_values(number, unknown).tolist() == [0, 5, 0]
        assert bitmaps.decode_values(number, stored[:0]).tolist() == []
        assert sorted(index.where().facets("o").index) == sorted(values)
