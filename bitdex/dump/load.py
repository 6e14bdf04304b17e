"""Loading one phase: read, filter, compute, join, write; all of it visible at once, or nothing.

::

    blocks --> rows --> grouped by slot --> documents (log, or merged in place)
                                       \\-> postings, sort values, alive   --> bitmaps
    then: silos prepared, dictionaries and the record of phases on disk, one commit

Memory is bounded by the block, the postings' budget and, for fields with one value a
document, a few bytes a row where rows do not come in slot order.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from pyroaring import BitMap

from bitdex.bitmaps import BitmapChanges
from bitdex.dump.blocks import Block, Rejects
from bitdex.dump.current import CurrentValues, later_than, union_of_phases
from bitdex.dump.grouping import Grouping
from bitdex.dump.lookup import LookupTable
from bitdex.dump.phases import Phase
from bitdex.dump.postings import Postings
from bitdex.dump.rows import RowMaker
from bitdex.dump.sinks import DocumentSink, FieldSink, document_columns, union_of
from bitdex.dump.sources import Sources
from bitdex.errors import InvalidError
from bitdex.formats import bitmap as format_
from bitdex.phase_log import PhaseResult
from bitdex.schema import Field
from bitdex.silo.writes import reach
from bitdex.store import Store

CHUNK = 1 << 19  # slots for which values are derived at a time
POSTINGS_MEMORY = 384 << 20
Report = Callable[[int, int], None]  # rows, bytes


class _OutOfOrder(Exception):
    """Rows were taken to come one a slot in order, and do not."""


class PhaseLoad:
    """One run of one phase, up to the point where it can be committed."""

    def __init__(self, phase: Phase, store: Store, now: float | None):
        self.phase, self.schema, self.log = phase, store.schema, store.log
        self.now, self._by_the_clock = time.time() if now is None else now, now is None
        self._store, self._documents, self._bitmaps = store, store.documents, store.bitmaps
        self._registry, self._dictionaries = store.registry, store.dictionaries
        self._directory = store.temporary
        self._earlier = self.log.get(phase.name)
        before = self._wrote(self._earlier) if self._earlier else []
        self._targets = tuple(dict.fromkeys([*phase.targets, *before]))
        self._sets_alive = phase.sets_alive or (self._earlier is not None and self._earlier.sets_alive)
        self._check_shared_lists()

    def run(self, sources: Sources, report: Report) -> PhaseResult:
        """Read the phase's table and prepare everything; the caller commits the result's sequence."""
        started, clock = datetime.now(UTC), time.perf_counter()
        computed = self._computed_fields()
        names = [*self._targets, *(f.name for f in computed)]
        self._registry.ensure(names)
        self._numbers = {name: self._registry.number(name) for name in names}
        rejects = Rejects()
        tables = [LookupTable(one, sources.open, rejects) for one in self.phase.enrichment]
        lists = any(self._is_list(name) for name in self.phase.targets)
        ordered = not lists and sources.repeatable(self.phase)
        sequence = self._next_sequence()
        try:
            counts = self._attempt(sources, tables, sequence, report, computed, ordered)
        except _OutOfOrder:
            sequence = self._next_sequence()  # the one before was given up
            counts = self._attempt(sources, tables, sequence, report, computed, False)
        result = PhaseResult(
            name=self.phase.name,
            number=self._earlier.number if self._earlier else self.log.next_number(),
            hash=self.phase.hash,
            targets=list(self.phase.targets),
            sets_alive=self.phase.sets_alive,
            seconds=round(time.perf_counter() - clock, 3),
            started=started.isoformat(timespec="seconds"),
            **counts,
        )
        result.rejects.update(rejects.to_mapping())  # of lookups: not among the phase's rows
        self._dictionaries.save()
        self.log.record(result)
        return result

    def _next_sequence(self) -> int:
        return max(self._documents.silo.next_sequence, self._bitmaps.silo.next_sequence)

    def _attempt(
        self,
        sources: Sources,
        tables: list[LookupTable],
        sequence: int,
        report: Report,
        computed: list[Field],
        ordered: bool,
    ) -> dict[str, Any]:
        maker = RowMaker(self.phase, self.schema, tables, self._registry, self._dictionaries)
        sink = DocumentSink(self._documents, sequence)
        try:
            with Postings(POSTINGS_MEMORY, self._directory) as postings:
                fields = FieldSink(self.schema, self._numbers, self._bitmaps, postings)
                state = _Progress(ordered)
                earlier = self._earlier_slots()
                current = CurrentValues(self._store, self._targets, earlier, self._watched(computed))
                sink.clear(_slots_of(earlier), self._stored_numbers())
                for block in _read_ahead(sources.open(self.phase, self.phase.input_columns).blocks()):
                    self._take(block, maker, sink, fields, state, current, computed)
                    report(state.rows, state.bytes)
                visible = self._conclude(sink, fields, state, current, earlier, computed)
                counts = self._counts(state, maker)
                sink.prepare()
                self._write_bitmaps(fields, state, earlier, visible, sink.sequence)
        except BaseException as error:
            sink.abort(error)
            raise
        return counts | {"sequence": sink.sequence}

    def _take(
        self,
        block: Block,
        maker: RowMaker,
        sink: DocumentSink,
        fields: FieldSink,
        state: "_Progress",
        current: CurrentValues,
        computed: list[Field],
    ) -> None:
        rows = maker.make(block)
        state.count(block, len(rows.slots))
        if not len(rows.slots):
            return
        grouping = Grouping(rows)
        state.check_order(grouping)
        columns = {
            name: grouping.lists(array) if self._is_list(name) else grouping.last(array)
            for name, array in rows.fields.items()
        }
        if state.ordered:
            columns |= self._derive(grouping.slots, columns, state, current, computed)
        else:
            current.note(grouping.slots, columns)
        sink.add(grouping.slots, document_columns(self.schema, self._numbers, columns))
        fields.add(grouping.slots, columns, state.ordered)
        state.note(grouping.slots)

    # -- computed sort fields --------------------------------------------------------------

    def _computed_fields(self) -> list[Field]:
        """Return the computed sort fields of which this phase writes a source."""
        targets = set(self._targets)
        return [
            f
            for f in self.schema.sort_fields
            if f.sort and f.sort.computed and targets.intersection(f.sort.computed.sources)
        ]

    def _watched(self, computed: list[Field]) -> set[str]:
        """Return the sources of what is derived once all rows are in."""
        sources = {n for f in computed if f.sort and f.sort.computed for n in f.sort.computed.sources}
        deferral = self.schema.deferred
        return sources | {deferral.source_field} if deferral and self._sets_alive else sources

    def _derive(
        self,
        slots: np.ndarray,
        columns: dict[str, pa.Array],
        state: "_Progress",
        current: CurrentValues,
        computed: list[Field],
    ) -> dict[str, pa.Array]:
        """Return the computed fields of slots; note which of them are deferred."""
        derived = {f.name: current.computed(f, slots, columns) for f in computed}
        deferral = self.schema.deferred
        if deferral is not None and self._sets_alive:
            limit = self.now * (1000 if deferral.ms_to_seconds else 1)
            times = current.value(deferral.source_field, slots, columns | derived)
            state.deferred |= later_than(slots, times, limit)
        return derived

    def _conclude(
        self,
        sink: DocumentSink,
        fields: FieldSink,
        state: "_Progress",
        current: CurrentValues,
        earlier: BitMap,
        computed: list[Field],
    ) -> BitMap:
        """Derive what could not be derived block by block: for rows in no order, and for slots that the phase
        has left. Return the slots that this phase, or another one, makes visible."""
        left = earlier - state.touched()
        slots = _slots_of(left if state.ordered else left | state.touched())
        if not self._watched(computed):
            slots = slots[:0]
        for start in range(0, len(slots), CHUNK):
            part = slots[start : start + CHUNK]
            columns = self._derive(part, current.noted(part), state, current, computed)
            if columns:
                sink.add(part, document_columns(self.schema, self._numbers, columns))
                fields.add(part, columns, False)
        visible = state.touched() if self.phase.sets_alive else BitMap()
        if earlier:
            visible = visible | (earlier & union_of_phases(self._store, self.phase.name))
        state.deferred &= visible
        return visible

    # -- the end of a phase ----------------------------------------------------------------

    def _write_bitmaps(
        self,
        fields: FieldSink,
        state: "_Progress",
        earlier: BitMap,
        visible: BitMap,
        sequence: int,
    ) -> None:
        changes = BitmapChanges(self._bitmaps)
        fields.write(changes, list(self._numbers), earlier)
        touched = state.touched()
        alive, waiting = self._bitmaps.alive(), self._bitmaps.get(format_.deferred_key())
        if self._sets_alive:
            shown = earlier if self._earlier and self._earlier.sets_alive else BitMap()
            alive = (alive - shown - visible) | (visible - state.deferred)
            changes.put(format_.alive_key(), alive)
            if self._by_the_clock or waiting:  # at a given moment, what is deferred stays so
                waiting = waiting - shown - visible
                waiting = waiting | state.deferred if self._by_the_clock else waiting
                changes.put(format_.deferred_key(), waiting)
        hidden = self._bitmaps.get(format_.hidden_key())
        others = (hidden | touched | earlier) - alive - waiting
        if others != hidden:
            changes.put(format_.hidden_key(), others)
        number = self._earlier.number if self._earlier else self.log.next_number()
        changes.put(format_.phase_key(number), touched)
        if changes:
            changes.write(sequence)
        else:
            reach(self._bitmaps.silo, sequence)

    def _counts(self, state: "_Progress", maker: RowMaker) -> dict[str, Any]:
        rejected = maker.rejects.total
        if not state.rows:
            raise InvalidError(
                f"phase {self.phase.name!r}: the table has no rows; a file with a header needs no columns, "
                "one without needs them"
            )
        if not state.applied and rejected == state.rows:
            raise InvalidError(
                f"phase {self.phase.name!r}: none of {state.rows:,} rows could be used: "
                + "; ".join(f"{reason} ({n:,} rows)" for reason, n in maker.rejects.counts.items())
                + ". Do the columns and their order fit the file?"
            )
        return {
            "rows": state.rows,
            "applied": state.rows - maker.filtered - rejected,
            "filtered": maker.filtered,
            "rejected": rejected,
            "documents": len(state.touched()),
            "deferred": len(state.deferred),
            "bytes": state.bytes,
            "rejects": maker.rejects.to_mapping(),
        }

    # -- running again ---------------------------------------------------------------------

    def _check_shared_lists(self) -> None:
        """Refuse to run a phase again whose lists another phase has added to."""
        if self._earlier is None:
            return
        for other in self.log:
            shared = [n for n in self._targets if self._is_list(n) and n in self._wrote(other)]
            if other.name != self.phase.name and shared:
                raise InvalidError(
                    f"phase {self.phase.name!r} was loaded before, and so was {other.name!r}, which also "
                    f"writes {shared[0]!r}; their values cannot be told apart. Load both into a new index"
                )

    def _wrote(self, run: PhaseResult) -> list[str]:
        """Return the fields that a phase has written, without those that were dropped since."""
        dropped = self._registry.names_of(self._store.versions.dropped_since(run.sequence))
        return [name for name in run.targets if name in self._registry and name not in dropped]

    def _earlier_slots(self) -> BitMap:
        if self._earlier is None:
            return BitMap()
        return self._bitmaps.get(format_.phase_key(self._earlier.number))

    def _stored_numbers(self) -> list[int]:
        return [
            number
            for name, number in self._numbers.items()
            if not self.schema.has(name) or self.schema.field(name).stored
        ]

    def _is_list(self, name: str) -> bool:
        return self.schema.has(name) and self.schema.field(name).is_list


class _Progress:
    """What has been seen of a phase: counts, the slots, which of them are to be visible."""

    def __init__(self, ordered: bool):
        self.ordered, self.rows, self.applied, self.bytes = ordered, 0, 0, 0
        self.deferred = BitMap()
        self._last = -1
        self._slots: list[np.ndarray] = []
        self._union: BitMap | None = None

    def count(self, block: Block, applied: int) -> None:
        self.rows += block.rows + block.rejects.total
        self.bytes += block.size
        self.applied += applied

    def check_order(self, grouping: Grouping) -> None:
        fits = grouping.trivial and int(grouping.slots[0]) > self._last
        if self.ordered and not fits:
            raise _OutOfOrder
        self._last = max(self._last, int(grouping.slots[-1]))

    def note(self, slots: np.ndarray) -> None:
        self._slots.append(slots)

    def touched(self) -> BitMap:
        if self._union is None:
            self._union = union_of(self._slots)
            self._slots.clear()
        return self._union


def _slots_of(bitmap: BitMap) -> np.ndarray:
    return np.frombuffer(bitmap.to_array(), np.uint32)


def _read_ahead(blocks: Iterator[Block]) -> Iterator[Block]:
    """Read the next block while the last one is worked on."""
    with ThreadPoolExecutor(1, "bitdex-read") as pool:
        following = pool.submit(next, blocks, None)
        while (block := following.result()) is not None:
            following = pool.submit(next, blocks, None)
            yield block
