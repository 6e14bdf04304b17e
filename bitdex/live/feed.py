"""A feed of changes: operations of another system, applied in order.

::

    {"entity_id": 7, "creates_slot": true,
     "ops": [{"op": "set",    "field": "nsfwLevel", "value": 4},
             {"op": "add",    "field": "tagIds",    "value": 304},
             {"op": "remove", "field": "tagIds",    "value": 12},
             {"op": "delete"},
             {"op": "queryOpSet", "query": "postId == 789", "ops": [{"op": "set", ...}]}]}

``set`` of null takes a value away. ``queryOpSet`` changes every document that a query finds, which sees
what was committed before the call. A change of a document that is not there is passed over unless it
``creates_slot``: the feed may be ahead of it or behind. Whatever is not understood is an error.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bitdex.errors import InvalidError
from bitdex.live.batch import Batch
from bitdex.query.cursor import LARGEST_SLOT
from bitdex.query.order import bitmap_of

FIELDS_OF = {"set": {"op", "field", "value"}, "add": {"op", "field", "value"}}
FIELDS_OF |= {"remove": FIELDS_OF["add"], "delete": {"op"}, "queryOpSet": {"op", "query", "ops"}}


def changes_of(source: Any) -> Iterator[Mapping[str, Any]]:
    """Return changes one by one: of a mapping with "ops", of several, or of lines of JSON (str or file)."""
    if isinstance(source, Mapping):
        yield from source["ops"] if "entity_id" not in source and "ops" in source else [source]
        return
    lines = source.splitlines() if isinstance(source, str) else source
    for number, line in enumerate(lines, 1):
        if isinstance(line, Mapping):
            yield line
        elif line.strip():
            try:
                yield json.loads(line)
            except ValueError as error:
                raise InvalidError(f"line {number}: {line.strip()[:80]!r} is no JSON: {error}") from None
            except RecursionError:
                raise InvalidError(f"line {number}: {line.strip()[:80]!r} is nested too deeply") from None


class Feed:
    """Applies changes to a batch.

    Attributes
    ----------
    applied, passed : int
        Changes of documents, and those for documents that were not there.
    """

    def __init__(self, batch: Batch, find: Any):
        self._batch, self._find = batch, find
        self.applied = self.passed = 0

    def apply(self, changes: Iterable[Mapping[str, Any]]) -> None:
        """Apply changes in order."""
        for change in changes:
            if not isinstance(change, Mapping) or "entity_id" not in change or "ops" not in change:
                raise InvalidError(f'change: expected "entity_id" and "ops", found {change!r:.80}')
            slot = change["entity_id"]
            if not isinstance(slot, int) or isinstance(slot, bool) or not 0 <= slot <= LARGEST_SLOT:
                raise InvalidError(f"entity_id: {slot!r} is no whole number from 0 to {LARGEST_SLOT}")
            self._apply_to(slot, change["ops"], bool(change.get("creates_slot", False)))

    def _apply_to(self, slot: int, ops: Iterable[Mapping[str, Any]], creates: bool) -> None:
        for op in ops:
            name = _name_of(op, f"entity_id {slot}")
            if name == "queryOpSet":
                self._apply_to_found(op["query"], op["ops"])
                continue
            self._apply_one(slot, name, op, creates)

    def _apply_to_found(self, query: Any, ops: list[Mapping[str, Any]]) -> None:
        """Apply operations to all documents that a query finds: many of them in columns."""
        found = self._find(query)
        if len(found) < Batch.MANY or "queryOpSet" in [_name_of(op, "queryOpSet") for op in ops]:
            for slot in found.tolist():
                self._apply_to(slot, ops, False)
            return
        slots, batch = bitmap_of(found), self._batch
        for op in ops:
            if op["op"] == "delete":
                changed = batch.delete_many(slots)
            elif op["op"] == "set":
                changed = batch.set_many(slots, batch.held({op["field"]: op["value"]}))
            else:
                changed = batch.combine_many(slots, op["field"], _several(op["value"]), op["op"] == "add")
            self.applied += changed
            self.passed += len(slots) - changed

    def _apply_one(self, slot: int, name: str, op: Mapping[str, Any], creates: bool) -> None:
        batch = self._batch
        fields = {} if name == "delete" else {op["field"]: op["value"] if name == "set" else None}
        held = batch.held(fields)  # what is wrong is an error, also where there is no document
        if not batch.has(slot) and (name == "delete" or not creates):
            self.passed += 1
            return
        if name == "delete":
            batch.delete([slot])
        elif name == "set":
            batch.upsert({slot: held})
        else:
            if not batch.has(slot):
                batch.put({slot: {}})
            batch.combine(slot, op["field"], _several(op["value"]), name == "add")
        self.applied += 1


def _name_of(op: Any, where: str) -> str:
    """Return which operation it is, or refuse it."""
    name = op.get("op") if isinstance(op, Mapping) else None
    if name not in FIELDS_OF or set(op) != FIELDS_OF[name]:
        known = ", ".join(f"{one} ({', '.join(sorted(keys))})" for one, keys in FIELDS_OF.items())
        raise InvalidError(f"{where}: op {op!r:.80} is unknown; there are {known}")
    return name


def _several(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
