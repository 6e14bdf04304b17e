"""Maintenance: compaction of the logs, rewriting, and merges; each ends in a commit (`silo.commits`).

One of them goes on at a time, in any thread; readers and appending writers go on beside it. Who writes all
the time has to wait for a moment before a merge begins, which comes after all operations.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace

import numpy as np

from bitdex.errors import WriteFailedError
from bitdex.formats import frame
from bitdex.formats import meta as meta_format
from bitdex.holding import holding
from bitdex.progress import counter
from bitdex.silo.commits import Commits, list_aborted
from bitdex.silo.compaction import Geometry, NewData, blocks_of, write_cold, write_folded
from bitdex.silo.creation import per_mille_of
from bitdex.silo.key_index import NOTHING
from bitdex.silo.log import OpsLog
from bitdex.silo.merge_writer import MergeWriter
from bitdex.silo.operations import Operations
from bitdex.silo.pending import Waiting
from bitdex.silo.rules import void
from bitdex.silo.state import State
from bitdex.silo.values import as_sequence

BEHIND = 0.5  # bytes in the logs that call for compaction, as a share of the data file
ROUNDS = 3  # of compactions beside those who write, before they have to wait
BLOCK = 1 << 18  # operations merged at a time, between two answers to an interrupt
Report = Callable[[int], object]  # told how many more are done
Holding = Callable[[], AbstractContextManager[object]]


def _nobody(more: int) -> None:
    """Take a report that nobody has asked for."""


class Maintenance(Commits):
    """What moves operations into the data file and keeps it in shape."""

    _merging: MergeWriter | None = None  # which `merge_writer` has handed out

    def _load(self, at: int | None, before: Commits | None) -> None:
        super()._load(at, before)
        cut = [log for log in self._logs.both if log.cut]
        if self.mode == "w" and (self._full or cut):
            self._leave_out()
            for log in cut:  # not before: else nothing would tell the next opener, if this one dies
                log.blank()

    @holding
    def merge_writer(self, sequence: int | None = None, commit: bool = True) -> Iterator[MergeWriter]:
        """Merge straight into the data file: visible as a whole when the block ends, or not at all.

        Nothing is committed after a call of the writer that failed half-way, also where that was caught.
        Pending operations are compacted first. With ``commit=False`` the result is only
        prepared: it is durable, and `finish` makes it the silo's state.
        """
        with self._maintaining():
            sequence = self._begin(as_sequence(sequence))
            try:
                self._merging = MergeWriter(self.files, self._base, self._pool, sequence)
                yield self._merging
                self._commit(self._merging.finish(), {"sequence": sequence, "pending": 0}, commit)
            except WriteFailedError:  # nothing is written after that; the next opener gives the merge up
                raise
            except BaseException:
                self._give_up(sequence)
                raise
            finally:
                if self._merging is not None:
                    self._merging.close()
                    self._merging = None

    def compact(self, commit: bool = True, progress: bool = False, holding: Holding = nullcontext) -> int:
        """Move the operations that wait into the data file; return how many there were.

        If more of the file is dead by then than `reclaim` allows, it is rewritten. Readers and writers go on
        meanwhile. With ``commit=False`` the result is only prepared, as by `merge_writer`. ``holding()`` is
        entered while it is decided which operations take part.
        """
        name = self.files.directory.name
        with self._maintaining():
            with counter(progress, f"compact {name}", self._state.pending, "operations") as report:
                moved = self._compact_logs(commit, report, holding)
            if commit and self.dead_ratio > self._reclaim:
                with counter(progress, f"rewrite {name}", self._base.count, "records") as report:
                    self._rewrite(None, report)
            return moved

    @property
    def needs_compaction(self) -> bool:
        """Whether more of the data file is dead than `reclaim` allows, or the logs are half as long as it."""
        behind = sum(int(log.operations.sizes.sum()) + frame.SIZE * log.count for log in self._state.waiting)
        return self.dead_ratio > self._reclaim or behind > BEHIND * max(len(self._state.data), 1 << 20)

    @property
    def waste(self) -> float:
        """Share of the data file that no record uses: dead regions and headroom."""
        base = self._state.base
        return 1 - int(base.index.entries()["length"].sum()) / max(1, len(base.data))

    @property
    def dead_ratio(self) -> float:
        """Share of the data file that lies in regions nothing points at."""
        base = self._state.base
        return int(base.meta["dead_bytes"][0]) / max(1, len(base.data))

    def rewrite(self, headroom: float | None = None) -> None:
        """Write the data file anew: one frame a record, dead space reclaimed, headroom restored.

        `headroom` gives the new regions another multiple of their record than the silo's own.
        """
        with self._maintaining():
            self._compact_logs()
            self._rewrite(headroom)

    # -- compaction ----------------------------------------------------------------------

    def _compact_logs(
        self, commit: bool = True, report: Report = _nobody, holding: Holding = nullcontext
    ) -> int:
        """Move the operations that wait now into the data file; return how many there were."""
        self._guard.whole(self._finish)
        moved = 0
        older = [log for log in self._logs.both if log is not self._logs.active]
        if older[0].appended:
            moved += self._compact_log(older[0], lambda: older[0], True, report)
        if self._logs.active.appended:

            def freeze() -> OpsLog:
                with holding():
                    return self._logs.freeze()

            moved += self._compact_log(self._logs.active, freeze, commit, report)
        return moved

    def _compact_log(self, log: OpsLog, freeze: Callable[[], OpsLog], commit: bool, report: Report) -> int:
        """Move the operations of a log, which `freeze` returns, into the data file."""
        if self._base.count == 0:
            return self._compact_cold(freeze(), commit, report)
        folded, shown = void(self.rule) is not None, log.waiting(self._base.applied)
        first = NOTHING if shown is None or folded else shown.operations.keys[:BLOCK]
        # it makes itself ready while the log is synced
        writer = MergeWriter(self.files, self._base, self._pool, 0, log.appended, first)
        try:  # begun without a mark: what a crash leaves are frames of the log, above the committed sequence
            waiting = self._waiting_in(freeze())
            writer.sequence = waiting.last_sequence
            apply = self._apply_folded if folded else self._apply_frames
            apply(writer, waiting, report)
            self._commit(writer.finish(), self._moved(waiting), commit)
        finally:
            writer.close()
        return waiting.count

    def _compact_cold(self, log: OpsLog, commit: bool, report: Report) -> int:
        waiting = self._waiting_in(log)
        new = self._write_cold(waiting.operations, waiting.mapped)
        self._commit(new, self._moved(waiting) | {"data_generation": self._next_generation()}, commit)
        report(waiting.count)
        return waiting.count

    def _waiting_in(self, log: OpsLog) -> Waiting:
        waiting = log.waiting(self._base.applied)
        assert waiting is not None, "a log that was frozen shows all it holds"
        return waiting

    def _moved(self, waiting: Waiting) -> dict[str, int]:
        """Return the fields of a commit record that holds these operations."""
        last, sequence = waiting.last_sequence, int(self._base.meta["sequence"][0])
        return {"sequence": max(last, sequence), "applied": last}

    @staticmethod
    def _apply_frames(writer: MergeWriter, waiting: Waiting, report: Report) -> None:
        """Put the frames of a log behind those of their records."""
        for lo in range(0, waiting.count, BLOCK):
            part = waiting.operations[lo : lo + BLOCK]
            last = lo + BLOCK >= waiting.count
            writer.apply_frames(part, waiting.mapped, str(waiting.log.path), last)
            report(len(part))

    def _apply_folded(self, writer: MergeWriter, waiting: Waiting, report: Report) -> None:
        """Put what the records are with the frames of a log in the place of their frames."""
        keys, counts = np.unique(waiting.operations.keys, return_counts=True)
        state, are_void, done = State(self._base, (waiting,), self._fold), void(self.rule), 0
        assert are_void is not None
        for part in blocks_of(state, keys):
            values = state.get_many(part)
            kept = values.found & ~are_void(part, np.diff(values.offsets))
            writer.put_many(part[kept], *values.packed(kept))
            writer.delete_many(part[~kept])
            report(int(counts[done : done + len(part)].sum()))
            done += len(part)

    def _next_generation(self) -> int:
        return int(self._base.meta["data_generation"][0]) + 1

    def _write_cold(self, operations: Operations, log: np.ndarray) -> NewData:
        return write_cold(self.files, operations, log, self._base.meta, self._next_generation(), self._pool)

    def _rewrite(self, headroom: float | None, report: Report = _nobody) -> None:
        """Write the data file anew, without what must not count and without waste."""
        generation = self._next_generation()
        geometry = Geometry.of(self._base.meta)
        if headroom is not None:
            geometry = replace(geometry, headroom=per_mille_of(headroom))
        state = State(self._base, (), self._fold)
        new = write_folded(self.files, state, geometry, generation, self._pool, report)
        self._commit(new, {"data_generation": generation, "aborted_count": 0, "aborted": 0, "pending": 0})

    def _begin(self, wanted: int | None) -> int:
        """Give a merge a sequence above all operations, which are compacted, and mark that it has begun."""
        with ExitStack() as waiting:
            self._compact_logs()
            rounds = 1
            while (sequence := self._logs.reserve(wanted)) is None:  # somebody has appended since
                if rounds == ROUNDS:  # and would keep the merge from beginning
                    waiting.enter_context(self._logs.held())
                self._compact_logs()
                rounds += 1
        if not int(self._base.meta["data_generation"][0]):
            self._commit(self._write_cold_nothing(), {"data_generation": 1})
        if self._full:
            self._leave_out()
        record = self._base.meta.copy()
        record["commit"] += 1
        if int(record["pending"][0]):  # giving it up was interrupted
            list_aborted(record)
        record["pending"] = sequence
        self._write_record(record)
        return sequence

    @property
    def _full(self) -> bool:
        """Whether one more sequence would be too many for the list of those that were given up."""
        return int(self._base.meta["aborted_count"][0]) == meta_format.MAX_ABORTED

    def _leave_out(self) -> None:
        """Write a data file without the frames that must not count; where there is none, there are none."""
        if int(self._base.meta["data_generation"][0]):
            self._rewrite(None)

    def _write_cold_nothing(self) -> NewData:
        state, geometry = State(self._base, (), self._fold), Geometry.of(self._base.meta)
        return write_folded(self.files, state, geometry, 1, self._pool, _nobody)

    def _give_up(self, sequence: int) -> None:
        """List the sequence of a merge that was begun as aborted, unless it was committed."""
        record = self._base.meta.copy()
        if self._guard.closed or self._guard.failure is not None or int(record["pending"][0]) != sequence:
            return
        record["commit"] += 1
        list_aborted(record)
        self._write_record(record)

    def _end(self) -> None:
        if self._merging is not None:  # whoever opens the silo next may not be disturbed
            self._merging.close()
        super()._end()
