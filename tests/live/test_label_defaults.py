"""A default that is a label means the same documents, whether a document was given it or not."""

import pytest

import bitdex
from bitdex import store_opened
from bitdex.errors import InvalidError

f = bitdex.field
SCHEMA = {
    "name": "images",
    "config": {
        "filter_fields": [
            {"name": "type", "field_type": "single_value"},
            {"name": "n", "field_type": "single_value"},
        ]
    },
    "data_schema": {
        "fields": [
            {
                "source": "type",
                "target": "type",
                "value_type": "low_cardinality_string",
                "default": "image",
            }
        ]
    },
}
ALL = list(range(10))


@pytest.fixture
def index(tmp_path):
    with bitdex.create(tmp_path / "index", SCHEMA, sync="none") as index:
        index.put_many([{"id": id, "n": id} for id in ALL])
        yield index


def refused(index, text):
    with pytest.raises(InvalidError):
        index.put_many([{"id": 100, "type": text}, {"id": 101, "n": "bad"}])


def rolled_back(index, text):
    with pytest.raises(ZeroDivisionError), index.batch():
        index.put({"id": 100, "type": text})
        assert index.ids(f.type == text).tolist() == (ALL if text == "image" else []), (
            "seen before its commit"
        )
        raise ZeroDivisionError


def given(index, text):
    index.put({"id": 100, "type": text})
    index.delete(100)


@pytest.mark.parametrize("asks", [True, False], ids=["asked between", "not asked"])
@pytest.mark.parametrize("happens", [refused, rolled_back, given])
def test_the_default_is_found_whatever_gave_it_its_number(index, happens, asks):
    selected, old = index["type == 'image'"], index.where()
    assert len(selected) == 10 and index.count("type != 'image'") == 0
    for step in (
        lambda: happens(index, "image"),
        lambda: index.patch(1, {"n": 77}),
        lambda: index.patch(2, {"type": "video"}),
        lambda: index.patch(2, {"type": None}),
        index.compact,
    ):
        step()
        if asks:
            assert (
                index.ids("type == 'image'").tolist()
                == index.ids(f.type == "IMAGE").tolist()
                == ALL[:2] + ([] if index.count("type == 'video'") else [2]) + ALL[3:]
            )
    assert index.count("type == 'image'") == 10 and index.count("type != 'image'") == 0
    assert index.query("type == 'image' and n != 3").total == 9
    assert len(old & selected) == len(old & "type == 'image'") == 10 and len(old & "type != 'image'") == 0
    assert index.delete(where="type != 'image'") == 0 and len(index) == 10


def test_a_default_that_comes_later_has_its_number_with_it(index):
    index.set_default("type", "audio")  # documents keep what counted so far
    rolled_back(index, "image")
    index.put({"id": 10})
    refused(index, "audio")
    assert index.ids("type == 'audio'").tolist() == [10] == index.ids("type != 'image'").tolist()
    index.add_field("kind", filter="single_value", value_type="low_cardinality_string", default="shop")
    with pytest.raises(InvalidError):
        index.put_many([{"id": 100, "kind": "shop"}, {"id": 101, "n": "bad"}])
    assert index.count("kind == 'shop'") == 11


def test_an_index_that_is_only_read_may_have_no_number_for_a_default(tmp_path, monkeypatch):
    with monkeypatch.context() as patched:  # as indexes were written before
        patched.setattr(store_opened, "number_defaults", lambda *_: None)
        with bitdex.create(tmp_path / "index", SCHEMA, sync="none") as index:
            index.put_many([{"id": id, "n": id} for id in ALL])
    with bitdex.open(tmp_path / "index", "r") as reader:
        assert reader.ids("type == 'image'").tolist() == ALL and reader.count("type != 'image'") == 0
        assert reader.ids("type == 'video'").tolist() == []
        with bitdex.open(tmp_path / "index") as index:
            refused(index, "image")
            assert index.ids("type == 'image'").tolist() == ALL
            index.put({"id": 10, "type": "image"})
        assert reader.count("type == 'image'") == 10
        reader.refresh()
        assert reader.count("type == 'image'") == 11
