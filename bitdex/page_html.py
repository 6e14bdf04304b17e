"""A page as HTML: its first documents as a table, or as cards if a UI configuration tells what is on one."""

from typing import TYPE_CHECKING, Any

from bitdex import html
from bitdex.page_ui import Cards
from bitdex.quantities import duration

if TYPE_CHECKING:
    from bitdex.page import Page

ROWS, COLUMNS, CARDS = 10, 12, 24


def page_panel(page: "Page") -> str:
    """Return a page as a table of its first documents."""
    return html.panel("Page", documents_table(page.first(ROWS), len(page)), note=_note(page))


def documents_table(documents: list[dict[str, Any]], count: int) -> html.Markup:
    """Return the first of so many documents as a table."""
    names = list(dict.fromkeys(name for one in documents for name in one))
    shown = names[:COLUMNS]
    rows = [[_number(one.get(name)) for name in shown] for one in documents]
    hidden = f"<div>… and {len(names) - COLUMNS} more fields</div>" if len(names) > COLUMNS else ""
    return html.Markup(html.table(shown, rows, count - len(rows)) + hidden)


def cards_panel(page: "Page", cards: Cards) -> str:
    """Return a page as cards, which flow into as many columns as there is room for."""
    shown = page.first(CARDS)
    more = f"<div>… {len(page) - len(shown):,} more</div>" if len(page) > len(shown) else ""
    grid = '<div style="display:flex;flex-wrap:wrap;gap:8px;margin-top:6px">'
    return html.panel(cards.title, grid, *map(cards.card, shown), "</div>", more, note=_note(page))


def _note(page: "Page") -> str:
    kept = ", kept" if page.cached else ""
    return f"{len(page):,} of {page.total:,} documents by {page.request.sort}, {duration(page.elapsed)}{kept}"


def _number(value: Any) -> Any:
    """Return a value as a table shows it: whole numbers without separators, which are easier to copy."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value
