"""Row expressions: parsing, the kinds they imply, and column-wise evaluation against one row at a time."""

import re
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitdex.dump.evaluate import evaluate, to_mask
from bitdex.dump.expressions import parse
from bitdex.dump.tree import Binary, Call, Column, Literal, LookupKey, Node, Unary
from bitdex.errors import InvalidError

# --- The model: an expression is printed, and evaluated for one row, by these lines ---

LEVEL = {"||": 1, "&&": 2, "!": 3, "&": 5, ">>": 6, "+": 7, "-": 7}
LEVEL |= dict.fromkeys(("==", "!=", "<", "<=", ">", ">="), 4)
MINUS, ATOM = 8, 9
ORDER: dict[str, Callable] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


class Overflow(Exception):
    """The model's word for a sum outside 64 bits."""


def show(node: Node, lowest: int = 1) -> str:
    """Print a tree with as few parentheses as the levels allow."""
    text, level = show_bare(node)
    return text if level >= lowest else f"({text})"


def show_bare(node: Node) -> tuple[str, int]:
    if isinstance(node, Column):
        return node.name, ATOM
    if isinstance(node, LookupKey):
        return "lookup_key", ATOM
    if isinstance(node, Literal):
        return show_literal(node.value), ATOM
    if isinstance(node, Call):
        return f"{node.function}({', '.join(map(show, node.arguments))})", ATOM
    if isinstance(node, Unary) and node.operator == "!":
        return f"!{show(node.operand, LEVEL['!'])}", LEVEL["!"]
    if isinstance(node, Unary):
        positive = isinstance(node.operand, Literal) and type(node.operand.value) is int
        return f"-{show(node.operand, ATOM + 1 if positive else MINUS)}", MINUS
    level = LEVEL[node.operator]
    left = show(node.left, level + (level == 4))
    return f"{left} {node.operator} {show(node.right, level + 1)}", level


def show_literal(value: object) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return "null" if value is None else str(value).lower()


def integer(value: object) -> int | None:
    if isinstance(value, str):
        whole = int(value) if re.fullmatch("-?[0-9]+", value) else None
        return whole if whole is not None and -(2**63) <= whole < 2**63 else None
    return None if value is None else int(value)


def spelled(value: object) -> int | None:
    if isinstance(value, str) and value.lower() in ("t", "true", "f", "false"):
        return int(value.lower() in ("t", "true"))
    return integer(value)


def true(value: object) -> bool:
    if isinstance(value, str):
        return spelled(value) != 0 or value.lower() in ("t", "true")
    return bool(value)


def compare(operator: str, left: object, right: object, literal: bool) -> bool:
    if operator == "!=":
        return not compare("==", left, right, literal)
    if left is None or right is None:
        return operator == "==" and left is right
    if not (isinstance(left, str) and isinstance(right, str)):
        read = spelled if isinstance(left, bool) or isinstance(right, bool) else integer
        left, right = read(left), read(right)
        if left is None or right is None:
            return False
    elif not literal and integer(left) is not None and integer(right) is not None:
        left, right = integer(left), integer(right)
    return left == right if operator == "==" else ORDER[operator](left, right)


def row_value(node: Node, row: dict) -> object:
    """Evaluate a tree for one row."""
    if isinstance(node, Column):
        return row[node.name] if row[node.name] != "" else None
    if isinstance(node, LookupKey):
        return row["lookup_key"]
    if isinstance(node, Literal):
        return node.value
    if isinstance(node, Call):
        numbers = [integer(row_value(one, row)) for one in node.arguments]
        present = [one for one in numbers if one is not None]
        return {"max": max, "min": min}[node.function](present) if present else None
    if isinstance(node, Unary):
        operand = row_value(node.operand, row)
        return not true(operand) if node.operator == "!" else total(0, integer(operand), -1)
    literal = isinstance(node.left, Literal) or isinstance(node.right, Literal)
    return binary_value(node.operator, row_value(node.left, row), row_value(node.right, row), literal)


def binary_value(operator: str, left: object, right: object, literal: bool) -> object:
    if operator == "&&":
        return true(left) and true(right)
    if operator == "||":
        return true(left) or true(right)
    if LEVEL[operator] == 4:
        return compare(operator, left, right, literal)
    one, other = integer(left), integer(right)
    if one is None or other is None:
        return None
    if operator in "+-":
        return total(one, other, 1 if operator == "+" else -1)
    return one & other if operator == "&" else one >> other


def total(left: int | None, right: int | None, sign: int) -> int | None:
    if left is None or right is None:
        return None
    result = left + sign * right
    if not -(2**63) <= result < 2**63:
        raise Overflow
    return result


# --- Properties ---

INTEGERS = st.sampled_from([0, 1, -1, 2, 12, 255, 8192, 2**63 - 1, -(2**63)]) | st.integers(-300, 300)
TEXTS = st.sampled_from(
    ["a", "b", "it's", 'say "x"', "ä", "t", "F", "true", "False", "0", "-0", "007", "12", "-1", "1.5", " 1"]
    + ["9223372036854775807", "9223372036854775808", "-9223372036854775808", "0" * 40 + "12", "9" * 50]
)
LEAVES = st.one_of(
    st.builds(Column, st.sampled_from("ibtun")),
    st.builds(Literal, st.none() | st.booleans() | INTEGERS | TEXTS),
    st.just(LookupKey()),
)
SHIFTS = st.sampled_from([0, 1, 13, 62, 63]).map(Literal)
OPERATORS = sorted(set(LEVEL) - {"!", ">>"})


def grow(nodes: st.SearchStrategy) -> st.SearchStrategy:
    return st.one_of(
        st.builds(Unary, st.sampled_from("!-"), nodes),
        st.builds(Binary, st.sampled_from(OPERATORS), nodes, nodes),
        st.builds(Binary, st.just(">>"), nodes, SHIFTS),
        st.builds(Call, st.sampled_from(["max", "min"]), st.lists(nodes, min_size=1, max_size=3).map(tuple)),
    )


TREES = st.recursive(LEAVES, grow, max_leaves=10)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "i": st.none() | INTEGERS,
            "b": st.none() | st.booleans(),
            "t": st.none() | st.just("") | TEXTS,
            "u": st.none() | st.just("") | TEXTS,
            "n": st.none(),
            "lookup_key": st.none() | INTEGERS,
        }
    ),
    min_size=1,
    max_size=6,
)
TYPES = {"i": pa.int64(), "b": pa.bool_(), "t": pa.string(), "u": pa.string(), "n": pa.null()}


@settings(max_examples=600, deadline=None, derandomize=True)
@given(TREES)
def test_a_printed_tree_parses_to_itself(tree: Node) -> None:
    assert repr(parse(show(tree)).tree) == repr(tree)  # true equals 1, but does not read so


@settings(max_examples=1200, deadline=None, derandomize=True)
@given(TREES, ROWS)
def test_columns_evaluate_as_single_rows_do(tree: Node, rows: list[dict]) -> None:
    columns = {name: pa.array([row[name] for row in rows], kind) for name, kind in TYPES.items()}
    keys = pa.array([row["lookup_key"] for row in rows], pa.int64())
    expression = parse(show(tree))
    try:
        expected = [row_value(tree, row) for row in rows]
    except Overflow:
        with pytest.raises(InvalidError, match="leaves 64 bits"):
            evaluate(expression, columns, len(rows), keys)
        return
    found = evaluate(expression, columns, len(rows), keys)
    assert [(type(one), one) for one in found.to_pylist()] == [(type(one), one) for one in expected]
    assert to_mask(found).tolist() == [true(one) for one in expected]


# --- Parsing ---


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("(flags >> 13) & 1 == 1 && (flags >> 2) & 1 == 0", "(((flags>>13)&1)==1) && (((flags>>2)&1)==0)"),
        ("a || b && c", "a || (b && c)"),
        ("not a == b and c", "(!(a == b)) && c"),
        ("a & b >> 2", "a & (b >> 2)"),
        ("a + b & c - d", "(a + b) & (c - d)"),
        ("a - b - c", "(a - b) - c"),
        ("-a + b", "(-a) + b"),
        ("a or b or c", "(a || b) || c"),
        ("type = 'x'", 'type == "x"'),
        ("a == ''", "a == null"),
        ("max", "(max)"),
    ],
)
def test_the_loosest_operator_binds_last(text: str, same: str) -> None:
    assert parse(text).tree == parse(same).tree


def test_what_an_expression_needs() -> None:
    expression = parse("max(scanned, created) > lookup_key && type != 'x'")
    assert expression.columns == {"scanned", "created", "type"}
    assert expression.uses_lookup_key and not parse("a == 1").uses_lookup_key


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("(flags >> 3) & 1 == 1", {"flags": "integer"}),
        ("max(a, b) == c", {"a": "number", "b": "number", "c": "number"}),
        ("a + 1 > -b", {"a": "number", "b": "number"}),
        ("a + b >> 1", {"a": "number", "b": "number"}),
        ("a > 1 && a & 1", {"a": "integer"}),
        ("type = 'x' && detected == false", {"type": "string", "detected": "boolean"}),
        ("a != null || b", {"a": "any", "b": "any"}),
        ("a == 1 || a == 'x'", {"a": "any"}),
        ("a == null || a == 3", {"a": "number"}),
        ("a == b", {"a": "any", "b": "any"}),
        ("id == lookup_key", {"id": "number"}),
        ("a == (b < 3)", {"a": "boolean", "b": "number"}),
    ],
)
def test_use_tells_the_kind_of_a_column(text: str, kinds: dict[str, str]) -> None:
    assert parse(text).column_kinds() == kinds


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("a == 1", "boolean"),
        ("!a", "boolean"),
        ("a && b", "boolean"),
        ("max(i, 3)", "integer"),
        ("max(i, x)", "float"),
        ("x + 1", "float"),
        ("-i", "integer"),
        ("lookup_key", "integer"),
        ("'x'", "string"),
        ("t", "string"),
        ("a", "any"),
        ("null", "any"),
    ],
)
def test_the_result_has_a_kind(text: str, kind: str) -> None:
    assert parse(text).result_kind({"i": "integer", "x": "float", "t": "string"}) == kind


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        ("a b", 3, "expected an operator or the end, found 'b'"),
        ("a ==", 5, "expected a value"),
        ("a &&\n == b", 7, "expected a value, found '=='"),
        ("(a", 3, "expected ')' for the '(' at character 1"),
        ("max(a", 6, "expected ')' for the '(' at character 4"),
        ("max()", 5, "expected a value, found ')'"),
        ("sum(a)", 1, "unknown function 'sum'; use max or min"),
        ("a, b", 2, "expected an operator or the end, found ','"),
        ("a < b < c", 7, "comparisons cannot be chained; put one in parentheses or join them with &&"),
        ("a & !b", 5, "'!' binds looser than what stands before it; put it in parentheses"),
        ("a >> b", 6, "shift by an integer from 0 to 63"),
        ("a >> 64", 6, "shift by an integer from 0 to 63"),
        ("a >> true", 6, "shift by an integer from 0 to 63"),
        ("a >> -1", 6, "shift by an integer from 0 to 63"),
        ("a >> 1 + 1", 6, "shift by an integer from 0 to 63"),
        ("a == 'b", 6, "this text has no closing quote"),
        ("a % 2", 3, "'%' cannot be read"),
        ("1.5", 2, "'.5' cannot be read"),
        ("12ab", 1, "'12ab' cannot be read"),
        ("9223372036854775808", 1, "integers have 64 bits"),
        ("-9223372036854775809", 2, "integers have 64 bits"),
        ("9" * 5000, 1, "integers have 64 bits"),
        ("(" * 70 + "a" + ")" * 70, 65, "nested deeper than 64; simplify it"),
        (" || ".join(["a"] * 300), 1281, "longer than 512 words"),
    ],
)
def test_errors_point_at_the_place(text: str, place: int, problem: str) -> None:
    with pytest.raises(InvalidError) as caught:
        parse(text)
    message, line, mark = str(caught.value).split("\n")
    assert message.startswith(f"expression, character {place}: {problem}")
    assert line == "  " + text.replace("\n", " ")
    assert mark == "  " + " " * (place - 1) + "^"


@pytest.mark.parametrize("text", ["", "  ", None, 3])
def test_an_expression_is_a_text(text: object) -> None:
    with pytest.raises(InvalidError, match="write one such as"):
        parse(text)


# --- Evaluation, what the property leaves out ---


def results(text: str, **columns: pa.Array) -> list:
    return evaluate(parse(text), columns, len(next(iter(columns.values())))).to_pylist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(flags >> 13) & 1 == 1 && (flags >> 2) & 1 == 0", [True, False, False]),
        ("flags == null", [False, False, True]),
        ("flags != null", [True, True, False]),
        ("null != flags", [True, True, False]),
        ("(flags & 4) == null", [False, False, True]),
        ("poi == true", [True, False, False]),
        ("poi == false", [False, True, False]),
        ("poi", ["t", "f", None]),
        ("!poi", [False, True, True]),
        ("max(flags, 8195)", [8195, 8196, 8195]),
    ],
)
def test_cells_of_a_dump(text: str, expected: list) -> None:
    flags, poi = pa.array([8192, 8196, None]), pa.array(["t", "f", ""])
    assert results(text, flags=flags, poi=poi) == expected


def test_floats_compare_with_integers_and_widen_them() -> None:
    x, i = pa.array([0.5, 2.0, None]), pa.array([1, 2, 2**62])
    assert results("x < i", x=x, i=i) == [True, False, False]
    assert results("x == i", x=x, i=i) == [False, True, False]
    assert results("x + i", x=x, i=i) == [1.5, 4.0, None]
    assert results("max(x, 1)", x=x, i=i) == [1.0, 2.0, 1.0]
    assert results("x && i", x=pa.array([0.0, -0.5, None]), i=i) == [False, True, False]
    assert results("x < i", x=x.cast(pa.decimal128(3, 1)), i=i) == [True, False, False]


def test_two_columns_of_text_compare_as_integers_where_both_are() -> None:
    w, h = pa.array(["10", "9", "007", "x", "10", "", "-1"]), pa.array(["9", "10", "7", "y", "x", "", None])
    assert results("w < h", w=w, h=h) == [False, True, False, True, True, False, False]
    assert results("w == h", w=w, h=h) == [False, False, True, False, False, True, False]
    assert results("w == '7'", w=w) == [False] * 7  # a text that is written is meant


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["a", "", None, "b"]).dictionary_encode(),
        pa.array(["a", "", None, "b"], pa.large_string()),
        pa.chunked_array([["a", ""], [None, "b"]]),
    ],
)
def test_texts_of_every_layout_are_equal(column: pa.Array) -> None:
    assert results("t", t=column) == ["a", None, None, "b"]
    assert results("t == null || t == 'b'", t=column) == [False, True, True, True]


def test_narrow_integers_do_not_wrap() -> None:
    assert results("a + 1", a=pa.array([255, None], pa.uint8())) == [256, None]


def test_a_constant_fills_all_rows() -> None:
    assert evaluate(parse("1 + 2"), {}, 3).equals(pa.array([3, 3, 3]))
    assert len(evaluate(parse("null"), {}, 0)) == 0


@pytest.mark.parametrize(
    ("text", "column", "problem"),
    [
        ("flag", pa.array([1]), "no column 'flag'; use 'flags'"),
        ("lookup_key", pa.array([1]), "lookup_key stands outside a lookup"),
        ("flags & 1", pa.array([1.0]), "'&' takes integers, not floats"),
        ("flags", pa.array([2**64 - 1], pa.uint64()), "integers have 64 bits, with a sign"),
        ("flags", pa.array([1, 2]), "column 'flags' has 2 rows, not 1"),
        ("flags", pa.array([0], pa.timestamp("s")), r"is timestamp\[s\]; give integers, floats"),
        (
            "flags + 1",
            pa.array([2**63 - 1]),
            "operands from 9223372036854775807 to 9223372036854775807 and 1",
        ),
        ("-flags", pa.array([-(2**63)]), "leaves 64 bits"),
    ],
)
def test_columns_that_cannot_be_used_are_named(text: str, column: pa.Array, problem: str) -> None:
    with pytest.raises(InvalidError, match=problem):
        evaluate(parse(text), {"flags": column}, 1)


def test_a_mask_is_truth() -> None:
    mask = to_mask(pa.array([0, 3, None, -1]))
    assert mask.dtype == np.bool_ and mask.tolist() == [False, True, False, True]
