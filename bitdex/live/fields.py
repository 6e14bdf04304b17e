"""Fields later: adding, dropping and rebuilding the fields of an index that has documents already.

::

    1  settled             what lies in the logs is on the device
    2  documents, bitmaps  prepared under sequence S (`live.renewal`); one that does not change gets a mark
    3  dictionaries.bin    new labels
    4  schema.json         the version of S behind those before
    5  commit.bin          names S
    6  published           one assignment; queries see it, pages that were taken stay as they are

A kill before 5 leaves the schema before with its bitmaps and documents, one behind it the new one with its
own. Changes and compactions of other threads wait meanwhile, queries go on.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Any

from bitdex import registry_lost
from bitdex.errors import CorruptError, InvalidError, WriteFailedError
from bitdex.holding import holding
from bitdex.live.definition import CONVERTED, adding, computed_from, defaulting, dropping, observing
from bitdex.live.extras import Extras
from bitdex.live.renewal import Renewal
from bitdex.progress import counter
from bitdex.registry import FieldRegistry
from bitdex.repairing_states import states_of
from bitdex.schema import Field, Schema
from bitdex.schema_labels import number_defaults
from bitdex.schema_versions import SchemaVersion
from bitdex.store import Store


class Fields:
    """The part of an index that changes its schema; each call is one commit.

    What is wrong with an argument, or with a value that documents hold, is an error that names it, and
    nothing has changed.
    """

    _store: Store

    @property
    def schema_versions(self) -> list[SchemaVersion]:
        """All versions that the schema has had, the oldest first; the last one counts."""
        self._store.guard.check_open()
        return list(self._store.versions)

    def add_field(
        self,
        field: str | Field,
        filter: Any = None,
        sort: Any = None,
        progress: bool = False,
        **described: Any,
    ) -> None:
        """Add a field, or let one that documents hold already be filtered or sorted by.

        Parameters
        ----------
        field : str or Field
            Its name, or all of it.
        filter : str or mapping, optional
            The `field_type`; or an entry of ``filter_fields`` without its name.
        sort : bool, str or mapping, optional
            True; the `source_type`; or an entry of ``sort_fields`` without its name, such as
            ``{"computed": {"op": "greatest", "source_fields": [...]}}``.
        progress : bool
            Show a bar.
        **described
            Keys of an entry of ``data_schema.fields``: ``value_type="boolean"``, ``default=0``.

        Raises
        ------
        InvalidError
            For what a schema does not take, and for the first document that holds a value of another
            type, with its id, the field, the value.

        Examples
        --------
        >>> import tempfile, bitdex
        >>> index = bitdex.create(tempfile.mkdtemp(), {"name": "shop", "data_schema": {"fields": [
        ...     {"source": "width", "target": "width", "value_type": "integer"}]}})
        >>> index.put_many([{"id": 1, "width": 40}, {"id": 2, "width": 41}])
        2
        >>> index.add_field("width", filter="single_value", sort=True)
        >>> index.ids("width == 41").tolist(), index.query(sort="-width").ids.tolist()
        ([2], [2, 1])
        >>> index.schema_versions[-1].change
        "add_field 'width'"
        >>> index.close()
        """
        with self._defining() as store:
            schema, made = adding(store.schema, field, filter, sort, described)
            before = store.schema.fields.get(made.name)
            held = made.name in (store.registry if before is not None else Extras(store))
            store.registry.ensure([made.name])
            renewal = Renewal(store, schema, store.registry)
            if made.sort is not None and made.sort.computed is not None:
                _check_sources(schema, made)
                renewal.compute(made)
            elif made.kind == "exists_boolean" and not held:
                renewal.observe(made)
            elif held and made.kind in CONVERTED and (before is None or before.kind == "string"):
                renewal.number_texts(made)
            elif held:
                renewal.renew(made)
            for one in observing(schema, made.name) if before is None else ():
                store.registry.ensure([one.name])
                renewal.follow(one)
            self._change(renewal, schema, store.registry, f"add_field {made.name!r}", progress)

    def drop_field(self, name: str, progress: bool = False) -> None:
        """Take a field out of the schema, the bitmaps and the documents.

        Used again, the name is another field. The space of the values is reclaimed by compaction.

        Raises
        ------
        InvalidError
            If there is no such field, or another one, deferral or time buckets rest on it: which.
        """
        with self._defining() as store:
            if name not in store.registry or store.schema.has(name):
                store.schema.field(name)
            schema, registry = dropping(store.schema, name), store.registry
            renewal = Renewal(store, schema, registry)
            if name in registry:
                renewal.drop(registry.number(name))
                registry = registry.without(registry.number(name))
            self._change(renewal, schema, registry, f"drop_field {name!r}", progress)

    def set_default(self, name: str, value: Any, progress: bool = False) -> None:
        """Give a field another default, or none (None), for documents that are written from now on.

        Documents without a value keep the default that counted so far: it is written into them. Where there
        was none, the new one counts for them too.
        """
        with self._defining() as store:
            schema = defaulting(store.schema, name, value)
            if schema.fields == store.schema.fields:
                return
            renewal, registry = Renewal(store, schema, store.registry), store.registry
            registry.ensure([name])
            computed = computed_from(schema, name)
            for one in computed:
                _check_sources(schema, one)
            before = store.schema.field(name).default
            if before not in (None, ()):
                renewal.fill(store.schema.field(name), before)
                for one in observing(schema, name):
                    registry.ensure([one.name])
                    renewal.follow(one)
            for one in computed:
                registry.ensure([one.name])
                renewal.compute(one)
            self._change(renewal, schema, registry, f"set_default {name!r}", progress)

    def rebuild(self, fields: Sequence[str] | None = None, progress: bool = False) -> None:
        """Make the bitmaps of fields anew from the documents; those that were there are not looked at.

        Of all fields, it also says again which documents are visible, or wait, where a repair has lost that.

        Parameters
        ----------
        fields : sequence of str, optional
            All fields that have bitmaps and that documents hold, if None.

        Raises
        ------
        InvalidError
            If documents do not hold a field (filter_only), or it has no bitmaps.
        """
        if isinstance(fields, str):
            raise InvalidError(f"fields: expected a list of names, found {fields!r}; write [{fields!r}]")
        with self._defining() as store:
            renewal = Renewal(store, store.schema, store.registry)
            names = [f.name for f in store.schema.fields.values() if f.indexed and f.stored]
            for name in names if fields is None else dict.fromkeys(fields):
                field = store.schema.field(name)
                if not field.indexed:
                    raise InvalidError(f"field {name!r} has no bitmaps: it is stored only")
                if not field.stored:
                    raise InvalidError(
                        f"field {name!r} is filter_only: documents do not hold it; load its phase again"
                    )
                store.registry.ensure([name])
                renewal.renew(field)
            made = {store.registry.number(name) for name in fields or ()}
            lost = self._lost(fields is None)
            if fields is None and lost.states:
                renewal.tell(states_of(store, lost.states, time.time()))
            left = registry_lost.NONE if fields is None else lost._replace(fields=lost.fields - made)
            self._change(renewal, store.schema, store.registry, None, progress)
            registry_lost.write(store.directory, left)

    def _lost(self, all_fields: bool) -> registry_lost.Lost:
        """Return what a repair has lost: anything, if the record of it is lost and all is made anew."""
        try:
            return registry_lost.read(self._store.directory)
        except CorruptError:
            if not all_fields:
                raise
            return registry_lost.NONE.more((), registry_lost.STATES)

    @holding
    def _defining(self) -> Iterator[Store]:
        """Hold the index: no change, load or compaction of another thread runs beside the block."""
        store = self._store
        store.guard.check_writable()
        store.turn.check()
        with store.maintenance.taken(), store.turn.taken(), store.guard.writing():
            yield store

    def _change(
        self, renewal: Renewal, schema: Schema, registry: FieldRegistry, change: str | None, progress: bool
    ) -> None:
        """Write what follows, and commit it; a schema that has changed counts from then on."""
        store = self._store
        try:
            number_defaults(schema, registry, store.dictionaries)
            store.settle_logs()
            sequence = max(store.documents.silo.next_sequence, store.bitmaps.silo.next_sequence)
            total = len(renewal.slots) if progress else 0
            with counter(progress, change or "rebuild", total, "documents") as report:
                renewal.prepare(sequence, report)
            store.dictionaries.save()
            if change is not None:
                dropped = tuple(registry.dropped)
                store.versions.record(SchemaVersion.of(schema, sequence, change, dropped))
            store.commit(sequence, schema, registry)
        except WriteFailedError:  # what the device holds is only known when the index is opened again
            raise
        except BaseException:
            store.reopen()
            raise


def _check_sources(schema: Schema, field: Field) -> None:
    """Refuse to compute a field of documents from one that they do not hold."""
    assert field.sort is not None and field.sort.computed is not None
    for name in field.sort.computed.sources:
        if not schema.field(name).stored:
            raise InvalidError(
                f"field {field.name!r} is computed from {name!r}, which is filter_only: documents do not "
                "hold it; load the phases of both again into a new index"
            )
