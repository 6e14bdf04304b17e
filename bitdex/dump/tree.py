"""The tree of a row expression: its nodes, the levels of its operators, and the kinds it implies."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

NOT = 3
COMPARISON = 4
LEVELS = {"||": 1, "&&": 2, "&": 5, ">>": 6, "+": 7, "-": 7}
LEVELS.update(dict.fromkeys(("==", "!=", "<", "<=", ">", ">="), COMPARISON))


@dataclass(frozen=True)
class Column:
    """The value of a column in this row."""

    name: str


@dataclass(frozen=True)
class Literal:
    """A constant."""

    value: int | bool | str | None


@dataclass(frozen=True)
class LookupKey:
    """The value by which this row of a lookup was found."""


@dataclass(frozen=True)
class Unary:
    """``!`` or ``-`` before one operand."""

    operator: str
    operand: "Node"


@dataclass(frozen=True)
class Binary:
    """Two operands and what stands between them."""

    operator: str
    left: "Node"
    right: "Node"


@dataclass(frozen=True)
class Call:
    """``max`` or ``min`` of its arguments."""

    function: str
    arguments: tuple["Node", ...]


Node = Column | Literal | LookupKey | Unary | Binary | Call


def walk(tree: Node) -> Iterator[Node]:
    """Yield the nodes of a tree from the root down, left to right."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(reversed(children(node)))


def children(node: Node) -> tuple[Node, ...]:
    """Return the nodes directly below one."""
    if isinstance(node, Unary):
        return (node.operand,)
    if isinstance(node, Binary):
        return (node.left, node.right)
    return node.arguments if isinstance(node, Call) else ()


def uses(node: Node) -> Iterator[tuple[str, str]]:
    """Yield (column, kind) for the columns directly below a node whose use tells their kind.

    A mask and a shift take integers; a sum, an extreme and a comparison numbers, integers or floats.
    """
    level = LEVELS.get(node.operator, 0) if isinstance(node, Binary) else 0
    arithmetic = level > COMPARISON or isinstance(node, Call)
    if arithmetic or (isinstance(node, Unary) and node.operator == "-"):
        kind = "integer" if isinstance(node, Binary) and node.operator in ("&", ">>") else "number"
        yield from ((one.name, kind) for one in children(node) if isinstance(one, Column))
    if isinstance(node, Binary) and level == COMPARISON:
        for one, other in ((node.left, node.right), (node.right, node.left)):
            kind = result_kind(other, {})
            if isinstance(one, Column) and kind != "any":
                yield one.name, "number" if kind == "integer" else kind


def result_kind(node: Node, kinds: Mapping[str, str]) -> str:
    if isinstance(node, Column):
        return kinds.get(node.name, "any")
    if isinstance(node, Literal):
        names = {bool: "boolean", int: "integer", str: "string"}
        return names.get(type(node.value), "any")
    if isinstance(node, Unary) and node.operator == "!":
        return "boolean"
    if isinstance(node, Binary) and LEVELS[node.operator] <= COMPARISON:
        return "boolean"
    return "float" if any(result_kind(one, kinds) == "float" for one in children(node)) else "integer"


def settle(kinds: Iterable[str]) -> str:
    """Return the one kind that serves all uses: "any" if there is none."""
    distinct = set(kinds)
    if len(distinct) > 1 and distinct <= {"integer", "number", "float"}:
        return "float" if "float" in distinct else "integer"
    return distinct.pop() if len(distinct) == 1 else "any"
