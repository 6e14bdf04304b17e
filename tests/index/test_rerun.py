"""A phase that is loaded again replaces what it wrote: the index is as if loaded once, from the new files."""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

import bitdex
from bitdex.dump import text_source
from bitdex.errors import InvalidError
from bitdex.index import Index
from bitdex.schema import Schema
from tests.index.conftest import Indexes
from tests.index.strategies import NOW, Rerun, reruns
from tests.index.test_dump_model import compare
from tests.oracle import Oracle

SCHEMA = {
    "name": "twice",
    "config": {
        "filter_fields": [
            {"name": "n", "field_type": "single_value"},
            {"name": "kind", "field_type": "single_value"},
            {"name": "tags", "field_type": "multi_value"},
            {"name": "flag", "field_type": "boolean"},
        ],
        "sort_fields": [
            {"name": "likes"},
            {"name": "at"},
            {"name": "due"},
            {"name": "sortAt", "computed": {"op": "greatest", "source_fields": ["at", "due"]}},
        ],
        "deferred_alive": {"source_field": "due"},
    },
    "data_schema": {
        "fields": [
            {"source": "kind", "target": "kind", "value_type": "low_cardinality_string"},
            {"source": "flag", "target": "flag", "value_type": "boolean", "default": False},
            {"source": "tags", "target": "tags", "value_type": "integer_array", "default": []},
            {"source": "likes", "target": "likes", "value_type": "integer", "default": 0},
            {"source": "url", "target": "url", "value_type": "string", "doc_only": True},
        ]
    },
}
ROWS = {"name": "rows", "slot_field": "id", "sets_alive": True, "fields": ["n", "kind", "flag", "at", "url"]}
TAGS = {"name": "tags", "slot_field": "id", "fields": ["tags"]}
LIKES = {"name": "likes", "slot_field": "id", "fields": ["likes"]}
DUE = {"name": "due", "slot_field": "id", "fields": ["due"]}
ALL = [ROWS, TAGS, LIKES, DUE]
FILES = {
    "rows.csv": "id,n,kind,flag,at,url\n1,10,a,t,100,u1\n2,20,b,f,200,u2\n3,30,a,,300,u3\n70000,40,,t,,\n",
    "tags.csv": "id,tags\n1,5\n1,6\n2,5\n3,7\n9,5\n70000,6\n",
    "likes.csv": "id,likes\n1,9\n2,8\n3,9\n",
    "due.csv": "id,due\n1,40\n3,350\n",
}
LATER = {
    "rows.csv": "id,n,kind,flag,at,url\n1,11,b,f,,\n3,30,c,t,310,u4\n4,20,a,,400,\n",
    "tags.csv": "id,tags\n1,6\n2,8\n70000,6\n",
    "likes.csv": "id,likes\n2,1\n70000,9\n",
    "due.csv": "id,due\n3,90\n4,5\n",
}
NOON = 1000


def state(index: Index) -> dict[str, Any]:
    """Return all that can be asked of an index: documents, hidden ones too, and answers."""
    found: dict[str, Any] = {"ids": index.ids().tolist()}
    for slot in (1, 2, 3, 4, 9, 70000):
        document = index.documents.get(slot)  # alive or not
        document["tags"] = sorted(document["tags"])
        found[f"document {slot}"] = document
    for n in (10, 11, 20, 30, 40):
        found[f"n {n}"] = index.ids(f"n == {n}").tolist()
    for kind in ("a", "b", "c"):
        found[f"kind {kind}"] = index.ids(f"kind == '{kind}'").tolist()
    for tag in (5, 6, 7, 8):
        found[f"tag {tag}"] = index.ids(f"tags has {tag}").tolist()
    for query in (
        "flag",
        "not flag",
        "kind is null",
        "tags is null",
        "at is null",
        "sortAt is null",
        "sortAt >= 90",
    ):
        found[query] = index.ids(query).tolist()
    for sort in ("likes", "-likes", "at", "-sortAt", "due"):
        found[sort] = index.query(sort=sort).ids.tolist()
    return found


def load(indexes: Indexes, phases: Any, files: Mapping[str, str], name: str) -> Index:
    return indexes.load(SCHEMA, phases, files, NOON, name)


@pytest.mark.parametrize(
    "again", [["rows"], ["tags"], ["likes"], ["due"], ["rows", "tags"], ["rows", "tags", "likes", "due"]]
)
def test_again_with_other_rows_is_once(indexes: Indexes, again: list[str]) -> None:
    index = load(indexes, ALL, FILES, "again")
    files = {**FILES, **{f"{name}.csv": LATER[f"{name}.csv"] for name in again}}
    index.dump(ALL, source=indexes.write(files, "new"), only=again, now=NOON)
    expected = state(load(indexes, ALL, files, "once"))
    assert state(index) == expected
    assert [run.name for run in index.phases] == ["rows", "tags", "likes", "due"] or set(again) != set()
    assert state(indexes.reopen(index)) == expected


def test_twice_is_once(indexes: Indexes) -> None:
    index = load(indexes, ALL, FILES, "index")
    before = state(index)
    for _ in range(3):
        index.dump(ALL, source=indexes.root / "index-files", now=NOON)
        assert state(index) == before
    assert sorted(run.name for run in index.phases) == ["due", "likes", "rows", "tags"]
    assert state(indexes.reopen(index)) == before


def test_back_again(indexes: Indexes) -> None:
    index = load(indexes, ALL, FILES, "index")
    before = state(index)
    index.dump(ALL, source=indexes.write(LATER, "later"), now=NOON)
    assert state(index) != before
    index.dump(ALL, source=indexes.root / "index-files", now=NOON)
    assert state(index) == before


def test_rows_that_are_gone_take_their_values_with_them(indexes: Indexes) -> None:
    index = load(indexes, ALL, FILES, "index")
    index.dump(ROWS, source=indexes.write(LATER, "later"), now=NOON)
    assert index.ids().tolist() == [1, 3, 4]
    assert 2 not in index and index.ids("kind == 'b'").tolist() == [1]
    assert index.get(1) == {
        "id": 1,
        "n": 11,
        "kind": "b",
        "flag": False,
        "tags": [5, 6],
        "likes": 9,
        "due": 40,
        "sortAt": 40,
    }
    index.dump(ROWS, source=indexes.write(FILES, "first"), now=NOON)
    assert index.get(2)["tags"] == [5] and index.get(2)["likes"] == 8  # other phases were not touched


def test_another_phase_keeps_documents_visible(indexes: Indexes) -> None:
    also = {**LIKES, "sets_alive": True}
    index = load(indexes, [ROWS, also], FILES, "index")
    index.dump(ROWS, source=indexes.write(LATER, "later"), now=NOON)
    once = load(indexes, [ROWS, also], {**FILES, "rows.csv": LATER["rows.csv"]}, "once")
    assert index.ids().tolist() == once.ids().tolist() == [1, 2, 3, 4]
    assert index.get(2) == once.get(2)


def test_time_passes(indexes: Indexes) -> None:
    files = {**FILES, "due.csv": "id,due\n1,40\n3,5000\n"}
    index = load(indexes, [DUE, ROWS], files, "index")
    assert index.ids().tolist() == [1, 2, 70000]  # what an earlier phase said of 3 counts
    index.dump(ROWS, source=indexes.root / "index-files", now=6000)
    assert index.ids().tolist() == [1, 2, 3, 70000]
    index.dump(ROWS, source=indexes.root / "index-files", now=NOON)
    assert index.ids().tolist() == [1, 2, 70000]


def test_lists_that_two_phases_wrote_cannot_be_told_apart(indexes: Indexes) -> None:
    more = {**TAGS, "name": "more"}
    files = {**FILES, "more.csv": "id,tags\n1,8\n"}
    index = load(indexes, [ROWS, TAGS, more], files, "index")
    assert sorted(index.get(1)["tags"]) == [5, 6, 8]
    for phase in (TAGS, more):
        with pytest.raises(InvalidError, match=r"was loaded before.*writes 'tags'.*cannot be told apart"):
            index.dump(phase, source=indexes.root / "index-files", now=NOON)
    assert sorted(index.get(1)["tags"]) == [5, 6, 8]
    index.dump(ROWS, source=indexes.root / "index-files", now=NOON)


def test_a_phase_that_says_less_withdraws_what_it_said(indexes: Indexes) -> None:
    """The configuration of a phase may change; its older targets are withdrawn too."""
    index = load(indexes, ALL, FILES, "index")
    index.dump({**ROWS, "fields": ["n"]}, source=indexes.root / "index-files", now=NOON)
    once = load(indexes, [{**ROWS, "fields": ["n"]}, TAGS, LIKES, DUE], FILES, "once")
    assert state(index) == state(once)


def test_a_phase_that_no_longer_sets_alive(indexes: Indexes) -> None:
    index = load(indexes, [ROWS, LIKES], FILES, "index")
    index.dump({**ROWS, "sets_alive": False}, source=indexes.root / "index-files", now=NOON)
    assert index.ids().tolist() == []


def test_a_phase_that_sets_alive_later_hides_nothing_else(indexes: Indexes) -> None:
    """What its first run had written to was hidden, though that run had shown nothing."""
    index = indexes.create(SCHEMA)
    index.put_many([{"id": 1, "n": 1}, {"id": 2, "n": 2, "due": 1 << 31}])
    assert index.ids().tolist() == [1] and list(index.snapshot.deferred) == [2]
    for phase, tags in ((TAGS, {1: 5, 2: 6}), ({**TAGS, "sets_alive": True}, {3: 7})):
        index.dump(phase, {"tags": {"id": [*tags], "tags": [*tags.values()]}})
    assert index.ids().tolist() == [1, 3] and list(index.snapshot.deferred) == [2]
    assert index.get(1).get("tags", []) == [] and index.get(3)["tags"] == [7]


def test_a_failed_run_again_leaves_the_first(indexes: Indexes) -> None:
    index = load(indexes, ALL, FILES, "index")
    before = state(index)
    with pytest.raises(InvalidError, match="none of 1 rows"):
        index.dump(
            ROWS, source=indexes.write({"rows.csv": "id,n,kind,flag,at,url\nx,1,a,t,1,\n"}, "bad"), now=NOON
        )
    assert state(index) == before
    assert state(indexes.reopen(index)) == before


def test_labels_that_come_later_are_shown(indexes: Indexes) -> None:
    index = load(indexes, ROWS, FILES, "index")
    assert index.get(1)["kind"] == "a"
    index.dump(
        ROWS, source=indexes.write({"rows.csv": "id,n,kind,flag,at,url\n1,1,new,t,1,\n"}, "new"), now=NOON
    )
    assert index.get(1)["kind"] == "new"
    assert index.query().to_pandas(["kind"])["kind"].tolist() == ["new"]


@settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
@given(reruns(), st.data())
def test_any_phase_again_is_once(rerun: Rerun, data: st.DataObject) -> None:
    world = rerun.world
    note(f"{world.schema}\n{world.phases}\n{world.files}\nagain {rerun.name}:\n{rerun.files}")
    oracle = Oracle(Schema.load(world.schema))
    oracle.dump(world.phases, {**world.files, **rerun.files}, NOW)
    directory = Path(tempfile.mkdtemp())
    try:
        _write(directory, world.files)
        with (
            mock.patch.object(text_source, "BLOCK", world.block),
            bitdex.create(directory / "index", world.schema, sync="none") as index,
        ):
            index.dump(world.phases, source=directory, now=NOW)
            _write(directory, rerun.files)
            index.dump(world.phases, source=directory, now=NOW, only=[rerun.name])
            compare(index, oracle, [])
        with bitdex.open(directory / "index") as index:
            compare(index, oracle, [])
    finally:
        shutil.rmtree(directory)


def _write(directory: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (directory / name).write_text(text, newline="")
