"""What every format has to pass: round trips, stored bytes, truncation, flipped bits."""

from collections.abc import Callable, Iterable
from typing import Any

from bitdex.errors import CorruptError
from tests.formats.goldens import cases, golden, stored


def check_round_trip(encode: Callable, decode: Callable, values: Iterable[Any]) -> None:
    """Decode what was encoded, and find the same."""
    for value in values:
        assert decode(encode(value)) == value


def check_golden(format_name: str) -> None:
    """Every case has stored bytes, every stored file a case, and today's bytes are those."""
    assert cases(format_name), f"no case of {format_name} is registered"
    assert stored(format_name) == set(cases(format_name))
    for case, make in cases(format_name).items():
        assert make() == golden(format_name, case), case


def check_truncated(data: bytes, decode: Callable, name: str) -> None:
    """Every shorter file is refused."""
    for length in range(len(data)):
        refuses(decode, data[:length], name, f"cut to {length} bytes")


def check_bit_flips(data: bytes, decode: Callable, name: str, bits: Iterable[int] | None = None) -> None:
    """A file with any one bit flipped is refused."""
    changed = bytearray(data)
    for bit in range(8 * len(data)) if bits is None else bits:
        changed[bit >> 3] ^= 1 << (bit & 7)
        refuses(decode, bytes(changed), name, f"bit {bit & 7} of byte {bit >> 3} flipped")
        changed[bit >> 3] ^= 1 << (bit & 7)


def refuses(decode: Callable, data: bytes, name: str, damage: str) -> None:
    """The decoder refuses these bytes, naming file, offset, expected and found."""
    try:
        found = decode(data)
    except CorruptError as error:
        missing = [word for word in (name, "offset", "expected", "found") if word not in str(error)]
        assert not missing, f"{damage}: {error!s} does not tell {missing}"
        return
    raise AssertionError(f"{damage}: taken for {found!r:.200}")
