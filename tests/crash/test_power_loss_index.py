"""An index whose power is cut while phases are loaded or fields change: all of each is there, or nothing."""

from functools import partial
from itertools import islice
from random import Random

import pytest

import bitdex
from bitdex.errors import NotFoundError
from tests import power
from tests.crash.cutting import Openings, Run, hold, recorded
from tests.index.test_rerun import FILES, LATER, LIKES, NOON, ROWS, SCHEMA, TAGS
from tests.scale import FIRST_SEED, scale

QUERIES = (
    "n == 30",
    "kind == 'a'",
    "kind == 'c'",
    "flag",
    "tags has 5",
    "tags has 8",
    "tags is null",
    "at > 150",
)


class IndexKind:
    """How an index is looked at."""

    def __init__(self, likes):
        self._likes = likes

    def open(self, path, mode):
        return bitdex.open(path, mode)

    def content(self, index):
        return {
            "documents": index.to_pandas().to_json(orient="split"),
            "counts": [index.count(query) for query in QUERIES],
            "newest": index.query(sort="-at").ids.tolist(),
            "liked": index.query("likes > 0", sort="-likes").ids.tolist(),
            "versions": [(version.sequence, version.change) for version in index.schema_versions],
            "phases": sorted((run.name, run.sequence, run.rows, run.applied) for run in index.phases),
        }

    def errors(self, index):
        found = index.check()
        return found[found.severity == "error"].to_dict("records")

    def write(self, index, content):
        index.dump(LIKES, source=self._likes, now=NOON)
        return self.content(index)


class Worker:
    """Loads phases, changes fields; what the index holds after each is what it has to hold after a cut."""

    def __init__(self, path, kind, files):
        self._kind, self._files = kind, files
        self._index = bitdex.open(path, "w")

    @property
    def model(self):
        return self._kind.content(self._index)

    def rows(self, random):
        self._index.dump(ROWS, source=self._files["first"], now=NOON)

    def tags(self, random):
        self._index.dump(TAGS, source=self._files["first"], now=NOON)

    def rows_again(self, random):
        self._index.dump(ROWS, source=self._files["later"], now=NOON)

    def adds(self, random):
        computed = {"op": "greatest", "source_fields": ["at", "likes"]}
        self._index.add_field("best", filter="single_value", sort={"computed": computed})

    def defaults(self, random):
        self._index.set_default("likes", 3)

    def drops(self, random):
        self._index.drop_field("url")

    def close(self):
        self._index.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return the directories of the tables, by name."""
    found = {}
    for name, tables in (("first", FILES), ("later", LATER)):
        found[name] = tmp_path_factory.mktemp(name)
        for table, text in tables.items():
            (found[name] / table).write_text(text)
    return found


@pytest.fixture
def openings(tmp_path_factory, files, request):
    opener = Openings(tmp_path_factory.mktemp("cuts"), IndexKind(files["first"]))
    yield opener
    print(f"\ntorture: power loss, {request.node.name}: {opener.states} directories opened")


@pytest.mark.timeout(scale(300, 14_400))
def test_fields_that_come_and_go(tmp_path, files, openings):
    with bitdex.create(tmp_path / "store", SCHEMA, sync="none") as index:
        index.dump(ROWS, source=files["first"], now=NOON)
    worker = partial(Worker, kind=IndexKind(files["first"]), files=files)
    run = Run(tmp_path, worker, ("adds", "defaults", "drops"))
    hold(run, openings, scale(1 / 6, 1), Random(FIRST_SEED))


@pytest.mark.timeout(scale(300, 14_400))
def test_two_phases_and_one_of_them_again(tmp_path, files, openings):
    bitdex.create(tmp_path / "store", SCHEMA, sync="none").close()
    worker = partial(Worker, kind=IndexKind(files["first"]), files=files)
    run = Run(tmp_path, worker, ("rows", "tags", "rows_again"))
    hold(run, openings, scale(1 / 30, 1), Random(FIRST_SEED))


def test_while_an_index_is_made(tmp_path, openings):
    """Once `bitdex.create` has returned the index is there; before, an empty one, or one can be made."""
    with recorded(tmp_path) as tracer:
        disk = power.Disk(tracer)
        with bitdex.create(tmp_path / "store", SCHEMA) as index:
            empty = openings.kind.content(index)
        tracer.acknowledge()
    made = []
    for state in islice(power.cuts(disk, tracer.end(), Random(FIRST_SEED)), 0, None, scale(3, 1)):
        try:
            assert openings.content(state, 1, Random(FIRST_SEED)) == empty, state
            made.append(state)
        except NotFoundError:
            assert not state.acknowledged, state
            with bitdex.create(openings.path, SCHEMA) as again:
                assert openings.kind.content(again) == empty, state
    assert made
