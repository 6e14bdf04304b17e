"""Saved sets: where an index keeps the sets that users have named.

::

    documents   `registry_sets.KEY`   the record of their names (`registry_sets`)
    bitmaps     the set's number      the slots (`formats.bitmap`)

Both change in one commit. A set keeps its slots when documents are deleted; who reads it leaves out those
that are not visible.
"""

from collections.abc import Mapping
from typing import Any

from pyroaring import BitMap

from bitdex import registry_sets
from bitdex.formats import bitmap as format_
from bitdex.formats import frame
from bitdex.silo.writes import Writes


class SavedSets:
    """The names of the sets in a silo of documents, or a pinned state of one."""

    def __init__(self, source: Any):
        self._source = source

    def numbers(self) -> dict[str, int]:
        """Return the numbers of the sets by name, in the order in which they were first saved."""
        return {name: number for name, (number, _) in registry_sets.read(self._source).items()}

    def write(self, sets: Mapping[str, BitMap | None], documents: Writes, bitmaps: Writes) -> None:
        """Write sets by name, None for one that is deleted, with a batch."""
        if not sets:
            return
        entries = registry_sets.read(self._source)
        for name, slots in sets.items():
            number = entries[name][0] if name in entries else _vacant(entries)
            if slots is None:
                entries.pop(name, None)
                bitmaps.add(frame.DELETE, format_.set_key(number), b"")
            else:
                entries[name] = [number, len(slots)]
                bitmaps.add(frame.PUT, format_.set_key(number), format_.encode(slots))
        documents.add(frame.PUT, registry_sets.KEY, registry_sets.encode(entries))


def _vacant(entries: Mapping[str, list[int]]) -> int:
    """Return the least number that no set has."""
    taken = {number for number, _ in entries.values()}
    return next(number for number in range(len(taken) + 1) if number not in taken)
