"""Work on an index that is killed again and again: phases loaded and loaded anew, and what it may hold then.

The model is the newest table of each phase: a phase is one commit, and loading it again replaces it.
"""

from itertools import accumulate

import pandas as pd

import bitdex
from bitdex.errors import NotFoundError
from tests.crash.campaign import Victim

SCHEMA = {
    "name": "killed",
    "config": {
        "filter_fields": [
            {"name": "n", "field_type": "single_value"},
            {"name": "kind", "field_type": "single_value"},
            {"name": "tags", "field_type": "multi_value"},
        ],
        "sort_fields": [{"name": "likes"}],
    },
    "data_schema": {
        "fields": [
            {"source": "kind", "target": "kind", "value_type": "low_cardinality_string"},
            {"source": "tags", "target": "tags", "value_type": "integer_array", "default": []},
            {"source": "likes", "target": "likes", "value_type": "integer", "default": 0},
            {"source": "url", "target": "url", "value_type": "string", "doc_only": True},
        ]
    },
}
FIELDS = {"rows": ["n", "kind", "url"], "tags": ["tags"], "likes": ["likes"]}


IDS = range(40)
TAGS = range(8)


class Load:
    """A step of a plan: a phase with its table. Document 0 shows the number of each phase's newest load."""

    def __init__(self, draw, phase, number, directory):
        self.phase, self.table = phase, TABLES[phase](draw, number)
        self._source = self.table
        if directory and draw.random() < 0.5:
            self._source = directory / f"{phase}-{number}.csv"
            self.table.to_csv(self._source, index=False)

    def do(self, index):
        """Load it."""
        phase = {"name": self.phase, "slot_field": "id", "fields": FIELDS[self.phase]}
        index.dump(phase | {"sets_alive": self.phase == "rows"}, source={self.phase: self._source}, now=0)

    def apply(self, tables):
        """Return what the model is with it."""
        return tables | {self.phase: self.table}

    def __str__(self):
        return f"{self.phase}({len(self.table)} rows)"


class Compact:
    """A step of a plan that changes no content."""

    def do(self, index):
        """Compact the index."""
        index.compact()

    def apply(self, tables):
        """Return what the model is with it."""
        return tables

    def __str__(self):
        return "compact"


def _rows(draw, number):
    ids = _ids(draw)
    urls = [f"u{draw.randint(0, 999)}" * draw.choice([1, 1, 200]) for _ in ids]
    columns = {"id": ids, "n": draw.choices(range(5), k=len(ids)), "kind": draw.choices("abcde", k=len(ids))}
    return pd.DataFrame(columns | {"url": [f"u{number}", *urls[1:]]})


def _tags(draw, number):
    rows = [(one, tag) for one in _ids(draw) for tag in sorted(draw.sample(TAGS, draw.randint(1, 4)))]
    return pd.DataFrame([*rows, (0, 1000 + number)], columns=["id", "tags"])


def _likes(draw, number):
    ids = _ids(draw)
    return pd.DataFrame({"id": ids, "likes": [1000 + number, *draw.choices(range(99), k=len(ids) - 1)]})


def _ids(draw):
    return [0, *sorted(draw.sample(IDS[1:], draw.randint(1, 30)))]


TABLES = {"rows": _rows, "tags": _tags, "likes": _likes}


def documents_of(tables):
    """Return the documents that these tables make, as {id: values}."""
    found = {}
    for row in _tuples(tables, "rows"):
        found[row.id] = {"n": row.n, "kind": row.kind, "url": row.url, "tags": [], "likes": 0}
    for row in _tuples(tables, "tags"):
        if row.id in found:
            found[row.id]["tags"].append(row.tags)
    for row in _tuples(tables, "likes"):
        if row.id in found:
            found[row.id]["likes"] = row.likes
    return found


def _tuples(tables, phase):
    return tables[phase].itertuples() if phase in tables else ()


def documents_in(index):
    """Return the documents of an index, as {id: values}."""
    if not len(index):
        return {}
    frame = index.to_pandas(["n", "kind", "url", "tags", "likes"])
    found = {}
    for row in frame.itertuples():
        tags = sorted(row.tags)
        found[row.id] = {"n": row.n, "kind": row.kind, "url": row.url, "tags": tags, "likes": row.likes}
    return found


def disagreements(index, documents):
    """Return the questions that the bitmaps answer in another way than the documents."""
    asked = {f"n == {value}": ("n", value) for value in range(5)}
    asked |= {f"kind == '{value}'": ("kind", value) for value in "abcde"}
    expected = {
        question: [one for one, values in documents.items() if values[field] == value]
        for question, (field, value) in asked.items()
    }
    for tag in TAGS:
        expected[f"tags has {tag}"] = [one for one, values in documents.items() if tag in values["tags"]]
    wrong = [question for question, ids in expected.items() if index.ids(question).tolist() != ids]
    by_likes = sorted(documents, key=lambda one: (documents[one]["likes"], one))
    if index.query(sort="likes", limit=1000).ids.tolist() != by_likes:
        wrong.append("sorted by likes")
    return wrong


class KilledIndex(Victim):
    """An index into which phases are loaded again and again."""

    nothing = ()
    lives = 15
    pace = 0.02

    def __init__(self, path, draw, sync):
        super().__init__(path, sync)
        self.tables, self._number = {}, 0
        self.files = path.with_name("files")
        self.files.mkdir(exist_ok=True)
        self._make()

    def _make(self):
        bitdex.create(self.path, SCHEMA, self.sync).close()

    @staticmethod
    def shown(tables):
        """Return the documents of a state of the model."""
        return documents_of(tables)

    def warm(self, draw):
        self.files = None  # Arrow reads files with threads, which stay
        super().warm(draw)

    def plan(self, draw):
        steps = draw.choices(["rows", "tags", "tags", "likes", "compact"], k=draw.randint(1, 6))
        return Plan(self._step(draw, step) for step in steps), len(steps)

    def tour(self, draw):
        return Plan(self._step(draw, step) for step in ["rows", "tags", "compact"])

    def sequel(self, draw):
        return Plan([self._step(draw, "likes")])

    def _step(self, draw, phase):
        self._number += 1
        return Compact() if phase == "compact" else Load(draw, phase, self._number, self.files)

    def open(self, mode):
        return bitdex.open(self.path, mode, self.sync)

    def work(self, store, plan, say):
        for step in plan:
            step.do(store)
            say("0 done")

    def found(self, store):
        errors = store.check().query("severity == 'error'").to_dict("records")
        documents = documents_in(store)
        return documents, errors + disagreements(store, documents)

    def settle(self, found, plan, said):
        acknowledged = sum(words[0] == "0" for words in said)
        states = list(accumulate(plan, lambda tables, step: step.apply(tables), initial=self.tables))
        equal = [number for number, state in enumerate(states) if self.shown(state) == found]
        wanted = [number for number in equal if number in (acknowledged, acknowledged + 1)]
        assert wanted, (
            f"{acknowledged} of {len(plan)} steps are acknowledged, the index holds those of prefix {equal}:"
            f"\nfound    {found}\nexpected {self.shown(states[acknowledged])}"
        )
        self.tables = states[wanted[0]]


class ReloadedIndex(KilledIndex):
    """An index into which every phase is loaded twice."""

    def tour(self, draw):
        steps = ["rows", "tags", "rows", "compact", "tags", "likes", "likes", "compact"]
        return Plan(self._step(draw, step) for step in steps)


class NewIndex(KilledIndex):
    """An index that children make: one that was killed on the way is made again."""

    def _make(self):
        pass

    def tour(self, draw):
        return Plan([self._step(draw, "rows")])

    def open(self, mode):
        try:
            return super().open(mode)
        except NotFoundError:
            if mode == "r":
                raise
            return bitdex.create(self.path, SCHEMA, self.sync)


class Plan(tuple):
    """The steps of a child."""

    def __str__(self):
        return " ".join(map(str, self))
