"""The record of the saved sets: their names, their numbers, and how many documents each was saved with.

It lies behind the documents, under a key that is no slot: ``{1: {name: [number, documents]}, as JSON}``. The
bitmap of a set has its number (`formats.bitmap`).
"""

import json
from collections.abc import Mapping
from typing import Any

from bitdex.errors import CorruptError
from bitdex.formats.document import decode_document, encode_document

KEY = (1 << 32) + 1  # the second record behind the documents; the first has the cursors of feeds

Entries = dict[str, list[int]]


def read(source: Any) -> Entries:
    """Return number and documents of each set, by name, from a silo of documents or a pinned state of one."""
    payload = source.get(KEY)
    if payload is None:
        return {}
    try:
        entries = json.loads(decode_document(payload)[1])
        return {str(name): [int(number), int(count)] for name, (number, count) in entries.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CorruptError(f"the record of saved sets: expected names and numbers, found {error!r}") from None


def encode(entries: Mapping[str, list[int]]) -> bytes:
    """Return the record of some sets."""
    return encode_document({1: json.dumps(entries)})
