"""Upkeep: what ends it, and that memory which a compaction has used is the system's again."""

import ctypes
from pathlib import Path

import numpy as np
import pytest

import bitdex
from bitdex.errors import ClosedError
from bitdex.live.upkeep import _run, give_back
from bitdex.silo.silo import Silo

BLOCK, COUNT = 64 << 10, 1024  # below the size that malloc maps by itself: 64 MiB of them


def resident() -> int:
    """Return the bytes of this process that are no file's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon"))


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="not the GNU C library")
def test_memory_between_what_stays_is_given_back() -> None:
    blocks = [np.ones(BLOCK, np.uint8) for _ in range(COUNT)]
    kept = blocks[15::16]  # malloc frees the end of its heap by itself, but not what lies below these
    del blocks
    before = resident()
    give_back()
    assert resident() < before - 48 * (1 << 20)
    assert all(int(block.sum()) == BLOCK for block in kept)


@pytest.fixture
def index(tmp_path):
    with bitdex.create(tmp_path / "index", {"name": "shop"}, sync="none", maintenance=3600) as index:
        yield index


def test_a_batch_that_fails_beside_a_compaction_does_not_fail_it(index, monkeypatch):
    """It opened the silos anew, and the one that was to be compacted then was closed."""
    compacted, compact = [], Silo.compact

    def beside(silo, **options):
        compacted.append(silo.files.directory.name)
        compact(silo, **options)
        if len(compacted) == 1:
            index._store.reopen()

    monkeypatch.setattr(Silo, "compact", beside)
    index.put({"id": 1})
    index.compact()
    assert compacted == ["documents", "bitmaps"]


def test_only_an_index_that_was_closed_ends_the_upkeep(index, monkeypatch):
    """It ended for good where a batch that failed had opened the silos anew in the middle of a round."""
    upkeep, maintain, failures = index._upkeep, index.maintain, [ClosedError("the silo was closed")]

    def fails_once():
        if failures:
            raise failures.pop()
        maintain()

    waits = iter([True, True, False])
    monkeypatch.setattr(upkeep, "wait", lambda: next(waits))
    monkeypatch.setattr(index, "maintain", fails_once)
    _run(lambda: index, upkeep)
    assert (upkeep.error, upkeep.rounds) == (None, 1)
    index.close()
    monkeypatch.setattr(upkeep, "wait", lambda: True)
    _run(lambda: index, upkeep)
    assert isinstance(upkeep.error, ClosedError)
