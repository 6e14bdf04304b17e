"""Quantities in the units that suit them."""

UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it.

    >>> duration(0.000042), duration(0.0123), duration(3.5)
    ('42 us', '12.3 ms', '3.5 s')
    """
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} us"
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:,.1f} s"


def size(count: int) -> str:
    """Return a number of bytes in the unit that suits it.

    >>> size(512), size(3 << 20)
    ('512 B', '3.0 MiB')
    """
    number, unit = float(count), 0
    while number >= 1024 and unit < len(UNITS) - 1:
        number, unit = number / 1024, unit + 1
    return f"{number:.1f} {UNITS[unit]}" if unit else f"{count} B"
