"""Row expressions over columns: one Arrow computation per operator, whatever the number of rows.

An empty cell is null. What an operator means for one row:

``== !=``        null equals null and nothing else; ``x != null`` is "x has a value".
``< <= > >=``    false if either side is null.
mixed kinds      compare as integers: true is 1, and a text that spells an integer is that integer.
                 Against true and false the texts t, f, true, false (in any case) are booleans.
                 Two columns of text compare so where both spell an integer, else as texts.
                 A text that spells nothing of the kind is unequal, neither less nor greater.
                 An integer against a float compares as a float.
``&& || !``      true or false, never null. Null, zero, and a text that spells zero or false are
                 not true; everything else is.
``& >> + -``     null if an operand is null or a text that spells no integer. The shift keeps the
                 sign. A sum that leaves 64 bits is an error.
``max min``      pass over nulls; null if there is nothing else.
"""

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bitdex.configuration import nearest
from bitdex.dump.expressions import Expression
from bitdex.dump.tree import COMPARISON, LEVELS, Binary, Call, Column, Literal, LookupKey, Node, Unary
from bitdex.errors import InvalidError

Value: TypeAlias = "pa.Array | pa.Scalar"
COMPARE = {"<": pc.less, "<=": pc.less_equal, ">": pc.greater, ">=": pc.greater_equal}
DIGITS = pa.decimal128(38, 0)
SMALLEST = pa.scalar(-(2**63)).cast(DIGITS)
LARGEST = pa.scalar(2**63 - 1).cast(DIGITS)


def evaluate(
    expression: Expression, columns: Mapping[str, pa.Array], rows: int, lookup_key: pa.Array | None = None
) -> pa.Array:
    """Evaluate an expression for every row of a block.

    Parameters
    ----------
    expression : Expression
    columns : mapping of str to Array
        Integers, floats, decimals (as floats), booleans or texts, each of length `rows`.
    rows : int
        Number of rows.
    lookup_key : Array, optional
        The join values, for an expression that names ``lookup_key``.

    Returns
    -------
    Array of bool, int64, float64, string or null type, shape (rows,)

    Raises
    ------
    InvalidError
        For a missing column, a mask of floats, or a sum that leaves 64 bits.

    Examples
    --------
    >>> from bitdex.dump.expressions import parse
    >>> evaluate(parse("flags & 4 != 0"), {"flags": pa.array([4, 3, None])}, 3).to_pylist()
    [True, False, True]
    """
    value = _Block(expression.text, columns, rows, lookup_key).value(expression.tree)
    return pa.repeat(value, rows) if isinstance(value, pa.Scalar) else value


def to_mask(values: pa.Array) -> np.ndarray:
    """Return which values are true in the sense of ``&&``: shape (len(values),), bool."""
    return truth(normal("values", values)).to_numpy(zero_copy_only=False)


class _Block:
    """The rows an expression is evaluated for."""

    def __init__(
        self, text: str, columns: Mapping[str, pa.Array], rows: int, lookup_key: pa.Array | None
    ) -> None:
        self.text = text
        self.columns = columns
        self.rows = rows
        self.lookup_key = lookup_key
        self.normal: dict[str, pa.Array] = {}

    def value(self, node: Node) -> Value:
        if isinstance(node, Literal):
            return pa.scalar(node.value)
        if isinstance(node, Column):
            return self.column(node.name)
        if isinstance(node, LookupKey):
            return self.key()
        if isinstance(node, Call):
            return self.extreme(node)
        return self.unary(node) if isinstance(node, Unary) else self.binary(node)

    def column(self, name: str) -> pa.Array:
        if name not in self.columns:
            raise InvalidError(f"expression {self.text!r}: no column {name!r}; {nearest(name, self.columns)}")
        if name not in self.normal:
            self.normal[name] = self.of_length(name, self.columns[name])
        return self.normal[name]

    def key(self) -> pa.Array:
        if self.lookup_key is None:
            raise InvalidError(f"expression {self.text!r}: lookup_key stands outside a lookup; name a column")
        return self.of_length("lookup_key", self.lookup_key)

    def of_length(self, name: str, values: pa.Array) -> pa.Array:
        if len(values) != self.rows:
            raise InvalidError(f"column {name!r} has {len(values)} rows, not {self.rows}; pass whole columns")
        return normal(name, values)

    def unary(self, node: Unary) -> Value:
        operand = self.value(node.operand)
        if node.operator == "!":
            return pc.invert(truth(operand))
        return self.sum("-", pa.scalar(0), number(operand))

    def binary(self, node: Binary) -> Value:
        left, right = self.value(node.left), self.value(node.right)
        if node.operator == "&&":
            return pc.and_(truth(left), truth(right))
        if node.operator == "||":
            return pc.or_(truth(left), truth(right))
        if LEVELS[node.operator] == COMPARISON:
            if {left.type, right.type} == {pa.string()} and not _is_literal(node):
                return _compare_texts(node.operator, left, right)
            return compare(node.operator, left, right)
        if node.operator in "+-":
            return self.sum(node.operator, number(left), number(right))
        return self.bits(node.operator, number(left), number(right))

    def sum(self, operator: str, left: Value, right: Value) -> Value:
        left, right = _widened(left, right)
        try:
            return (pc.add_checked if operator == "+" else pc.subtract_checked)(left, right)
        except pa.ArrowInvalid as error:
            spans = [pc.min_max(side).as_py() for side in (left, right)]
            raise InvalidError(
                f"expression {self.text!r}: {operator!r} leaves 64 bits, with operands from "
                f"{spans[0]['min']} to {spans[0]['max']} and {spans[1]['min']} to {spans[1]['max']}; "
                "keep such rows out with a filter"
            ) from error

    def bits(self, operator: str, left: Value, right: Value) -> Value:
        if pa.float64() in (left.type, right.type):
            raise InvalidError(
                f"expression {self.text!r}: {operator!r} takes integers, not floats; cast them"
            )
        if operator == "&":
            return pc.bit_wise_and(left, right)
        if right.as_py() == 63:  # Arrow leaves a value alone when all its bits would go
            left, right = pc.shift_right(left, 1), pa.scalar(62)
        return pc.shift_right(left, right)

    def extreme(self, node: Call) -> Value:
        values = _widened(*(number(self.value(one)) for one in node.arguments))
        return (pc.max_element_wise if node.function == "max" else pc.min_element_wise)(*values)


def normal(name: str, values: pa.Array) -> pa.Array:
    """Return a column as bool, int64, float64, string or null type, with null for an empty text."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    try:
        values = values.cast(_normal_type(name, values.type))
    except pa.ArrowInvalid as error:
        raise InvalidError(f"column {name!r}: {error}; integers have 64 bits, with a sign") from error
    if values.type != pa.string():
        return values
    empty = pc.equal(pc.binary_length(values), 0)
    return pc.if_else(empty, None, values) if pc.any(empty).as_py() else values


def _normal_type(name: str, kind: pa.DataType) -> pa.DataType:
    if pa.types.is_boolean(kind) or pa.types.is_null(kind):
        return kind
    if pa.types.is_integer(kind):
        return pa.int64()
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return pa.float64()
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    raise InvalidError(f"column {name!r} is {kind}; give integers, floats, booleans or texts")


def truth(values: Value) -> Value:
    """Return true or false for each value, never null."""
    if pa.types.is_null(values.type):
        return pc.invert(pc.is_null(values))
    if values.type == pa.bool_():
        return pc.fill_null(values, False)
    if values.type != pa.string():
        return pc.fill_null(pc.not_equal(values, 0), False)
    return pc.fill_null(pc.invert(pc.match_substring_regex(values, "^(?i:-?0+|f|false)$")), False)


def number(values: Value) -> Value:
    """Return int64, or float64 for floats: null where a text spells no integer."""
    if values.type == pa.string():
        return _spelled_integer(values)
    return values if values.type == pa.float64() else values.cast(pa.int64())


def _spelled_integer(texts: Value) -> Value:
    spelled = pc.match_substring_regex(texts, "^-?0*[0-9]{1,19}$")
    significant = pc.replace_substring_regex(texts, "^(-?)0+([0-9])", r"\1\2")
    digits = pc.if_else(spelled, significant, None).cast(DIGITS)
    fits = pc.and_(pc.less_equal(SMALLEST, digits), pc.less_equal(digits, LARGEST))
    return pc.if_else(fits, digits, None).cast(pa.int64())


def _spelled_boolean(texts: Value) -> Value:
    """Return 1 and 0 for t, true, f, false in any case; else the integer that is spelled."""
    true = pc.match_substring_regex(texts, "^(?i:t|true)$")
    false = pc.match_substring_regex(texts, "^(?i:f|false)$")
    return pc.if_else(true, 1, pc.if_else(false, 0, _spelled_integer(texts)))


def compare(operator: str, left: Value, right: Value) -> Value:
    """Return true or false for each pair, never null."""
    one, other = _comparable(left, right)
    if operator in COMPARE:
        return pc.fill_null(COMPARE[operator](one, other), False)
    neither = pc.and_(pc.is_null(left), pc.is_null(right))
    same = pc.or_(neither, pc.fill_null(pc.equal(one, other), False))
    return same if operator == "==" else pc.invert(same)


def _compare_texts(operator: str, left: Value, right: Value) -> Value:
    """Compare texts that no literal says to be such: as integers where both spell one."""
    one, other = _spelled_integer(left), _spelled_integer(right)
    spelled = pc.and_(pc.is_valid(one), pc.is_valid(other))
    return pc.if_else(spelled, compare(operator, one, other), compare(operator, left, right))


def _is_literal(node: Binary) -> bool:
    return isinstance(node.left, Literal) or isinstance(node.right, Literal)


def _comparable(left: Value, right: Value) -> tuple[Value, ...]:
    """Return both sides in one type."""
    kinds = {left.type, right.type}
    if pa.string() not in kinds:
        return _widened(number(left), number(right))
    if pa.null() in kinds or len(kinds) == 1:
        return left.cast(pa.string()), right.cast(pa.string())
    spelled = _spelled_boolean if pa.bool_() in kinds else _spelled_integer
    return _widened(*(spelled(one) if one.type == pa.string() else number(one) for one in (left, right)))


def _widened(*values: Value) -> tuple[Value, ...]:
    """Return numbers as float64 if one of them is, else as they are."""
    if pa.float64() not in {one.type for one in values}:
        return values
    return tuple(one.cast(pa.float64(), safe=False) for one in values)
