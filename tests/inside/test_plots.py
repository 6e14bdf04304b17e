"""Plots draw what the frames say; matplotlib is stood in for by axes that take notes."""

import pytest

from bitdex.errors import ClosedError, InvalidError
from bitdex.index import Index
from tests.inside.test_why import Axes


def drawn(index: Index, what: str) -> list:
    axes = Axes()
    assert index.plot(what, ax=axes) is axes
    return axes.calls


def named(calls: list, name: str) -> list:
    return [(given, more) for one, given, more in calls if one == name]


def test_space_is_that_of_the_data_files(shop: Index) -> None:
    shop.compact()
    stats = shop.stats()["silos"]
    bars = named(drawn(shop, "space"), "barh")
    assert [more["label"] for _, more in bars] == ["live", "headroom", "dead"]
    for given, more in bars:
        assert given[1] == [stats[silo][f"{more['label']}_bytes"] / 1e6 for silo in ("documents", "bitmaps")]
    assert bars[1][1]["left"] == bars[0][0][1]


def test_containers_are_those_of_the_memory(images: Index) -> None:
    calls = drawn(images, "containers")
    kinds = {more["label"]: sum(given[1]) for given, more in named(calls, "barh")}
    frame = images.memory("container").groupby("container")["bytes"].sum() / 1e6
    assert set(kinds) == {"array", "bitset", "run"}
    ((labels, _),) = named(calls, "set_yticks")
    assert "tagIds values" in labels[1] and len(labels[1]) <= 20
    assert sum(kinds.values()) == pytest.approx(sum(frame.get(kind, 0) for kind in kinds), rel=0.2)


def test_lines_are_those_of_the_frames(shop: Index) -> None:
    shop.compact()
    shop.patch(1, {"price": 3})
    lines = {more["label"]: given for given, more in named(drawn(shop, "log"), "step")}
    for name, silo in (("documents", shop.documents.silo), ("bitmaps", shop.bitmaps.silo)):
        assert lines[name][1][-1] == pytest.approx(silo.ops_frame()["length"].sum() / 1e6)
    lines = {more["label"]: given for given, more in named(drawn(shop, "probes"), "step")}
    assert sum(lines["bitmaps"][1]) == len(shop.bitmaps.silo.index_frame())
    lines = {more["label"]: given for given, more in named(drawn(shop, "headroom"), "step")}
    assert all(0 <= room < 1 for room in lines["documents"][0]) and lines["documents"][1][-1] == 1


@pytest.mark.parametrize("what", ["space", "containers", "probes", "headroom", "log"])
def test_there_is_something_to_draw_of_nothing(indexes, what: str) -> None:
    drawn(indexes.create({"name": "empty", "config": {"sort_fields": [{"name": "price"}]}}), what)


def test_a_silo_draws_itself(silo) -> None:
    silo.put(1, b"x")
    for what in ("space", "probes", "headroom", "log"):
        silo.plot(what, ax=Axes())
    with pytest.raises(InvalidError, match="what: 'containers' is unknown; use"):
        silo.plot("containers", ax=Axes())
    silo.close()
    with pytest.raises(ClosedError):
        silo.plot(ax=Axes())


def test_other_plots_are_refused(shop: Index) -> None:
    with pytest.raises(InvalidError, match="what: 'spaces' is unknown; use 'space'"):
        shop.plot("spaces")
