"""Integers that a caller gives: keys of a silo, ids of an index; in any form that several of them come in."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from bitdex.errors import InvalidError


def is_whole(value: Any) -> bool:
    """Tell whether a value is an integer; those of Python have booleans, those of NumPy spans of time."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool | np.timedelta64)


def shown(value: Any) -> str:
    """Return a value as a message shows it; Python refuses to write integers of many digits."""
    if isinstance(value, int) and abs(value) >> 256:
        return f"an integer of {value.bit_length()} bits"
    try:
        text = repr(value)
    except ValueError:  # one of them is in it
        text = f"a {type(value).__name__} of great integers"
    return text if len(text) <= 80 else text[:77] + "..."


def as_integers(values: Any, name: str, most: int) -> np.ndarray:
    """Return whole numbers from 0 to `most` as uint64, shape (n,), in their order.

    Parameters
    ----------
    values : array, Series, Index, Arrow array, or any iterable: list, range, set, generator, view of a dict
    name : str
        What they are called.

    Raises
    ------
    InvalidError
        Naming the first that is none, or what was given instead of several.
    """
    array = _array_of(values, name)
    if array.ndim != 1:
        raise InvalidError(
            f"{name}: expected one dimension, found shape {array.shape}; give a list, or one column"
        )
    if not array.size:
        return np.empty(0, np.uint64)
    if array.dtype.kind in "iu":
        if array.dtype == np.uint64 and most == (1 << 64) - 1:
            return np.ascontiguousarray(array)
        if array.min() >= 0 and array.max() <= most:
            return array.astype(np.uint64)
    if array.dtype.kind == "f" and (array % 1 != 0).any():
        array = array[array % 1 != 0]  # what was empty in a column is NaN
    listed = [*array] if array.dtype.kind in "mM" else array.tolist()  # a date as one, and no integer
    for value in listed:
        if not is_whole(value) or not 0 <= value <= most:
            raise InvalidError(f"{name}: {shown(value)} is no whole number from 0 to {most}")
    return np.array(listed, np.uint64)


def _array_of(values: Any, name: str) -> np.ndarray:
    """Return several values as an array: of integers if they are such, else of what they are."""
    if hasattr(values, "__array__"):
        return np.asarray(values)
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise InvalidError(
            f"{name}: expected several whole numbers, found {shown(values)}; "
            "give them in a list, set, range, array or column"
        )
    listed = list(values)
    types = set(map(type, listed))
    if types == {int} and min(listed) >= 0 and max(listed) >> 64 == 0:
        return np.array(listed, np.uint64)  # by itself NumPy would make floats of some
    if len(types) == 1 and isinstance(listed[0], np.integer):
        return np.array(listed)
    return np.array(listed, object)
