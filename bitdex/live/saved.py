"""Saved sets: where an index keeps the sets that users have named.

::

    documents   key 2^32 + 1       {1: {name: [number, documents]}, as JSON}
    bitmaps     the set's number   the slots (`formats.bitmap`)

Both change in one commit. A set keeps its slots when documents are deleted; who reads it leaves out those
that are not visible.
"""

import json
from collections.abc import Mapping
from typing import Any

from pyroaring import BitMap

from bitdex.formats import bitmap as format_
from bitdex.formats import frame
from bitdex.formats.document import decode_document, encode_document
from bitdex.silo.writes import Writes

KEY = (1 << 32) + 1  # the second record behind the documents; the first has the cursors of feeds


class SavedSets:
    """The names of the sets in a silo of documents, or a pinned state of one."""

    def __init__(self, source: Any):
        self._source = source

    def numbers(self) -> dict[str, int]:
        """Return the numbers of the sets by name, in the order in which they were first saved."""
        return {name: number for name, (number, _) in self._entries().items()}

    def write(self, sets: Mapping[str, BitMap | None], documents: Writes, bitmaps: Writes) -> None:
        """Write sets by name, None for one that is deleted, with a batch."""
        if not sets:
            return
        entries = self._entries()
        for name, slots in sets.items():
            number = entries[name][0] if name in entries else _vacant(entries)
            if slots is None:
                entries.pop(name, None)
                bitmaps.add(frame.DELETE, format_.set_key(number), b"")
            else:
                entries[name] = [number, len(slots)]
                bitmaps.add(frame.PUT, format_.set_key(number), format_.encode(slots))
        documents.add(frame.PUT, KEY, encode_document({1: json.dumps(entries)}))

    def _entries(self) -> dict[str, list[int]]:
        payload = self._source.get(KEY)
        return {} if payload is None else json.loads(decode_document(payload)[1])


def _vacant(entries: Mapping[str, list[int]]) -> int:
    """Return the least number that no set has."""
    taken = {number for number, _ in entries.values()}
    return next(number for number in range(len(taken) + 1) if number not in taken)
