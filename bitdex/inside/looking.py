"""Looking: the part of an index that shows what it is made of, and explains its answers."""

from typing import TYPE_CHECKING, Any, cast

from bitdex.completion import attribute, trust
from bitdex.live.rows import slot_of
from bitdex.query.expression import FieldMaker, KnownField, to_clause
from bitdex.query.shown import Shown
from bitdex.query.windows import moment_of
from bitdex.store import Store

if TYPE_CHECKING:
    import pandas as pd

    from bitdex.inside.containers import Containers
    from bitdex.page_ui import Cards


class Looking(Shown):
    """The part of an index that people look at; nothing here changes it."""

    _store: Store
    _cards: "Cards | None" = None

    # -- in a notebook ---------------------------------------------------------------------

    @attribute
    def f(self) -> FieldMaker:
        """The fields of the index: as `bitdex.field`, but only names that exist, which Tab completes.

        So it does values: ``index.f.type["<Tab>``.
        """
        from bitdex.inside.values import few_values

        trust(FieldMaker, KnownField)
        return FieldMaker(self.schema, lambda name: few_values(self.snapshot, name))

    @property
    def ui(self) -> "Cards | None":
        """How pages look in a notebook: as cards, or None for tables.

        Set it to a UI configuration, a path or a mapping; it lasts as long as the index is open.
        """
        return self._cards

    @ui.setter
    def ui(self, configuration: Any) -> None:
        from bitdex.page_ui import Cards

        self._cards = None if configuration is None else Cards.load(configuration, self.schema.fields)

    def _ipython_key_completions_(self) -> list[str]:
        from bitdex.inside.values import conditions

        told = [] if self._store.guard.closed else conditions(self.snapshot)
        return [*self.schema.fields, *told]

    def _repr_html_(self) -> str:
        from bitdex.inside.panel import closed_panel, index_panel

        return (
            closed_panel(self._store) if self._store.guard.closed else index_panel(self._store, self.snapshot)
        )

    def plot(self, what: str = "space", ax: Any = None) -> Any:
        """Draw what the index is made of; return the axes of matplotlib.

        Parameters
        ----------
        what : {"space", "containers", "probes", "headroom", "log"}
            Bytes of both data files by use, containers by field, and, of both silos: entries that a lookup
            looks at, room that records have, growth of the logs.
        ax : matplotlib axes, optional
            New ones by default.

        Raises
        ------
        InvalidError
            If `what` is none of these.
        MissingError
            If matplotlib is not installed.
        """
        from bitdex.inside.plots import plot

        self._store.guard.check_open()
        return plot(self._store, what, ax)

    # -- what it is made of ----------------------------------------------------------------

    def info(self) -> "pd.DataFrame":
        """Return what each field is and holds, one row a field.

        Columns: field, kind, filter, sort, stored, default, values (distinct ones of a filter field),
        documents (visible ones that have a value, or a default), missing (those without).
        """
        from bitdex.inside.overview import overview

        return overview(self.snapshot)

    def memory(self, by: str = "field") -> "pd.DataFrame":
        """Return what the bytes of all files are for; they sum to the sizes of the files.

        Those of a data file are what this object shows, also if a writer in another process has replaced it.
        Every record of both silos is read and verified.

        Parameters
        ----------
        by : {"field", "value", "container", "file"}
            A row for each field, each stored bitmap, each kind of Roaring container, or each file.

        Returns
        -------
        DataFrame
            file, part (values, layers, present, documents, frames, headroom, dead, hash index, log, ...),
            field, value, count (of bitmaps or entries), arrays, bitsets, runs (containers), bytes; the
            largest first.

        Raises
        ------
        InvalidError
            If `by` is none of these.
        CorruptError
            If a record does not hold; `check` finds all of them.
        """
        from bitdex.inside.memory import memory_of

        self._store.guard.check_open()
        return memory_of(self._store, by)

    def containers(
        self, field: str | None = None, value: Any = None, *, bit: int | None = None
    ) -> "Containers":
        """Return the containers of one stored Roaring bitmap as read-only NumPy arrays, for your kernels.

        Parameters
        ----------
        field : str, optional
            A filter field; a sort field with `bit`. By default the bitmap of all visible documents.
        value : optional
            The value of the filter field, as documents have it.
        bit : int, optional
            The layer of the sort field: that bit of its values in unsigned form (`formats.bitmap`).

        Returns
        -------
        Containers
            Of the state that is committed now. Nothing is copied (`mapped`), unless changes wait in the logs,
            or behind the bitmap in its file: they are folded into a private copy. As it is stored: documents
            that have the value by default only are not in it, and those that wait for their time are.

        Raises
        ------
        InvalidError
            If the field is unknown, has no bitmaps of that kind, or the value is not one of its.
        """
        from bitdex.inside.containers import containers_of

        return containers_of(self.snapshot, field, value, bit)

    # -- why an answer is what it is --------------------------------------------------------

    def why(self, id: int, where: Any, now: Any = None, snap: bool = False) -> "pd.DataFrame":
        """Return, clause by clause, whether a document matches a query; no other document is looked at.

        Columns: depth, clause (as it was written), holds, value (that the document has).

        Raises
        ------
        NotFoundError
            If there is no such document, or it waits for its time.
        InvalidError
            Naming the field, the value, and what the field accepts.
        """
        from bitdex.inside.why import why

        snapshot = self.snapshot
        return why(snapshot, slot_of(id), to_clause(where), moment_of(now, snap, snapshot.settle))

    def relax(self, where: Any, now: Any = None, snap: bool = False) -> "pd.DataFrame":
        """Return how many results each clause of a conjunction costs, the dearest first.

        Columns: clause, matches (of the clause alone), without (results of the query without it), costs (how
        many that is more). ``attrs["total"]`` says how many the query has.
        """
        from bitdex.inside.why import relax

        snapshot = self.snapshot
        return relax(snapshot, to_clause(where), moment_of(now, snap, snapshot.settle))

    def check_against(
        self, df: Any, queries: int = 200, seed: int = 0, progress: bool = False
    ) -> "pd.DataFrame":
        """Ask random queries of the index and of a table of the same documents; return where they differ.

        Counts and the first rows in a random order are compared, each query as text.

        Parameters
        ----------
        df : DataFrame or Arrow table
            With a column (or an index) ``id`` and columns of indexed fields; other columns are ignored, and
            so are documents that wait for their time.
        queries : int
        seed : int
            The same queries for the same table.
        progress : bool
            Show a bar.

        Returns
        -------
        DataFrame
            One row a difference, none if there is none: query, sort, what ("ids", "count" or "page"), index
            and table (what each answers), only_index, only_table (examples of ids). ``attrs`` tells what was
            asked.

        Raises
        ------
        InvalidError
            If the table has no ids, an id twice, no column to ask about, or one of another type.
        """
        from bitdex.inside.against import Asked, check_against

        return check_against(cast(Asked, self), df, queries, seed, progress)
