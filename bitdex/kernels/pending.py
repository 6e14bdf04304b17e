"""The table of operations that still lie in the logs: key -> its newest operation -> the one before.

`heads` is an open-addressing table (power-of-two capacity, int64, 0 = empty) of
operation number + 1; `previous` links each operation to the older one on the same key,
-1 ending the chain. Operations are numbered in sequence order.
"""

from typing import Any

import numpy as np

from bitdex.kernels.jit import device, i64, kernel, r_i64, r_u64, u64, w_i64, w_u64
from bitdex.kernels.memory import prefetch
from bitdex.kernels.records import DELETE, PUT, kind_of

_MIX = np.uint64(0x9E3779B97F4A7C15)
AHEAD = 16


@device
def _slot(key: Any, capacity: Any) -> Any:
    mixed = (key ^ (key >> np.uint64(32))) * _MIX
    return np.int64((mixed >> np.uint64(32)) & np.uint64(capacity - 1))


@device
def _newest(key: Any, keys: Any, heads: Any, previous: Any, limit: Any) -> Any:
    """Return the newest operation on a key below number `limit`, or -1."""
    capacity = len(heads)
    at = _slot(key, capacity)
    while heads[at] != 0:
        operation = heads[at] - 1
        if keys[operation] == key:
            while operation >= limit:
                operation = previous[operation]
            return operation
        at = (at + 1) & (capacity - 1)
    return -1


@kernel(r_u64, i64, i64, w_i64, w_i64)
def link_operations(keys: Any, lo: Any, hi: Any, heads: Any, previous: Any) -> None:
    """Enter the operations ``lo..hi``; the caller keeps `heads` at most half full."""
    capacity = len(heads)
    for i in range(lo, hi):
        if i + AHEAD < hi:
            prefetch(heads, _slot(keys[i + AHEAD], capacity))
        at = _slot(keys[i], capacity)
        while heads[at] != 0 and keys[heads[at] - 1] != keys[i]:
            at = (at + 1) & (capacity - 1)
        previous[i] = heads[at] - 1
        heads[at] = i + 1


@kernel(r_u64, r_u64, r_i64, r_i64, i64, w_i64, returns=i64)
def find_newest(wanted: Any, keys: Any, heads: Any, previous: Any, limit: Any, out: Any) -> Any:
    """Fill `out` with the newest operation below `limit` on each key, or -1; return how many have one."""
    capacity = len(heads)
    n = len(wanted)
    found = 0
    for i in range(n):
        if i + AHEAD < n:
            prefetch(heads, _slot(wanted[i + AHEAD], capacity))
        out[i] = _newest(wanted[i], keys, heads, previous, limit)
        found += out[i] >= 0
    return found


@kernel(u64, r_u64, r_i64, r_i64, i64, returns=i64)
def find_newest_of_one(key: Any, keys: Any, heads: Any, previous: Any, limit: Any) -> Any:
    """Return the newest operation below `limit` on one key, or -1."""
    return _newest(key, keys, heads, previous, limit)


@kernel(r_i64, r_i64, r_u64, w_i64, w_u64)
def measure_chains(latest: Any, previous: Any, words: Any, counts: Any, based: Any) -> None:
    """Count each record's pending frames after the last cut; `based` is 1 where the base still counts."""
    for i in range(len(latest)):
        at = latest[i]
        counts[i] = 0
        based[i] = np.uint64(1)
        while at >= 0:
            kind = kind_of(words[at])
            if kind == DELETE:
                based[i] = np.uint64(0)
                break
            counts[i] += 1
            if kind == PUT:
                based[i] = np.uint64(0)
                break
            at = previous[at]


@kernel(r_i64, r_i64, r_i64, r_i64, w_i64)
def list_chains(latest: Any, previous: Any, counts: Any, ends: Any, out: Any) -> None:
    """Write each record's pending operations, oldest first, so that they end before ``ends[i]`` in `out`."""
    for i in range(len(latest)):
        at = latest[i]
        for back in range(counts[i]):
            out[ends[i] - 1 - back] = at
            at = previous[at]
