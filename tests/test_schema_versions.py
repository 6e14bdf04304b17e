"""Versions of a schema: which counts, what is refused, and what a writer takes out."""

import pytest

from bitdex.errors import CorruptError, VersionError
from bitdex.formats import sealed
from bitdex.schema import Schema
from bitdex.schema_versions import SchemaVersion, SchemaVersions, read

FIRST = Schema.load({"name": "x"})
SECOND = Schema.load(
    {"name": "x", "data_schema": {"schema_version": 2}, "config": {"sort_fields": [{"name": "a"}]}}
)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "schema.json"
    SchemaVersions.create(path, FIRST)
    SchemaVersions(path, 0).record(SchemaVersion.of(SECOND, 7, "add_field 'a'", (5, 3)))
    return path


def test_the_newest_version_of_the_committed_sequence_counts(path):
    for committed, schema in ((0, FIRST), (6, FIRST), (7, SECOND), (99, SECOND)):
        assert SchemaVersions(path, committed).last.schema == schema
    versions = SchemaVersions(path, 7)
    assert [(one.version, one.sequence, one.change) for one in versions] == [
        (1, 0, "created"),
        (2, 7, "add_field 'a'"),
    ]
    assert versions.dropped_since(0) == {3, 5} and versions.dropped_since(7) == set()
    assert "SchemaVersion 2 since 2" in repr(versions.last)


def test_what_was_given_up_is_taken_out_by_the_next_writer(path):
    versions = SchemaVersions(path, 6)
    assert len(read(path)) == 2
    versions.forget()
    assert len(read(path)) == 1 and SchemaVersions(path, 99).last.schema == FIRST
    content = path.read_bytes()
    versions.forget()
    assert path.read_bytes() == content


def test_a_version_replaces_one_that_was_given_up(path):
    SchemaVersions(path, 6).record(SchemaVersion.of(SECOND, 8, "drop_field 'b'"))
    assert [one.change for one in SchemaVersions(path, 8)] == ["created", "drop_field 'b'"]


def test_what_is_no_record_of_versions_is_refused(path):
    path.write_bytes(sealed.encode(FIRST.to_mapping()))
    with pytest.raises(VersionError, match="format version 1; this package reads 2"):
        read(path)
    for versions in (
        [{"sequence": 0}],
        7,
        [{**vars(SchemaVersion.of(FIRST, 0, "created")), "definition": {}}],
    ):
        path.write_bytes(sealed.encode({"format": 2, "versions": versions}))
        with pytest.raises(CorruptError, match=r"schema\.json: offset 0: expected the index definition"):
            read(path)
    path.write_bytes(sealed.encode({"format": 2, "versions": []}))
    with pytest.raises(CorruptError, match="expected a version of commit 3, found none"):
        SchemaVersions(path, 3)
    path.unlink()
    with pytest.raises(CorruptError, match="found no file"):
        read(path)
