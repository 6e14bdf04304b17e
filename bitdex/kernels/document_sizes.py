"""Bytes of documents by field (entries: `bitdex.formats.document`)."""

from typing import Any

import numpy as np

from bitdex.kernels.document_decode import entry_end
from bitdex.kernels.jit import i64, kernel, r_i64, r_u8, w_i64
from bitdex.kernels.memory import load16


@kernel(r_u8, r_i64, r_i64, i64, i64, w_i64, w_i64, returns=i64)
def add_field_sizes(data: Any, starts: Any, stops: Any, lo: Any, hi: Any, counts: Any, sizes: Any) -> Any:
    """Add the entries of the payloads ``data[starts[i]:stops[i]]``, lo <= i < hi, to those of their fields.

    `counts` and `sizes` (bytes) have a place for each of the 65,536 field ids. Returns -1, or the first
    payload that is damaged.
    """
    for i in range(lo, hi):
        at, stop = starts[i], stops[i]
        if at < 0 or stop > len(data):
            return np.int64(i)
        while at < stop:
            end = entry_end(data, at, stop)
            if end < 0:
                return np.int64(i)
            field = np.int64(load16(data, at))
            counts[field] += 1
            sizes[field] += end - at
            at = end
    return np.int64(-1)
