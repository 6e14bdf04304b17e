"""Extras: fields outside the schema that documents hold, because a phase has written them.

A name alone says nothing: a phase or a new field that failed may have left it in the registry.
"""

from collections.abc import Callable
from functools import cached_property

from bitdex.columns import scan_fields
from bitdex.documents import slots_of
from bitdex.phase_log import PhaseResult
from bitdex.store import Store

CHUNK = 1 << 17  # documents that are looked at in one go


class Extras:
    """Those of one state of a store; documents are read only for a name that no phase tells of."""

    def __init__(self, store: Store):
        self._store = store

    def __contains__(self, name: object) -> bool:
        registry = self._store.registry
        if not isinstance(name, str) or name not in registry:
            return False
        return any(map(self._wrote(name), self._store.log)) or registry.number(name) in self.held

    def _wrote(self, name: str) -> Callable[[PhaseResult], bool]:
        """Return what tells whether a phase has written the field that is called so now."""
        names_of, dropped_since = self._store.registry.names_of, self._store.versions.dropped_since
        return lambda run: name in run.targets and name not in names_of(dropped_since(run.sequence))

    @cached_property
    def held(self) -> set[int]:
        """The numbers of all fields that documents hold, of the schema or not."""
        silo, found = self._store.documents.silo, set()
        slots = slots_of(silo)
        for start in range(0, len(slots), CHUNK):
            values = silo.get_many(slots[start : start + CHUNK])
            found.update(scan_fields(values.data, values.offsets))
        return found
