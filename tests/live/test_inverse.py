"""Which values each slot has, after any commits, is what the bitmaps say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroaring import BitMap

from bitdex.live import inverse as module
from bitdex.live.alterations import Notes
from bitdex.live.inverse import Inverse

FIELD = 3
slots = st.integers(0, 6) | st.sampled_from([70_000, 2**32 - 1])
values = st.integers(0, 4) | st.sampled_from([2**47, 2**48 - 1])
pairs = st.sets(st.tuples(values, slots), max_size=12)


def key(value):
    return FIELD << 48 | value


@pytest.mark.parametrize("few", [0, 3, 4096])
@settings(max_examples=150, deadline=None)
@given(before=pairs, commits=st.lists(st.tuples(pairs, st.booleans()), max_size=5), asked=st.sets(slots))
def test_follows_the_commits(few, before, commits, asked):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "FEW", few)
        held = set(before)
        stored = sorted({value for value, _ in held})
        bitmaps = [BitMap(slot for value, slot in held if value == one) for one in stored]
        inverse = Inverse(FIELD << 48, np.array([key(one) for one in stored], np.uint64), bitmaps)
        for changed, asks in commits:
            notes = Notes()
            for value, slot in changed:
                notes.put(key(value), slot, (value, slot) not in held)
            notes.put((FIELD + 1) << 48, 1, True), notes.put((FIELD - 1) << 48 | 5, 1, True)
            inverse.note(notes.alterations(), (FIELD + 1) << 48)
            held ^= changed
            if asks:
                check(inverse, held, asked)
        check(inverse, held, asked)


def check(inverse, held, asked):
    found, places = inverse.pairs_of(np.array(sorted(asked), np.uint32))
    assert sorted(zip(found.tolist(), places.tolist())) == sorted(pair for pair in held if pair[1] in asked)
    for slot in asked:
        assert inverse.values_of(slot) == sorted(value for value, one in held if one == slot)
