"""An index as HTML: documents, phases, files and fields at a glance."""

from bitdex import filesystem, html
from bitdex.quantities import duration, size
from bitdex.query.snapshot import Snapshot
from bitdex.schema_html import fields_table
from bitdex.store import BITMAPS, DOCUMENTS, Store

SHOWN = 12  # phases


def index_panel(store: Store, snapshot: Snapshot) -> str:
    """Return an index as HTML."""
    schema = snapshot.schema
    waiting = len(snapshot.deferred)
    note = f"{len(snapshot.alive):,} documents" + (f", {waiting:,} waiting" if waiting else "")
    facts = [("path", str(store.directory)), ("opened", f"{store.mode}, sequence {store.sequence}")]
    facts += [(name, _size_of(store, name)) for name in (DOCUMENTS, BITMAPS)]
    phases = html.folded(f"{len(store.committed.phases)} phases", _phases_table(store))
    fields = html.folded(f"{len(schema.fields)} fields", fields_table(schema))
    return html.panel(f"Index {schema.name}", html.table(("", ""), facts), phases, fields, note=note)


def closed_panel(store: Store) -> str:
    """Return an index that is closed as HTML."""
    return html.panel(f"Index {store.schema.name}", note="closed")


def _size_of(store: Store, name: str) -> str:
    """Return the size of a silo's files, and what waits in its logs."""
    directory = store.directory / name
    total = sum(filesystem.size(directory / one) for one in filesystem.list_directory(directory))
    pending = getattr(store, name).silo.pending
    return size(total) + (f", {pending:,} operations pending" if pending else "")


def _phases_table(store: Store) -> html.Markup:
    runs = store.committed.phases
    names = ("phase", "rows", "applied", "filtered", "rejected", "documents", "took", "started")
    rows = [
        (run.name, run.rows, run.applied, run.filtered, run.rejected, run.documents, duration(run.seconds))
        + (run.started,)
        for run in runs[:SHOWN]
    ]
    return html.table(names, rows, len(runs) - SHOWN)
