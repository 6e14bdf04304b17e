"""Overview: what the fields of an index are and hold."""

from typing import Any

import pandas as pd

from bitdex.query.snapshot import Snapshot
from bitdex.schema import Field
from bitdex.schema_html import sort_of


def overview(snapshot: Snapshot) -> pd.DataFrame:
    """Return what `Index.info` shows."""
    rows = [_row(snapshot, field) for field in snapshot.schema.fields.values()]
    return pd.DataFrame(rows, columns=COLUMNS).astype(
        dict.fromkeys(("values", "documents", "missing"), "Int64")
    )


COLUMNS = ["field", "kind", "filter", "sort", "stored", "default", "values", "documents", "missing"]


def _row(snapshot: Snapshot, field: Field) -> dict[str, Any]:
    missing = len(snapshot.missing(field.name)) if field.indexed else None
    return {
        "field": field.name,
        "kind": field.kind,
        "filter": field.filter,
        "sort": sort_of(field),
        "stored": field.stored,
        "default": list(field.default) if isinstance(field.default, tuple) else field.default,
        "values": len(snapshot.values(field.name)) if field.filter is not None else None,
        "documents": None if missing is None else len(snapshot.alive) - missing,
        "missing": missing,
    }
