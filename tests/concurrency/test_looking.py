"""Looking into a store that somebody moves on, or whose files a writer replaces: what is shown is there."""

import random

import pytest

import bitdex
from bitdex.silo.silo import Silo
from tests.concurrency.crew import SECONDS, Crew, pause
from tests.concurrency.interleaving import Unsynced
from tests.concurrency.runs import load, make, size
from tests.concurrency.test_passed_by import Works, passing
from tests.scale import scale
from tests.system import install

FRAMES = ("index_frame", "records_frame", "ops_frame")


class Failing:
    """A plug of which one call fails, as when no more files may be open; closing does not."""

    def __init__(self, number):
        self.calls, self._number = 0, number

    def around(self, call, proceed):
        self.calls += call.name != "close"
        if self.calls == self._number and call.name != "close":
            raise OSError(24, "Too many open files")
        return proceed(call)


def look_into(silo):
    """Look at a silo in all ways; it is of one state."""
    stats, html = silo.stats(), silo._repr_html_()
    assert stats["keys"] == stats["data_bytes"] == 0 or stats["sequence"]
    assert "closed" not in html and "closed" not in repr(silo)
    for name in FRAMES:
        getattr(silo, name)()


def look_at(index):
    """Look at an index in all ways that wait for nobody; all of them show one commit."""
    stats = index.stats()
    assert {stats["sequence"]} == {silo["sequence"] for silo in stats["silos"].values()}
    assert f"{len(index):,} documents" in index._repr_html_() and "closed" not in repr(index)
    assert set(index.labels("name").values()) and index.phases and index.health()
    for silo in (index.documents.silo, index.bitmaps.silo):
        look_into(silo)


@pytest.fixture
def written(tmp_path, monkeypatch):
    """An index, and a function that changes it in turn: batches, a phase, a compaction."""
    install(monkeypatch, Unsynced())
    with make(tmp_path / "index") as index:
        step = 3

        def act():
            nonlocal step
            load(index, step + 1)
            step += 1
            index.put({"id": 7, "k": step, "name": "put", "n": step})
            if step % 3 == 0:
                index.compact()

        yield index, act


def test_a_reader_that_another_thread_moves_on(written, tmp_path, monkeypatch):
    """It closed its silos before it opened new ones: who looked meanwhile got "the silo was closed"."""
    _, act = written
    number, reached = 0, True
    while reached:
        with bitdex.open(tmp_path / "index", "r") as reader:
            held = reader.documents, reader.bitmaps
            document = held[0].get(7)
            act()

            def look(reader=reader, held=held, document=document):
                look_at(reader)
                look_into(held[0].silo), look_into(held[1].silo)
                assert held[0].get(7) == document  # of the commit that it was taken from, with its labels

            with passing(monkeypatch, number, scale(40, 7), look) as following:
                assert reader.refresh()
            look()
            reached = following.calls > number
        number += scale(5, 1)
    assert number > 10


def test_a_silo_that_another_thread_moves_on(tmp_path, monkeypatch):
    install(monkeypatch, Unsynced())
    with Silo.open(tmp_path / "silo", "w", "concatenate", headroom=2.0) as silo:
        works, number, reached = Works(silo, random.Random(0)), 0, True
        while reached:
            works.batch()
            with Silo.open(tmp_path / "silo") as reader:
                (works.close_books if number % 2 else works.batch)()
                with passing(monkeypatch, number // 2, 7, lambda reader=reader: look_into(reader)) as plug:
                    assert reader.refresh()
                reached = plug.calls > number // 2
            number += 1
    assert number > 10


@pytest.mark.parametrize("kind", ["silo", "index"])
def test_a_reader_that_cannot_move_on_stays_where_it_is(written, tmp_path, monkeypatch, kind):
    """It was closed inside, and took what it could not open for what it shows."""
    index, act = written
    path = tmp_path / "index" / ("documents" if kind == "silo" else "")
    number, failed = 1, True
    while failed:
        with Silo.open(path) if kind == "silo" else bitdex.open(path, "r") as reader:
            show = reader.stats if kind == "silo" else lambda reader=reader: reader.query(limit=5).documents()
            before = show()
            act()
            with monkeypatch.context() as patch:
                plug = Failing(number)
                install(patch, Unsynced(), plug)
                try:
                    reader.refresh()
                except OSError:
                    assert kind == "silo" or show() == before
                failed = plug.calls >= number
            assert reader.refresh() == failed
            (look_into if kind == "silo" else look_at)(reader)
            if kind == "index":
                assert reader.get(7) == index.get(7)
        number += 1
    assert number > 5


@pytest.mark.parametrize("by", ["file", "value", "container"])
def test_memory_and_html_beside_a_writer_in_another_process(written, tmp_path, monkeypatch, by):
    """Files that the writer had removed since they were listed: FileNotFoundError."""
    _, act = written
    act()
    number, reached = 0, True
    while reached:
        with bitdex.open(tmp_path / "index", "r") as reader:
            with passing(monkeypatch, number, scale(11, 3), act) as plug:
                found = reader.memory(by)
                html = reader._repr_html_()
                stats = reader.stats()
            assert (found["bytes"] > 0).all() and "documents" in html
            data = {"documents/data.bin", "bitmaps/data.bin"}
            shown = found[found["file"].isin(data)].groupby("file")["bytes"].sum()
            assert all(
                shown[f"{name}/data.bin"] >= silo["data_bytes"] for name, silo in stats["silos"].items()
            )
            reached = plug.calls > number
        number += scale(3, 1)
    assert number > 10


@pytest.mark.timeout(SECONDS + 300)
def test_threads_that_look_at_a_reader(tmp_path, monkeypatch):
    """One moves it on, one loads and compacts through another object, the others look."""
    install(monkeypatch, Unsynced())
    crew, step = Crew(SECONDS * 0.1), 3
    with make(tmp_path / "index") as index, bitdex.open(tmp_path / "index", "r") as reader:

        def write(draw):
            nonlocal step
            load(index, step + 1)
            step += 1
            if draw.random() < 0.3:
                index.compact()

        def look(draw):
            silo = draw.choice([reader.documents, reader.bitmaps]).silo
            ask = draw.choice([reader.stats, reader._repr_html_, reader.memory, silo.stats, silo._repr_html_])
            draw.choice([ask, *(getattr(silo, name) for name in FRAMES)])()
            assert len(reader.query("tags has 0", limit=9)) == 9

        crew.add("writes", write)
        crew.add("refreshes", lambda draw: (pause(draw), reader.refresh()))
        for number in range(3):
            crew.add(f"looks {number}", look)
        crew.run()
        reader.refresh()
        assert len(reader) == size(step // 2)
    print(f"\ntorture: threads that look at a reader: {dict(crew.counts)}")
    assert min(crew.counts.values()) > 0
