"""The shape a schema has as data: ``name``, ``config`` and ``data_schema``, read and written.

    name: pictures
    config:
      filter_fields: [{name: tagIds, field_type: multi_value}]
      sort_fields: [{name: sortAt, bits: 32}]
      max_page_size: 200
    data_schema:
      id_field: id
      fields: [{source: tags, target: tagIds, value_type: integer_array}]

A filter or sort field without a mapping in ``data_schema`` gets one: a list of integers if it
is multi_value, a boolean if it is boolean, else an integer. A mapping that neither names is
document-only. Keys outside the tables below are refused.
"""

import copy
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bitdex.configuration import Section, read_configuration
from bitdex.errors import InvalidError
from bitdex.schema import Bucket, Computed, Deferred, Field, Schema, Sort, TimeBuckets
from bitdex.schema_rules import ABSENT, FILTERED_KINDS, KINDS, SIGNED_SOURCES, SOURCE_BITS

COUNT, FLAG, FRACTION = "count", "flag", "fraction"
CACHE_COUNTS = """max_entries max_bytes initial_capacity max_capacity min_filter_size bound_target_size
    bound_max_size bound_max_count max_maintenance_work max_maintenance_ms"""
COUNTS = """autovac_interval_secs merge_interval_ms flush_interval_us channel_capacity compact_threshold_pct
    eviction_sweep_interval memory_budget_bytes rayon_threads prometheus_port"""
SETTINGS: dict[str, Any] = {
    "cache": {
        **dict.fromkeys(CACHE_COUNTS.split(), COUNT),
        **dict.fromkeys(("decay_rate", "prefetch_threshold"), FRACTION),
        **dict.fromkeys(("preload_bounds", "async_maintenance"), FLAG),
    },
    "storage": {"bitmap_path": "text"},
    "doc_cache": dict.fromkeys(("max_bytes", "generation_interval_secs", "max_generations"), COUNT),
    "memory_scanner": {"enabled": FLAG, "interval_ms": COUNT, "batch_size": COUNT},
    **dict.fromkeys(("memory_pressure_threshold", "memory_pressure_target"), FRACTION),
    **dict.fromkeys(("enabled_metrics", "disabled_metrics"), "names"),
    **dict.fromkeys(COUNTS.split(), COUNT),
    "headless": FLAG,
}
ROOT_KEYS = ("name", "config", "data_schema")
DATA_KEYS = ("id_field", "schema_version", "fields")
CONFIG_KEYS = ["filter_fields", "sort_fields", "max_page_size", "deferred_alive", "time_buckets", *SETTINGS]
FILTER_KEYS = ("name", "field_type", "behaviors", "eviction", "eager_load", "per_value_lazy")
SORT_KEYS = ("name", "source_type", "encoding", "bits", "eager_load", "computed", "signed", "absent")
BUCKETS_KEYS = ("filter_field", "sort_field", "range_buckets")
BUCKET_KEYS = ("name", "duration_secs", "refresh_interval_secs")
MAPPING_TEXTS = ("source", "target", "value_type", "fallback")
MAPPING_FLAGS = ("doc_only", "filter_only", "ms_to_seconds", "truncate_u32", "case_sensitive", "nullable")
MAPPING_KEYS = (*MAPPING_TEXTS, *MAPPING_FLAGS, "string_map", "default")
ADDED_FILTER_KEYS = [key for key in FILTER_KEYS if key not in ("name", "behaviors")]
ADDED_KEYS = [key for key in MAPPING_KEYS if key != "target"]


def read_schema(source: str | Path | Mapping[str, Any]) -> Schema:
    """Make a schema from a YAML or JSON file or from its content."""
    content = read_configuration(source) if isinstance(source, str | Path) else source
    root = Section(content, "", ROOT_KEYS)
    config = root.section("config", CONFIG_KEYS) or Section({}, "config", CONFIG_KEYS)
    data = root.section("data_schema", DATA_KEYS) or Section({}, "data_schema", DATA_KEYS)
    filters = _by_name(config.sections("filter_fields", FILTER_KEYS), "name")
    return Schema(
        name=root.text("name"),
        fields=_read_fields(filters, config, data),
        id_field=data.text("id_field", "id"),
        version=data.whole("schema_version", 1, 1),
        max_page_size=config.whole("max_page_size", 100, 1),
        deferred=_read_deferred(config),
        time_buckets=_read_time_buckets(config, filters),
        settings=_read_settings(config, SETTINGS),
    )


def _by_name(sections: list[Section], key: str) -> dict[str, Section]:
    result: dict[str, Section] = {}
    for section in sections:
        name = section.text(key)
        if name in result:
            raise section.error(key, f"{result[name].where} has it already; name each field once")
        result[name] = section
    return result


def _read_fields(filters: dict[str, Section], config: Section, data: Section) -> dict[str, Field]:
    sorts = _by_name(config.sections("sort_fields", SORT_KEYS), "name")
    mappings = _by_name(data.sections("fields", MAPPING_KEYS), "target")
    names = [*filters, *sorts, *mappings]
    fields = {n: _read_field(n, filters.get(n), sorts.get(n), mappings.get(n)) for n in names}
    return {name: with_default(field, fields) for name, field in fields.items()}


def with_default(field: Field, fields: dict[str, Field]) -> Field:
    """Give a computed sort field the value that follows from the defaults of its sources."""
    computed = field.sort.computed if field.sort else None
    if computed is None or field.default is not None:
        return field
    kind = float if field.kind == "float" else int
    found = [fields[name].default for name in computed.sources if name in fields]
    defaults = [kind(default) for default in found if isinstance(default, bool | int | float)]
    if not defaults:
        return field
    return dataclasses.replace(field, default=(max if computed.op == "greatest" else min)(defaults))


def read_entries(
    name: str,
    filtered: Mapping[str, Any] | None,
    sorted_: Mapping[str, Any] | None,
    described: Mapping[str, Any],
) -> Field:
    """Make a field from its entries in ``filter_fields``, ``sort_fields``, ``data_schema``, without its name.

    Parameters
    ----------
    filtered, sorted_ : mapping, optional
        None where there is no such entry.
    described : mapping
        Its `value_type` follows from the other two by default.
    """
    place = f"field {name!r}"
    filters = None if filtered is None else Section(filtered, f"{place}: filter", ADDED_FILTER_KEYS)
    sorts = None if sorted_ is None else Section(sorted_, f"{place}: sort", SORT_KEYS[1:])
    mapping = None
    if described:
        kind = _default_kind(None if filters is None else filters.values.get("field_type"), sorts)
        mapping = Section({"source": name, "value_type": kind} | dict(described), place, ADDED_KEYS)
    return _read_field(name, filters, sorts, mapping)


def entries_of(field: Field) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return what `read_entries` makes an equal field of; empty where a field has no such entry."""
    filtered = {} if field.filter is None else _write_filter(field)
    sorted_ = {} if field.sort is None else _write_sort(field, field.sort)
    described = _write_mapping(field)
    for part, key in ((filtered, "name"), (sorted_, "name"), (described, "target")):
        part.pop(key, None)
    return filtered, sorted_, described


def _read_field(name: str, filters: Section | None, sorts: Section | None, mapping: Section | None) -> Field:
    filtered = filters.choice("field_type", FILTERED_KINDS) if filters else None
    if mapping is None:
        kind, described = _default_kind(filtered, sorts), {}
    else:
        kind, described = mapping.choice("value_type", KINDS), _read_mapping(mapping)
        if mapping.flag("doc_only") and (filters or sorts):
            raise mapping.error("doc_only", "the field is a filter or sort field; drop one of the two")
    sort = _read_sort(sorts, kind) if sorts else None
    return Field(name, kind, filtered, sort, settings=_read_advice(filters, sorts), **described)


def _default_kind(filtered: str | None, sorts: Section | None) -> str:
    """Return the kind of a field that `data_schema` does not describe."""
    if filtered is not None:
        return {"multi_value": "integer_array", "boolean": "boolean"}.get(filtered, "integer")
    source = sorts.values.get("source_type") if sorts else None
    return {"float64": "float", "boolean": "boolean"}.get(str(source), "integer")


def _read_mapping(mapping: Section) -> dict[str, Any]:
    if mapping.flag("doc_only") and mapping.flag("filter_only"):
        raise mapping.error("doc_only", "filter_only is true as well; choose one")
    default = mapping.values.get("default")
    fallback = mapping.optional_text("fallback")
    return {
        "stored": not mapping.flag("filter_only"),
        "default": tuple(default) if isinstance(default, list) else default,
        "nullable": mapping.flag("nullable"),
        "string_map": _read_string_map(mapping),
        "case_sensitive": mapping.flag("case_sensitive"),
        "sources": (mapping.text("source"), *([fallback] if fallback else [])),
        "ms_to_seconds": mapping.flag("ms_to_seconds") or mapping.flag("truncate_u32"),
    }


def _read_string_map(mapping: Section) -> dict[str, int]:
    string_map = mapping.values.get("string_map", {})
    if not isinstance(string_map, Mapping):
        raise mapping.error("string_map", "give a mapping from strings to integers")
    return dict(string_map)


def _read_sort(part: Section, kind: str) -> Sort:
    part.choice("encoding", ("linear",), "linear")
    source = part.choice("source_type", SOURCE_BITS, _default_source(part, kind))
    if part.flag("signed") and source not in (*SIGNED_SOURCES, "float64"):
        raise part.error("signed", f"source_type is {source!r}; use int64 or int32")
    bits, absent = part.whole("bits", SOURCE_BITS[source], 1, 64), part.choice("absent", ABSENT, "last")
    return Sort(bits, source, _read_computed(part), absent)


def _default_source(part: Section, kind: str) -> str:
    if part.flag("signed"):
        return "int64"
    if kind == "float":
        return "float64"
    if kind in ("boolean", "exists_boolean") and "bits" not in part.values:
        return "boolean"
    return "uint64" if part.whole("bits", 32, 1, 64) > 32 else "uint32"


def _read_computed(part: Section) -> Computed | None:
    computed = part.section("computed", ("op", "source_fields"))
    if computed is None:
        return None
    return Computed(computed.choice("op", ("greatest", "least")), computed.names("source_fields"))


def _read_advice(filters: Section | None, sorts: Section | None) -> dict[str, Any]:
    """Return the keys that advise how to load a field, from either declaration."""
    advice: dict[str, Any] = {}
    for part in (filters, sorts):
        if part is not None and part.flag("eager_load"):
            advice["eager_load"] = True
    if filters is None:
        return advice
    if filters.flag("per_value_lazy"):
        advice["per_value_lazy"] = True
    eviction = filters.section("eviction", ("idle_seconds",))
    if eviction is not None:
        advice["eviction"] = {"idle_seconds": _read_idle(filters, eviction)}
    return advice


def _read_idle(filters: Section, eviction: Section) -> float:
    if filters.values.get("field_type") != "multi_value":
        raise filters.error("eviction", "only a multi_value field can have it")
    idle = eviction.values.get("idle_seconds")
    if not isinstance(idle, int | float) or isinstance(idle, bool) or not idle > 0:
        raise eviction.error("idle_seconds", "give a number above 0")
    return float(idle)


def _read_deferred(config: Section) -> Deferred | None:
    section = config.section("deferred_alive", ("source_field", "ms_to_seconds"))
    if section is None:
        return None
    return Deferred(section.text("source_field"), section.flag("ms_to_seconds"))


def _read_time_buckets(config: Section, filters: dict[str, Section]) -> TimeBuckets | None:
    """Read `time_buckets`, or their older place in the behaviors of one filter field."""
    found = []
    section = config.section("time_buckets", BUCKETS_KEYS)
    if section is not None:
        found.append(_read_buckets(section, section.text("filter_field"), section.text("sort_field")))
    for name, part in filters.items():
        behaviors = part.section("behaviors", ("range_buckets", "sort_field"))
        if behaviors is not None and "range_buckets" in behaviors.values:
            found.append(_read_buckets(behaviors, name, behaviors.text("sort_field", name)))
    if len(found) > 1:
        names = [one.filter_field for one in found]
        raise InvalidError(f"config: time buckets are declared for {names}; keep config.time_buckets only")
    return found[0] if found else None


def _read_buckets(section: Section, filter_field: str, sort_field: str) -> TimeBuckets:
    buckets = tuple(
        Bucket(one.text("name"), one.whole("duration_secs", low=1), one.whole("refresh_interval_secs", low=1))
        for one in section.sections("range_buckets", BUCKET_KEYS)
    )
    return TimeBuckets(filter_field, sort_field, buckets)


def _read_settings(section: Section, table: Mapping[str, Any]) -> dict[str, Any]:
    """Check the keys that are kept as data, and return those that were written."""
    result: dict[str, Any] = {}
    for key in [one for one in table if one in section.values]:
        if isinstance(table[key], dict):
            inner = section.section(key, table[key])
            result[key] = _read_settings(inner, table[key]) if inner else {}
        else:
            result[key] = _read_setting(section, key, table[key])
    return result


def _read_setting(section: Section, key: str, kind: str) -> Any:
    readers: dict[str, Callable[[str], Any]] = {
        COUNT: section.whole,
        FLAG: section.flag,
        FRACTION: section.fraction,
        "text": section.text,
        "names": lambda name: list(section.names(name)),
    }
    return readers[kind](key)


def write_schema(schema: Schema) -> dict[str, Any]:
    """Return the plain data of a schema: dictionaries, lists, strings, numbers."""
    config: dict[str, Any] = {
        "filter_fields": [_write_filter(field) for field in schema.filter_fields],
        "sort_fields": [_write_sort(field, field.sort) for field in schema.sort_fields if field.sort],
        "max_page_size": schema.max_page_size,
        **schema.settings,
    }
    if schema.deferred is not None:
        config["deferred_alive"] = dataclasses.asdict(schema.deferred)
    if schema.time_buckets is not None:
        config["time_buckets"] = _write_time_buckets(schema.time_buckets)
    data = {
        "id_field": schema.id_field,
        "schema_version": schema.version,
        "fields": [_write_mapping(field) for field in schema.fields.values()],
    }
    return copy.deepcopy({"name": schema.name, "config": config, "data_schema": data})


def _write_time_buckets(buckets: TimeBuckets) -> dict[str, Any]:
    spans = [dataclasses.asdict(bucket) for bucket in buckets.buckets]
    names = {"filter_field": buckets.filter_field, "sort_field": buckets.sort_field}
    return {**names, "range_buckets": spans}


def _write_filter(field: Field) -> dict[str, Any]:
    return {"name": field.name, "field_type": field.filter, **field.settings}


def _write_sort(field: Field, sort: Sort) -> dict[str, Any]:
    written: dict[str, Any] = {"name": field.name, "source_type": sort.source_type, "bits": sort.bits}
    if field.filter is None:
        written.update(field.settings)
    if sort.absent != "last":
        written["absent"] = sort.absent
    if sort.computed is not None:
        written["computed"] = {"op": sort.computed.op, "source_fields": list(sort.computed.sources)}
    return written


def _write_mapping(field: Field) -> dict[str, Any]:
    """Return a field's entry in `data_schema`, without the keys that have their default."""
    source, *fallback = field.sources
    default = list(field.default) if isinstance(field.default, tuple) else field.default
    optional = {
        "fallback": fallback[0] if fallback else None,
        "string_map": dict(field.string_map) or None,
        "filter_only": None if field.stored else True,
        "ms_to_seconds": field.ms_to_seconds or None,
        "case_sensitive": field.case_sensitive or None,
        "nullable": field.nullable or None,
        "default": default,
    }
    required = {"source": source, "target": field.name, "value_type": field.kind}
    return required | {key: value for key, value in optional.items() if value is not None}
