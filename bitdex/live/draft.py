"""Draft: one document that a batch changes, as it is stored and as it is to be."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Draft:
    """A document by field number, in the form in which it is held.

    Attributes
    ----------
    before : dict
        What is stored, visible or not; of the fields that only bitmaps hold, those that were needed.
    after : dict or None
        What is to be stored; None once it is deleted, or if there is none.
    exists : bool
        Whether there is a document, visible or waiting for its time, now.
    existed : bool
        Whether there was one before.
    renewed : bool
        Whether it was put as a whole, or deleted, so that no phase owns anything of it.
    changed : bool
        Whether anything was asked of it.
    known : set of int
        The fields that only bitmaps hold and that were looked up.
    """

    before: Mapping[int, Any]
    after: dict[int, Any] | None
    exists: bool
    existed: bool
    renewed: bool = False
    changed: bool = False
    known: set[int] = field(default_factory=set)

    def replace(self, fields: dict[int, Any]) -> None:
        """Let it have these fields and no others."""
        self.after = {number: value for number, value in fields.items() if value is not None}
        self.exists = self.renewed = self.changed = True

    def update(self, fields: dict[int, Any]) -> None:
        """Give it these fields; None takes one away."""
        after = dict(self.after or {})
        for number, value in fields.items():
            if value is None:
                after.pop(number, None)
            else:
                after[number] = value
        self.after, self.changed = after, True

    def delete(self) -> None:
        """Let there be no document."""
        self.after, self.exists, self.renewed, self.changed = None, False, True, True
