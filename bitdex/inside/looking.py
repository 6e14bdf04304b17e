"""Looking: the part of an index that shows what it is made of, and explains its answers."""

from typing import TYPE_CHECKING

from bitdex.query.snapshot import Snapshot
from bitdex.schema import Schema
from bitdex.store import Store

if TYPE_CHECKING:
    import pandas as pd


class Looking:
    """The part of an index that people look at; nothing here changes it."""

    _store: Store

    @property
    def schema(self) -> Schema:
        raise NotImplementedError

    @property
    def snapshot(self) -> Snapshot:
        raise NotImplementedError

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
