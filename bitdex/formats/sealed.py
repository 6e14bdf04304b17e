"""Sealed JSON: a text file that carries its own checksum (``schema.json``, ``dumps.json``).

::

    {"crc32c": "89abcdef",
     "name": ...
    }

An object, indented by one space, in ASCII, with a newline at its end. Before its first key
stands the seal: eight lower-case hexadecimal digits, the CRC-32C of the whole text with
zeros in their place. It is none of the object's keys. A text that does not begin so, or of
which any byte is another, is refused.
"""

import json
from collections.abc import Mapping
from typing import Any

from bitdex.errors import CorruptError
from bitdex.kernels.checksum import crc32c

OPEN = b'{"crc32c": "'
DIGITS = 8
_END = len(OPEN) + DIGITS
_ZEROS = DIGITS * b"0"


def encode(mapping: Mapping[str, Any]) -> bytes:
    """Return the sealed text of an object that JSON can hold.

    >>> print(encode({"name": "photos"}).decode(), end="")
    {"crc32c": "f0397861",
     "name": "photos"
    }
    """
    content = json.dumps(mapping, indent=1).encode()[1:] + b"\n"
    rest = b'"' + (b"," if mapping else b"") + content
    return OPEN + _seal(rest) + rest


def decode(data: bytes, name: str) -> dict[str, Any]:
    """Return the object in a sealed text, or refuse it."""
    if not data.startswith(OPEN):
        raise CorruptError.at(name, 0, f"expected {OPEN!r}, found {data[: len(OPEN)]!r}")
    digits, rest = data[len(OPEN) : _END], data[_END:]
    if (found := _seal(rest)) != digits:
        raise CorruptError.at(name, len(OPEN), f"expected checksum {digits!r}, found {found!r}")
    try:
        return json.loads(b"{" + rest.removeprefix(b'"').removeprefix(b","))
    except ValueError as error:  # those of JSON and UTF-8 are such
        raise CorruptError.at(name, _END, f"expected a JSON object, found {error}") from None


def _seal(rest: bytes) -> bytes:
    return b"%08x" % crc32c(OPEN + _ZEROS + rest)
