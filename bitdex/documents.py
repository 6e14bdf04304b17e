"""DocSilo: the documents of an index, slot -> fields (encoding: `formats.document`).

A document holds what its schema stores: labels and mapped strings as their numbers,
which are shown as text when it is read; fields that are filtered only are not in it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bitdex.columns import decode_columns, scan_fields
from bitdex.dictionaries import Dictionaries
from bitdex.errors import InvalidError
from bitdex.formats.document import decode_document
from bitdex.registry import FieldRegistry
from bitdex.schema import Field, Schema
from bitdex.silo.silo import Silo
from bitdex.silo.values import Values

HEADROOM = 1.4
SETTLED_HEADROOM = 1.05
_SETTINGS = {"rule": "documents", "headroom": HEADROOM, "minimum": 0, "alignment": 8}
COLUMN_KINDS = {
    "boolean": "boolean",
    "exists_boolean": "boolean",
    "float": "float",
    "string": "string",
    "integer_array": "list",
}


def column_kind(field: Field) -> str:
    """Return the kind of column in which a field is encoded."""
    return COLUMN_KINDS.get(field.kind, "integer")


class DocSilo:
    """Documents by slot. Reads are safe from any thread."""

    def __init__(self, silo: Silo, schema: Schema, registry: FieldRegistry, dictionaries: Dictionaries):
        self.silo = silo
        self.schema = schema
        self.registry = registry
        self.dictionaries = dictionaries
        self._readers: dict[int, Any] = {}
        self._defaults = {
            f.name: list(f.default) if isinstance(f.default, tuple) else f.default
            for f in schema.fields.values()
            if f.default is not None and f.stored
        }

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
    ) -> "DocSilo":
        """Open the silo of documents, making it when `mode` is "w"."""
        return cls(Silo.open(path, mode, at=at, sync=sync, **_SETTINGS), schema, registry, dictionaries)

    def get(self, slot: int, fields: Sequence[str] | None = None) -> dict[str, Any]:
        """Return one document as a dict, ``id`` first; only ``id`` where nothing is stored."""
        payload = self.silo.view(slot)
        return self._shown(slot, b"" if payload is None else payload.tobytes(), self._wanted(fields))

    def get_many(self, slots: np.ndarray, fields: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Return documents as dicts, in the order of `slots`."""
        values = self.silo.get_many(slots)
        data, ends, wanted = values.data.tobytes(), values.offsets.tolist(), self._wanted(fields)
        return [
            self._shown(slot, data[a:b], wanted)
            for slot, a, b in zip(slots.tolist(), ends, ends[1:])
        ]

    def to_arrow(self, slots: np.ndarray, fields: Sequence[str] | None = None) -> pa.Table:
        """Return documents as a table: ``id`` and one column a field, in the order of `slots`."""
        values = self.silo.get_many(slots)
        names = self.columns(fields, values)
        kinds = [(self.registry.number(name), self._kind(name, values)) for name in names]
        arrays = decode_columns(values.data, values.offsets, kinds)
        shown = [self._column(name, array) for name, array in zip(names, arrays)]
        return pa.table([pa.array(slots.astype(np.uint32)), *shown], ["id", *names])

    def columns(self, fields: Sequence[str] | None, values: Values | None = None) -> list[str]:
        """Return the names of the fields to show; without a choice, those the documents can hold."""
        if fields is not None and list(fields) != ["*"]:
            return [name for name in dict.fromkeys(map(self._known, fields)) if name != "id"]
        names = [f.name for f in self.schema.fields.values() if f.stored and f.name in self.registry]
        if values is not None:
            extra = (self.registry.name(n) for n in scan_fields(values.data, values.offsets))
            names += [name for name in extra if name is not None and name not in names]
        return [name for name in names if name != "id"]

    def _known(self, name: str) -> str:
        if name == "id" or name in self.registry:
            if self.schema.has(name) and not self.schema.field(name).stored:
                raise InvalidError(
                    f"field {name!r} is filter_only: it can be filtered by but is not in the documents"
                )
            return name
        return self.schema.field(name).name  # unknown: the schema says which names are near

    def _wanted(self, fields: Sequence[str] | None) -> frozenset[str] | None:
        if fields is None or list(fields) == ["*"]:
            return None
        return frozenset(map(self._known, fields))

    def _shown(self, slot: int, payload: bytes, wanted: frozenset[str] | None) -> dict[str, Any]:
        """Decode a document, name its fields, show labels, fill in defaults."""
        out: dict[str, Any] = {"id": slot}
        readers = self._readers
        for number, value in decode_document(payload).items():
            reader = readers.get(number) or self._reader(number)
            name, texts = reader
            if wanted is None or name in wanted:
                out[name] = value if texts is None else texts.get(value)
        for name, default in self._defaults.items():
            if name not in out and (wanted is None or name in wanted):
                out[name] = default
        out["id"] = slot
        return out

    def _reader(self, number: int) -> tuple[str, Any]:
        """Return how a field is shown: its name, and its texts by number where it has such."""
        name = self.registry.name(number) or f"field_{number}"
        texts = self._texts(name, number)
        self._readers[number] = (name, texts)
        return self._readers[number]

    def _texts(self, name: str, number: int) -> Any:
        field = self.schema.fields.get(name)
        if field is None:
            return None
        if field.kind == "low_cardinality_string":
            return _Texts(self.dictionaries, number)
        if field.kind == "mapped_string":
            return {value: text for text, value in (field.string_map or {}).items()}
        return None

    def _kind(self, name: str, values: Values) -> str:
        if self.schema.has(name):
            return column_kind(self.schema.field(name))
        return _guess_kind(values, self.registry.number(name))

    def _column(self, name: str, array: pa.Array) -> pa.Array:
        field = self.schema.fields.get(name)
        if field is None:
            return array
        texts = self._texts(name, self.registry.number(name))
        if isinstance(texts, _Texts):
            array = _as_dictionary(array, self.dictionaries.labels(self.registry.number(name)))
        elif texts is not None:
            array = _as_dictionary(array, texts)
        if name not in self._defaults or not array.null_count:
            return array
        default = self._defaults[name]
        if default == []:  # a null list has no elements, so its offsets are those of an empty one
            return pa.LargeListArray.from_arrays(array.offsets, array.values)
        kind = array.type.value_type if pa.types.is_dictionary(array.type) else array.type
        return pc.fill_null(array, pa.scalar(default, kind))


class _Texts:
    """The labels of a field, as a mapping from number to text."""

    def __init__(self, dictionaries: Dictionaries, number: int):
        self._dictionaries, self._number = dictionaries, number

    def get(self, label: int) -> str | None:
        return self._dictionaries.text(self._number, label)


def _as_dictionary(numbers: pa.Array, texts: dict[int, str]) -> pa.DictionaryArray:
    """Return label numbers as an Arrow dictionary of their texts."""
    table = np.full(max(texts, default=0) + 1, -1, np.int32)
    table[list(texts)] = np.arange(len(texts))
    valid = np.asarray(pc.is_valid(numbers))
    picked = np.asarray(pc.fill_null(numbers, 0))
    codes = np.where((picked >= 0) & (picked < len(table)), table[np.clip(picked, 0, len(table) - 1)], -1)
    indices = pa.array(codes.astype(np.int32), mask=~valid | (codes < 0))
    return pa.DictionaryArray.from_arrays(indices, pa.array(list(texts.values()), pa.string()))


def _guess_kind(values: Values, number: int) -> str:
    """Return the kind of a field that the schema does not know, from the first document that has it."""
    for i in range(len(values)):
        value = decode_document(values.data[values.offsets[i] : values.offsets[i + 1]].tobytes()).get(number)
        if value is not None:
            kinds = {bool: "boolean", int: "integer", float: "float", str: "string", list: "list"}
            return kinds[type(value)]
    return "string"
