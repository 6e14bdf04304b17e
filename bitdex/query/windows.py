"""Windows: the named spans of time that a schema declares, at the moment of one query.

``within`` is exact: the values in [now - duration, now], both included, whatever `now` is. Its bounds are
moved to the nearest values that occur, which leaves the same documents: so the clause, and with it an answer
that is kept, stays the same until a document comes into the window or leaves it.

Snapping is approximate, and done on request only: ``sortAtUnix >= t`` becomes ``sortAt >= cutoff``, where the
cutoff is that of one of the windows, rounded down to its refresh interval:

    now - t is within a tenth of a window's duration    the nearest such window
    else                                                the shortest that is as long, or the longest
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from bitdex.errors import InvalidError
from bitdex.query.clauses import Clause, Gte, Not
from bitdex.query.domain import unix_seconds
from bitdex.query.expression import as_value
from bitdex.schema import Bucket, Schema, TimeBuckets

NEAR = 0.1  # of a window's duration
FAR = 1 << 53  # seconds from 1970: what a float can tell from the next

Settle = Callable[[str, Any, Any], tuple[Any, Any] | None]


def _as_they_are(name: str, low: Any, high: Any) -> tuple[Any, Any]:
    return low, high


@dataclass(slots=True)
class Moment:
    """The present of one query.

    Attributes
    ----------
    now : float
        Unix seconds.
    snap : bool
        Whether ranges snap to windows.
    settle : callable
        ``f(field, low, high)``: the nearest values inside that occur, or None.
    notes : dict of Clause to str
        What a bound clause stands for, where that is not what was written.
    """

    now: float = field(default_factory=time.time)
    snap: bool = False
    settle: Settle = _as_they_are
    notes: dict[Clause, str] = field(default_factory=dict)

    def noted(self, clause: Clause) -> str:
        """Return a clause as text, with what is to be noted of it."""
        notes = [note for one in _parts(clause) if (note := self.notes.get(one))]
        return f"{clause}  [{'; '.join(notes)}]" if notes else str(clause)


def moment_of(now: Any, snap: bool, settle: Settle) -> Moment:
    """Return the moment of a query whose `now` is None, Unix seconds, a date or ISO text (UTC by default)."""
    if now is None:
        return Moment(time.time(), snap, settle)
    seconds = as_value(now, "now")
    if isinstance(seconds, str):
        seconds = unix_seconds(seconds)
    if seconds is None or isinstance(seconds, bool) or not -FAR <= seconds <= FAR:
        raise InvalidError(f"now: {now!r:.80} is no moment; give Unix seconds, a datetime, or '2026-01-31'")
    return Moment(seconds, snap, settle)


def window_of(schema: Schema, name: str, window: Any) -> tuple[TimeBuckets, Bucket]:
    """Return a window of a field by its name."""
    buckets = schema.time_buckets
    if buckets is None or name not in (buckets.filter_field, buckets.sort_field):
        if name not in schema.fields and (buckets is None or name != buckets.filter_field):
            schema.field(name)  # unknown: the error says which names are near
        known = "there are none" if buckets is None else f"{buckets.filter_field} has some"
        raise InvalidError(f"{name} has no windows: {known}; declare them in time_buckets")
    for bucket in buckets.buckets:
        if bucket.name == window:
            return buckets, bucket
    names = ", ".join(repr(bucket.name) for bucket in buckets.buckets)
    raise InvalidError(f"{name}: unknown window {window!r}; it has {names}")


def snapped(clause: Any, value: float, schema: Schema, moment: Moment) -> tuple[Clause, str] | None:
    """Return a window's clause in place of a lower bound (Unix seconds), with a note; None to leave it."""
    buckets, wanted = schema.time_buckets, moment.now - value
    if buckets is None or clause.field != buckets.filter_field or wanted <= 0:
        return None
    near = [one for one in buckets.buckets if abs(wanted - one.duration_secs) <= NEAR * one.duration_secs]
    longer = [one for one in buckets.buckets if one.duration_secs >= wanted]
    if near:
        chosen = min(near, key=lambda one: abs(wanted - one.duration_secs))
    elif longer:
        chosen = min(longer, key=lambda one: one.duration_secs)
    else:
        chosen = max(buckets.buckets, key=lambda one: one.duration_secs)
    step = chosen.refresh_interval_secs
    cutoff = math.floor((moment.now - chosen.duration_secs) / step) * step
    return Gte(buckets.sort_field, cutoff), f"snapped to window {chosen.name!r} from {cutoff}"


def _parts(clause: Any) -> Iterator[Clause]:
    yield clause
    for member in getattr(clause, "clauses", ()):
        yield from _parts(member)
    if isinstance(clause, Not):
        yield from _parts(clause.clause)
