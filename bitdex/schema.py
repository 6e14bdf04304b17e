"""The schema: which fields an index has, what they hold, and how each is filtered, sorted and stored.

A field has one *kind* (what its values are), at most one *filter* (bitmaps per value), at most
one *sort* (bit layers), and is stored in the document unless it is filter-only. The rules that
tie these together are checked when the objects are made, whoever makes them. `Schema.load`
reads the shape that a YAML or JSON file has; `Schema.to_mapping` writes it.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitdex import schema_rules as rules
from bitdex.configuration import nearest
from bitdex.errors import InvalidError


@dataclass(frozen=True)
class Computed:
    """A sort value made from other fields: their greatest or least."""

    op: str
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Sort:
    """The bit layers of a sort field.

    Attributes
    ----------
    bits : int
        Number of layers, at most what `source_type` has (float64 needs all 64, a boolean 1).
    source_type : str
        "uint32", "uint64", "int32", "int64", "float64", "boolean" or "timestamp" (seconds
        since 1970, signed, so that earlier dates sort too).
    computed : Computed or None
        How the value follows from other fields.
    absent : str
        Where documents without a value stand: "last" or "first" in both directions, or "lowest": below all
        values, so first ascending and last descending.
    """

    bits: int = 32
    source_type: str = "uint32"
    computed: Computed | None = None
    absent: str = "last"

    @property
    def signed(self) -> bool:
        """Whether negative integers are accepted."""
        return self.source_type in rules.SIGNED_SOURCES

    def absent_first(self, descending: bool) -> bool:
        """Tell whether documents without a value come before those with one."""
        return self.absent == "first" or (self.absent == "lowest" and not descending)

    @property
    def low(self) -> int | float:
        """The smallest value that can be sorted."""
        if self.source_type == "float64":
            return float("-inf")
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def high(self) -> int | float:
        """The largest value that can be sorted."""
        if self.source_type == "float64":
            return float("inf")
        return (1 << (self.bits - self.signed)) - 1


@dataclass(frozen=True)
class Field:
    """One field of an index.

    Attributes
    ----------
    name : str
        The name in queries and documents.
    kind : str
        What the values are: one of `bitdex.schema_rules.KINDS`.
    filter : str or None
        "single_value", "multi_value", "boolean", or None if no bitmaps are kept.
    sort : Sort or None
        The bit layers, if there are any.
    stored : bool
        Whether documents hold the field (false for filter-only fields).
    default : bool, int, float, str, tuple of int or None
        The value that documents leave out and reads put back; None if there is none.
    nullable : bool
        Whether a bitmap of nulls is kept.
    string_map : mapping of str to int
        The numbers of a mapped string; empty for every other kind.
    case_sensitive : bool
        Whether texts that differ in case are different.
    sources : tuple of str
        Keys of a raw record: the first, then the fallback. The field's own name by default.
    ms_to_seconds : bool
        Whether a raw record's value (never the fallback's) is divided by 1000.
    settings : mapping
        Accepted keys that only advise: eager_load, per_value_lazy, eviction.
    """

    name: str
    kind: str = "integer"
    filter: str | None = None
    sort: Sort | None = None
    stored: bool = True
    default: Any = None
    nullable: bool = False
    string_map: Mapping[str, int] = dataclasses.field(default_factory=dict, hash=False)
    case_sensitive: bool = False
    sources: tuple[str, ...] = ()
    ms_to_seconds: bool = False
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if not self.sources:
            object.__setattr__(self, "sources", (self.name,))
        rules.check_kind(self)
        rules.check_filter(self)
        rules.check_sort(self)
        rules.check_default(self)

    @property
    def indexed(self) -> bool:
        """Whether the field has bitmaps or layers; otherwise it is document-only."""
        return self.filter is not None or self.sort is not None

    @property
    def is_list(self) -> bool:
        """Whether one document may hold several values."""
        return self.kind == "integer_array"

    @property
    def is_labelled(self) -> bool:
        """Whether a dictionary numbers the texts 1, 2, 3, ..."""
        return self.kind == "low_cardinality_string"

    @property
    def is_boolean(self) -> bool:
        """Whether the value is true or false."""
        return self.kind in ("boolean", "exists_boolean")

    @property
    def is_text(self) -> bool:
        """Whether documents show the value as text."""
        return self.kind in rules.TEXT_KINDS


@dataclass(frozen=True)
class Bucket:
    """A named span of time that ends now."""

    name: str
    duration_secs: int
    refresh_interval_secs: int


@dataclass(frozen=True)
class TimeBuckets:
    """The spans by which `sort_field` can be filtered under the name `filter_field`."""

    filter_field: str
    sort_field: str
    buckets: tuple[Bucket, ...]


@dataclass(frozen=True)
class Deferred:
    """Documents whose `source_field` lies in the future stay invisible until then."""

    source_field: str
    ms_to_seconds: bool = False

    @property
    def unit(self) -> int:
        """What the values of the field count in a second."""
        return 1000 if self.ms_to_seconds else 1


@dataclass(frozen=True)
class Schema:
    """The definition of an index.

    Attributes
    ----------
    name : str
        1 to 64 letters, digits, "_" or "-".
    fields : mapping of str to Field
        In order of declaration: filter fields, sort fields, then document-only ones.
    id_field : str
        Key of a raw record that holds the document's id.
    version : int
        1 or more; every change of the definition raises it.
    max_page_size : int
        The most rows one page of an answer may have.
    deferred : Deferred or None
    time_buckets : TimeBuckets or None
    settings : mapping
        The other accepted keys of ``config`` (cache, merge_interval_ms, ...), as they were written.

    Examples
    --------
    >>> schema = Schema.load({"name": "pictures", "config": {"sort_fields": [{"name": "width"}]}})
    >>> schema.field("width").sort.high
    4294967295
    """

    name: str
    fields: Mapping[str, Field] = dataclasses.field(hash=False)
    id_field: str = "id"
    version: int = 1
    max_page_size: int = 100
    deferred: Deferred | None = None
    time_buckets: TimeBuckets | None = None
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        rules.check_names(self)
        rules.check_computed(self)
        rules.check_times(self)

    @classmethod
    def load(cls, source: str | Path | Mapping[str, Any]) -> "Schema":
        """Read a schema from a YAML or JSON file, or from the mapping such a file holds.

        Raises
        ------
        InvalidError
            Naming the place, the value and the remedy.
        NotFoundError
            If there is no such file.
        """
        from bitdex.schema_yaml import read_schema  # it imports the classes of this module

        return read_schema(source)

    def to_mapping(self) -> dict[str, Any]:
        """Return plain data from which `Schema.load` makes an equal schema."""
        from bitdex.schema_yaml import write_schema

        return write_schema(self)

    def has(self, name: str) -> bool:
        """Tell whether a field of that name exists."""
        return name in self.fields

    def field(self, name: str) -> Field:
        """Return a field; an unknown name is an `InvalidError` with the nearest names."""
        if not isinstance(name, str):
            raise InvalidError(f"field: expected the name of one, found {name!r:.80}")
        if name not in self.fields:
            raise InvalidError(f"unknown field {name!r} in index {self.name!r}; {nearest(name, self.fields)}")
        return self.fields[name]

    def _repr_html_(self) -> str:
        from bitdex.schema_html import schema_panel

        return schema_panel(self)

    @property
    def filter_fields(self) -> tuple[Field, ...]:
        """The fields that have bitmaps per value."""
        return tuple(one for one in self.fields.values() if one.filter is not None)

    @property
    def sort_fields(self) -> tuple[Field, ...]:
        """The fields that have bit layers."""
        return tuple(one for one in self.fields.values() if one.sort is not None)
