"""Every byte of every file has a place in `memory`, and every field a row in `info`."""

from pathlib import Path

import numpy as np
import pytest

import bitdex
from bitdex.errors import ClosedError, InvalidError
from bitdex.formats import frame as frame_format
from bitdex.formats.document import encode_document
from bitdex.index import Index

EVERY = ("field", "value", "container", "file")


def size_of(directory: Path) -> dict[str, int]:
    files = [path for path in directory.rglob("*") if path.is_file()]
    return {str(path.relative_to(directory)): path.stat().st_size for path in files}


@pytest.mark.parametrize("by", EVERY)
def test_bytes_sum_to_the_files(images: Index, by: str) -> None:
    frame, sizes = images.memory(by), size_of(images.path)
    assert frame.groupby("file")["bytes"].sum().to_dict() == {name: n for name, n in sizes.items() if n}
    assert (frame["bytes"] > 0).all() and frame["bytes"].is_monotonic_decreasing


def test_bytes_sum_to_the_files_after_changes_and_compaction(shop: Index) -> None:
    for _ in range(3):
        shop.patch(1, {"price": 11, "tags": list(range(5000))})
        shop.delete(2, missing_ok=True)
        for by in EVERY:
            assert shop.memory(by)["bytes"].sum() == sum(size_of(shop.path).values())
        shop.compact()
        assert (shop.memory()["bytes"] > 0).all()  # nothing is counted twice
        assert shop.memory()["bytes"].sum() == sum(size_of(shop.path).values())


def test_headroom_and_dead_space_are_those_of_the_silos(shop: Index) -> None:
    for price in range(40):
        shop.patch(1, {"price": price, "note": "n" * 50 * price})
        shop.compact()
    found = shop.memory().set_index(["file", "part"])["bytes"]
    for name, stats in shop.stats()["silos"].items():
        for part in ("headroom", "dead"):
            assert found.get((f"{name}/data.bin", part), 0) == stats[f"{part}_bytes"]
        between = ["headroom", "dead", "headers", "uncommitted"]
        rows = found.loc[f"{name}/data.bin"].drop(between, errors="ignore")
        assert (
            rows.drop(["headroom", "dead", "headers", "uncommitted"], errors="ignore").sum()
            == stats["live_bytes"]
        )


def test_containers_are_those_of_the_bitmaps(images: Index) -> None:
    frame = images.memory("value")
    values = frame[(frame["part"] == "values") & (frame["field"] == "nsfwLevel")].set_index("value")
    bitmaps = images.bitmaps
    number = images.snapshot.registry.number("nsfwLevel")
    assert sorted(values.index) == images.snapshot.values("nsfwLevel").tolist()
    for value, row in values.iterrows():
        (bitmap,) = bitmaps.get_values(number, [value])
        told = bitmap.get_statistics()
        assert (row["arrays"], row["bitsets"], row["runs"]) == tuple(
            told[f"n_{kind}_containers"] for kind in ("array", "bitset", "run")
        )
        assert row["bytes"] == frame_format.SIZE + len(bitmap.serialize())


def test_values_are_shown_as_people_know_them(shop: Index) -> None:
    shop.compact()
    frame = shop.memory("value")
    shown = {
        field: set(rows["value"])
        for field, rows in frame[frame["part"] == "values"].groupby("field", sort=False)
    }
    assert shown["kind"] == {"Shoe", "Hat"} and shown["sold"] == {True, False}
    assert shown["owner"] == {5, -(2**60)} and shown["tags"] == {0, 7, 9}
    assert set(frame.loc[frame["part"] == "layers", "field"]) == {"price", "score", "moved"}


def test_documents_are_measured_by_field(shop: Index) -> None:
    shop.compact()
    rows = shop.memory().query("part == 'documents'").set_index("field")
    note = encode_document({1: "a hat"})
    assert (rows.loc["note", "count"], rows.loc["note", "bytes"]) == (1, len(note))
    assert rows.loc["sold", "bytes"] == 3 * rows.loc["sold", "count"]


def test_containers_have_rows_of_their_own(images: Index) -> None:
    frame, values = images.memory("container"), images.memory("value")
    counts = frame.groupby("container")["count"].sum()
    assert {kind: counts.get(kind, 0) for kind in ("array", "bitset", "run")} == {
        kind: values[f"{kind}s"].sum() for kind in ("array", "bitset", "run")
    }


def test_an_empty_index_has_rows_too(indexes) -> None:
    index = indexes.create({"name": "empty", "config": {"sort_fields": [{"name": "price"}]}})
    for by in EVERY:
        assert index.memory(by)["bytes"].sum() == sum(size_of(index.path).values())
    assert index.info()[["field", "documents", "missing"]].to_numpy().tolist() == [["price", 0, 0]]


def test_other_groups_are_refused(images: Index) -> None:
    with pytest.raises(InvalidError, match="by: 'fields' is unknown; use 'field' or 'file'"):
        images.memory("fields")


def test_a_closed_index_has_none(site: Path) -> None:
    index = bitdex.open(site, "r")
    index.close()
    with pytest.raises(ClosedError):
        index.memory()


def test_fields_have_rows(shop: Index) -> None:
    info = shop.info().set_index("field")
    assert list(info.index) == list(shop.schema.fields)
    assert info.loc["price", ["sort", "documents", "missing"]].tolist() == ["uint32, 32 bits", 3, 1]
    assert info.loc["size", ["default", "values", "documents"]].tolist() == [3, 3, 4]
    assert info.loc["note", ["documents", "missing", "values"]].isna().all()
    for name in ("kind", "owner", "score"):
        assert info.loc[name, "documents"] == shop.count(f"{name} is not null")
        assert info.loc[name, "missing"] == shop.count(f"{name} is null")
    assert info.loc["tags", "values"] == len(np.unique([7, 9, 0]))
