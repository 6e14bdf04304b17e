"""A pile of sheets is a mapping from slots to what is to become of them."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroaring import BitMap

import bitdex
from bitdex.live import pile as module
from bitdex.live.batch import Batch
from bitdex.live.pile import Pile
from bitdex.live.sheet import Sheet

slots = st.integers(0, 12) | st.sampled_from([70_000, 2**32 - 1])
steps = st.lists(st.tuples(st.sets(slots), st.booleans(), st.booleans()), max_size=8)


@pytest.mark.parametrize("small", [0, 2, 1024])
@settings(max_examples=200, deadline=None)
@given(steps=steps, asked=st.sets(slots))
def test_what_was_put_last_counts(small, steps, asked):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SMALL", small)
        pile, model = Pile(), {}
        for number, (some, adds, exist) in enumerate(steps):
            pile.remove(BitMap(some))
            model = {slot: one for slot, one in model.items() if slot not in some}
            if adds:
                ordered = np.array(sorted(some), np.uint32)
                pile.add(Sheet(ordered, {1: pa.array([number] * len(some), pa.int64())}, exist=exist))
                model |= dict.fromkeys(some, (number, exist))
        assert content(pile) == model
        assert content(pile.within(BitMap(asked))) == {n: one for n, one in model.items() if n in asked}
        assert set(pile.there) == {slot for slot, (_, exist) in model.items() if exist}
        assert set(pile.gone) == {slot for slot, (_, exist) in model.items() if not exist}
        for slot in asked:
            found = pile.find(slot)
            assert (None if found is None else content([found])[slot]) == model.get(slot)


def content(sheets):
    return {
        slot: (sheet.columns[1][at].as_py(), sheet.exist)
        for sheet in sheets
        for at, slot in enumerate(sheet.slots.tolist())
    }


SCHEMA = {"name": "shop", "config": {"filter_fields": [{"name": "size", "field_type": "single_value"}]}}


def test_many_changes_of_different_documents_look_at_no_other_sheet(tmp_path, monkeypatch):
    """Each went through the sheets of all before it: 1,000 of them in a batch took half a minute."""
    looked = []
    members = Sheet.members.fget
    monkeypatch.setattr(Sheet, "members", property(lambda self: looked.append(1) or members(self)))
    monkeypatch.setattr(Batch, "MANY", 4)
    with bitdex.create(tmp_path / "index", SCHEMA, sync="none") as index:
        for count in (30, 60):
            looked.clear()
            with index.batch():
                for n in range(count):
                    index.put_many([{"id": 5 * n + i, "size": n} for i in range(5)])
            assert len(looked) <= 6 * count
        changes = [
            {
                "op": "queryOpSet",
                "query": f"size == {n}",
                "ops": [{"op": "set", "field": "size", "value": 99}],
            }
            for n in range(60)
        ]
        looked.clear()
        assert index.apply([{"entity_id": 0, "ops": changes}])["applied"] == 300
        assert len(looked) <= 6 * 60 and index.count("size == 99") == 300
