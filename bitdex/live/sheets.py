"""Sheets: the documents of a batch that are changed in columns, many by one call.

::

    slots of a change --+--> drafted before: one by one
                        +--> in a sheet: that part of it is a sheet of its own, and changed
                        +--> neither: a new sheet, which keeps what is stored; a few are drafted
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyroaring import BitMap

from bitdex.columns import ARROW
from bitdex.documents import column_kind
from bitdex.live.before import Before
from bitdex.live.draft import Draft
from bitdex.live.lists import appended, removed
from bitdex.live.pile import Pile
from bitdex.live.sheet import Columns, Sheet, validity_of
from bitdex.live.writer import Writer
from bitdex.query.snapshot import Snapshot

ROWS = 1 << 16  # documents of a sheet that is made of those that are found


class Sheets:
    """The part of a batch that changes many documents at once; `Batch` changes them one by one."""

    MANY = 32  # documents that are sooner put in columns than one by one

    _writer: Writer
    _snapshot: Snapshot
    _drafts: dict[int, Draft]
    _sheets: Pile  # none has a slot that is drafted

    def update(self, changes: dict[int, dict[int, Any]]) -> None:
        raise NotImplementedError

    def combine(self, slot: int, name: str, values: Any, appends: bool) -> None:
        raise NotImplementedError

    def _load(self, slots: Iterable[int]) -> None:
        raise NotImplementedError

    def elements(self, name: str, values: Any) -> tuple[int, list[int]]:
        raise NotImplementedError

    def set_many(self, slots: BitMap, fields: dict[int, Any]) -> int:
        """Change fields of those of some documents that exist; return how many do."""
        if not self._writer.fields.keys() >= fields.keys():  # one that the schema has no more
            there = self._there(slots)
            self.update(dict.fromkeys(there, fields))
            return len(there)

        def changed(sheet: Sheet) -> Sheet:
            return self._with(sheet, {one: self._constant(one, fields[one], sheet) for one in fields})

        return self._change_many(slots, lambda slot: self.update({slot: fields}), changed)

    def combine_many(self, slots: BitMap, name: str, values: Any, appends: bool) -> int:
        """Put values behind the lists of those documents that exist, or take them out; return how many do."""
        number, given = self.elements(name, values)
        combined = appended if appends else removed

        def changed(sheet: Sheet) -> Sheet:
            return self._with(sheet, {number: combined(self._column(sheet, number), given)})

        return self._change_many(slots, lambda slot: self.combine(slot, name, values, appends), changed)

    def delete_many(self, slots: BitMap) -> int:
        """Delete those of some documents that exist; return how many do."""

        def gone(sheet: Sheet) -> Sheet:
            return Sheet(sheet.slots, {}, exist=False)

        return self._change_many(slots, lambda slot: self._drafts[slot].delete(), gone)

    def _put_sheet(self, sheet: Sheet) -> None:
        """Put documents as a whole."""
        slots = sheet.members
        self._sheets.remove(slots)
        self._sheets.add(sheet)
        for slot in self._drafted(slots):
            del self._drafts[slot]

    def _change_many(self, slots: BitMap, one: Callable[[int], None], many: Callable[[Sheet], Sheet]) -> int:
        there = self._there(slots)
        chosen = self._sheets.within(there)
        fresh = there - BitMap(self._drafted(there)) - self._sheets.there
        if len(fresh) < self.MANY:
            self._load(fresh)
        else:
            every = np.frombuffer(fresh.to_array(), np.uint32)
            chosen += [Sheet(every[at : at + ROWS], {}, keeps=True) for at in range(0, len(every), ROWS)]
        changed = [many(sheet) for sheet in chosen]
        self._sheets.remove(there)
        for sheet in changed:
            self._sheets.add(sheet)
        for slot in self._drafted(there):
            one(slot)
        return len(there)

    def _drafted(self, slots: BitMap) -> list[int]:
        """Return those of some slots that are drafted."""
        if len(slots) < len(self._drafts):
            return [slot for slot in slots if slot in self._drafts]
        return [slot for slot in self._drafts if slot in slots]

    def _there(self, slots: BitMap) -> BitMap:
        """Return the slots that have a document, visible or waiting, after what was asked so far."""
        there = slots & self._snapshot.alive | slots & self._snapshot.deferred | slots & self._sheets.there
        there -= self._sheets.gone
        for slot in self._drafted(slots):
            (there.add if self._drafts[slot].exists else there.discard)(slot)
        return there

    def _with(self, sheet: Sheet, columns: Columns) -> Sheet:
        """Return a sheet with other columns, and with those that tell whether their sources exist."""
        after = replace(sheet, columns=sheet.columns | columns)
        for number, sources in self._writer.exist.items():
            if not columns.keys().isdisjoint(sources):
                there = np.logical_or.reduce([validity_of(self._column(after, one)) for one in sources])
                told = pc.if_else(there, True, columns[number]) if number in columns else pa.array(there)
                after.columns[number] = told
        return after

    def _column(self, sheet: Sheet, number: int) -> pa.Array:
        """Return the values of a field of the documents of a sheet."""
        if number in sheet.columns:
            return sheet.columns[number]
        if sheet.keeps:
            return Before(self._writer, sheet.slots).column(number)
        return self._constant(number, None, sheet)

    def _constant(self, number: int, value: Any, sheet: Sheet) -> pa.Array:
        kind = ARROW[column_kind(self._writer.fields[number])]
        return pa.repeat(pa.scalar(value, kind), len(sheet))
