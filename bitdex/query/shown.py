"""Shown: what the parts of an index rest on, whichever of them it is."""

from bitdex.query.snapshot import Snapshot
from bitdex.schema import Schema


class Shown:
    """Has a schema, and a committed state that queries see."""

    @property
    def schema(self) -> Schema:
        raise NotImplementedError

    @property
    def snapshot(self) -> Snapshot:
        raise NotImplementedError
