"""Entries of labels are found, packed and hashed as one after the other in Python."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitdex.kernels import labels as kernels
from bitdex.kernels.checksum import crc32c
from tests.kernels.slot_sets import quick

entries = st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.binary(max_size=40)))


def found(data: bytes, at: int, stop: int, count: int) -> tuple[int, list[tuple[int, int, bytes]]]:
    fields, numbers, places, sizes = (*np.zeros((2, count), np.uint32), *np.zeros((2, count), np.int64))
    end = kernels.find_entries(np.frombuffer(data, np.uint8), at, stop, count, fields, numbers, places, sizes)
    texts = [data[place : place + size] for place, size in zip(places.tolist(), sizes.tolist())]
    return int(end), list(zip(fields.tolist(), numbers.tolist(), texts))


@quick
@given(st.binary(max_size=9), entries, st.binary(max_size=9), st.data())
def test_entries_are_found(
    before: bytes, wanted: list[tuple[int, int, bytes]], behind: bytes, data: st.DataObject
) -> None:
    written = [struct.pack("<III", field, number, len(text)) + text for field, number, text in wanted]
    content = before + b"".join(written) + behind
    end = len(content) - len(behind)
    assert found(content, len(before), len(content), len(wanted)) == (end, wanted)
    if wanted:
        stop = data.draw(st.integers(len(before), end - 1))
        assert found(content, len(before), stop, len(wanted))[0] == -1


@pytest.mark.parametrize("size", [2**31, 2**32 - 1])
def test_a_size_beyond_the_end_is_none(size: int) -> None:
    assert found(struct.pack("<III", 1, 1, size) + b"text", 0, 16, 1)[0] == -1


@quick
@given(entries)
def test_texts_are_packed_and_hashed(wanted: list[tuple[int, int, bytes]]) -> None:
    texts, gaps = (
        [text for _, _, text in wanted],
        np.array([len(text) % 5 for _, _, text in wanted], np.int64),
    )
    data = np.frombuffer(b"".join(bytes(gap) + text for gap, text in zip(gaps.tolist(), texts)), np.uint8)
    offsets = np.concatenate(([0], np.cumsum([len(text) for text in texts]))).astype(np.int64)
    out, checksums = np.empty(offsets[-1], np.uint8), np.empty(len(texts), np.uint32)
    kernels.pack_texts(data, offsets[:-1] + np.cumsum(gaps), offsets, out)
    assert out.tobytes() == b"".join(texts)
    kernels.hash_texts(out, offsets, checksums)
    assert checksums.tolist() == list(map(crc32c, texts))
