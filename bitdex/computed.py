"""Computed fields: the greatest or least of other fields, and which values their layers can hold."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bitdex.errors import InvalidError
from bitdex.schema import Field


def compute(field: Field, slots: np.ndarray, sources: Sequence[pa.Array]) -> pa.Array:
    """Return the values of a computed field for slots, given those of its sources; null where all are.

    Raises
    ------
    InvalidError
        If a value does not fit the layers: the sources may be wider.
    """
    values = picked(field, sources)
    assert field.sort is not None
    span = pc.min_max(values).as_py()
    for value in (span["min"], span["max"]):
        if value is not None and not field.sort.low <= value <= field.sort.high:
            raise too_wide(field, value, int(slots[pc.index(values, value).as_py()]))
    return values


def picked(field: Field, sources: Sequence[pa.Array]) -> pa.Array:
    """Return the greatest or least of a field's sources, int64 or float64, whether it fits or not."""
    assert field.sort is not None and field.sort.computed is not None
    wanted = pa.float64() if field.kind == "float" else pa.int64()
    pick = pc.max_element_wise if field.sort.computed.op == "greatest" else pc.min_element_wise
    return pick(*(source.cast(wanted, safe=wanted == pa.int64()) for source in sources), skip_nulls=True)


def too_wide(field: Field, value: int | float, slot: int) -> InvalidError:
    """Return what to say of a computed value that the layers cannot hold."""
    assert field.sort is not None
    return InvalidError(
        f"field {field.name!r}: {value} is computed for id {slot}, outside {field.sort.low} to "
        f"{field.sort.high}; declare it with the source_type and bits of its widest source"
    )
