"""Computed fields: the greatest or least of other fields, and which values their layers can hold."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bitdex.columns import ARROW
from bitdex.documents import column_kind
from bitdex.errors import InvalidError
from bitdex.schema import Field, Schema


def observed(schema: Schema, field: Field) -> list[str]:
    """Return the fields of which an `exists_boolean` tells whether one has a value.

    Those are its sources among the other fields, and for a source that is none the fields that are read from
    it alone; in the place of a computed one stand the fields it is computed from.
    """
    found: dict[str, None] = {}
    for name in field.sources:
        for one in _read_from(schema, name):
            computed = one.sort.computed if one.sort is not None else None
            found |= dict.fromkeys([one.name] if computed is None else computed.sources)
    return [name for name in found if name != field.name]


def _read_from(schema: Schema, source: str) -> list[Field]:
    """Return the field that is called like a source, or those whose only source it is."""
    if schema.has(source):
        return [schema.field(source)]
    fields = [one for one in schema.fields.values() if one.kind != "exists_boolean"]
    return [one for one in fields if tuple(one.sources) == (source,)]


def compute(field: Field, slots: np.ndarray, sources: Sequence[pa.Array]) -> pa.Array:
    """Return the values of a computed field for slots, given those of its sources; null where all are.

    NaN is no value either. The array has the type in which the field is stored.

    Raises
    ------
    InvalidError
        If a value does not fit the layers: the sources may be wider.
    """
    values = _picked(field, sources)
    assert field.sort is not None
    span = pc.min_max(values).as_py()
    for value in (span["min"], span["max"]):
        if value is not None and not field.sort.low <= value <= field.sort.high:
            raise too_wide(field, value, int(slots[pc.index(values, value).as_py()]))
    return values.cast(ARROW[column_kind(field)])


def _picked(field: Field, sources: Sequence[pa.Array]) -> pa.Array:
    """Return the greatest or least of a field's sources, int64 or float64, whether it fits or not."""
    assert field.sort is not None and field.sort.computed is not None
    wanted = pa.float64() if field.kind == "float" else pa.int64()
    pick = pc.max_element_wise if field.sort.computed.op == "greatest" else pc.min_element_wise
    return pick(*(_number(source).cast(wanted, safe=False) for source in sources), skip_nulls=True)


def _number(source: pa.Array) -> pa.Array:
    """Return a column without the values that are no number."""
    if not pa.types.is_floating(source.type):
        return source
    return pc.if_else(pc.is_nan(source), pa.scalar(None, source.type), source)


def too_wide(field: Field, value: int | float, slot: int) -> InvalidError:
    """Return what to say of a computed value that the layers cannot hold."""
    assert field.sort is not None
    return InvalidError(
        f"field {field.name!r}: {value} is computed for id {slot}, outside {field.sort.low} to "
        f"{field.sort.high}; declare it with the source_type and bits of its widest source"
    )
