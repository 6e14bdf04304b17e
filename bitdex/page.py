"""What queries and look-ups return: a page of ids, and documents by id, to be taken in any form."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bitdex.documents import DocSilo
from bitdex.query.clauses import Clause
from bitdex.query.cursor import Cursor
from bitdex.query.rank import Sort
from bitdex.query.snapshot import Snapshot
from bitdex.staying import Staying

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from bitdex.html import Shown
    from bitdex.query.explained import Plan
    from bitdex.querying import Querying


class Documents(Staying):
    """Documents by id, read when they are asked for.

    Attributes
    ----------
    ids : ndarray of uint32, shape (n,)
        In the order in which the documents come.
    """

    def __init__(self, source: DocSilo, ids: np.ndarray):
        self._source = source
        self.ids = ids

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.documents())

    def _instead(self) -> tuple[str, str]:
        return (
            "an answer of an open index",
            "hand on its ids, or what documents(), to_arrow() or to_pandas() return",
        )

    def documents(self, fields: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Return the documents as dicts with ``id`` and these fields (all that are stored if None)."""
        return self._source.get_many(self.ids, fields)

    def to_arrow(self, fields: Sequence[str] | None = None) -> "pa.Table":
        """Return the documents as an Arrow table: ``id`` and one column a field."""
        from bitdex.frames import to_arrow

        return to_arrow(self._source, self.ids, fields)

    def to_pandas(self, fields: Sequence[str] | None = None) -> "pd.DataFrame":
        """Return the documents as a DataFrame of Arrow-backed columns, lists as Arrow lists."""
        from bitdex.frames import to_pandas

        return to_pandas(self.to_arrow(fields))


@dataclass(frozen=True)
class Request:
    """What a page answers.

    Attributes
    ----------
    where, bound : Clause
        As given, and as bound.
    sort : Sort
    limit, offset : int
    cache : bool
        Whether what is kept of earlier queries may be taken.
    now : float
        Unix seconds at which windows end.
    snap : bool
        Whether ranges snap to windows.
    """

    where: Clause
    bound: Clause
    sort: Sort
    limit: int
    offset: int
    cache: bool
    now: float
    snap: bool


class Page(Documents):
    """One page of a query's answer.

    Attributes
    ----------
    ids : ndarray of uint32
        The documents of this page, in order.
    total : int
        How many documents match, on all pages.
    cursor : Cursor or None
        Where the next page begins; its text form can be kept. None on an empty page.
    elapsed : float
        Seconds that answering took.
    cached : bool
        Whether it was taken from what is kept of earlier queries.
    """

    def __init__(
        self,
        index: "Querying",
        snapshot: Snapshot,
        ids: np.ndarray,
        total: int,
        cursor: Cursor | None,
        elapsed: float,
        request: Request,
        cached: bool = False,
    ):
        super().__init__(snapshot.documents, ids)
        self._index, self._snapshot = index, snapshot
        self.total, self.cursor, self.elapsed, self.cached = total, cursor, elapsed, cached
        self.request = request

    def next(self) -> "Page":
        """Return the following page, of the same committed state; an empty one after the last."""
        request = self.request
        if self.cursor is None:
            return Page(self._index, self._snapshot, np.empty(0, np.uint32), self.total, None, 0.0, request)
        return self._index._answer(self._snapshot, request, self.cursor)

    def explain(self) -> "Plan":
        """Return the plan as a DataFrame, one row a step (`Index.explain`)."""
        return self._index.explain(self.request.where, self.request.now, self.request.snap)

    def first(self, count: int) -> list[dict[str, Any]]:
        """Return the first documents of the page as dicts."""
        return self._source.get_many(self.ids[:count])

    def cards(self, ui: Any) -> "Shown":
        """Return the first documents as cards for a notebook.

        Parameters
        ----------
        ui : path or mapping
            A UI configuration (`page_ui`): its ``card`` says what a card shows.

        Raises
        ------
        InvalidError
            Naming the place in the configuration, the value and the remedy.
        """
        from bitdex.html import Shown
        from bitdex.page_html import cards_panel
        from bitdex.page_ui import Cards

        return Shown(cards_panel(self, Cards.load(ui, self._snapshot.schema.fields)))

    def _repr_html_(self) -> str:
        from bitdex.page_html import cards_panel, page_panel

        cards = self._index.ui
        return page_panel(self) if cards is None else cards_panel(self, cards)

    def __repr__(self) -> str:
        shown = ", ".join(map(str, self.ids[:8].tolist())) + (", ..." if len(self.ids) > 8 else "")
        return (
            f"<Page of {len(self.ids)} of {self.total:,} documents by {self.request.sort}: "
            f"[{shown}] in {self.elapsed * 1e6:,.0f} us>"
        )
