"""The sort value of each slot, after any commits, is what was last said of it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bitdex
from bitdex.bitmaps import BitmapSilo
from bitdex.live import words as module
from bitdex.live.words import Words
from bitdex.query.edited import Edits

slots = st.integers(0, 6) | st.sampled_from([70_000, 2**32 - 1])
values = st.integers(0, 3) | st.just(2**64 - 1)


@pytest.mark.parametrize("few", [0, 3, 4096])
@settings(max_examples=150, deadline=None)
@given(
    before=st.dictionaries(slots, values),
    commits=st.lists(st.dictionaries(slots, st.none() | values), max_size=5),
    asked=st.sets(slots),
)
def test_follows_the_commits(few, before, commits, asked):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "FEW", few)
        held, order = {**before}, sorted(before)
        words = Words(np.array(order, np.uint32), np.array([before[slot] for slot in order], np.uint64))
        for edits in commits:
            words.note(Edits.of(edits))
            held |= edits
        found, inside = words.of(np.array(sorted(asked), np.uint32))
        assert found.tolist() == [held.get(slot) or 0 for slot in sorted(asked)]
        assert inside.tolist() == [held.get(slot) is not None for slot in sorted(asked)]


def test_the_layers_of_a_field_are_decoded_once(tmp_path, monkeypatch):
    """Every patch decoded them all."""
    schema = {
        "name": "shop",
        "config": {
            "filter_fields": [{"name": "size", "field_type": "single_value"}],
            "sort_fields": [
                {"name": "cost", "bits": 32},
                {
                    "name": "most",
                    "bits": 32,
                    "computed": {"op": "greatest", "source_fields": ["cost", "size"]},
                },
            ],
        },
        "data_schema": {
            "fields": [{"source": "cost", "target": "cost", "value_type": "integer", "filter_only": True}]
        },
    }
    decoded, layers = [], BitmapSilo.layers

    def counting(self, field):
        decoded.append(field)
        return layers(self, field)

    with bitdex.create(tmp_path / "index", schema) as index:
        index.put_many([{"id": n, "cost": n} for n in range(100)])
        monkeypatch.setattr(BitmapSilo, "layers", counting)
        for n in range(20):
            index.patch(n, {"cost": 200 - n})
            index.patch(n + 50, {"size": 300 + n})
        assert len(decoded) <= 1
        monkeypatch.undo()
        expected = [*range(69, 49, -1), *range(20), *range(99, 69, -1), *range(49, 19, -1)]
        assert index.query(sort="-most", limit=100).ids.tolist() == expected
