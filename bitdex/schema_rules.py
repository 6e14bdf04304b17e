"""The rules of a schema: which kinds, filters and sorts go together, and why others do not.

Each function looks at one object of `bitdex.schema` and raises an `InvalidError` that names
the field, the value and the remedy.
"""

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from bitdex.configuration import LARGEST, nearest
from bitdex.errors import InvalidError

if TYPE_CHECKING:
    from bitdex.schema import Field, Schema

TEXT_KINDS = ("string", "mapped_string", "low_cardinality_string")
KINDS = ("integer", "float", "boolean", "exists_boolean", "integer_array", *TEXT_KINDS)
SORTABLE_KINDS = ("integer", "float", "boolean", "exists_boolean")
FILTERED_KINDS: Mapping[str, tuple[str, ...]] = {
    "single_value": ("integer", "boolean", "exists_boolean", "mapped_string", "low_cardinality_string"),
    "multi_value": ("integer_array",),
    "boolean": ("boolean", "exists_boolean"),
}
SOURCE_BITS = {
    "uint32": 32,
    "uint64": 64,
    "int32": 32,
    "int64": 64,
    "float64": 64,
    "boolean": 1,
    "timestamp": 64,
}
ABSENT = ("last", "first", "lowest")
SIGNED_SOURCES = ("int32", "int64", "timestamp")
WHY_NOT_SORTED = {
    "string": "text has no bit layers",
    "mapped_string": "the numbers of its texts say nothing about their order",
    "low_cardinality_string": "its texts are numbered as they appear, not by the alphabet",
    "integer_array": "one document has several values",
}


def check_kind(field: "Field") -> None:
    """Check the name, the kind, and what only some kinds may have."""
    if not isinstance(field.name, str) or not field.name.strip():
        raise InvalidError(f"field name {field.name!r} is empty; give it a name")
    if field.kind not in KINDS:
        raise _refusal(field, f"unknown value_type {field.kind!r}", nearest(field.kind, KINDS))
    if bool(field.string_map) != (field.kind == "mapped_string"):
        problem = f"value_type {field.kind!r} with string_map {dict(field.string_map)!r}"
        raise _refusal(field, problem, "a mapped_string needs a string_map, and nothing else has one")
    for text, number in field.string_map.items():
        if not isinstance(text, str) or not _is_integer(number):
            raise _refusal(field, f"string_map has {text!r}: {number!r}", "map strings to integers")
    if field.ms_to_seconds and field.kind != "integer":
        raise _refusal(field, f"ms_to_seconds on value_type {field.kind!r}", "use it on integers only")


def check_filter(field: "Field") -> None:
    """Check that bitmaps can be kept for the kind, and that the field goes somewhere."""
    if not field.stored and not field.indexed:
        remedy = "name it in filter_fields or sort_fields, or store it"
        raise _refusal(field, "filter_only without a filter or a sort would be dropped", remedy)
    if field.filter is None:
        return
    if field.filter not in FILTERED_KINDS:
        raise _refusal(field, f"unknown field_type {field.filter!r}", nearest(field.filter, FILTERED_KINDS))
    accepted = FILTERED_KINDS[field.filter]
    if field.kind not in accepted:
        problem = f"field_type {field.filter!r} cannot filter value_type {field.kind!r}"
        raise _refusal(field, problem, f"declare it as {' or '.join(accepted)}, or drop the filter")


def check_sort(field: "Field") -> None:
    """Check that the kind has an order, and that the layers can hold it."""
    if field.sort is None:
        return
    source, bits = field.sort.source_type, field.sort.bits
    if field.kind not in SORTABLE_KINDS:
        problem = f"value_type {field.kind!r} cannot be sorted: {WHY_NOT_SORTED[field.kind]}"
        raise _refusal(field, problem, f"sort by a field of type {', '.join(SORTABLE_KINDS)}")
    if source not in SOURCE_BITS:
        raise _refusal(field, f"unknown source_type {source!r}", nearest(source, SOURCE_BITS))
    if field.sort.absent not in ABSENT:
        raise _refusal(field, f"absent is {field.sort.absent!r}", nearest(field.sort.absent, ABSENT))
    if not _is_integer(bits) or not 1 <= bits <= SOURCE_BITS[source]:
        raise _refusal(field, f"bits is {bits!r}", f"{source} takes 1 to {SOURCE_BITS[source]}")
    if (source == "float64") != (field.kind == "float"):
        problem = f"source_type {source!r} with value_type {field.kind!r}"
        raise _refusal(field, problem, "float64 goes with float, and only with it")
    if source == "float64" and bits != 64:
        raise _refusal(field, f"bits is {bits}", "the order of float64 needs all 64 layers")


def check_default(field: "Field") -> None:
    """Check that the default is a value of the field."""
    default = field.default
    if default is None:
        return
    accepts, remedy = DEFAULTS[field.kind]
    if not accepts(default):
        raise _refusal(field, f"default is {default!r}", f"{field.kind} takes {remedy}")
    if field.kind == "mapped_string" and default not in field.string_map:
        raise _refusal(field, f"default is {default!r}", nearest(default, field.string_map))
    if field.sort is not None and not field.sort.low <= default <= field.sort.high:
        remedy = f"sorted values go from {field.sort.low} to {field.sort.high}"
        raise _refusal(field, f"default is {default!r}", remedy)


def check_names(schema: "Schema") -> None:
    """Check the names and the numbers of the index itself."""
    if not isinstance(schema.name, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", schema.name):
        raise InvalidError(f"name is {schema.name!r}; use 1 to 64 letters, digits, '_' or '-'")
    if not _is_integer(schema.max_page_size) or schema.max_page_size < 1:
        raise InvalidError(f"max_page_size is {schema.max_page_size!r}; use 1 or more")
    if not _is_integer(schema.version) or schema.version < 1:
        raise InvalidError(f"schema_version is {schema.version!r}; use 1 or more")
    for name, field in schema.fields.items():
        if name != field.name:
            raise InvalidError(f"field {field.name!r} is kept under {name!r}; use its own name")


def check_computed(schema: "Schema") -> None:
    """Check that computed sorts name plain, sortable fields."""
    for field in schema.sort_fields:
        computed = field.sort.computed if field.sort else None
        if computed is None:
            continue
        if computed.op not in ("greatest", "least"):
            raise _refusal(field, f"computed.op is {computed.op!r}", "use 'greatest' or 'least'")
        if not computed.sources or len(set(computed.sources)) < len(computed.sources):
            problem = f"computed.source_fields is {list(computed.sources)!r}"
            raise _refusal(field, problem, "name one or more distinct fields")
        for name in computed.sources:
            _check_source(schema, field, name)


def _check_source(schema: "Schema", field: "Field", name: str) -> None:
    problem = f"computed.source_fields names {name!r}"
    if not schema.has(name):
        raise _refusal(field, f"{problem}, which no field is called", nearest(name, schema.fields))
    source = schema.fields[name]
    if source.sort is not None and source.sort.computed is not None:
        raise _refusal(field, f"{problem}, which is computed itself", "name the fields it is computed from")
    if source.kind not in SORTABLE_KINDS or (source.kind == "float" and field.kind != "float"):
        problem = f"{problem} of value_type {source.kind!r}"
        raise _refusal(field, problem, f"a computed {field.kind} takes numbers that it can hold")


def check_times(schema: "Schema") -> None:
    """Check that deferral and time buckets rest on fields that hold times."""
    if schema.deferred is not None:
        name = schema.deferred.source_field
        if not schema.has(name):
            remedy = nearest(name, schema.fields)
            raise InvalidError(f"deferred_alive.source_field is {name!r}, which no field is called; {remedy}")
        if schema.fields[name].kind != "integer":
            kind = schema.fields[name].kind
            raise InvalidError(f"deferred_alive.source_field {name!r} is {kind}; name an integer field")
    if schema.time_buckets is not None:
        _check_buckets(schema)


def _check_buckets(schema: "Schema") -> None:
    buckets = schema.time_buckets
    assert buckets is not None
    sorts = [field.name for field in schema.sort_fields]
    if buckets.sort_field not in sorts:
        remedy = nearest(buckets.sort_field, sorts)
        raise InvalidError(f"time_buckets.sort_field is {buckets.sort_field!r}, not a sort field; {remedy}")
    names = [bucket.name for bucket in buckets.buckets]
    if not names or len(set(names)) < len(names):
        raise InvalidError(
            f"time_buckets.range_buckets are named {names}; give one or more, each its own name"
        )


def _refusal(field: "Field", problem: str, remedy: str) -> InvalidError:
    return InvalidError(f"field {field.name!r}: {problem}; {remedy}")


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -LARGEST - 1 <= value <= LARGEST


def _is_number(value: object) -> bool:
    return _is_integer(value) or isinstance(value, float)


def _is_boolean(value: object) -> bool:
    return isinstance(value, bool)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_integers(value: object) -> bool:
    return isinstance(value, tuple) and all(map(_is_integer, value))


DEFAULTS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "integer": (_is_integer, "an integer of 64 bits"),
    "float": (_is_number, "a number"),
    "boolean": (_is_boolean, "true or false"),
    "exists_boolean": (_is_boolean, "true or false"),
    "integer_array": (_is_integers, "a list of integers"),
    "string": (_is_text, "a string"),
    "mapped_string": (_is_text, "a string of its string_map"),
    "low_cardinality_string": (_is_text, "a string"),
}
