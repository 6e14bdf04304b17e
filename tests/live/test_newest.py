"""Commits are shown when somebody asks, and shown as if each had been shown by itself."""

import random
import threading

import pytest

import bitdex
from bitdex.errors import NotFoundError
from bitdex.query import newest as module
from bitdex.query.snapshot import Snapshot
from tests.live.test_changes import SCHEMA
from tests.live.test_line import IDS, change, fresh, same
from tests.scale import scale, seeds


@pytest.fixture
def index(tmp_path):
    with bitdex.create(tmp_path / "index", SCHEMA, sync="none") as index:
        index.put_many([{"id": id, "level": id % 3, "tags": [id % 4], "price": id} for id in IDS])
        index.count("level == 1")
        yield index


@pytest.fixture
def followed(monkeypatch):
    """How many commits each snapshot that was made has followed."""
    counts, after = [], Snapshot.after

    def counted(snapshot, commits):
        counts.append(len(commits))
        return after(snapshot, commits)

    monkeypatch.setattr(Snapshot, "after", counted)
    return counts


def test_patches_that_nobody_looks_at_are_shown_together(index, followed):
    for price in range(5):
        index.patch(3, {"price": price, "level": price % 2})
    assert followed == []
    assert index.ids("price == 4 and level == 0").tolist() == [3]
    assert followed == [5]


def test_documents_that_come_and_go_are_shown_at_once(index, followed):
    index.patch(3, {"price": 300})
    index.put({"id": 40, "level": 1})
    index.delete(4)
    assert followed == [2, 1]
    index.patch(40, {"level": 2})
    with pytest.raises(NotFoundError):
        index.patch(4, {"level": 2})
    assert followed == [2, 1] and index.ids("level == 2").tolist() == [2, 5, 8, 11, 40]


def test_not_more_are_put_off_than_some(index, followed, monkeypatch):
    monkeypatch.setattr(module, "MOST", 4)
    for price in range(10):
        index.patch(3, {"price": price})
    assert followed == [4, 4] and index.count("price == 9") == 2


@pytest.mark.parametrize("between", ["compact", "dump", "add_field", "reopen"])
def test_what_else_is_committed_comes_behind_what_was_put_off(index, between):
    index.patch(3, {"price": 300, "tags": [7]})
    if between == "compact":
        index.compact()
    elif between == "dump":
        phase = {"name": "more", "slot_field": "id", "sets_alive": True, "fields": ["level"]}
        index.dump(phase, source={"more": {"id": [50], "level": [9]}})
        index.patch(50, {"price": 300})
    elif between == "add_field":
        index.add_field("more", filter="single_value")
    else:
        index._store.reopen()
    index.patch(5, {"price": 300})
    expected = [3, 5, 50] if between == "dump" else [3, 5]
    assert index.ids("price == 300").tolist() == expected
    same(index.snapshot, fresh(index))


def test_who_is_interrupted_while_showing_shows_all_again(index, monkeypatch):
    index.patch(3, {"price": 300})
    index.patch(5, {"price": 300})

    def interrupted(snapshot, commits):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Snapshot, "after", interrupted)
        index.count()
    assert index.ids("price == 300").tolist() == [3, 5]
    same(index.snapshot, fresh(index))


@pytest.mark.parametrize("most", [1, 3, 128])
def test_any_history_of_changes_and_questions(tmp_path, monkeypatch, most):
    monkeypatch.setattr(module, "MOST", most)
    for seed in seeds(scale(10, 300)):
        draw = random.Random(seed)
        with bitdex.create(tmp_path / str(seed), SCHEMA, sync="none") as index:
            index.put_many([{"id": id, "level": id % 3, "tags": [id % 4], "price": id} for id in IDS])
            for _ in range(40):
                change(index, draw)
                if draw.random() < 0.2:
                    index.snapshot.column("price"), index.snapshot.having("level", draw.randrange(4))
                    same(index.snapshot, fresh(index))
            same(index.snapshot, fresh(index))


def test_a_change_is_made_while_another_thread_shows_what_was_put_off(index, monkeypatch):
    newest, is_over = index._newest, Snapshot.is_over

    def over(snapshot):
        newest._catch_up()  # what was looked at before is not there any more
        return is_over(snapshot)

    index.patch(3, {"price": 300})
    monkeypatch.setattr(Snapshot, "is_over", over)
    index.patch(3, {"level": 2})
    monkeypatch.undo()
    assert index.ids("price == 300 and level == 2").tolist() == [3]


def test_threads_that_ask_see_commits_whole_and_in_order(index):
    """Each patch sets level and price to one number; who asks sees both of one commit."""
    over, wrong = threading.Event(), []

    def ask():
        last = -1
        while not over.is_set():
            snapshot = index.snapshot
            seen = [n for n in range(100, 200) if 3 in snapshot.having("level", n)]
            prices = snapshot.column("price").range(seen[0], seen[0]) if seen else {3}
            if len(seen) > 1 or 3 not in prices or (seen and seen[0] < last):
                wrong.append((seen, last))
            last = seen[0] if seen else last

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(100, 200):
        index.patch(3, {"level": number, "price": number})
    over.set()
    for thread in threads:
        thread.join()
    assert wrong == []
