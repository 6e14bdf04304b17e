"""Documents as Arrow tables and pandas DataFrames.

Columns come straight from the kernels: integers, booleans, floats, texts and lists are
Arrow arrays over the decoded bytes, labels are Arrow dictionaries of their texts.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bitdex.columns import ARROW, decode_columns, scan_fields
from bitdex.documents import DocSilo, column_kind
from bitdex.frames_kinds import ANY, kinds_of, texts_of
from bitdex.silo.values import Values

if TYPE_CHECKING:
    import pandas as pd


def to_pandas(table: pa.Table) -> "pd.DataFrame":
    """Return a DataFrame whose columns are Arrow arrays: no copy, nulls stay nulls, lists stay lists."""
    import pandas as pd

    return pd.DataFrame(
        {name: pd.arrays.ArrowExtensionArray(table.column(name)) for name in table.column_names}
    )


def to_arrow(
    documents: DocSilo,
    slots: np.ndarray,
    fields: Sequence[str] | None = None,
    kinds: Mapping[str, str] | None = None,
) -> pa.Table:
    """Return documents as a table: ``id`` and one column a field, in the order of `slots` (uint32).

    `kinds` has those of fields that the schema does not know (`extra_kinds`), else told by these documents.
    """
    values, registry = documents.source.get_many(slots), documents.registry
    names = _names(documents, fields, values)
    kinds = extra_kinds(documents, names, [values]) if kinds is None else kinds
    written = [name for name in names if name in registry]  # the others no phase has given yet
    wanted = {name: _kind(documents, name, kinds) for name in written}
    arrays = {name: texts_of(values, registry.number(name)) for name in written if wanted[name] == ANY}
    plain = [(name, kind) for name, kind in wanted.items() if kind != ANY]
    columns = [(registry.number(name), kind) for name, kind in plain]
    arrays.update(zip((name for name, _ in plain), decode_columns(values.data, values.offsets, columns)))
    for name in set(names) - arrays.keys():
        arrays[name] = pa.nulls(len(slots), ARROW[column_kind(documents.schema.field(name))])
    shown = [_column(documents, name, arrays[name]) for name in names]
    return pa.table([pa.array(slots), *shown], ["id", *names])


def extra_kinds(documents: DocSilo, names: Sequence[str], parts: Iterable[Values]) -> dict[str, str]:
    """Return the kinds of columns for those fields that the schema does not know, of all documents."""
    numbers = {name: documents.registry.number(name) for name in names if not documents.schema.has(name)}
    kinds = kinds_of(parts, list(numbers.values()))
    return {name: kinds[number] for name, number in numbers.items()}


def _names(documents: DocSilo, fields: Sequence[str] | None, values: Values) -> list[str]:
    """Return the names of the columns; without a choice, those of all fields that documents can hold."""
    if fields is not None and list(fields) != ["*"]:
        return [name for name in dict.fromkeys(map(documents.known, fields)) if name != "id"]
    registry = documents.registry
    names = [f.name for f in documents.schema.fields.values() if f.stored]
    extra = (registry.name(number) for number in scan_fields(values.data, values.offsets))
    names += [name for name in extra if name is not None and name not in names]
    return [name for name in names if name != "id"]


def _kind(documents: DocSilo, name: str, extra: Mapping[str, str]) -> str:
    return column_kind(documents.schema.field(name)) if documents.schema.has(name) else extra[name]


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
    """Return numbers as an Arrow dictionary of their texts; those without one are null."""
    known = dict(texts)  # labels may be added meanwhile
    indices = pc.index_in(numbers, value_set=pa.array(known, pa.int64()))
    return pa.DictionaryArray.from_arrays(indices, pa.array(known.values(), pa.string()))
