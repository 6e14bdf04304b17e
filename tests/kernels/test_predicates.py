"""The loop over a user's function does compiled what it does in plain Python, and what its values say."""

import numpy as np
import pytest

from bitdex.formats.bitmap import to_ordered
from bitdex.kernels.jit import JIT_ENABLED
from bitdex.kernels.predicates import WORDS, checked, loop_of, value_at, values_at

VALUES = {
    "boolean": np.array([True, False]),
    "integer": np.array([0, -1, 1, -(2**63), 2**63 - 1, 77]),
    "float": np.array([0.0, -0.0, 1.5, -1.5, 1e300, -1e300, 5e-324, np.inf, -np.inf]),
}


def forms(values):
    """Return columns in each form that values can have."""
    if values.dtype == bool:
        return [values.astype(np.uint8)]
    if values.dtype.kind == "f":
        return [to_ordered(values).view(np.float64)]
    natural = values[values >= 0]
    return [to_ordered(values).view(np.int64), natural.astype(np.uint64), natural.astype(np.uint32)]


@pytest.mark.parametrize("kind", VALUES)
def test_values_come_back(kind):
    for column in forms(VALUES[kind]):
        found = [value_at(column, i) for i in range(len(column))]
        wanted = VALUES[kind] if len(found) == len(VALUES[kind]) else VALUES[kind][VALUES[kind] >= 0]
        wanted = wanted.astype(column.dtype) if column.dtype == np.uint32 else wanted
        assert found == wanted.tolist() and type(found[0]) is type(wanted.tolist()[0])
        assert values_at((column, column), 0) == (found[0], found[0])


def told(a, b, c):
    return (a > 3 or c) and b < 0.5


def reference(columns, words, keys, lo, hi, out):
    for i in range(lo, hi):
        kept = 0
        for j in range(64):
            position = int(keys[i // WORDS]) * 65536 + 64 * (i % WORDS) + j
            if int(words[i]) >> j & 1 and told(*(value_at(column, position) for column in columns)):
                kept |= 1 << j
        out[i] = kept


@pytest.mark.parametrize("seed", range(4))
def test_the_loop_is_its_plain_definition(seed):
    rng = np.random.default_rng(seed)
    keys = np.array([0, 2])
    size = 3 * 65536
    numbers = rng.integers(-9, 9, size)
    columns = (
        [to_ordered(numbers).view(np.int64), np.abs(numbers).astype(np.uint32), np.abs(numbers).astype("u8")][
            seed % 3
        ],
        to_ordered(rng.normal(size=size)).view(np.float64),
        rng.integers(0, 2, size).astype(np.uint8),
    )
    words = rng.integers(0, 2**64, 2 * WORDS, np.uint64)
    words[rng.integers(0, len(words), 900)] = 0
    words[5], words[WORDS] = ~np.uint64(0), 1
    function = checked(told, ("integer", "float", "boolean"))
    lo, hi = 3, WORDS + 40
    outs = [np.full(len(words), 7, np.uint64) for _ in range(3)]
    loop = loop_of(function)
    loop(columns, words, keys, lo, hi, outs[0])
    reference(columns, words, keys, lo, hi, outs[1])
    assert outs[0].tolist() == outs[1].tolist() and (outs[0][:lo] == 7).all() and (outs[0][hi:] == 7).all()
    if JIT_ENABLED:
        plain = loop_of(told)  # not compiled: the same source
        plain.py_func(columns, words, keys, lo, hi, outs[2])
        assert outs[2].tolist() == outs[1].tolist()
