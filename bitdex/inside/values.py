"""Stored values of filter fields as people know them: labels as texts, flags as booleans."""

from typing import Any

import numpy as np

from bitdex.analysis.counting import shown
from bitdex.query.clauses import Eq
from bitdex.query.snapshot import Snapshot
from bitdex.store import Committed

MOST = 200  # values that Tab completes


def shown_values(committed: Committed, number: int, stored: np.ndarray) -> list[Any]:
    """Return stored values (u64) of a field, by its number, as they are shown."""
    values, documents = committed.bitmaps.decode_values(number, stored).tolist(), committed.documents
    name = documents.registry.name(number)
    if name is None or not documents.schema.has(name):
        return values
    field = documents.schema.field(name)
    if field.is_boolean:
        return list(map(bool, values))
    if field.is_labelled:
        texts = documents.dictionaries.texts_of(number, values)
    else:
        texts = {held: text for text, held in (field.string_map or {}).items()}
    return [texts.get(value, value) for value in values] if texts else values


def few_values(snapshot: Snapshot, name: str) -> list[Any]:
    """Return the texts or integers that occur in a filter field, ascending; none where there are many."""
    field = snapshot.schema.fields.get(name)
    if field is None or field.filter is None or field.is_boolean:
        return []
    keys = snapshot.values(name)
    return shown(snapshot, field, keys).dropna().sort_values().tolist() if len(keys) <= MOST else []


def conditions(snapshot: Snapshot) -> list[str]:
    """Return the queries for one value each of the fields that hold few texts."""
    texts = [name for name, field in snapshot.schema.fields.items() if field.is_text]
    return [str(Eq(name, value)) for name in texts for value in few_values(snapshot, name)]
