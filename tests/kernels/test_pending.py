"""The table of pending operations against a dict of lists."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bitdex.formats import frame
from bitdex.kernels import pending
from tests.kernels.frame_store import u64

PUT, MERGE, DELETE = frame.PUT, frame.MERGE, frame.DELETE
quick = settings(max_examples=100, derandomize=True, deadline=None)
keys = st.one_of(st.integers(0, 4), st.sampled_from([2**63, 2**64 - 1]), st.integers(0, 2**64 - 1))
operations = st.lists(st.tuples(keys, st.sampled_from([PUT, MERGE, DELETE])), max_size=30)


def link(ops, cuts=()):
    """Return heads and links of operations that were entered in pieces."""
    wanted = u64(key for key, _ in ops)
    heads, previous = np.zeros(64, np.int64), np.empty(32, np.int64)
    edges = [0, *sorted(cuts), len(ops)]
    for lo, hi in pairwise(edges):
        pending.link_operations(wanted, lo, hi, heads, previous)
    return wanted, heads, previous


def chain(ops, key):
    """Return the pending frames of a key after its last cut, oldest first, and whether its base counts."""
    numbers, based = [], True
    for number, (other, kind) in enumerate(ops):
        if other == key:
            if kind != MERGE:
                numbers, based = [], False
            numbers += [number] if kind != DELETE else []
    return numbers, based


@quick
@given(operations, st.lists(st.integers(0, 30), max_size=3))
def test_chains_equal_the_operations_of_each_key(ops, cuts):
    wanted, heads, previous = link(ops, [min(cut, len(ops)) for cut in cuts])
    asked = u64(sorted({key for key, _ in ops} | {5, 2**64 - 2}))
    latest = np.empty(len(asked), np.int64)
    found = pending.find_newest(asked, wanted, heads, previous, len(ops), latest)
    newest = {key: number for number, (key, _) in enumerate(ops)}
    assert latest.tolist() == [newest.get(int(key), -1) for key in asked]
    assert found == len(newest)
    words = u64(frame.order(1, kind) for _, kind in ops)
    counts, based = np.empty(len(asked), np.int64), np.empty(len(asked), np.uint64)
    pending.measure_chains(latest, previous, words, counts, based)
    chains = [chain(ops, int(key)) for key in asked]
    assert counts.tolist() == [len(numbers) for numbers, _ in chains]
    assert based.astype(bool).tolist() == [counts_ for _, counts_ in chains]
    ends = np.cumsum(counts)
    out = np.full(int(counts.sum()), -9, np.int64)
    pending.list_chains(latest, previous, counts, ends, out)
    assert out.tolist() == [number for numbers, _ in chains for number in numbers]


def test_structured_keys_do_not_pile_up():
    """Entering 2^16 keys of one pattern takes about as many steps as random ones (defect 32)."""
    count = 1 << 14
    rng = np.random.default_rng(1)
    patterns = [np.arange(count, dtype=np.uint64) << np.uint64(shift) for shift in (0, 8, 16, 20, 32, 47)]
    for wanted in [*patterns, rng.integers(0, 2**64, count, np.uint64)]:
        heads, previous = np.zeros(4 * count, np.int64), np.empty(count, np.int64)
        pending.link_operations(wanted, 0, count, heads, previous)
        runs = np.diff(np.flatnonzero(np.concatenate(([True], heads == 0, [True]))))
        assert runs.max() < 200
