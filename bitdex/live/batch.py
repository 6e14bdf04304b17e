"""Batch: changes of documents that become visible as one commit, or not at all.

::

    put, update, delete --> drafts, read from what is committed
    commit              --> computed fields, visibility    of every draft that was changed
                            alterations of bitmaps         the difference of before and after
                            Store.write                    documents, bitmaps, commit

Operations of one batch see those before them; queries see what is committed. A put or a delete takes the
document out of the phases that have written it: loading one of them again does not touch it.
"""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from pyroaring import BitMap

from bitdex.computed import too_wide
from bitdex.errors import InvalidError, NotFoundError
from bitdex.formats import bitmap as format_
from bitdex.formats import frame
from bitdex.formats.document import decode_document, encode_document
from bitdex.live.alterations import Alterations, Notes
from bitdex.live.columns import sheet_of
from bitdex.live.draft import Draft
from bitdex.live.pile import Pile
from bitdex.live.rows import columns_of
from bitdex.live.saved import SavedSets
from bitdex.live.sheet import Settling, Sheet
from bitdex.live.sheets import Sheets
from bitdex.live.writer import Writer
from bitdex.query.order import bitmap_of
from bitdex.query.snapshot import Snapshot
from bitdex.schema import Field
from bitdex.silo.writes import Writes

SHOWN = 5  # ids in a message
FEEDS = 1 << 32  # the key of the first record behind the documents: {1: cursors by feed, as JSON}


class Batch(Sheets):
    """The documents that one commit changes; made for one thread.

    Attributes
    ----------
    reveals : bool
        Whether a document that was stored becomes visible by the commit, or a visible one waits from then
        on: its bits are in bitmaps that the commit does not alter.
    """

    def __init__(self, writer: Writer, snapshot: Snapshot):
        self._writer, self._store, self._snapshot = writer, writer.store, snapshot
        self._drafts: dict[int, Draft] = {}
        self._sheets = Pile()  # none has a slot that is drafted
        self._cursors: dict[str, str] = {}
        self._sets: dict[str, BitMap | None] = {}  # by name; None is deleted
        self.reveals = False

    def held(self, document: Mapping[str, Any]) -> dict[int, Any]:
        """Return the fields of a document as they are held, by number, but for computed ones."""
        return self._writer.values.held(document)

    def put(self, documents: dict[int, dict[int, Any]]) -> None:
        """Create or replace documents, by slot."""
        for slot, fields in documents.items() if self._writer.computed else ():
            self.check(slot, fields)
        known = self._writer.fields.keys()
        if len(documents) >= self.MANY and all(known >= fields.keys() for fields in documents.values()):
            rows = {slot: self._complete(fields) for slot, fields in documents.items()}
            self._put_sheet(Sheet.of_rows(rows, self._writer.fields))
            return
        self._load(documents)
        for slot, fields in documents.items():
            self._drafts[slot].replace(self._complete(fields))

    def columns_of(self, rows: list[Any]) -> Any:
        """Return documents as an Arrow table; None if they have to be looked at one by one."""
        names = dict.fromkeys(["id", *self._store.schema.fields])
        if not all(isinstance(row, Mapping) and row.keys() <= names.keys() for row in rows):
            return None
        return columns_of(rows, names)

    def check(self, slot: int, fields: Mapping[int, Any]) -> None:
        """Refuse a whole document of which a computed value does not fit."""
        for _, field in self._writer.computed:
            self._computed(field, slot, fields)

    def put_table(self, table: Any) -> int | None:
        """Create or replace the documents of an Arrow table; return how many, or None to do it row by row."""
        sheet = sheet_of(table, self._writer) if len(table) >= self.MANY else None
        if sheet is None:
            return None
        self._put_sheet(sheet)
        return len(sheet)

    def update(self, changes: dict[int, dict[int, Any]]) -> None:
        """Change fields of documents that exist."""
        for slot, draft in self._existing(changes).items():
            self._update(slot, draft, changes[slot])

    def upsert(self, changes: dict[int, dict[int, Any]]) -> None:
        """Change fields of documents, and create those that do not exist."""
        self._load(changes)
        for slot, fields in changes.items():
            draft = self._drafts[slot]
            if draft.exists:
                self._update(slot, draft, fields)
            else:
                draft.replace(self._complete(fields))

    def _update(self, slot: int, draft: Draft, fields: dict[int, Any]) -> None:
        """Change fields; one that tells whether its sources exist follows from them, where they change."""
        follows = {number: every for number, every in self._writer.exist.items() if fields.keys() & every}
        needed = fields.keys() | follows.keys() | {one for every in follows.values() for one in every}
        self._look_up([slot], self._writer.bits.fields.keys() & needed)
        draft.update(fields)
        for number, sources in follows.items():
            after = draft.after or {}
            if any(one in after for one in sources) or number not in fields:
                draft.update({number: any(one in after for one in sources)})

    def _complete(self, fields: dict[int, Any]) -> dict[int, Any]:
        """Return the fields of a whole document: those that tell whether their sources exist follow."""
        told = {}
        for number, sources in self._writer.exist.items():
            there = any(fields.get(one) is not None for one in sources)
            told[number] = there or bool(fields.get(number))
        return {**fields, **told}

    def combine(self, slot: int, name: str, values: Any, appends: bool) -> None:
        """Put values behind the list of a document, or take them out of it."""
        number, given = self.elements(name, values)
        draft = self._existing([slot])[slot]
        self._look_up([slot], self._writer.bits.fields.keys() & {number})
        held = (draft.after or {}).get(number, [])
        if appends:
            held = [*held, *(one for one in given if one not in held)]
        else:
            held = [one for one in held if one not in given]
        self._update(slot, draft, {number: held or None})

    def elements(self, name: str, values: Any) -> tuple[int, list[int]]:
        """Return the number of a field of lists, and values as it holds them."""
        field = self._store.schema.field(name)
        if not field.is_list:
            raise InvalidError(f"field {name!r}: a {field.kind} holds one value; patch it instead")
        ((number, given),) = self._writer.values.held({name: values}).items()
        return number, given or []

    def delete(self, slots: Iterable[int], missing_ok: bool = False) -> int:
        """Delete documents; return how many there were."""
        wanted = list(dict.fromkeys(slots))
        if len(wanted) >= self.MANY:
            there = self._there(BitMap(wanted))
            if not missing_ok and len(there) < len(wanted):
                raise _missing([slot for slot in wanted if slot not in there])
            return self.delete_many(there)
        if missing_ok:
            self._load(wanted)
        else:
            self._existing(wanted)
        found = [self._drafts[slot] for slot in wanted if self._drafts[slot].exists]
        for draft in found:
            draft.delete()
        return len(found)

    def has(self, slot: int) -> bool:
        """Tell whether there is a document, visible or waiting, after what was asked so far."""
        self._load([slot])
        return self._drafts[slot].exists

    def keep(self, feed: str, cursor: str) -> None:
        """Commit the place that a feed has come to with the changes."""
        self._cursors[feed] = cursor

    def save_set(self, name: str, slots: BitMap | None) -> None:
        """Save a set under a name with the changes; None deletes the one that has it."""
        self._sets[name] = slots

    def commit(self, now: float) -> Alterations | None:
        """Write what has changed; return what it alters, or None if nothing has changed."""
        notes, documents, bits = Notes(), Writes(), self._writer.bits
        self._look_up([slot for slot, draft in self._drafts.items() if draft.renewed], bits.fields)
        self._look_up([slot for slot, draft in self._drafts.items() if draft.changed], self._writer.rests)
        for slot, draft in self._drafts.items():
            if draft.changed:
                self._settle(slot, draft, now, notes, documents)
        for sheet in self._sheets:
            settling = Settling(sheet, self._writer, self._snapshot, now)
            settling.note(notes, documents)
            self.reveals |= settling.reveals
        self._activate(notes)
        if self._cursors:
            cursors = cursors_of(self._store.documents.source) | self._cursors
            documents.add(frame.PUT, FEEDS, encode_document({1: json.dumps(cursors)}))
        altered = notes.alterations()
        bitmaps = altered.write()
        SavedSets(self._store.documents.source).write(self._sets, documents, bitmaps)
        if not bitmaps and not documents:
            return None
        self._store.write(documents, bitmaps)
        self._writer.note(altered)
        self.reveals |= bool(self._snapshot.activated)
        return altered

    def _activate(self, notes: Notes) -> None:
        """Note that the documents that were due are visible, but for those that are changed."""
        due = self._snapshot.activated
        if due:
            due = due - BitMap([slot for slot, draft in self._drafts.items() if draft.changed])
            due = due.difference(*(bitmap_of(sheet.slots) for sheet in self._sheets))
            slots = np.frombuffer(due.to_array(), np.uint32)
            notes.put_many(format_.alive_key(), slots, True)
            notes.put_many(format_.deferred_key(), slots, False)

    # -- drafts ----------------------------------------------------------------------------

    def _existing(self, slots: Iterable[int]) -> dict[int, Draft]:
        """Return the drafts of documents that all have to exist."""
        wanted = list(slots)
        self._load(wanted)
        missing = [slot for slot in wanted if not self._drafts[slot].exists]
        if missing:
            raise _missing(missing)
        return {slot: self._drafts[slot] for slot in wanted}

    def _load(self, slots: Iterable[int]) -> None:
        """Read the documents that are not drafted yet."""
        fresh = [slot for slot in slots if slot not in self._drafts]
        if not fresh:
            return
        snapshot = self._snapshot
        for slot, payload in zip(fresh, self._stored(fresh)):
            before = decode_document(payload or b"")
            exists = slot in snapshot.alive or slot in snapshot.deferred
            self._drafts[slot] = Draft(before, dict(before) if exists else None, exists, exists)
        found = {slot: self._sheets.find(slot) for slot in fresh}
        taken = {slot: sheet for slot, sheet in found.items() if sheet is not None}
        for slot, sheet in taken.items():
            if sheet.keeps:  # what a column is put in the place of is compared with, and not read again
                self._look_up([slot], self._writer.bits.fields.keys() & sheet.columns.keys())
            sheet.change(slot, self._drafts[slot])
        if taken:
            self._sheets.remove(BitMap(taken))

    def _stored(self, slots: list[int]) -> Iterable[bytes | None]:
        """Return what is stored of documents."""
        silo = self._store.documents.silo
        return [silo.get(slots[0])] if len(slots) == 1 else silo.get_many(np.array(slots, np.uint64))

    def _look_up(self, slots: Iterable[int], numbers: Iterable[int]) -> None:
        """Read what only bitmaps hold of these fields, for drafts that do not have it yet."""
        for number in numbers:
            drafts = {slot: self._drafts[slot] for slot in slots if number not in self._drafts[slot].known}
            if not drafts:
                continue
            for slot, value in self._writer.bits.values_of(number, list(drafts)).items():
                draft = drafts[slot]
                draft.before = {**draft.before, number: value}
                if draft.after is not None and not draft.renewed:
                    draft.after[number] = value
            for draft in drafts.values():
                draft.known.add(number)

    # -- the end -------------------------------------------------------------------------------

    def _settle(self, slot: int, draft: Draft, now: float, notes: Notes, documents: Writes) -> None:
        """Note what a draft alters, and its document."""
        writer, snapshot = self._writer, self._snapshot
        after = draft.after
        if after is not None:
            for number, field in writer.computed:
                value = self._computed(field, slot, after)
                after.pop(number, None)
                if value is not None:
                    after[number] = value
        writer.roles.compare(slot, draft.before, after or {}, notes)
        due = -math.inf if after is None else self._due(after)
        waits, there = due > now, slot in snapshot.alive
        if waits:
            notes.due = min(notes.due, due)
        for key, slots, inside in (
            (format_.alive_key(), snapshot.stored_alive, after is not None and not waits),
            (format_.deferred_key(), snapshot.stored_deferred, waits),
        ):
            if (slot in slots) != inside:
                notes.put(key, slot, inside)
        had = bool(draft.before) or slot in snapshot.deferred  # bits
        self.reveals |= there if waits else after is not None and had and not there
        if draft.renewed:
            for key, owned in writer.phases().items():
                if slot in owned:
                    notes.put(key, slot, False)
        if after is None:
            documents.add(frame.DELETE, slot, b"")
        elif not _same(stored := writer.stored(after), writer.stored(draft.before)) or not draft.existed:
            documents.add(frame.PUT, slot, encode_document(stored))

    def _value(self, name: str, slot: int, fields: Mapping[int, Any]) -> Any:
        """Return what counts as a field's value: the computed one, the one given, the default."""
        field = self._store.schema.field(name)
        if field.sort is not None and field.sort.computed is not None:
            return self._computed(field, slot, fields)
        return fields.get(self._store.registry.number(name), field.default)

    def _computed(self, field: Field, slot: int, fields: Mapping[int, Any]) -> Any:
        """Return the greatest or least of a field's sources, or None where there is none."""
        assert field.sort is not None and field.sort.computed is not None
        sources = [self._value(name, slot, fields) for name in field.sort.computed.sources]
        given = [one for one in sources if one is not None and one == one]  # NaN is no value
        known = [float(one) if field.kind == "float" else int(one) for one in given]
        if not known:
            return None
        value = max(known) if field.sort.computed.op == "greatest" else min(known)
        if not field.sort.low <= value <= field.sort.high:
            raise too_wide(field, value, slot)
        return bool(value) if field.is_boolean else value

    def _due(self, fields: dict[int, Any]) -> float:
        """Return when a document becomes visible, in Unix seconds."""
        deferral = self._store.schema.deferred
        if deferral is None:
            return -math.inf
        due = self._value(deferral.source_field, 0, fields)
        return -math.inf if due is None else due / deferral.unit


def _same(document: Mapping[int, Any], other: Mapping[int, Any]) -> bool:
    """Tell whether two documents hold the same; to Python 1, 1.0 and True are the same."""
    if document != other:
        return False
    return encode_document(document) == encode_document({number: other[number] for number in document})


def _missing(slots: list[int]) -> NotFoundError:
    shown = ", ".join(map(str, slots[:SHOWN]))
    more = f" and {len(slots) - SHOWN} more" if len(slots) > SHOWN else ""
    return NotFoundError(f"there is no document {shown}{more}; put or upsert creates one")


def cursors_of(source: Any) -> dict[str, str]:
    """Return the places that feeds have come to, by their names."""
    payload = source.get(FEEDS)
    return {} if payload is None else json.loads(decode_document(payload)[1])
