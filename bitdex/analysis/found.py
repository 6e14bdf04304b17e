"""Found: the members of what a plan finds; large sets are joined word by word.

Roaring makes a bitmap of what two sets share: of dense ones a container for each chunk, an array where few
are left. Counting would expand it again. Here the sets of a query stay expanded as long as they are asked
for, and what they share is words, in one pass; a bitmap is made only if somebody wants it.

Sets are known by their bitmaps, which a snapshot hands out again and again, and which do not change.
"""

from pyroaring import BitMap

from bitdex.analysis.along import PER_CHUNK
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
BYTES = 1 << 29  # what expanded sets may take, about


def members_of(snapshot: Snapshot, steps: list[planner.Step]) -> Members:
    """Return what the steps of a plan leave."""
    chunks, first = flat_chunks(snapshot), steps[0]
    if first.bitmap is not None and len(steps) == 1:
        return _expanded(snapshot, first)
    joined = chunks and first.size >= LEAST * chunks and all(step.bitmap is not None for step in steps)
    if not joined:
        return Members(planner.run(steps))
    parts = [(_expanded(snapshot, step), step.action == "minus") for step in steps]
    return Members(lambda: planner.run(steps), parts, chunks)


def within(snapshot: Snapshot, members: Members, others: BitMap) -> Members:
    """Return the members that are in a set which the snapshot keeps."""
    if not members.is_words:
        return Members(members.bitmap & others)
    parts = [*members.parts, (kept_members(snapshot, others), False)]
    return Members(lambda: members.bitmap & others, parts, members.chunks)


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
        members = Members(found, is_kept=True)
        _make_room(kept, members.chunks)
    kept[id(found)] = members  # behind those that were asked for before
    return members


def _make_room(kept: dict[int, Members], chunks: int) -> None:
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
