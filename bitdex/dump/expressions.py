"""Row expressions: text becomes a tree of operators over the columns of a row.

    or            || or
    and           && and
    not           ! not
    comparison    == = != < <= > >=        one per level: a < b < c needs parentheses
    mask          &
    shift         >>                       by an integer from 0 to 63
    sum           + -
    atom          column  12  'text'  "text"  true  false  null  lookup_key
                  max(a, b, ...)  min(a, b, ...)  -atom  ( ... )

The loosest binds first, so ``(flags >> 13) & 1 == 1 && poi`` is ``(((flags >> 13) & 1) == 1) && poi``.
A quote inside a text is doubled. An empty text is null, as an empty cell is. What the operators
mean is said in `bitdex.dump.evaluate`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NoReturn

from bitdex.dump.tree import (
    COMPARISON,
    LEVELS,
    NOT,
    Binary,
    Call,
    Column,
    Literal,
    LookupKey,
    Node,
    Unary,
    result_kind,
    settle,
    uses,
    walk,
)
from bitdex.errors import InvalidError

MAX_DEPTH = 64
MAX_TOKENS = 512
LARGEST = 2**63 - 1
SPELLINGS = {"or": "||", "and": "&&", "not": "!", "=": "=="}
CONSTANTS: Mapping[str, bool | None] = {"true": True, "false": False, "null": None}
SHIFTS = {repr(Literal(places)) for places in range(64)}  # true equals 1, but does not read so
FUNCTIONS = ("max", "min")
TOKEN = re.compile(
    r"""\s*(?:(?P<number>[0-9]+(?!\w))|(?P<name>[^\W\d]\w*)|(?P<string>'(?:[^']|'')*'|"(?:[^"]|"")*")"""
    r"""|(?P<operator>\|\||&&|==|!=|<=|>=|>>|[=<>&+\-!(),])|(?P<end>$))"""
)


@dataclass(frozen=True)
class Expression:
    """A parsed row expression: its text, its tree, and what it needs.

    Examples
    --------
    >>> expression = parse("(flags >> 3) & 1 == 1 && type != 'x'")
    >>> expression.column_kinds()
    {'flags': 'integer', 'type': 'string'}
    """

    text: str
    tree: Node

    @cached_property
    def columns(self) -> frozenset[str]:
        """The names of the columns."""
        return frozenset(node.name for node in walk(self.tree) if isinstance(node, Column))

    @cached_property
    def uses_lookup_key(self) -> bool:
        """Whether `lookup_key` stands in it."""
        return any(isinstance(node, LookupKey) for node in walk(self.tree))

    def column_uses(self) -> dict[str, frozenset[str]]:
        """Return for each column the kinds as which it is used, in order of appearance."""
        found: dict[str, frozenset[str]] = {}
        for node in walk(self.tree):
            if isinstance(node, Column):
                found.setdefault(node.name, frozenset())
            for column, kind in uses(node):
                found[column] = found.get(column, frozenset()) | {kind}
        return found

    def column_kinds(self) -> dict[str, str]:
        """Return for each column "integer", "number", "boolean", "string", or "any" if no use tells."""
        return {name: settle(kinds) for name, kinds in self.column_uses().items()}

    def result_kind(self, kinds: Mapping[str, str]) -> str:
        """Return "integer", "boolean", "string", "float" or "any", given the kinds of the columns."""
        return result_kind(self.tree, kinds)


def parse(text: str) -> Expression:
    """Parse a row expression.

    Raises
    ------
    InvalidError
        Showing the text with a mark under the place that cannot be read.
    """
    return Expression(text, _Parser(text).whole())


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    start: int


def _number(token: _Token) -> int:
    """Return a number; of one that is far too long, enough digits to tell."""
    return int(token.text.lstrip("0")[:20] or "0")


class _Parser:
    """Recursive descent; the levels of the binary operators are climbed in one loop."""

    def __init__(self, text: str) -> None:
        if not isinstance(text, str) or not text.strip():
            raise InvalidError(f'expression is {text!r}; write one such as "flags & 1 == 1"')
        self.text = text
        self.tokens = self._tokens()
        self.place = 0
        self.depth = 0

    def whole(self) -> Node:
        tree = self._climb(1)
        if self._next.kind != "end":
            self._fail(f"expected an operator or the end, found {self._next.text!r}")
        return tree

    def _tokens(self) -> list[_Token]:
        tokens: list[_Token] = []
        start = 0
        while not tokens or tokens[-1].kind != "end":
            match = TOKEN.match(self.text, start)
            if match is None:
                self._fail_unread(start)
            kind = match.lastgroup or ""
            text = match[kind]
            if kind == "name" and text in SPELLINGS:
                kind = "operator"
            tokens.append(_Token(kind, SPELLINGS.get(text, text), match.start(kind)))
            start = match.end()
            if len(tokens) > MAX_TOKENS:
                self._fail_at(tokens[-1].start, f"longer than {MAX_TOKENS} words; use a lookup or split it")
        return tokens

    def _fail_unread(self, start: int) -> NoReturn:
        rest = self.text[start:].lstrip()
        quoted = rest[0] in "'\""
        problem = "this text has no closing quote" if quoted else f"{rest.split()[0]!r} cannot be read"
        self._fail_at(len(self.text) - len(rest), problem)

    @property
    def _next(self) -> _Token:
        return self.tokens[self.place]

    def _take(self) -> _Token:
        token = self._next
        self.place += token.kind != "end"
        return token

    def _climb(self, lowest: int) -> Node:
        """Parse operands and the operators between them, down to the level `lowest`."""
        left = self._prefix(lowest)
        while self._level() >= lowest:
            level = self._level()
            operator, start = self._take().text, self._next.start
            right = self._climb(level + 1)
            if operator == ">>" and repr(right) not in SHIFTS:
                self._fail_at(start, "shift by an integer from 0 to 63")
            left = Binary(operator, left, right)
            if level == COMPARISON and self._level() == COMPARISON:
                self._fail("comparisons cannot be chained; put one in parentheses or join them with &&")
        return left

    def _level(self) -> int:
        return LEVELS.get(self._next.text, 0) if self._next.kind == "operator" else 0

    def _prefix(self, lowest: int) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self._fail(f"nested deeper than {MAX_DEPTH}; simplify it")
        if self._is("!"):
            node = self._negation(lowest)
        elif self._is("-"):
            node = self._minus()
        else:
            node = self._atom()
        self.depth -= 1
        return node

    def _negation(self, lowest: int) -> Node:
        if lowest > NOT:
            self._fail("'!' binds looser than what stands before it; put it in parentheses")
        self._take()
        return Unary("!", self._climb(NOT))

    def _minus(self) -> Node:
        self._take()
        if self._next.kind == "number":
            return Literal(self._integer(LARGEST + 1) * -1)
        return Unary("-", self._prefix(COMPARISON + 1))

    def _atom(self) -> Node:
        if self._next.kind == "number":
            return Literal(self._integer(LARGEST))
        if self._next.kind == "string":
            quoted = self._take().text
            return Literal(quoted[1:-1].replace(quoted[0] * 2, quoted[0]) or None)
        if self._next.kind == "name":
            return self._named()
        if not self._is("("):
            self._fail(
                f"expected a value, found {self._next.text!r}" if self._next.text else "expected a value"
            )
        return self._parenthesised(self._take())

    def _parenthesised(self, opening: _Token) -> Node:
        node = self._climb(1)
        self._close(opening)
        return node

    def _named(self) -> Node:
        token = self._take()
        if self._is("("):
            return self._call(token)
        if token.text in CONSTANTS:
            return Literal(CONSTANTS[token.text])
        return LookupKey() if token.text == "lookup_key" else Column(token.text)

    def _call(self, name: _Token) -> Node:
        if name.text not in FUNCTIONS:
            self._fail_at(name.start, f"unknown function {name.text!r}; use {' or '.join(FUNCTIONS)}")
        opening = self._take()
        arguments = [self._climb(1)]
        while self._is(","):
            self._take()
            arguments.append(self._climb(1))
        self._close(opening)
        return Call(name.text, tuple(arguments))

    def _close(self, opening: _Token) -> None:
        if not self._is(")"):
            self._fail(f"expected ')' for the '(' at character {opening.start + 1}")
        self._take()

    def _integer(self, largest: int) -> int:
        if _number(self._next) > largest:
            self._fail("integers have 64 bits: use -9223372036854775808 to 9223372036854775807")
        return _number(self._take())

    def _is(self, operator: str) -> bool:
        return self._next.kind == "operator" and self._next.text == operator

    def _fail(self, problem: str) -> NoReturn:
        self._fail_at(self._next.start, problem)

    def _fail_at(self, start: int, problem: str) -> NoReturn:
        line = re.sub(r"\s", " ", self.text)
        mark = " " * start + "^"
        raise InvalidError(f"expression, character {start + 1}: {problem}\n  {line}\n  {mark}")
