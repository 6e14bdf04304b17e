"""Memory of a writer: what a compaction has used goes with it, and the index is that of the file."""

import threading

import numpy as np
import pytest

from bitdex.live.upkeep import give_back
from bitdex.silo.silo import Silo
from tests.kernels.test_apart import GNU, MIB, resident

KEYS = 600_000


@pytest.fixture
def silo(tmp_path):
    with Silo.open(tmp_path / "silo", "w", rule="concatenate", sync="none") as silo:
        yield silo


def write(silo, keys, width):
    silo.merge_many(keys, np.full(len(keys) * width, 7, np.uint8), np.arange(len(keys) + 1) * width)


def in_a_thread(*functions):
    """Call functions in a thread of their own, as maintenance does, and wait for them."""

    def call():
        for function in functions:
            function()

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


def test_an_index_that_was_written_whole_is_read_from_its_file(silo):
    write(silo, np.arange(KEYS, dtype=np.uint64), 8)
    silo.compact()
    give_back()
    before, table = resident(), silo.pin().base.index.table
    assert table.nbytes > 22 * MIB and not table.flags.writeable
    for turn in range(3):
        write(silo, np.arange(turn, KEYS, 4, dtype=np.uint64), 8)  # too many for a delta
        silo.compact()
        assert not silo.pin().base.index.table.flags.writeable
        give_back()
        assert resident() < before + 12 * MIB
    assert set(map(len, silo.get_many(np.arange(8)))) == {8, 16}


def test_a_state_that_is_pinned_keeps_the_index_of_a_file_that_was_replaced(silo):
    write(silo, np.arange(1000, dtype=np.uint64), 8)
    silo.compact()
    pinned = silo.pin()
    for turn in range(3):
        write(silo, np.arange(1000 * turn, 1000 * turn + 2000, dtype=np.uint64), 8)
        silo.compact()
        silo.rewrite()
    silo.close()
    assert list(map(len, pinned.get_many(np.arange(1000)))) == [8] * 1000
    assert pinned.get(1000) is None


@pytest.mark.skipif(not GNU, reason="not the GNU C library")
def test_compactions_in_a_thread_leave_nothing_in_its_heap(silo):
    """Blocks, arenas and tables stayed in the heaps of maintenance and of the threads that work for it."""
    rng = np.random.default_rng(1)
    write(silo, np.arange(KEYS, dtype=np.uint64), 60)
    silo.compact()
    np.ones(30 * MIB, np.uint8)  # freed: from now on malloc keeps what is as large in its heaps
    give_back()
    before = resident()
    for _ in range(3):
        write(silo, rng.choice(KEYS, KEYS // 3, replace=False).astype(np.uint64), 60)
        in_a_thread(silo.compact, silo.rewrite)
        give_back()
    assert resident() < before + 9 * MIB
