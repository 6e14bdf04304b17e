"""An index as HTML: documents, phases, files and fields at a glance."""

from collections.abc import Sequence
from pathlib import Path

from bitdex import filesystem, html
from bitdex.phase_log import PhaseResult
from bitdex.quantities import duration, size
from bitdex.query.snapshot import Snapshot
from bitdex.schema_html import fields_table
from bitdex.silo.state import State
from bitdex.store import BITMAPS, DOCUMENTS, Store

SHOWN = 12  # phases


def index_panel(store: Store, snapshot: Snapshot) -> str:
    """Return an index as HTML."""
    schema, committed = snapshot.schema, store.committed
    waiting = len(snapshot.deferred)
    note = f"{len(snapshot.alive):,} documents" + (f", {waiting:,} waiting" if waiting else "")
    facts = [("path", str(store.directory)), ("opened", f"{store.mode}, sequence {committed.sequence}")]
    facts += [
        (name, _size_of(store.directory / name, committed.state(name))) for name in (DOCUMENTS, BITMAPS)
    ]
    phases = html.folded(f"{len(committed.phases)} phases", _phases_table(committed.phases))
    fields = html.folded(f"{len(schema.fields)} fields", fields_table(schema))
    return html.panel(f"Index {schema.name}", html.table(("", ""), facts), phases, fields, note=note)


def closed_panel(store: Store) -> str:
    """Return an index that is closed as HTML."""
    return html.panel(f"Index {store.schema.name}", note="closed")


def _size_of(directory: Path, state: State) -> str:
    """Return the size of a silo's files, and what waits in its logs."""
    total = sum(count for _, count in filesystem.sizes(directory))
    return size(total) + (f", {state.pending:,} operations pending" if state.pending else "")


def _phases_table(runs: Sequence[PhaseResult]) -> html.Markup:
    names = ("phase", "rows", "applied", "filtered", "rejected", "documents", "took", "started")
    rows = [
        (run.name, run.rows, run.applied, run.filtered, run.rejected, run.documents, duration(run.seconds))
        + (run.started,)
        for run in runs[:SHOWN]
    ]
    return html.table(names, rows, len(runs) - SHOWN)
