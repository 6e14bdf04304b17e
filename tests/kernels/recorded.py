"""Recorded calls: what kernels were given and what they made of it, to be repeated in another mode.

While a `Recorder` is active every kernel that is called, from whatever part of the package, goes
through it. It keeps the arguments as they were before the call, and what the call left behind:
the arrays that the kernel may write to, and the result. `differences` repeats such calls in a
process of its own, where Numba checks bounds or does not compile at all.
"""

import importlib
import pickle
import pkgutil
import random
import threading
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

import bitdex.kernels
from bitdex import filesystem
from bitdex.kernels import jit

LARGEST = 1 << 22  # bytes of arguments; larger calls are recorded only if there is no other


def all_kernels():
    """Return every kernel under the name that it has in its module."""
    found = {}
    for info in pkgutil.iter_modules(bitdex.kernels.__path__):
        module = importlib.import_module(f"bitdex.kernels.{info.name}")
        for name, value in vars(module).items():
            if isinstance(value, jit.Kernel) and value.__module__ == module.__name__:
                found[f"{info.name}.{name}"] = value
    assert len(found) == len(jit.registry)
    return found


KERNELS = all_kernels()
NAMES = {id(kernel): name for name, kernel in KERNELS.items()}


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a kernel: its arguments before, its arrays afterwards (None for scalars), its result."""

    name: str
    given: list
    left: list
    result: object


class Recorder:
    """Keeps `most` calls of each kernel, drawn evenly from all of them.

    Meanwhile kernels take turns, also with writes to files, which somebody may have mapped.
    """

    def __init__(self, most, seed):
        self.calls = {name: [] for name in KERNELS}
        self.seen = Counter()
        self._most, self._random = most, random.Random(seed)
        self.turn = threading.RLock()
        self._contents = {}

    def __enter__(self):
        self._plain_call = plain_call = jit.Kernel.__call__
        self._plain_write = plain_write = filesystem.write_at

        def write_at(*arguments):
            with self.turn:
                plain_write(*arguments)

        jit.Kernel.__call__ = lambda kernel, *arguments: self._take(plain_call, kernel, arguments)
        filesystem.write_at = write_at
        return self

    def __exit__(self, *exception):
        jit.Kernel.__call__ = self._plain_call
        filesystem.write_at = self._plain_write

    def _take(self, call, kernel, arguments):
        name = NAMES[id(kernel)]
        with self.turn:  # what others write meanwhile would be taken for this kernel's work
            place = self._place(name, sum(one.nbytes for one in arguments if isinstance(one, np.ndarray)))
            if place is None:
                return call(kernel, *arguments)
            given = [self._stored(one) for one in arguments]
            result = call(kernel, *arguments)
            left = [self._stored(one) if isinstance(one, np.ndarray) else None for one in arguments]
            self.calls[name][place : place + 1] = [Call(name, given, left, result)]
            return result

    def _place(self, name, size):
        """Return where to keep a call, or None to leave it out (reservoir sampling)."""
        kept = len(self.calls[name])
        if size > LARGEST and kept:
            return None
        self.seen[name] += 1
        if kept < self._most:
            return kept
        place = self._random.randrange(self.seen[name])
        return place if place < self._most else None

    def _stored(self, argument):
        if not isinstance(argument, np.ndarray):
            return argument
        content = pa.compress(argument.tobytes(), "lz4", asbytes=True)
        content = self._contents.setdefault(content, content)  # many calls are given the same
        return Stored(argument.dtype, argument.nbytes, content)

    def save(self, path):
        """Write the calls to a file for `differences`; return their number."""
        calls = [call for kept in self.calls.values() for call in kept]
        path.write_bytes(pickle.dumps(calls, pickle.HIGHEST_PROTOCOL))
        return len(calls)


@dataclass(frozen=True, slots=True)
class Stored:
    """An array as it was, compressed: scratch space and the room behind frames are mostly zeros."""

    dtype: np.dtype
    size: int
    content: bytes

    def array(self):
        """Return a new array that may be written to."""
        return np.frombuffer(bytearray(pa.decompress(self.content, self.size, "lz4")), self.dtype)


def _restored(stored):
    return stored.array() if isinstance(stored, Stored) else stored


def differences(path):
    """Repeat the calls in a file that this test has written; describe those that end otherwise."""
    calls = pickle.loads(path.read_bytes())
    return [f"{call.name}: {what}" for call in calls for what in _repeat(call)]


def _repeat(call):
    arguments, left = (list(map(_restored, one)) for one in (call.given, call.left))
    try:
        result = KERNELS[call.name](*arguments)
    except Exception as error:  # whatever it is, the recorded call did not raise it
        return [f"{type(error).__name__}: {error}; given {arguments!r:.500}"]
    found = [
        f"argument {number} is {one!r:.200}, expected {expected!r:.200}"
        for number, (one, expected) in enumerate(zip(arguments, left))
        if isinstance(expected, np.ndarray) and one.tobytes() != expected.tobytes()
    ]
    if (result is None) != (call.result is None) or (result is not None and int(result) != int(call.result)):
        found.append(f"returns {result!r}, expected {call.result!r}")
    return found
