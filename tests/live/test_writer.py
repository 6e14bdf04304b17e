"""What batches share follows the commits of others, and what a crash has left never comes to count."""

import shutil

import pandas as pd
import pytest

import bitdex
from bitdex.store import Store
from tests.live.bits import differences

SCHEMA = {
    "name": "shop",
    "config": {
        "filter_fields": [
            {"name": "level", "field_type": "single_value"},
            {"name": "hot", "field_type": "single_value"},
        ]
    },
    "data_schema": {
        "fields": [{"source": "hot", "target": "hot", "value_type": "integer", "filter_only": True}]
    },
}
ROWS = {"name": "rows", "slot_field": "id", "sets_alive": True, "fields": ["level", "hot"]}
MORE = {"name": "more", "slot_field": "id", "sets_alive": True, "fields": ["level"]}


def load(index, phase, ids, **columns):
    index.dump(phase, source={phase["name"]: pd.DataFrame({"id": ids, **columns})})


def test_a_patch_behind_a_phase_knows_what_the_phase_wrote(tmp_path):
    """Values that only bitmaps hold were remembered from before the phase, so that a bit was left behind."""
    with bitdex.create(tmp_path / "index", SCHEMA) as index:
        load(index, ROWS, [1, 2], level=1, hot=5)
        index.patch(2, {"hot": 6})
        load(index, ROWS, [1, 2], level=1, hot=7)
        index.patch(1, {"hot": 9})
        assert {value: index.ids(f"hot == {value}").tolist() for value in (5, 6, 7, 9)} == {
            5: [],
            6: [],
            7: [2],
            9: [1],
        }


def test_a_document_put_behind_a_new_phase_belongs_to_it_no_longer(tmp_path):
    """The phases were remembered from before, so that loading the new one again took the document away."""
    with bitdex.create(tmp_path / "index", SCHEMA) as index:
        load(index, ROWS, [1], level=1, hot=5)
        index.put({"id": 1, "level": 2})
        load(index, MORE, [10], level=4)
        index.put({"id": 10, "level": 8})
        load(index, MORE, [11], level=4)
        assert index.get(10) == {"id": 10, "level": 8} and differences(index) == []


def test_a_phase_that_was_given_up_does_not_count_later(tmp_path, monkeypatch):
    """Its entry in dumps.json lay above the committed sequence, until a later commit went beyond it."""

    def die(store, sequence):
        shutil.copytree(tmp_path / "index", tmp_path / "copy")
        raise RuntimeError

    with bitdex.create(tmp_path / "index", SCHEMA) as index:
        load(index, ROWS, [1], level=1, hot=5)
        with monkeypatch.context() as patched, pytest.raises(RuntimeError):
            patched.setattr(Store, "commit", die)
            load(index, MORE, [2], level=1)
    for path in (tmp_path / "index", tmp_path / "copy"):
        with bitdex.open(path) as index:
            for id in (3, 4):
                index.put({"id": id, "level": 1})
        with bitdex.open(path) as index:
            assert [run.name for run in index.phases] == ["rows"]
            assert set(index.check()["severity"]) <= {"note"}
