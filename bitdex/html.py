"""HTML for notebooks: small tables that are right on light and on dark, whatever the values are.

Nothing of a value is markup: it is cut to `LONGEST` characters, freed of control characters, escaped, and
isolated, so that right-to-left text does not turn what stands beside it. Colours are the notebook's own, or
half transparent. There are no scripts.
"""

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

LONGEST = 80  # characters of a value
ELEMENTS = 6  # of a list
WIDE = 1 << 64  # integers from here on may have more digits than Python writes
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_BAR = "display:inline-block;height:.7em;margin-left:6px;background:rgba(64,128,224,.55)"
_STYLE = """<style>
.bitdex{font-size:90%;line-height:1.4;max-width:100%;overflow-x:auto}
.bitdex table{border-collapse:collapse;margin:4px 0}
.bitdex table td,.bitdex table th{padding:2px 8px;text-align:left;vertical-align:top;white-space:nowrap;
color:inherit;background:transparent;border:0;border-bottom:1px solid rgba(128,128,128,.3)}
.bitdex table td.n{text-align:right}
.bitdex summary{cursor:pointer}
</style>"""


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Shown:
    """HTML that a notebook shows."""

    content: str

    def _repr_html_(self) -> str:
        return self.content

    def __repr__(self) -> str:
        return f"<HTML of {len(self.content):,} characters, for a notebook>"


def text(value: Any) -> str:
    """Return any value as short, harmless HTML.

    >>> text("<script>"), text(1234567), text(None)
    ('<bdi>&lt;script&gt;</bdi>', '1,234,567', '')
    """
    if isinstance(value, Markup):
        return value
    if value is None or value != value:  # NaN
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}" if -WIDE < value < WIDE else cut(hex(value))
    return f"<bdi>{escaped(plain(value))}</bdi>"


def plain(value: Any) -> str:
    """Return a value as one line of text, cut short."""
    if isinstance(value, list | tuple):
        shown = ", ".join(plain(one) for one in value[:ELEMENTS])
        more = f", +{len(value) - ELEMENTS:,}" if len(value) > ELEMENTS else ""
        return f"[{cut(shown)}{more}]"
    if isinstance(value, int) and not -WIDE < value < WIDE:
        return cut(hex(value))
    return cut(value if isinstance(value, str) else str(value))


def cut(value: str) -> str:
    """Return a text of at most `LONGEST` characters."""
    return value if len(value) <= LONGEST else value[: LONGEST - 1] + "…"


def escaped(value: str) -> str:
    """Return a text for HTML or an attribute of it, without control characters and half surrogates."""
    printable = "".join(
        "�" if (one < " " and one not in "\t\n") or "\ud800" <= one <= "\udfff" else one for one in value
    )
    return html.escape(printable)


def table(names: Sequence[str], rows: Iterable[Sequence[Any]], more: int = 0) -> Markup:
    """Return a table; `more` rows that are not shown are counted below it."""
    head = "".join(f"<th>{text(name)}</th>" for name in names)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    rest = f"<div>… {more:,} more</div>" if more > 0 else ""
    return Markup(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{rest}")


def bar(value: int, largest: int) -> Markup:
    """Return a number and a bar of its share of the largest."""
    return Markup(f'{value:,}<span style="{_BAR};width:{60 * value / largest:.0f}px"></span>')


def panel(title: str, *parts: str, note: str = "") -> str:
    """Return parts (HTML) under a title; the note, beside it, is text."""
    beside = f' <span style="opacity:.7">{text(note)}</span>' if note else ""
    return f'{_STYLE}<div class="bitdex"><div><b>{text(title)}</b>{beside}</div>{"".join(parts)}</div>'


def folded(title: str, part: str) -> Markup:
    """Return a part (HTML) that opens at a click."""
    return Markup(f"<details><summary>{text(title)}</summary>{part}</details>")


def _cell(value: Any) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"<td{' class=n' if is_number else ''}>{text(value)}</td>"
