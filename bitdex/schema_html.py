"""Schemas and their fields as HTML."""

from typing import TYPE_CHECKING

from bitdex import html

if TYPE_CHECKING:
    from bitdex.schema import Field, Schema

SHOWN = 60  # fields
NAMES = ("field", "kind", "filter", "sort", "default", "stored")


def sort_of(field: "Field") -> str | None:
    """Return what a field is sorted as, in a few words; None if it is not."""
    if field.sort is None:
        return None
    computed = field.sort.computed
    made = "" if computed is None else f", {computed.op} of {', '.join(computed.sources)}"
    return f"{field.sort.source_type}, {field.sort.bits} bits{made}"


def fields_table(schema: "Schema") -> html.Markup:
    """Return what each field is as a table."""
    fields = list(schema.fields.values())
    rows = [
        (one.name, one.kind, one.filter, sort_of(one), one.default, None if one.stored else "no")
        for one in fields[:SHOWN]
    ]
    return html.table(NAMES, rows, len(fields) - SHOWN)


def schema_panel(schema: "Schema") -> str:
    """Return a schema as HTML."""
    note = f"version {schema.version}, {len(schema.fields)} fields"
    return html.panel(f"Schema {schema.name}", fields_table(schema), note=note)
