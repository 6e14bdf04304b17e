"""What the command line prints: aligned tables, records, CSV and JSON."""

import csv
import json
import math
import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bitdex.quantities import duration, size

if TYPE_CHECKING:
    import pandas as pd

    from bitdex.index import Index
    from bitdex.page import Page

LIST_SHOWN = 4  # elements of a list in a table's cell
CELL_WIDTH = 56
NUMBER = re.compile(r"-?[\d,]+(\.\d+)?(e[+-]?\d+)?( \w{1,3})?|-")  # 12, 3.5, 4.0 MiB, 20 us, or nothing


def table(names: Sequence[str], rows: Iterable[Sequence[Any]], indent: str = "") -> str:
    """Return rows as aligned columns under their names; columns of numbers are set flush right."""
    lines = [list(names), *([cell(value) for value in row] for row in rows)]
    columns = [_aligned(column) for column in zip(*lines)]
    return "\n".join(indent + "  ".join(line).rstrip() for line in zip(*columns))


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
    return "\n".join(f"{name:<{width}}  {_harmless(_plain(value))}" for name, value in values.items())


def cell(value: Any) -> str:
    """Return a value as a table shows it: long lists and texts are cut."""
    if isinstance(value, list) and len(value) > LIST_SHOWN:
        return f"[{', '.join(map(_plain, value[:LIST_SHOWN]))}, +{len(value) - LIST_SHOWN}]"
    text = _harmless(" ".join(_plain(value).split()))
    return text if len(text) <= CELL_WIDTH else text[: CELL_WIDTH - 3] + "..."


def to_json(value: Any) -> str:
    """Return a value as one line of JSON, in which numbers that JSON does not have are null."""
    return json.dumps(_finite(value), ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(one) for name, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list | tuple) else value


def write_csv(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write rows to stdout as RFC 4180 has it; lists become JSON, what is missing an empty cell."""
    writer = csv.writer(sys.stdout)
    writer.writerow(names)
    for row in rows:
        writer.writerow(["" if value is None else _plain(value) for value in row])


def page_content(page: "Page", fields: list[str] | None) -> dict[str, Any]:
    """Return a page as data for JSON."""
    return {
        "ids": page.ids.tolist(),
        "total": page.total,
        "cursor": _cursor(page),
        "documents": page.documents(fields),
    }


def print_page(page: "Page", fields: list[str] | None, as_csv: bool) -> None:
    """Print a page as a table or as CSV, and where the next one begins."""
    names, rows = _columns(page, fields)
    if as_csv:
        write_csv(names, rows)
    else:
        shown = fitting(names, rows) if fields is None else len(names)
        print(table(names[:shown], [row[:shown] for row in rows]))
        if shown < len(names):
            print(f"and {len(names) - shown} more fields: {', '.join(names[shown:])}")
        print()
    summary = f"{len(page):,} of {page.total:,} documents by {page.request.sort} in {duration(page.elapsed)}"
    following = f"; next page: --after {cursor}" if (cursor := _cursor(page)) else ""
    print(f"{summary}{following}", file=sys.stderr if as_csv else sys.stdout)


def print_findings(found: "pd.DataFrame", action: str | None = None) -> None:
    """Print what a check or a repair has found; `action` is the name of what is done about it."""
    for one in found.itertuples():
        print(f"{one.file}: offset {one.offset}: {one.what} ({one.severity}); {one.remedy}")
        if action:
            print(f"  {action}: {one.action}")


def print_stats(index: "Index", found: Mapping[str, Any]) -> None:
    """Print what `Index.stats` returns, and the phases."""
    print(f"index {index.schema.name!r}: {found['documents']:,} documents, sequence {found['sequence']}\n")
    silos = found["silos"]
    facts = [name for name in next(iter(silos.values())) if name != "rule"]
    print(
        table(["silo", *silos], [[name, *(_fact(name, s[name]) for s in silos.values())] for name in facts])
    )
    if index.phases:
        names = ("rows", "applied", "filtered", "rejected", "documents", "seconds")
        rows = [[phase.name, *(f"{getattr(phase, name):,}" for name in names)] for phase in index.phases]
        print("\n" + table(["phase", *names], rows))


def _cursor(page: "Page") -> str | None:
    """Return where the next page begins, or None if this page was not full."""
    return str(page.cursor) if page.cursor and len(page) == page.request.limit else None


def _columns(page: "Page", fields: list[str] | None) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Return the names of a page's columns, what it is sorted by first, and its rows."""
    found = page.to_arrow(fields)
    names = ["id", *fields] if fields is not None else ["id", page.request.sort.field, *found.column_names]
    names = [name for name in dict.fromkeys(names) if name in found.column_names]
    return names, list(zip(*(found.column(name).to_pylist() for name in names)))


def _fact(name: str, value: float) -> str:
    if name.endswith("bytes"):
        return size(int(value))
    return f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"


def _aligned(column: Sequence[str]) -> list[str]:
    width = max(map(len, column))
    right = len(column) > 1 and all(NUMBER.fullmatch(text) for text in column[1:])
    return [text.rjust(width) if right else text.ljust(width) for text in column]


def _plain(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return repr(value)
    return value if isinstance(value, str) else to_json(value)


def _harmless(text: str) -> str:
    """Return a text in which what would control a terminal is spelled out; lines and tabs stay."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or one in "\n\t" else one.encode("unicode_escape").decode() for one in text
    )
