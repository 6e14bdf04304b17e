"""Bins: the edges of a histogram, from a number of bins, a length of time, or as they are given.

Edges of integers are whole numbers where float64 cannot tell them apart. Times are whole seconds: a bin
that begins between two begins with the later one.
"""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from bitdex.analysis.members import Members
from bitdex.analysis.team import share
from bitdex.errors import InvalidError
from bitdex.kernels import members as kernels
from bitdex.kernels.jit import THREADS
from bitdex.schema import Field

if TYPE_CHECKING:
    import pandas as pd

MOST = 100_000
EXACT = 1 << 53  # from which on float64 leaves out integers
BUCKETS = 14  # bits of a value by which its bin is looked up
PER_VALUE = 3.0  # nanoseconds


def edges_of(field: Field, bins: Any, least: Any, greatest: Any) -> tuple[np.ndarray, "pd.Index"]:
    """Return ascending edges, one more than there are bins, and the bins as an index."""
    import pandas as pd

    if isinstance(bins, str):
        return _times(field, bins, least, greatest)
    if isinstance(bins, int | np.integer) and not isinstance(bins, bool):
        if not 1 <= bins <= MOST:
            raise InvalidError(f"bins: {bins} is no number of bins from 1 to {MOST:,}")
        if not (math.isfinite(least) and math.isfinite(greatest)):
            raise InvalidError(f"field {field.name!r} goes from {least} to {greatest}; give edges as bins")
        edges = _even(least, greatest, int(bins))
    else:
        edges = _given(bins)
    return edges, pd.IntervalIndex.from_breaks(edges, closed="left")


def count_bins(found: Members, values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return how many of ``values[slot]`` (u32 or u64) lie in each bin, edge to edge (u64, ascending)."""
    looked_up = _looked_up(edges)
    counts = np.zeros((THREADS, len(edges) - 1), np.int64)
    kernel = kernels.bin32 if values.itemsize == 4 else kernels.bin64

    def work(thread: int, slots: np.ndarray, lo: int, hi: int) -> None:
        kernel(slots, lo, hi, values, edges, *looked_up, counts[thread])

    found.each_slot(len(values), PER_VALUE, work)
    return counts.sum(axis=0)


def code_bins(slots: np.ndarray, values: np.ndarray, edges: np.ndarray, codes: np.ndarray) -> None:
    """Write to ``codes[slot]`` (u8 or u16) which bin its value lies in, from 1 on; 0 outside of all."""
    looked_up = _looked_up(edges)
    kernel: Any = getattr(kernels, f"code{8 * codes.itemsize}_{8 * values.itemsize}")

    def work(_: int, lo: int, hi: int) -> None:
        kernel(slots, lo, hi, values, edges, *looked_up, codes)

    share(len(slots), PER_VALUE * len(slots), work)


def _looked_up(edges: np.ndarray) -> tuple[np.uint64, np.ndarray, bool]:
    """Return how far values are shifted, the first bin of each that comes of it, and if it is one of two."""
    span = int(edges[-1] - edges[0])
    narrowest = int(np.diff(edges).min())
    shift = np.uint64(max(0, span.bit_length() - BUCKETS, narrowest.bit_length() - 1))
    steps = np.arange((span >> int(shift)) + 1, dtype=np.uint64) << shift
    table = np.searchsorted(edges - edges[0], steps, "right") - 1
    table = np.minimum(np.append(table, len(edges) - 2), len(edges) - 2)
    fine = bool(np.diff(table).max() <= 1)
    return shift, table, fine


def _even(least: Any, greatest: Any, bins: int) -> np.ndarray:
    """Return edges from the least to the greatest value, as far from each other as they can be."""
    if isinstance(least, float) or max(abs(least), abs(greatest)) < EXACT:
        low, high = (least, greatest) if least < greatest else (least - 0.5, greatest + 0.5)
        return np.linspace(float(low), float(high), bins + 1)
    if least == greatest:  # one more, towards 0
        least, greatest = least - (least > 0), greatest + (least < 0)
    edges = [least - i * (least - greatest) // bins for i in range(bins + 1)]
    return np.array(edges, np.int64 if greatest <= np.iinfo(np.int64).max else np.uint64)


def _given(bins: Any) -> np.ndarray:
    try:
        edges = np.asarray(bins)
        sound = edges.ndim == 1 and edges.dtype.kind in "iuf" and 2 <= len(edges) <= MOST + 1
        sound = sound and not np.isnan(edges).any() and bool((edges[1:] > edges[:-1]).all())
    except (ValueError, TypeError):
        sound = False
    if not sound:
        raise InvalidError(
            f"bins: {bins!r:.80} are no edges; give a number, a length of time such as '1D', or two or "
            "more ascending numbers"
        )
    return edges


def _times(field: Field, length: str, least: Any, greatest: Any) -> tuple[np.ndarray, "pd.Index"]:
    import pandas as pd

    if field.kind != "integer":
        raise InvalidError(f"bins: {length!r} is a length of time; field {field.name!r} is a {field.kind}")
    try:
        offset = pd.tseries.frequencies.to_offset(length)
        if offset.n <= 0:
            raise ValueError
        first, last = pd.Timestamp(least, unit="s"), pd.Timestamp(greatest, unit="s")
        try:
            begin = first.floor(length)
        except ValueError:  # months and weeks have no one length
            begin = offset.rollback(first.normalize())
        steps = (last - begin) / (begin + offset - begin)
        if not 0 <= steps <= MOST:
            raise InvalidError(f"bins: {length!r} makes {steps:,.0f} bins; at most {MOST:,}")
        times = pd.date_range(begin, last, freq=offset)
        end = times[-1] + offset
    except InvalidError:
        raise
    except (ValueError, OverflowError, AttributeError):
        raise InvalidError(
            f"bins: {length!r} is no length of time that divides field {field.name!r} from {least} to "
            f"{greatest}; give '1D', 'h', 'MS' (pandas' names), for seconds since 1970"
        ) from None
    begins = pd.DatetimeIndex(times.append(pd.DatetimeIndex([end])))
    edges = begins.ceil("s").as_unit("s").asi8
    return edges, pd.DatetimeIndex(np.asarray(times))
