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

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from pyroaring import BitMap

from bitdex.errors import InvalidError
from bitdex.live.batch import Batch
from bitdex.live.rows import is_slot
from bitdex.query.cursor import LARGEST_SLOT
from bitdex.query.order import bitmap_of
from bitdex.silo.integers import shown

FIELDS_OF = {"set": {"op", "field", "value"}, "add": {"op", "field", "value"}}
FIELDS_OF |= {"remove": FIELDS_OF["add"], "delete": {"op"}, "queryOpSet": {"op", "query", "ops"}}


def changes_of(source: Any) -> Iterator[Mapping[str, Any]]:
    """Return changes one by one: of a mapping with "ops", of several, or of lines of JSON (str or file)."""
    if isinstance(source, Mapping):
        yield from source["ops"] if "entity_id" not in source and "ops" in source else [source]
        return
    lines = source.splitlines() if isinstance(source, str) else source
    if not isinstance(lines, Iterable):
        raise InvalidError(f"changes: expected mappings or lines of JSON, found {shown(source)}")
    for number, line in enumerate(lines, 1):
        if isinstance(line, Mapping):
            yield line
        elif not isinstance(line, str | bytes):
            raise InvalidError(f"change {number}: expected a mapping or a line of JSON, found {shown(line)}")
        elif line.strip():
            try:
                yield json.loads(line)
            except ValueError as error:
                raise InvalidError(f"line {number}: {line.strip()[:80]!r} is no JSON: {error}") from None
            except RecursionError:
                raise InvalidError(f"line {number}: {line.strip()[:80]!r} is nested too deeply") from None


class Feed:
    """Applies changes to a batch: all of them, or none if one is not understood.

    Attributes
    ----------
    applied, passed : int
        Changes of documents, and those for documents that were not there.
    """

    def __init__(self, batch: Batch, find: Any):
        self._batch, self._find = batch, find
        self.applied = self.passed = 0

    def apply(self, changes: Iterable[Mapping[str, Any]]) -> None:
        """Apply changes in order, once all are understood."""
        steps: list[Callable[[], None]] = []
        for change in changes:
            if not isinstance(change, Mapping) or "entity_id" not in change or "ops" not in change:
                raise InvalidError(f'change: expected "entity_id" and "ops", found {change!r:.80}')
            slot = change["entity_id"]
            if not isinstance(slot, int) or not is_slot(slot):
                raise InvalidError(f"entity_id: {shown(slot)} is no whole number from 0 to {LARGEST_SLOT}")
            creates = bool(change.get("creates_slot", False))
            for op in self._read_all(change["ops"], f"entity_id {slot}"):
                steps.append(partial(self._apply_to, slot, op, creates))
        for step in steps:
            step()

    def _read_all(self, ops: Any, where: str) -> list["Op"]:
        if isinstance(ops, str | Mapping) or not isinstance(ops, Iterable):
            raise InvalidError(f'{where}: "ops" is {shown(ops)}; give a list of operations')
        return [self._read(op, where) for op in ops]

    def _read(self, op: Any, where: str) -> "Op":
        """Return an operation as it is understood, or refuse it; a query is answered now."""
        name = _name_of(op, where)
        if name == "queryOpSet":
            return Op(name, found=bitmap_of(self._find(op["query"])), ops=self._read_all(op["ops"], name))
        if name == "delete":
            return Op(name)
        if name == "set":
            return Op(name, held=self._batch.held({op["field"]: op["value"]}))
        given = _several(op["value"])
        self._batch.elements(op["field"], given)
        return Op(name, field=op["field"], given=given)

    def _apply_to(self, slot: int, op: "Op", creates: bool) -> None:
        if op.name == "queryOpSet":
            self._apply_to_found(op.found, op.ops)
            return
        batch = self._batch
        if not batch.has(slot) and (op.name == "delete" or not creates):
            self.passed += 1
            return
        if op.name == "delete":
            batch.delete([slot])
        elif op.name == "set":
            batch.upsert({slot: op.held})
        else:
            if not batch.has(slot):
                batch.put({slot: {}})
            batch.combine(slot, op.field, op.given, op.name == "add")
        self.applied += 1

    def _apply_to_found(self, slots: BitMap, ops: list["Op"]) -> None:
        """Apply operations to all documents that a query finds: many of them in columns."""
        if len(slots) < Batch.MANY or any(op.name == "queryOpSet" for op in ops):
            for slot in slots:
                for op in ops:
                    self._apply_to(slot, op, False)
            return
        batch = self._batch
        for op in ops:
            if op.name == "delete":
                changed = batch.delete_many(slots)
            elif op.name == "set":
                changed = batch.set_many(slots, op.held)
            else:
                changed = batch.combine_many(slots, op.field, op.given, op.name == "add")
            self.applied += changed
            self.passed += len(slots) - changed


@dataclass(slots=True)
class Op:
    """An operation: which one, and of its parts those that it has."""

    name: str
    field: str = ""
    held: dict[int, Any] = dataclasses.field(default_factory=dict)
    given: list[Any] = dataclasses.field(default_factory=list)
    found: BitMap = dataclasses.field(default_factory=BitMap)
    ops: list["Op"] = dataclasses.field(default_factory=list)


def _name_of(op: Any, where: str) -> str:
    """Return which operation it is, or refuse it."""
    name = op.get("op") if isinstance(op, Mapping) else None
    if name not in FIELDS_OF or set(op) != FIELDS_OF[name]:
        known = ", ".join(f"{one} ({', '.join(sorted(keys))})" for one, keys in FIELDS_OF.items())
        raise InvalidError(f"{where}: op {op!r:.80} is unknown; there are {known}")
    return name


def _several(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
