"""Random schemas, dump phases with their files, and queries that fit them.

A schema is a choice from a pool of fields, one or more of every kind, each with its settings drawn.
The columns of every file come from one pool as well, so that a field always finds a column of its
kind. Values are such that a row is either applied or left out for its slot alone: what happens to
other values that cannot be used is for the tests of hostile files.
"""

import csv
import io
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from bitdex.query import clauses as c
from bitdex.schema import Field, Schema

NOW = 50
MAPPED = {"a": 1, "B": 2}
TEXTS = ["a", "b", "B", "x y", 'say "hi"', "1,2", "line\nbreak"]
SLOTS = [0, 1, 2, 3, 5, 8, 13, 21, 70_000, 2**31, 2**32 - 1]
BAD_SLOTS = ["", "x", "-1", "4294967296", "1.5"]
SMALL = ["", "", "0", "1", "2", "3", "7", "49", "50", "51", "255"]
WIDE = ["", "0", "-1", "5", "140737488355328", "9223372036854775807", "-9223372036854775808"]

# column -> what its cells may be
COLUMNS: dict[str, list[str]] = {
    "i0": SMALL,
    "i1": SMALL,
    "i2": SMALL,
    "flags": ["0", "1", "2", "3", "4", "5", "6", "7", ""],
    "negative": ["", "-128", "-3", "-1", "0", "2", "127"],
    "huge": ["", "0", "1", "4294967296", "9223372036854775807"],
    "wide": WIDE,
    "f0": ["", "0", "-0.0", "1.5", "-2.25", "1e300", "0.1", "7"],
    "b0": ["", "t", "f", "true", "false", "1", "0"],
    "s0": ["", *TEXTS],
    "k0": ["", "0", "1", "2", "3", "4", "-5"],
}
# kind of target -> columns it can be copied from, expressions it can be computed by
COPIED = {
    "small": ["i0", "i1", "i2"],
    "signed": ["negative"],
    "huge": ["huge", "i0"],
    "wide": ["wide", "i1"],
    "float": ["f0"],
    "boolean": ["b0"],
    "exists": ["i0", "s0", "f0", "wide"],
    "text": ["s0"],
}
EXPRESSIONS = {
    "small": ["i0", "max(i0, i1)", "max(i0, i1, i2)", "flags & 6", "flags >> 1"],
    "boolean": ["(flags >> 1) & 1 == 1", "i0 == 3 || b0 = true", "s0 == 'a'", "i1 != null && flags & 1 == 0"],
    "exists": ["i0 != null", "flags & 1 == 1"],
}
FILTERS = ["flags & 1 == 0", "(flags >> 1) & 1 = 1 || i0 == 3", "b0 != true", "s0 != 'a'", "i2 != null"]


@dataclass(frozen=True)
class FieldChoice:
    """A field of the pool: its kind, the columns it takes, where it may stand, its defaults."""

    kind: str
    takes: str
    filter: str | None = None
    sort: dict[str, Any] | None = None
    defaults: tuple[Any, ...] = (None,)


POOL = {
    "level": FieldChoice("integer", "small", "single_value", None, (None, None, 0, 3)),
    "size": FieldChoice("integer", "small", "single_value", {"bits": 8}, (None, 2)),
    "owner": FieldChoice("integer", "wide", "single_value"),
    "flag": FieldChoice("boolean", "boolean", "boolean", None, (None, False, True)),
    "known": FieldChoice("exists_boolean", "exists", "boolean"),
    "type": FieldChoice("low_cardinality_string", "text", "single_value", None, (None, None, "a")),
    "model": FieldChoice("mapped_string", "text", "single_value", None, (None, "a")),
    "tags": FieldChoice("integer_array", "wide", "multi_value", None, (None, [], [0, 5])),
    "marks": FieldChoice("integer_array", "small", "multi_value", None, (None, [])),
    "likes": FieldChoice("integer", "small", None, {"bits": 8}, (None, 0, 5)),
    "delta": FieldChoice("integer", "signed", None, {"bits": 8, "source_type": "int32"}, (None, -3)),
    "far": FieldChoice("integer", "huge", None, {"bits": 64}),
    "moved": FieldChoice("integer", "wide", None, {"bits": 64, "source_type": "int64"}),
    "score": FieldChoice("float", "float", None, {"bits": 64, "source_type": "float64"}, (None, 0.5)),
    "at": FieldChoice("integer", "small", None, {"bits": 32}, (None, None, 7)),
    "due": FieldChoice("integer", "small", None, {"bits": 32}, (None, None, 51)),
    "url": FieldChoice("string", "text"),
    "width": FieldChoice("integer", "wide", None, None, (None, 1)),
    "ratio": FieldChoice("float", "float"),
}


@dataclass(frozen=True)
class World:
    """A schema, phases for it and the files they read."""

    schema: dict[str, Any]
    phases: list[dict[str, Any]]
    files: dict[str, str]
    block: int


@st.composite
def schemas(draw: st.DrawFn) -> dict[str, Any]:
    """Draw an index definition."""
    names = draw(st.lists(st.sampled_from(sorted(POOL)), min_size=2, max_size=8, unique=True))
    if draw(st.booleans()):  # what is computed, and what is deferred, rests on these
        names = list(dict.fromkeys([*names, "at", "due"]))
    config: dict[str, Any] = {"filter_fields": [], "sort_fields": []}
    described = []
    for name in names:
        choice = POOL[name]
        if choice.filter is not None:
            config["filter_fields"].append({"name": name, "field_type": choice.filter})
        if choice.sort is not None:
            absent = draw(st.sampled_from(["last", "last", "first", "lowest"]))
            config["sort_fields"].append({"name": name, **choice.sort, "absent": absent})
        described.append(
            {"source": name, "target": name, "value_type": choice.kind, **draw(_settings(choice))}
        )
    if "at" in names and "due" in names and draw(st.booleans()):
        op = draw(st.sampled_from(["greatest", "least"]))
        computed = {"op": op, "source_fields": ["at", "due"]}
        config["sort_fields"].append({"name": "sortAt", "computed": computed})
    if "due" in names and draw(st.booleans()):
        config["deferred_alive"] = {"source_field": "due"}
    return {"name": "random", "config": config, "data_schema": {"fields": described}}


@st.composite
def _settings(draw: st.DrawFn, choice: FieldChoice) -> dict[str, Any]:
    settings: dict[str, Any] = {"default": draw(st.sampled_from(choice.defaults))}
    if choice.kind == "mapped_string":
        settings["string_map"] = MAPPED
    if choice.takes == "text" and choice.filter:
        settings["case_sensitive"] = draw(st.booleans())
    if choice.filter:
        settings["filter_only"] = draw(st.sampled_from([False, False, True]))
        settings["nullable"] = draw(st.booleans())
    if choice.filter is None and choice.sort is None:
        settings["doc_only"] = True
    return settings


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Draw a schema with phases and files."""
    schema = draw(schemas())
    files: dict[str, str] = {}
    count = draw(st.integers(1, 3))
    phases = [draw(_phase(schema, number, files, _targets(schema))) for number in range(count)]
    return World(schema, phases, files, draw(st.sampled_from([16, 64, 1 << 20])))


def _targets(schema: dict[str, Any]) -> list[str]:
    return [entry["target"] for entry in schema["data_schema"]["fields"]]


@dataclass(frozen=True)
class Rerun:
    """A world, one of its phases, and other files for that one."""

    world: World
    name: str
    files: dict[str, str]


@st.composite
def reruns(draw: st.DrawFn) -> Rerun:
    """Draw a world no two phases of which write one field, and new files for one phase.

    Nothing in it is deferred, because a phase that is loaded again sees what later ones have said;
    and labels differ in case, because the spelling that was seen first stays.
    """
    schema = draw(schemas())
    schema["config"].pop("deferred_alive", None)
    for entry in schema["data_schema"]["fields"]:
        if entry["value_type"] == "low_cardinality_string":
            entry["case_sensitive"] = True
    files: dict[str, str] = {}
    free = _targets(schema)
    phases = [draw(_phase(schema, number, files, free)) for number in range(draw(st.integers(1, 3)))]
    chosen = draw(st.sampled_from(phases))
    tab = chosen.get("format") == "tsv"
    text = draw(_table(["slot", *COLUMNS], draw(_slots()), "\t" if tab else ","))
    world = World(schema, phases, files, draw(st.sampled_from([16, 1 << 20])))
    return Rerun(world, chosen["name"], {f"{chosen['name']}.{'tsv' if tab else 'csv'}": text})


@st.composite
def _phase(
    draw: st.DrawFn, schema: dict[str, Any], number: int, files: dict[str, str], free: list[str]
) -> dict[str, Any]:
    """Draw a phase that writes some of the fields that are free, which it takes out of the list."""
    phase: dict[str, Any] = {
        "name": f"p{number}",
        "slot_field": "slot",
        "sets_alive": number == 0 or draw(st.booleans()),
    }
    format_ = draw(st.sampled_from(["csv", "csv", "tsv"]))
    if format_ == "tsv":
        phase["format"] = "tsv"
    phase |= draw(_level(free, number == 0 or draw(st.booleans())))
    if draw(st.booleans()):
        lookups = [
            draw(_lookup(free, files, f"{number}{place}", 1)) for place in range(draw(st.integers(1, 2)))
        ]
        phase["enrichment"] = [one for one in lookups if one]
    if not phase["fields"] and not phase["computed_fields"] and not phase.get("enrichment"):
        phase["sets_alive"] = True  # there has to be something to do
    columns = ["slot", *COLUMNS]
    text = draw(_table(columns, draw(_slots()), "\t" if format_ == "tsv" else ","))
    if draw(st.booleans()):
        phase["columns"] = columns
        if draw(st.booleans()):  # a header that repeats the columns is no row
            text = text.split("\n", 1)[1]
    files[f"p{number}.{format_}"] = text
    return phase


@st.composite
def _level(draw: st.DrawFn, free: list[str], some: bool = True) -> dict[str, Any]:
    """Draw the fields of a level, and take them out of those that are free."""
    chosen = draw(st.lists(st.sampled_from(free), min_size=1, unique=True)) if free and some else []
    level: dict[str, Any] = {"fields": [], "computed_fields": []}
    for name in chosen:
        free.remove(name)
        takes = POOL[name].takes
        expressions = EXPRESSIONS.get(takes, [])
        if expressions and draw(st.booleans()):
            level["computed_fields"].append(
                {"target": name, "expression": draw(st.sampled_from(expressions))}
            )
        elif draw(st.integers(0, 3)):
            level["fields"].append({"column": draw(st.sampled_from(COPIED[takes])), "target": name})
        else:
            rule = {
                "expression": draw(st.sampled_from(FILTERS)),
                "value": draw(st.sampled_from(COPIED[takes])),
            }
            level["computed_fields"].append({"target": name, **rule})
    if draw(st.integers(0, 2)) == 0:
        level["filter"] = draw(st.sampled_from(FILTERS))
    return level


@st.composite
def _lookup(draw: st.DrawFn, free: list[str], files: dict[str, str], name: str, depth: int) -> dict[str, Any]:
    level = draw(_level(free))
    if not level["fields"] and not level["computed_fields"]:
        return {}
    lookup = {"lookup": f"l{name}.csv", "key": "key", "join_on": draw(st.sampled_from(["k0", "i0"])), **level}
    if depth and draw(st.booleans()):
        inner = draw(_lookup(free, files, f"{name}n", depth - 1))
        lookup["enrichment"] = [inner] if inner else []
    keys = draw(st.lists(st.sampled_from(["0", "1", "2", "3", "7", "-5", "", "100000000000"]), max_size=6))
    files[f"l{name}.csv"] = draw(_table(["key", *COLUMNS], keys, ","))
    return lookup


@st.composite
def _slots(draw: st.DrawFn) -> list[str]:
    """Draw slots: ascending and distinct, or in any order, with some that are none."""
    slots = draw(st.lists(st.sampled_from(SLOTS), min_size=1, max_size=14))
    if draw(st.booleans()):
        return list(map(str, sorted(set(slots))))
    return list(
        map(str, draw(st.permutations([*slots, *draw(st.lists(st.sampled_from(BAD_SLOTS), max_size=2))])))
    )


@st.composite
def _table(draw: st.DrawFn, columns: list[str], first: list[str], delimiter: str) -> str:
    random = draw(st.randoms(use_true_random=False))
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    writer.writerow(columns)
    for value in first:
        writer.writerow([value, *(random.choice(COLUMNS[column]) for column in columns[1:])])
    return out.getvalue()


# queries


def _wanted(field: Field) -> st.SearchStrategy[Any]:
    """Return values to look for in a field: those that occur, their neighbours, and some that cannot."""
    if field.is_text:
        return st.sampled_from(["a", "A", "b", "B", "x y", "nothing"])
    if field.is_boolean:
        return st.sampled_from([True, False, 0, 1])
    if field.kind == "float":
        return st.sampled_from([0, 0.1, 1.5, -2.25, 1e300, 7, 2])
    return st.sampled_from(
        [0, 1, 2, 3, 5, 49, 50, 255, 256, -1, -3, -128, 2**47, 2**63 - 1, -(2**63), 2**64, 2.5]
    )


@st.composite
def leaves(draw: st.DrawFn, schema: Schema) -> c.Clause:
    """Draw one clause on an indexed field, or on the id."""
    fields = [field for field in schema.fields.values() if field.indexed]
    field = draw(st.sampled_from([None, *fields]))
    name = "id" if field is None else field.name
    values = st.sampled_from(SLOTS) if field is None else _wanted(field)
    ranges = [] if field is not None and (field.is_text or field.is_boolean) else [c.Gt, c.Gte, c.Lt, c.Lte]
    kind = draw(st.sampled_from([c.Eq, c.NotEq, c.In, c.NotIn, c.IsNull, c.IsNotNull, *ranges]))
    if kind in (c.IsNull, c.IsNotNull):
        return kind(name)
    if kind in (c.In, c.NotIn):
        return kind(name, tuple(draw(st.lists(values | st.none(), max_size=3))))
    if kind in ranges:
        return (
            draw(st.builds(c.Between, st.just(name), values, values))
            if draw(st.booleans())
            else kind(name, draw(values))
        )
    return kind(name, draw(values | st.none()))


def trees(schema: Schema) -> st.SearchStrategy[c.Clause]:
    """Return clause trees of up to four leaves."""

    def combined(inner: st.SearchStrategy[c.Clause]) -> st.SearchStrategy[c.Clause]:
        members = st.lists(inner, max_size=3).map(tuple)
        return st.builds(c.And, members) | st.builds(c.Or, members) | st.builds(c.Not, inner)

    return st.recursive(leaves(schema), combined, max_leaves=4)
