"""A model of changes: documents put, patched and deleted in any order, against the naive oracle.

Time moves, a reader follows, the index is compacted and reopened, and now and then the machine goes on in a
copy of the directory that was taken in the middle of a commit. After every step all documents, some queries
and every bit of every bitmap are what the oracle says.
"""

import random
import shutil
import time
from contextlib import contextmanager
from functools import partial

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

import bitdex
from bitdex.errors import InvalidError, NotFoundError
from bitdex.live import batch
from bitdex.query import clauses as c
from bitdex.schema import Schema
from tests.concurrency.interleaving import Moment, Socket, Unsynced, traced
from tests.index.content import schema
from tests.index.strategies import SLOTS
from tests.index.test_dump_model import compare_pages, shown
from tests.live.bits import differences
from tests.oracle import Oracle
from tests.scale import scale, seeds
from tests.system import install

RUNS, STEPS = scale((1, 150), (200, 50)), scale(50, 100)  # runs of so many machines for each schema
BEGIN = 1_000_000
VALUES = {
    "level": [0, 1, 3, 7, -5, 2**47, 2**63 - 1],
    "owner": [0, 1, -1, 2**47, -(2**63)],
    "flag": [True, False],
    "type": ["a", "A", "b", "x y"],
    "model": ["a", "B"],
    "tags": [[1], [1, 2, 3], [5, -1], [2**63 - 1], []],
    "groups": [[1], [2, 3], [-7, 1]],
    "hot": [True, False],
    "likes": [0, 1, 2, 128, 255],
    "score": [0.0, -1.5, 1e300, 7.25],
    "at": [0, 1, 50, BEGIN - 10],
    "due": [0, 40, BEGIN, BEGIN + 5, BEGIN + 60, BEGIN + 3000],
    "url": ["x", "y" * 300],
    "extra": [0, 5, 300],
    "names": ["p", "q"],
    "lists": [[1], [2, 9], []],
    "rate": [0.5, -2.0],
    "marks": [[1], [2, 3], []],
}
EXIST = {  # which tell whether another has a value, some in bitmaps only; of two others that come later
    "marked": "marks",
    "dated": "due",
    "owned": "owner",
    "grouped": "groups",
    "rated": "rate",
    "listed": "lists",
}
ONLY_BITS = {"dated", "grouped", "listed"}
ADDED = {  # and dropped
    "extra": {"filter": "single_value", "sort": True, "default": 4},
    "names": {"filter": "single_value", "value_type": "low_cardinality_string"},
    "lists": {"filter": "multi_value", "default": [7]},
    "rate": {"sort": "float64"},
    "best": {"sort": {"source_type": "int64", "computed": {"op": "least", "source_fields": ["likes", "at"]}}},
    "level": {"filter": "single_value", "default": 1},
    "score": {"sort": "float64", "default": 0.5},
    "flag": {"filter": "boolean"},
    "tags": {"filter": "multi_value"},
    "url": {"filter": "single_value", "value_type": "low_cardinality_string"},
}
FRESH = ["fresh", "fresher"]  # labels that no document is given, but for those that are refused
DEFAULTS = {
    "level": [None, 3, 7],
    "owner": [None, -1, 2**47],
    "flag": [None, True],
    "type": [None, "a", *FRESH],
    "model": [None, "a", "B"],
    "tags": [None, [1], []],
    "groups": [None, [1, -7]],
    "hot": [None, True],
    "likes": [None, 0, 2],
    "score": [None, 7.25],
    "at": [None, 50],
    "url": [None, "x"],
    "extra": [None, 5],
    "names": [None, "q"],
    "lists": [None, [2, 9]],
    "rate": [None, 0.5],
}
QUERIES = [
    *(c.Eq("level", n) for n in (1, 3, 7)),
    *(c.Eq("owner", n) for n in (0, -1, 2**47)),
    *(c.Eq("type", text) for text in ("a", "A", "b", *FRESH)),
    *(c.Eq("model", text) for text in ("a", "b")),
    *(c.Eq("tags", n) for n in (1, -1, 2**63 - 1)),
    *(c.Eq("groups", n) for n in (1, 3, -7)),
    c.In("tags", (1, 5)),
    c.NotIn("level", (1, None)),
    c.Eq("flag", True),
    c.Eq("hot", True),
    *(c.Eq(name, there) for name in EXIST for there in (True, False)),
    c.Gte("likes", 2),
    c.Between("at", 1, 50),
    c.Lt("score", 1.6),
    c.Gt("id", 8),
    *(c.IsNull(name) for name in ("owner", "type", "tags", "groups", "due", "score", "at")),
    *(c.Eq("extra", n) for n in (4, 5)),
    *(c.Eq("names", text) for text in "pq"),
    *(c.Eq("lists", n) for n in (7, 9)),
    *(c.IsNull(name) for name in ("extra", "names", "lists", "rate", "level", "flag", "best")),
    c.Gte("best", 1),
    c.Eq("url", "x"),
]
SORTS = ["likes", "-score", "score", "at", "-at", "-sortAt", "due", "-extra", "rate", "best"]


def table(rows):
    """Return documents as an Arrow table: what one lacks is null."""
    names = dict.fromkeys(["id", *(name for row in rows for name in row)])
    columns = {name: [row.get(name) for row in rows] for name in names}
    return pa.table(columns if rows else {"id": pa.array([], pa.int64())})


SHAPES = [list, table, lambda rows: table(rows).to_pandas(types_mapper=pd.ArrowDtype)]
slots = st.sampled_from(SLOTS)
draws = st.integers(0, 2**31).map(random.Random)
documents = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from(values) for name, values in VALUES.items()}
)
patches = st.fixed_dictionaries(
    {}, optional={name: st.none() | st.sampled_from(values) for name, values in VALUES.items()}
)


def definition(deferred):
    """Return an index definition with fields of every kind, three of them in bitmaps only."""
    content = schema(deferred)
    content["config"]["filter_fields"] += [
        {"name": "groups", "field_type": "multi_value"},
        {"name": "hot", "field_type": "boolean"},
        {"name": "marks", "field_type": "multi_value"},
        *({"name": name, "field_type": "boolean"} for name in EXIST),
    ]
    content["data_schema"]["fields"] += [
        {"source": "groups", "target": "groups", "value_type": "integer_array", "filter_only": True},
        {"source": "hot", "target": "hot", "value_type": "boolean", "filter_only": True},
        {"source": "marks", "target": "marks", "value_type": "integer_array"},
        *(
            {"source": one, "target": name, "value_type": "exists_boolean", "filter_only": name in ONLY_BITS}
            for name, one in EXIST.items()
        ),
    ]
    return content


class Model:
    """What the index is to hold: the fields given of each document, visible or not. It never changes."""

    def __init__(self, known, documents=None):
        self.schema, self.documents = known, documents or {}

    def with_(self, changes):
        """Return the model with documents changed; None deletes."""
        documents = {**self.documents, **changes}
        return Model(self.schema, {slot: one for slot, one in documents.items() if one is not None})

    def known(self, fields):
        """Return those of some fields that the schema has."""
        return {name: value for name, value in fields.items() if self.schema.has(name)}

    def asks(self, query):
        """Tell whether the schema has what a query asks for."""
        name = query.field
        return name == "id" or (self.schema.has(name) and self.schema.field(name).indexed)

    def defined(self, known):
        """Return the model under another schema: what was dropped is gone, defaults that counted stay."""
        filled = {}
        for name, field in self.schema.fields.items():
            computed = field.sort is not None and field.sort.computed is not None
            if not computed and known.has(name) and known.field(name).default != field.default:
                held = list(field.default) if isinstance(field.default, tuple) else field.default
                filled |= {} if held is None else {name: held}
        documents = {}
        for slot, fields in self.documents.items():
            given = {name: value for name, value in fields.items() if value is not None and value != []}
            documents[slot] = {n: one for n, one in (filled | given).items() if known.has(n)}
        return Model(known, documents)

    def patched(self, slot, changes):
        """Return the fields of a document after a patch."""
        return {**self.documents.get(slot, {}), **changes}

    def oracle(self, now):
        """Return the oracle at a moment."""
        oracle = Oracle(self.schema)
        for slot, fields in self.documents.items():
            given = {n: value for n, value in fields.items() if value is not None and value != []}
            oracle.put(slot, given | {name: source in given for name, source in EXIST.items()})
            if self.schema.deferred and (oracle.value(slot, "due") or 0) > now:
                oracle.hidden[slot] = oracle.documents.pop(slot)
        return oracle


class LiveMachine(RuleBasedStateMachine):
    """`model` is what the writer shows; `seen` what the reader does."""

    def __init__(self, root, content):
        super().__init__()
        self.root, self.content = root, content
        self.patch, self.socket = pytest.MonkeyPatch(), Socket()
        install(self.patch, self.socket, Unsynced())
        self.now = BEGIN
        self.patch.setattr(time, "time", lambda: self.now)
        self.index, self.draw = None, random.Random(0)
        self.model = self.seen = Model(Schema.load(content))

    def directory(self):
        return self.root / f"{len(list(self.root.iterdir()))}"

    @initialize(draw=draws)
    def make(self, draw):
        self.path, self.draw = self.directory(), draw
        self.index = bitdex.create(self.path, self.content)
        self.reader = bitdex.open(self.path, "r")

    def teardown(self):
        try:
            if self.index is not None:
                self.index.close(), self.reader.close()
        finally:
            self.patch.undo()

    # -- changes ---------------------------------------------------------------------------

    @rule(slot=slots, fields=documents)
    def put(self, slot, fields):
        fields = self.model.known(fields)
        self.index.put({"id": slot, **fields})
        self.model = self.model.with_({slot: fields})

    @rule(rows=st.lists(st.tuples(slots, documents), max_size=8), shape=st.sampled_from(SHAPES))
    def put_many(self, rows, shape):
        rows = [{"id": slot, **self.model.known(fields)} for slot, fields in rows]
        with self.in_columns_or_not():
            self.index.put_many(shape(rows))
        self.model = self.model.with_(
            {row["id"]: {n: v for n, v in row.items() if n != "id"} for row in rows}
        )

    @rule(slot=slots, label=st.sampled_from(FRESH))
    def refused(self, slot, label):
        """Labels that nothing comes of."""
        with pytest.raises(InvalidError), self.in_columns_or_not():
            self.index.put_many([{"id": slot, "type": label}, {"id": slot, "at": "never"}])

    @rule(slot=slots, changes=patches)
    def patch_one(self, slot, changes):
        changes = self.model.known(changes)
        if slot in self.model.documents:
            self.index.patch(slot, changes)
            self.model = self.model.with_({slot: self.model.patched(slot, changes)})
        else:
            with pytest.raises(NotFoundError, match=f"{slot}"):
                self.index.patch(slot, changes)

    @rule(slot=slots, changes=patches)
    def upsert(self, slot, changes):
        changes = self.model.known(changes)
        self.index.upsert(changes, id=slot)
        self.model = self.model.with_({slot: self.model.patched(slot, changes)})

    @rule(
        slot=slots,
        name=st.sampled_from(["tags", "groups", "marks"]),
        values=st.lists(st.sampled_from([1, 2, 3, -1, -7])),
        appends=st.booleans(),
    )
    def combine(self, slot, name, values, appends):
        if slot not in self.model.documents or not self.model.schema.has(name):
            return
        held = self.model.documents[slot].get(name) or []
        if appends:
            self.index.append(slot, name, values)
            held = list(dict.fromkeys([*held, *values]))
        else:
            self.index.remove(slot, name, values)
            held = [one for one in held if one not in values]
        self.model = self.model.with_({slot: {**self.model.documents[slot], name: held}})

    @rule(wanted=st.lists(slots, max_size=4), missing_ok=st.booleans())
    def delete(self, wanted, missing_ok):
        there = set(wanted) & set(self.model.documents)
        with self.in_columns_or_not():
            if missing_ok or there == set(wanted):
                assert self.index.delete(wanted, missing_ok=missing_ok) == len(there)
                self.model = self.model.with_(dict.fromkeys(there))
            else:
                with pytest.raises(NotFoundError):
                    self.index.delete(wanted)

    @rule(query=st.sampled_from(QUERIES))
    def delete_where(self, query):
        if not self.model.asks(query):
            return
        there = self.model.oracle(self.now).query(query)[0]
        with self.in_columns_or_not():
            assert self.index.delete(where=query) == len(there)
        self.model = self.model.with_(dict.fromkeys(there))

    @rule(
        query=st.sampled_from(QUERIES),
        changes=patches,
        name=st.sampled_from(["tags", "groups", "marks"]),
        values=st.lists(st.sampled_from([1, 2, 3, -1, -7])),
        appends=st.booleans(),
    )
    def change_all_that_are_found(self, query, changes, name, values, appends):
        changes = self.model.known(changes)
        if not self.model.asks(query) or not self.model.schema.has(name):
            return
        there = self.model.oracle(self.now).query(query)[0]
        ops = [{"op": "set", "field": one, "value": value} for one, value in changes.items()]
        ops.append({"op": "add" if appends else "remove", "field": name, "value": values})
        change = {"op": "queryOpSet", "query": str(query), "ops": ops}
        with self.in_columns_or_not():
            done = self.index.apply({"entity_id": 0, "ops": [change]})
        assert done == {"applied": len(there) * len(ops), "passed": 0}
        for slot in there:
            fields = self.model.patched(slot, changes)
            held = fields.get(name) or []
            held = list(dict.fromkeys([*held, *values])) if appends else [n for n in held if n not in values]
            self.model = self.model.with_({slot: {**fields, name: held}})

    @contextmanager
    def in_columns_or_not(self):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(batch.Batch, "MANY", self.draw.choice([1, 1000]))
            yield

    @rule(
        rows=st.lists(st.tuples(slots, patches), max_size=5),
        fails=st.booleans(),
        seconds=st.sampled_from([0, 5, 100, 4000]),
    )
    def batch(self, rows, fails, seconds):
        """Puts, upserts, deletes and changes of all in one commit, which an error at its end takes back.

        The clock goes on meanwhile, and somebody asks.
        """
        model, rows = self.model, [(slot, self.model.known(changes)) for slot, changes in rows]
        visible = self.model.oracle(self.now).documents
        try:
            with self.index.batch(), pytest.MonkeyPatch.context() as patch:
                patch.setattr(batch.Batch, "MANY", 1)
                for slot, changes in rows:
                    if self.draw.random() < 0.5:
                        self.now += seconds
                        visible = self.model.oracle(self.now).documents
                        assert self.index.ids().tolist() == sorted(visible), "seen before its commit"
                    how = self.draw.choice(["delete", "put", "upsert", "upsert", "all"])
                    if how == "delete":
                        self.index.delete(slot, missing_ok=True)
                        model = model.with_({slot: None})
                    elif how == "put":
                        self.index.put_many([{"id": slot, **changes}])
                        model = model.with_({slot: changes})
                    elif how == "upsert":
                        self.index.upsert({"id": slot, **changes})
                        model = model.with_({slot: model.patched(slot, changes)})
                    elif changes:
                        ops = [{"op": "set", "field": one, "value": value} for one, value in changes.items()]
                        all_of_them = {"op": "queryOpSet", "query": "id >= 0", "ops": ops}
                        self.index.apply({"entity_id": 0, "ops": [all_of_them]})
                        there = visible.keys() & model.documents.keys()
                        model = model.with_({one: model.patched(one, changes) for one in there})
                assert len(self.index) == len(visible), "seen before its commit"
                if fails:
                    self.index.patch(4, {})  # no such id is ever put
        except NotFoundError:
            assert fails
        else:
            assert not fails
            self.model = model

    @rule(rows=st.lists(st.tuples(slots, patches, st.booleans(), st.booleans()), max_size=4))
    def apply(self, rows):
        """Changes of a feed; its cursor is committed with them."""
        model, changes = self.model, []
        for slot, fields, creates, deletes in rows:
            fields = self.model.known(fields)
            ops = [{"op": "set", "field": name, "value": value} for name, value in fields.items()]
            changes.append(
                {"entity_id": slot, "creates_slot": creates, "ops": [*ops, *[{"op": "delete"}] * deletes]}
            )
            if slot in model.documents or (creates and ops):
                model = model.with_({slot: None if deletes else model.patched(slot, fields)})
        cursor = str(self.draw.random())
        self.index.apply(changes, feed="feed", cursor=cursor)
        assert self.index.cursors == {"feed": cursor}
        self.model = model

    # -- fields ----------------------------------------------------------------------------

    @rule(name=st.sampled_from(sorted(ADDED)))
    def add_or_drop(self, name):
        """Add a field, index one that documents hold, or drop it."""
        field = self.model.schema.fields.get(name)
        if field is None or not field.indexed:
            self.index.add_field(name, **ADDED[name])
        elif name in EXIST.values():
            with pytest.raises(InvalidError, match=f"{name}.* cannot be dropped"):
                self.index.drop_field(name)
        else:
            self.index.drop_field(name)
        self.defined()

    @rule(name=st.sampled_from(sorted(DEFAULTS)), draw=draws)
    def set_default(self, name, draw):
        if self.model.schema.has(name):
            self.index.set_default(name, draw.choice(DEFAULTS[name]))
            self.defined()

    @rule()
    def rebuild(self):
        self.index.rebuild()

    def defined(self):
        before, known = self.model.schema, self.index.schema
        assert known.version == before.version + (known.fields != before.fields)
        self.model = self.model.defined(known)

    # -- time, files, readers --------------------------------------------------------------

    @rule(seconds=st.sampled_from([1, 5, 100, 4000]))
    def wait(self, seconds):
        self.now += seconds

    @rule()
    def compact(self):
        self.index.compact()

    @rule()
    def reopen(self):
        self.index.close()
        self.index = bitdex.open(self.path)

    @rule()
    def refresh(self):
        self.reader.refresh()
        self.seen = self.model

    @rule(name=st.sampled_from(sorted(ADDED)), number=st.integers(1, 40))
    def crash_of_fields(self, name, number):
        """Go on in a copy that was taken while a field is added or dropped."""
        target, before = self.directory(), self.model
        moment = Moment(number, partial(shutil.copytree, self.path, target))
        with self.socket.holding(moment):
            self.add_or_drop(name)
        moment.seen()
        self.go_on(target)
        if self.index.schema.version == before.schema.version:
            self.model = before
        self.seen = self.model

    def go_on(self, target):
        self.index.close(), self.reader.close()
        self.path = target
        self.index, self.reader = bitdex.open(target), bitdex.open(target, "r")

    @rule(slot=slots, fields=documents, number=st.integers(1, 12), whole=st.booleans())
    def crash(self, slot, fields, number, whole):
        """Go on in a copy that was taken in the middle of a commit or a compaction."""
        target = self.directory()
        moment = Moment(number, partial(shutil.copytree, self.path, target))
        before, sequence = self.model, self.index.snapshot.sequence
        with self.socket.holding(moment):
            if whole:
                self.put(slot, fields)
            else:
                self.index.compact()
        moment.seen()
        self.go_on(target)
        if self.index.snapshot.sequence == sequence:  # documents may look alike where bitmaps do not
            self.model = before
        self.seen = self.model

    @invariant()
    def check(self):
        if self.index is None:
            return
        self.compare(self.index, self.model)
        if self.draw.random() < 0.2:
            self.compare(self.reader, self.seen)
        assert differences(self.index) == []

    def compare(self, index, model):
        oracle = model.oracle(self.now)
        ids = index.ids()
        assert ids.tolist() == sorted(oracle.documents)
        assert set(index.snapshot.deferred) == oracle.hidden.keys()
        found = {one["id"]: one for one in index.get_many(ids)}
        assert found == {slot: shown(oracle, slot) for slot in oracle.documents}
        assert index.schema == model.schema
        sorts = [sort for sort in SORTS if model.asks(c.IsNull(sort.lstrip("-")))]
        for query in self.draw.sample([query for query in QUERIES if model.asks(query)], 3):
            sort = self.draw.choice([None, *sorts])
            compare_pages(index, oracle, query, sort, 3)


@pytest.mark.timeout(scale(300, 24 * 3600))
@pytest.mark.parametrize("deferred", [False, True], ids=["at once", "deferred"])
def test_changes(tmp_path, deferred):
    runs, examples = RUNS
    numbers = seeds(runs)
    for number in numbers:
        (tmp_path / str(number)).mkdir()
        machine = partial(LiveMachine, tmp_path / str(number), definition(deferred))
        checked = settings(
            max_examples=examples,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        with traced(f"BITDEX_SEED={number}"):
            run_state_machine_as_test(seed(number)(machine), settings=checked)
        shutil.rmtree(tmp_path / str(number))
    print(f"\ntorture: model of changes: {len(numbers) * examples:,} machines of {STEPS} steps")
