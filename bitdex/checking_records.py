"""Unrecorded documents: queries find them by values that a record would hold, and no record is left.

A document that has never had a stored value has no record, and lacks none.
"""

from pyroaring import BitMap

from bitdex.formats import bitmap
from bitdex.schema import Schema
from bitdex.silo.silo import Silo


def telling_fields(schema: Schema, numbers: dict[int, str]) -> list[int]:
    """Return the fields, by number, of which each value in the bitmaps stands in a document as well."""
    return [number for number, name in numbers.items() if name in schema.fields and _tells(schema, name)]


def _tells(schema: Schema, name: str) -> bool:
    field = schema.fields[name]
    made = field.kind == "exists_boolean" or (field.sort is not None and field.sort.computed is not None)
    return field.indexed and field.stored and field.default in (None, ()) and not made


def find_unrecorded(recorded: BitMap, bitmaps: Silo, fields: list[int]) -> BitMap:
    """Return the slots that are visible or wait, have a value of one of these fields, and no record."""

    def held(key: int) -> BitMap:
        payload = bitmaps.get(key)
        return BitMap() if payload is None else bitmap.decode(payload)

    shown = (held(bitmap.alive_key()) | held(bitmap.deferred_key())) - recorded
    return BitMap.union(BitMap(), *(shown & held(bitmap.present_key(field)) for field in fields))


def shown(slots: BitMap) -> str:
    """Return how many documents there are, and the first ids, for a message."""
    some = ", ".join(map(str, slots[:5])) + (", ..." if len(slots) > 5 else "")
    return f"{len(slots)} documents that queries find ({some})"
