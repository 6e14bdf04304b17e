"""Definitions that follow from another: a field more, a field less, another default.

Each is a schema of the next version, checked as a whole; what cannot be is an `InvalidError`, and nothing has
happened. What documents and bitmaps have to become by it is `live.renewal`'s part.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from bitdex.computed import observed
from bitdex.errors import InvalidError
from bitdex.schema import Field, Schema
from bitdex.schema_yaml import entries_of, read_entries, with_default

CONVERTED = ("low_cardinality_string", "mapped_string")  # what a field of plain text can become


def adding(
    schema: Schema, field: str | Field, filter: Any, sort: Any, described: Mapping[str, Any]
) -> tuple[Schema, Field]:
    """Return the schema with a field that is new, or filtered or sorted from now on; and that field.

    Parameters
    ----------
    field : str or Field
    filter : str or mapping, optional
        The `field_type`, or an entry of ``filter_fields`` without its name.
    sort : bool, str or mapping, optional
        True, the `source_type`, or an entry of ``sort_fields`` without its name.
    described : mapping
        Keys of an entry of ``data_schema.fields``, without its target.
    """
    if isinstance(field, Field):
        if filter is not None or sort is not None or described:
            raise InvalidError(f"field {field.name!r}: a Field says everything itself; give it alone")
        made = field
    elif not isinstance(field, str) or not field.strip():
        raise InvalidError(f"field name {field!r} is empty; give it a name, or a Field")
    else:
        made = _read(schema.fields.get(field), field, filter, sort, described)
    if made.name == "id":
        raise InvalidError("field 'id': that is the number of the document; choose another name")
    before, buckets = schema.fields.get(made.name), schema.time_buckets
    if before is not None:
        _check_kept(before, made)
    elif buckets is not None and made.name == buckets.filter_field:
        raise InvalidError(
            f"field {made.name!r}: that is the second name of {buckets.sort_field!r}; choose another"
        )
    made = with_default(made, {**schema.fields, made.name: made})
    return _next(schema, {**schema.fields, made.name: made}), made


def dropping(schema: Schema, name: str) -> Schema:
    """Return the schema without a field on which nothing else rests."""
    rests = _dependent(schema, name)
    if rests:
        raise InvalidError(f"field {name!r} cannot be dropped: {rests}")
    return _next(schema, {key: field for key, field in schema.fields.items() if key != name})


def defaulting(schema: Schema, name: str, value: Any) -> Schema:
    """Return the schema in which a field has another default, and what is computed from it has its own."""
    field = schema.field(name)
    if field.sort is not None and field.sort.computed is not None:
        sources = ", ".join(map(repr, field.sort.computed.sources))
        raise InvalidError(f"field {name!r} is computed: its default follows from those of {sources}")
    source = schema.deferred.source_field if schema.deferred is not None else None
    if source is not None and (source == name or source in [one.name for one in computed_from(schema, name)]):
        raise InvalidError(
            f"field {name!r} tells when documents appear (deferred_alive); its default cannot change"
        )
    value = tuple(value) if isinstance(value, list) else value
    fields = {**schema.fields, name: dataclasses.replace(field, default=value)}
    for one in computed_from(schema, name):
        bare = dataclasses.replace(one, default=None)
        if with_default(bare, dict(schema.fields)).default == one.default:
            fields[one.name] = with_default(bare, fields)
    return _next(schema, fields)


def computed_from(schema: Schema, name: str) -> list[Field]:
    """Return the fields that are computed from a field."""
    return [f for f in schema.sort_fields if f.sort and f.sort.computed and name in f.sort.computed.sources]


def observing(schema: Schema, name: str) -> list[Field]:
    """Return the fields that tell whether a field has a value, or one that it is computed from."""
    field = schema.field(name)
    computed = field.sort.computed.sources if field.sort is not None and field.sort.computed else ()
    exist = [one for one in schema.fields.values() if one.kind == "exists_boolean" and one.name != name]
    return [one for one in exist if name in one.sources or {name, *computed} & {*observed(schema, one)}]


def _read(before: Field | None, name: str, filter: Any, sort: Any, described: Mapping[str, Any]) -> Field:
    """Return a field as its entries say, those that it has already among them."""
    old = ({}, {}, {}) if before is None else entries_of(before)
    entries = (
        {"field_type": filter} if isinstance(filter, str) else filter,
        {} if sort is True else {"source_type": sort} if isinstance(sort, str) else sort or None,
        described,
    )
    for was, given, what in zip(old, entries, ("a filter", "a sort", "")):
        if was and given is not None and what:
            raise InvalidError(f"field {name!r} has {what} already; drop_field takes it away")
        if given is not None and not isinstance(given, Mapping):
            raise InvalidError(f"field {name!r}: {what} is {given!r}; give a text or a mapping")
    joined = [given if not was else {**was, **(given or {})} for was, given in zip(old, entries)]
    return read_entries(name, joined[0], joined[1], joined[2] or {})


def _check_kept(before: Field, made: Field) -> None:
    """Refuse what is not the addition of a filter or a sort to a field."""
    name = made.name
    if before == made:
        raise InvalidError(f"there is a field {name!r} already; give a filter or a sort that it is to have")
    if (before.filter and made.filter != before.filter) or (before.sort and made.sort != before.sort):
        raise InvalidError(f"field {name!r} has its filter or sort already; drop it, and add it anew")
    if not before.stored:
        raise InvalidError(f"field {name!r} is filter_only: documents do not hold what is to be indexed")
    if before.kind != made.kind and not (before.kind == "string" and made.kind in CONVERTED):
        texts = " or ".join(CONVERTED)
        raise InvalidError(
            f"field {name!r} is {before.kind} and cannot become {made.kind}; a string can become {texts}"
        )
    numbers = (before.string_map, before.case_sensitive)
    if before.kind == made.kind and numbers != (made.string_map, made.case_sensitive):
        raise InvalidError(f"field {name!r}: documents hold the numbers of its texts, which stay as they are")
    if before.default != made.default:
        raise InvalidError(f"field {name!r}: set_default changes its default")
    if not made.stored or (before.sort is None and made.sort is not None and made.sort.computed):
        raise InvalidError(f"field {name!r}: documents hold values of it; choose another name")


def _dependent(schema: Schema, name: str) -> str | None:
    """Return what rests on a field, and the remedy; None if nothing does."""
    computed = computed_from(schema, name)
    if computed:
        return f"{computed[0].name!r} is computed from it; drop that first"
    if schema.deferred is not None and schema.deferred.source_field == name:
        return "it tells when documents appear (deferred_alive)"
    buckets = schema.time_buckets
    if buckets is not None and name in (buckets.sort_field, buckets.filter_field):
        return f"the time buckets {buckets.filter_field!r} rest on it"
    for field in schema.fields.values():
        tells = field.kind == "exists_boolean" and field.name != name
        if tells and name in (*field.sources, *observed(schema, field)):
            return f"{field.name!r} tells whether it has a value; drop that first"
    return None


def _next(schema: Schema, fields: Mapping[str, Field]) -> Schema:
    following = dataclasses.replace(schema, fields=fields, version=schema.version + 1)
    return Schema.load(following.to_mapping())  # in the order in which it will be read
