"""The long form of the fuzz: mutation, repair and parsing in one compiled loop, a million inputs a second.

A loop is made for each format from two functions, `repair` and `parse`, on the bytes of an input and
on scratch that all inputs share. `parse` returns 1 for what was taken and 0 for what was refused. An
access outside of an array raises IndexError, since the loops run with bounds checks; the number
of the input is in `place` then. Without a compiler the same functions are plain Python.
"""

import numpy as np

from bitdex.kernels.jit import JIT_ENABLED
from tests.fuzz import loop_parsers as parsers
from tests.fuzz.index_targets import Tables
from tests.fuzz.loop_parsers import SCRATCH, compiled
from tests.fuzz.mutation import EDGES, STRETCH
from tests.fuzz.silo_targets import Frames, Regions
from tests.fuzz.text_targets import Integers, Rows
from tests.fuzz.value_targets import Bitmaps, Documents, Layers

ROOM = 1 << 15  # bytes of an input, at most
_GOLDEN, _FIRST = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


@compiled
def draw(state, stop):
    """Return a random number below `stop`."""
    state[0] += _GOLDEN
    mixed = state[0]
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _FIRST
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _SECOND
    return np.int64((mixed ^ (mixed >> np.uint64(31))) % np.uint64(stop))


@compiled
def _replace(fields, first, stop, state, size, data):
    """Put an edge value, or one near the input's size, into a field or anywhere."""
    at, width = draw(state, size), 1 << draw(state, 4)
    if stop > first and draw(state, 4):
        field = first + draw(state, stop - first)
        at, width = fields[2 * field], fields[2 * field + 1]
    value = EDGES[draw(state, len(EDGES))]
    if draw(state, 4) == 0:
        value = np.uint64(size - at + draw(state, 60) - 30)
    for k in range(min(width, ROOM - at)):
        data[at + k] = np.uint8((value >> np.uint64(8 * k)) & np.uint64(0xFF))


@compiled
def _move(samples, bounds, state, size, data):
    """Overwrite a stretch with one of a sample, put it in, or take one out; return the new size."""
    sample = draw(state, len(bounds) - 1)
    start = bounds[sample] + draw(state, bounds[sample + 1] - bounds[sample])
    length = min(1 + draw(state, STRETCH), bounds[sample + 1] - start)
    at, kind = draw(state, size), draw(state, 3)
    if kind == 0:
        length = min(length, size - at)
        for k in range(at, size - length):
            data[k] = data[k + length]
        return size - length
    if size + length > ROOM:
        return size
    if kind == 1:
        for k in range(size - 1, at - 1, -1):
            data[k + length] = data[k]
        size += length
    for k in range(length):
        data[at + k] = samples[start + k]
    return max(size, at + length)


@compiled
def mutate(samples, bounds, fields, field_bounds, seed, number, state, data):
    """Write the input of this number; return its size."""
    state[0] = np.uint64(seed) * _FIRST ^ np.uint64(number) * _SECOND
    sample = draw(state, len(bounds) - 1)
    size = bounds[sample + 1] - bounds[sample]
    for k in range(size):
        data[k] = samples[bounds[sample] + k]
    for _ in range(1 + draw(state, 8) // 6):  # mostly one change: what is much damaged is refused early
        kind = draw(state, 7) if size else 6
        if kind == 0:
            data[draw(state, size)] ^= np.uint8(1 << draw(state, 8))
        elif kind <= 2:
            _replace(fields, field_bounds[sample], field_bounds[sample + 1], state, size, data)
        elif kind == 3:
            size = draw(state, size)
        elif kind <= 5:
            size = _move(samples, bounds, state, size, data)
        else:
            more = min(1 + draw(state, STRETCH), ROOM - size)
            for k in range(size, size + more):
                data[k] = draw(state, 256)
            size += more
    return size


class Loop:
    """The loop of one format, its samples and scratch."""

    compiled = JIT_ENABLED

    def __init__(self, target, repair, parse, skip=0):
        samples = target().samples()
        contents = [one.content[skip:] for one in samples]
        self.samples = np.frombuffer(b"".join(contents), np.uint8)
        self.bounds = np.cumsum([0, *map(len, contents)])
        fields = [[(at - skip, size) for at, size in one.fields if at >= skip] for one in samples]
        self.fields = np.array([number for part in fields for field in part for number in field], np.int64)
        self.field_bounds = np.cumsum([0, *map(len, fields)])
        self._arguments = (self.samples, self.bounds, self.fields, self.field_bounds)
        self._run = _looping(repair, parse)
        self._scratch = (
            np.zeros(ROOM, np.uint8),
            np.zeros(1, np.uint64),
            np.zeros(SCRATCH, np.uint64),
            np.zeros(SCRATCH, np.int64),
            np.zeros(4 * SCRATCH, np.uint8),
        )

    def run(self, seed, first, stop, place):
        """Feed the inputs with these numbers; return how many were taken."""
        with np.errstate(over="ignore"):
            return int(self._run(*self._arguments, seed, first, stop, place, *self._scratch))

    def input(self, seed, number):
        """Return one input, before checksums were made right in it."""
        data = np.zeros(ROOM, np.uint8)
        with np.errstate(over="ignore"):
            return data[: mutate(*self._arguments, seed, number, np.zeros(1, np.uint64), data)]


def _looping(repair, parse):
    @compiled
    def run(
        samples, bounds, fields, field_bounds, seed, first, stop, place, data, state, words, numbers, octets
    ):
        taken = 0
        for number in range(first, stop):
            place[0] = number
            size = mutate(samples, bounds, fields, field_bounds, seed, number, state, data)
            if number & 1:
                repair(data, 0, size)
            taken += parse(data[:size], words, numbers, octets)
        return taken

    return run


LOOPS = {
    "frame": (Frames, parsers.repair_frames, parsers.parse_frames),
    "data.bin": (Regions, parsers.repair_regions, parsers.parse_regions),
    "index.bin": (Tables, parsers.nothing, parsers.parse_table, 64),
    "document": (Documents, parsers.nothing, parsers.parse_document),
    "bitmap": (Bitmaps, parsers.nothing, parsers.parse_bitmap),
    "layers": (Layers, parsers.nothing, parsers.parse_layers),
    "integer csv": (Integers, parsers.nothing, parsers.parse_text),
    "csv rows": (Rows, parsers.nothing, parsers.parse_rows),
}
