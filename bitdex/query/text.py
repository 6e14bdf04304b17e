r"""Queries written as text, in the manner of ``DataFrame.query``: text in, clause tree out.

::

    query      = [ disjunct ]                              nothing written: everything
    disjunct   = conjunct { ( or | "||" | "|" ) conjunct }
    conjunct   = negation { ( and | "&&" | "&" ) negation }
    negation   = ( not | "!" | "~" ) negation | term
    term       = "(" disjunct ")" | everything | nothing | value compare field [ compare value ]
               | field [ compare value | [ not ] in list | has ( value | any list | all list )
                       | between value and value | within 'window' | is [ not ] null ]
    compare    = "==" | "=" | "!=" | "<>" | "<" | "<=" | ">" | ">="
    list       = "[" [ value { "," value } ] "]"           or in round parentheses
    value      = number | 'text' | "text" | true | false | null
    field      = word | `any name`                         a backquote inside is doubled

Words of the language may be written in any case; a field that is called like a reserved one goes
in backquotes. A field alone is "is true", ``not field`` is "is false". Texts know the escapes
``\\ \' \" \n \r \t \0 \xNN \uNNNN \UNNNNNNNN``. `str` of a clause is this language.
"""

from collections.abc import Callable
from typing import Any, NoReturn

from bitdex.query.clauses import (
    EVERYTHING,
    MAX_DEPTH,
    MAX_VALUES,
    NOTHING,
    RESERVED,
    And,
    Between,
    Clause,
    Eq,
    Gt,
    Gte,
    In,
    IsNotNull,
    IsNull,
    Lt,
    Lte,
    Not,
    NotEq,
    NotIn,
    Or,
    Value,
    Within,
    all_of,
)
from bitdex.query.tokens import read_number, read_string, refuse, tokenize

_COMPARE: dict[str, Callable[[str, Any], Clause]] = {
    "==": Eq,
    "=": Eq,
    "!=": NotEq,
    "<>": NotEq,
    "<": Lt,
    "<=": Lte,
    ">": Gt,
    ">=": Gte,
}
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_CONSTANTS = {"true": True, "false": False, "null": None, "none": None}
_VALUE = "a value: a number, 'text' in quotes, true, false or null"


class _Bare(Eq):
    """A field alone, until it is known whether `not` stands before it; parentheses make no difference."""

    __slots__ = ()


class Parser:
    """Reads one text from left to right; a syntax of another product overrides `predicate` and `value`."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = tokenize(text)
        self.index = 0
        self.depth = 0

    def parse(self) -> Clause:
        """Return the clause tree of the whole text."""
        if self.tokens[0][0] == "end":
            return EVERYTHING
        clause = self.disjunct()
        if self.tokens[self.index][0] != "end":
            self.fail("`and`, `or` or the end")
        return _settled(clause)

    def disjunct(self) -> Clause:
        clauses = [self.conjunct()]
        while self.take("or", "||", "|"):
            clauses.append(self.conjunct())
        return clauses[0] if len(clauses) == 1 else Or(tuple(map(_settled, clauses)))

    def conjunct(self) -> Clause:
        clauses = [self.negation()]
        while self.take("and", "&&", "&"):
            clauses.append(self.negation())
        return clauses[0] if len(clauses) == 1 else And(tuple(map(_settled, clauses)))

    def negation(self) -> Clause:
        if not self.take("not", "!", "~"):
            return self.term()
        inner = self.nested(self.negation)
        return Eq(inner.field, False) if isinstance(inner, _Bare) else Not(inner)

    def nested(self, rule: Callable[[], Clause]) -> Clause:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.fail(f"at most {MAX_DEPTH} levels of parentheses and `not`")
        clause = rule()
        self.depth -= 1
        return clause

    def term(self) -> Clause:
        if self.take("("):
            clause = self.nested(self.disjunct)
            self.expect(")")
            return clause
        if self.take("everything"):
            return EVERYTHING
        if self.take("nothing"):
            return NOTHING
        kind, text, _ = self.tokens[self.index]
        if kind in ("number", "string") or (kind == "word" and text.lower() in _CONSTANTS):
            return self.value_first()
        return self.predicate(self.field())

    def value_first(self) -> Clause:
        value = self.value()
        operator = self.take(*_COMPARE) or self.fail("a comparison such as == or <")
        name = self.field()
        clause = _COMPARE[_MIRRORED.get(operator, operator)](name, value)
        if second := self.take(*_COMPARE):
            return all_of([clause, _COMPARE[second](name, self.value())])
        return clause

    def predicate(self, name: str) -> Clause:
        if operator := self.take(*_COMPARE):
            return _COMPARE[operator](name, self.value())
        if self.take("in"):
            return In(name, self.values())
        if self.take("not"):
            self.expect("in")
            return NotIn(name, self.values())
        if self.take("has"):
            return self.contents(name)
        if self.take("between"):
            low = self.value()
            self.expect("and")
            return Between(name, low, self.value())
        if self.take("within"):
            return Within(name, self.window())
        return self.presence(name) if self.take("is") else _Bare(name, True)

    def window(self) -> str:
        value = self.value()
        return value if isinstance(value, str) else self.fail("the name of a window, as '7d'")

    def contents(self, name: str) -> Clause:
        if self.take("any"):
            return In(name, self.values())
        if self.take("all"):
            return all_of([Eq(name, value) for value in self.values()])
        return Eq(name, self.value())

    def presence(self, name: str) -> Clause:
        kind = IsNotNull if self.take("not") else IsNull
        if not self.take("null", "none"):
            self.fail("`null`" if kind is IsNotNull else "`null` or `not null`")
        return kind(name)

    def field(self) -> str:
        kind, text, _ = self.tokens[self.index]
        if kind == "name":
            text = text.replace("``", "`")
        elif kind != "word" or text.lower() in RESERVED:
            self.fail("a field name")
        self.index += 1
        return text

    def value(self) -> Value:
        kind, text, position = self.tokens[self.index]
        self.index += 1
        if kind == "number":
            return read_number(self.text, text, position)
        if kind == "string":
            return read_string(self.text, text, position)
        if kind == "word" and text.lower() in _CONSTANTS:
            return _CONSTANTS[text.lower()]
        self.index -= 1
        return self.fail(_VALUE + ("; for a list write `in [...]`" if text == "[" else ""))

    def values(self) -> tuple[Value, ...]:
        closing = {"[": "]", "(": ")"}[self.take("[", "(") or self.fail("a list such as [1, 2]")]
        values: list[Value] = []
        while not self.take(closing):
            values.append(self.value())
            if len(values) > MAX_VALUES:
                self.fail(f"at most {MAX_VALUES:,} values in a list")
            if not self.take(",") and self.tokens[self.index][1] != closing:
                self.fail(f"`,` or `{closing}`")
        return tuple(values)

    def take(self, *wanted: str) -> str | None:
        """Step over the next token if it is one of these symbols or words; return which."""
        kind, text, _ = self.tokens[self.index]
        found = text.lower() if kind == "word" else text
        if kind not in ("word", "symbol") or found not in wanted:
            return None
        self.index += 1
        return found

    def expect(self, wanted: str) -> None:
        """Step over a token that has to be there."""
        if not self.take(wanted):
            self.fail(f"`{wanted}`")

    def fail(self, expected: str) -> NoReturn:
        """Raise the error that shows what was expected instead of the next token."""
        _, found, position = self.tokens[self.index]
        refuse(self.text, position, f"{expected}, found {repr(found[:40]) if found else 'the end'}")


def _settled(clause: Clause) -> Clause:
    return Eq(clause.field, True) if isinstance(clause, _Bare) else clause


def parse(text: str) -> Clause:
    """Return the clause tree of a text query.

    Raises
    ------
    InvalidError
        Showing the place with a caret, and what was expected there.

    Examples
    --------
    >>> parse("nsfwLevel == 1 and tagIds has 304")
    And(clauses=(Eq(field='nsfwLevel', value=1), Eq(field='tagIds', value=304)))
    """
    return Parser(text).parse()
