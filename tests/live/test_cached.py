"""Answers that were kept are those that would be computed: random histories, asked both ways.

After every step each of a fixed set of queries is asked with the cache and without it, in the same state, and
so are pages of older states that somebody still holds. Each defect of the original's cache has its test.
"""

import gc
import random
import shutil
import threading
import time
import weakref
from functools import partial

import numpy as np
import pandas as pd
import pytest

import bitdex
from bitdex.errors import BitdexError
from bitdex.formats.answer import Answer, encode
from bitdex.query import answers
from bitdex.query import clauses as c
from bitdex.silo.silo import Silo
from tests.concurrency.interleaving import Moment, Socket, Unsynced
from tests.live.test_changes import SCHEMA
from tests.live.test_model import ADDED, BEGIN, DEFAULTS, QUERIES, VALUES, definition
from tests.scale import scale, seeds, share
from tests.system import install

IDS = [1, 2, 3, 7, 8, 9, 65_535, 65_536, 70_000, 2**32 - 1]
SORTS = [None, "likes", "-likes", "-score", "sortAt", "-due", "id", "-extra", "best"]
COMING = ["extra", "names", "lists", "rate", "best"]  # and going
PHASES = {
    "rows": {"name": "rows", "slot_field": "id", "sets_alive": True, "fields": ["level", "type", "at"]},
    "hidden": {"name": "hidden", "slot_field": "id", "fields": ["owner", "likes"]},
    "tags": {"name": "tags", "slot_field": "id", "fields": ["tags"]},
}


@pytest.fixture(autouse=True)
def everything_is_worth_it(monkeypatch):
    monkeypatch.setattr(answers, "WORTH", 0.0)
    monkeypatch.setattr(answers, "ALONE", set())


def tree(draw, depth=0):
    """Return a clause, of leaves of the model, negated and combined."""
    if depth == 3 or draw.random() < 0.3:
        return draw.choice(QUERIES)
    kind = draw.choice([c.And, c.And, c.Or, c.Not])
    if kind is c.Not:
        return c.Not(tree(draw, depth + 1))
    return kind(tuple(tree(draw, depth + 1) for _ in range(draw.randint(0, 3))))


class History:
    """An index that changes at random, and what is asked of it."""

    def __init__(self, path, monkeypatch, draw, deferred):
        self.path, self.draw, self.now = path, draw, BEGIN
        monkeypatch.setattr(time, "time", lambda: self.now)
        self.socket = Socket()
        install(monkeypatch, self.socket, Unsynced())
        self.content = definition(deferred)
        self.content["config"]["cache"] = {
            "initial_capacity": draw.choice([3, 4000]),
            "max_entries": draw.choice([30, 1000]),
        }
        self.index = bitdex.create(path, self.content, sync="none")
        self.index.put_many([{"id": id, **self.fields()} for id in IDS[:5]])
        self.asked = [(tree(draw), draw.choice(SORTS), draw.choice([1, 2, 50])) for _ in range(16)]
        self.pinned, self.opened = [], 0

    def fields(self):
        known = sorted(VALUES.keys() & self.index.schema.fields.keys())
        chosen = self.draw.sample(known, self.draw.randint(0, 6))
        return {name: self.draw.choice(VALUES[name]) for name in chosen}

    def step(self):
        """Do something."""
        kind = self.draw.choice(STEPS)
        self.opened += 1
        try:
            getattr(self, kind)()
        except BitdexError:  # a document that is not there
            assert kind in ("patch", "combine", "batch")

    def put(self):
        self.index.put({"id": self.draw.choice(IDS), **self.fields()})

    def patch(self):
        changes = {name: self.draw.choice([value, None]) for name, value in self.fields().items()}
        self.index.patch(self.draw.choice(IDS), changes)

    def combine(self):
        change = self.draw.choice([self.index.append, self.index.remove])
        change(self.draw.choice(IDS), self.draw.choice(["tags", "groups"]), self.draw.choice([1, 3, -7]))

    def delete(self):
        self.index.delete(self.draw.sample(IDS, 2), missing_ok=True)

    def batch(self):
        with self.index.batch():
            self.put()
            self.compare()
            self.delete()
            self.patch()

    def wait(self):
        self.now += self.draw.choice([1, 40, 3000])

    def set_back(self):
        self.now -= self.draw.choice([1, 40])

    def phase(self):
        name = self.draw.choice(sorted(PHASES))
        ids = sorted(self.draw.sample(IDS, 4))
        rows = {"id": ids}
        for field in PHASES[name]["fields"]:
            values = [one if field != "tags" else one[0] for one in VALUES[field] if one != []]
            rows[field] = [self.draw.choice(values) for _ in ids]
        self.index.dump([PHASES[name]], {name: pd.DataFrame(rows)}, now=self.draw.choice([None, self.now]))

    def alter(self):
        """Add a field, drop it, or give it another default."""
        name = self.draw.choice(COMING)
        if not self.index.schema.has(name):
            self.index.add_field(name, **ADDED[name])
        elif self.draw.random() < 0.5:
            self.index.drop_field(name)
        else:
            name = self.draw.choice(["level", "likes", "tags", "type"])
            self.index.set_default(name, self.draw.choice(DEFAULTS[name]))

    def rebuild(self):
        self.index.rebuild()

    def compact(self):
        self.index.compact()

    def maintain(self):
        self.index.maintain()

    def reopen(self):
        for page, _ in self.pinned:
            self.follow(page)
        self.pinned.clear()
        self.index.close()
        self.opened = 0
        self.index = bitdex.open(self.path, sync="none")

    def crash(self):
        """Go on in a copy that was taken in the middle of a change, a compaction or closing."""
        target = self.path.with_name(self.path.name + "x")
        moment = Moment(self.draw.randint(1, 30), partial(shutil.copytree, self.path, target))
        self.pinned.clear()
        with self.socket.holding(moment):
            self.draw.choice([self.put, self.compact, self.index.close])()
        moment.seen()
        self.index.close()
        self.path, self.opened = target, 0
        self.index = bitdex.open(target, sync="none")

    def compare(self):
        """Ask everything, with the cache and without."""
        known = {"id", *(one.name for one in self.index.schema.fields.values() if one.indexed)}
        for where, sort, limit in self.asked:
            if not c.fields_of(where) | {(sort or "id").removeprefix("-")} <= known:
                continue
            expected = self.index.query(where, sort, limit, cache=False)
            page = self.index.query(where, sort, limit)
            assert same(page, expected), (str(where), sort, limit)
            assert same(page.next(), expected.next()), (str(where), sort, limit)
            skipped = self.index.query(where, sort, limit, offset=2)
            assert same(skipped, self.index.query(where, sort, limit, offset=2, cache=False))
            assert self.index.count(where) == expected.total == self.index.count(where, cache=False)
        if self.draw.random() < 0.3:
            where, sort, limit = c.Gte("likes", 1), self.draw.choice(["-likes", None]), 2
            page = self.index.query(where, sort, limit)
            self.pinned.append((page, self.index.query(where, sort, limit, cache=False)))
        if self.pinned and self.draw.random() < 0.3:
            page, expected = self.pinned.pop(0)
            assert same(page.next(), expected.next())

    def follow(self, page):
        """Read the pages behind one, which show what it shows."""
        while len(page):
            page = page.next()


STEPS = ["put", "put", "patch", "patch", "combine", "delete", "batch", "wait", "set_back", "phase"]
STEPS += ["compact", "maintain", "reopen", "crash", "alter", "alter", "rebuild"]


def same(page, other):
    """Tell whether two pages show the same."""
    return (page.ids.tolist(), page.total, page.cursor) == (other.ids.tolist(), other.total, other.cursor)


@pytest.mark.timeout(scale(300, 24 * 3600))
@pytest.mark.parametrize("deferred", [False, True], ids=["at once", "deferred"])
def test_histories(tmp_path, monkeypatch, deferred):
    for number in seeds(scale(2, 100)):
        history = History(tmp_path / str(number), monkeypatch, random.Random(number), deferred)
        for _ in range(scale(50, 300)):
            history.step()
            history.compare()
        assert history.index.stats()["cache"]["hits"] > 10 or history.opened < 10
        found = history.index.check()
        assert found[found.severity != "note"].to_dict("records") == []  # a crash leaves half a file
        history.index.close()
        print(f"\ntorture: kept answers, a history of {scale(50, 300)} steps, seed {number}")


@pytest.fixture
def index(tmp_path):
    with bitdex.create(tmp_path / "index", SCHEMA, sync="none") as index:
        rows = [
            {"id": n, "level": n % 5, "kind": "abc"[n % 3], "tags": [n % 7], "price": n} for n in range(500)
        ]
        index.put_many(rows)
        yield index


WHERE = "level in [1, 2, 3] and kind != 'a'"


def test_a_query_is_answered_from_what_is_kept(index):
    first, again = index.query(WHERE, "-price", 10), index.query(WHERE, "-price", 10)
    assert (first.cached, again.cached) == (False, True)
    assert same(first, again) and not index.query(WHERE, "-price", 10, cache=False).cached
    assert index.query("kind != 'a' and level in [3, 2, 1]", "-price", 7).cached  # in other words
    assert not index.query(WHERE, "price", 10).cached  # in another order
    again.ids[0] = 0  # it belongs to the caller
    assert same(index.query(WHERE, "-price", 10), index.query(WHERE, "-price", 10, cache=False))
    assert index.stats()["cache"]["hits"] == 3


def test_the_sort_field_is_depended_on(index):
    """A changed sort value kept the old order until something else came."""
    top = index.query(WHERE, "-price", 3).ids[-1]
    index.patch(int(top), {"price": 100_000})
    assert index.query(WHERE, "-price", 3).ids[0] == top


def test_deep_pages_are_never_empty(tmp_path):
    """A cursor past what was kept came back with nothing."""
    content = {**SCHEMA, "config": {**SCHEMA["config"], "cache": {"initial_capacity": 20}}}
    with bitdex.create(tmp_path / "index", content, sync="none") as index:
        index.put_many([{"id": n, "level": 1, "price": n // 3} for n in range(200)])
        for _ in range(2):
            page, seen = index.query("level == 1 and price >= 1", "-price", 7), []
            while len(page):
                seen += page.ids.tolist()
                page = page.next()
            assert seen == list(range(199, 2, -1))
        assert index.query("level == 1 and price >= 1", "-price", 10, offset=100).ids[0] == 99
        assert index.query("level == 1 and price >= 1", "-price", 5, after="60:181").ids.tolist() == [
            180, 179, 178, 177, 176,
        ]  # fmt: skip


def test_cursors_from_elsewhere(index):
    """A cursor may name a row in the middle, one that has another value by now, or none at all."""
    rows = index.query(WHERE, "-price", 4, cache=False).ids.tolist()
    index.query(WHERE, "-price", 4)
    for after in (f"{rows[1]}:{rows[1]}", f"{rows[1] - 9}:{rows[1]}", f"{rows[1] + 1}:7", f"null:{rows[1]}"):
        for limit in (9, 1, 2):
            expected = index.query(WHERE, "-price", limit, after, cache=False)
            assert same(index.query(WHERE, "-price", limit, after), expected), after
            assert same(index.query(WHERE, "-price", 11), index.query(WHERE, "-price", 11, cache=False))


def test_a_default_is_no_value(tmp_path):
    """Documents without a value count as having the default; one that gets another value does not."""
    fields = [{"source": "level", "target": "level", "value_type": "integer", "default": 3}]
    content = {**SCHEMA, "data_schema": {"fields": fields}}
    with bitdex.create(tmp_path / "index", content, sync="none") as index:
        index.put_many([{"id": n, "price": n} for n in range(3)])
        for change, total in (({}, 3), ({"level": 1}, 2), ({"level": None}, 3)):
            index.patch(1, change)
            assert index.count("level == 3") == index.query("level in [2, 3]", "-price").total == total


def test_labels_after_a_load_that_failed(index, tmp_path):
    """A number that a label had while a phase failed is another's afterwards."""
    phase = {"name": "rows", "slot_field": "id", "sets_alive": True, "fields": ["kind"]}
    (tmp_path / "rows.csv").write_text("id,kind\n7000,x\n7001,y\n")

    def fail(*_):
        assert index.labels("kind").get(4) == "x"
        raise RuntimeError

    for text in ("x", "y", "z"):
        assert index.count(f"kind == '{text}'") == 0
    with pytest.raises(RuntimeError):
        index.dump([phase], tmp_path, progress=fail)
    assert index.query("kind == 'x' or kind == 'z'").total == 0
    index.put({"id": 7002, "kind": "z"})
    assert index.query("kind == 'x' or kind == 'z'").ids.tolist() == [7002]
    index.put({"id": 7003, "kind": "x"})
    assert [index.count(f"kind == '{text}'") for text in "xyz"] == [1, 0, 1]


def test_totals_are_those_of_now(index):
    """A total stayed what it was when the page was first kept."""
    total = index.query(WHERE, None, 1).total
    index.put({"id": 9000, "level": 1, "kind": "b"})
    assert index.query(WHERE, None, 1).total == index.count(WHERE) == total + 1


def test_who_is_alive_is_depended_on(index):
    counts = index.count("not level == 1"), index.query(None, "-price", 1).total
    index.put({"id": 9000})
    assert (index.count("not level == 1"), index.query(None, "-price", 1).total) == (counts[0] + 1, 501)


def test_a_change_touches_only_what_depends_on_it(index):
    """The original threw away everything of a field, and everything at a new document."""
    asked = [("level in [1, 2] and kind == 'b'", "-price"), ("tags has 3 and level != 4", None)]
    for where, sort in asked:
        index.query(where, sort)
    index.put({"id": 9000, "level": 4, "kind": "c", "tags": [5]})  # no sort value
    index.patch(1, {"tags": [1, 9]})
    assert [index.query(where, sort).cached for where, sort in asked] == [True, False]  # 4 is left out
    index.patch(3, {"tags": [3, 4]})
    assert [index.query(where, sort).cached for where, sort in asked] == [True, True]
    index.patch(1, {"price": 77})
    assert [index.query(where, sort).cached for where, sort in asked] == [False, True]


def test_a_held_page_is_not_answered_from_a_later_state(index):
    page = index.query(WHERE, "-price", 3)
    later = page.next().ids.tolist()
    index.delete(later)
    index.query(WHERE, "-price", 3).next()
    assert page.next().ids.tolist() == later


def test_0_disables(tmp_path):
    for key in ("max_entries", "max_bytes"):
        content = {**SCHEMA, "config": {**SCHEMA["config"], "cache": {key: 0}}}
        with bitdex.create(tmp_path / key, content) as index:
            index.put({"id": 1, "level": 1})
            assert not any(index.query(WHERE).cached for _ in range(3))
            assert index.stats()["cache"] == {
                "entries": 0,
                "bytes": 0,
                "hits": 0,
                "misses": 0,
                "failure": None,
            }


def test_bounds_hold(tmp_path):
    limits = {"max_entries": 9, "max_bytes": 20_000, "min_filter_size": 2}
    content = {**SCHEMA, "config": {**SCHEMA["config"], "cache": limits}}
    with bitdex.create(tmp_path / "index", content, sync="none") as index:
        index.put_many([{"id": n, "level": n // 2, "price": n} for n in range(500)])
        for n in range(100):
            index.query(f"level >= {n}", "-price", 1 + n % 50)
            stats = index.stats()["cache"]
            assert stats["entries"] <= 9 and stats["bytes"] <= 20_000
        assert stats["entries"] > 3
        assert index.query(f"level >= {n}", "-price", 1).cached, "the last used stays"
        assert not any(index.query("id == 3").cached for _ in range(2)), "too few match"


def test_threads_beside_a_writer(index):
    """No thread is ever shown what a commit that it has seen has altered."""
    done, wrong = threading.Event(), []
    moved = [0]

    def ask(number):
        draw = random.Random(number)
        while not done.is_set():
            least = moved[0]
            where = draw.choice(["level >= 1 and price >= 1000", "not price < 1000 and not level == 0"])
            page = index.query(where, draw.choice(["-price", None, "price"]), 5)
            if not least <= page.total <= moved[0] + 1:
                wrong.append((least, page.total, moved[0]))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for n in range(scale(300, share(5000))):
        index.put({"id": 1000 + n, "level": 1 + n % 3, "price": 1000 + n})
        moved[0] = n + 1
    done.set()
    for thread in threads:
        thread.join()
    assert not wrong and index.stats()["cache"]["hits"]


def reopened(index):
    index.close()
    return bitdex.open(index.path)


def test_answers_survive_reopening(index):
    """Saved entries were always over when they were read again."""
    asked = [(WHERE, "-price"), ("not level == 1", None), ("price >= 7 or tags has 1", "price")]
    pages = [index.query(where, sort, 10) for where, sort in asked]
    index.count(WHERE)
    with reopened(index) as again, bitdex.open(index.path, "r") as reader:
        for one in (again, reader):
            found = [one.query(where, sort, 10) for where, sort in asked]
            assert all(page.cached for page in found) and all(map(same, found, pages))
            assert one.count(WHERE) == pages[0].total and one.stats()["cache"]["misses"] == 0
        again.patch(1, {"tags": [50]})  # they are followed as before
        again.put({"id": 9000, "level": 4, "kind": "c"})
        assert [again.query(where, sort, 10).cached for where, sort in asked] == [True, False, False]
    with bitdex.open(index.path) as again:
        assert again.query(WHERE, "-price", 10).cached


@pytest.mark.parametrize("cache", [{}, {"max_bytes": 0}], ids=["cache", "no cache"])
def test_a_reader_that_moves_on_lets_go_of_what_it_showed_first(tmp_path, cache):
    """Files that were deleted since would stay mapped."""
    content = {**SCHEMA, "config": {**SCHEMA["config"], "cache": cache}}
    with bitdex.create(tmp_path / "index", content) as index:
        index.put({"id": 1, "level": 1})
        with bitdex.open(index.path, "r") as reader:
            first = weakref.ref(reader.snapshot)
            assert reader.ids().tolist() == reader.ids("level == 1").tolist() == [1]
            assert reader.query(WHERE, cache=False).total == 1
            index.put({"id": 2, "level": 1, "tags": [1]})
            reader.refresh()
            assert reader.ids().tolist() == [1, 2]
            gc.collect()
            assert first() is None
            assert reader.query(WHERE).total == 2


@pytest.mark.parametrize("kind", ["later", "schema", "damaged", "other index", "question", "no state"])
def test_saved_answers_that_are_not_true_are_not_taken(index, tmp_path, kind):
    index.query(WHERE, "-price", 10)
    index.compact()
    kept = tmp_path / "kept"
    shutil.copytree(index.path / "cache", kept)
    if kind == "later":
        index.patch(4, {"price": 9999})
    path = index.path
    index.close()
    if kind == "other index":
        path = tmp_path / "other"
        bitdex.create(path, SCHEMA).close()
    shutil.rmtree(path / "cache", ignore_errors=True)
    shutil.copytree(kept, path / "cache")
    if kind == "damaged":
        for file in (path / "cache").iterdir():
            file.write_bytes(file.read_bytes()[:-200] + b"x" * 200)
    if kind in ("question", "no state", "schema"):
        with Silo.open(path / "cache", "w") as silo:
            if kind == "question":
                for i, text in enumerate(
                    ["[{}, [", "7", "[1, 2, 3]", '[{"Eq": ["level", "x"]}, null]', "[" * 9999]
                ):
                    silo.put(7 + i, encode(Answer(text, 1, *[np.empty(0, "u4")] * 3)))
            elif kind == "schema":
                silo.put(0, silo.get(0)[:-32] + b"0" * 32)
            else:
                silo.delete(0)
    with bitdex.open(path, "r") as reader, bitdex.open(path) as index:
        for one in (reader, index):
            page = one.query(WHERE, "-price", 10)
            assert page.cached == (kind == "question")
            assert same(page, one.query(WHERE, "-price", 10, cache=False))
    with bitdex.open(path) as index:
        assert index.query(WHERE, "-price", 10).cached or kind == "other index"
        assert index.check().empty


def test_what_is_saved_is_on_the_device_first(index, monkeypatch):
    """Else a power cut could take the state back that it names, and another could get its number."""

    def fail():
        raise OSError(5, "Input/output error")

    index.query(WHERE, "-price", 10)
    monkeypatch.setattr(index._store, "settle_logs", fail)
    index._save_answers()
    assert not (index.path / "cache").exists()
    monkeypatch.undo()
    index.close()
    assert (index.path / "cache" / "meta.bin").exists()


def test_what_became_due_while_it_was_closed_is_shown(index, monkeypatch):
    """Nothing is committed when a document becomes due, so the sequence stays what it was."""
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    index.put({"id": 9000, "level": 1, "kind": "b", "price": 10**6, "due": int(now) + 5})
    top = index.query(WHERE, "-price", 1).ids.tolist()
    with reopened(index) as index:
        assert index.query(WHERE, "-price", 1).cached
    now += 10
    with bitdex.open(index.path) as index:
        page = index.query(WHERE, "-price", 1)
        assert page.ids.tolist() == [9000] != top and not page.cached
    with bitdex.open(index.path) as index:
        assert index.query(WHERE, "-price", 1).cached
    now -= 10  # and back: a clock that was set
    with bitdex.open(index.path) as index:
        assert index.query(WHERE, "-price", 1).ids.tolist() == top


def test_a_cache_that_cannot_be_written_is_no_failure_of_the_index(index, monkeypatch):
    index.query(WHERE, "-price", 10)

    def refuse(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bitdex.cache_silo.Silo.open", refuse)
    index.compact()
    assert "No space left" in index.stats()["cache"]["failure"]
    index.put({"id": 1})


def test_damage_of_what_is_kept_is_a_warning(index):
    index.query(WHERE, "-price", 10)
    path = index.path
    index.close()
    file = path / "cache" / "ops_a.log"
    content = bytearray(file.read_bytes())
    content[150] ^= 1
    file.write_bytes(content)
    for found in (bitdex.check(path), bitdex.repair(path), bitdex.repair(path, dry_run=False)):
        assert {*found["severity"]} == {"warning"} and str(file) in {*found["file"]}
    assert bitdex.check(path).empty and not file.exists()


def test_a_repair_forgets_what_was_kept(index):
    index.query(WHERE, "-price", 10)
    index.close()
    assert bitdex.repair(index.path, dry_run=False).empty
    with bitdex.open(index.path) as again:
        assert not again.query(WHERE, "-price", 10).cached


def test_a_backup_is_the_index_alone(index, tmp_path):
    index.query(WHERE, "-price", 10)
    index.compact()
    index.backup(tmp_path / "backup")
    assert not (tmp_path / "backup" / "cache").exists() and (index.path / "cache").exists()
