"""Labels: entries of ``dictionaries.bin`` found, their texts packed and hashed.

::

    entry    field u4 | label u4 | size u4 | text    (`formats.dictionary`)
    packed   text 0 | text 1 | ...                   text i is data[offsets[i]:offsets[i + 1]]
"""

from typing import Any

import numpy as np

from bitdex.kernels.checksum import crc_update
from bitdex.kernels.jit import i64, kernel, r_i64, r_u8, w_i64, w_u8, w_u32
from bitdex.kernels.memory import copy, load32

ENTRY = 12


@kernel(r_u8, i64, i64, i64, w_u32, w_u32, w_i64, w_i64, returns=i64)
def find_entries(
    data: Any, at: Any, stop: Any, count: Any, fields: Any, labels: Any, places: Any, sizes: Any
) -> Any:
    """Return where `count` entries from `at` on end, or -1 if they go beyond `stop`; tell what they have."""
    for i in range(count):
        if stop - at < ENTRY:
            return np.int64(-1)
        fields[i], labels[i] = load32(data, at), load32(data, at + 4)
        size = np.int64(load32(data, at + 8))
        at += ENTRY
        if stop - at < size:
            return np.int64(-1)
        places[i], sizes[i] = at, size
        at += size
    return np.int64(at)


@kernel(r_u8, r_i64, r_i64, w_u8)
def pack_texts(data: Any, places: Any, offsets: Any, out: Any) -> None:
    """Write texts that begin at `places` one behind the other."""
    for i in range(len(places)):
        size = offsets[i + 1] - offsets[i]
        copy(out, offsets[i], data, places[i], size)


@kernel(r_u8, r_i64, w_u32)
def hash_texts(data: Any, offsets: Any, out: Any) -> None:
    """Write the CRC-32C of each of the packed texts."""
    for i in range(len(offsets) - 1):
        state = crc_update(np.uint32(0xFFFFFFFF), data, offsets[i], offsets[i + 1] - offsets[i])
        out[i] = np.uint32(~state)
