"""Manners: bars that never stop what they show, names that are nearly right, Ctrl-C at any moment."""

import io
import os
import signal
import sys
import threading
import time
import types
import warnings
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import bitdex
from bitdex import progress
from bitdex.errors import InvalidError
from bitdex.index import Index
from bitdex.sample import NOW, sample_phases

# -- bars ----------------------------------------------------------------------------------


def bars_in(monkeypatch: pytest.MonkeyPatch, total: int) -> str:
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stderr", shown)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with progress.reporter(True, "tags", total) as report:
            report(5, 50)
            report(9, 100)
        with progress.counter(True, "check", 3, "queries") as more:
            more(3)
    return shown.getvalue()


class Broken(types.ModuleType):
    def __getattr__(self, name: str) -> None:
        raise RuntimeError("an installation that is broken")


def refuse(*given: object, **named: object) -> None:
    raise ImportError("IProgress not found. Please update jupyter and ipywidgets.")


@pytest.mark.parametrize("total", [0, 100])
@pytest.mark.parametrize("state", ["absent", "there", "broken", "without a front end"])
def test_a_bar_is_shown_in_any_case(monkeypatch: pytest.MonkeyPatch, state: str, total: int) -> None:
    modules = {"absent": None, "there": types.ModuleType("ipywidgets"), "broken": Broken("ipywidgets")}
    monkeypatch.setitem(sys.modules, "ipywidgets", modules.get(state, types.ModuleType("ipywidgets")))
    if state == "broken":
        monkeypatch.setitem(sys.modules, "tqdm.auto", Broken("tqdm.auto"))
    if state == "without a front end":
        import tqdm.auto

        monkeypatch.setattr(tqdm.auto, "tqdm", refuse)
    shown = bars_in(monkeypatch, total)
    assert "tags" in shown and "9 rows" in shown and "check" in shown and "queries" in shown


# -- names that are nearly right -------------------------------------------------------------

NEARLY: dict[str, Callable[[Index], object]] = {
    "query": lambda index: index.query("prce > 1"),
    "sort": lambda index: index.query(sort="-prce"),
    "json": lambda index: index.count({"prce": 1}),
    "within": lambda index: index.count("prce within '7d'"),
    "ids": lambda index: index.ids("prce > 1"),
    "explain": lambda index: index.explain("prce > 1"),
    "why": lambda index: index.why(1, "prce > 1"),
    "relax": lambda index: index.relax("prce > 1"),
    "f": lambda index: index.f.prce,
    "get": lambda index: index.get(1, ["prce"]),
    "get_many": lambda index: index.get_many([1]).to_pandas(["prce"]),
    "documents": lambda index: index.query().documents(["prce"]),
    "to_arrow": lambda index: index.query().to_arrow(["prce"]),
    "to_pandas": lambda index: index.to_pandas(["prce"]),
    "labels": lambda index: index.labels("prce"),
    "put": lambda index: index.put({"id": 9, "prce": 1}),
    "put_many": lambda index: index.put_many([{"id": 9, "prce": 1}]),
    "patch": lambda index: index.patch(1, {"prce": 1}),
    "upsert": lambda index: index.upsert({"id": 9, "prce": 1}),
    "append": lambda index: index.append(1, "prce", [1]),
    "remove": lambda index: index.remove(1, "prce", [1]),
    "delete": lambda index: index.delete(where="prce > 1"),
    "drop_field": lambda index: index.drop_field("prce"),
    "rebuild": lambda index: index.rebuild(["prce"]),
    "set_default": lambda index: index.set_default("prce", 1),
    "cards": lambda index: index.query().cards({"card": {"image": {"field": "prce"}}}),
    "dump": lambda index: index.dump(
        {"name": "rows", "slot_field": "id", "sets_alive": True, "fields": ["prce"]},
        {"rows": pd.DataFrame({"id": [1], "prce": [1]})},
    ),
}


@pytest.mark.parametrize("entry", NEARLY)
def test_a_field_that_is_misspelt_is_suggested_everywhere(shop: Index, entry: str) -> None:
    before = shop.to_pandas()
    with pytest.raises(InvalidError, match=r"'prce'.*use 'price'"):
        NEARLY[entry](shop)
    assert shop.to_pandas().equals(before)


# -- Ctrl-C ------------------------------------------------------------------------------------

PATIENCE = 2.0  # seconds; it is some milliseconds, but for a machine that does other things
LOOKS: dict[str, Callable[[Index], object]] = {
    "memory": lambda index: index.memory("value"),
    "info": lambda index: index.info(),
    "containers": lambda index: [index.containers("tagIds", one).to_pandas() for one in range(100)],
    "check_against": lambda index: index.check_against(index.to_pandas(), queries=2000),
    "explain": lambda index: index.explain("tagIds >= 1 and not tagIds between 5 and 9000"),
    "relax": lambda index: index.relax("tagIds >= 1 and not tagIds between 5 and 9000"),
    "stats": lambda index: [silo.records_frame() for silo in (index.documents.silo, index.bitmaps.silo)],
    "panel": lambda index: index._repr_html_(),
}


def interrupted_after(delay: float, work: Callable[[], object]) -> float | None:
    """Run work again and again until Ctrl-C comes; return the seconds from it to the end of the work."""
    sent: list[float] = []

    def send() -> None:
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    timer, last = threading.Timer(delay, send), time.perf_counter() + delay + 10
    try:
        timer.start()
        while time.perf_counter() < last:
            work()
    except KeyboardInterrupt:
        return time.perf_counter() - sent[0]
    finally:
        timer.join()
    return None


@pytest.mark.parametrize("look", LOOKS)
def test_an_interrupt_leaves_everything_usable(images: Index, look: str) -> None:
    LOOKS[look](images)  # compiles
    expected = images.count("nsfwLevel == 1"), images.query(sort="-reactionCount").ids.tolist()
    for delay in (0.02, 0.07):
        waited = interrupted_after(delay, lambda: LOOKS[look](images))
        assert waited is not None and waited < PATIENCE
        found = images.count("nsfwLevel == 1", cache=False), images.query(sort="-reactionCount", cache=False)
        assert (found[0], found[1].ids.tolist()) == expected


def test_an_interrupted_look_at_a_writer_blocks_no_write(site: Path, tmp_path: Path) -> None:
    with bitdex.create(tmp_path / "index", {**_schema(site)}, sync="none") as index:
        index.dump(sample_phases(), site.parent / "tables", only=["images"], now=NOW)
        index.memory()
        assert interrupted_after(0.03, lambda: index.memory()) is not None
        slot = int(index.ids()[0])
        index.patch(slot, {"width": 5})
        assert index.get(slot)["width"] == 5
        index.compact()
        assert index.check().empty


def _schema(site: Path) -> dict:
    with bitdex.open(site, "r") as index:
        return index.schema.to_mapping()
