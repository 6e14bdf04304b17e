"""Random clause trees and documents over one schema that has a field of every sort."""

from typing import Any

from hypothesis import strategies as st

from bitdex.query import clauses as c
from bitdex.schema import Field, Schema

SCHEMA = Schema.load(
    {
        "name": "everything",
        "config": {
            "filter_fields": [
                {"name": "level", "field_type": "single_value"},
                {"name": "owner", "field_type": "single_value"},
                {"name": "type", "field_type": "single_value"},
                {"name": "model", "field_type": "single_value"},
                {"name": "kind", "field_type": "single_value"},
                {"name": "poi", "field_type": "boolean"},
                {"name": "minor", "field_type": "boolean"},
                {"name": "tags", "field_type": "multi_value"},
            ],
            "sort_fields": [
                {"name": "likes", "bits": 8},
                {"name": "delta", "source_type": "int32", "absent": "first"},
                {"name": "score", "source_type": "float64", "bits": 64},
                {"name": "level", "source_type": "int64", "bits": 64},
                {"name": "at", "source_type": "timestamp", "bits": 64, "absent": "lowest"},
            ],
            "time_buckets": {
                "filter_field": "atUnix",
                "sort_field": "at",
                "range_buckets": [{"name": "24h", "duration_secs": 86400, "refresh_interval_secs": 300}],
            },
        },
        "data_schema": {
            "id_field": "id",
            "fields": [
                {"source": "level", "target": "level", "value_type": "integer"},
                {"source": "owner", "target": "owner", "value_type": "integer", "nullable": True},
                {"source": "type", "target": "type", "value_type": "low_cardinality_string"},
                {
                    "source": "model",
                    "target": "model",
                    "value_type": "low_cardinality_string",
                    "nullable": True,
                    "case_sensitive": True,
                },
                {
                    "source": "kind",
                    "target": "kind",
                    "value_type": "mapped_string",
                    "string_map": {"Cat": 1, "dog": 2},
                },
                {"source": "poi", "target": "poi", "value_type": "boolean", "default": False},
                {"source": "minor", "target": "minor", "value_type": "boolean", "nullable": True},
                {"source": "tags", "target": "tags", "value_type": "integer_array", "nullable": True},
                {"source": "likes", "target": "likes", "value_type": "integer", "default": 0},
                {"source": "delta", "target": "delta", "value_type": "integer"},
                {"source": "score", "target": "score", "value_type": "float"},
                {"source": "url", "target": "url", "value_type": "string", "doc_only": True},
            ],
        },
    }
)

NUMBERED = {"image": 1, "video": 2}
CASED = {"SD": 1, "sd": 2, "Flux": 3}


def labels(field: Field, text: str) -> int | None:
    return CASED.get(text) if field.name == "model" else NUMBERED.get(text.lower())


INTEGERS = st.integers(-4, 6) | st.sampled_from(
    [254, 255, 256, 2**31, 2**40, 2**63 - 1, 2**63, -(2**63) - 1, 10**30]
)
HALVES = st.integers(-8, 12).map(lambda n: n / 2) | st.sampled_from(
    [0.1, 1e300, -1e300, 2.0**53, float("inf")]
)
NUMBERS = INTEGERS | HALVES
DATES = st.sampled_from(["1970-01-01", "1970-01-01T00:00:05Z", "1970-01-01 01:00:03.5+01:00", "2024-02-29"])
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "id": INTEGERS,
    "level": NUMBERS,
    "owner": NUMBERS,
    "type": st.sampled_from(["image", "IMAGE", "video", "audio", ""]),
    "model": st.sampled_from(["SD", "sd", "Flux", "flux", "x"]),
    "kind": st.sampled_from(["cat", "Cat", "dog", "cow"]),
    "poi": st.booleans() | st.sampled_from([0, 1, 1.0]),
    "minor": st.booleans(),
    "tags": NUMBERS,
    "likes": NUMBERS,
    "delta": NUMBERS,
    "score": NUMBERS,
    "at": INTEGERS | DATES,
    "atUnix": INTEGERS | DATES,
}
ORDERED = ("id", "level", "owner", "tags", "likes", "delta", "score", "at", "atUnix")


@st.composite
def leaves(draw: st.DrawFn) -> c.Clause:
    kind = draw(
        st.sampled_from(
            [c.Eq, c.NotEq, c.In, c.NotIn, c.Gt, c.Gte, c.Lt, c.Lte, c.Between, c.IsNull, c.IsNotNull]
        )
    )
    ranged = issubclass(kind, c.Gt | c.Gte | c.Lt | c.Lte | c.Between)
    name = draw(st.sampled_from(ORDERED if ranged else sorted(VALUES)))
    value = VALUES[name]
    if issubclass(kind, c.Presence):
        return kind(name)
    if issubclass(kind, c.Membership):
        return kind(name, tuple(draw(st.lists(value | st.none(), max_size=4))))
    if kind is c.Between:
        return kind(name, draw(value), draw(value))
    return kind(name, draw(value if ranged else value | st.none()))


def trees(leaf: st.SearchStrategy[c.Clause]) -> st.SearchStrategy[c.Clause]:
    """Return trees whose combinations have no or several members, as a text can tell them apart."""

    def combined(inner: st.SearchStrategy[c.Clause]) -> st.SearchStrategy[c.Clause]:
        members = st.just(()) | st.lists(inner, min_size=2, max_size=3).map(tuple)
        return st.builds(c.And, members) | st.builds(c.Or, members) | st.builds(c.Not, inner)

    return st.recursive(leaf, combined, max_leaves=5)


DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "level": st.integers(-3, 5),
        "owner": st.integers(-3, 5),
        "type": st.sampled_from(["image", "Image", "video"]),
        "model": st.sampled_from(["SD", "sd", "Flux"]),
        "kind": st.sampled_from(["cat", "DOG", "cow"]),
        "poi": st.booleans(),
        "minor": st.booleans(),
        "tags": st.lists(st.integers(-3, 5), max_size=4),
        "likes": st.sampled_from([0, 1, 2, 5, 254, 255]),
        "delta": st.integers(-4, 6) | st.sampled_from([-(2**31), 2**31 - 1]),
        "score": st.sampled_from([-1.5, 0.0, 0.1, 2.0, 1e300, float("inf"), 2.0**53]),
        "at": st.integers(-3, 5) | st.just(1709164800),
    },
)
