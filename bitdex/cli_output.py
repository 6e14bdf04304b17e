"""What the command line prints: aligned tables, records, CSV and JSON."""

import csv
import json
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

LIST_SHOWN = 4  # elements of a list in a table's cell
CELL_WIDTH = 40
UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def table(names: Sequence[str], rows: Iterable[Sequence[Any]], indent: str = "") -> str:
    """Return rows as aligned columns under their names; columns of numbers are set flush right."""
    rows = [list(row) for row in rows]
    columns = list(zip(*rows)) if rows else [()] * len(names)
    lines = [list(map(str, names)), *([cell(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines)]
    right = [bool(column) and all(map(_is_number, column)) for column in columns]
    return "\n".join(
        indent + "  ".join(_pad(text, *column) for text, *column in zip(line, widths, right)).rstrip()
        for line in lines
    )


def fitting(names: Sequence[str], rows: Sequence[Sequence[Any]], width: int | None = None) -> int:
    """Return how many of the columns, from the left, fit a line of the terminal."""
    left = (width or shutil.get_terminal_size().columns) + 2
    for count, (name, *column) in enumerate(zip(names, *rows)):
        left -= max(len(name), *(len(cell(value)) for value in column), 0) + 2
        if left < 0:
            return max(1, count)
    return len(names)


def record(values: Mapping[str, Any]) -> str:
    """Return one document as lines of name and value, nothing shortened."""
    width = max(map(len, values))
    return "\n".join(f"{name:<{width}}  {_plain(value)}" for name, value in values.items())


def cell(value: Any) -> str:
    """Return a value as a table shows it: long lists and texts are cut."""
    if isinstance(value, list) and len(value) > LIST_SHOWN:
        return f"[{', '.join(map(_plain, value[:LIST_SHOWN]))}, +{len(value) - LIST_SHOWN}]"
    text = " ".join(_plain(value).split())
    return text if len(text) <= CELL_WIDTH else text[: CELL_WIDTH - 3] + "..."


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


def to_json(value: Any) -> str:
    """Return a value as one line of JSON."""
    return json.dumps(value, ensure_ascii=False)


def write_csv(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write rows to stdout as RFC 4180 has it; lists become JSON, what is missing an empty cell."""
    writer = csv.writer(sys.stdout)
    writer.writerow(names)
    for row in rows:
        writer.writerow(["" if value is None else _plain(value) for value in row])


def _pad(text: str, width: int, right: bool) -> str:
    return text.rjust(width) if right else text.ljust(width)


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _plain(value: Any) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else to_json(value)
