"""Records of another system: sources, fallbacks, milliseconds; what is rejected, and what stays."""

import io
import json

import pyarrow as pa
import pytest

import bitdex
from bitdex.errors import InvalidError
from bitdex.live import json_lines
from bitdex.live import records as module
from bitdex.live.batch import Batch
from tests.live.bits import differences

SCHEMA = {
    "name": "records",
    "config": {
        "filter_fields": [
            {"name": "level", "field_type": "single_value"},
            {"name": "kind", "field_type": "single_value"},
            {"name": "shape", "field_type": "single_value"},
            {"name": "tags", "field_type": "multi_value"},
            {"name": "dated", "field_type": "boolean"},
        ],
        "sort_fields": [{"name": "at", "source_type": "int64", "bits": 64}],
    },
    "data_schema": {
        "id_field": "key",
        "fields": [
            {"source": "l", "fallback": "level", "target": "level", "value_type": "integer"},
            {"source": "kind", "target": "kind", "value_type": "low_cardinality_string"},
            {
                "source": "shape",
                "target": "shape",
                "value_type": "mapped_string",
                "string_map": {"round": 1, "flat": 2},
            },
            {"source": "tags", "target": "tags", "value_type": "integer_array"},
            {"source": "ms", "fallback": "s", "target": "at", "value_type": "integer", "ms_to_seconds": True},
            {"source": "ms", "target": "dated", "value_type": "exists_boolean"},
            {"source": "note", "target": "note", "value_type": "string", "doc_only": True},
        ],
    },
}
RECORDS = [
    {
        "key": 1,
        "l": 3,
        "kind": "a",
        "tags": [1, 2, 1],
        "ms": 1999,
        "note": "2024-01-01 00:00:00",
        "other": {},
    },
    {"key": 2, "level": 4, "kind": None, "tags": [], "s": 7, "shape": "flat"},
    {"key": 3, "l": None, "level": 5, "kind": "A", "ms": -1, "s": 9},
    {"key": 1, "l": 6, "ms": -1000, "note": "é\n"},
]
EXPECTED = [
    {"id": 1, "level": 6, "note": "é\n", "at": -1, "dated": True},
    {"id": 2, "level": 4, "shape": "flat", "at": 7, "dated": False},
    {"id": 3, "level": 5, "kind": "a", "at": -1, "dated": True},
]
BAD = [
    ({"l": 1}, "id", "'key' is missing"),
    ({"key": -4}, "id", "-4 is no whole number"),
    ({"key": 10, "l": 1.5}, "field 'level'", "1.5 is not accepted"),
    ({"key": 10, "l": "1"}, "field 'level'", "'1' is not accepted"),
    ({"key": 10, "shape": "square"}, "field 'shape'", "'square' is not accepted"),
    ({"key": 10, "tags": [1, None]}, "field 'tags'", "None is not accepted"),
    ({"key": 10, "ms": "2024-01-01"}, "field 'at'", "'2024-01-01' is not accepted"),
    ({"key": 10, "ms": 2**80}, "field 'at'", "is not accepted"),
    ('{"key": 10', "no JSON", "line"),
    ("[1]", "no JSON object", "[1]"),
]


@pytest.fixture
def index(tmp_path):
    with bitdex.create(tmp_path / "index", SCHEMA) as index:
        yield index
        assert differences(index) == []


@pytest.fixture(params=[1, 1000], ids=["in columns", "one by one"], autouse=True)
def many(request, monkeypatch):
    monkeypatch.setattr(Batch, "MANY", request.param)


def as_lines(records):
    return [one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in records]


def as_file(records, tmp_path):
    path = tmp_path / "records.ndjson"
    path.write_text("\n\n".join(as_lines(records)), encoding="utf-8")
    return path


@pytest.fixture(params=["path", "text file", "bytes file", "lines", "mappings"])
def given(request, tmp_path):
    return {
        "path": lambda records: as_file(records, tmp_path),
        "text file": lambda records: io.StringIO("\n".join(as_lines(records)) + "\n"),
        "bytes file": lambda records: io.BytesIO("\r\n".join(as_lines(records)).encode()),
        "lines": as_lines,
        "mappings": list,
    }[request.param]


def test_documents_follow_from_their_sources(index, given):
    result = index.load(given(RECORDS))
    assert (result.rows, result.applied, result.rejected) == (4, 4, 0)
    assert index.get_many([1, 2, 3]).documents() == EXPECTED
    assert index.ids("kind == 'a'").tolist() == [3] and index.ids("tags has 1").tolist() == []


@pytest.mark.parametrize(("bad", "reason", "words"), BAD)
def test_what_cannot_be_used_is_rejected_and_the_others_stay(index, bad, reason, words):
    for given in (as_lines, lambda records: records):
        result = index.load(given([RECORDS[1], bad, RECORDS[2]]))
        assert (result.rows, result.applied, result.rejected) == (3, 2, 1)
        (rejected,) = result.rejects.items()
        assert rejected[0] == reason and rejected[1]["rows"] == 1
        assert rejected[1]["examples"][0].startswith("record 2: ") and words in rejected[1]["examples"][0]
        assert "3 records = 2 applied + 1 rejected" in str(result) and reason in str(result)
        assert index.ids().tolist() == [2, 3]


def test_files_are_cut_at_line_ends(index, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 100)
    records = [{"key": i, "l": i % 5, "note": "x" * (i % 90)} for i in range(200)]
    seen = []
    result = index.load(as_file(records, tmp_path), progress=lambda *told: seen.append(told))
    assert result.applied == len(index) == 200 and index.count("level == 3") == 40
    size = (tmp_path / "records.ndjson").stat().st_size
    assert len(seen) > 50 and seen[-1] == ("records", 200, size, size)


def test_an_empty_file(index, tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    assert index.load(tmp_path / "empty").rows == index.load([]).rows == 0


@pytest.mark.parametrize("source", [5, {"key": 1}])
def test_what_is_no_source_of_records(index, source):
    with pytest.raises(InvalidError, match="records: expected a path, lines or mappings"):
        index.load(source)


def test_loading_again_gives_the_same(index):
    index.load(RECORDS)
    index.patch(2, {"level": 9})
    index.load(RECORDS)
    assert index.get_many([1, 2, 3]).documents() == EXPECTED


TYPES = pa.schema([("key", pa.int64()), ("kind", pa.string())])


@pytest.mark.parametrize("before", [0, 1, 3], ids=["at the beginning", "in the middle", "after more"])
@pytest.mark.parametrize("value", ["null", "1", "[1]", '"x"', "null null", '{"key": 5} null'])
def test_a_line_that_is_no_object_does_not_end_the_process(index, tmp_path, before, value):
    good = [json.dumps({"key": i, "l": i}) for i in range(3)]
    for source in ([*good[:before], value, *good[before:]], io.StringIO("\n".join([*good[:before], value]))):
        index.load(source)
    path = tmp_path / "lines.ndjson"
    path.write_text("\n".join([*good[:before], value, *good[before:]]))
    result = index.load(path)
    assert (result.rows, result.applied, result.rejected) == (4, 3, 1)
    assert list(result.rejects) in (["no JSON"], ["no JSON object"])
    assert index.ids().tolist() == [0, 1, 2]


def test_null_at_the_beginning_of_a_piece_of_a_block(index, monkeypatch):
    """Arrow cuts a block again, where it likes."""
    monkeypatch.setattr(json_lines, "PIECE", 64)
    good = [json.dumps({"key": i, "kind": "a" * (i % 40)}) for i in range(100)]
    lines = [line for one in good for line in (one, "null")]
    result = index.load(lines)
    assert (result.applied, result.rejected) == (100, 100) and len(index) == 100


@pytest.mark.parametrize("pieces", [1, 1 << 20])
def test_lines_as_columns(pieces, monkeypatch):
    monkeypatch.setattr(json_lines, "PIECE", pieces)
    lines = b'{"key": 1, "kind": "a"}\r\n\r\n  {"key": 2, "more": [[null]]} \n \n{"key": 3, "kind": "'
    table = json_lines.columns_of_lines(lines + b"x" * 5000 + b'"}', TYPES)
    assert table.to_pydict() == {"key": [1, 2, 3], "kind": ["a", None, "x" * 5000]}


@pytest.mark.parametrize(
    "lines",
    [b"null", b'{"key": 1} null', b'{"key": 1}{"key": 2}', b'{"key":\n1}', b'{"kind": "\xff"}', b"{"],
)
def test_lines_that_are_no_columns(lines):
    assert json_lines.columns_of_lines(lines, TYPES) is None


def test_two_objects_in_a_line_are_no_record(index):
    for bad in ('{"key": 7}{"key": 8}', '{"key": 7}\n{"key": 8}', '{"key": 7}\r{"key": 8}'):
        result = index.load([json.dumps(RECORDS[1]), bad])
        assert (result.applied, result.rejected) == (1, 1) and index.ids().tolist() == [2]


@pytest.mark.parametrize("name", ["kind", "note"])
def test_half_a_surrogate_is_rejected_and_poisons_nothing(index, given, name):
    """A label that cannot be written stayed among the labels, and the next commit failed."""
    result = index.load(given([RECORDS[1], json.dumps({"key": 8, name: "\ud800"}), RECORDS[2]]))
    assert (result.rows, result.applied, result.rejected) == (3, 2, 1)
    assert list(result.rejects) == [f"field '{name}'"]
    index.put({"id": 9, "kind": "ok"})
    assert index.ids("kind == 'ok'").tolist() == [9]
    with pytest.raises(InvalidError, match=f"field '{name}'.*give a Unicode text"):
        index.put({"id": 10, name: "\udfff"})


def test_what_is_nested_too_deeply_is_rejected_and_the_rest_stays(index):
    deep = '{"key": 7, "other": ' + "[" * 100_000 + "]" * 100_000 + "}"
    result = index.load([deep, json.dumps(RECORDS[1]), "null"])
    assert result.applied == 1 and result.rejected == 2 and index.ids().tolist() == [2]
    with pytest.raises(InvalidError, match=r"line 1: .* is nested too deeply"):
        index.apply([deep])


def test_bytes_that_are_no_utf8_are_rejected(index):
    result = index.load([b'{"key": 7, "kind": "\xff"}', json.dumps(RECORDS[1]).encode()])
    assert list(result.rejects) == ["no JSON"] and index.ids().tolist() == [2]
