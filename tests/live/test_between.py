"""A reader that moves on keeps what the commits in between do not alter, and shows what a new one shows."""

import random
import time

import numpy as np
import pandas as pd
import pytest

import bitdex
from bitdex.dictionaries import Dictionaries
from bitdex.errors import CorruptError
from bitdex.kernels.jit import JIT_ENABLED
from bitdex.live import between as module
from bitdex.query.snapshot import Snapshot
from bitdex.repairing import repair
from bitdex.silo import log
from tests.interrupting import interrupted_at, raising
from tests.live.test_changes import PHASE, SCHEMA, TAGS
from tests.live.test_line import DEFAULTING, IDS, change, forbidden, fresh, same
from tests.scale import scale, seeds

FILTER_ONLY = {
    **SCHEMA,
    "data_schema": {
        "fields": [
            *SCHEMA["data_schema"]["fields"],
            {"source": "price", "target": "price", "value_type": "integer", "filter_only": True},
        ]
    },
}


def filled(path, schema=SCHEMA):
    index = bitdex.create(path, schema, sync="none")
    index.put_many([{"id": id, "level": id % 3, "tags": [id % 4], "price": id, "kind": "a"} for id in IDS])
    return index


@pytest.fixture
def both(tmp_path):
    with filled(tmp_path / "index") as writer, bitdex.open(tmp_path / "index", "r") as reader:
        look(reader)
        yield writer, reader


def look(index):
    """Read what a reader is to keep."""
    snapshot = index.snapshot
    for name in ("price", "due"):
        snapshot.column(name)
    for value in range(4):
        snapshot.having("level", value), snapshot.having("tags", value)
    return snapshot


def agree(writer, reader):
    assert reader.ids().tolist() == writer.ids().tolist()
    same(reader.snapshot, fresh(reader))
    assert (
        reader.query(sort="-price", limit=5).ids.tolist() == writer.query(sort="-price", limit=5).ids.tolist()
    )


KNOWN = {
    "patch": lambda index: index.patch(3, {"price": 300, "level": 2, "kind": "b"}),
    "clear": lambda index: index.patch(3, {"price": None, "level": None}),
    "zero": lambda index: (index.patch(3, {"price": None}), index.patch(3, {"price": 0})),
    "put": lambda index: index.put({"id": 40, "level": 1, "tags": [2], "price": 7}),
    "replace": lambda index: index.put({"id": 3, "tags": [0, 3]}),
    "delete": lambda index: index.delete([4, 5]),
    "delete and put": lambda index: (index.delete(4), index.put({"id": 4, "level": 1})),
    "put and delete": lambda index: (index.put({"id": 40, "level": 1, "price": 9}), index.delete(40)),
    "there and back": lambda index: (index.patch(3, {"level": 2}), index.patch(3, {"level": 0})),
    "many": lambda index: index.put_many([{"id": id, "level": 1, "price": id} for id in range(100, 300)]),
    "where": lambda index: index.delete(where="level == 1"),
    "list": lambda index: index.append(3, "tags", [0, 1]),
    "save a set": lambda index: (index.sets.update(ones=index["level == 1"]), index.patch(3, {"price": 5})),
    "compact": lambda index: (index.compact(), index.patch(3, {"price": 300})),
    "note": lambda index: index.patch(3, {"note": "no bitmap has it"}),
    "note and price": lambda index: (index.patch(3, {"note": "x"}), index.patch(3, {"price": 300})),
    "cursor": lambda index: index.apply([], feed="orders", cursor="7"),
    "new label": lambda index: index.patch(3, {"kind": "never seen"}),
}


@pytest.mark.parametrize("name", KNOWN)
def test_nothing_is_read_again_that_is_not_altered(both, monkeypatch, name):
    writer, reader = both
    KNOWN[name](writer)
    with monkeypatch.context() as patched:
        for one in ("__init__", "_build_column", "_load"):
            patched.setattr(Snapshot, one, forbidden)
        assert reader.refresh()
        look(reader)
        assert not reader.refresh()
    agree(writer, reader)


def test_answers_are_kept_across_commits_that_do_not_alter_them(both):
    writer, reader = both
    reader.query("level == 1", sort="-price", limit=3)
    writer.patch(3, {"tags": [1]})
    reader.refresh()
    assert reader.query("level == 1", sort="-price", limit=3).cached
    writer.patch(4, {"price": 1000})
    reader.refresh()
    page = reader.query("level == 1", sort="-price", limit=3)
    assert not page.cached and page.ids[0] == 4


ANEW = {
    "waits": lambda index: index.put({"id": 40, "level": 1, "due": 2**32 - 1}),
    "patch and compact": lambda index: (index.patch(3, {"price": 300}), index.compact()),
    "phase": lambda index: index.dump(PHASE, source={"rows": {"id": [50], "level": [1], "price": [2]}}),
    "field": lambda index: index.add_field("width", filter="single_value"),
    "drop": lambda index: index.drop_field("kind"),
    "rebuild": lambda index: index.rebuild(),
    "much": lambda index: index.put_many([{"id": id, "level": 1} for id in range(100, 300)]),
}


@pytest.mark.parametrize("name", ANEW)
def test_what_cannot_be_followed_is_read_anew(both, monkeypatch, name):
    writer, reader = both
    ANEW[name](writer)
    monkeypatch.setattr(module, "MOST", 100)
    monkeypatch.setattr(Snapshot, "_follow", forbidden)
    assert reader.refresh()
    agree(writer, reader)


@pytest.mark.parametrize(
    "steps", [("phase", "patch"), ("patch", "phase"), ("patch and compact", "patch", "put")]
)
@pytest.mark.parametrize("looks", [False, True])
def test_commits_of_both_kinds(both, steps, looks):
    writer, reader = both
    for step in steps:
        (KNOWN | ANEW)[step](writer)
        reader.refresh()
        if looks:
            look(reader)
    agree(writer, reader)


def test_a_document_that_waits_gets_another_time(tmp_path, monkeypatch):
    """That alters no bitmap of who waits, and the reader has to show it when it is due all the same."""
    now = 1_000_000.0
    monkeypatch.setattr("time.time", lambda: now)
    with filled(tmp_path / "index") as writer, bitdex.open(tmp_path / "index", "r") as reader:
        writer.put({"id": 40, "level": 1, "due": 2_000_000})
        reader.refresh()
        assert 40 not in look(reader).alive
        writer.patch(40, {"due": 1_000_010})
        reader.refresh()
        assert 40 not in look(reader).alive
        now += 20
        assert 40 in look(reader).alive
        agree(writer, reader)


def test_slots_that_only_a_phase_knows_become_documents(both):
    writer, reader = both
    writer.dump(TAGS, source={"tags": {"id": [70, 70, 3], "tags": [1, 2, 3]}})
    reader.refresh()
    assert 70 not in look(reader).alive
    writer.upsert({"level": 1}, 70)
    reader.refresh()
    agree(writer, reader)


def test_sort_values_that_only_bitmaps_hold(tmp_path):
    with filled(tmp_path / "index", FILTER_ONLY) as writer, bitdex.open(tmp_path / "index", "r") as reader:
        look(reader)
        writer.patch(3, {"price": 300})
        assert reader.refresh()
        agree(writer, reader)
        assert reader.ids("price == 300").tolist() == [3]


@pytest.mark.parametrize("schema", [SCHEMA, DEFAULTING, FILTER_ONLY], ids=["plain", "default", "filter_only"])
@pytest.mark.parametrize("most", [6, 100_000])
def test_any_history(tmp_path, monkeypatch, schema, most):
    monkeypatch.setattr(module, "MOST", most)
    for seed in seeds(scale(4, 200)):
        draw, path = random.Random(seed), tmp_path / str(seed)
        with filled(path, schema) as writer, bitdex.open(path, "r") as reader:
            for _ in range(40):
                change(writer, draw)
                if draw.random() < 0.6:
                    reader.refresh()
                    if draw.random() < 0.7:
                        look(reader)
                        same(reader.snapshot, fresh(reader))
            reader.refresh()
            agree(writer, reader)
            assert reader.check().empty


# -- what lies in files


def test_an_index_table_that_nobody_has_changed_is_not_read_again(both, monkeypatch):
    writer, reader = both
    writer.compact()
    writer.patch(3, {"price": 200})
    reader.refresh()
    writer.patch(3, {"price": 300})
    monkeypatch.setattr("bitdex.silo.base.read_index", forbidden)
    before = reader._store.committed
    assert reader.refresh()
    after = reader._store.committed
    for name in ("documents", "bitmaps"):
        assert after.state(name).base.data is before.state(name).base.data
    agree(writer, reader)


def test_the_operations_of_a_log_are_read_once(both, monkeypatch):
    writer, reader = both
    scanned, whole = [], log.whole_batches

    def counted(*arguments):
        found = whole(*arguments)
        scanned.append(len(found))
        return found

    monkeypatch.setattr(log, "whole_batches", counted)
    for price in range(5):
        writer.patch(3, {"price": 1000 + price})
    reader.refresh()
    first = sum(scanned)
    scanned.clear()
    writer.patch(3, {"price": 3000})
    reader.refresh()
    assert 0 < sum(scanned) < first
    agree(writer, reader)


def test_damage_is_told_to_who_asks_and_not_to_who_moves_on(both, monkeypatch):
    writer, reader = both
    writer.patch(3, {"price": 300})

    def damaged(*arguments):
        raise CorruptError("damaged")

    with monkeypatch.context() as patched:
        patched.setattr(module, "decode_columns", damaged)
        assert reader.refresh()
    agree(writer, reader)
    assert reader.ids("price == 300").tolist() == [3]


@pytest.mark.skipif(not JIT_ENABLED, reason="kernels that are plain Python have too many steps")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_reader_is_whole_whenever_ctrl_c_comes(both):
    """It shows the commit before or the one after, and moves on the next time."""
    writer, reader = both
    step, interrupted = 0, True
    with raising():
        while interrupted is not None:
            before = reader.get(3)
            writer.patch(3, {"price": 1000 + step, "level": step % 4})
            interrupted = interrupted_at(step, reader.refresh)
            same(look(reader), fresh(reader))
            assert reader.get(3) in (before, writer.get(3))
            reader.refresh()
            look(reader)
            agree(writer, reader)
            step += scale(29, 3)
    assert step > 300


def test_a_label_counts_when_it_can_be_found(both):
    """What another thread binds goes by the count: it was raised first, and a label stayed unknown."""
    writer, reader = both
    assert reader.count("kind == 'a'") == len(IDS)  # labels are known by their texts from now on
    writer.patch(3, {"kind": "new"})
    labels, found = reader._store.dictionaries, []
    number = reader._store.registry.number("kind")

    class Watched(Dictionaries):
        @property
        def count(self):
            return self.counted

        @count.setter
        def count(self, value):
            found.append(self._numbers.get(number, self._found.get(number, {})).get("new"))
            self.counted = value

    labels.counted, labels.__class__ = labels.count, Watched
    reader.refresh()
    assert found == [2] and reader.count("kind == 'new'") == 1


def test_pages_of_before_show_what_they_did(both):
    writer, reader = both
    page = reader.query("level == 1", sort="-price", limit=3)
    shown = page.documents()
    for price in range(50):
        writer.patch(int(page.ids[0]), {"price": price, "tags": [price % 4]})
        reader.refresh()
    assert page.documents() == shown
    agree(writer, reader)


@pytest.mark.parametrize("compacts", [False, True])
def test_a_directory_that_was_restored_has_files_of_its_own(tmp_path, compacts):
    """Its generations are those of the index that was there before, and other bytes lie in them."""
    path, backup = tmp_path / "index", tmp_path / "backup"
    with filled(path) as writer:
        writer.backup(backup)
    path.rename(tmp_path / "away")
    bitdex.restore(backup, path)

    def change(id):
        with bitdex.open(path) as writer:
            writer.patch(id, {"price": 300})
            if compacts:
                writer.compact()
            writer.patch(1, {"note": "a"})

    change(3)
    with bitdex.open(path, "r") as reader:
        look(reader)
        path.rename(tmp_path / "too")
        bitdex.restore(backup, path)
        change(5)
        with bitdex.open(path) as writer:
            writer.patch(6, {"price": 600})
            reader.refresh()
            agree(writer, reader)
            assert reader.get(3)["price"] == 3 and reader.get(5)["price"] == 300


def test_what_a_repair_has_taken_back_is_not_followed(tmp_path):
    """Logs are cut, and sequences come again: another writer's commits may rest on another history."""
    path = tmp_path / "index"
    with filled(path) as writer:
        writer.compact()
        writer.patch(3, {"level": 2, "price": 300})
        writer.patch(4, {"level": 0})
    with bitdex.open(path, "r") as reader:
        look(reader), reader.get(3)
        log = max((path / "bitmaps").glob("ops_?.log"), key=lambda one: one.stat().st_size)
        content = bytearray(log.read_bytes())
        content[92] ^= 255
        log.write_bytes(content)
        repair(path, dry_run=False)
        with bitdex.open(path) as writer:
            for price in range(3):
                writer.patch(5, {"price": 500 + price})
            reader.refresh()
            agree(writer, reader)
            assert reader.get(3) == writer.get(3)


@pytest.mark.skipif(not JIT_ENABLED, reason="a test of speed")
def test_moving_on_costs_what_has_changed(tmp_path):
    """And not what there is: with ten times the documents it takes as long."""
    medians = []
    for count in (20_000, 200_000):
        path = tmp_path / str(count)
        with bitdex.create(path, SCHEMA, sync="none") as writer:
            ids = np.arange(1, count)
            writer.put_many(pd.DataFrame({"id": ids, "level": ids % 3, "price": ids}))
            writer.compact()
            with bitdex.open(path, "r") as reader:
                look(reader)
                taken = []
                for price in range(30):
                    writer.patch(7 + price, {"price": price})
                    begin = time.perf_counter()
                    reader.refresh()
                    reader.query("level == 1", sort="-price", limit=3)
                    taken.append(time.perf_counter() - begin)
                medians.append(sorted(taken)[15])
    assert medians[1] < 3 * medians[0]
