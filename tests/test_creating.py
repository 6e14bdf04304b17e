"""Creating an index: alone in a directory in which nothing lies that somebody may miss."""

import re
import shutil

import pytest

import bitdex
from bitdex import filesystem
from bitdex.errors import InvalidError, LockedError, NotFoundError
from bitdex.schema_versions import SchemaVersions

SCHEMA = {
    "name": "things",
    "config": {
        "filter_fields": [
            {"name": "n", "field_type": "single_value"},
            {"name": "kind", "field_type": "single_value"},
        ]
    },
    "data_schema": {"fields": [{"source": "kind", "target": "kind", "value_type": "low_cardinality_string"}]},
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "index"


def content(directory):
    """Return the bytes of all files below a directory, but those of the locks."""
    files = [one for one in directory.rglob("*") if one.is_file() and one.name != "writer.lock"]
    return {str(one.relative_to(directory)): one.read_bytes() for one in files}


def meddle(monkeypatch, owner, name, function):
    """Call a function once, before the next call of another."""
    before, calls = getattr(owner, name), iter([function])

    def meddled(*arguments):
        next(calls, lambda: None)()
        return before(*arguments)

    monkeypatch.setattr(owner, name, meddled)


def test_who_is_making_an_index_is_not_disturbed(path, monkeypatch):
    """Two processes that made one index at once wrote over each other's files."""

    def disturb():
        with pytest.raises(LockedError, match=r"index: process \d+ on "):
            bitdex.create(path, SCHEMA)

    meddle(monkeypatch, SchemaVersions, "create", disturb)
    with bitdex.create(path, SCHEMA) as index:
        index.put({"id": 1, "n": 2})
    with bitdex.open(path) as index:
        assert index.ids("n == 2").tolist() == [1]


def test_an_index_that_somebody_has_made_meanwhile_stays(path, monkeypatch):
    """What was acknowledged between the look at the directory and the first file was lost."""

    def be_faster():
        with bitdex.create(path, SCHEMA) as index:
            index.put({"id": 1, "n": 2})

    meddle(monkeypatch, filesystem, "make_directory", be_faster)
    with pytest.raises(InvalidError, match="the directory is not empty; open the index in it"):
        bitdex.create(path, SCHEMA)
    with bitdex.open(path) as index:
        assert index.ids("n == 2").tolist() == [1]


def one_put(index):
    index.put({"id": 1, "n": 2})


def one_label(index):
    index.put({"id": 1, "kind": "a"})


def compacted(index):
    index.put_many([{"id": id, "n": id % 3} for id in range(50)])
    index.compact()


def a_phase(index):
    phase = {"name": "rows", "slot_field": "id", "sets_alive": True, "fields": ["n"]}
    index.dump(phase, {"rows": {"id": [1, 2], "n": [3, 4]}})


def another_schema(index):
    index.set_default("n", 5)


FILES = [
    "schema.json",
    "fields.bin",
    "dictionaries.bin",
    "dumps.json",
    "bitmaps",
    "documents",
]  # as they are made


@pytest.mark.parametrize("work", [one_put, one_label, compacted, a_phase, another_schema])
def test_an_index_that_has_lost_its_commit_record_is_not_wiped(path, work):
    """`create` put empty files of names and labels in the place of its own, and `open` recommended it."""
    with bitdex.create(path, SCHEMA) as index:
        work(index)
        shown = index.to_pandas()
    commit = (path / "commit.bin").read_bytes()
    (path / "commit.bin").unlink()
    before = content(path)
    with pytest.raises(InvalidError, match=r"not empty; if \S+ is of an index that has lost .*a backup"):
        bitdex.create(path, SCHEMA)
    if work is not another_schema:  # of which nothing but schema.json tells
        with pytest.raises(NotFoundError, match=r"\(no commit\.bin\); if \S+ is of one .*restore a backup"):
            bitdex.open(path)
    assert content(path) == before
    (path / "commit.bin").write_bytes(commit)
    with bitdex.open(path) as index:
        assert index.to_pandas().equals(shown)
    assert bitdex.check(path).empty


@pytest.mark.parametrize("name", FILES)
def test_one_file_that_holds_something_is_enough(path, tmp_path, name):
    with bitdex.create(tmp_path / "other", SCHEMA) as index:
        for work in (one_label, a_phase, another_schema):
            work(index)
    path.mkdir()
    copy = shutil.copytree if (tmp_path / "other" / name).is_dir() else shutil.copy
    copy(tmp_path / "other" / name, path / name)
    before = content(path)
    with pytest.raises(InvalidError, match=f"not empty; if {name} is of an index"):
        bitdex.create(path, SCHEMA)
    assert content(path) == before


@pytest.mark.parametrize(
    "name", ["documents/data.bin", "documents/letter.txt", "bitmaps/meta.bin", *FILES[:4]]
)
def test_files_of_somebody_else_stay(path, name):
    """A directory "documents" of the user's was taken for a left-over, and data.bin in it was overwritten."""
    (path / name).parent.mkdir(parents=True)
    (path / name).write_bytes(b"mine")
    with pytest.raises(InvalidError, match="the directory is not empty"):
        bitdex.create(path, SCHEMA)
    assert content(path) == {name: b"mine"}


@pytest.mark.parametrize("kept", range(len(FILES)))
def test_what_a_creation_that_died_has_left_is_taken_over(path, kept):
    bitdex.create(path, SCHEMA).close()
    for name in ["commit.bin", *FILES[kept + 1 :]]:
        shutil.rmtree(path / name) if (path / name).is_dir() else (path / name).unlink()
    (path / ".commit.bin.0123456789ab").write_bytes(b"half")
    with pytest.raises(NotFoundError, match=r"\(no commit\.bin\); bitdex\.create makes one"):
        bitdex.open(path)
    with bitdex.create(path, SCHEMA) as index:
        one_put(index)
        assert len(index) == 1


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"sync": "x"}, "sync: 'x' is unknown; use one of always, batch, none"),
        *(
            ({"maintenance": value}, f"maintenance: {value!r} is no number of seconds from 0.01 to ")
            for value in (-1, 0, float("nan"), float("inf"), 1e300, True, "5")
        ),
    ],
)
def test_options_are_looked_at_before_anything_is_made(path, option, message):
    """`create` raised and left an index behind; every round of maintenance=nan followed at once."""
    with pytest.raises(InvalidError, match="^" + re.escape(message)):
        bitdex.create(path, SCHEMA, **option)
    assert not path.exists()
    bitdex.create(path, SCHEMA).close()
    with pytest.raises(InvalidError, match="^" + re.escape(message)):
        bitdex.open(path, **option)
    bitdex.open(path).close()
