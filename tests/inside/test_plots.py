"""Plots show what the frames say, drawn by matplotlib itself, without a screen."""

import warnings

import matplotlib
import pytest
from matplotlib import pyplot
from matplotlib.axes import Axes

from bitdex.errors import ClosedError, InvalidError, MissingError
from bitdex.index import Index
from bitdex.query.clauses import Eq
from tests.inside.test_html import EVIL


@pytest.fixture(autouse=True)
def without_a_screen():
    before = matplotlib.get_backend()
    matplotlib.use("Agg")
    yield
    pyplot.close("all")
    matplotlib.use(before)


def drawn(ax: Axes) -> Axes:
    """Return axes when everything on them was rendered."""
    ax.figure.canvas.draw()
    return ax


def widths(ax: Axes) -> dict[str, list[float]]:
    return {one.get_label(): [bar.get_width() for bar in one] for one in ax.containers}


def lines(ax: Axes) -> dict[str, tuple[list, list]]:
    return {one.get_label(): (one.get_xdata().tolist(), one.get_ydata().tolist()) for one in ax.lines}


def labels(ax: Axes) -> list[str]:
    return [one.get_text() for one in ax.get_yticklabels()]


def test_space_is_that_of_the_data_files(shop: Index) -> None:
    shop.compact()
    stats = shop.stats()["silos"]
    ax = drawn(shop.plot("space"))
    for part in ("live", "headroom", "dead"):
        assert widths(ax)[part] == pytest.approx(
            [stats[silo][f"{part}_bytes"] / 1e6 for silo in ("documents", "bitmaps")]
        )
    for one, other in zip(ax.containers, ax.containers[1:]):  # each begins where the one before ends
        assert [bar.get_x() + bar.get_width() for bar in one] == pytest.approx([bar.get_x() for bar in other])
    assert labels(ax) == ["documents", "bitmaps"] and ax.yaxis_inverted() and ax.get_xlim()[0] == 0
    assert [one.get_text() for one in ax.get_legend().get_texts()] == ["live", "headroom", "dead"]


def test_containers_are_those_of_the_memory(images: Index) -> None:
    ax = drawn(images.plot("containers"))
    kinds = {kind: sum(each) for kind, each in widths(ax).items()}
    frame = images.memory("container").groupby("container")["bytes"].sum() / 1e6
    assert set(kinds) == {"array", "bitset", "run"}
    assert "tagIds values" in labels(ax) and len(labels(ax)) <= 20
    assert sum(kinds.values()) == pytest.approx(sum(frame.get(kind, 0) for kind in kinds), rel=0.2)


def test_lines_are_those_of_the_frames(shop: Index) -> None:
    shop.compact()
    shop.patch(1, {"price": 3})
    found = lines(drawn(shop.plot("log")))
    for name, silo in (("documents", shop.documents.silo), ("bitmaps", shop.bitmaps.silo)):
        assert found[name][1][-1] == pytest.approx(silo.ops_frame()["length"].sum() / 1e6)
    found = lines(drawn(shop.plot("probes")))
    assert sum(found["bitmaps"][1]) == len(shop.bitmaps.silo.index_frame())
    found = lines(drawn(shop.plot("headroom")))
    assert all(0 <= room < 1 for room in found["documents"][0]) and found["documents"][1][-1] == 1


def test_a_plan_is_drawn(shop: Index) -> None:
    _, ax = pyplot.subplots()
    assert drawn(shop.explain("size == 40 and price > 5").plot(ax=ax)) is ax
    assert [bar.get_width() for bar in ax.patches] == [2, 2]
    assert labels(ax) == ["start size == 40", "range price >= 6"]
    notes = [one.get_text() for one in ax.texts]
    assert len(notes) == 2 and all(one.startswith("2 left, ") for one in notes)
    right = max(one.get_window_extent().x1 for one in ax.texts)
    assert right <= ax.get_window_extent().x1  # notes stay inside


def test_a_plan_without_results_is_drawn(shop: Index) -> None:
    ax = drawn(shop.explain("size == 40 and size == 41").plot())
    assert [bar.get_width() for bar in ax.patches][-1] == 0 and ax.get_xlim()[0] == 0
    ax = drawn(shop.explain("size == 77").plot())
    assert ax.get_xlim()[0] == 0 and ax.get_xlim()[1] >= 1


@pytest.mark.parametrize("value", [*EVIL.values(), "$x^2$ and $\\frac"])
def test_hostile_texts_are_drawn(shop: Index, value: str) -> None:
    if value == EVIL["surrogate"]:
        value = value.encode("utf-8", "replace").decode()
    shop.put({"id": 9, "kind": value})
    plan = shop.explain(Eq("kind", value))
    plan["clause"] = [f"kind == {value}"]
    ax = plan.plot()
    assert all(len(one) < 80 and "\n" not in one for one in labels(ax))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # there are no glyphs for some of them
        drawn(ax)


@pytest.mark.parametrize("what", ["space", "containers", "probes", "headroom", "log"])
def test_there_is_something_to_draw_of_nothing(indexes, what: str) -> None:
    index = indexes.create({"name": "empty", "config": {"sort_fields": [{"name": "price"}]}})
    ax = drawn(index.plot(what))
    assert what != "containers" or (ax.get_legend() is None and ax.get_xlim() == (0, 1))


def test_a_silo_draws_itself(silo) -> None:
    silo.put(1, b"x")
    for what in ("space", "probes", "headroom", "log"):
        drawn(silo.plot(what))
    with pytest.raises(InvalidError, match="what: 'containers' is unknown; use"):
        silo.plot("containers")
    silo.close()
    with pytest.raises(ClosedError):
        silo.plot()


def test_other_plots_are_refused(shop: Index) -> None:
    with pytest.raises(InvalidError, match="what: 'spaces' is unknown; use 'space'"):
        shop.plot("spaces")


def test_without_matplotlib_an_error_helps(shop: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(MissingError, match=r"pip install 'bitdex\[plots\]'") as found:
        shop.explain("size == 40").plot()
    assert isinstance(found.value, ImportError)
