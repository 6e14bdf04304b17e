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
import pyarrow.compute as pc
from pyroaring import BitMap

from bitdex.bitmaps import BitmapChanges
from bitdex.columns import decode_columns
from bitdex.documents import column_kind
from bitdex.dump.blocks import Block
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
from bitdex.query.order import bitmap_of
from bitdex.schema import Field, Schema
from bitdex.store import Store

POSTINGS_MEMORY = 384 << 20
Report = Callable[[int, int], None]  # rows, bytes


class _OutOfOrder(Exception):
    """Rows were taken to come one a slot in order, and do not."""


class PhaseLoad:
    """One run of one phase, up to the point where it can be committed."""

    def __init__(self, phase: Phase, store: Store, now: float):
        self.phase, self.schema, self.log, self.now = phase, store.schema, store.log, now
        self._documents, self._bitmaps = store.documents, store.bitmaps
        self._registry, self._dictionaries = store.registry, store.dictionaries
        self._directory, self._durable = store.directory / "temporary", store.durable
        self._earlier = self.log.get(phase.name)
        self._check_shared_lists()

    def run(self, sources: Sources, report: Report) -> PhaseResult:
        """Read the phase's table and prepare everything; the caller commits the result's sequence."""
        started, clock = datetime.now(UTC), time.perf_counter()
        computed = self._computed_fields()
        self._registry.ensure([*self.phase.targets, *(f.name for f in computed)], self._durable)
        self._numbers = {
            n: self._registry.number(n) for n in [*self.phase.targets, *(f.name for f in computed)]
        }
        rejected_lookups = RowMaker(self.phase, self.schema, [], self._registry, self._dictionaries)
        tables = [LookupTable(one, sources.open, rejected_lookups.rejects) for one in self.phase.enrichment]
        ordered = not any(self._is_list(name) for name in self.phase.targets)
        sequence = self._next_sequence()
        try:
            counts = self._attempt(sources, tables, sequence, report, computed, ordered)
        except _OutOfOrder:
            sequence = self._next_sequence()  # the one before was given up
            counts = self._attempt(sources, tables, sequence, report, computed, False)
        result = PhaseResult(
            name=self.phase.name,
            number=self._earlier.number if self._earlier else self.log.next_number(),
            sequence=sequence,
            hash=self.phase.hash,
            targets=list(self.phase.targets),
            sets_alive=self.phase.sets_alive,
            seconds=round(time.perf_counter() - clock, 3),
            started=started.isoformat(timespec="seconds"),
            **counts,
        )
        self._dictionaries.save(self._durable)
        self.log.record(result, self._durable)
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
                state = _Progress(ordered, self.schema, self.now)
                earlier = self._earlier_slots()
                sink.clear(_slots_of(earlier), self._stored_numbers(computed))
                for block in _read_ahead(sources.open(self.phase, self.phase.input_columns).blocks()):
                    self._take(block, maker, sink, fields, state, computed)
                    report(state.rows, state.bytes)
                counts = self._counts(state, maker)
                sink.prepare()
                self._write_bitmaps(fields, state, earlier, computed, sequence)
        except BaseException as error:
            sink.abort(error)
            raise
        return counts

    def _take(
        self,
        block: Block,
        maker: RowMaker,
        sink: DocumentSink,
        fields: FieldSink,
        state: "_Progress",
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
        for field in computed:
            columns[field.name] = self._compute(field, grouping.slots, columns)
        sink.add(grouping.slots, document_columns(self.schema, self._numbers, columns))
        fields.add(grouping, columns, state.ordered)
        state.note(grouping.slots, columns, self.phase.sets_alive)

    # -- computed sort fields --------------------------------------------------------------

    def _computed_fields(self) -> list[Field]:
        """Return the computed sort fields of which this phase writes a source."""
        targets = set(self.phase.targets)
        return [
            f
            for f in self.schema.sort_fields
            if f.sort and f.sort.computed and targets.intersection(f.sort.computed.sources)
        ]

    def _compute(self, field: Field, slots: np.ndarray, columns: dict[str, pa.Array]) -> pa.Array:
        """Return the greatest or least of the sources, from this phase or else from the documents."""
        assert field.sort is not None and field.sort.computed is not None
        missing = [n for n in field.sort.computed.sources if n not in columns and n in self._registry]
        stored = self._stored(slots, missing) if missing else {}
        sources = [columns.get(n, stored.get(n)) for n in field.sort.computed.sources]
        present = [s for s in sources if s is not None]
        pick = pc.max_element_wise if field.sort.computed.op == "greatest" else pc.min_element_wise
        return pick(*present, skip_nulls=True)

    def _stored(self, slots: np.ndarray, names: list[str]) -> dict[str, pa.Array]:
        values = self._documents.silo.get_many(slots.astype(np.uint64))
        wanted = [(self._registry.number(n), column_kind(self.schema.field(n))) for n in names]
        return dict(zip(names, decode_columns(values.data, values.offsets, wanted)))

    # -- the end of a phase ----------------------------------------------------------------

    def _write_bitmaps(
        self, fields: FieldSink, state: "_Progress", earlier: BitMap, computed: list[Field], sequence: int
    ) -> None:
        changes = BitmapChanges(self._bitmaps)
        targets = [*self.phase.targets, *(f.name for f in computed)]
        fields.write(changes, targets, earlier)
        touched = state.touched()
        if self.phase.sets_alive:
            alive = (self._bitmaps.alive() - earlier - state.deferred) | state.alive()
            changes.put(format_.alive_key(), alive)
        number = self._earlier.number if self._earlier else self.log.next_number()
        changes.put(format_.phase_key(number), touched)
        changes.write(sequence)

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
            shared = [n for n in self.phase.targets if self._is_list(n) and n in other.targets]
            if other.name != self.phase.name and shared:
                raise InvalidError(
                    f"phase {self.phase.name!r} was loaded before, and so was {other.name!r}, which also "
                    f"writes {shared[0]!r}; their values cannot be told apart. Load both into a new index"
                )

    def _earlier_slots(self) -> BitMap:
        if self._earlier is None:
            return BitMap()
        return self._bitmaps.get(format_.phase_key(self._earlier.number))

    def _stored_numbers(self, computed: list[Field]) -> list[int]:
        names = [*self.phase.targets, *(f.name for f in computed)]
        return [self._numbers[n] for n in names if not self.schema.has(n) or self.schema.field(n).stored]

    def _is_list(self, name: str) -> bool:
        return self.schema.has(name) and self.schema.field(name).is_list


class _Progress:
    """What has been seen of a phase: counts, the slots, which of them are to be visible."""

    def __init__(self, ordered: bool, schema: Schema, now: float):
        self.ordered, self.rows, self.applied, self.bytes = ordered, 0, 0, 0
        self.deferred = BitMap()
        self._deferral = schema.deferred
        self._now = now
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

    def note(self, slots: np.ndarray, columns: dict[str, pa.Array], sets_alive: bool) -> None:
        self._slots.append(slots)
        if not sets_alive or self._deferral is None or self._deferral.source_field not in columns:
            return
        times = pc.fill_null(columns[self._deferral.source_field], 0)
        limit = self._now * (1000 if self._deferral.ms_to_seconds else 1)
        later = np.asarray(times) > limit
        valid = np.asarray(pc.is_valid(columns[self._deferral.source_field]))
        self.deferred -= bitmap_of(slots[~later & valid])
        self.deferred |= bitmap_of(slots[later])

    def touched(self) -> BitMap:
        if self._union is None:
            self._union = union_of(self._slots)
            self._slots.clear()
        return self._union

    def alive(self) -> BitMap:
        return self.touched() - self.deferred


def _slots_of(bitmap: BitMap) -> np.ndarray:
    return np.frombuffer(bitmap.to_array(), np.uint32)


def _read_ahead(blocks: Iterator[Block]) -> Iterator[Block]:
    """Read the next block while the last one is worked on."""
    with ThreadPoolExecutor(1, "bitdex-read") as pool:
        following = pool.submit(next, blocks, None)
        while (block := following.result()) is not None:
            following = pool.submit(next, blocks, None)
            yield block
