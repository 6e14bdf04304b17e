"""Fields later: what can be added, dropped, rebuilt; what is refused; what queries see meanwhile."""

import threading

import numpy as np
import pandas as pd
import pytest
from pyroaring import BitMap

import bitdex
from bitdex.errors import CorruptError, InvalidError, LockedError
from bitdex.formats import bitmap as format_
from bitdex.formats.frame import DELETE, MERGE
from bitdex.live.renewal import Renewal
from bitdex.schema import Field, Sort
from bitdex.schema_versions import SchemaVersions
from bitdex.silo.writes import Writes
from tests.live.bits import differences

SCHEMA = {
    "name": "shop",
    "config": {
        "filter_fields": [
            {"name": "level", "field_type": "single_value"},
            {"name": "tags", "field_type": "multi_value"},
            {"name": "hot", "field_type": "single_value"},
        ],
        "sort_fields": [{"name": "price"}, {"name": "due"}],
        "deferred_alive": {"source_field": "due"},
    },
    "data_schema": {
        "fields": [
            {"source": "width", "target": "width", "value_type": "integer"},
            {"source": "note", "target": "note", "value_type": "string"},
            {"source": "hot", "target": "hot", "value_type": "integer", "filter_only": True},
            {"source": "level", "target": "level", "value_type": "integer", "default": 1},
        ]
    },
}
FAR = 1 << 31


@pytest.fixture
def index(tmp_path):
    with bitdex.create(tmp_path / "index", SCHEMA) as index:
        index.put_many(
            [
                {"id": 1, "width": 40, "note": "red", "price": 10, "tags": [1, 2], "hot": 5},
                {"id": 2, "width": -7, "note": "Blue", "price": 30, "level": 4},
                {"id": 3, "note": "red", "tags": [2**40]},
                {"id": 4, "width": 41, "note": "blue", "due": FAR},
            ]
        )
        index.compact()
        index.patch(1, {"width": 44})
        yield index
        assert differences(index) == []
        assert set(index.check()["severity"]) <= {"note"}


def flip(path, offset):
    """Damage one byte of a file."""
    content = bytearray(path.read_bytes())
    content[offset] ^= 0xFF
    path.write_bytes(content)


def committed(index):
    return index.stats()["sequence"], index.schema, [one.version for one in index.schema_versions]


# -- adding ----------------------------------------------------------------------------------


def test_a_field_that_documents_hold_is_indexed(index):
    index.add_field("width", filter="single_value")
    assert index.ids("width == 44").tolist() == [1] and index.count("width == 40") == 0
    index.add_field("width", sort="int64")
    assert index.query(sort="-width").ids.tolist() == [1, 2, 3]
    assert index.ids("width < 0").tolist() == [2] and index.ids("width is null").tolist() == [3]
    index.patch(3, {"width": 50})
    index.put({"id": 9, "width": 44})
    assert index.ids("width == 44").tolist() == [1, 9] and index.query(sort="width").ids[-1] == 3


def test_documents_that_wait_get_their_bits_too(index, monkeypatch):
    index.add_field("width", filter="single_value", sort="int64")
    assert index.count("width == 41") == 0
    monkeypatch.setattr("time.time", lambda: FAR + 1.0)
    assert index.ids("width == 41").tolist() == [4] and index.query(sort="-width").ids.tolist() == [
        1,
        4,
        2,
        3,
    ]


def test_a_new_field_with_a_default(index):
    index.add_field("stars", filter="single_value", sort=True, default=3)
    assert index.get(1)["stars"] == 3 and index.ids("stars == 3").tolist() == [1, 2, 3]
    index.patch(2, {"stars": 5})
    assert index.query(sort="-stars").ids.tolist() == [2, 3, 1]
    index.add_field(Field("open", "boolean", "boolean"))
    index.patch(1, {"open": True})
    assert index.ids("open == true").tolist() == [1] and index.ids("open is null").tolist() == [2, 3]


def test_texts_become_labels(index):
    index.add_field("note", value_type="low_cardinality_string", filter="single_value")
    assert index.ids("note == 'red'").tolist() == [1, 3] and index.ids("note == 'BLUE'").tolist() == [2]
    assert [one["note"] for one in index.get_many([1, 2, 3])] == ["red", "Blue", "red"]
    index.put({"id": 5, "note": "green"})
    assert index.labels("note") == {1: "red", 2: "Blue", 3: "green"}
    with bitdex.open(index.path, "r") as reader:
        assert reader.ids("note in ['red', 'green']").tolist() == [1, 3, 5]


def test_texts_become_numbers_of_a_map(index):
    sequence, numbers = index.stats()["sequence"], {"red": 1, "blue": 7}
    with pytest.raises(InvalidError, match="id 2: field 'note': 'Blue' is no text of its string_map"):
        index.add_field("note", value_type="mapped_string", string_map={"red": 1})
    assert index.stats()["sequence"] == sequence and index.get(2)["note"] == "Blue"
    index.add_field("note", value_type="mapped_string", string_map=numbers)
    with pytest.raises(InvalidError, match="field 'note': documents hold the numbers of its texts"):
        index.add_field("note", filter="single_value", string_map={"red": 7, "blue": 1})
    index.add_field("note", filter="single_value")
    assert index.ids("note == 'blue'").tolist() == [2] and index.get(2)["note"] == "blue"


def test_a_computed_field(index):
    computed = {"op": "greatest", "source_fields": ["price", "width"]}
    index.add_field("best", sort={"source_type": "int64", "computed": computed})
    assert [one.get("best") for one in index.get_many([1, 2, 3])] == [44, 30, None]
    assert index.query(sort="best").ids.tolist() == [2, 1, 3]
    index.patch(3, {"price": 99})
    assert index.query(sort="-best").ids.tolist() == [3, 1, 2]


def test_a_field_that_tells_whether_another_is_there(index):
    index.add_field("wide", filter="boolean", value_type="exists_boolean", source="width")
    assert index.ids("wide == true").tolist() == [1, 2] and index.ids("wide == false").tolist() == [3]
    index.patch(1, {"width": None})
    assert index.get(3)["wide"] is False and index.ids("wide == false").tolist() == [1, 3]


def test_a_field_of_phases_outside_the_schema_is_declared(index):
    phase = {"name": "more", "slot_field": "id", "extra_fields": True, "fields": ["extra", "odd"]}
    index.dump(phase, source={"more": pd.DataFrame({"id": [1, 2], "extra": [7, 8], "odd": ["a", "b"]})})
    index.add_field("extra", filter="single_value")
    assert index.ids("extra == 8").tolist() == [2]
    with pytest.raises(
        InvalidError, match="id 1: field 'odd': 'a' is no integer; declare another value_type"
    ):
        index.add_field("odd", sort=True)
    index.add_field("odd", filter="single_value", value_type="low_cardinality_string")
    assert index.ids("odd == 'b'").tolist() == [2]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"field": "level", "filter": "single_value"}, "field 'level' has a filter already"),
        ({"field": "price", "sort": True}, "field 'price' has a sort already"),
        ({"field": "width"}, "there is a field 'width' already; give a filter or a sort"),
        ({"field": "width", "sort": True}, "id 2: field 'width': -7 is no number from 0 to 4294967295"),
        ({"field": "width", "filter": "singel"}, "filter: field_type is 'singel'; use 'boolean' or"),
        ({"field": "width", "filter": "multi_value"}, "'multi_value' cannot filter value_type 'integer'"),
        ({"field": "width", "filter": "single_value", "value_type": "boolean"}, "is integer and cannot"),
        ({"field": "level", "sort": True, "default": 2}, "field 'level': set_default changes its default"),
        ({"field": "note", "filter": "single_value"}, "cannot filter value_type 'string'"),
        ({"field": "note", "sort": True}, "'string' cannot be sorted: text has no bit layers"),
        ({"field": "hot", "sort": True}, "field 'hot' is filter_only: documents do not hold"),
        ({"field": "width", "filter": "single_value", "default": 1}, "set_default changes its default"),
        ({"field": "new", "colour": 1}, "field 'new': unknown key 'colour'"),
        ({"field": "new", "target": "x"}, "field 'new': unknown key 'target'"),
        ({"field": "new", "sort": 3}, "field 'new': a sort is 3; give a text or a mapping"),
        ({"field": ""}, "field name '' is empty"),
        ({"field": "id", "sort": True}, "field 'id': that is the number of the document"),
        ({"field": Field("new"), "sort": True}, "a Field says everything itself"),
        (
            {"field": "new", "sort": {"computed": {"op": "least", "source_fields": ["pricee"]}}},
            "names 'pricee', which no field is called; use 'price'",
        ),
        (
            {"field": "new", "sort": {"computed": {"op": "least", "source_fields": ["hot"]}}},
            "is computed from 'hot', which is filter_only",
        ),
        (
            {"field": "new", "sort": {"bits": 4, "computed": {"op": "least", "source_fields": ["price"]}}},
            "field 'new': 30 is computed for id 2, outside 0 to 15; declare it with the source_type",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_added_changes_nothing(index, arguments, error):
    before = committed(index)
    with pytest.raises(InvalidError, match=error):
        index.add_field(**arguments)
    assert committed(index) == before
    index.put({"id": 1, "width": 3})
    assert index.get(1)["width"] == 3


# -- dropping --------------------------------------------------------------------------------


def test_a_dropped_field_is_gone_and_its_name_free(index):
    number = index._store.registry.number("level")
    index.drop_field("level")
    assert index.get(2) == {"id": 2, "width": -7, "note": "Blue", "price": 30}
    assert "level" not in index.to_pandas().columns
    for call in (lambda: index.count("level == 4"), lambda: index.put({"id": 2, "level": 1})):
        with pytest.raises(InvalidError, match="unknown field 'level'"):
            call()
    index.add_field("level", sort=True)
    assert index.count("level is null") == 3 and index._store.registry.number("level") > number
    index.patch(2, {"level": 9})
    assert index.query(sort="-level").ids.tolist() == [2, 3, 1]
    with bitdex.open(index.path, "r") as reader:
        assert reader.get(2)["level"] == 9 and reader.ids("level == 9").tolist() == [2]
    keys = [format_.describe(key) for key in index.bitmaps.silo.keys().tolist()]
    assert number not in {parts.field_id for parts in keys}


def test_fields_that_are_not_indexed_or_not_stored_are_dropped(index):
    index.drop_field("note")
    index.drop_field("hot")
    assert index.get(1) == {"id": 1, "width": 44, "price": 10, "tags": [1, 2], "level": 1}
    index.compact()
    assert b"Blue" not in index.documents.silo.get(2)
    with pytest.raises(InvalidError, match="unknown field 'hot'"):
        index.drop_field("hot")


def test_a_field_that_was_never_used_is_dropped(tmp_path):
    with bitdex.create(tmp_path / "index", SCHEMA) as index:
        index.drop_field("level")
        index.drop_field("tags")
        assert not index.schema.has("level") and len(index) == 0
        index.put({"id": 1, "width": 1})


def test_what_rests_on_a_field_is_named(tmp_path):
    content = {
        "name": "x",
        "config": {
            "filter_fields": [{"name": "dated", "field_type": "boolean"}],
            "sort_fields": [
                {"name": "a"},
                {"name": "b", "computed": {"op": "least", "source_fields": ["a"]}},
                {"name": "due"},
                {"name": "at"},
            ],
            "deferred_alive": {"source_field": "due"},
            "time_buckets": {
                "filter_field": "atUnix",
                "sort_field": "at",
                "range_buckets": [{"name": "day", "duration_secs": 86400, "refresh_interval_secs": 60}],
            },
        },
        "data_schema": {
            "fields": [
                {"source": "url", "target": "url", "value_type": "string"},
                {"source": "url", "target": "dated", "value_type": "exists_boolean"},
            ]
        },
    }
    reasons = {
        "a": "'b' is computed from it",
        "due": "it tells when documents appear",
        "at": "the time buckets 'atUnix' rest on it",
        "url": "'dated' tells whether it has a value",
    }
    with bitdex.create(tmp_path / "index", content) as index:
        for name, reason in reasons.items():
            with pytest.raises(InvalidError, match=f"field '{name}' cannot be dropped: {reason}"):
                index.drop_field(name)
        with pytest.raises(InvalidError, match="field 'atUnix': that is the second name of 'at'"):
            index.add_field("atUnix", sort=True)
        index.drop_field("b")
        index.drop_field("a")
        with pytest.raises(InvalidError, match="its default cannot change"):
            index.set_default("due", 7)


# -- defaults --------------------------------------------------------------------------------


def test_documents_keep_the_default_they_were_written_under(index):
    index.set_default("level", 2)
    index.put({"id": 5})
    assert [index.get(id)["level"] for id in (1, 2, 3, 5)] == [1, 4, 1, 2]
    assert index.ids("level == 1").tolist() == [1, 3] and index.ids("level == 2").tolist() == [5]
    index.set_default("level", None)
    index.put({"id": 6})
    assert "level" not in index.get(6) and index.get(5)["level"] == 2
    assert index.ids("level is null").tolist() == [6]
    index.set_default("level", 8)
    assert index.ids("level == 8").tolist() == [6], "there was none before: the new one counts for it"


def test_defaults_of_every_kind(index):
    index.add_field("mode", value_type="low_cardinality_string", filter="single_value", default="a")
    index.add_field(
        "size", value_type="mapped_string", filter="single_value", string_map={"S": 1, "L": 2}, default="S"
    )
    index.add_field("sets", filter="multi_value", default=[1, -2])
    index.add_field("rate", sort="float64", default=0.5)
    index.add_field("open", filter="boolean", default=True)
    index.add_field("memo", value_type="string", default="none")
    index.add_field("cold", filter="single_value", filter_only=True, default=6)
    index.add_field("heat", sort=True, filter_only=True, default=60)
    before = index.get(1)
    after = {"mode": "b", "size": "L", "sets": [3], "rate": 2.0, "open": False}
    for name, value in {**after, "memo": None, "cold": 7, "heat": 3}.items():
        index.set_default(name, value)
    assert index.get(1) == before
    index.put({"id": 5})
    assert {name: index.get(5)[name] for name in after} == after
    assert index.ids("mode == 'a'").tolist() == index.ids("size == 'S'").tolist() == [1, 2, 3]
    assert index.ids("sets has -2").tolist() == index.ids("rate == 0.5").tolist() == [1, 2, 3]
    assert index.ids("cold == 6").tolist() == index.ids("heat == 60").tolist() == [1, 2, 3]
    assert index.ids("cold == 7").tolist() == index.query(sort="heat", limit=1).ids.tolist() == [5]


def test_what_is_computed_follows_the_defaults_of_its_sources(index):
    index.add_field("best", sort={"computed": {"op": "greatest", "source_fields": ["price", "level"]}})
    index.set_default("price", 20)
    assert [index.get(id)["best"] for id in (1, 2, 3)] == [10, 30, 20]
    index.set_default("price", 2)
    index.put({"id": 5, "level": 1})
    assert [index.get(id)["best"] for id in (1, 2, 3, 5)] == [10, 30, 20, 2]
    with pytest.raises(InvalidError, match="its default follows from those of 'price', 'level'"):
        index.set_default("best", 1)


def test_a_default_that_does_not_fit_changes_nothing(index):
    before = committed(index)
    for value, error in (("x", "default is 'x'; integer takes"), (2**63, "default is")):
        with pytest.raises(InvalidError, match=error):
            index.set_default("level", value)
    with pytest.raises(InvalidError, match="unknown field 'levle'"):
        index.set_default("levle", 1)
    index.set_default("level", 1)
    assert committed(index) == before, "it is the default already"


# -- rebuilding ------------------------------------------------------------------------------


def test_damaged_bitmaps_are_rebuilt_from_documents(index):
    store = index._store
    index.compact()
    silo, number = index.bitmaps.silo, store.registry.number("price")
    keys = [
        format_.filter_key(store.registry.number("tags"), 2),
        format_.layer_key(number, 1),
        format_.present_key(number),
    ]
    for offset in silo.find_many(np.array(keys, np.uint64))[0].tolist():
        flip(index.path / "bitmaps" / "data.bin", offset + 30)
    path = index.path
    index.close()
    index.__init__(path)
    with pytest.raises(CorruptError):
        index.query(sort="price")
    index.rebuild(["tags", "price"])
    assert index.query(sort="-price").ids.tolist() == [2, 1, 3] and index.ids("tags has 2").tolist() == [1]
    assert index.schema.version == 1, "the schema is the same"


def test_bits_that_follow_from_no_document_are_taken_away(index):
    silo, number = index.bitmaps.silo, index._store.registry.number("level")
    sequence = index.stats()["sequence"]
    writes = Writes()
    stray = format_.encode_ops([(format_.SET, BitMap([1, 2, 3]))])
    for key in (format_.filter_key(number, 77), format_.filter_key(number, 4), format_.present_key(number)):
        writes.add(MERGE, key, stray)
    index._store.write(Writes(), writes)
    assert len(differences(index)) == 3 and index.stats()["sequence"] == sequence + 1
    index.rebuild()
    assert differences(index) == [] and silo is index.bitmaps.silo
    assert index.ids("hot == 5").tolist() == [1], "of what documents do not hold nothing is taken away"


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        (["hot"], "'hot' is filter_only: documents do not hold it; load its phase again"),
        (["note"], "'note' has no bitmaps"),
        (["levle"], "unknown field 'levle'"),
        ("level", "expected a list of names"),
    ],
)
def test_what_cannot_be_rebuilt(index, fields, error):
    before = committed(index)
    with pytest.raises(InvalidError, match=error):
        index.rebuild(fields)
    assert committed(index) == before


# -- versions, readers, pages, threads -------------------------------------------------------


def test_versions_are_kept(index):
    index.add_field("width", filter="single_value")
    index.set_default("level", 2)
    index.drop_field("width")
    changes = ["created", "add_field 'width'", "set_default 'level'", "drop_field 'width'"]
    with bitdex.open(index.path, "r") as reader:
        for one in (index, reader):
            assert [version.change for version in one.schema_versions] == changes
            assert [version.version for version in one.schema_versions] == [1, 2, 3, 4]
            assert one.schema_versions[1].schema.field("width").filter == "single_value"
            assert one.schema == one.schema_versions[-1].schema and not one.schema.has("width")


def test_a_version_may_exceed_a_byte(tmp_path):
    content = {"name": "x", "data_schema": {"schema_version": 255}}
    with bitdex.create(tmp_path / "index", content) as index:
        index.add_field("a", sort=True)
        assert index.schema.version == 256


def test_readers_keep_the_schema_of_what_they_show(index):
    with bitdex.open(index.path, "r") as reader:
        index.add_field("width", filter="single_value")
        index.drop_field("level")
        with pytest.raises(InvalidError, match="width is stored but not indexed"):
            reader.count("width == 44")
        assert reader.get(2)["level"] == 4 and reader.schema.version == 1
        assert reader.refresh()
        assert reader.ids("width == 44").tolist() == [1] and "level" not in reader.get(2)
        for call in (lambda: reader.add_field("x", sort=True), lambda: reader.rebuild()):
            with pytest.raises(LockedError):
                call()


def test_pages_that_were_taken_stay_as_they_are(index):
    page = index.query("level == 1", sort="price", limit=1)
    assert page.ids.tolist() == [1]
    index.drop_field("level")
    index.drop_field("price")
    assert page.documents()[0]["level"] == 1 and page.next().ids.tolist() == [3]


def test_queries_go_on_and_changes_wait(index, monkeypatch):
    """The field is added while one thread asks and another one puts: neither is refused, nothing is lost."""
    begun, asked, put = threading.Event(), threading.Event(), []
    take = Renewal._take

    def taken(self, *arguments):
        begun.set()
        assert asked.wait(60)
        take(self, *arguments)
        assert not put

    def ask():
        assert begun.wait(60)
        found.append((index.count("level == 1"), index.get(2)["width"]))
        asked.set()

    def change():
        assert begun.wait(60)
        index.put({"id": 50, "width": 44})
        put.append(True)

    found, threads = [], [threading.Thread(target=ask), threading.Thread(target=change)]
    monkeypatch.setattr(Renewal, "_take", taken)
    for thread in threads:
        thread.start()
    index.add_field("width", filter="single_value")
    for thread in threads:
        thread.join()
    assert found == [(2, -7)] and index.ids("width == 44").tolist() == [1, 50]


def test_a_batch_does_not_change_the_schema(index):
    with index.batch(), pytest.raises(InvalidError, match="is changing the index already"):
        index.add_field("width", filter="single_value")
    assert index.schema.version == 1


def test_phases_go_on_after_the_schema_has_changed(index):
    phase = {"name": "rows", "slot_field": "id", "sets_alive": True, "fields": ["level", "width"]}
    index.dump(phase, source={"rows": pd.DataFrame({"id": [7, 8], "level": [1, 2], "width": [70, 80]})})
    index.add_field("width", filter="single_value", sort=Sort(64, "int64").source_type)
    index.dump(phase, source={"rows": pd.DataFrame({"id": [8], "level": [3], "width": [88]})})
    assert 7 not in index and index.ids("width >= 80").tolist() == [8]
    index.drop_field("width")
    with pytest.raises(InvalidError, match="target 'width' is no field"):
        index.dump(phase, source={"rows": pd.DataFrame({"id": [8], "level": [3], "width": [88]})})
    index.dump({**phase, "fields": ["level"]}, source={"rows": pd.DataFrame({"id": [8], "level": [5]})})
    assert index.get(8) == {"id": 8, "level": 5}


def test_a_phase_that_is_loaded_again_leaves_a_field_of_a_new_meaning_alone(index):
    """It wrote a field of that name, which was dropped; what there is now is not its own."""
    phase = {"name": "rows", "slot_field": "id", "sets_alive": True, "fields": ["level", "tags"]}
    table = pd.DataFrame({"id": [7, 8], "level": [1, 2], "tags": [5, 6]})
    index.dump(phase, source={"rows": table})
    index.dump({**phase, "name": "more", "fields": ["tags"]}, source={"more": table})
    for name in ("level", "tags"):
        index.drop_field(name)
    index.add_field("level", filter="single_value")
    index.add_field("tags", filter="multi_value")
    index.patch(7, {"level": 99, "tags": [9]})
    index.dump({**phase, "fields": ["width"]}, source={"rows": table.rename(columns={"level": "width"})})
    assert index.get(7) == {"id": 7, "level": 99, "tags": [9], "width": 1}
    assert index.ids("level == 99").tolist() == index.ids("tags has 9").tolist() == [7]


def test_progress_is_shown(index, capsys):
    index.add_field("width", filter="single_value", progress=True)
    assert "add_field 'width'" in capsys.readouterr().err


def test_bitmaps_of_a_dropped_field_are_a_finding(index):
    index.drop_field("tags")
    number = min(index._store.registry.dropped)
    stray = Writes()
    stray.add(MERGE, format_.filter_key(number, 1), format_.encode_ops([(format_.SET, BitMap([1]))]))
    index._store.write(Writes(), stray)
    (found,) = [one for one in index.check().itertuples() if one.severity == "error"]
    assert f"expected field number {number}, which bitmaps use, found none" in found.what
    stray = Writes()
    stray.add(DELETE, format_.filter_key(number, 1), b"")
    index._store.write(Writes(), stray)


def test_a_change_of_the_schema_that_is_interrupted_leaves_nothing(index, monkeypatch):
    before, page = committed(index), index.query()

    def interrupted(self, version):
        record(self, version)
        raise KeyboardInterrupt

    record = SchemaVersions.record
    with monkeypatch.context() as patched:
        patched.setattr(SchemaVersions, "record", interrupted)
        for call in (
            lambda: index.add_field("width", filter="single_value"),
            lambda: index.set_default("level", 9),
            lambda: index.drop_field("tags"),
        ):
            with pytest.raises(KeyboardInterrupt):
                call()
            assert committed(index) == before and differences(index) == []
    index.put({"id": 1, "width": 2})
    path = index.path
    index.close()
    index.__init__(path)
    assert index.schema == before[1] and index.get(2)["level"] == 4 and len(page.documents()) == 3


def test_backups_have_the_schema_of_their_commit(index, tmp_path):
    index.add_field("width", filter="single_value")
    index.drop_field("note")
    index.backup(tmp_path / "backup")
    index.drop_field("width")
    bitdex.restore(tmp_path / "backup", tmp_path / "restored")
    with bitdex.open(tmp_path / "restored") as restored:
        assert restored.ids("width == 44").tolist() == [1] and not restored.schema.has("note")
        restored.add_field("note", value_type="string")
        assert "note" not in restored.get(1) and restored.check().empty
