"""Queries written in Python: ``f = bitdex.field``, then ``(f.nsfwLevel == 1) & f.tagIds.has(304) & ~f.poi``.

A field reference builds clauses straight away; there is no tree beside the clause tree. A bare
reference in ``&``, ``|`` stands for "is true", ``~`` before it for "is false".
"""

import datetime
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from bitdex.errors import InvalidError
from bitdex.query.clauses import (
    EVERYTHING,
    Between,
    Clause,
    Eq,
    Gt,
    Gte,
    In,
    IsNotNull,
    IsNull,
    Lt,
    Lte,
    NotEq,
    NotIn,
    Value,
    Within,
    all_of,
)

if TYPE_CHECKING:
    from bitdex.schema import Schema

OPENED: set[str] = set()  # names of the fields of indexes that were opened, for Tab
LONG = 1000  # characters of a text that is read anew each time
_VALUES = frozenset({int, str, float, bool, type(None)})


def as_value(value: Any, where: str = "query") -> Value:
    """Return a plain value: NumPy and pandas scalars unwrapped, dates as ISO text."""
    if type(value) in _VALUES:
        return value
    if isinstance(value, datetime.date):  # datetimes and pandas timestamps too
        return value.isoformat()
    if type(value).__name__ == "datetime64":
        return str(value)
    if hasattr(value, "item") and type(value).__name__ != "timedelta64":  # in nanoseconds that is an integer
        value = value.item()
    if isinstance(value, str):
        return str.__str__(value)  # a member of an enumeration is shown as something else
    for kind in (bool, int, float):
        if isinstance(value, kind):
            return kind(value)
    raise InvalidError(f"{where}: a value is a number, string, boolean, date or None, not {value!r}")


def as_values(values: Any) -> tuple[Value, ...]:
    """Return a tuple of plain values from any iterable: list, set, range, array, Series, Arrow array."""
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise InvalidError(f"Expected a list of values, not {values!r}; for one value use == or .has(value)")
    values = _listed(values)
    return (
        tuple(values)
        if _VALUES.issuperset(map(type, values := list(values)))
        else tuple(map(as_value, values))
    )


def _listed(values: Any) -> Any:
    """Return the elements of an array or a Series as objects of Python, dates as dates."""
    if isinstance(values, np.ndarray) and values.dtype.kind == "M":
        values = values.astype("datetime64[us]")  # nanoseconds would be listed as integers
    if isinstance(values, np.ndarray) and values.dtype.kind == "m":
        return list(values)
    for name in ("to_pylist", "tolist"):  # Arrow; NumPy and pandas
        if hasattr(values, name):
            return getattr(values, name)()
    return values


class FieldRef:
    """A field of an index, to be compared; made by ``field.name`` or ``field["name"]``.

    Examples
    --------
    >>> print(field.width.between(512, 1024) & ~field.poi & field.type.isin(["image"]))
    width between 512 and 1024 and poi == false and type in ['image']
    """

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __eq__(self, value: Any) -> Eq:  # type: ignore[override]
        return Eq(self._name, value if type(value) in _VALUES else as_value(value))

    def __ne__(self, value: Any) -> NotEq:  # type: ignore[override]
        return NotEq(self._name, value if type(value) in _VALUES else as_value(value))

    def __gt__(self, value: Any) -> Gt:
        return Gt(self._name, as_value(value))

    def __ge__(self, value: Any) -> Gte:
        return Gte(self._name, as_value(value))

    def __lt__(self, value: Any) -> Lt:
        return Lt(self._name, as_value(value))

    def __le__(self, value: Any) -> Lte:
        return Lte(self._name, as_value(value))

    __hash__ = None  # type: ignore[assignment]

    def isin(self, values: Any) -> In:
        """Match documents whose value is one of `values`."""
        return In(self._name, as_values(values))

    def notin(self, values: Any) -> NotIn:
        """Match documents whose value is none of `values`."""
        return NotIn(self._name, as_values(values))

    def has(self, value: Any) -> Eq:
        """Match documents whose list contains `value`."""
        return Eq(self._name, value if type(value) in _VALUES else as_value(value))

    def has_any(self, values: Any) -> In:
        """Match documents whose list contains at least one of `values`."""
        return In(self._name, as_values(values))

    def has_all(self, values: Any) -> Clause:
        """Match documents whose list contains every one of `values`."""
        return all_of([Eq(self._name, value) for value in as_values(values)])

    def between(self, low: Any, high: Any) -> Between:
        """Match documents with low <= value <= high."""
        return Between(self._name, as_value(low), as_value(high))

    def within(self, window: str) -> Within:
        """Match documents whose value lies in a window of `time_buckets`, which ends now."""
        return Within(self._name, str(window))

    def isnull(self) -> IsNull:
        """Match documents without a value, or with an empty list."""
        return IsNull(self._name)

    def notnull(self) -> IsNotNull:
        """Match documents with a value."""
        return IsNotNull(self._name)

    def __clause__(self) -> Clause:
        return Eq(self._name, True)

    def __invert__(self) -> Clause:
        return Eq(self._name, False)

    def __and__(self, other: Any) -> Clause:
        return Eq(self._name, True) & other

    def __or__(self, other: Any) -> Clause:
        return Eq(self._name, True) | other

    def __rand__(self, other: Any) -> Clause:
        return Eq(self._name, True).__rand__(other)

    def __ror__(self, other: Any) -> Clause:
        return Eq(self._name, True).__ror__(other)

    def __getitem__(self, value: Any) -> Eq:
        """Match documents whose value is `value`, or whose list contains it: ``f.type["video"]``.

        Of a field of an index (`Index.f`) Tab completes the values.
        """
        return self.has(value)

    __iter__ = None  # or else a loop would ask for field[0]

    def __contains__(self, value: Any) -> NoReturn:
        raise InvalidError(
            f"Write field.{self._name}.has({value!r}) instead of `{value!r} in field.{self._name}`"
        )

    def __bool__(self) -> NoReturn:
        raise InvalidError(
            f"field.{self._name} is neither true nor false: combine clauses with & | ~, not with and, or, not"
        )

    def __repr__(self) -> str:
        return f"field[{self._name!r}]"


class KnownField(FieldRef):
    """A field of an index, whose values Tab completes: ``index.f.type["<Tab>``."""

    __slots__ = ("_values",)

    def __init__(self, name: str, values: Callable[[str], list[Any]]) -> None:
        super().__init__(name)
        self._values = values

    def _ipython_key_completions_(self) -> list[Any]:
        return self._values(self._name)


class UnknownFieldError(InvalidError, AttributeError):
    """There is no field of that name; the message says which are near."""


class FieldMaker:
    """Makes field references: ``field.width``; ``field["any name"]`` for names that are not words.

    With a schema (`Index.f`) only names that exist are accepted. Tab completes them; without a schema,
    those of the indexes that were opened.
    """

    def __init__(
        self, schema: "Schema | None" = None, values: Callable[[str], list[Any]] | None = None
    ) -> None:
        self._schema, self._values = schema, values

    def __getattr__(self, name: str) -> FieldRef:
        if name[0] == "_":  # notebooks and copiers ask for many of these
            raise AttributeError(f"{name}: write field[{name!r}] for a name that begins with an underscore")
        self._check(name)
        reference = self.__dict__[name] = self._made(name)  # the next time it is an attribute
        return reference

    def __getitem__(self, name: str) -> FieldRef:
        if not isinstance(name, str):
            raise InvalidError(f"A field's name is a string, not {name!r}")
        self._check(name)
        return self._made(name)

    def _made(self, name: str) -> FieldRef:
        return FieldRef(name) if self._values is None else KnownField(name, self._values)

    def _check(self, name: str) -> None:
        """Refuse a name that the schema does not have."""
        if self._schema is not None and name not in self._names():
            try:
                self._schema.field(name)
            except InvalidError as error:
                raise UnknownFieldError(str(error)) from None

    def _names(self) -> list[str]:
        if self._schema is None:
            return sorted(OPENED)
        buckets = self._schema.time_buckets
        return ["id", *self._schema.fields, *([] if buckets is None else [buckets.filter_field])]

    def __dir__(self) -> list[str]:
        return [name for name in self._names() if name.isidentifier() and name[0] != "_"]

    def _ipython_key_completions_(self) -> list[str]:
        return self._names()

    def __repr__(self) -> str:
        return "field"


field = FieldMaker()


def _parse(text: str) -> Clause:
    from bitdex.query.text import parse

    return parse(text)


_parsed = functools.lru_cache(maxsize=256)(_parse)  # clauses do not change


def to_clause(query: Any) -> Clause:
    """Return the clause tree of a query in any of its forms.

    Parameters
    ----------
    query : Clause, FieldRef, str, Mapping, list or None
        Python expression, bare boolean field, text, JSON filter, or None for everything.

    Raises
    ------
    InvalidError
        If it is none of these, or does not parse.

    Examples
    --------
    >>> to_clause("nsfwLevel == 1") == to_clause({"nsfwLevel": 1}) == (field.nsfwLevel == 1)
    True
    """
    if isinstance(query, Clause):
        return query
    if query is None:
        return EVERYTHING
    if isinstance(query, FieldRef):
        return query.__clause__()
    if isinstance(query, str):
        return _parse(query) if len(query) > LONG else _parsed(query)
    if isinstance(query, Mapping | list):
        from bitdex.query.json import parse_filter

        return parse_filter(query)
    raise InvalidError(
        f"A query is an expression of bitdex.field, text, a JSON filter or None, not {query!r}"
        + (
            "; put each comparison in parentheses, as in (f.a == 1) & (f.b == 2)"
            if isinstance(query, bool)
            else ""
        )
    )
