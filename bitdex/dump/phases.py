"""The phases of a dump: which column of which file goes to which field, read from YAML or given as data.

    dump_phases:
      - name: pictures
        csv_path: pictures.csv
        columns: [id, flags, postId]          names for a file that has no header
        slot_field: id                        the column that holds the document's id
        sets_alive: true                      this phase creates documents
        fields: [postId, {column: id, target: id}]
        filter: "flags & 1 == 0"              rows that fail are left out
        computed_fields:
          - {target: onSite, expression: "(flags >> 14) & 1 == 1"}
        enrichment:                           for each row, the row of another file with its key
          - {lookup: posts.csv, key: id, join_on: postId, columns: [id, time],
             fields: [{column: time, target: publishedAt}]}

Keys that belong to the programs which export the tables are allowed by name (`FOREIGN_*`) and
not read. Every other unknown key, and every target that the schema does not know, is refused.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from bitdex.configuration import Section, nearest, read_configuration
from bitdex.dump.expressions import Expression, parse
from bitdex.dump.tree import Column, settle
from bitdex.errors import InvalidError
from bitdex.schema import Schema

FORMATS = ("csv", "tsv", "parquet", "arrow")
FOREIGN_TOP = ("index", "postgres", "clickhouse", "bitdex", "triggers")
FOREIGN_PHASE = ("table", "copy_query", "source", "query")
FOREIGN_LOOKUP = ("table", "copy_query")
LEVEL_KEYS = ("csv_path", "format", "columns", "fields", "filter", "computed_fields", "enrichment")
SETTING_KEYS = ("streaming_merge",)
PHASE_KEYS = ("name", "slot_field", "sets_alive", "extra_fields", *LEVEL_KEYS, *SETTING_KEYS, *FOREIGN_PHASE)
LOOKUP_KEYS = ("lookup", "key", "join_on", *LEVEL_KEYS, *FOREIGN_LOOKUP)
# What the reader has to produce for a field of a kind; a kind that is not listed says nothing.
COLUMN_KINDS = {
    "integer": "integer",
    "integer_array": "integer",
    "float": "float",
    "boolean": "boolean",
    "string": "string",
    "mapped_string": "string",
    "low_cardinality_string": "string",
}


@dataclass(frozen=True)
class Target:
    """A column that is copied to a field; `kind` is the field's, None outside the schema."""

    column: str
    target: str
    kind: str | None = None


@dataclass(frozen=True)
class ComputedTarget:
    """An expression whose result goes to a field; with `value`, that column's value where it is true."""

    target: str
    expression: Expression
    value: str | None = None
    kind: str | None = None


@dataclass(frozen=True)
class Level:
    """What a phase and a lookup have in common: a file, and what is taken from its rows.

    Attributes
    ----------
    source : str or None
        The file, as it was written.
    columns : tuple of str
        The columns' names; empty if the file's header tells them.
    format : str
        "csv", "tsv", "parquet" or "arrow".
    fields, computed : tuples of targets
    filter : Expression or None
        Rows for which it is not true are left out.
    enrichment : tuple of Lookup
        What is looked up for each row.
    """

    source: str | None
    columns: tuple[str, ...]
    format: str
    fields: tuple[Target, ...]
    computed: tuple[ComputedTarget, ...]
    filter: Expression | None
    enrichment: tuple["Lookup", ...]

    @cached_property
    def targets(self) -> tuple[str, ...]:
        """The names of all fields that are written, in order, those of the enrichment included."""
        own = [one.target for one in self.fields] + [one.target for one in self.computed]
        return (*own, *(target for lookup in self.enrichment for target in lookup.targets))

    @cached_property
    def input_columns(self) -> dict[str, str]:
        """The columns to read, each with a kind of `cells.TYPES`."""
        uses: dict[str, set[str]] = {}
        for column, kinds in self._uses():
            uses.setdefault(column, set()).update(kinds)
        keys = {name: "key" if "string" in uses.get(name, ()) else "integer" for name in self._integers()}
        return keys | {column: keys.get(column) or settle(kinds) for column, kinds in uses.items()}

    def _integers(self) -> list[str]:
        """Return the columns that hold slots or keys, and nothing but integers."""
        return [lookup.join_on for lookup in self.enrichment]

    def _uses(self) -> Iterator[tuple[str, Iterable[str]]]:
        for one in self.fields:
            yield one.column, _column_kind(one.kind)
        for computed in self.computed:
            yield from computed.expression.column_uses().items()
            copied = computed.value
            if copied is None and isinstance(computed.expression.tree, Column):
                copied = computed.expression.tree.name
            if copied is not None:
                yield copied, _column_kind(computed.kind)
        if self.filter is not None:
            yield from self.filter.column_uses().items()

    def _matters(self) -> dict[str, Any]:
        """Return what decides the result, as plain data."""
        return {
            "columns": list(self.columns),
            "format": self.format,
            "fields": [[one.column, one.target, one.kind] for one in self.fields],
            "computed": [[one.target, one.expression.text, one.value, one.kind] for one in self.computed],
            "filter": self.filter and self.filter.text,
            "enrichment": [lookup._matters() for lookup in self.enrichment],
        }


@dataclass(frozen=True)
class Lookup(Level):
    """Another file, of which the row with ``key == join_on`` adds its fields to a row."""

    key: str
    join_on: str

    def _integers(self) -> list[str]:
        return [self.key, *super()._integers()]

    def _matters(self) -> dict[str, Any]:
        name = Path(self.source or "").name
        return super()._matters() | {"lookup": name, "key": self.key, "join_on": self.join_on}


@dataclass(frozen=True)
class Phase(Level):
    """One file that is loaded into the index.

    Attributes
    ----------
    name : str
    slot_field : str
        The column that holds the document's id.
    sets_alive : bool
        Whether the rows create documents.
    settings : mapping
        Accepted keys that change nothing here: streaming_merge.
    """

    name: str
    slot_field: str
    sets_alive: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @cached_property
    def hash(self) -> str:
        """The SHA-256 of everything that decides the result, in hex; where the file lies does not."""
        canonical = json.dumps(self._matters(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def _integers(self) -> list[str]:
        return [self.slot_field, *super()._integers()]

    def _matters(self) -> dict[str, Any]:
        return super()._matters() | {"slot_field": self.slot_field, "sets_alive": self.sets_alive}


def load_phases(source: str | Path | Mapping[str, Any] | list[Any], schema: Schema) -> tuple[Phase, ...]:
    """Read the phases of a dump.

    Parameters
    ----------
    source : path, mapping or list
        A YAML or JSON file with ``dump_phases``, its content, a list of phases, or one phase.
    schema : Schema
        The index the phases are for.

    Returns
    -------
    tuple of Phase, in order

    Raises
    ------
    InvalidError
        Naming the place, the value and the remedy.
    NotFoundError
        If there is no such file.
    """
    content = read_configuration(source) if isinstance(source, str | Path) else source
    if isinstance(content, Mapping) and "dump_phases" not in content:
        content = [content]
    if isinstance(content, list | tuple):
        content = {"dump_phases": content}
    root = Section(content, "", ("dump_phases", *FOREIGN_TOP))
    phases = tuple(_read_phase(part, schema) for part in root.sections("dump_phases", PHASE_KEYS))
    if not phases:
        raise root.error("dump_phases", "give one or more phases")
    _check_distinct("dump_phases", "phase", [phase.name for phase in phases])
    return phases


def _read_phase(part: Section, schema: Schema) -> Phase:
    lenient = part.flag("extra_fields")
    phase = Phase(
        **_read_level(part, schema, lenient),
        source=part.optional_text("csv_path"),
        name=part.text("name"),
        slot_field=part.text("slot_field"),
        sets_alive=part.flag("sets_alive"),
        settings={key: part.flag(key) for key in SETTING_KEYS if key in part.values},
    )
    if not phase.targets and not phase.sets_alive:
        raise part.error("fields", "there is nothing to do: give fields, computed_fields or sets_alive: true")
    _check_level(part, phase, phase.slot_field, "slot_field")
    _check_distinct(part.where, "target", phase.targets)
    return phase


def _read_lookup(part: Section, schema: Schema, lenient: bool) -> Lookup:
    if "lookup" in part.values and "csv_path" in part.values:
        raise part.error("lookup", "csv_path is given as well; keep one of the two")
    lookup = Lookup(
        **_read_level(part, schema, lenient),
        source=part.optional_text("csv_path") or part.text("lookup"),
        key=part.text("key"),
        join_on=part.text("join_on"),
    )
    if not lookup.targets:
        raise part.error("fields", "there is nothing to look up: give fields or computed_fields")
    _check_level(part, lookup, lookup.key, "key")
    return lookup


def _read_level(part: Section, schema: Schema, lenient: bool) -> dict[str, Any]:
    lookups = part.sections("enrichment", LOOKUP_KEYS)
    return {
        "columns": part.names("columns"),
        "format": part.choice("format", FORMATS, "csv"),
        "fields": tuple(_read_targets(part, schema, lenient)),
        "computed": tuple(_read_computed(part, schema, lenient)),
        "filter": _read_expression(part, "filter") if "filter" in part.values else None,
        "enrichment": tuple(_read_lookup(one, schema, lenient) for one in lookups),
    }


def _read_targets(part: Section, schema: Schema, lenient: bool) -> Iterator[Target]:
    for number, value in enumerate(part.items("fields")):
        written = {"column": value} if isinstance(value, str) else value
        one = Section(written, f"{part.place('fields')}[{number}]", ("column", "target"))
        column = one.text("column")
        target = one.text("target", column)
        yield Target(column, target, _target_kind(one, target, schema, lenient))


def _read_computed(part: Section, schema: Schema, lenient: bool) -> Iterator[ComputedTarget]:
    for one in part.sections("computed_fields", ("target", "expression", "value")):
        target = one.text("target")
        kind = _target_kind(one, target, schema, lenient)
        yield ComputedTarget(target, _read_expression(one, "expression"), one.optional_text("value"), kind)


def _read_expression(part: Section, key: str) -> Expression:
    try:
        return parse(part.text(key))
    except InvalidError as error:
        raise InvalidError(f"{part.place(key)}: {error}") from error


def _target_kind(part: Section, target: str, schema: Schema, lenient: bool) -> str | None:
    """Return the kind of the field, or None for a field that only documents will know."""
    if not schema.has(target):
        if lenient:
            return None
        remedy = f"{nearest(target, schema.fields)}, or set extra_fields: true to store it in documents only"
        raise InvalidError(f"{part.where}: target {target!r} is no field of index {schema.name!r}; {remedy}")
    known = schema.field(target)
    if known.sort is not None and known.sort.computed is not None:
        sources = ", ".join(known.sort.computed.sources)
        raise InvalidError(f"{part.where}: target {target!r} is computed from {sources}; write those instead")
    return known.kind


def _column_kind(kind: str | None) -> tuple[str, ...]:
    return (COLUMN_KINDS[kind],) if kind in COLUMN_KINDS else ()


def _check_level(part: Section, level: Level, key: str, role: str) -> None:
    """Check that what is named exists: columns in this file, lookup_key in lookups only."""
    expressions = [*(one.expression for one in level.computed), *([level.filter] if level.filter else [])]
    if isinstance(level, Phase) and any(one.uses_lookup_key for one in expressions):
        raise InvalidError(f"{part.where}: lookup_key stands outside an enrichment; name a column instead")
    if not level.columns:
        return
    for column in level.input_columns:
        if column not in level.columns:
            name = f"{role} {column!r}" if column == key else f"column {column!r}"
            raise InvalidError(f"{part.where}: {name} is not in columns; {nearest(column, level.columns)}")


def _check_distinct(where: str, what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InvalidError(f"{where}: {what} {name!r} is given twice; keep one")
        seen.add(name)


def choose(phases: tuple[Phase, ...], only: Sequence[str] | None) -> list[Phase]:
    """Return the phases of these names, all if there are none given; an unknown name is an `InvalidError`."""
    names = [phase.name for phase in phases]
    wanted = names if only is None else [only] if isinstance(only, str) else list(only)
    for name in wanted:
        if name not in names:
            raise InvalidError(f"only: there is no phase {name!r}; there are {', '.join(names)}")
    return [phase for phase in phases if phase.name in wanted]
