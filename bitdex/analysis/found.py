"""Found: the members of what a plan finds; large sets are joined word by word.

Roaring makes a bitmap of what two sets share: of dense ones a container for each chunk, an array where few
are left. Counting would expand it again. Here the sets of a query stay expanded as long as they are asked
for, and what they share is words, in one pass; a bitmap is made only if somebody wants it.

Sets are known by their bitmaps, which a snapshot hands out again and again, and which do not change.
"""

from collections.abc import Callable

import numpy as np
from pyroaring import BitMap

from bitdex.analysis.members import Members
from bitdex.analysis.team import share
from bitdex.kernels import words as kernels
from bitdex.kernels.jit import THREADS
from bitdex.query import plan as planner
from bitdex.query.clauses import Eq, Not, NotEq
from bitdex.query.given import Given
from bitdex.query.snapshot import Snapshot

SPREAD = 4  # slots for each document, up to which words from the first slot on are worth their space
FEW = 1000  # members up to which a set is expanded in no time
LEAST = 1024  # members of a chunk from which on joining words is faster than meeting bitmaps
PER_CHUNK = 700  # nanoseconds that two sets take to be joined
BYTES = 1 << 28  # what expanded sets may take, about
MOST = 32 << 10  # bytes of a chunk of one set in all its forms
ALL = np.uint64(0xFFFFFFFFFFFFFFFF)


def members_of(snapshot: Snapshot, steps: list[planner.Step]) -> Members:
    """Return what the steps of a plan leave."""
    chunks, first = flat_chunks(snapshot), steps[0]
    if first.bitmap is not None and len(steps) == 1:
        return _expanded(snapshot, first)
    joined = chunks and first.size >= LEAST * chunks and all(step.bitmap is not None for step in steps)
    if not joined:
        return Members(planner.run(steps))
    members = _expanded(snapshot, first)
    for step in steps[1:]:
        found = _expanded(snapshot, step)
        members = _joined(members, found, step.action == "minus", chunks, lambda: planner.run(steps))
    return members


def within(snapshot: Snapshot, members: Members, others: BitMap) -> Members:
    """Return the members that are in a set which the snapshot keeps."""
    if not members.is_words:
        return Members(members.bitmap & others)
    kept = kept_members(snapshot, others)
    return _joined(members, kept, False, members.chunks, lambda: members.bitmap & others)


def shared(snapshot: Snapshot, members: Members, others: BitMap) -> int:
    """Return how many members are in a set which the snapshot keeps."""
    if not members.is_words:
        return members.bitmap.intersection_cardinality(others)
    chunks = members.chunks
    sets, counts = (members.flat(chunks), kept_members(snapshot, others).flat(chunks)), [0] * THREADS

    def meet(thread: int, lo: int, hi: int) -> None:
        counts[thread] += kernels.meet(*sets, lo, hi)

    share(chunks, PER_CHUNK * chunks, meet)
    return sum(counts)


def kept_members(snapshot: Snapshot, found: BitMap) -> Members:
    """Return the members of a bitmap that stays what it is as long as the snapshot has it."""
    if len(found) < FEW:
        return Members(found)
    kept: dict[int, Members] = snapshot.derived.setdefault("members", {})
    members = kept.pop(id(found), None)  # which holds the bitmap, so that no other gets its number
    if members is None:
        members = Members(found)
    kept[id(found)] = members  # behind those that were asked for before
    most = max(BYTES // (MOST * max(1, members.chunks)), 2)
    for key in list(kept)[: max(0, len(kept) - most)]:
        kept.pop(key, None)
    return members


def kept_bytes(snapshot: Snapshot) -> int:
    """Return how many bytes expanded sets take."""
    return sum(one.nbytes for one in list(snapshot.derived.get("members", {}).values()))


def flat_chunks(snapshot: Snapshot) -> int:
    """Return how many chunks the documents reach into; 0 if their ids lie far apart."""
    alive = snapshot.alive
    chunks = (alive.max() >> 16) + 1 if alive else 0
    return chunks if chunks and (chunks - 1) << 16 <= SPREAD * len(alive) else 0


def _expanded(snapshot: Snapshot, step: planner.Step) -> Members:
    clause = step.clause.clause if isinstance(step.clause, Not) else step.clause
    stays = type(clause) in (Eq, NotEq) or step.bitmap is snapshot.alive
    stays = stays or (type(clause) is Given and clause.visible)
    return kept_members(snapshot, step.bitmap) if stays else Members(step.bitmap)


def _joined(one: Members, other: Members, minus: bool, chunks: int, find: Callable[[], BitMap]) -> Members:
    words, counts = np.empty(chunks * kernels.WORDS, np.uint64), np.empty(chunks, np.int64)
    sets, flip = (one.flat(chunks), other.flat(chunks)), ALL if minus else ALL ^ ALL

    def join(_: int, lo: int, hi: int) -> None:
        kernels.join(*sets, flip, lo, hi, words, counts)

    share(chunks, PER_CHUNK * chunks, join)
    return Members(find, words, counts)
