"""An index against the naive oracle: phases loaded, loaded again and failing, queried, compacted, crashed, backed up.

A reader of its own follows when it is told to, and pages and documents are kept: they must show what they showed. A
crash is a copy of the directory, taken at any change of the files; the machine goes on in the copy.
"""

import csv
import io
import random
import shutil
from collections import Counter
from errno import EIO, ENOSPC
from functools import partial

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

import bitdex
from bitdex.errors import InvalidError, LockedError, WriteFailedError
from bitdex.query import clauses as c
from bitdex.schema import Schema
from tests.concurrency.interleaving import SYNCS, Moment, Socket, Unsynced
from tests.index.strategies import BAD_SLOTS, COLUMNS, MAPPED, SLOTS
from tests.index.test_commit import POINTS, Boom, fail_at
from tests.index.test_dump_model import compare_pages, shown
from tests.oracle import Oracle
from tests.scale import scale, seeds
from tests.system import CHANGES, Faulty, install

RUNS, STEPS = scale((1, 20), (40, 250)), scale(50, 100)  # runs of so many machines for each schema
KEPT = 5
FIELDS = {  # name -> kind, column, filter, sort, settings
    "level": ("integer", "i0", "single_value", None, {"default": 3}),
    "owner": ("integer", "wide", "single_value", None, {}),
    "flag": ("boolean", "b0", "boolean", None, {"default": False}),
    "type": ("low_cardinality_string", "s0", "single_value", None, {"case_sensitive": True}),
    "model": ("mapped_string", "s0", "single_value", None, {"string_map": MAPPED}),
    "tags": ("integer_array", "wide", "multi_value", None, {"default": []}),
    "likes": ("integer", "i1", None, {"bits": 8}, {"default": 0}),
    "score": ("float", "f0", None, {"bits": 64, "source_type": "float64"}, {}),
    "at": ("integer", "i0", None, {"bits": 32}, {}),
    "due": ("integer", "i2", None, {"bits": 32}, {}),
    "url": ("string", "s0", None, None, {"doc_only": True}),
}
PHASES = [  # no two write one field, but for the lists
    ("rows", True, ["level", "type", "flag", "at", "url"], {}),
    ("owners", False, ["owner"], {"filter": "flags & 1 == 0"}),
    ("models", True, ["model"], {}),
    ("tags", False, ["tags"], {}),
    ("more tags", False, ["tags"], {"filter": "i2 != null"}),
    ("likes", False, [], {"computed_fields": [{"target": "likes", "expression": "max(i0, i1)"}]}),
    ("due", False, ["due"], {}),
    ("scores", True, ["score"], {}),
]
QUERIES = [
    *(c.Eq("level", n) for n in (1, 3, 7)),
    *(c.Eq("owner", n) for n in (0, -1, 2**47)),
    *(c.Eq("type", text) for text in ("a", "B", "1,2")),
    *(c.Eq("model", text) for text in ("a", "b")),
    *(c.Eq("tags", n) for n in (5, -1, 2**63 - 1)),
    c.In("tags", (0, 5)),
    c.NotIn("level", (1, None)),
    c.Eq("flag", True),
    c.Gte("likes", 2),
    c.Between("at", 2, 50),
    c.Lt("score", 1.6),
    c.Gt("id", 8),
    *(c.IsNull(name) for name in ("owner", "type", "tags", "due", "score", "at")),
]
numbers = st.integers(1, 6) | st.integers(1, 60)  # of a change of the files
draws = st.integers(0, 2**31).map(random.Random)
moments = st.sampled_from([40, 50, 60])
phases = st.sampled_from([name for name, *_ in PHASES])


def schema(deferred):
    """Return an index definition, with documents that are deferred or without."""
    config = {"filter_fields": [], "sort_fields": []}
    for name, (_, _, filter_, sort, _) in FIELDS.items():
        if filter_:
            config["filter_fields"].append({"name": name, "field_type": filter_})
        if sort:
            config["sort_fields"].append({"name": name, **sort})
    config["sort_fields"].append({"name": "sortAt", "computed": {"op": "greatest", "source_fields": ["at", "due"]}})
    if deferred:
        config["deferred_alive"] = {"source_field": "due"}
    described = [
        {"source": name, "target": name, "value_type": kind, **options}
        for name, (kind, *_, options) in FIELDS.items()
    ]
    return {"name": "model", "config": config, "data_schema": {"fields": described}}


def phase(name):
    """Return a phase as YAML has it."""
    _, alive, fields, more = next(one for one in PHASES if one[0] == name)
    columns = [{"column": FIELDS[target][1], "target": target} for target in fields]
    return {"name": name, "slot_field": "slot", "sets_alive": alive, "fields": columns, **more}


def table(draw):
    """Return a file: rows for some slots, in order or not, and now and then one that is no slot."""
    slots = [str(slot) for slot in draw.choices(SLOTS, k=draw.randint(1, 9))]
    if draw.random() < 0.5:
        slots = sorted(set(slots), key=int)
    elif draw.random() < 0.3:
        slots.append(draw.choice(BAD_SLOTS))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["slot", *COLUMNS])
    writer.writerows([slot, *(draw.choice(cells) for cells in COLUMNS.values())] for slot in slots)
    return out.getvalue()


class Content:
    """What an index holds: the newest file of each phase, and which slots are visible. It never changes."""

    def __init__(self, definition, files=(), alive=frozenset()):
        self.schema, self.files, self.alive = definition, dict(files), alive
        self.oracle = Oracle(definition)
        self.oracle.dump([phase(name) for name in self.files], self._by_name(), 0)
        every = {**self.oracle.hidden, **self.oracle.documents}
        self.oracle.documents = {slot: every[slot] for slot in sorted(alive)}
        self.oracle.hidden = {slot: every[slot] for slot in every if slot not in alive}

    def _by_name(self):
        return {f"{name}.csv": text for name, text in self.files.items()}

    def refuses(self, name):
        """Tell whether a phase cannot be loaded again, because another one adds to the same lists."""
        return {"tags", "more tags"} <= {*self.files, name} and name in self.files

    def loaded(self, name, text, now):
        """Return what it holds after a phase."""
        files = {**self.files, name: text}
        slots, before = self.slots(name, text), self.slots(name, self.files.get(name))
        if not phase(name)["sets_alive"]:
            return Content(self.schema, files, self.alive)
        others = {slot for other in files if other != name for slot in self.slots(other, files[other], alive=True)}
        visible = slots | (before & others)
        holding = Content(self.schema, files, visible).oracle
        deferred = {slot for slot in visible if self.schema.deferred and (holding.value(slot, "due") or 0) > now}
        return Content(self.schema, files, (self.alive - before - visible) | (visible - deferred))

    def slots(self, name, text, alive=False):
        """Return the slots that a phase writes; with `alive` none if it makes none visible."""
        if text is None or (alive and not phase(name)["sets_alive"]):
            return frozenset()
        alone = Oracle(self.schema)
        alone.dump([{**phase(name), "sets_alive": False}], {f"{name}.csv": text}, 0)
        return frozenset(alone.hidden)

    def documents(self):
        """Return the visible documents, by slot."""
        return {slot: shown(self.oracle, slot) for slot in self.oracle.documents}

    def hidden_documents(self):
        """Return what is stored and not visible."""
        return {slot: shown(self.oracle, slot) for slot in self.oracle.hidden}


def documents(index):
    """Return the visible documents of an index, by slot, read in two ways."""
    ids = index.ids()
    found = {one["id"]: one for one in index.get_many(ids)}
    if len(ids):
        assert index.get(int(ids[-1])) == found[int(ids[-1])]
    return found


class IndexMachine(RuleBasedStateMachine):
    """`content` is what the writer shows, `reader_content` what the reader does, `kept` are pages and what they show."""

    totals = Counter()

    def __init__(self, root, definition):
        super().__init__()
        self.root, self.definition = root, definition
        self.patch, self.socket = pytest.MonkeyPatch(), Socket()
        install(self.patch, self.socket, Unsynced())
        self.index = None
        self.content = self.reader_content = Content(Schema.load(definition))
        self.kept, self.draw = [], random.Random(0)

    @initialize(draw=draws)
    def make(self, draw):
        self.path, self.draw = self.directory(), draw
        self.index = bitdex.create(self.path, self.definition)
        self.reader = bitdex.open(self.path, "r")

    def teardown(self):
        try:
            if self.index is not None:
                errors = self.index.check().query("severity == 'error'")
                self.leave()
                self.kept_pages_hold()
                assert errors.empty, errors.to_string()
        finally:
            self.patch.undo()

    # -- what rules are made of

    def directory(self):
        """Return a directory that was never there."""
        self.totals["directories"] += 1
        return self.root / f"{self.totals['directories']}"

    def leave(self):
        """Close what is open, and remove the directory: kept pages live without it."""
        self.index.close()
        self.reader.close()
        shutil.rmtree(self.path)

    def reopen(self):
        self.index.close()
        self.index = bitdex.open(self.path)

    def move(self, path, *possible):
        """Go on in a copy, which has to hold one of these."""
        self.leave()
        self.path = path
        self.index, self.reader = bitdex.open(path), bitdex.open(path, "r")
        self.content = self.reader_content = self.which(self.index, *possible)

    def which(self, index, *possible):
        """Return what an index holds, hidden documents too, which has to be one of these."""
        found = documents(index)
        alike = [one for one in possible if one.documents() == found]
        assert alike, f"{found}, not one of {[one.documents() for one in possible]}"
        stored = index.snapshot.documents
        hidden = [{slot: stored.get(slot) for slot in one.oracle.hidden} for one in alike]
        exact = [one for one, documents in zip(alike, hidden) if documents == one.hidden_documents()]
        assert exact, f"hidden: {hidden}, not {[one.hidden_documents() for one in alike]}"
        return exact[0]

    def load(self, name, text, now=0):
        (result,) = self.index.dump(phase(name), source={name: self.file(name, text)}, now=now)
        assert result.rows == result.applied + result.filtered + result.rejected

    def file(self, name, text):
        path = self.root / f"{name}.csv"
        path.write_text(text, newline="")
        return path

    def work(self, name, draw):
        """Return something to do, a load or a compaction, and what is there when it is done."""
        if name == "compact" or self.content.refuses(name):
            return self.index.compact, self.content
        text = table(draw)
        return partial(self.load, name, text), self.content.loaded(name, text, 0)

    # -- loading

    @rule(name=phases, draw=draws, now=moments)
    def load_a_phase(self, name, draw, now):
        text = table(draw)
        if self.content.refuses(name):
            with pytest.raises(InvalidError, match="cannot be told apart"):
                self.load(name, text, now)
            return
        try:
            self.load(name, text, now)
        except InvalidError as error:
            assert "none of" in str(error) and not self.content.slots(name, text)
            return
        self.totals["phases"] += 1
        self.content = self.content.loaded(name, text, now)

    @rule()
    def compact(self):
        self.index.compact()
        assert not self.index.needs_compaction

    @rule(name=phases, draw=draws, point=st.sampled_from(sorted(POINTS)))
    def give_up_a_phase(self, name, draw, point):
        do, after = self.work(name, draw)
        with pytest.MonkeyPatch.context() as patch:
            fail_at(patch, *POINTS[point], Boom)
            try:
                do()
            except Boom:
                after = self.content
        self.content = after

    # -- reading

    @rule()
    def refresh(self):
        changed = self.reader.refresh()
        assert changed or self.reader_content.documents() == self.content.documents()
        self.reader_content = self.which(self.reader, self.content)
        assert not self.reader.refresh()

    @rule(sort=st.sampled_from([None, "likes", "-at", "sortAt"]), limit=st.integers(1, 4), where=st.booleans())
    def keep_a_page(self, sort, limit, where):
        """Take a page and the documents behind it, of the writer or the reader."""
        index, content = (self.index, self.content) if where else (self.reader, self.reader_content)
        page, expected = index.query(sort=sort, limit=limit), content.documents()
        ids = content.oracle.query(c.EVERYTHING, sort)[0]
        self.kept.append((page, ids, [expected[slot] for slot in ids]))
        if len(self.kept) > KEPT:
            self.kept_pages_hold(self.kept.pop(0))

    def kept_pages_hold(self, *some):
        for page, ids, expected in some or self.kept:
            found = page.documents()
            assert found == expected[: len(page)] and page.total == len(ids)
            assert page.next().ids.tolist() == ids[len(page) : len(page) + page.request.limit]
            assert page.to_pandas(["id"])["id"].tolist() == ids[: len(page)]

    @rule(name=phases | st.just("compact"), draw=draws, number=numbers)
    def look_within(self, name, draw, number):
        """Everybody sees the commit before or the one after, whatever the moment."""
        do, after = self.work(name, draw)
        before = self.content

        def look():
            seen = [self.which(self.index, before, after), self.which(self.reader, self.reader_content)]
            self.reader.refresh()
            seen.append(self.which(self.reader, before, after))
            with bitdex.open(self.path, "r") as fresh:
                return [*seen, self.which(fresh, before, after)]

        with self.socket.holding(Moment(number, look)) as moment:
            after = self.done(do, after)
            shown, _, refreshed, fresh = moment.seen()
        self.totals["looks"] += 1
        assert before in (shown, after) or after in (refreshed, fresh), "older than what the writer shows"
        self.content, self.reader_content = after, refreshed

    def done(self, do, after):
        """Return what is there after `do`: nothing new if the table was of no use."""
        try:
            do()
        except InvalidError as error:
            assert "none of" in str(error)
            return self.content
        return after

    # -- trouble

    @rule()
    def close_and_open(self):
        self.reopen()

    @rule()
    def crash(self):
        target = self.directory()
        self.totals["crashes"] += 1
        shutil.copytree(self.path, target)
        self.move(target, self.content)

    @rule(name=phases | st.just("compact"), draw=draws, number=numbers)
    def crash_within(self, name, draw, number):
        target, (do, after) = self.directory(), self.work(name, draw)
        with self.socket.holding(Moment(number, partial(shutil.copytree, self.path, target))) as moment:
            after = self.done(do, after)
            came = moment.come
            moment.seen()
        self.which(self.index, after)
        self.totals["crashes"] += 1
        self.move(target, *([self.content] if came else []), after)

    @rule(
        name=phases | st.just("compact"),
        draw=draws,
        number=numbers,
        errno=st.sampled_from([EIO, ENOSPC]),
        short=st.booleans(),
        among=st.sampled_from([CHANGES, SYNCS, ("pwrite",), ("replace", "unlink")]),
    )
    def fail(self, name, draw, number, errno, short, among):
        """A change fails: if it was a write, nothing is written any more, and what is shown stays."""
        do, after = self.work(name, draw)
        error = None
        with self.socket.holding(Faulty(number, errno, short, among)) as faulty:
            try:
                after = self.done(do, after)
            except OSError as caught:
                error = caught
        assert (error is None) == (faulty.failed is None), f"{faulty.failed} gave {error!r}"
        self.content = self.which(self.index, *([self.content] if error else []), after)
        if isinstance(error, WriteFailedError):
            self.totals["failures"] += 1
            for refused in (partial(self.load, "rows", "slot\n1\n"), self.index.compact):
                with pytest.raises(LockedError, match=f"errno {error.errno}"):
                    refused()
            self.agrees()
            self.reopen()
            self.content = self.which(self.index, self.content, after)

    @rule()
    def back_up_and_restore(self):
        backup, restored = self.directory(), self.directory()
        self.index.backup(backup)
        bitdex.restore(backup, restored)
        self.totals["backups"] += 1
        for path in (backup, restored):
            with bitdex.open(path, "r") as index:
                self.which(index, self.content)
            shutil.rmtree(path)

    # -- at every step

    @invariant()
    def agrees(self):
        if self.index is None:
            return
        self.totals["steps"] += 1
        for index, content in ((self.index, self.content), (self.reader, self.reader_content)):
            self.which(index, content)
            for clause in self.clauses():
                expected = sorted(content.oracle.query(clause)[0])
                assert index.ids(clause).tolist() == expected, str(clause)
                assert index.count(clause) == len(expected)
        name = self.draw.choice([None, "likes", "-score", "at", "-due", "-sortAt"])
        compare_pages(self.index, self.content.oracle, self.clauses()[-1], name, self.draw.randint(1, 4))
        if self.kept:
            self.kept_pages_hold(self.draw.choice(self.kept))

    def clauses(self):
        """Return some clauses and a combination of them."""
        some = self.draw.sample(QUERIES, 3)
        kind = self.draw.choice([c.And, c.Or])
        return [*some, kind((some[0], c.Not(some[1]), some[2]))]


@pytest.mark.timeout(scale(900, 0))
@pytest.mark.parametrize("deferred", [False, True], ids=["all at once", "deferred"])
def test_index(tmp_path, deferred):
    IndexMachine.totals.clear()
    runs, machines = RUNS
    options = settings(
        max_examples=machines,
        stateful_step_count=STEPS,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    for number in seeds(runs):
        try:
            run_state_machine_as_test(
                seed(number)(partial(IndexMachine, tmp_path, schema(deferred))), settings=options
            )
        except BaseException as error:
            error.add_note(f"seed {number}, deferred {deferred}")
            raise
    print(f"\ntorture: index model: {runs * machines:,} machines, {dict(IndexMachine.totals)}")
