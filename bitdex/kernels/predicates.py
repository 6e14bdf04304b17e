"""Predicates: a function of numbers that a user wrote, compiled into a loop over the members of a set.

::

    words      which positions take part, u64: bit j of word i is position 64 i + j of its chunk
    keys       the chunk of each 1,024 words: its positions begin at 65,536 x key
    columns    the values of one field each, by position; the dtype tells their form
    out        the words again, without the members that the function says no to

    dtype      holds                                    the function gets
    u8         booleans                                 bool
    u32, u64   unsigned values                          int64
    i64        signed values, their highest bit turned  int64
    f64        floats in order-preserving form          float64

These forms are those of `formats.bitmap`, so that sort columns are handed over as they are.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from numba import types
from numba.core.errors import NumbaError
from numba.extending import overload

from bitdex.errors import InvalidError
from bitdex.kernels.jit import JIT_ENABLED, foreign, whole
from bitdex.kernels.roaring import lowest_bit

WORDS = 1024  # of a chunk
TYPES = {"boolean": types.boolean, "integer": types.int64, "float": types.float64}
LONGEST = 600  # characters of what the compiler says
_LEAST = -(1 << 63)
_SIGN = np.uint64(1 << 63)


def value_at(column: Any, i: Any) -> Any:
    """Return the value at a position, as the function gets it."""
    kind, word = column.dtype.kind, column[i]
    if column.dtype == np.uint8:
        return bool(word)
    if kind == "f":
        bits = int(np.float64(word).view(np.uint64))
        bits = bits ^ int(_SIGN) if bits & int(_SIGN) else ~bits & ((1 << 64) - 1)
        return float(np.uint64(bits).view(np.float64))
    return int(word) ^ _LEAST if kind == "i" else int(word)


def values_at(columns: Any, i: Any) -> Any:
    """Return the values of all columns at a position."""
    return tuple(value_at(column, i) for column in columns)


@overload(value_at, strict=False)
def _value_at(column: Any, i: Any) -> Any:
    if column.dtype == types.uint8:
        return lambda column, i: column[i] != 0
    if column.dtype == types.int64:
        return lambda column, i: column[i] ^ np.int64(_LEAST)
    if column.dtype == types.float64:

        def floating(column: Any, i: Any) -> Any:
            bits = np.float64(column[i]).view(np.uint64)
            negative = np.uint64(0) - (~bits >> np.uint64(63))  # all ones, or none
            return np.uint64(bits ^ (negative | _SIGN)).view(np.float64)

        return floating
    return lambda column, i: np.int64(column[i])


@overload(values_at, strict=False)
def _values_at(columns: Any, i: Any) -> Any:
    if len(columns) == 1:
        return lambda columns, i: (value_at(columns[0], i),)
    return lambda columns, i: (value_at(columns[0], i),) + values_at(columns[1:], i)


def checked(function: Callable, kinds: tuple[str, ...]) -> Callable:
    """Return a function compiled for values of some kinds, itself where it is compiled; or refuse it.

    Raises
    ------
    InvalidError
        If it cannot be compiled, takes other arguments, or returns no boolean.
    """
    if not callable(function):
        raise InvalidError(f"where_jit: {function!r:.80} is no function")
    name = getattr(function, "__name__", repr(function))
    if getattr(function, "targetoptions", {}).get("parallel"):
        raise InvalidError(
            f"where_jit: {name} was compiled with parallel=True; leave that out: it is called for one "
            "document, from several threads"
        )
    if not JIT_ENABLED:
        return function
    given = tuple(TYPES[kind] for kind in kinds)
    taken = ", ".join(map(str, given))

    def compiled_for() -> tuple[Any, Any]:
        own = hasattr(function, "typingctx")
        compiled: Any = function if own else _once(function, "_bitdex_compiled", foreign)
        return compiled, types.Dispatcher(compiled).get_call_type(compiled.typingctx, given, {})

    try:
        compiled, call = whole(compiled_for)
    except (NumbaError, TypeError, AttributeError, NotImplementedError) as error:
        said = str(error).strip()
        said = said if len(said) <= LONGEST else said[:LONGEST] + " ..."
        _forget_frames(error)
        raise InvalidError(f"where_jit: {name}({taken}) cannot be compiled by Numba: {said}") from None
    returned = types.unliteral(call.return_type)
    if returned != types.boolean:
        raise InvalidError(f"where_jit: {name}({taken}) returns {returned}; return a boolean, as in a > b")
    return compiled


def _forget_frames(error: BaseException | None) -> None:
    """Let go of what functions held when an error came: the compiler keeps some of its errors."""
    while error is not None:
        error.__traceback__ = None
        error = error.__context__


def _once(function: Any, name: str, make: Callable[[Any], Any]) -> Any:
    """Return what is made of a function. It is kept with the function, not here: so it goes with it."""
    kept = getattr(function, name, None)
    if kept is None:
        kept = make(function)
        with suppress(AttributeError):  # one that takes no attributes
            setattr(function, name, kept)
    return kept


def loop_of(function: Callable) -> Any:
    """Return the loop over a function that was checked: ``loop(columns, words, keys, lo, hi, out)``.

    It goes through words [lo, hi); the function decides in ``out`` about each of their members.
    """
    return _once(function, "_bitdex_loop", _made_loop)


def _made_loop(function: Any) -> Any:
    def loop(columns: Any, words: Any, keys: Any, lo: Any, hi: Any, out: Any) -> None:
        for i in range(lo, hi):
            word, kept = words[i], np.uint64(0)
            first = (keys[i // WORDS] << 16) + 64 * (i % WORDS)
            while word != 0:
                j = lowest_bit(word)
                if function(*values_at(columns, first + j)):
                    kept |= np.uint64(1) << np.uint64(j)
                word &= word - np.uint64(1)
            out[i] = kept

    return foreign(loop) if JIT_ENABLED else np.errstate(all="ignore")(loop)
