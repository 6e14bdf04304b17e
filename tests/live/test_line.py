"""What one snapshot has read serves those behind it, with the changes since; and never says anything else."""

import copy
import gc
import random
from types import FunctionType, ModuleType

import pytest
from pyroaring import BitMap

import bitdex
from bitdex.query import line as module
from bitdex.query.snapshot import Snapshot
from tests.live.test_changes import SCHEMA
from tests.scale import scale, seeds

IDS = range(1, 12)
DEFAULTING = copy.deepcopy(SCHEMA)
DEFAULTING["data_schema"]["fields"] += [
    {"source": name, "target": name, "value_type": "integer", "default": default}
    for name, default in (("price", 7), ("level", 2))
]


@pytest.fixture
def index(tmp_path):
    with bitdex.create(tmp_path / "index", SCHEMA, sync="none") as index:
        index.put_many([{"id": id, "level": id % 3, "tags": [id % 4], "price": id} for id in IDS])
        yield index


def fresh(index):
    committed = index._store.committed
    return Snapshot(index.schema, committed.documents, committed.bitmaps)


def forbidden(*arguments):
    raise AssertionError("read again")


def test_what_was_read_for_an_older_commit_is_not_read_again(index, monkeypatch):
    older = index.snapshot
    index.patch(3, {"price": 300, "level": 2})
    index.delete(4)
    newer = index.snapshot
    for snapshot in (older, newer):  # the older begins to read when the newer is there already
        snapshot.column("price"), snapshot.having("level", 2), snapshot.having("tags", 1)
        monkeypatch.setattr(Snapshot, "_build_column", forbidden)
        monkeypatch.setattr(Snapshot, "_load", forbidden)
    monkeypatch.undo()
    same(newer, fresh(index))
    assert newer.having("level", 2) ^ older.having("level", 2) == BitMap([3])


def test_what_nobody_will_take_is_let_go(index, monkeypatch):
    older = index.snapshot
    index.patch(3, {"price": 300})
    line = index.snapshot._line
    older.column("price")  # handed over: there is a newer commit
    assert line.take("price", line.latest) is not None
    monkeypatch.setattr(module, "AGE", 0.0)
    index.patch(3, {"level": 2})
    assert index.snapshot._line is line and line.take("price", line.latest) is None
    assert len(line._changes) <= 1 and not line._handed


def same(snapshot, other):
    assert snapshot.alive == other.alive and snapshot.deferred == other.deferred
    for level in range(4):
        assert snapshot.having("level", level) == other.having("level", level)
        assert snapshot.having("tags", level) == other.having("tags", level)
    for name in ("price", "due"):
        mine, theirs = (one.column(name).top(one.alive, 100, True) for one in (snapshot, other))
        assert [part.tolist() for part in mine] == [part.tolist() for part in theirs]


def bitmaps_of(one, seen):
    """Yield the bitmaps that an object leads to."""
    if isinstance(one, BitMap):
        yield one
    elif id(one) not in seen and not isinstance(one, type | ModuleType | FunctionType):
        seen.add(id(one))
        for other in gc.get_referents(one):
            yield from bitmaps_of(other, seen)


def test_what_commits_alter_is_remembered_without_who_is_alive(index):
    index.count("level == 1")
    for id in range(100, 200):
        index.put({"id": id, "level": 1, "price": id})
    changes = index.snapshot._line._changes
    last = list(changes)[-100:]
    assert len(last) == 100 and all(len(one) <= 1 for one in bitmaps_of(last, set()))


def test_a_column_with_a_default_is_handed_on_as_others_are(tmp_path, monkeypatch):
    with bitdex.create(tmp_path / "index", DEFAULTING, sync="none") as index:
        index.put_many([{"id": id, "level": id % 3} for id in IDS])
        older = index.snapshot
        assert index.ids("price == 7").tolist() == list(IDS)
        monkeypatch.setattr(Snapshot, "_build_column", forbidden)
        index.put({"id": 40, "level": 1})
        index.put({"id": 41, "price": 5})
        index.put({"id": 42, "due": 2**32 - 1})  # waits
        index.delete(3)
        index.patch(5, {"price": 8})
        index.patch(41, {"price": None})
        assert index.ids("price == 7").tolist() == [1, 2, 4, *range(6, 12), 40, 41]
        newer = index.snapshot
        newer.forget("price"), older.forget("price")
        monkeypatch.undo()
        older.column("price")
        monkeypatch.setattr(Snapshot, "_build_column", forbidden)
        assert newer.column("price").range(7, 7) == BitMap([1, 2, 4, *range(6, 12), 40, 41])
        monkeypatch.undo()
        same(newer, fresh(index))


@pytest.mark.parametrize("content", [SCHEMA, DEFAULTING], ids=["no default", "default"])
@pytest.mark.parametrize(
    "limits",
    [{}, {"MOST": 2}, {"HANDED": 1}, {"KEYS": 3}, {"AGE": 0.0}, {"AGE": 0.002}],
    ids=lambda limits: ",".join(limits) or "none",
)
def test_any_history_of_commits_and_reads(tmp_path, monkeypatch, limits, content):
    for name, value in limits.items():
        monkeypatch.setattr(module, name, value)
    for seed in seeds(scale(5, 125)):
        draw = random.Random(seed)
        with bitdex.create(tmp_path / str(seed), content, sync="none") as index:
            index.put_many([{"id": id, "level": id % 3, "tags": [id % 4], "price": id} for id in IDS])
            held = []
            for _ in range(30):
                held = [*held, index.snapshot][-4:]
                change(index, draw)
                for snapshot in draw.sample(held, min(2, len(held))):
                    if draw.random() < 0.5:
                        snapshot.column(draw.choice(["price", "due"]))
                    snapshot.having(draw.choice(["level", "tags"]), draw.randrange(4))
                if draw.random() < 0.3:
                    same(index.snapshot, fresh(index))
            same(index.snapshot, fresh(index))


def change(index, draw):
    id = draw.choice(IDS)
    match draw.randrange(5):
        case 0:
            index.upsert({"level": draw.choice([None, 0, 1, 2]), "price": draw.choice([None, 5, 70])}, id)
        case 1:
            index.put({"tags": [draw.randrange(4)], "price": draw.randrange(9)}, id)
        case 2:
            index.delete(id, missing_ok=True)
        case 3:
            index.upsert({"due": draw.choice([5, 2**32 - 1, None])}, id)  # some wait
        case _:
            index.compact()
