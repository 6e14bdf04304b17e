"""Salvage of ops logs: the batches that can be kept are a prefix of all that were written.

::

    ops_a.log  | batch 1 | batch 2 | dama~~ 3 | batch 4 |
    ops_b.log                                            | batch 5 |
                 kept      kept      lost       set aside   set aside

A batch behind a lost one may rest on it, so it is set aside as well. A batch without its end, with
nothing behind it, is what a writer that died has left: it was never acknowledged.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bitdex import filesystem
from bitdex.errors import CorruptError
from bitdex.formats import frame, oplog
from bitdex.kernels import frames as kernels
from bitdex.silo.check import Finding
from bitdex.silo.files import SiloFiles
from bitdex.silo.operations import Operations
from bitdex.silo.remedies import AGAIN, NOTHING_LOST, Repair, refusal
from bitdex.silo.replay import sequences_of, whole_batches

PREFIX = "the batches before are kept; the file is set aside, and a new one takes its place"


@dataclass(slots=True)
class LogSalvage:
    """What stays of a log.

    Attributes
    ----------
    path : Path
    mapped : ndarray of uint8
    kept : Operations
        Those of the batches that stay.
    generation : int
        Of the file that takes its place.
    behind : list of int
        The sequences of whole batches that lie behind damage.
    broken : bool
        Whether batches are lost.
    renew : bool
        Whether another file has to take its place.
    repairs : list of Repair
    """

    path: Path
    mapped: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint8))
    kept: Operations = field(default_factory=lambda: Operations.empty(0))
    generation: int = 0
    behind: list[int] = field(default_factory=list)
    broken: bool = False
    renew: bool = False
    repairs: list[Repair] = field(default_factory=list)

    @property
    def end(self) -> int:
        """Where the batches that stay end."""
        if not len(self.kept):
            return oplog.START
        return int(self.kept.places[-1] + frame.padded(self.kept.sizes[-1]))

    @property
    def last_sequence(self) -> int:
        """The newest sequence that stays, or 0."""
        return int(self.kept.words[-1]) >> 8 if len(self.kept) else 0

    @property
    def sequences(self) -> list[int]:
        """All sequences that are known to lie in it, whether they stay or not; ascending."""
        return [*np.unique(sequences_of(self.kept)).tolist(), *self.behind]

    def note(self, offset: int, what: str, severity: str, remedy: str, action: str) -> None:
        """List a repair of this log, whose place another file takes."""
        self.repairs.append(Repair(str(self.path), offset, what, severity, remedy, action))
        self.renew = True

    def drop(self, sequence: int) -> None:
        """Set all batches aside, because batch `sequence` of the other log, or one behind it, is lost."""
        count = len(np.unique(sequences_of(self.kept)))
        what = (
            f"expected batches that rest on those before, found {count} behind a lost one (above {sequence})"
        )
        self.note(
            oplog.START, what, "error", AGAIN, "the file is set aside, and an empty one takes its place"
        )
        self.kept, self.broken = self.kept[:0], True


def salvage_logs(files: SiloFiles, meta: np.ndarray) -> list[LogSalvage]:
    """Find out what can be kept of both logs."""
    logs = [_salvage(path, meta) for path in files.logs]
    for log, other in (logs, logs[::-1]):
        if log.broken and len(other.kept) and log.sequences and log.sequences[-1] < other.last_sequence:
            other.drop(log.last_sequence)
    for log in logs:
        if log.renew:
            first = min(log.sequences[:1], default=0)
            applied = int(meta["applied"][0])
            log.generation = min(applied, first - 1) if len(log.kept) else applied
    return logs


def _salvage(path: Path, meta: np.ndarray) -> LogSalvage:
    log, seed = LogSalvage(path), np.uint32(frame.seed(int(meta["identity"][0])))
    try:
        log.mapped = filesystem.map_read(path)
    except FileNotFoundError:
        what = "expected an ops log, found none; what it held and was not compacted is lost"
        log.note(0, what, "error", AGAIN, "an empty one takes its place")
        return log
    _take_batches(log, _read_header(log, meta), seed)
    if not log.broken:
        _check_tail(log)
    return log


def _read_header(log: LogSalvage, meta: np.ndarray) -> int:
    """Return the sequence below which the log holds nothing, as its header says, or 0."""
    try:
        head = oplog.decode_header(log.mapped, str(log.path))
    except CorruptError as error:
        cut = len(log.mapped) < oplog.START
        severity, remedy = ("error", AGAIN) if cut else ("warning", NOTHING_LOST)
        log.note(
            0,
            str(error),
            severity,
            remedy,
            "the file is set aside, and one with a new header takes its place",
        )
        return 0
    if int(head["identity"]) != int(meta["identity"][0]):
        what = (
            "expected this silo's log, found another store's; what its own held and was not compacted is lost"
        )
        log.note(16, what, "error", AGAIN, "the file is set aside, and an empty one takes its place")
        return 0
    if int(head["generation"]) > int(meta["applied"][0]):
        what = f"expected generation {meta['applied'][0]} or below, found {head['generation']}: "
        what += "the commit that emptied the log is lost"
        raise refusal(Finding(str(log.path), 24, what, "error", ""))
    return int(head["generation"])


def _take_batches(log: LogSalvage, last: int, seed: np.uint32) -> None:
    """Take the whole batches up to the first damage, and look for others behind it."""
    if len(log.mapped) <= oplog.START:
        return
    log.kept, at, error = _batches(log, oplog.START, last, seed)
    if at < 0:
        return
    log.behind = _behind(log, at, seed)
    what = f"{error}; {len(log.behind)} batches in all hold behind it"
    log.note(at, what, "error", AGAIN, PREFIX)
    log.broken = True


def _batches(log: LogSalvage, at: int, last: int, seed: np.uint32) -> tuple[Operations, int, str]:
    """Return the whole batches from a place on, and where and how they are damaged (-1: they are not)."""
    try:
        return whole_batches(log.mapped, at, last, seed, str(log.path)), -1, ""
    except CorruptError as error:
        stop = error.offset
        return whole_batches(log.mapped[:stop], at, last, seed, str(log.path)), stop, str(error)


def _behind(log: LogSalvage, at: int, seed: np.uint32) -> list[int]:
    """Return the sequences of the whole batches behind damage at a place."""
    found = set()
    while at >= 0:
        at = kernels.find_later_frame(log.mapped, at, len(log.mapped), np.uint64(0), seed)
        if at >= 0:
            part, at, _ = _batches(log, at, 0, seed)
            found |= set(sequences_of(part).tolist())
    return sorted(found - set(sequences_of(log.kept).tolist()))


def _check_tail(log: LogSalvage) -> None:
    """List what lies behind the last whole batch."""
    tail, size = log.mapped[log.end :], len(log.mapped)
    if log.end > size:
        what = f"expected zeros behind the last frame up to {log.end}, found the end of the file"
        log.note(size, what, "note", NOTHING_LOST, "the file is set aside, and a whole one takes its place")
    if tail.any():
        what = f"expected the end of the log, found {len(tail)} bytes of a batch without its commit"
        action = "the file is set aside, and one without these bytes takes its place"
        log.note(log.end, what, "warning", NOTHING_LOST, action)
