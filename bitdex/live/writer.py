"""Writer: what the batches of one index share, read once and followed from commit to commit."""

from collections.abc import Mapping
from typing import Any

from pyroaring import BitMap

from bitdex.computed import observed
from bitdex.formats import bitmap as format_
from bitdex.live.alterations import Alterations, Roles
from bitdex.live.extras import Extras
from bitdex.live.only_bits import OnlyBits
from bitdex.live.values import Values
from bitdex.schema import Field
from bitdex.store import Store


class Writer:
    """How values are held, what they mean in bitmaps, and which slots the phases have written.

    Attributes
    ----------
    exist : dict
        The fields that tell whether others have values, and those others, by number.
    rests : set of int
        The fields of no document that computed values and the deferral rest on, or that are computed.
    """

    def __init__(self, store: Store):
        self.store, self.log, self.sequence = store, store.log, store.sequence
        self.values = Values(store.schema, store.registry, store.dictionaries, Extras(store))
        self.roles = Roles(store.schema, store.registry, store.dictionaries)
        fields, number = store.schema.fields.values(), store.registry.number
        self.fields = {number(f.name): f for f in fields}
        self.bits = OnlyBits(store.bitmaps, {number(f.name): f for f in fields if f.indexed and not f.stored})
        self.computed = [(number(f.name), f) for f in fields if f.sort and f.sort.computed]
        exist = [f for f in fields if f.kind == "exists_boolean" and {*f.sources} != {f.name}]
        self.exist = {number(f.name): [number(one) for one in observed(store.schema, f)] for f in exist}
        rests = {name for _, field in self.computed for name in (field.name, *_sources(field))}
        rests |= {store.schema.deferred.source_field} if store.schema.deferred is not None else set()
        self.rests = self.bits.fields.keys() & {number(name) for name in rests if name in store.schema.fields}
        self._phases: dict[int, BitMap] = {}

    def follows(self, store: Store) -> bool:
        """Tell whether it shows what a store has committed: since it was made, its own batches only."""
        return self.log is store.log and self.sequence == store.sequence

    def phases(self) -> dict[int, BitMap]:
        """Return the slots that each phase has written, and those of no document, by key."""
        if not self._phases:
            keys = [format_.hidden_key(), *(format_.phase_key(run.number) for run in self.store.log)]
            self._phases = {key: self.store.bitmaps.get(key) for key in keys}
        return self._phases

    def stored(self, fields: Mapping[int, Any]) -> dict[int, Any]:
        """Return the fields that documents store."""
        only = self.bits.fields
        return {number: value for number, value in fields.items() if number not in only}

    def note(self, altered: Alterations) -> None:
        """Keep what was read as it was committed."""
        self.sequence = self.store.sequence
        self.bits.note(altered)
        for key, slots in self._phases.items():
            change = altered.get(key)
            if change is not None:
                self._phases[key] = slots - change.removed


def _sources(field: Field) -> tuple[str, ...]:
    assert field.sort is not None and field.sort.computed is not None
    return tuple(field.sort.computed.sources)
