"""States: which documents are visible, wait, or are none, where the bitmap that says so is lost.

::

    documents with a record, and slots of phases  =  visible  +  waiting  +  hidden

So each of the three follows from the others. Where visible and waiting ones are lost together, the time in a
document tells; where the hidden ones are lost as well as the visible ones, a slot is hidden that only phases
have written which set nothing alive.
"""

from collections.abc import Collection

import numpy as np
from pyroaring import BitMap

from bitdex.documents import slots_of
from bitdex.dump.current import CurrentValues, later_than
from bitdex.formats import bitmap as format_
from bitdex.query.order import bitmap_of
from bitdex.store import Store

CHUNK = 1 << 17  # documents whose time is read in one go
KEYS = {"alive": format_.alive_key(), "deferred": format_.deferred_key(), "hidden": format_.hidden_key()}


def states_of(store: Store, lost: Collection[str], now: float) -> dict[int, BitMap]:
    """Return the bitmaps of visible, waiting and hidden slots, by key, those that are lost made anew.

    What is in one of them stays in it; `now` are Unix seconds.
    """
    alive, deferred, hidden = map(store.bitmaps.get, KEYS.values())
    written = [(run.sets_alive, store.bitmaps.get(format_.phase_key(run.number))) for run in store.log]
    exist = BitMap.union(bitmap_of(slots_of(store.documents.silo)), *(slots for _, slots in written))
    left = exist - alive - deferred - hidden
    if "alive" not in lost:
        waits = _later(store, left, now) if "hidden" in lost else left
        waits = waits if "deferred" in lost else BitMap()
        hidden |= left - waits
    else:
        if "hidden" in lost:
            shows = BitMap.union(BitMap(), *(slots for sets_alive, slots in written if sets_alive))
            others = BitMap.union(BitMap(), *(slots for sets_alive, slots in written if not sets_alive))
            unseen = (left & others) - shows
            hidden, left = hidden | unseen, left - unseen
        waits = _later(store, left, now) if "deferred" in lost else BitMap()
        alive |= left - waits
    return dict(zip(KEYS.values(), (alive, deferred | waits, hidden)))


def _later(store: Store, slots: BitMap, now: float) -> BitMap:
    """Return the slots whose documents are to be visible later."""
    deferral, found = store.schema.deferred, BitMap()
    if deferral is None:
        return found
    every, values = np.frombuffer(slots.to_array(), np.uint32), CurrentValues(store, (), BitMap(), ())
    for start in range(0, len(every), CHUNK):
        part = every[start : start + CHUNK]
        found |= later_than(part, values.value(deferral.source_field, part, {}), now * deferral.unit)
    return found
