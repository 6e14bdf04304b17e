"""Domains: which values a field takes in a query, and the key that the index keeps for each.

A key is an integer (of labels and booleans too) between `low` and `high`, or a float on float fields.
"""

import datetime
import math
import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from bitdex.errors import InvalidError
from bitdex.query.clauses import EVERYTHING, NOTHING, Clause, IsNotNull, IsNull
from bitdex.query.cursor import LARGEST_SLOT
from bitdex.schema import Field, Schema

Labels = Callable[[Field, str], int | None]

_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[T ].*)?", re.ASCII)
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_BEYOND = 1 << 80  # an integer that no field can hold, in place of infinity


class Domain:
    """The values of one field: what a query may write for them, and what the index keeps."""

    accepts = ""
    excludes_nulls = False
    low: Any = -(2**63)
    high: Any = 2**63 - 1

    def __init__(self, field: Field) -> None:
        self.name = field.name
        self.excludes_nulls = field.nullable and not field.is_list

    def key(self, value: Any) -> int | float | None:
        """Return the value as the index keeps it, or None if no document can have it."""
        raise NotImplementedError

    def keys(self, values: Sequence[Any]) -> list[Any]:
        """Return the distinct keys of several values, sorted."""
        return sorted({self.key(value) for value in values} - {None})

    def present(self) -> Clause:
        """Return the clause of all documents that have a value."""
        return IsNotNull(self.name)

    def absent(self) -> Clause:
        """Return the clause of all documents without a value."""
        return IsNull(self.name)

    def at_least(self, value: Any, strict: bool) -> int | float:
        """Return the smallest key that is greater than `value`, or equal unless `strict`."""
        raise InvalidError(f"{self.name} has no order: it {self.accepts}; use ==, != or in")

    def at_most(self, value: Any, strict: bool) -> int | float:
        """Return the largest key that is less than `value`, or equal unless `strict`."""
        return self.at_least(value, strict)

    def refuse(self, value: Any) -> NoReturn:
        shown = repr(value) if len(repr(value)) <= 80 else repr(value)[:77] + "..."
        raise InvalidError(f"{self.name} {self.accepts}, not {shown}")


class _Texts(Domain):
    accepts = "takes a text in quotes"

    def __init__(self, field: Field, labels: Labels) -> None:
        super().__init__(field)
        self.field = field
        self.labels = labels

    def key(self, value: Any) -> int | None:
        if type(value) is not str:
            self.refuse(value)
        if self.field.is_labelled:
            return self.labels(self.field, value)
        return _mapped(self.field, value)


class _Flags(Domain):
    accepts = "takes true or false"

    def key(self, value: Any) -> int:
        if not isinstance(value, bool | int | float) or value not in (0, 1):
            self.refuse(value)
        return int(value)


class _Numbers(Domain):
    dated = False

    def number(self, value: Any) -> Any:
        kind = type(value)
        if kind is int or (kind is float and value == value):
            return value
        if kind is str and self.dated and (seconds := unix_seconds(value)) is not None:
            return seconds
        self.refuse(value)


class _Integers(_Numbers):
    accepts = "takes a whole number"

    def __init__(self, field: Field) -> None:
        super().__init__(field)
        if field.sort is not None:
            self.low, self.high, self.dated = field.sort.low, field.sort.high, True
            self.accepts = "takes a whole number or a date such as '2026-01-31'"

    def key(self, value: Any) -> int | None:
        number = self.number(value)
        if type(number) is float:
            if not number.is_integer():
                return None
            number = int(number)
        return number if self.low <= number <= self.high else None

    def keys(self, values: Sequence[Any]) -> list[Any]:
        if set(map(type, values)) != {int}:
            return super().keys(values)
        found = sorted(set(values))
        if found[0] >= self.low and found[-1] <= self.high:
            return found
        return [value for value in found if self.low <= value <= self.high]

    def at_least(self, value: Any, strict: bool) -> int:
        return _next_integer(self.number(value), strict)

    def at_most(self, value: Any, strict: bool) -> int:
        return -_next_integer(-self.number(value), strict)


class _Slots(_Integers):
    accepts = "is the number of a document: it takes a whole number"
    low, high = 0, LARGEST_SLOT

    def __init__(self) -> None:
        self.name = "id"

    def present(self) -> Clause:
        return EVERYTHING

    def absent(self) -> Clause:
        return NOTHING

    def number(self, value: Any) -> Any:
        number = super().number(value)
        if type(number) is float and not number.is_integer():
            self.refuse(value)
        return number


class _Reals(_Numbers):
    accepts = "takes a number"
    low, high = -math.inf, math.inf

    def key(self, value: Any) -> float | None:
        number = self.number(value)
        real = _nearest_real(number)
        return real if real == number else None

    def at_least(self, value: Any, strict: bool) -> float:
        return _next_real(self.number(value), strict)

    def at_most(self, value: Any, strict: bool) -> float:
        return 0.0 - _next_real(-self.number(value), strict)


def domain_of(name: str, schema: Schema, labels: Labels) -> Domain:
    """Return the domain of a field that can be queried; any other is an `InvalidError`."""
    if name == "id":
        return _Slots()
    buckets = schema.time_buckets
    if buckets is not None and name == buckets.filter_field and name not in schema.fields:
        name = buckets.sort_field
    field = schema.field(name)
    if field.filter is None and field.sort is None:
        raise InvalidError(
            f"{name} is stored but not indexed: documents show it, queries cannot use it; "
            "declare it in filter_fields or sort_fields"
        )
    if field.is_text:
        return _Texts(field, labels)
    if field.is_boolean:
        return _Flags(field)
    return _Reals(field) if field.kind == "float" else _Integers(field)


def _next_integer(number: int | float, strict: bool) -> int:
    if type(number) is float:
        if math.isinf(number):
            return _BEYOND if number > 0 else -_BEYOND
        number = math.floor(number) if strict else math.ceil(number)
    return number + strict  # type: ignore[return-value]


def _next_real(number: int | float, strict: bool) -> float:
    real = _nearest_real(number)
    if real > number or (real == number and not strict):
        return real
    return math.nan if real == math.inf else math.nextafter(real, math.inf)  # nothing exceeds infinity


def _nearest_real(number: int | float) -> float:
    try:
        return float(number) + 0.0  # -0.0 is 0.0
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _mapped(field: Field, text: str) -> int | None:
    if text in field.string_map or field.case_sensitive:
        return field.string_map.get(text)
    wanted = text.lower()
    return next((key for label, key in field.string_map.items() if label.lower() == wanted), None)


def unix_seconds(text: str) -> int | float | None:
    """Return the seconds since 1970 of an ISO date or time, in UTC unless it says otherwise."""
    if not _DATE.fullmatch(text):
        return None
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
    since = (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)) - _EPOCH
    seconds = since.days * 86400 + since.seconds
    return seconds + since.microseconds / 1e6 if since.microseconds else seconds
