"""Index: the object a user holds. A directory with a schema, documents, bitmaps and dictionaries.

::

    schema.json          the index definition
    commit.bin           the sequence that counts, in two alternating records
    fields.bin           field name -> number
    dictionaries.bin     label -> number
    dumps.json           the phases that were loaded
    documents/  bitmaps/ two silos

A commit: both silos prepare (their meta records name the new sequence), dictionaries and
the record of phases are written, then ``commit.bin``. Each silo is opened at the
sequence that ``commit.bin`` names, so they agree after a crash at any step.
"""

import json
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pyroaring import BitMap

from bitdex import filesystem
from bitdex.bitmaps import BitmapSilo
from bitdex.dictionaries import Dictionaries
from bitdex.documents import SETTLED_HEADROOM, DocSilo
from bitdex.dump.log import PhaseLog, PhaseResult
from bitdex.errors import ClosedError, InvalidError, LockedError, NotFoundError
from bitdex.formats import meta as meta_format
from bitdex.page import Documents, Page, Request
from bitdex.query import plan as planner
from bitdex.query.bind import bind
from bitdex.query.clauses import Clause
from bitdex.query.cursor import Cursor
from bitdex.query.expression import to_clause
from bitdex.query.order import bitmap_of
from bitdex.query.rank import Sort, rank
from bitdex.query.snapshot import Snapshot
from bitdex.registry import FieldRegistry
from bitdex.schema import Schema

if TYPE_CHECKING:
    import pandas as pd

    from bitdex.dump.phases import Phase
    from bitdex.dump.sources import Sources

SLOTS = 1 << 32
WASTE = 0.2


def create(path: str | Path, schema: Any, sync: str = "batch") -> "Index":
    """Make an index in a new or empty directory and open it for writing.

    Parameters
    ----------
    path : directory
    schema : path, mapping or Schema
        The index definition, as YAML or JSON file or as data.
    sync : {"always", "batch", "none"}
        Whether commits wait for the device; "none" leaves that to the operating system.

    Raises
    ------
    InvalidError
        If the definition is wrong, or the directory is not empty.
    """
    directory = Path(path)
    definition = schema if isinstance(schema, Schema) else Schema.load(schema)
    if filesystem.exists(directory) and filesystem.list_directory(directory):
        raise InvalidError(
            f"{directory}: the directory is not empty; open the index in it, or choose another"
        )
    filesystem.make_directory(directory)
    files = _Files(directory)
    record = meta_format.blank(secrets.randbits(63) + 1, "index", 0, 0, 8)
    content = json.dumps(definition.to_mapping(), indent=1) + "\n"
    filesystem.write_whole(files.schema, content.encode(), sync != "none")
    filesystem.write_whole(
        files.commit, meta_format.encode(record).ljust(meta_format.FILE_SIZE, b"\0"), sync != "none"
    )
    return Index(directory, "w", sync)


def open_index(path: str | Path, mode: str = "r", sync: str = "batch") -> "Index":
    """Open an index: "r" to read, "w" to load dumps as well.

    Raises
    ------
    NotFoundError
        If there is no index in the directory.
    """
    return Index(Path(path), mode, sync)


class _Files:
    """The names of an index's files."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.schema = directory / "schema.json"
        self.commit = directory / "commit.bin"
        self.fields = directory / "fields.bin"
        self.dictionaries = directory / "dictionaries.bin"
        self.dumps = directory / "dumps.json"
        self.documents = directory / "documents"
        self.bitmaps = directory / "bitmaps"


class Index:
    """An index opened for reading or writing.

    Any number of threads may query it, one at a time may load. Use it as a context
    manager, or close it.

    Attributes
    ----------
    schema : Schema
    documents : DocSilo
    bitmaps : BitmapSilo
    """

    def __init__(self, directory: Path, mode: str = "r", sync: str = "batch"):
        self._files = _Files(directory)
        if mode not in ("r", "w"):
            raise InvalidError(f'mode: {mode!r} is unknown; use "r" or "w"')
        if not filesystem.exists(self._files.commit):
            raise NotFoundError(
                f"{directory}: there is no index here (no commit.bin); bitdex.create makes one"
            )
        self.mode, self._sync = mode, sync
        self.schema = Schema.load(json.loads(filesystem.read(self._files.schema)))
        self._closed = False
        self._load()

    def _load(self) -> None:
        files = self._files
        self._commit_record = meta_format.decode(filesystem.read(files.commit), None, str(files.commit))
        identity, at = (int(self._commit_record[name][0]) for name in ("identity", "sequence"))
        self._registry = FieldRegistry(files.fields, identity)
        self._dictionaries = Dictionaries(files.dictionaries, identity)
        self._log = PhaseLog(files.dumps, at)
        self.bitmaps = BitmapSilo.open(files.bitmaps, self._silo_mode, at, self._sync, self._dictionaries)
        self.documents = DocSilo.open(
            files.documents, self._silo_mode, at, self._sync, self.schema, self._registry, self._dictionaries
        )
        self._snapshot: Snapshot | None = None

    @property
    def _silo_mode(self) -> str:
        return "w" if not filesystem.exists(self._files.bitmaps / "meta.bin") else self.mode

    @property
    def snapshot(self) -> Snapshot:
        """The committed state that queries see."""
        if self._closed:
            raise ClosedError(f"{self._files.directory}: the index was closed")
        if self._snapshot is None:
            self._snapshot = Snapshot(self.schema, self._registry, self._dictionaries, self.bitmaps)
        return self._snapshot

    # -- loading ---------------------------------------------------------------------------

    def dump(
        self,
        phases: Any,
        source: Any = None,
        only: Sequence[str] | None = None,
        now: float | None = None,
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
        now : float, optional
            Unix seconds that count as the present for deferred documents.
        progress : bool or callable
            Show a bar for each phase; or ``f(phase, rows, bytes, total_bytes)``.

        Returns
        -------
        list of PhaseResult
            Rows read, applied, filtered and rejected, with examples, of each phase.
            A phase that was loaded before replaces what it wrote then.
        """
        if self.mode != "w":
            raise LockedError(f'{self._files.directory}: opened for reading; open it with mode="w"')
        from bitdex.dump.phases import load_phases
        from bitdex.dump.sources import Sources

        chosen = _choose(load_phases(phases, self.schema), only)
        tables, moment = Sources(source), time.time() if now is None else now
        results = [self._load_phase(phase, tables, moment, progress) for phase in chosen]
        self._settle()
        return results

    def _load_phase(self, phase: "Phase", tables: "Sources", now: float, progress: Any) -> PhaseResult:
        from bitdex.dump.load import PhaseLoad
        from bitdex.dump.progress import reporter

        load = PhaseLoad(
            phase,
            self.schema,
            self.documents,
            self.bitmaps,
            self._registry,
            self._dictionaries,
            self._log,
            self._files.directory / "temporary",
            now,
        )
        try:
            with reporter(progress, phase.name, tables.size(phase)) as report:
                result = load.run(tables, report, self._sync != "none")
            self._commit(result.sequence)
        except BaseException:
            self._reopen()
            raise
        return result

    def _commit(self, sequence: int) -> None:
        """Make `sequence` the state of the index: the silos are prepared, everything else is on disk."""
        record = self._commit_record.copy()
        record["sequence"] = sequence
        record["commit"] += 1
        descriptor = filesystem.open_write(self._files.commit)
        try:
            filesystem.write_at(descriptor, meta_format.encode(record), meta_format.place_of(record))
            if self._sync != "none":
                filesystem.sync(descriptor)
        finally:
            filesystem.close(descriptor)
        self._commit_record = record
        self._snapshot = None
        self.documents.silo.finish()
        self.bitmaps.silo.finish()

    def _reopen(self) -> None:
        """Go back to the committed state after a phase that failed."""
        self.documents.silo.close()
        self.bitmaps.silo.close()
        self._load()

    def _settle(self) -> None:
        """Rewrite a silo of which merges have left more than a fifth unused."""
        if self.documents.silo.waste > WASTE:
            self.documents.silo.rewrite(SETTLED_HEADROOM)
        if self.bitmaps.silo.dead_ratio > WASTE:
            self.bitmaps.silo.rewrite()
        self._snapshot = None

    # -- queries ---------------------------------------------------------------------------

    def query(
        self,
        where: Any = None,
        sort: str | None = None,
        limit: int = 100,
        after: Any = None,
        offset: int = 0,
    ) -> Page:
        """Return a page of the documents that match.

        Parameters
        ----------
        where : expression, str, mapping or None
            ``(f.nsfwLevel == 1) & f.tagIds.has(304)``, ``"nsfwLevel == 1 and tagIds has 304"``,
            a JSON filter, or None for all documents.
        sort : str, optional
            A sort field, with ``-`` for descending; newest first if None.
        limit : int
            Documents on the page.
        after : Cursor or str, optional
            The cursor of the page before; wins over `offset`.
        offset : int
            Documents to skip.

        Raises
        ------
        InvalidError
            Naming the field, the value, and what the field accepts.
        """
        clause = to_clause(where)
        _check_count("limit", limit, 1)
        _check_count("offset", offset, 0)
        return self._answer(
            clause, self._bind(clause), Sort.parse(sort), int(limit), Cursor.of(after), int(offset)
        )

    def count(self, where: Any = None) -> int:
        """Return how many documents match."""
        return planner.count(planner.plan(self.snapshot, self._bind(to_clause(where))))

    def ids(self, where: Any = None) -> np.ndarray:
        """Return the ids of all documents that match, ascending, uint32."""
        found = planner.run(planner.plan(self.snapshot, self._bind(to_clause(where))))
        return np.frombuffer(found.to_array(), np.uint32)

    def explain(self, where: Any = None) -> "pd.DataFrame":
        """Return the plan of a query as a DataFrame, one row a step, after running it."""
        import pandas as pd

        return pd.DataFrame(planner.explain(planner.plan(self.snapshot, self._bind(to_clause(where)))))

    def _bind(self, clause: Clause) -> Clause:
        return bind(clause, self.schema, self.snapshot.label)

    def _answer(
        self, where: Clause, bound: Clause, sort: Sort, limit: int, after: Cursor | None, offset: int
    ) -> Page:
        clock = time.perf_counter()
        snapshot = self.snapshot
        found = planner.run(planner.plan(snapshot, bound))
        skip = 0 if after is not None else offset
        ids, cursor = rank(snapshot, found, sort, limit + skip, after)
        if skip:
            ids = ids[skip:]
            cursor = cursor if len(ids) else None
        elapsed = time.perf_counter() - clock
        return Page(self, ids, len(found), cursor, elapsed, Request(where, bound, sort, limit, offset))

    # -- documents -------------------------------------------------------------------------

    def get(self, id: int, fields: Sequence[str] | None = None) -> dict[str, Any]:
        """Return one document as a dict.

        Raises
        ------
        NotFoundError
            If there is no such document, or it is not visible yet.
        """
        if not 0 <= id < SLOTS:
            raise InvalidError(f"id: {id} is outside 0 to {SLOTS - 1}")
        if id not in self.snapshot.alive:
            raise NotFoundError(f"there is no document {id}")
        return self.documents.get(int(id), fields)

    def get_many(self, ids: Any) -> Documents:
        """Return documents by id, in the order given; their columns are read when asked for.

        Raises
        ------
        NotFoundError
            Naming ids that have no visible document.
        """
        wanted = np.asarray(ids)
        if wanted.size == 0:
            wanted = np.empty(0, np.int64)
        if wanted.ndim != 1 or wanted.dtype.kind not in "iu":
            raise InvalidError(
                f"ids: expected integers in one dimension, found {wanted.dtype} {wanted.shape}"
            )
        if len(wanted) and (wanted.min() < 0 or wanted.max() >= SLOTS):
            raise InvalidError(f"ids: {wanted.min()} to {wanted.max()} goes beyond 0 to {SLOTS - 1}")
        slots = wanted.astype(np.uint32)
        missing = _outside(slots, self.snapshot.alive)
        if missing:
            raise NotFoundError(f"there are no documents {', '.join(map(str, list(missing[:5])))}")
        return Documents(self, slots)

    def to_pandas(self, fields: Sequence[str] | None = None) -> "pd.DataFrame":
        """Return all documents as a DataFrame, by id."""
        return Documents(self, self.ids()).to_pandas(fields)

    def __len__(self) -> int:
        return len(self.snapshot.alive)

    def __contains__(self, id: int) -> bool:
        return id in self.snapshot.alive

    # -- state -----------------------------------------------------------------------------

    @property
    def phases(self) -> list[PhaseResult]:
        """The phases that were loaded, with counts, times and rejects."""
        return list(self._log)

    def labels(self, field: str) -> dict[int, str]:
        """Return the labels of a low-cardinality field by number."""
        known = self.schema.field(field)
        if not known.is_labelled:
            raise InvalidError(f"field {field!r} has no labels; it is a {known.kind}")
        return (
            dict(self._dictionaries.labels(self._registry.number(field))) if field in self._registry else {}
        )

    def stats(self) -> dict[str, Any]:
        """Return counts and sizes of the index and its silos."""
        return {
            "documents": len(self.snapshot.alive),
            "sequence": int(self._commit_record["sequence"][0]),
            "phases": [run.name for run in self._log],
            "silos": {"documents": self.documents.silo.stats(), "bitmaps": self.bitmaps.silo.stats()},
        }

    def check(self) -> "pd.DataFrame":
        """Walk every byte of both silos; return the findings as a DataFrame, empty if all is well."""
        import pandas as pd

        from bitdex.silo.check import Finding

        found = [asdict(one) for silo in (self.documents.silo, self.bitmaps.silo) for one in silo.check()]
        return pd.DataFrame(found, columns=list(Finding.__dataclass_fields__))

    def close(self) -> None:
        """Release files and threads. Closing twice is allowed."""
        if not self._closed:
            self._closed = True
            self.documents.silo.close()
            self.bitmaps.silo.close()

    def __enter__(self) -> "Index":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        if self._closed:
            return f"<Index {self.schema.name!r}, closed>"
        return f"<Index {self.schema.name!r}: {len(self):,} documents in {self._files.directory}>"


def _choose(phases: "tuple[Phase, ...]", only: Sequence[str] | None) -> "list[Phase]":
    names = [phase.name for phase in phases]
    wanted = names if only is None else [only] if isinstance(only, str) else list(only)
    for name in wanted:
        if name not in names:
            raise InvalidError(f"only: there is no phase {name!r}; there are {', '.join(names)}")
    return [phase for phase in phases if phase.name in wanted]


def _check_count(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise InvalidError(f"{name}: {value!r} is no whole number of at least {least}")


def _outside(slots: np.ndarray, alive: BitMap) -> BitMap:
    """Return the slots that are not alive."""
    ascending = np.sort(slots)
    distinct = np.append(ascending[1:] != ascending[:-1], True)[: len(slots)]
    return bitmap_of(ascending[distinct]) - alive
