"""Content: the definition of what an index holds after its phases, and of the phases of the index model.

Built on the naive oracle: the newest file of every phase, loaded into an empty one, gives the documents.
Which are visible follows from one rule: a slot that a phase with ``sets_alive`` names, or has named before,
is visible when such a phase still names it and, where documents are deferred, it was due when that phase
was loaded.
"""

import csv
import io
from functools import cached_property

from bitdex.formats.bitmap import phase_key
from tests.index.strategies import BAD_SLOTS, COLUMNS, MAPPED, SLOTS
from tests.index.test_dump_model import shown
from tests.oracle import Oracle

FIELDS = {  # name -> kind, column, filter, sort, settings
    "level": ("integer", "i0", "single_value", None, {"default": 3}),
    "owner": ("integer", "wide", "single_value", None, {}),
    "flag": ("boolean", "b0", "boolean", None, {"default": False}),
    "type": ("low_cardinality_string", "s0", "single_value", None, {"case_sensitive": True}),
    "model": ("mapped_string", "s0", "single_value", None, {"string_map": MAPPED}),
    "tags": ("integer_array", "wide", "multi_value", None, {"default": []}),
    "likes": ("integer", "i1", None, {"bits": 8}, {"default": 0}),
    "score": ("float", "f0", None, {"bits": 64, "source_type": "float64", "absent": "lowest"}, {}),
    "at": ("integer", "i0", None, {"bits": 32, "absent": "first"}, {}),
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
LISTS = {"tags", "more tags"}


def schema(deferred):
    """Return an index definition, with documents that are deferred or without."""
    config = {"filter_fields": [], "sort_fields": []}
    for name, (_, _, filter_, sort, _) in FIELDS.items():
        if filter_:
            config["filter_fields"].append({"name": name, "field_type": filter_})
        if sort:
            config["sort_fields"].append({"name": name, **sort})
    config["sort_fields"].append(
        {"name": "sortAt", "computed": {"op": "greatest", "source_fields": ["at", "due"]}}
    )
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
    """Return a file: rows for some slots, in order or not, now and then one that is no slot, or no other."""
    slots, chance = [str(slot) for slot in draw.choices(SLOTS, k=draw.randint(1, 9))], draw.random()
    if chance < 0.5:
        slots = sorted(set(slots), key=int)
    elif chance < 0.7:
        slots = [*(slots if chance < 0.65 else []), draw.choice(BAD_SLOTS)]
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

    @cached_property
    def slots(self):
        """The slots that each phase has written."""
        return {name: slots_of(self.schema, name, text) for name, text in self.files.items()}

    def refuses(self, name, text):
        """Tell whether a phase cannot be loaded: again, when another adds to its lists; without a slot."""
        again = name in LISTS and name in self.files and {*self.files} >= LISTS
        return again or not slots_of(self.schema, "rows", text)

    def loaded(self, name, text, now):
        """Return what it holds after a phase."""
        files, before = {**self.files, name: text}, self.slots.get(name, frozenset())
        if not phase(name)["sets_alive"]:
            return Content(self.schema, files, self.alive)
        others = {slot for other in self.files if other != name for slot in self._visible(other)}
        visible = slots_of(self.schema, name, text) | (before & others)
        holding = Content(self.schema, files, visible).oracle
        deferred = {
            slot for slot in visible if self.schema.deferred and (holding.value(slot, "due") or 0) > now
        }
        return Content(self.schema, files, (self.alive - before - visible) | (visible - deferred))

    def _visible(self, name):
        return self.slots[name] if phase(name)["sets_alive"] else frozenset()

    def equals(self, index):
        """Tell whether an index holds this: documents, hidden ones too, and what each phase wrote."""
        snapshot, runs = index.snapshot, {run.name: run.number for run in index.phases}
        wrote = {name: snapshot.bitmaps.get(phase_key(number)) for name, number in runs.items()}
        return (
            documents(index) == self.documents()
            and {name: frozenset(slots) for name, slots in wrote.items()} == self.slots
            and all(snapshot.documents.get(slot) == shown(self.oracle, slot) for slot in self.oracle.hidden)
        )

    def documents(self):
        """Return the visible documents, by slot."""
        return {slot: shown(self.oracle, slot) for slot in self.oracle.documents}


def slots_of(definition, name, text):
    """Return the slots that a phase writes."""
    alone = Oracle(definition)
    alone.dump([{**phase(name), "sets_alive": False}], {f"{name}.csv": text}, 0)
    return frozenset(alone.hidden)


def documents(index):
    """Return the visible documents of an index, by slot, read in two ways."""
    ids = index.ids()
    found = {one["id"]: one for one in index.get_many(ids)}
    if len(ids):
        assert index.get(int(ids[-1])) == found[int(ids[-1])]
    return found
