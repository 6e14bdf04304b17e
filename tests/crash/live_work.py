"""Work on an index whose documents are put, patched and deleted, while it is killed or calls fail."""

from unittest.mock import patch

import bitdex
from bitdex import registry_sets
from bitdex.formats.bitmap import set_key
from bitdex.live.batch import Batch
from tests.crash.failing_work import UPKEEP, IndexCourse
from tests.crash.index_work import IDS, SCHEMA, TAGS, Compact, KilledIndex, Plan

NOTHING = {"tags": [], "likes": 0}  # the defaults


class Change:
    """A step of a plan: one batch: all documents with some `n`, then others. Document 0 shows its number."""

    def __init__(self, draw, number):
        ids, self._number = draw.sample(IDS[1:], draw.randint(1, 12)), number
        self._found, self._tag, self._url = draw.randrange(5), draw.choice(TAGS), f"all {number}"
        self._many = draw.choice([1, 32])  # from how many on they are changed in columns
        self._changes = [("upsert", 0, {**_fields(draw), "likes": 1000 + number})]
        self._changes += [
            (draw.choice(["put", "upsert", "upsert", "delete"]), id, _fields(draw)) for id in ids
        ]

    def do(self, index):
        """Make it."""
        ops = [{"op": "set", "field": "url", "value": self._url}]
        ops.append({"op": "add", "field": "tags", "value": self._tag})
        found = {"op": "queryOpSet", "query": f"n == {self._found}", "ops": ops}
        with patch.object(Batch, "MANY", self._many), index.batch():
            index.apply({"entity_id": 0, "ops": [found]})
            for kind, id, fields in self._changes:
                if kind == "delete":
                    index.delete(id, missing_ok=True)
                else:
                    getattr(index, kind)({"id": id, **fields})
            for name in list(index.sets):
                del index.sets[name]
            index.sets[f"change {self._number}"] = index.ids()[: self._number % 7]

    def apply(self, documents):
        """Return what the documents are with it."""
        documents = dict(documents)
        for id, fields in documents.items():
            if fields["n"] == self._found:
                documents[id] = {**fields, "url": self._url, "tags": sorted({*fields["tags"], self._tag})}
        for kind, id, fields in self._changes:
            if kind == "delete":
                documents.pop(id, None)
            else:
                before = documents.get(id, NOTHING) if kind == "upsert" else NOTHING
                documents[id] = {**before, **fields}
        return documents

    def __str__(self):
        return f"change({len(self._changes)} documents)"


def _fields(draw):
    fields = {"n": draw.randrange(5), "kind": draw.choice("abcde"), "url": f"u{draw.randrange(999)}"}
    fields |= {"url": fields["url"] * draw.choice([1, 1, 200])}
    if draw.random() < 0.7:
        fields["tags"] = sorted(draw.sample(TAGS, draw.randint(0, 4)))
    if draw.random() < 0.7:
        fields["likes"] = draw.randrange(99)
    return fields


def set_disagreements(index, documents):
    """Return what the saved set says of another change than document 0, or of another set than its bitmap."""
    snapshot = index.snapshot
    entries = registry_sets.read(snapshot.documents.source)
    wrong, expected = [], [f"change {documents[0]['likes'] - 1000}"] if documents else []
    if list(entries) != expected:
        wrong.append(f"sets: {entries}, document 0: {documents.get(0)}")
    for number, size in entries.values():
        if len(snapshot.bitmaps.get(set_key(number))) != size:
            wrong.append(f"set {number}: expected {size} documents")
    return wrong


class KilledLive(KilledIndex):
    """An index whose documents change, and a saved set with them."""

    @staticmethod
    def shown(documents):
        return documents

    def found(self, store):
        documents, errors = super().found(store)
        return documents, errors + set_disagreements(store, documents)

    def plan(self, draw):
        steps = draw.choices(["change", "change", "change", "compact"], k=draw.randint(2, 12))
        return Plan(self._step(draw, step) for step in steps), len(steps)

    def tour(self, draw):
        steps = ["change", "change", "compact", "change", "compact"]
        return Plan(self._step(draw, step) for step in steps)

    def sequel(self, draw):
        return Plan([self._step(draw, "change")])

    def _step(self, draw, kind):
        self._number += 1
        return Compact() if kind == "compact" else Change(draw, self._number)


class LiveCourse(IndexCourse):
    """An index whose documents change, for calls that fail."""

    kinds = ("change", "change", "change", "compact", *UPKEEP)

    def content(self, index):
        documents = super().content(index)
        wrong = set_disagreements(index, documents)
        assert not wrong, f"documents and the saved set disagree: {wrong}"
        return documents

    @staticmethod
    def make(path):
        """Make an empty index."""
        bitdex.create(path, SCHEMA).close()

    @staticmethod
    def drawing(draw, number):
        def step(kind):
            nonlocal number
            number += 1
            return Compact() if kind == "compact" else Change(draw, number)

        return step

    @staticmethod
    def shown(documents):
        return documents

    def ways_to_write(self):
        """Return all that an index that takes no writes has to refuse."""
        return [
            lambda: self.writer.put({"id": 1}),
            lambda: self.writer.patch(0, {"n": 1}),
            lambda: self.writer.delete(0),
            self.writer.compact,
        ]
