"""DocSilo: the documents of an index, slot -> fields (encoding: `formats.document`).

A document holds what its schema stores: labels and mapped strings as their numbers,
which are shown as text when it is read; fields that are filtered only are not in it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from bitdex.dictionaries import Dictionaries
from bitdex.errors import InvalidError
from bitdex.formats.document import decode_document
from bitdex.registry import FieldRegistry
from bitdex.schema import Field, Schema
from bitdex.silo.silo import Silo
from bitdex.silo.state import State

SLOTS = 1 << 32  # keys of documents; behind them lie the cursors of feeds and the record of saved sets
HEADROOM = 1.4
SETTLED_HEADROOM = 1.05
_SETTINGS: dict[str, Any] = {"headroom": HEADROOM, "minimum": 0, "alignment": 8}
COLUMN_KINDS = {
    "boolean": "boolean",
    "exists_boolean": "boolean",
    "float": "float",
    "string": "string",
    "integer_array": "list",
}


def slots_of(silo: Silo) -> np.ndarray:
    """Return the slots of which a silo of documents has a record, ascending uint32."""
    keys = silo.keys()
    return keys[keys < SLOTS].astype(np.uint32)


def column_kind(field: Field) -> str:
    """Return the kind of column in which a field is encoded."""
    return COLUMN_KINDS.get(field.kind, "integer")


class DocSilo:
    """Documents by slot, over a silo or a pinned state of one. Reads are safe from any thread."""

    def __init__(
        self, source: Silo | State, schema: Schema, registry: FieldRegistry, dictionaries: Dictionaries
    ):
        self.source = source
        self.schema = schema
        self.registry = registry
        self.dictionaries = dictionaries
        self._readers: dict[int, Any] = {}
        self.defaults = {
            f.name: list(f.default) if isinstance(f.default, tuple) else f.default
            for f in schema.fields.values()
            if f.default is not None and f.stored
        }

    def over(self, source: Silo | State) -> "DocSilo":
        """Return the same over another source; what shows the fields is shared."""
        other = DocSilo.__new__(DocSilo)
        other.__dict__.update(self.__dict__, source=source)
        return other

    @property
    def silo(self) -> Silo:
        """The silo itself; a pinned state has none."""
        assert isinstance(self.source, Silo)
        return self.source

    @classmethod
    def open(
        cls,
        path: Any,
        mode: str,
        at: int | None,
        sync: str,
        schema: Schema,
        registry: FieldRegistry,
        dictionaries: Dictionaries,
        before: Silo | None = None,
    ) -> "DocSilo":
        """Open the silo of documents at a sequence; with `mode` "w" and without one, make it."""
        settings = _SETTINGS if at is None else {}  # one that is there has its own
        identity = registry.identity
        silo = Silo.open(
            path, mode, "documents", at=at, sync=sync, identity=identity, before=before, **settings
        )
        return cls(silo, schema, registry, dictionaries)

    def get(self, slot: int, fields: Sequence[str] | None = None) -> dict[str, Any]:
        """Return one document as a dict, ``id`` first; only ``id`` where nothing is stored."""
        payload = self.source.view(slot)
        return self._shown(slot, b"" if payload is None else payload.tobytes(), self._wanted(fields))

    def get_many(self, slots: np.ndarray, fields: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Return documents as dicts, in the order of `slots`."""
        values = self.source.get_many(slots)
        data, ends, wanted = values.data.tobytes(), values.offsets.tolist(), self._wanted(fields)
        return [self._shown(slot, data[a:b], wanted) for slot, a, b in zip(slots.tolist(), ends, ends[1:])]

    def known(self, name: str) -> str:
        """Return the name of a field that documents can hold, or refuse it."""
        if self.schema.has(name) and not self.schema.field(name).stored:
            raise InvalidError(
                f"field {name!r} is filter_only: it can be filtered by but is not in the documents"
            )
        if name == "id" or name in self.registry:
            return name
        return self.schema.field(name).name  # unknown: the schema says which names are near

    def _wanted(self, fields: Sequence[str] | None) -> frozenset[str] | None:
        if fields is None or list(fields) == ["*"]:
            return None
        return frozenset(map(self.known, fields))

    def _shown(self, slot: int, payload: bytes, wanted: frozenset[str] | None) -> dict[str, Any]:
        """Decode a document, name its fields, show labels, fill in defaults."""
        out: dict[str, Any] = {"id": slot}
        readers = self._readers
        for number, value in decode_document(payload).items():
            reader = readers.get(number) or self._reader(number)
            name, texts = reader
            if texts is not None and value not in texts:
                texts = self._with_text(number, value)
            if wanted is None or name in wanted:
                out[name] = value if texts is None else texts.get(value)
        for name, default in self.defaults.items():
            if name not in out and (wanted is None or name in wanted):
                out[name] = default.copy() if isinstance(default, list) else default
        out["id"] = slot
        return out

    def _reader(self, number: int) -> tuple[str, Any]:
        """Return how a field is shown: its name, and its texts by number where it has such."""
        name = self.registry.name(number) or f"field_{number}"
        labelled = self._is_labelled(name) and name in self.registry
        texts = self.dictionaries.shown(self.registry.number(name)) if labelled else self.texts(name)
        self._readers[number] = (name, texts)
        return self._readers[number]

    def _with_text(self, number: int, value: Any) -> Any:
        """Return the texts of a field with that of a value, which came since or was not asked for yet."""
        name, texts = self._reader(number)
        if self._is_labelled(name) and self.dictionaries.text(number, value) is not None:
            return self._reader(number)[1]
        return texts

    def _is_labelled(self, name: str) -> bool:
        field = self.schema.fields.get(name)
        return field is not None and field.is_labelled

    def texts(self, name: str, numbers: list[int] | None = None) -> dict[int, str] | None:
        """Return the texts of a labelled or mapped field by number; None for other fields.

        Where `numbers` are given, those of others may be left out.
        """
        field = self.schema.fields.get(name)
        if field is not None and field.is_labelled:
            if name not in self.registry:
                return {}
            number = self.registry.number(name)
            labels = self.dictionaries
            return labels.labels(number) if numbers is None else labels.texts_of(number, numbers)
        if field is not None and field.kind == "mapped_string":
            return {value: text for text, value in (field.string_map or {}).items()}
        return None
