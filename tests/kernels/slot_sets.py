"""Sets of slots that reach every kind of Roaring container, for property tests."""

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from bitdex.kernels.jit import JIT_ENABLED

FEW, DENSE, RUN, RUNS, ENDS = range(5)
MAX_SLOT = 2**32 - 1

quick = settings(max_examples=60 if JIT_ENABLED else 5, derandomize=True, deadline=None)


def chunk_of(shape: int, seed: int) -> np.ndarray:
    """Return ascending low halves: an array, a bitset, one long run, many runs, or first and last."""
    rng = np.random.default_rng(seed)
    if shape == FEW:
        return np.unique(rng.integers(0, 65536, rng.integers(1, 50)))
    if shape == DENSE:
        return np.unique(rng.integers(0, 9000, 7000)) + rng.integers(0, 50000)
    if shape == RUN:
        return np.arange(rng.integers(1, 5000)) + rng.integers(0, 60000)
    if shape == RUNS:
        return np.flatnonzero(np.arange(9000) % rng.integers(4, 40) > 1)
    return np.array([0, 65535])


@st.composite
def slot_sets(draw: st.DrawFn, min_chunks: int = 0, max_chunks: int = 5) -> np.ndarray:
    """Draw ascending, distinct u32 slots in a few chunks, the first and the last among them."""
    keys = st.one_of(st.sampled_from([0, 1, 65535]), st.integers(0, 65535))
    chunks = draw(
        st.dictionaries(
            keys,
            st.tuples(st.integers(0, 4), st.integers(0, 2**16)),
            min_size=min_chunks,
            max_size=max_chunks,
        )
    )
    parts = [key << 16 | chunk_of(*chunks[key]) for key in sorted(chunks)]
    return np.concatenate([np.empty(0, np.int64), *parts]).astype(np.uint32)
