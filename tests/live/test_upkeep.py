"""Upkeep: memory that a compaction has used is the system's again."""

import ctypes
from pathlib import Path

import numpy as np
import pytest

from bitdex.live.upkeep import give_back

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
