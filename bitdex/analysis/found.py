"""Found: the members of what a plan finds; large sets are joined word by word.

Roaring makes a bitmap of what two sets share: of dense ones a container for each chunk, an array where few
are left. Counting would expand it again. Here the sets of a query stay expanded as long as they are asked
for, and what they share is words, in one pass; a bitmap is made only if somebody wants it.

Sets are known by what they are of, and by their bitmaps, which a snapshot hands out again and again until
they are others.
"""

from collections.abc import Hashable
from typing import Any

from pyroaring import BitMap

from bitdex.analysis.along import PER_CHUNK
from bitdex.analysis.members import Members
from bitdex.analysis.team import share
from bitdex.kernels import words as kernels
from bitdex.kernels.jit import THREADS
from bitdex.query import plan as planner
from bitdex.query.clauses import Eq, Not, NotEq
from bitdex.query.given import Given
from bitdex.query.order import close
from bitdex.query.snapshot import Snapshot

FEW = 1000  # members up to which a set is expanded in no time
LEAST = 1024  # members of a chunk from which on joining words is faster than meeting bitmaps
BYTES = 1 << 29  # what expanded sets may take, about


def members_of(snapshot: Snapshot, steps: list[planner.Step]) -> Members:
    """Return what the steps of a plan leave."""
    chunks, first = flat_chunks(snapshot.alive, len(snapshot.alive)), steps[0]
    if not chunks or any(step.bitmap is None for step in steps):
        return Members(planner.run(steps))
    if len(steps) == 1:
        return _expanded(snapshot, first)
    if first.size < LEAST * chunks:
        return Members(planner.run(steps))
    parts = [(_expanded(snapshot, step), step.action == "minus") for step in steps]
    return Members(lambda: planner.run(steps), parts, chunks)


def within(snapshot: Snapshot, members: Members, others: BitMap, role: Hashable) -> Members:
    """Return the members that are in a set which the snapshot keeps (`kept_members`)."""
    if not members.is_words:
        return Members(members.bitmap & others)
    parts = [*members.parts, (kept_members(snapshot, others, role), False)]
    return Members(lambda: members.bitmap & others, parts, members.chunks)


def shared(snapshot: Snapshot, members: Members, others: BitMap, role: Hashable) -> int:
    """Return how many members are in a set which the snapshot keeps (`kept_members`)."""
    if not members.is_words:
        return members.bitmap.intersection_cardinality(others)
    chunks = members.chunks
    sets = members.flat(chunks), kept_members(snapshot, others, role).flat(chunks)
    counts = [0] * THREADS

    def meet(thread: int, lo: int, hi: int) -> None:
        counts[thread] += kernels.meet(*sets, lo, hi)

    share(chunks, PER_CHUNK * chunks, meet)
    return sum(counts)


def kept_members(snapshot: Snapshot, found: BitMap, role: Hashable) -> Members:
    """Return the members of a bitmap that stays what it is; another one in the same role takes its place."""
    if len(found) < FEW:
        return Members(found)
    kept: dict[Hashable, Members] = snapshot.derived.setdefault("members", {})
    members = kept.pop(role, None)
    if members is None or members.bitmap is not found:
        members = Members(found, is_kept=True)
        _make_room(kept, members.chunks)
    kept[role] = members  # behind those that were asked for before
    return members


def _make_room(kept: dict[Hashable, Members], chunks: int) -> None:
    """Let go of sets, what was asked for least recently first, until another one will fit."""
    others = list(kept.items())
    size = sum(one.nbytes for _, one in others) + 8 * kernels.WORDS * chunks
    for key, one in others:
        if size <= BYTES:
            break
        kept.pop(key, None)
        size -= one.nbytes


def kept_bytes(snapshot: Snapshot) -> int:
    """Return how many bytes expanded sets take."""
    return sum(one.nbytes for one in list(snapshot.derived.get("members", {}).values()))


def flat_chunks(slots: BitMap, documents: int) -> int:
    """Return how many chunks these slots reach into; 0 if they lie too far apart for so many documents."""
    chunks = (slots.max() >> 16) + 1 if slots else 0
    return chunks if close((chunks - 1) << 16, documents) else 0


def _expanded(snapshot: Snapshot, step: planner.Step) -> Members:
    role = _role(snapshot, step)
    return Members(step.bitmap) if role is None else kept_members(snapshot, step.bitmap, role)


def _role(snapshot: Snapshot, step: planner.Step) -> Hashable:
    """Return what the set of a step is known by; None if nobody will ask for it again."""
    if step.bitmap is snapshot.alive:
        return "alive"
    clause: Any = step.clause.clause if isinstance(step.clause, Not) else step.clause
    if type(clause) is Given and clause.visible:
        return "given", id(step.bitmap)  # which is held as long as it is kept
    return (clause.field, clause.value) if type(clause) in (Eq, NotEq) else None
