"""CRC-32C against RFC 3720 and against its plain definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitdex.kernels import checksum
from bitdex.kernels.checksum import POLYNOMIAL, crc32c, crc32c_range

READ_COMMAND = bytes.fromhex(
    "01c00000 00000000 00000000 00000000 14000000 00000400"
    "00000014 00000018 28000000 00000000 02000000 00000000"
)
quick = settings(max_examples=100, derandomize=True, deadline=None)


def by_the_bit(data, crc=0):
    """Divide by the polynomial, one bit after the other."""
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (POLYNOMIAL if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
        (READ_COMMAND, 0xD9963A56),
    ],
)
def test_vectors_of_rfc_3720(data, expected):
    assert crc32c(data) == expected == by_the_bit(data)


@quick
@given(st.binary(max_size=60), st.integers(0, 2**32 - 1))
def test_it_equals_the_division(data, seed):
    assert crc32c(data, seed) == by_the_bit(data, seed)


@quick
@given(st.binary(max_size=40), st.binary(max_size=40))
def test_it_continues(first, second):
    assert crc32c(second, crc32c(first)) == crc32c(first + second)


@quick
@given(st.binary(max_size=60), st.data())
def test_a_range_is_the_range_and_nothing_else(data, draw):
    start = draw.draw(st.integers(0, len(data)))
    size = draw.draw(st.integers(0, len(data) - start))
    found = crc32c_range(np.frombuffer(data, np.uint8), start, size, np.uint32(0))
    assert found == by_the_bit(data[start : start + size])


@quick
@given(st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1))
def test_tables_and_instructions_agree(crc, word):
    """What machines without the instruction compute."""
    raw = word.to_bytes(8, "little")
    state = np.uint32(~np.uint32(crc))
    with np.errstate(over="ignore"):
        found = checksum._table_word(state, np.uint64(word))
        one = checksum._table_byte(state, np.uint8(raw[0]))
    assert ~np.uint32(found) == by_the_bit(raw, crc)
    assert ~np.uint32(one) == by_the_bit(raw[:1], crc)
