"""Random numbers, distributions and texts for the sample, the same everywhere.

Numbers come from the raw stream of a Philox generator keyed by (seed, block) and go through tables
made of + - * / only, so that they depend neither on the version of NumPy nor on the CPU.
"""

import numpy as np
import pyarrow as pa


class Draws:
    """Random numbers of one block, from a stream that NumPy promises never to change."""

    def __init__(self, seed: int, block: int) -> None:
        self._philox = np.random.Philox(key=np.array([seed, block], np.uint64))

    def raw(self, count: int) -> np.ndarray:
        return self._philox.random_raw(count)

    def unit(self, count: int) -> np.ndarray:
        return (self.raw(count) >> np.uint64(11)) * 2.0**-53

    def below(self, limit: int, count: int) -> np.ndarray:
        return (self.raw(count) % np.uint64(limit)).astype(np.int64)

    def chance(self, probability: float, count: int) -> np.ndarray:
        return self.unit(count) < probability

    def permutation(self, count: int) -> np.ndarray:
        return np.argsort(self.raw(count), kind="stable")

    def tail(self, scale: float, limit: int, count: int) -> np.ndarray:
        """Counts whose probability falls with 1/k^2."""
        return np.minimum(scale / (1.0 - self.unit(count)) - scale, limit).astype(np.int64)


class Choice:
    """A discrete distribution: unit draws to codes."""

    def __init__(self, weights: np.ndarray | list[float]) -> None:
        cumulated = np.cumsum(weights)
        self._cumulated = cumulated / cumulated[-1]

    def __call__(self, units: np.ndarray) -> np.ndarray:
        return np.searchsorted(self._cumulated, units, side="right")


def zipf(count: int, flatness: float) -> Choice:
    """Return the Zipf-Mandelbrot distribution over `count` ranks."""
    return Choice(1.0 / (np.arange(count) + flatness))


def strings(characters: np.ndarray) -> pa.Array:
    """Make texts of one width from an (n, width) array of bytes."""
    count, width = characters.shape
    offsets = np.arange(count + 1, dtype=np.int32) * np.int32(width)
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(characters.tobytes()))


def labels(names: list[str], codes: np.ndarray, missing: np.ndarray | None = None) -> pa.Array:
    """Make texts from codes."""
    return pa.array(names).take(pa.array(codes, mask=missing))
