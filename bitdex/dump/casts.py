"""Columns of any Arrow type as columns of a kind, and which rows fit.

A float that is whole is an integer, and 0 and 1 are booleans: pandas keeps integers and booleans with gaps as
floats, and the gaps as NaN. A moment is the second that it lies in, without a zone in UTC. Lists stay lists.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bitdex.columns import is_text
from bitdex.dump.cells import TYPES, convert_text, marked_text
from bitdex.errors import InvalidError

_TICKS = {"s": 1, "ms": 1000, "us": 1_000_000, "ns": 1_000_000_000}  # a second


def cast_column(name: str, array: pa.Array, kind: str) -> tuple[pa.Array, np.ndarray]:
    """Return a column in the wanted kind, and which rows fit it (a value that does not fit becomes null).

    Raises
    ------
    InvalidError
        For a type of which nothing can be made; `name` is told.
    """
    try:
        return _cast(array.dictionary_decode() if pa.types.is_dictionary(array.type) else array, kind)
    except pa.ArrowNotImplementedError:
        raise InvalidError(f"{name}: a column of {array.type} is no {kind}; cast it first") from None


def check_single(name: str, array: pa.Array) -> None:
    """Refuse lists where each row has one value."""
    if is_list(array.type):
        raise InvalidError(f"{name}: a column of {array.type} holds lists, where each row has one value")


def key_column(name: str, array: pa.Array) -> pa.Array:
    """Return ids or keys, which a source has found to be such, as integers."""
    check_single(name, array)
    return cast_column(name, array, "integer")[0]


def shown(cell: pa.Scalar) -> str:
    """Return a cell for a message, also where it is text that is none."""
    cell = cell.value if isinstance(cell, pa.DictionaryScalar) else cell
    try:
        return repr(cell.as_py())
    except UnicodeDecodeError:
        return repr(cell.as_buffer().to_pybytes())


def is_unicode(texts: pa.Array) -> bool:
    """Tell whether the bytes of texts are UTF-8, which files and callers only say."""
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def is_list(found: pa.DataType) -> bool:
    """Tell whether an Arrow type holds lists."""
    return pa.types.is_list(found) or pa.types.is_large_list(found) or pa.types.is_fixed_size_list(found)


def _cast(array: pa.Array, kind: str) -> tuple[pa.Array, np.ndarray]:
    found, everything = array.type, np.ones(len(array), bool)
    if is_text(found) or _is_binary(found):
        return convert_text(_without_empty(_texts(array)), kind)
    kind = "integer" if kind == "key" else kind
    if kind == "any" or is_list(found) or found == TYPES[kind]:
        return array, everything
    if kind == "boolean":
        return _truths(array)
    if kind in ("integer", "number"):
        if pa.types.is_timestamp(found) or pa.types.is_date(found):
            return seconds_of(array), everything
        if pa.types.is_floating(found) or pa.types.is_decimal(found):
            return _whole_numbers(array) if kind == "integer" else _numbers(array)
    try:
        return array.cast(TYPES[kind], safe=kind != "float"), everything
    except pa.ArrowInvalid:
        return convert_text(array.cast(pa.string()), kind)


def _is_binary(found: pa.DataType) -> bool:
    kinds = (pa.binary(), pa.large_binary(), pa.binary_view())
    return found in kinds or pa.types.is_fixed_size_binary(found)


def _texts(array: pa.Array) -> pa.Array:
    """Return texts as string or large_string, with a mark for bytes that are none."""
    if is_text(array.type) and is_unicode(array):
        return array.cast(pa.large_string()) if pa.types.is_string_view(array.type) else array
    array = array.cast(pa.large_binary())
    try:
        return array.cast(pa.large_string())
    except pa.ArrowInvalid:
        marked = [None if one is None else marked_text(one) for one in array.to_pylist()]
        return pa.array(marked, pa.large_string())


def _without_empty(texts: pa.Array) -> pa.Array:
    """Return texts with null for empty ones, as an empty cell of a text file is."""
    empty = pc.equal(pc.binary_length(texts), 0)
    return pc.if_else(empty, None, texts) if pc.any(empty).as_py() else texts


def _truths(array: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Take 0 and 1 as booleans, and NaN as none."""
    numbers = array.cast(pa.float64(), safe=False)
    empty = pc.is_null(numbers, nan_is_null=True)
    good = pc.or_(empty, pc.is_in(numbers, pa.array([0.0, 1.0])))
    return pc.if_else(pc.and_not(good, empty), pc.equal(numbers, 1), None), np.asarray(good)


def seconds_of(moments: pa.Array) -> pa.Array:
    """Return moments as seconds since 1970, rounded down; those without a zone are UTC."""
    if pa.types.is_date(moments.type):
        moments = moments.cast(pa.timestamp("s"))
    ticks = moments.cast(pa.int64())
    if moments.type.unit == "s":
        return ticks
    seconds = np.floor_divide(np.asarray(pc.fill_null(ticks, 0)), _TICKS[moments.type.unit])
    return pa.array(seconds, mask=np.asarray(pc.is_null(ticks)))


def _whole_numbers(array: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Take what is whole as integers, and NaN as none."""
    if pa.types.is_decimal(array.type):
        return convert_text(pc.replace_substring_regex(array.cast(pa.string()), r"\.0*$", ""), "integer")
    array = array.cast(pa.float64())
    empty = pc.is_null(array, nan_is_null=True)
    inside = pc.and_(pc.greater_equal(array, -(2.0**63)), pc.less(array, 2.0**63))
    whole = pc.fill_null(pc.and_(pc.equal(pc.floor(array), array), inside), False)
    return pc.if_else(whole, array, None).cast(pa.int64()), np.asarray(pc.or_(empty, whole))


def _numbers(array: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Return integers where all are whole, else floats with null for NaN; every row fits."""
    integers, whole = _whole_numbers(array)
    if whole.all():
        return integers, whole
    floats = array.cast(pa.float64(), safe=False)
    return pc.if_else(pc.is_nan(floats), None, floats), np.ones(len(array), bool)
