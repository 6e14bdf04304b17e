"""A silo as HTML: what it holds, and how its bytes are used."""

from typing import TYPE_CHECKING

from bitdex import html
from bitdex.quantities import size

if TYPE_CHECKING:
    from bitdex.silo.silo import Silo


def silo_panel(silo: "Silo") -> str:
    """Return a silo as HTML; of one that is closed, the name."""
    if silo._guard.closed:
        return html.panel(f"Silo {silo.files.directory}", note="closed")
    stats = silo.stats()
    parts = {name: stats[f"{name}_bytes"] for name in ("live", "headroom", "dead", "log", "index")}
    largest = max(1, *parts.values())
    rows = [(name, size(count), html.bar(count, largest)) for name, count in parts.items()]
    note = (
        f"{stats['keys']:,} keys, {stats['pending']:,} operations pending, rule {stats['rule']}, "
        f"sequence {stats['sequence']}, mode {silo.mode}"
    )
    return html.panel(f"Silo {silo.files.directory}", html.table(("part", "size", "bytes"), rows), note=note)
