"""Containers of Roaring payloads: how many of each kind there are, what they take, where they lie."""

from typing import Any

import numpy as np

from bitdex.kernels.jit import i64, kernel, r_i64, r_u8, w_i64
from bitdex.kernels.roaring import container, open_payload


@kernel(r_u8, r_i64, r_i64, i64, i64, w_i64, w_i64, returns=i64)
def measure_containers(data: Any, starts: Any, stops: Any, lo: Any, hi: Any, counts: Any, sizes: Any) -> Any:
    """Count the arrays, bitsets and runs of the payloads ``data[starts[i]:stops[i]]``, lo <= i < hi.

    ``counts[3 * i + kind]`` receives how many there are, ``sizes[3 * i + kind]`` their bytes, with the kinds
    of `kernels.roaring`. Returns -1, or the first payload that is not one bitmap.
    """
    for i in range(lo, hi):
        counts[3 * i : 3 * i + 3] = 0
        sizes[3 * i : 3 * i + 3] = 0
        containers, bits, descriptors, at = open_payload(data, starts[i], stops[i])
        if containers < 0:
            return np.int64(i)
        for index in range(containers):
            _, kind, _, end = container(data, bits, descriptors, index, at, stops[i])
            if end < 0:
                return np.int64(i)
            counts[3 * i + kind] += 1
            sizes[3 * i + kind] += end - at
            at = end
        if at != stops[i]:
            return np.int64(i)
    return np.int64(-1)


@kernel(r_u8, i64, i64, w_i64, returns=i64)
def list_containers(data: Any, start: Any, stop: Any, out: Any) -> Any:
    """Write key, kind, count, begin and end of each container of the payload ``data[start:stop]``.

    ``out`` has five places for each container that `measure_containers` has counted. Returns how many there
    are, or a fault.
    """
    containers, bits, descriptors, at = open_payload(data, start, stop)
    for index in range(containers):
        key, kind, count, end = container(data, bits, descriptors, index, at, stop)
        if end < 0:
            return end
        place = 5 * index
        out[place], out[place + 1], out[place + 2] = key, kind, count
        out[place + 3], out[place + 4] = at, end
        at = end
    return containers
