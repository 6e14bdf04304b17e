"""Stored values of filter fields as people know them: labels as texts, flags as booleans."""

from typing import Any

import numpy as np

from bitdex.store import Store


def shown_values(store: Store, number: int, stored: np.ndarray) -> list[Any]:
    """Return stored values (u64) of a field, by its number, as they are shown."""
    values = store.bitmaps.decode_values(number, stored).tolist()
    name = store.registry.name(number)
    if name is None or not store.schema.has(name):
        return values
    field = store.schema.field(name)
    if field.is_boolean:
        return list(map(bool, values))
    if field.is_labelled:
        texts = store.dictionaries.labels(number)
    else:
        texts = {held: text for text, held in (field.string_map or {}).items()}
    return [texts.get(value, value) for value in values] if texts else values
