"""Containers: arrays that lie in the files, hold what pyroaring and queries say, and stay as they are."""

import gc
import random

import numba
import numpy as np
import pandas as pd
import pytest
from pyroaring import BitMap

import bitdex
from bitdex.errors import ClosedError, InvalidError
from bitdex.formats import bitmap as format_
from bitdex.index import Index
from bitdex.inside.containers import Container, Containers
from bitdex.query.order import bitmap_of
from tests.analysis.shop import LISTS, TAKEN, VALUES, make
from tests.inside.test_html import harmless

SHAPES = {
    "array": [1, 5, 65_535],
    "bitset": range(0, 65_536, 3),
    "run": range(9, 40_000),
    "all": [*range(4000), *range(65_536, 131_072, 2), *range(200_000, 265_000), 4_000_000_000],
    "full": range(65_536),
}


def of(payload: bytes) -> Containers:
    return Containers("x", np.frombuffer(payload, np.uint8), False, 1)


@numba.njit
def total(kind: int, values: np.ndarray) -> int:
    """Sum low halves, as a user might: from arrays, words and runs."""
    found = 0
    if kind == 0:
        for low in values:
            found += low
    else:
        for i in range(len(values)):
            for j in range(64):
                if values[i] >> np.uint64(j) & np.uint64(1):
                    found += 64 * i + j
    return found


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("shift", range(4))
def test_containers_are_those_of_croaring(name: str, shift: int) -> None:
    bitmap = BitMap(SHAPES[name])
    payload = np.frombuffer(b"x" * shift + format_.encode(bitmap), np.uint8)[shift:]
    found = Containers(name, payload, True, 1)
    assert np.concatenate([one.ids for one in found]).tolist() == list(bitmap) == list(found.bitmap)
    assert found.cardinality == len(bitmap) and [one.cardinality for one in found] == [
        len(one.ids) for one in found
    ]
    told = BitMap.deserialize(format_.encode(bitmap)).get_statistics()
    kinds = [one.kind for one in found]
    assert [kinds.count(kind) for kind in ("array", "bitset", "run")] == [
        told[f"n_{kind}_containers"] for kind in ("array", "bitset", "run")
    ]
    for one in found:
        assert not one.values.flags.writeable and np.may_share_memory(one.values, payload)
        with pytest.raises(ValueError, match="read-only"):
            one.values[...] = 0
        if one.kind != "run":
            low = one.ids.astype(np.int64) - (one.key << 16)
            assert total(("array", "bitset").index(one.kind), one.values) == low.sum()
    assert found[-1].key == found[len(found) - 1].key == found[:][-1].key
    with pytest.raises(IndexError):
        found[len(found)]


def stored(index: Index, containers: Containers) -> list[int]:
    """Return what a query sees of containers: ids of visible documents."""
    return list(containers.bitmap & index.snapshot.alive)


@pytest.mark.parametrize("seed", range(4))
def test_they_hold_what_queries_find(tmp_path, seed: int) -> None:
    draw = random.Random(seed)
    with make(tmp_path / "index", draw, draw.sample(range(100_000), 300)) as index:
        for name, values in {**TAKEN, **dict.fromkeys(LISTS, VALUES)}.items():
            field = index.schema.field(name)
            if field.filter is None:
                slots, words = index.snapshot.bitmaps.layers(index.snapshot.registry.number(name))
                for bit in (0, 1, 5, 63):
                    lit = slots[words >> np.uint64(bit) & np.uint64(1) == 1]
                    assert index.containers(name, bit=bit).bitmap == bitmap_of(lit)
                continue
            for value in values:
                if value is None:
                    continue
                found = stored(index, index.containers(name, value))
                expected = [
                    one
                    for one in index.ids().tolist()
                    if _has(index.documents.source, index, one, name, value)
                ]
                assert found == expected, (name, value)
        assert index.containers().bitmap == BitMap(index.ids())


def _has(source, index: Index, id: int, name: str, value) -> bool:
    """Tell whether the stored document has a value, not by default."""
    held = index.documents._shown(id, source.get(id) or b"", None)
    if name in index.documents.defaults:
        from bitdex.formats.document import decode_document

        if index.documents.registry.number(name) not in decode_document(source.get(id) or b""):
            return False
    held = held.get(name)
    return value in held if isinstance(held, list) else held == value and type(held) is type(value)


def places(found: Containers, data: np.ndarray) -> list[int]:
    """Return where the values of containers begin in an array."""
    base = data.__array_interface__["data"][0]
    return [one.values.__array_interface__["data"][0] - base for one in found]


def test_nothing_is_copied(images: Index) -> None:
    data = images.bitmaps.silo.data
    for found in (
        images.containers("nsfwLevel", 1),
        images.containers("type", "image"),
        images.containers("reactionCount", bit=0),
        images.containers(),
    ):
        assert found.mapped and len(found)
        assert all(0 <= one < len(data) for one in places(found, data))
        assert not found.payload.flags.writeable and found.sequence == images.snapshot.sequence


NUMBERED = {
    "name": "numbered",
    "config": {"filter_fields": [{"name": "n", "field_type": "single_value"}]},
}


def numbered(indexes, ids: range) -> Index:
    """Return an index that was loaded: its bitmaps are whole."""
    index = indexes.create(NUMBERED)
    phase = {"name": "rows", "slot_field": "id", "sets_alive": True, "fields": ["n"]}
    index.dump([phase], {"rows": pd.DataFrame({"id": list(ids), "n": [one % 2 for one in ids]})})
    return index


def test_changes_are_folded_into_a_copy(indexes) -> None:
    index = numbered(indexes, range(9))
    before = index.containers("n", 1)
    assert before.mapped and list(before.bitmap) == [1, 3, 5, 7]
    index.put({"id": 9, "n": 1})
    index.delete(1)
    after = index.containers("n", 1)
    assert not after.mapped and list(after.bitmap) == [3, 5, 7, 9] and "folded copy" in repr(after)
    assert list(before.bitmap) == [1, 3, 5, 7] and before.sequence < after.sequence
    assert not after.payload.flags.writeable
    index.compact()
    assert list(index.containers("n", 1).bitmap) == list(after.bitmap) == [3, 5, 7, 9]
    index.put({"id": 70_000, "n": 8})
    assert list(index.containers("n", 8).bitmap) == [70_000]


def test_arrays_outlive_the_index(indexes) -> None:
    index = numbered(indexes, range(20_000))
    found = index.containers("n", 1)
    values, copy = found[0].values, found[0].values.copy()
    assert found.mapped and found[0].kind == "bitset"
    index.delete(list(range(1, 20_000, 2)))
    index.compact()
    index.put_many([{"id": one, "n": 7} for one in range(50_000)])
    index.compact()
    index.close()
    del found, index
    gc.collect()
    assert values.tolist() == copy.tolist()


def test_what_is_not_there(shop: Index) -> None:
    for found in (
        shop.containers("size", 77),
        shop.containers("kind", "boot"),
        shop.containers("price", bit=63),
    ):
        assert len(found) == 0 and found.cardinality == 0 and list(found) == [] and found.to_pandas().empty
        assert "0 ids in 0" in repr(found) and not found.bitmap


def test_what_they_look_like(images: Index) -> None:
    found = images.containers("nsfwLevel", 1)
    frame = found.to_pandas()
    assert frame.columns.tolist() == ["key", "kind", "cardinality", "start", "bytes"]
    assert frame["cardinality"].sum() == found.cardinality >= images.count("nsfwLevel == 1")
    assert repr(found).startswith(f"<Containers of nsfwLevel == 1: {found.cardinality:,} ids in")
    assert "mapped" in repr(found) and "cardinality" in repr(found)
    words = " ".join(harmless(found._repr_html_()).words)
    assert "Containers of nsfwLevel == 1" in words and "mapped" in words
    assert isinstance(found[0], Container) and found[0]._fields == ("key", "kind", "cardinality", "values")
    evil = images.containers("type", "<script>" * 1000)
    harmless(evil._repr_html_())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"field": "prce", "value": 1}, "use 'price'"),
        ({"field": "price", "value": 1}, "'price' is no filter field; give the bit"),
        ({"field": "size"}, "name a value of field 'size'"),
        ({"field": "size", "value": "x"}, "size takes a whole number"),
        ({"field": "size", "bit": 1}, "'size' is no sort field"),
        ({"field": "price", "bit": 64}, "bit 64 is no whole number from 0 to 63"),
        ({"field": "price", "bit": True}, "bit True"),
        ({"field": "price", "bit": 1, "value": 1}, "a value or a bit"),
        ({"value": 1}, "name it"),
    ],
)
def test_what_cannot_be_is_told(shop: Index, given: dict, said: str) -> None:
    with pytest.raises(InvalidError, match=said):
        shop.containers(**given)


def test_a_closed_index(shop: Index) -> None:
    shop.close()
    with pytest.raises(ClosedError):
        shop.containers()


def test_bytes_that_are_no_bitmap_are_told() -> None:
    with pytest.raises(bitdex.errors.CorruptError, match="the bitmap of x"):
        of(b"\x3a\x30\x00\x00\xff\x00\x00\x00" + bytes(20))
