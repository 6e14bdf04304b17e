"""Between: what the commits from one state of an index to a later one alter, for a reader that moves on.

The writer knows what its batches alter (`live.alterations`). A reader finds the same in the ops log of the
bitmaps, and the new sort values in the documents, as long as the log still holds all that was committed
meanwhile, which is until the next compaction::

    ops behind the commit before --> bits set and cleared, the last of a bit counts --> alterations
    slots in the layers of a sort field --> their documents --> sort values

Where a snapshot could not follow by that it is made anew: another definition, a phase, fields made anew,
documents that wait, or that only phases know; and where more has changed than is read anew as fast.
"""

import math
from contextlib import suppress

import numpy as np

from bitdex.bitmaps import BitmapSilo
from bitdex.columns import decode_columns
from bitdex.documents import DocSilo, column_kind
from bitdex.errors import BitdexError
from bitdex.formats import bitmap as format_
from bitdex.formats import frame
from bitdex.kernels.bit_ops import Bits, bits_of
from bitdex.live.alterations import FEW, Alterations, FewGrouped, Grouped
from bitdex.live.rows import LARGEST_SLOT
from bitdex.live.sheet import validity_of, words_of
from bitdex.query.edited import Edits
from bitdex.query.newest import Newest
from bitdex.query.order import bitmap_of
from bitdex.query.snapshot import UNNUMBERED, Snapshot
from bitdex.remains import BITMAPS, DOCUMENTS
from bitdex.silo.operations import Operations
from bitdex.silo.pending import Waiting
from bitdex.silo.writes import NOBODY
from bitdex.store import Committed, Store

MOST = 100_000  # operations, and bits
NAMES = ("schema", "registry", "dictionaries")  # of what fields and labels are


def moved_on(store: Store, newest: Newest) -> bool:
    """Move a reader on to the newest commit, and its snapshot with it; tell whether there is another."""
    before = store.committed
    if not store.refresh():
        return False
    shown = newest.shown
    if shown is not None and newest.reaches(before) and not _lacks_label(shown):
        with suppress(BitdexError):  # what is damaged is told to who asks for it
            altered = altered_between(before, store.committed)
            if altered is not None:
                newest.follow(altered)
    return True


def _lacks_label(snapshot: Snapshot) -> bool:
    """Tell whether a default had no number: the label that it is may have got one since."""
    labelled = (field.name for field in snapshot.schema.fields.values() if field.is_labelled)
    return any(snapshot.defaults(name) == (UNNUMBERED,) for name in labelled)


def altered_between(before: Committed, after: Committed) -> Alterations | None:
    """Return what the commits after one, up to another, alter; None if it is unknown or too much."""
    if not all(getattr(before.documents, name) is getattr(after.documents, name) for name in NAMES):
        return None
    bits, written = (after.state(name).since(before.sequence, MOST) for name in (BITMAPS, DOCUMENTS))
    if bits is None or written is None:
        return None
    seed = after.state(BITMAPS).base.seed
    parts = [_bits(log, operations, seed) for log, operations in bits]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    keys, slots, sets = (np.concatenate(columns) for columns in zip(*known, _NO_BITS))
    if len(keys) > MOST:
        return None
    touched = [slots, *(operations.keys for _, operations in written)]
    if _touches_unseen(before.bitmaps, keys, np.concatenate(touched)):
        return None
    order = np.lexsort((slots, keys))  # stable: the last of those on one bit is the newest
    keys, slots, sets = keys[order], slots[order], sets[order]
    last = np.append((keys[1:] != keys[:-1]) | (slots[1:] != slots[:-1]), True)[: len(keys)]
    edits = _edits(after.documents, keys, slots)
    if edits is None:
        return None
    entering, leaving = (_grouped(keys[mask], slots[mask]) for mask in (last & sets, last & ~sets))
    return Alterations(entering, leaving, {}, edits, math.inf)


_NO_BITS: Bits = np.empty(0, np.uint64), np.empty(0, np.uint32), np.empty(0, bool)


def _bits(log: Waiting, operations: Operations, seed: np.uint32) -> Bits | None:
    """Return the bits that operations set and clear, in order; None if they are many, or one is no merge."""
    saved = operations.keys >> np.uint64(32) == np.uint64(format_.SETS >> 32)  # no part of a snapshot
    some = operations[np.flatnonzero(~saved & (operations.keys != np.uint64(NOBODY)))]
    if (some.words & np.uint64(frame.KIND_MASK) != frame.MERGE).any():
        return None
    return bits_of(log.mapped, some.keys, some.places, some.sizes, seed, MOST)


def _touches_unseen(bitmaps: BitmapSilo, keys: np.ndarray, touched: np.ndarray) -> bool:
    """Tell whether slots are among those that wait, or that only phases know, or become such."""
    states = (format_.deferred_key(), format_.hidden_key())
    slots = bitmap_of(np.unique(touched[touched <= LARGEST_SLOT]).astype(np.uint32))
    return bool(np.isin(keys, np.array(states, np.uint64)).any()) or any(
        not bitmaps.get(state).isdisjoint(slots) for state in states
    )


def _edits(documents: DocSilo, keys: np.ndarray, slots: np.ndarray) -> dict[int, list[Edits]] | None:
    """Return the sort values of the slots that have others; None if documents do not hold them."""
    of_layers = keys >> np.uint64(62) == np.uint64(format_.LAYERS >> 62)  # and of the slots that have a value
    numbers = keys[of_layers] >> np.uint64(32) & np.uint64(format_.FIELD_MAX)
    others = {
        number: np.unique(slots[of_layers][numbers == number]) for number in np.unique(numbers).tolist()
    }
    fields = {}
    for number in others:
        name = documents.registry.name(number)
        if name is None or not documents.schema.has(name):
            return None
        field = documents.schema.field(name)
        if field.sort is not None:
            if not field.stored:
                return None
            fields[number] = field
    if not fields:
        return {}
    rows = np.unique(np.concatenate([others[number] for number in fields]))
    stored = documents.source.get_many(rows.astype(np.uint64))
    wanted = [(number, column_kind(field)) for number, field in fields.items()]
    edits = {}
    for (number, field), values in zip(fields.items(), decode_columns(stored.data, stored.offsets, wanted)):
        places = np.searchsorted(rows, others[number])
        words, present = words_of(field, values)[places], validity_of(values)[places]
        edits[number] = [Edits(others[number], words, present)]
    return edits


def _grouped(keys: np.ndarray, slots: np.ndarray) -> Grouped | FewGrouped:
    """Group pairs that come by key, then slot."""
    if len(keys) <= FEW:
        return FewGrouped(list(zip(keys.tolist(), slots.tolist())))
    return Grouped.of(keys, slots)
