"""An index against the naive oracle: phases loaded, again and failing, queried, compacted, crashed, saved.

A reader of its own follows when it is told to, and pages and documents are kept: they must not change. A
crash is a copy of the directory, taken at any change of the files; the machine goes on in the copy.
"""

import random
import shutil
from collections import Counter
from errno import EIO, ENOSPC
from functools import partial
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

import bitdex
from bitdex.errors import InvalidError, LockedError, WriteFailedError
from bitdex.query import clauses as c
from bitdex.schema import Schema
from tests.concurrency.interleaving import SYNCS, Moment, Socket, Unsynced, traced
from tests.index.content import PHASES, Content, documents, phase, schema, table
from tests.index.test_commit import POINTS, Boom, fail_at
from tests.index.test_dump_model import compare_pages
from tests.scale import scale, seeds
from tests.system import CHANGES, Faulty, install

RUNS, STEPS = scale((1, 150), (200, 50)), scale(50, 100)  # runs of so many machines for each schema
KEPT = 5
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


class IndexMachine(RuleBasedStateMachine):
    """`content` is what the writer shows, `reader_content` what the reader does, `kept` are pages."""

    totals: ClassVar[Counter] = Counter()

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
        found = next((one for one in possible if one.equals(index)), None)
        assert found, f"{documents(index)}, not one of {[one.documents() for one in possible]}"
        return found

    def load(self, name, text, now=0):
        (result,) = self.index.dump(phase(name), source={name: self.file(name, text)}, now=now)
        assert result.rows == result.applied + result.filtered + result.rejected

    def file(self, name, text):
        path = self.root / f"{name}.csv"
        path.write_text(text, newline="")
        return path

    def work(self, name, draw):
        """Return something to do, a load or a compaction, and what is there when it is done."""
        text = table(draw)
        if name == "compact" or self.content.refuses(name, text):
            return self.index.compact, self.content
        return partial(self.load, name, text), self.content.loaded(name, text, 0)

    # -- loading

    @rule(name=phases, draw=draws, now=moments)
    def load_a_phase(self, name, draw, now):
        text = table(draw)
        if self.content.refuses(name, text):
            with pytest.raises(InvalidError, match=r"cannot be told apart|none of"):
                self.load(name, text, now)
        else:
            self.load(name, text, now)
            self.content = self.content.loaded(name, text, now)
            self.totals["commits"] += 1

    @rule(names=st.lists(phases, min_size=2, max_size=4, unique=True), draw=draws, now=moments)
    def load_phases(self, names, draw, now):
        """Load some at once: those before one that fails are there."""
        texts, refused = {name: table(draw) for name in names}, False
        for name, text in texts.items():
            refused = refused or self.content.refuses(name, text)
            self.content = self.content if refused else self.content.loaded(name, text, now)
        source = {name: self.file(name, text) for name, text in texts.items()}
        try:
            self.index.dump([phase(name) for name in names], source=source, now=now)
        except InvalidError:
            assert refused
        else:
            assert not refused

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

    @rule(
        sort=st.sampled_from([None, "likes", "-at", "sortAt"]), limit=st.integers(1, 4), where=st.booleans()
    )
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
            do()
            shown, _, refreshed, fresh = moment.seen()
        self.totals["looks"] += 1
        assert before in (shown, after) or after in (refreshed, fresh), "older than what the writer shows"
        self.content, self.reader_content = after, refreshed

    # -- trouble

    @rule(how=st.sampled_from(["closed", "crashed", "restored"]))
    def go_on(self, how):
        self.totals[how] += 1
        target = self.directory()
        if how == "closed":
            self.reopen()
        elif how == "crashed":
            shutil.copytree(self.path, target)
            self.move(target, self.content)
        else:
            backup = self.directory()
            self.index.backup(backup)
            bitdex.restore(backup, target)
            with bitdex.open(backup, "r") as index:
                self.which(index, self.content)
            shutil.rmtree(backup)
            self.move(target, self.content)

    @rule(name=phases | st.just("compact"), draw=draws, number=numbers)
    def crash_within(self, name, draw, number):
        target, (do, after) = self.directory(), self.work(name, draw)
        with self.socket.holding(Moment(number, partial(shutil.copytree, self.path, target))) as moment:
            do()
            came = moment.come
            moment.seen()
        self.which(self.index, after)
        self.totals["crashed"] += 1
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
                do()
            except OSError as caught:
                error = caught
        hidden = error is None and faulty.failed is not None  # answers are saved if that is possible
        assert not hidden or do == self.index.compact, f"{faulty.failed} gave nothing"
        assert error is None or faulty.failed is not None, f"nothing gave {error!r}"
        self.content = self.which(self.index, *([self.content] if error else []), after)
        if isinstance(error, WriteFailedError):
            self.totals["failures"] += 1
            for refused in (partial(self.load, "rows", "slot\n1\n"), self.index.compact):
                with pytest.raises(LockedError, match=f"errno {error.errno}"):
                    refused()
            self.agrees()
            self.reopen()
            self.content = self.which(self.index, self.content, after)
        elif hidden and not self.index.health()["writable"]:
            self.reopen()

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
    numbers = seeds(runs)
    for number in numbers:
        with traced(f"seed {number}, {'deferred' if deferred else 'all at once'}"):
            machine = seed(f"{number} {deferred}")(partial(IndexMachine, tmp_path, schema(deferred)))
            run_state_machine_as_test(machine, settings=options)
    print(f"\ntorture: index model: {len(numbers) * machines:,} machines, {dict(IndexMachine.totals)}")
