"""Mutation: samples of a format with bits flipped, lengths replaced, ends cut, stretches moved about.

Inputs are made many at a time, in NumPy, and follow from a seed, the number of the batch, its size and
the samples alone, so that any of them can be made again.
"""

from dataclasses import dataclass

import numpy as np

STEPS = 3  # changes to an input, at most
STRETCH = 96  # bytes that are moved at a time, at most

_EDGES = [0, 1, 2, 3, 7, 8, 23, 24, 25, 63, 64, 127, 128, 254, 255, 256, 4095, 4096, 4097, 8192]
_EDGES += [2**15 - 1, 2**15, 2**16 - 1, 2**16, 2**31 - 24, 2**31 - 1, 2**31, 2**32 - 64, 2**32 - 8]
_EDGES += [2**32 - 1, 2**47, 2**48, 2**62, 2**63 - 24, 2**63 - 1, 2**63, 2**64 - 24, 2**64 - 8, 2**64 - 1]
EDGES = np.array(_EDGES, np.uint64)


@dataclass(frozen=True)
class Sample:
    """Sound bytes of a format, and the places (offset, size) of lengths, counts and flags in them."""

    content: bytes
    fields: tuple = ()


class Mutator:
    """Makes inputs out of samples."""

    def __init__(self, samples, batch):
        self._batch = batch
        self._lengths = np.array([len(one.content) for one in samples])
        self._width = 2 * int(self._lengths.max()) + STRETCH
        self._contents = np.zeros((len(samples), self._width), np.uint8)
        for row, one in zip(self._contents, samples):
            row[: len(one.content)] = np.frombuffer(one.content, np.uint8)
        most = max(1, *(len(one.fields) for one in samples))
        self._fields = np.zeros((len(samples), most, 2), np.int64)
        self._field_counts = np.array([len(one.fields) for one in samples])
        for row, one in zip(self._fields, samples):
            row[: len(one.fields)] = np.array(one.fields, np.int64).reshape(-1, 2)

    def batch(self, seed, number):
        """Return the inputs of a batch, each an array of its own bytes."""
        rng = np.random.default_rng([seed, number])
        which = rng.integers(0, len(self._contents), self._batch)
        data, lengths = self._contents[which], self._lengths[which].copy()
        kinds = (self._flip, self._replace, self._replace, self._cut, self._grow, self._copy, self._insert)
        for step in range(STEPS):
            chosen = rng.integers(
                0, len(kinds) * (1 + 2 * step), self._batch
            )  # later ones are left out more often
            for kind, change in enumerate(kinds):
                rows = np.flatnonzero((chosen == kind) & (lengths > 0))
                if len(rows):
                    change(rng, data, lengths, rows, which[rows])
        return [row[:length] for row, length in zip(data, lengths)]

    def _flip(self, rng, data, lengths, rows, which):
        data[rows, rng.integers(0, lengths[rows])] ^= np.uint8(1) << rng.integers(0, 8, len(rows), np.uint8)

    def _replace(self, rng, data, lengths, rows, which):
        """Put an edge value, or one near the input's length, into a field or anywhere."""
        sizes = rng.choice([1, 2, 4, 8], len(rows))
        places = rng.integers(0, lengths[rows])
        fields = self._fields[which, rng.integers(0, np.maximum(self._field_counts[which], 1))]
        chosen = (self._field_counts[which] > 0) & (rng.integers(0, 4, len(rows)) > 0)
        places, sizes = np.where(chosen, fields[:, 0], places), np.where(chosen, fields[:, 1], sizes)
        near = (lengths[rows] - places + rng.integers(-30, 30, len(rows))).astype(np.uint64)
        values = np.where(rng.integers(0, 4, len(rows)) > 0, rng.choice(EDGES, len(rows)), near)
        self._put(data, rows, places, values.view(np.uint8).reshape(-1, 8), sizes)

    def _cut(self, rng, data, lengths, rows, which):
        lengths[rows] = rng.integers(0, lengths[rows])

    def _grow(self, rng, data, lengths, rows, which):
        """Put random bytes behind the end."""
        more = rng.integers(1, STRETCH, len(rows))
        tail = rng.integers(0, 256, (len(rows), STRETCH), np.uint8)
        self._put(data, rows, lengths[rows], tail, more)
        lengths[rows] = np.minimum(lengths[rows] + more, self._width)

    def _copy(self, rng, data, lengths, rows, which):
        """Overwrite a stretch with one of any sample."""
        stretches, sizes = self._stretches(rng, len(rows))
        self._put(data, rows, rng.integers(0, lengths[rows]), stretches, sizes)

    def _insert(self, rng, data, lengths, rows, which):
        """Take a stretch out, or put one of the input in once more, and move what follows."""
        sizes = rng.integers(1, STRETCH, len(rows))
        removed = rng.integers(0, 2, len(rows)) == 1
        places, sources = (rng.integers(0, lengths[rows])[:, None] for _ in range(2))
        columns, moved = np.arange(self._width)[None, :], np.where(removed, -sizes, sizes)[:, None]
        inside = ~removed[:, None] & (columns < places + moved)
        index = np.where(
            columns < places, columns, np.where(inside, sources + columns - places, columns - moved)
        )
        data[rows] = np.take_along_axis(data[rows], np.clip(index, 0, self._width - 1), axis=1)
        lengths[rows] = np.clip(lengths[rows] + moved[:, 0], 0, self._width)

    def _stretches(self, rng, count):
        which = rng.integers(0, len(self._contents), count)
        starts = rng.integers(0, self._lengths[which] + 1)
        columns = np.minimum(starts[:, None] + np.arange(STRETCH), self._width - 1)
        return np.take_along_axis(self._contents[which], columns, axis=1), rng.integers(1, STRETCH, count)

    def _put(self, data, rows, places, content, sizes):
        columns = places[:, None] + np.arange(content.shape[1])
        wanted = (np.arange(content.shape[1]) < sizes[:, None]) & (columns < self._width)
        line, column = np.nonzero(wanted)
        data[rows[line], columns[wanted]] = content[line, column]
