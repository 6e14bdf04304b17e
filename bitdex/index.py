"""Index: the object a user holds: load dumps into it, query it, read documents (files: `bitdex.store`)."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pyroaring import BitMap

from bitdex.bitmaps import BitmapSilo
from bitdex.cache_silo import CacheSilo
from bitdex.completion import attribute
from bitdex.documents import DocSilo
from bitdex.errors import BitdexError, InvalidError, NotFoundError, WriteFailedError
from bitdex.inside.looking import Looking
from bitdex.live.between import moved_on
from bitdex.live.changing import Changing
from bitdex.live.rows import ids_of, is_slot, slot_of
from bitdex.live.upkeep import check_seconds, give_back
from bitdex.page import Documents
from bitdex.phase_log import PhaseResult
from bitdex.query.answers import Answers
from bitdex.query.bindings import Bindings
from bitdex.query.expression import OPENED
from bitdex.query.newest import Newest
from bitdex.query.order import bitmap_of
from bitdex.query.snapshot import Snapshot
from bitdex.query.windows import present_of
from bitdex.querying import Querying
from bitdex.schema import Schema
from bitdex.sets import Sets
from bitdex.silo.belongings import weakly
from bitdex.staying import Staying
from bitdex.store import Store

if TYPE_CHECKING:
    import pandas as pd

    from bitdex.dump.phases import Phase
    from bitdex.dump.sources import Sources


def create(path: str | Path, schema: Any, sync: str = "batch", maintenance: float | None = None) -> "Index":
    """Make an index in a new or empty directory and open it for writing.

    Parameters
    ----------
    path : directory
    schema : path, mapping or Schema
        The index definition, as YAML or JSON file or as data.
    sync : {"always", "batch", "none"}
        When single writes are acknowledged (`Silo.open`); a phase is always on the device when it ends.
    maintenance : float, optional
        Seconds between two rounds of `Index.maintain` in a thread; none by default.

    Raises
    ------
    InvalidError
        If an argument or the definition is wrong, or the directory is not empty.
    LockedError
        If somebody else is making an index in it.
    """
    definition = schema if isinstance(schema, Schema) else Schema.load(schema)
    check_seconds(maintenance)
    Store.create(Path(path), definition, sync)
    return Index(Path(path), "w", sync, maintenance)


def open_index(
    path: str | Path, mode: str = "w", sync: str = "batch", maintenance: float | None = None
) -> "Index":
    """Open an index: "w" to load dumps, change and query, "r" to query only (`create` has the others).

    Raises
    ------
    NotFoundError
        If there is no index in the directory.
    LockedError
        If somebody else has it open for writing: who, and since when.
    """
    return Index(Path(path), mode, sync, maintenance)


class Index(Querying, Changing, Looking, Staying):
    """An index opened for reading or writing.

    Any number of threads may query it, also while one of them loads: they see the last commit. Readers in
    other processes open it with mode "r" and see the commit they opened until they `refresh`.
    Use it as a context manager, or close it.
    """

    def __init__(
        self, directory: Path, mode: str = "w", sync: str = "batch", maintenance: float | None = None
    ):
        store = self._store = Store(directory, mode, sync)
        silo = CacheSilo(self.path, store.registry.identity + 2, lambda: store.mark)
        OPENED.update(self.schema.fields)
        self._answers = Answers(self.schema.settings.get("cache", {}), silo)
        self._bindings = Bindings()
        begin = partial(self._answers.open, writes=store.mode == "w")
        self._newest = Newest(lambda: store.committed, weakly(self._committing), begin)
        if maintenance is not None:
            self._keep_up(maintenance)

    @property
    def path(self) -> Path:
        """The directory of the index."""
        return self._store.directory

    @property
    def schema(self) -> Schema:
        """The index definition, as it is committed."""
        return self._store.committed.documents.schema

    @property
    def documents(self) -> DocSilo:
        """The documents, by slot."""
        return self._store.documents

    @property
    def bitmaps(self) -> BitmapSilo:
        """The bitmaps, by field and value."""
        return self._store.bitmaps

    @property
    def snapshot(self) -> Snapshot:
        """The committed state that queries see."""
        self._store.guard.check_open()
        return self._newest.get()

    def _committing(self) -> bool:
        return self._batch is not None

    def refresh(self) -> bool:
        """Move a reader on to the newest commit; return whether there is another than before.

        Pages and documents that were taken before keep showing what they were taken from. An index
        that is open for writing always shows its newest commit.
        """
        self._store.guard.check_open()
        with self._store.turn.taken():
            return moved_on(self._store, self._newest)

    # -- loading ---------------------------------------------------------------------------

    def dump(
        self,
        phases: Any,
        source: Any = None,
        only: Sequence[str] | None = None,
        now: Any = None,
        progress: bool | Callable[[str, int, int, int], None] = False,
    ) -> list[PhaseResult]:
        """Load table dumps, phase by phase; each phase is one commit.

        Parameters
        ----------
        phases : path, mapping or list
            YAML with ``dump_phases``, its content, a list of phases or one phase.
        source : path or mapping
            The directory with the files, or DataFrames, Arrow tables and paths by phase
            and lookup name.
        only : sequence of str, optional
            Names of the phases to load; all of them if None.
        now : float, datetime or str, optional
            Unix seconds, or a date, that count as the present: what is deferred then stays so until its
            phase is loaded again. By default the clock decides, now and later.
        progress : bool or callable
            Show a bar for each phase; or ``f(phase, rows, bytes, total_bytes)``.

        Returns
        -------
        list of PhaseResult
            Rows read, applied, filtered and rejected, with examples, of each phase.
            A phase that was loaded before replaces what it wrote then.
        """
        self._store.guard.check_writable()
        from bitdex.dump.phases import choose, load_phases
        from bitdex.dump.sources import Sources

        chosen = choose(load_phases(phases, self.schema), only)
        tables, present = Sources(source), present_of(now)
        store = self._store
        store.turn.check()
        with store.maintenance.taken(), store.turn.taken(), store.guard.writing():
            results = [self._load_phase(phase, tables, present, progress) for phase in chosen]
            self._store.settle()
        return results

    def _load_phase(self, phase: "Phase", tables: "Sources", now: float | None, progress: Any) -> PhaseResult:
        from bitdex.dump.load import PhaseLoad
        from bitdex.progress import reporter

        try:
            self._store.settle_logs()
            with reporter(progress, phase.name, tables.size(phase)) as report:
                result = PhaseLoad(phase, self._store, now).run(tables, report)
            self._store.commit(result.sequence)
        except WriteFailedError:  # what the device holds is only known when the index is opened again
            raise
        except BaseException:
            self._store.reopen()
            raise
        return result

    # -- documents -------------------------------------------------------------------------

    def get(self, id: int, fields: Sequence[str] | None = None) -> dict[str, Any]:
        """Return one document as a dict.

        Raises
        ------
        NotFoundError
            If there is no such document, or it is not visible yet.
        """
        slot, snapshot = slot_of(id), self.snapshot
        if slot not in snapshot.alive:
            raise NotFoundError(f"there is no document {id}")
        return snapshot.documents.get(slot, fields)

    def get_many(self, ids: Any) -> Documents:
        """Return documents by id, in the order given; their columns are read when asked for.

        Parameters
        ----------
        ids : integers in any iterable
            An array, Series or Index, list, range, set, generator, bitmap or selection.

        Raises
        ------
        NotFoundError
            Naming ids that have no visible document.
        InvalidError
            Naming the first that is no id.
        """
        slots = ids_of(ids)
        snapshot = self.snapshot
        missing = _outside(slots, snapshot.alive)
        if missing:
            raise NotFoundError(f"there are no documents {', '.join(map(str, list(missing[:5])))}")
        return Documents(snapshot.documents, slots)

    def to_pandas(self, fields: Sequence[str] | None = None) -> "pd.DataFrame":
        """Return all documents as a DataFrame, by id."""
        return Documents(self.snapshot.documents, self.ids()).to_pandas(fields)

    def to_parquet(
        self,
        path: str | Path,
        where: Any = None,
        fields: Sequence[str] | None = None,
        sort: str | None = None,
        **options: Any,
    ) -> int:
        """Write the documents that match into a Parquet file, batch by batch; return how many.

        Parameters
        ----------
        path : file
            It is there whole, or not at all; one that is there already is replaced.
        where : query, Selection or ids, optional
        fields, sort : optional
            As for `Selection.to_pandas`.
        **options
            Of `pyarrow.parquet.ParquetWriter`, such as ``compression="zstd"``.
        """
        from bitdex.analysis.export import write_parquet

        return write_parquet(path, self.where(where).batches(fields=fields, sort=sort), **options)

    @attribute
    def sets(self) -> Sets:
        """The saved sets, by name: ``index.sets["hot"] = index["reactionCount > 100"]``."""
        return Sets(self)

    def __len__(self) -> int:
        return len(self.snapshot.alive)

    def __contains__(self, id: int) -> bool:
        return is_slot(id) and id in self.snapshot.alive

    # -- state -----------------------------------------------------------------------------

    @property
    def phases(self) -> list[PhaseResult]:
        """The phases that were loaded, with counts, times and rejects."""
        return list(self._store.committed.phases)

    def labels(self, field: str) -> dict[int, str]:
        """Return the labels of a low-cardinality field by number."""
        known = self.schema.field(field)
        if not known.is_labelled:
            raise InvalidError(f"field {field!r} has no labels; it is a {known.kind}")
        documents = self._store.committed.documents
        if field not in documents.registry:
            return {}
        return dict(documents.dictionaries.labels(documents.registry.number(field)))

    def stats(self) -> dict[str, Any]:
        """Return counts and sizes of the index and its silos; `kept`: bytes in memory for queries."""
        from bitdex.analysis import found, kept

        snapshot, committed = self.snapshot, self._store.committed
        derived = {"codes": kept.kept_bytes(snapshot.derived), "sets": found.kept_bytes(snapshot)}
        return {
            "documents": len(snapshot.alive),
            "sequence": committed.sequence,
            "phases": [run.name for run in committed.phases],
            "cache": self._answers.stats(),
            "kept": snapshot.kept | derived,
            "silos": committed.silo_stats(self.path),
        }

    def check(self) -> "pd.DataFrame":
        """Read every byte of every file; return what is wrong as a DataFrame (`bitdex.check`)."""
        from bitdex.findings import check

        self._store.guard.check_open()
        return check(self.path)

    @property
    def needs_compaction(self) -> bool:
        """Whether `compact` has something to gain: many operations in the logs, or much dead space."""
        return self._store.needs_compaction

    def compact(self, progress: bool = False) -> None:
        """Move what waits in the logs into the data files and reclaim dead space; queries go on meanwhile."""
        self._store.turn.check()
        with self._store.maintenance.taken(), self._store.guard.writing():
            self._store.compact(progress)
            self._save_answers()
        give_back()

    def backup(self, path: str | Path, progress: bool = False) -> None:
        """Write the newest commit into a new or empty directory, as an index of its own; loading goes on.

        `bitdex.restore` checks a backup and copies it back. Raises as `Silo.backup` does.
        """
        from bitdex.backup import write_backup

        self._store.guard.check_open()
        write_backup(self._store, path, progress)

    def close(self) -> None:
        """Release files and threads. Closing twice is allowed; what another thread loads is awaited.

        Raises
        ------
        InvalidError
            Inside a `batch` of this thread, which has to end first.
        """
        guard = self._store.guard
        if guard.closed:
            return
        if not guard.here:  # a fork: the locks of its parent's threads never open here
            self._store.close()
            return
        self._store.turn.check()
        self._stop_upkeep()
        with self._store.maintenance.awaited():
            self._save_answers()
            with self._store.turn.awaited():
                self._store.close()

    def _save_answers(self) -> None:
        """Save what is kept of queries, unless nobody asked or nothing may be written.

        If what is committed cannot be forced to the device, the next write tells.
        """
        store = self._store
        if store.mode == "r" or self._newest.shown is None or store.failure is not None:
            return
        with store.turn.awaited(), suppress(BitdexError, OSError), store.guard.writing():
            self._answers.save(self.snapshot, store.settle_logs)

    def _instead(self) -> tuple[str, str]:
        return f"{self!r}", f'hand on its path and open it there: bitdex.open({str(self.path)!r}, "r")'

    def __enter__(self) -> "Index":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        if self._store.guard.closed:
            return f"<Index {self.schema.name!r}, closed>"
        return f"<Index {self.schema.name!r}: {len(self):,} documents in {self.path}>"


def _outside(slots: np.ndarray, alive: BitMap) -> BitMap:
    """Return the slots that are not alive."""
    ascending = np.sort(slots)
    distinct = np.append(ascending[1:] != ascending[:-1], True)[: len(slots)]
    return bitmap_of(ascending[distinct]) - alive
