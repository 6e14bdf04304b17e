"""Bits: every bit of every bitmap follows from the documents, and the other way round."""

import numpy as np
from pyroaring import BitMap

from bitdex.formats import bitmap as format_
from bitdex.formats.document import decode_document


def differences(index):
    """Return the bitmaps that are not what the stored documents say, but for those of fields not stored."""
    store = index._store
    expected, unstored = {}, set()
    fields = {}
    for field in index.schema.fields.values():
        if field.name in store.registry:
            number = store.registry.number(field.name)
            fields[number] = field
            if not field.stored:
                unstored.add(number)
    documents = store.documents.silo
    keys = documents.keys()
    values = documents.get_many(keys)
    for slot, payload in zip(keys[keys < 1 << 32].tolist(), values):
        for number, value in decode_document(payload).items():
            if number in fields:
                _add(expected, store, fields[number], number, slot, value)
    keys = [key for key in store.bitmaps.silo.keys().tolist() if _is_of(key, unstored)]
    found, wrong = {key: set(bitmap) for key, bitmap in zip(keys, store.bitmaps.get_many(keys))}, []
    for key in expected.keys() | found.keys():
        if expected.get(key, set()) != found.get(key, set()):
            wrong.append((format_.describe(key), expected.get(key, set()), found.get(key, set())))
    return wrong + list(_misplaced(store))


def _misplaced(store):
    """Yield the slots that are not one of visible, waiting and hidden: those with a record, or of a phase."""
    silo = store.bitmaps.silo
    keys = (format_.alive_key(), format_.deferred_key(), format_.hidden_key())
    alive, deferred, hidden = (store.bitmaps.get(key) for key in keys)
    keys = store.documents.silo.keys()
    exist = BitMap(keys[keys < 1 << 32].tolist())
    for key in silo.keys().tolist():
        if format_.describe(key).kind == "phase":
            exist |= store.bitmaps.get(key)
    for what, slots in (
        ("both visible and waiting", alive & deferred),
        ("a document, and hidden", (alive | deferred) & hidden),
        ("nowhere", exist - alive - deferred - hidden),
        ("without record and phase", (alive | deferred) - exist),
    ):
        if slots:
            yield what, slots


def _is_of(key, unstored):
    """Tell whether a bitmap has to follow from the stored documents."""
    parts = format_.describe(key)
    return parts.kind in ("filter", "layer", "present") and parts.field_id not in unstored


def _add(expected, store, field, number, slot, value):
    if not field.indexed:
        return
    expected.setdefault(format_.present_key(number), set()).add(slot)
    if field.filter is not None:
        for one in value if isinstance(value, list) else [int(value)]:
            stored = store.bitmaps.stored_value(number, one)
            expected.setdefault(format_.filter_key(number, stored), set()).add(slot)
    if field.sort is not None:
        kind = np.float64 if field.kind == "float" else np.int64 if field.sort.signed else np.uint64
        word = int(format_.to_ordered(np.array([value], kind))[0])
        for bit in range(64):
            if word >> bit & 1:
                expected.setdefault(format_.layer_key(number, bit), set()).add(slot)
