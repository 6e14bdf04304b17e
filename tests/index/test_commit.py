"""A phase is there or it is not: whatever fails on the way, and wherever a copy of the directory is taken."""

import re
import shutil
from collections.abc import Callable, Iterator
from errno import ENOSPC
from itertools import count
from pathlib import Path
from typing import Any

import pytest

import bitdex
from bitdex import filesystem
from bitdex.bitmaps import BitmapChanges, BitmapSilo
from bitdex.dictionaries import Dictionaries
from bitdex.documents import DocSilo
from bitdex.dump.lookup import LookupTable
from bitdex.dump.postings import Postings
from bitdex.dump.rows import RowMaker
from bitdex.dump.sinks import DocumentSink, FieldSink
from bitdex.dump.text_source import TextSource
from bitdex.errors import LockedError, WriteFailedError
from bitdex.index import Index
from bitdex.phase_log import PhaseLog
from bitdex.silo.silo import Silo
from bitdex.store import Store
from tests import system
from tests.index.conftest import Indexes
from tests.index.test_rerun import ALL, FILES, LATER, NOON, ROWS, SCHEMA, TAGS, state
from tests.scale import scale
from tests.system import Faulty

PHASES = {phase["name"]: phase for phase in ALL}
FIRST = [ROWS, TAGS]
# what is loaded -> phases that are there before
CASES = {"the first phase": ("rows", []), "a later phase": ("likes", FIRST), "a phase again": ("rows", ALL)}


class Boom(Exception):
    """What the tests raise."""


class Case:
    """An index with some phases, and one more to load."""

    def __init__(self, indexes: Indexes, name: str):
        self.indexes = indexes
        phase, before = CASES[name]
        self.phase = PHASES[phase]
        self.index = indexes.create(SCHEMA)
        first, later = indexes.write(FILES, "first"), indexes.write(LATER, "later")
        if before:
            self.index.dump(before, source=first, now=NOON)
        self.source = later if self.phase in before else first
        self.old = state(self.index)
        self.old_phases = [run.name for run in self.index.phases]

    def load(self) -> None:
        self.index.dump(self.phase, source=self.source, now=NOON)

    @property
    def new(self) -> dict[str, Any]:
        """What the index is with the phase."""
        _copy(self.index.path, self.indexes.root / "done")
        with bitdex.open(self.indexes.root / "done", "w", sync="none") as done:
            done.dump(self.phase, source=self.source, now=NOON)
            return state(done)


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.lock", "lock"))


@pytest.fixture(params=CASES)
def case(indexes: Indexes, request: pytest.FixtureRequest) -> Case:
    return Case(indexes, request.param)


POINTS: dict[str, tuple[Any, str, int]] = {
    "opening the table": (TextSource, "__init__", 0),
    "reading a block": (TextSource, "_parse", 0),
    "making rows": (RowMaker, "make", 0),
    "writing documents": (DocumentSink, "add", 0),
    "documents written": (DocumentSink, "add", 1),
    "collecting values": (FieldSink, "add", 0),
    "before the documents' end": (DocumentSink, "prepare", 0),
    "behind the documents' end": (DocumentSink, "prepare", 1),
    "turning values into bitmaps": (FieldSink, "write", 0),
    "reading postings back": (Postings, "bitmaps", 0),
    "before bitmaps are written": (BitmapChanges, "write", 0),
    "behind bitmaps": (BitmapChanges, "write", 1),
    "before dictionaries": (Dictionaries, "save", 0),
    "behind dictionaries": (Dictionaries, "save", 1),
    "before the record of phases": (PhaseLog, "record", 0),
    "behind the record of phases": (PhaseLog, "record", 1),
    "before the commit": (Store, "commit", 0),
}


def fail_at(patch: pytest.MonkeyPatch, owner: Any, name: str, after: int, error: type[BaseException]) -> None:
    """Make a method raise, before or after it has done its work."""
    method = getattr(owner, name)

    def failing(*arguments: Any, **options: Any) -> Any:
        if after:
            method(*arguments, **options)
        raise error("on purpose")

    patch.setattr(owner, name, failing)


@pytest.mark.parametrize("error", [Boom, KeyboardInterrupt])
@pytest.mark.parametrize("point", POINTS)
def test_failure_leaves_the_index_as_it_was(case: Case, point: str, error: type[BaseException]) -> None:
    new = case.new
    with pytest.MonkeyPatch.context() as patch:
        fail_at(patch, *POINTS[point], error)
        with pytest.raises(error):
            case.load()
    assert state(case.index) == case.old
    _copy(case.index.path, case.indexes.root / "copy")
    case.load()
    assert state(case.index) == state(case.indexes.reopen(case.index)) == new
    copy = case.indexes.open("copy", "w")
    assert state(copy) == case.old
    assert sorted(run.name for run in copy.phases) == sorted(case.old_phases)
    copy.dump(case.phase, source=case.source, now=NOON)
    assert state(copy) == new


def test_failure_behind_the_commit(case: Case) -> None:
    """What is committed stays, also where what has to be tidied up behind it fails."""
    new = case.new
    with pytest.MonkeyPatch.context() as patch:
        fail_at(patch, Silo, "finish", 0, Boom)
        with pytest.raises(Boom):
            case.load()
    assert state(case.index) == new
    assert state(case.indexes.reopen(case.index)) == new


def test_a_failed_lookup(indexes: Indexes, monkeypatch: pytest.MonkeyPatch) -> None:
    index = indexes.load(SCHEMA, ALL, FILES, NOON)
    before = state(index)
    fail_at(monkeypatch, LookupTable, "__init__", 0, Boom)
    lookup = {"lookup": "due.csv", "key": "id", "join_on": "id", "fields": ["due"]}
    phase = {"name": "more", "slot_field": "id", "sets_alive": True, "enrichment": [lookup]}
    with pytest.raises(Boom):
        index.dump(phase, source={"more": {"id": [8]}, "due": {"id": [8], "due": [1]}})
    assert state(index) == before


def test_phases_before_the_one_that_fails_stay(indexes: Indexes) -> None:
    index = indexes.create(SCHEMA)
    source = indexes.write({**FILES, "likes.csv": "id,likes\n"})
    with pytest.raises(bitdex.errors.InvalidError, match="phase 'likes': the table has no rows"):
        index.dump(ALL, source=source, now=NOON)
    assert [run.name for run in index.phases] == ["rows", "tags"]
    assert index.get(1)["tags"] == [5, 6]


# the file system: every call that changes something

CHANGES = [
    "open_write",
    "write_at",
    "allocate",
    "sync",
    "sync_directory",
    "replace",
    "remove",
    "make_directory",
]


class Calls:
    """Counts the calls that change files; does something at one of them."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        self.act: Callable[[int], None] = lambda number: None
        for name in [one for one in CHANGES if hasattr(filesystem, one)]:
            patch.setattr(filesystem, name, self._counted(name, getattr(filesystem, name)))

    def _counted(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            self.names.append(name)
            self.act(len(self.names) - 1)
            return function(*arguments, **options)

        return counted


@pytest.fixture
def calls(case: Case) -> Iterator[Calls]:
    with pytest.MonkeyPatch.context() as patch:
        yield Calls(patch)


def test_any_call_may_fail(case: Case) -> None:
    """The disk is full, a file cannot be made: the index takes no more phases until it is opened again."""
    old, new, base = answers(case.index), case.new, case.indexes.root / "base"
    new_answers = answers(case.indexes.open("done"))
    case.index.close()
    _copy(case.index.path, base)
    for number in count(1, scale(3, 1)):
        faulty = Faulty(number, ENOSPC)
        target = case.indexes.root / f"try{number}"
        _copy(base, target)
        shown = _answers_when_it_fails(case, target, faulty)
        assert shown == new_answers if faulty.failed is None else shown in (old, new_answers), faulty.failed
        with bitdex.open(target, "w", sync="none") as again:
            assert answers(again) in (shown, new_answers), faulty.failed
            again.dump(case.phase, source=case.source, now=NOON)
            assert state(again) == new
        shutil.rmtree(target)
        if faulty.failed is None:
            break
    assert number > 10


def answers(index: Index) -> dict[Any, Any]:
    """Return all that queries say, and the documents they find."""
    found = {question: answer for question, answer in state(index).items() if "document" not in question}
    documents = {slot: index.get(slot) for slot in found["ids"]}
    return found | {slot: {**one, "tags": sorted(one["tags"])} for slot, one in documents.items()}


def _answers_when_it_fails(case: Case, path: Path, faulty: Faulty) -> dict[Any, Any]:
    """Return what an index answers when a change was refused to it, as it refuses all that is to write."""
    with bitdex.open(path, "w", sync="none") as index, pytest.MonkeyPatch.context() as patch:
        system.install(patch, faulty)
        try:
            index.dump(case.phase, source=case.source, now=NOON)
            assert faulty.failed is None
        except WriteFailedError as error:
            for write in (lambda: index.dump(case.phase, source=case.source), index.compact):
                with pytest.raises(LockedError, match=re.escape(str(error))):
                    write()
        return answers(index)


def test_a_copy_taken_at_any_call(case: Case, calls: Calls) -> None:
    """As after a kill: before the commit's one write it opens at the old state, behind it at the new one."""
    new, copies = case.new, []

    def act(number: int) -> None:
        target = case.indexes.root / f"copy{number}"
        _copy(case.index.path, target)
        copies.append(target)

    calls.act = act
    case.load()
    calls.act = lambda number: None
    assert len(copies) > 10
    seen = []
    for copy in copies:
        for mode in ("r", "w"):
            with bitdex.open(copy, mode, sync="none") as index:
                seen.append(state(index))
                assert seen[-1] in (case.old, new)
                if mode == "w":
                    assert set(index.check()["severity"]) <= {"note"}  # files that the next commit replaces
        with bitdex.open(copy, "w", sync="none") as index:
            index.dump(case.phase, source=case.source, now=NOON)
            assert state(index) == new
        shutil.rmtree(copy)
    changed = [found == new for found in seen]
    assert changed == sorted(changed) and not changed[0]


def test_readers_keep_what_they_saw(case: Case) -> None:
    new = case.new
    reader = case.indexes.open()
    assert state(reader) == case.old
    case.load()
    assert state(reader) == case.old
    assert state(case.indexes.open()) == state(case.index) == new


def test_what_is_written(indexes: Indexes) -> None:
    index: Index = indexes.load(SCHEMA, ALL, FILES, NOON)
    names = {path.name for path in index.path.iterdir()}
    assert {
        "schema.json",
        "commit.bin",
        "fields.bin",
        "dictionaries.bin",
        "dumps.json",
        "documents",
        "bitmaps",
    } <= names
    assert not [name for name in names if name.startswith(".")], "temporary files are left"
    assert isinstance(index.documents, DocSilo) and isinstance(index.bitmaps, BitmapSilo)
    assert index.stats()["phases"] == ["rows", "tags", "likes", "due"]
    assert index.check().empty


def test_what_a_killed_load_has_spilled_goes_when_the_next_writer_opens(indexes: Indexes) -> None:
    index = indexes.create(SCHEMA)
    left = index.path / "temporary" / "postings-0123456789ab.spill"
    left.parent.mkdir(exist_ok=True)
    left.write_bytes(b"\0" * 4096)
    index.close()
    indexes.open().close()
    assert left.exists()  # a reader may stand beside the writer whose file it is
    indexes.open(mode="w")
    assert list(left.parent.iterdir()) == []
