"""Documents as Arrow tables and pandas DataFrames.

Columns come straight from the kernels: integers, booleans, floats, texts and lists are
Arrow arrays over the decoded bytes, labels are Arrow dictionaries of their texts.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bitdex.columns import ARROW, decode_columns, scan_fields
from bitdex.documents import DocSilo, column_kind
from bitdex.formats.document import decode_document
from bitdex.silo.values import Values

if TYPE_CHECKING:
    import pandas as pd

_KINDS = {bool: "boolean", int: "integer", float: "float", str: "string", list: "list"}


def to_pandas(table: pa.Table) -> "pd.DataFrame":
    """Return a DataFrame whose columns are Arrow arrays: no copy, nulls stay nulls, lists stay lists."""
    import pandas as pd

    return pd.DataFrame(
        {name: pd.arrays.ArrowExtensionArray(table.column(name)) for name in table.column_names}
    )


def to_arrow(documents: DocSilo, slots: np.ndarray, fields: Sequence[str] | None = None) -> pa.Table:
    """Return documents as a table: ``id`` and one column a field, in the order of `slots` (uint32)."""
    values = documents.source.get_many(slots)
    names = _names(documents, fields, values)
    written = [name for name in names if name in documents.registry]  # the others no phase has given yet
    kinds = [(documents.registry.number(name), _kind(documents, name, values)) for name in written]
    arrays = dict(zip(written, decode_columns(values.data, values.offsets, kinds)))
    for name in set(names) - arrays.keys():
        arrays[name] = pa.nulls(len(slots), ARROW[column_kind(documents.schema.field(name))])
    shown = [_column(documents, name, arrays[name]) for name in names]
    return pa.table([pa.array(slots), *shown], ["id", *names])


def _names(documents: DocSilo, fields: Sequence[str] | None, values: Values) -> list[str]:
    """Return the names of the columns; without a choice, those of all fields that documents can hold."""
    if fields is not None and list(fields) != ["*"]:
        return [name for name in dict.fromkeys(map(documents.known, fields)) if name != "id"]
    registry = documents.registry
    names = [f.name for f in documents.schema.fields.values() if f.stored]
    extra = (registry.name(number) for number in scan_fields(values.data, values.offsets))
    names += [name for name in extra if name is not None and name not in names]
    return [name for name in names if name != "id"]


def _kind(documents: DocSilo, name: str, values: Values) -> str:
    if documents.schema.has(name):
        return column_kind(documents.schema.field(name))
    return _guess_kind(values, documents.registry.number(name))


def _guess_kind(values: Values, number: int) -> str:
    """Return the kind of a field that the schema does not know, from the first document that has it."""
    for payload in values:
        value = decode_document(payload or b"").get(number)
        if value is not None:
            return _KINDS[type(value)]
    return "string"


def _column(documents: DocSilo, name: str, array: pa.Array) -> pa.Array:
    """Show labels as texts and fill in the default."""
    texts = documents.texts(name)
    if texts is not None:
        array = _as_dictionary(array, texts)
    if name not in documents.defaults or not array.null_count:
        return array
    default: Any = documents.defaults[name]
    if default == []:  # a null list has no elements, so its offsets are those of an empty one
        return pa.LargeListArray.from_arrays(array.offsets, array.values)
    kind = array.type.value_type if pa.types.is_dictionary(array.type) else array.type
    return pc.fill_null(array, pa.scalar(default, kind))


def _as_dictionary(numbers: pa.Array, texts: dict[int, str]) -> pa.DictionaryArray:
    """Return label numbers as an Arrow dictionary of their texts."""
    table = np.full(max(texts, default=0) + 1, -1, np.int32)
    table[list(texts)] = np.arange(len(texts))
    valid = np.asarray(pc.is_valid(numbers))
    picked = np.asarray(pc.fill_null(numbers, 0))
    codes = np.where((picked >= 0) & (picked < len(table)), table[np.clip(picked, 0, len(table) - 1)], -1)
    indices = pa.array(codes.astype(np.int32), mask=~valid | (codes < 0))
    return pa.DictionaryArray.from_arrays(indices, pa.array(list(texts.values()), pa.string()))
