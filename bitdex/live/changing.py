"""Changing an index: putting, patching and deleting documents, one by one or many in one commit."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from bitdex.errors import InvalidError
from bitdex.holding import holding
from bitdex.live.batch import Batch, cursors_of
from bitdex.live.feed import Feed, changes_of
from bitdex.live.fields import Fields
from bitdex.live.records import LoadResult, Records, blocks_of, size_of
from bitdex.live.rows import ids_of, rows_of, slot_of, table_of
from bitdex.live.upkeep import Upkeep, health_of
from bitdex.live.writer import Writer
from bitdex.progress import reporter
from bitdex.query.newest import Newest
from bitdex.query.shown import Shown
from bitdex.silo.integers import shown
from bitdex.store import Store


class Changing(Shown, Fields):
    """The part of an index that changes documents; each call is one commit, or part of a `batch`.

    What is wrong with an argument is an error that names it, and nothing of the call is applied.
    """

    _store: Store
    _newest: Newest
    _writer: Writer | None = None
    _batch: Batch | None = None
    _upkeep: Upkeep | None = None

    def ids(self, where: Any = None) -> np.ndarray:
        raise NotImplementedError

    # -- one commit ------------------------------------------------------------------------

    @holding
    def batch(self) -> Iterator[None]:
        """Make one commit of all changes in the block; none of them, if it is left by an error.

        They are made by the thread that opened it. Queries, also those of this thread, see what was
        committed before.

        Examples
        --------
        >>> import tempfile, bitdex
        >>> index = bitdex.create(tempfile.mkdtemp(), {"name": "shop", "config": {
        ...     "filter_fields": [{"name": "size", "field_type": "single_value"}]}})
        >>> with index.batch():
        ...     index.put({"id": 1, "size": 40})
        ...     index.put({"id": 2, "size": 41})
        ...     index.patch(1, {"size": 42})
        >>> index.count("size == 42")
        1
        >>> index.close()
        """
        store = self._store
        store.guard.check_writable()
        with store.turn.taken(), store.guard.writing():
            self._batch = Batch(self._shared_writer(), self._newest.standing())
            try:
                yield
                self._commit(self._batch)
            finally:
                self._batch = None

    @holding
    def _changing(self) -> Iterator[Batch]:
        """Give the batch that this thread is in, or one of its own."""
        if self._batch is not None and self._store.turn.mine:
            yield self._batch
            return
        with self.batch():
            assert self._batch is not None
            yield self._batch

    def _commit(self, batch: Batch) -> None:
        try:
            altered = batch.commit(time.time())
            if altered is not None:
                self._newest.follow(None if batch.reveals else altered)
        except BaseException:  # it may be committed all the same, as when it was interrupted behind that
            self._writer = None
            raise

    def _shared_writer(self) -> Writer:
        if self._writer is None or not self._writer.follows(self._store):
            self._writer = Writer(self._store)
        return self._writer

    # -- documents -------------------------------------------------------------------------

    def put(self, document: Mapping[str, Any], id: int | None = None) -> None:
        """Create a document, or replace all of it; its id is under "id", unless it is given."""
        with self._changing() as batch:
            batch.put(self._rows(batch, [_with_id(document, id)]))

    def put_many(self, documents: Any) -> int:
        """Create or replace documents; return how many.

        Parameters
        ----------
        documents : DataFrame, Arrow table, or iterable of mappings
            With a column or key "id"; a DataFrame may have the ids as its index, named "id". Nulls are
            no values. Of rows with one id, the last counts.
        """
        with self._changing() as batch:
            table = table_of(documents)
            rows = rows_of(documents) if table is None else None
            if rows is not None and len(rows) >= batch.MANY:
                table = batch.columns_of(rows)
            count = None if table is None else batch.put_table(table)
            if count is None:
                held = self._rows(batch, rows_of(table) if rows is None else rows)
                batch.put(held)
                count = len(held)
            return count

    def patch(self, id: int, changes: Mapping[str, Any]) -> None:
        """Change fields of a document; None takes one away.

        Raises
        ------
        NotFoundError
            If there is no such document.
        """
        with self._changing() as batch:
            batch.update(self._rows(batch, [_with_id(changes, slot_of(id))]))

    def upsert(self, document: Mapping[str, Any], id: int | None = None) -> None:
        """Change fields of a document as `patch` does, or create it with these fields."""
        with self._changing() as batch:
            batch.upsert(self._rows(batch, [_with_id(document, id)]))

    def append(self, id: int, field: str, values: Any) -> None:
        """Add values (one or several) to the list of a document; those it has stay as they are."""
        with self._changing() as batch:
            batch.combine(slot_of(id), field, _several(values), True)

    def remove(self, id: int, field: str, values: Any) -> None:
        """Take values (one or several) out of the list of a document; those it lacks are no error."""
        with self._changing() as batch:
            batch.combine(slot_of(id), field, _several(values), False)

    def delete(self, ids: Any = None, where: Any = None, missing_ok: bool = False) -> int:
        """Delete documents, by id or all that match a query; return how many.

        Parameters
        ----------
        ids : int, or integers in any iterable, optional
        where : expression, str or mapping, optional
            As for `query`; of two conditions in one batch, each sees what was committed before it.
        missing_ok : bool
            Pass over ids without a document, instead of raising `NotFoundError`.
        """
        if (ids is None) == (where is None):
            raise InvalidError("delete: give ids or where, one of the two")
        with self._changing() as batch:
            if where is not None:
                return batch.delete(self.ids(where).tolist(), missing_ok=True)
            ids = np.atleast_1d(ids) if isinstance(ids, np.ndarray) else ids
            slots = ids_of(ids).tolist() if isinstance(ids, Iterable) else [slot_of(ids)]
            return batch.delete(slots, missing_ok)

    def load(self, records: Any, progress: bool | Callable[[str, int, int, int], None] = False) -> LoadResult:
        """Put records as another system writes them (`live.records` has the rules), in blocks.

        Parameters
        ----------
        records : path, open file, or iterable of lines or mappings
            JSON objects, one a line, under the keys that the schema names as the sources of its fields.
        progress : bool or callable
            Show a bar; or ``f("records", rows, bytes, total_bytes)``.

        Returns
        -------
        LoadResult
            Rows read, applied and rejected, with examples. Each block is a commit: after a crash those
            before it are there, and loading all again gives the same.
        """
        self._store.guard.check_writable()
        reading, done = Records(self.schema), 0
        with reporter(progress, "records", size_of(records)) as report:
            for block in blocks_of(records):
                with self._changing() as batch:
                    reading.put(block, batch)
                done += block.size
                report(reading.result.rows, done)
        return reading.result

    def apply(self, changes: Any, feed: str | None = None, cursor: str | None = None) -> dict[str, int]:
        """Apply the changes of a feed (`live.feed` has their form), as one commit.

        Parameters
        ----------
        changes : mappings, or lines of JSON (str, or an open file)
        feed, cursor : str, optional
            The name of the feed, and the place it has come to, which is committed with the changes: `cursors`
            tells it, also after a crash.

        Returns
        -------
        dict
            "applied": changes made; "passed": those of documents that are not there.
        """
        if (feed is None) != (cursor is None):
            raise InvalidError("apply: a feed has a cursor, and a cursor a feed; give both or neither")
        with self._changing() as batch:
            reading = Feed(batch, self.ids)
            reading.apply(changes_of(changes))
            if feed is not None and cursor is not None:
                batch.keep(feed, str(cursor))
        return {"applied": reading.applied, "passed": reading.passed}

    @property
    def cursors(self) -> dict[str, str]:
        """The places that feeds have come to, by their names, as they were committed."""
        return cursors_of(self._store.committed.documents.source)

    # -- upkeep ----------------------------------------------------------------------------

    def compact(self, progress: bool = False) -> None:
        raise NotImplementedError

    def maintain(self) -> dict[str, Any]:
        """Do one round of upkeep: commit that documents are due, and compact if that is worth it.

        Returns
        -------
        dict
            "activated": documents that were due; "compacted": whether there was a compaction.
        """
        with self.batch():
            activated = len(self.snapshot.activated)
        worth = self._store.needs_compaction
        if worth:
            self.compact()
        return {"activated": activated, "compacted": worth}

    def health(self) -> dict[str, Any]:
        """Return whether the index can be written, what waits, and how maintenance goes."""
        self._store.guard.check_open()
        return health_of(self, self._upkeep)

    def _keep_up(self, seconds: float) -> None:
        try:
            self._store.guard.check_writable()
            self._upkeep = Upkeep(self, seconds)
        except BaseException:
            self._store.close()
            raise

    def _stop_upkeep(self) -> None:
        if self._upkeep is not None:
            self._upkeep.stop()

    def _rows(self, batch: Batch, documents: Iterable[Mapping[str, Any]]) -> dict[int, dict[int, Any]]:
        """Return the fields of documents as they are held, by slot."""
        rows = {}
        for document in documents:
            if not isinstance(document, Mapping):
                raise InvalidError(f"document: expected a mapping of fields, found {shown(document)}")
            if "id" not in document:
                raise InvalidError(f'document: "id" is missing in {dict(document)!r:.80}')
            slot = slot_of(document["id"])
            try:
                rows[slot] = batch.held(document)
            except InvalidError as error:
                raise InvalidError(f"id {slot}: {error}") from None
        return rows


def _with_id(document: Any, id: Any) -> Any:
    """Return a document with an id, unless that is in it; what is no document is refused later."""
    return {**document, "id": id} if id is not None and isinstance(document, Mapping) else document


def _several(values: Any) -> list[Any]:
    """Return values in a list, whatever they are in; one value stands in it alone."""
    if isinstance(values, np.ndarray):
        return list(np.atleast_1d(values))
    several = isinstance(values, Iterable) and not isinstance(values, str | bytes | Mapping)
    return list(values) if several else [values]
