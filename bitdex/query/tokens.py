"""The words, numbers, strings and signs of a query text, each with its position.

A token is ``(kind, text, position)``; kind is "number", "string", "word", "name" (it stood in
backquotes), "symbol" or "end".
"""

import re
from typing import NoReturn

from bitdex.errors import InvalidError

Token = tuple[str, str, int]

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>[+-]?(?:\d[\d_]*(?:\.[\d_]*)?|\.\d[\d_]*)(?:[eE][+-]?\d+)?(?![\w.]))
    | (?P<string>'[^'\\]*(?:\\.[^'\\]*)*'|"[^"\\]*(?:\\.[^"\\]*)*")
    | (?P<word>[^\W\d]\w*)
    | `(?P<name>(?:[^`]|``)*)`
    | (?P<symbol>==|!=|<>|<=|>=|&&|\|\||[=<>!~&|()\[\],])
    | (?P<end>\Z)
    )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "0": "\0", "\\": "\\", "'": "'", '"': '"'}
_LONGEST_NUMBER = 400  # digits; more than any float has


def tokenize(text: str) -> list[Token]:
    """Cut a text into tokens; the last one is the end."""
    tokens: list[Token] = []
    position = 0
    while not tokens or tokens[-1][0] != "end":
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            _refuse_character(text, position)
        kind = match.lastgroup
        tokens.append((kind, match[kind], match.start(kind) - (kind == "name")))
        position = match.end()
    return tokens


def read_number(text: str, token: str, position: int) -> int | float:
    """Return the value of a number token of `text`."""
    try:
        if len(token) > _LONGEST_NUMBER:
            raise ValueError
        return float(token) if any(mark in token for mark in ".eE") else int(token)
    except ValueError:
        refuse(text, position, f"a number, found {token[:40]!r}")


def read_string(text: str, token: str, position: int) -> str:
    """Return the value of a string token of `text`."""

    def unescape(match: re.Match[str]) -> str:
        code, character = match[1] or match[2] or match[3], match[4]
        if code and int(code, 16) <= 0x10FFFF:
            return chr(int(code, 16))
        if character not in _ESCAPED:
            refuse(text, position + 1 + match.start(), r"an escape such as \n, \' or \\")
        return _ESCAPED[character]

    return _ESCAPE.sub(unescape, token[1:-1]) if "\\" in token else token[1:-1]


def refuse(text: str, position: int, expected: str) -> NoReturn:
    """Raise the error that shows the place in `text` with a caret."""
    start = max(text.rfind("\n", 0, position) + 1, position - 50)
    line = text[start : position + 50].split("\n")[0].replace("\t", " ")
    raise InvalidError(
        f"Cannot read the query at character {position + 1}: expected {expected}\n"
        f"  {line}\n  {' ' * (position - start)}^"
    )


def _refuse_character(text: str, position: int) -> NoReturn:
    position = len(text) - len(text[position:].lstrip())
    character = text[position]
    if character in "'\"`":
        refuse(text, position, f"a closing {character}")
    if character.isdigit() or character in "+-.":
        refuse(text, position, "a number, or a name in `backquotes`")
    refuse(text, position, f"a field, value or operator, found {character!r}")
