"""Histories of changes at size: now and then everything equals an index that is built from scratch.

Documents of random shapes are put, patched, appended to, deleted, put in columns, in one commit or many; the
index is compacted and reopened on the way. Then its documents, every bitmap, and the answers to a fixed set
of questions are those of a new index into which the expected documents were put at once.
"""

import random
import shutil

import numpy as np
import pyarrow as pa
import pytest

import bitdex
from bitdex.errors import NotFoundError
from bitdex.formats import bitmap as format_
from tests.live.bits import differences
from tests.scale import scale, seeds

HISTORIES, STEPS, SIZE = scale(1, 100), scale(2000, 10_000), scale(5000, 100_000)
LOOK = STEPS // scale(4, 10)  # steps between two comparisons
DUE = 2_000_000_000  # beyond the time of any test
SCHEMA = {
    "name": "history",
    "config": {
        "filter_fields": [
            {"name": "level", "field_type": "single_value"},
            {"name": "owner", "field_type": "single_value"},
            {"name": "kind", "field_type": "single_value"},
            {"name": "flag", "field_type": "boolean"},
            {"name": "tags", "field_type": "multi_value"},
            {"name": "groups", "field_type": "multi_value"},
        ],
        "sort_fields": [
            {"name": "likes", "bits": 32},
            {"name": "score", "source_type": "float64", "bits": 64},
            {"name": "due", "bits": 32},
            {"name": "best", "bits": 32, "computed": {"op": "greatest", "source_fields": ["likes", "due"]}},
        ],
        "deferred_alive": {"source_field": "due"},
    },
    "data_schema": {
        "fields": [
            {"source": "kind", "target": "kind", "value_type": "low_cardinality_string"},
            {"source": "flag", "target": "flag", "value_type": "boolean"},
            {"source": "tags", "target": "tags", "value_type": "integer_array"},
            {"source": "groups", "target": "groups", "value_type": "integer_array", "filter_only": True},
            {"source": "score", "target": "score", "value_type": "float"},
            {"source": "note", "target": "note", "value_type": "string", "doc_only": True},
        ]
    },
}
QUESTIONS = [
    *((f"level == {level}", sort) for level in range(3) for sort in (None, "-likes")),
    *((f"tags has {tag}", "-best") for tag in (0, 1, 7, 500)),
    ("groups in (1, 2, 3)", "score"),
    ("kind == 'b' and not flag == true", "-score"),
    ("owner >= 1000 and likes between 5 and 500", "likes"),
    ("level is null", "-likes"),
    ("not (tags has 0 or kind in ('a', 'c'))", "due"),
    ("due is null", "best"),
]


def value_of(draw, name):
    match name:
        case "level":
            return draw.randrange(8)
        case "owner":
            return draw.choice([draw.randrange(5000), -draw.randrange(5), 2**47 + draw.randrange(3)])
        case "kind":
            return draw.choice("abcdefgh")
        case "flag":
            return draw.random() < 0.3
        case "tags" | "groups":
            return sorted({int(1000 * draw.random() ** 3) for _ in range(draw.randrange(1, 12))})
        case "likes":
            return int(draw.paretovariate(0.7)) % 2**32
        case "score":
            return draw.choice([-1.5, 0.0, draw.gauss(0, 10)])
        case "due":
            return DUE if draw.random() < 0.05 else draw.randrange(1_000_000)
        case "note":
            return "x" * draw.randrange(40)


KINDS = {"patch": 40, "upsert": 8, "append": 15, "remove": 15, "put": 10, "delete": 10, "many": 2}
NAMES = ["level", "owner", "kind", "flag", "tags", "groups", "likes", "score", "due", "note"]


def document_of(draw):
    return {name: value_of(draw, name) for name in NAMES if draw.random() < 0.8}


def put_all(index, documents):
    """Put documents in columns, each column in one piece."""
    columns = {name: [one.get(name) for one in documents.values()] for name in NAMES}
    index.put_many(pa.table({"id": list(documents), **columns}))


class History:
    """An index and the documents that it is to hold."""

    def __init__(self, directory, seed):
        self.directory, self.draw = directory, random.Random(seed)
        self.index = bitdex.create(directory / "index", SCHEMA, sync="none")
        self.documents = {slot: document_of(self.draw) for slot in range(0, 2 * SIZE, 2)}
        put_all(self.index, self.documents)

    def slot(self):
        return self.draw.randrange(2 * SIZE)

    def step(self):
        draw, slot = self.draw, self.slot()
        held = self.documents.get(slot)
        match draw.choices(
            ["patch", "upsert", "append", "remove", "put", "delete", "many"], [40, 8, 15, 15, 10, 10, 2]
        )[0]:
            case "many":
                documents = {self.slot(): document_of(draw) for _ in range(draw.choice([3, 60, 400]))}
                put_all(self.index, documents)
                self.documents |= documents
            case "put":
                self.documents[slot] = document_of(draw)
                self.index.put(self.documents[slot], slot)
            case "upsert":
                changes = self.changes()
                self.index.upsert(changes, slot)
                self.documents[slot] = without_nothing({**(held or {}), **changes})
            case "delete":
                assert self.index.delete(slot, missing_ok=True) == (held is not None)
                self.documents.pop(slot, None)
            case what:
                if held is None:
                    with pytest.raises(NotFoundError):
                        self.index.patch(slot, {"level": 1})
                elif what == "patch":
                    changes = self.changes()
                    self.index.patch(slot, changes)
                    self.documents[slot] = without_nothing({**held, **changes})
                else:
                    self.change_list(slot, held, draw.choice(["tags", "groups"]), what)

    def changes(self):
        names = self.draw.sample(NAMES, self.draw.randrange(1, 4))
        return {name: None if self.draw.random() < 0.2 else value_of(self.draw, name) for name in names}

    def change_list(self, slot, held, name, what):
        values = value_of(self.draw, name)[:3]
        before = held.get(name, [])
        if what == "append":
            self.index.append(slot, name, values)
            after = before + [one for one in values if one not in before]
        else:
            self.index.remove(slot, name, values)
            after = [one for one in before if one not in values]
        self.documents[slot] = without_nothing({**held, name: after or None})

    def run(self, steps):
        """Take steps, some of them in one commit."""
        while steps > 0:
            together = self.draw.choice([1, 1, 1, 30])
            if together == 1:
                self.step()
            else:
                with self.index.batch():
                    for _ in range(together):
                        self.step()
            steps -= together
        match self.draw.randrange(4):
            case 0:
                self.index.compact()
            case 1:
                self.index.close()
                self.index = bitdex.open(self.directory / "index", sync="none")

    def compare(self, every):
        """Compare with an index that is built from scratch: documents in columns, one in `every` as dicts."""
        with bitdex.create(self.directory / "scratch", SCHEMA, sync="none") as scratch:
            put_all(scratch, self.documents)
            assert np.array_equal(self.index.ids(), scratch.ids())
            assert self.index.health()["waiting"] == scratch.health()["waiting"]
            ids = scratch.ids()
            assert columns_of(self.index, ids) == columns_of(scratch, ids)
            some = ids[self.draw.randrange(every) :: every]
            assert self.index.get_many(some).documents() == scratch.get_many(some).documents()
            assert bitmaps_of(self.index) == bitmaps_of(scratch)
            for where, sort in QUESTIONS:
                mine, expected = (one.query(where, sort, limit=50) for one in (self.index, scratch))
                assert (mine.total, mine.ids.tolist()) == (expected.total, expected.ids.tolist()), where
        shutil.rmtree(self.directory / "scratch")


def without_nothing(document):
    return {name: value for name, value in document.items() if value is not None}


def columns_of(index, ids):
    """Return documents in columns; labels as text, since each index has numbers of its own for them."""
    table = index.get_many(ids).to_arrow()
    texts = [pa.types.is_dictionary(field.type) for field in table.schema]
    kinds = [pa.string() if is_text else field.type for is_text, field in zip(texts, table.schema)]
    return table.cast(pa.schema(list(zip(table.column_names, kinds))))


def bitmaps_of(index):
    """Return the bitmaps that hold slots, by what they stand for: labels and wide values by their text."""
    store, found = index._store, {}
    keys = store.bitmaps.silo.keys().tolist()
    for key, bitmap in zip(keys, store.bitmaps.get_many(keys)):
        kind, number, value = format_.describe(key)
        name = None if number is None else store.registry.name(number)
        if kind == "filter":
            value = int(store.bitmaps.decode_values(number, np.array([value], np.uint64))[0])
            value = index.labels(name)[value] if name == "kind" else value
        if bitmap and kind != "phase":
            found[kind, name, value] = bitmap
    return found


@pytest.mark.timeout(scale(300, 24 * 3600))
def test_histories(tmp_path):
    for seed in seeds(HISTORIES):
        directory = tmp_path / str(seed)
        directory.mkdir()
        history = History(directory, seed)
        for _ in range(STEPS // LOOK):
            history.run(LOOK)
            history.compare(scale(1, 20))
        history.index.compact()
        history.compare(1)
        assert differences(history.index) == [] or SIZE > 10_000
        assert history.index.check().empty
        history.index.close()
        shutil.rmtree(directory)
        print(f"\ntorture: history {seed}: {STEPS:,} steps at {SIZE:,} documents")
