"""Work on an index whose fields are added, dropped, rebuilt while it is killed or calls fail.

The model is what each document was given, and the definition: whether `width` is indexed, and the default of
`later`, if there is such a field. What an index holds is compared with both, its bits with the documents.
"""

import bitdex
from tests.crash.failing_work import UPKEEP, IndexCourse
from tests.crash.index_work import IDS, Compact, KilledIndex, Plan
from tests.live.bits import differences

SCHEMA = {
    "name": "fields",
    "config": {
        "filter_fields": [{"name": "tags", "field_type": "multi_value"}],
        "sort_fields": [{"name": "n"}],
    },
    "data_schema": {
        "fields": [
            {"source": "width", "target": "width", "value_type": "integer"},
            {"source": "url", "target": "url", "value_type": "string"},
        ]
    },
}
EMPTY = {"documents": {}, "indexed": False, "later": None, "version": 1}


class Put:
    """A step of a plan: documents, some with the field that may not be there. Document 0 shows the number."""

    def __init__(self, draw, number):
        self._documents = {0: {"n": number, "width": number}}
        for id in draw.sample(IDS[1:], draw.randint(1, 12)):
            self._documents[id] = {
                "n": draw.randrange(99),
                "width": draw.randrange(5),
                "tags": draw.sample(range(8), draw.randint(1, 3)),
                "url": "u" * draw.choice([1, 200]),
            }
            if draw.random() < 0.5:
                self._documents[id]["later"] = draw.randrange(9)

    def do(self, index):
        """Put them."""
        index.put_many({"id": id, **fields} for id, fields in self._known(index.schema.has("later")).items())

    def apply(self, model):
        """Return what the model is with it."""
        model = EMPTY | model
        return model | {"documents": model["documents"] | self._known(model["later"] is not None)}

    def _known(self, later):
        return {
            id: {name: value for name, value in fields.items() if later or name != "later"}
            for id, fields in self._documents.items()
        }

    def __str__(self):
        return f"put({len(self._documents)} documents)"


class Define:
    """A step of a plan: `later` is added, or gets another default; `width` is indexed, or all is rebuilt."""

    def __init__(self, draw, number):
        self._number, self._kind = number, draw.choice(["later", "later", "width"])

    def do(self, index):
        """Change the definition."""
        if self._kind == "width":
            if index.schema.field("width").filter is None:
                index.add_field("width", filter="single_value", sort=True)
            else:
                index.rebuild()
        elif not index.schema.has("later"):
            index.add_field("later", filter="single_value", sort=True, default=self._number)
        else:
            index.set_default("later", self._number)

    def apply(self, model):
        """Return what the model is with it."""
        model = EMPTY | model
        if self._kind == "width":
            return model | {"indexed": True, "version": model["version"] + (not model["indexed"])}
        documents = model["documents"]
        if model["later"] is not None:
            documents = {id: {"later": model["later"], **fields} for id, fields in documents.items()}
        return model | {"documents": documents, "later": self._number, "version": model["version"] + 1}

    def __str__(self):
        return f"define({self._kind}, {self._number})"


class Drop:
    """A step of a plan: `later` goes, if it is there."""

    def do(self, index):
        """Drop it."""
        if index.schema.has("later"):
            index.drop_field("later")

    def apply(self, model):
        """Return what the model is with it."""
        model = EMPTY | model
        if model["later"] is None:
            return model
        documents = {
            id: {name: value for name, value in fields.items() if name != "later"}
            for id, fields in model["documents"].items()
        }
        return model | {"documents": documents, "later": None, "version": model["version"] + 1}

    def __str__(self):
        return "drop"


def step(draw, kind, number):
    """Draw a step."""
    if kind in ("compact", "drop"):
        return Compact() if kind == "compact" else Drop()
    return (Put if kind == "put" else Define)(draw, number)


def shown(model):
    """Return what an index shows of a model: version, whether width is indexed, documents."""
    model = EMPTY | model
    filled = {} if model["later"] is None else {"later": model["later"]}
    documents = {id: filled | fields for id, fields in model["documents"].items()}
    return model["version"], model["indexed"], model["later"], documents


def content(index):
    """Return the same of an index."""
    schema = index.schema
    later = schema.field("later").default if schema.has("later") else None
    documents = {one.pop("id"): one for one in index.get_many(index.ids())}
    return schema.version, schema.field("width").filter is not None, later, documents


def disagreements(index, documents):
    """Return the questions that the bitmaps answer in another way than the documents."""
    asked = [("tags", value) for value in range(8)]
    asked += [(name, value) for name in ("width", "later") for value in range(9)]
    wrong = []
    for name, value in asked:
        if index.schema.has(name) and index.schema.field(name).filter is not None:
            held = {id: fields.get(name) for id, fields in documents.items()}
            ids = [id for id, one in held.items() if one == value or (isinstance(one, list) and value in one)]
            if index.ids({name: value}).tolist() != ids:
                wrong.append((name, value))
    return wrong


class KilledFields(KilledIndex):
    """An index whose fields change."""

    shown = staticmethod(shown)

    def _make(self):
        bitdex.create(self.path, SCHEMA, self.sync).close()

    def plan(self, draw):
        kinds = draw.choices(["put", "put", "define", "define", "drop", "compact"], k=draw.randint(2, 8))
        return Plan(self._step(draw, kind) for kind in kinds), len(kinds)

    def tour(self, draw):
        kinds = ["put", "define", "put", "define", "define", "compact", "drop", "define", "put"]
        return Plan(self._step(draw, kind) for kind in kinds)

    def sequel(self, draw):
        return Plan([self._step(draw, "define")])

    def _step(self, draw, kind):
        self._number += 1
        return step(draw, kind, self._number)

    def found(self, store):
        errors = store.check().query("severity == 'error'").to_dict("records")
        return content(store), errors + differences(store)


class FieldsCourse(IndexCourse):
    """An index whose fields change, for calls that fail."""

    kinds = ("put", "define", "define", "drop", "compact", *UPKEEP)
    shown = staticmethod(shown)

    @staticmethod
    def make(path):
        """Make an empty index."""
        bitdex.create(path, SCHEMA).close()

    @staticmethod
    def drawing(draw, number):
        def drawn(kind):
            nonlocal number
            number += 1
            return step(draw, kind, number)

        return drawn

    def content(self, index):
        found = content(index)
        assert not (wrong := disagreements(index, found[-1])), f"documents and bitmaps disagree: {wrong}"
        return found

    def errors(self, index):
        return super().errors(index) + differences(index)

    def ways_to_write(self):
        """Return all that an index that takes no writes has to refuse."""
        return [
            lambda: self.writer.add_field("more", sort=True),
            lambda: self.writer.drop_field("n"),
            lambda: self.writer.set_default("n", 1),
            self.writer.rebuild,
            lambda: self.writer.put({"id": 1}),
            self.writer.compact,
        ]
