"""Between: what the commits from one state of an index to a later one alter, for a reader that moves on.

The writer knows what its batches alter (`live.alterations`). A reader finds the same in the ops log of the
bitmaps, and the new sort values in the documents, as long as the log still holds all that was committed
meanwhile, which is until the next compaction, and if it is not much::

    ops behind the commit before --> bits set and cleared, the last of a bit counts --> alterations
    slots in the layers of a sort field --> their documents --> sort values

Where a snapshot could not follow by that it is made anew: another definition, a phase, fields made anew,
documents that wait, or that only phases know.
"""

import math
from collections import defaultdict
from collections.abc import Set

import numpy as np
from pyroaring import BitMap

from bitdex.bitmaps import BitmapSilo, sort_word
from bitdex.documents import DocSilo
from bitdex.formats import bitmap as format_
from bitdex.formats import frame
from bitdex.formats.document import decode_document
from bitdex.live.alterations import FEW, Alterations, FewGrouped, Grouped
from bitdex.live.rows import is_slot
from bitdex.query.newest import Newest
from bitdex.query.snapshot import UNNUMBERED, Snapshot
from bitdex.remains import BITMAPS, DOCUMENTS
from bitdex.store import Committed, Store

MOST = 4096  # ops; a snapshot that is made anew costs less than to look at more

NAMES = ("schema", "registry", "dictionaries")  # of what fields and labels are

Bits = dict[int, BitMap]  # slots by the key of their bitmap


def moved_on(store: Store, newest: Newest) -> bool:
    """Move a reader on to the newest commit, and its snapshot with it; tell whether there is another."""
    before = store.committed
    if not store.refresh():
        return False
    shown = newest.shown
    if shown is not None and not _lacks_label(shown):
        newest.moved(before, altered_between(before, store.committed))
    return True


def _lacks_label(snapshot: Snapshot) -> bool:
    """Tell whether a default had no number: the label that it is may have got one since."""
    labelled = (field.name for field in snapshot.schema.fields.values() if field.is_labelled)
    return any(snapshot.defaults(name) == (UNNUMBERED,) for name in labelled)


def altered_between(before: Committed, after: Committed) -> Alterations | None:
    """Return what the commits after one, up to another, alter; None if it is unknown or too much."""
    if not all(getattr(before.documents, name) is getattr(after.documents, name) for name in NAMES):
        return None
    bitmaps = after.state(BITMAPS).since(before.sequence, MOST)
    documents = after.state(DOCUMENTS).since(before.sequence, MOST)
    if bitmaps is None or documents is None:
        return None
    folded = _fold(bitmaps)
    if folded is None:
        return None
    entering, leaving = folded
    touched = BitMap([key for key, _, _ in documents if is_slot(key)])
    touched.update(*entering.values(), *leaving.values())
    if _touches_unseen(before.bitmaps, entering.keys() | leaving.keys(), touched):
        return None
    words = _words(after.documents, entering, leaving)
    return None if words is None else Alterations(_grouped(entering), _grouped(leaving), words, {}, math.inf)


def _fold(ops: list[tuple[int, int, np.ndarray]]) -> tuple[Bits, Bits] | None:
    """Return which slots enter bitmaps and which leave them; None if one is put or deleted as a whole."""
    entering: Bits = defaultdict(BitMap)
    leaving: Bits = defaultdict(BitMap)
    for key, kind, payload in ops:
        if format_.describe(key).kind == "set":  # no part of a snapshot
            continue
        if kind != frame.MERGE:
            return None
        for op, slots in format_.decode_ops(payload):
            gain, lose = (entering, leaving) if op == format_.SET else (leaving, entering)
            gain[key] |= slots
            lose[key] -= slots
    return entering, leaving


def _touches_unseen(bitmaps: BitmapSilo, keys: Set[int], slots: BitMap) -> bool:
    """Tell whether slots are among those that wait, or that only phases know, or become such."""
    states = (format_.deferred_key(), format_.hidden_key())
    return any(state in keys or not bitmaps.get(state).isdisjoint(slots) for state in states)


def _words(documents: DocSilo, entering: Bits, leaving: Bits) -> dict[int, dict[int, int | None]] | None:
    """Return the sort values of the slots that have others; None if documents do not hold them."""
    slots: Bits = defaultdict(BitMap)
    for bits in (entering, leaving):
        for key, some in bits.items():
            kind, number, _ = format_.describe(key)
            if kind in ("layer", "present") and number is not None:
                slots[number] |= some
    touched = sorted(BitMap().union(*slots.values()))
    payloads = documents.source.get_many(np.array(touched, np.uint64))
    held = {slot: decode_document(payload or b"") for slot, payload in zip(touched, payloads)}
    words: dict[int, dict[int, int | None]] = {}
    for number, some in slots.items():
        name = documents.registry.name(number)
        if name is None or not documents.schema.has(name):
            return None
        field = documents.schema.field(name)
        if field.sort is None:
            continue
        if not field.stored:
            return None
        values = {slot: held[slot].get(number) for slot in some}
        words[number] = {slot: None if one is None else sort_word(field, one) for slot, one in values.items()}
    return words


def _grouped(bits: Bits) -> Grouped | FewGrouped:
    if sum(map(len, bits.values())) <= FEW:
        return FewGrouped([(key, slot) for key, slots in bits.items() for slot in slots])
    keys = sorted(key for key, slots in bits.items() if slots)
    slots = [np.frombuffer(bits[key].to_array(), np.uint32) for key in keys]
    offsets = np.cumsum([0, *map(len, slots)])
    return Grouped(np.array(keys, np.uint64), offsets, np.concatenate(slots))
