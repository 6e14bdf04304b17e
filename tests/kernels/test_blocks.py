"""Blocks of rows: every row once, in order, side by side; errors, interrupts and forks."""

import os
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitdex.kernels import blocks
from bitdex.kernels.blocks import each_block


@settings(max_examples=100, derandomize=True, deadline=None)
@given(st.integers(0, 200), st.integers(1, 60))
def test_every_row_is_in_one_block_and_blocks_come_in_order(rows, longest):
    bounds = each_block(rows, longest, lambda lo, hi: (lo, hi))
    assert [row for lo, hi in bounds for row in range(lo, hi)] == list(range(rows))
    sizes = [hi - lo for lo, hi in bounds]
    assert max(sizes, default=0) <= longest and max(sizes, default=0) - min(sizes, default=0) <= 1
    assert len(bounds) == -(-rows // longest)


def test_blocks_are_worked_on_side_by_side(monkeypatch):
    monkeypatch.setattr(blocks, "THREADS", 2)
    met = threading.Barrier(2, timeout=20)
    each_block(2, 1, lambda lo, hi: met.wait())


def test_the_first_error_is_raised_when_nobody_works_any_more(monkeypatch):
    monkeypatch.setattr(blocks, "THREADS", 2)
    ended = []

    def work(lo, hi):
        if lo < 2:
            raise ValueError(f"block {lo}")
        time.sleep(0.01)
        ended.append(lo)

    with pytest.raises(ValueError, match="block 0"):
        each_block(6, 1, work)
    done = list(ended)
    time.sleep(0.05)
    assert ended == done


def test_blocks_within_blocks_do_not_wait_for_each_other(monkeypatch):
    monkeypatch.setattr(blocks, "THREADS", 2)
    found = each_block(8, 1, lambda lo, hi: each_block(8, 1, lambda a, b: (lo, a)))
    assert found == [[(lo, a) for a in range(8)] for lo in range(8)]


def test_a_fork_starts_threads_of_its_own(monkeypatch):
    monkeypatch.setattr(blocks, "THREADS", 2)
    each_block(4, 1, lambda lo, hi: lo)
    child = os.fork()
    if not child:
        os._exit(each_block(4, 1, lambda lo, hi: lo) != [0, 1, 2, 3])
    assert os.waitpid(child, 0)[1] == 0
