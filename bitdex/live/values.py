"""Values that callers give, and the form in which documents and bitmaps hold them.

==================  ==============================================  =============================
value_type          accepted                                        held
==================  ==============================================  =============================
integer             whole numbers; dates                            integer; seconds since 1970
float               numbers, not NaN where the field sorts          float
boolean             True, False, 1, 0                               boolean
string              Unicode text                                    text
low_cardinality_..  text                                            its number in the dictionary
mapped_string       a text of its string_map                        the number it is mapped to
integer_array       any collection of whole numbers                 list of integers; empty: none
==================  ==============================================  =============================

None is no value everywhere. A field outside the schema that documents hold already takes what it is given.
"""

import datetime
import math
from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any

import numpy as np

from bitdex.configuration import nearest
from bitdex.dictionaries import Dictionaries
from bitdex.errors import InvalidError
from bitdex.registry import FieldRegistry
from bitdex.schema import Field, Schema
from bitdex.silo.integers import is_whole, shown

Convert = Callable[[Any], Any]
LOW, HIGH = -(1 << 63), (1 << 63) - 1
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


class Values:
    """Converts the values of one index; new labels get their numbers."""

    def __init__(
        self, schema: Schema, registry: FieldRegistry, dictionaries: Dictionaries, extras: Container[str]
    ):
        self._extras = extras  # names of fields outside the schema
        self.schema, self.registry, self.dictionaries = schema, registry, dictionaries
        self._converters: dict[str, tuple[int, Convert | None]] = {}

    def held(self, document: Mapping[str, Any]) -> dict[int, Any]:
        """Return the fields of a document by number, in the form in which they are held; None is none.

        The id and the fields that are computed are left out.

        Raises
        ------
        InvalidError
            Naming the field, the value and what is accepted.
        """
        fields, converters = {}, self._converters
        for name, value in document.items():
            if name != "id":
                number, convert = converters.get(name) or self.known(name)
                if convert is not None:
                    fields[number] = None if value is None else convert(value)
        return fields

    def known(self, name: str) -> tuple[int, Convert | None]:
        """Return a field's number and what converts a value that is not None; None for a computed field."""
        if not self.schema.has(name):
            if name not in self._extras:
                self.schema.field(name)  # says which names are near
            self._converters[name] = self.registry.number(name), _plain(name)
            return self._converters[name]
        field = self.schema.field(name)
        self.registry.ensure([name])
        computed = field.sort is not None and field.sort.computed is not None
        self._converters[name] = self.registry.number(name), None if computed else self.converter(field)
        return self._converters[name]

    def converter(self, field: Field) -> Convert:
        """Return what converts a value that is not None."""
        if field.is_list:
            return lambda value: _integers(field, value)
        if field.kind == "low_cardinality_string":
            number = self.registry.number(field.name)
            return lambda value: self._label(field, number, value)
        return {
            "integer": _integers_of(field),
            "float": lambda value: _float(field, value),
            "boolean": lambda value: _boolean(field, value),
            "exists_boolean": lambda value: _boolean(field, value),
            "string": lambda value: _text(field, value),
            "mapped_string": lambda value: _mapped(field, value),
        }[field.kind]

    def _label(self, field: Field, number: int, value: Any) -> int:
        return self.dictionaries.ensure(number, [_text(field, value)], field.case_sensitive)[0]


def _refusal(name: str, value: Any, accepted: str) -> InvalidError:
    return InvalidError(
        f"field {name!r}: {shown(value)} is not accepted; give {accepted}, or None for no value"
    )


def bounds_of(field: Field) -> tuple[int | float, int | float]:
    """Return the least and the greatest number that a field of integers accepts."""
    if field.sort is None:
        return LOW, HIGH
    return max(field.sort.low, LOW), min(field.sort.high, HIGH)


def _integers_of(field: Field) -> Convert:
    low, high = bounds_of(field)

    def convert(value: Any) -> int:
        if type(value) is int and low <= value <= high:
            return value
        if isinstance(value, datetime.date) and value == value:  # what pandas has for no moment is not
            value = _seconds(value)
        if isinstance(value, float | np.floating) and float(value).is_integer():
            value = int(value)
        if not is_whole(value) or not low <= value <= high:
            raise _refusal(field.name, value, f"a whole number from {low} to {high}")
        return int(value)

    return convert


def _seconds(value: datetime.date) -> int:
    """Return seconds since 1970; without a zone it is UTC."""
    if not isinstance(value, datetime.datetime):
        value = datetime.datetime(value.year, value.month, value.day)
    moment = value if value.tzinfo else value.replace(tzinfo=datetime.UTC)
    return math.floor((moment - _EPOCH).total_seconds())


def _float(field: Field, value: Any) -> float:
    number = is_whole(value) or isinstance(value, float | np.floating)
    try:
        if number and not (field.sort is not None and math.isnan(value)):
            return float(value)
    except OverflowError:  # an integer beyond all of them
        pass
    raise _refusal(field.name, value, "a number")


def _boolean(field: Field, value: Any) -> bool:
    if not (isinstance(value, bool | np.bool_) or is_whole(value)) or value not in (0, 1):
        raise _refusal(field.name, value, "True or False")
    return bool(value)


def _text(field: Field, value: Any) -> str:
    if not _is_text(value):
        raise _refusal(field.name, value, "a Unicode text" if isinstance(value, str) else "a text")
    return value


def _is_text(value: Any) -> bool:
    """Tell whether a value is a text that can be written: half of a surrogate pair is no character."""
    return isinstance(value, str) and (value.isascii() or not any("\ud800" <= c <= "\udfff" for c in value))


def _mapped(field: Field, value: Any) -> int:
    known = field.string_map
    if isinstance(value, str):
        if value in known:
            return known[value]
        if not field.case_sensitive:
            for text, number in known.items():
                if text.lower() == value.lower():
                    return number
    raise _refusal(field.name, value, f"a text of its string_map ({nearest(value, known)})")


def _integers(field: Field, value: Any) -> list[int] | None:
    if isinstance(value, str | bytes | dict) or not isinstance(value, Iterable):
        raise _refusal(field.name, value, "a collection of whole numbers")
    numbers = list(value)
    if set(map(type, numbers)) == {int} and min(numbers) >= LOW and max(numbers) <= HIGH:
        return list(dict.fromkeys(numbers))
    for one in numbers:
        if not is_whole(one) or not LOW <= one <= HIGH:
            raise _refusal(field.name, one, "whole numbers of 64 bits")
    return [int(one) for one in dict.fromkeys(numbers)] or None


def _plain(name: str) -> Convert:
    def convert(value: Any) -> Any:
        value = value.item() if isinstance(value, np.generic) else value
        if not (isinstance(value, bool | int | float) or _is_text(value)):
            raise _refusal(name, value, "a number, a text, True or False")
        return value

    return convert
