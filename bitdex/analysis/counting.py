"""Counting: how many documents of a set have each value of a field, or of two.

Fields that were asked for before are counted by the codes of their documents (`analysis.kept`). Until then
few values are counted by intersecting bitmaps that are kept decoded, many by one pass over their payloads
(`analysis.postings`), or in the documents themselves, where those are few. All give what
``len(found & snapshot.having(field, value))`` is.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc
from pyroaring import BitMap

from bitdex.analysis.codes import Column
from bitdex.analysis.found import shared
from bitdex.analysis.kept import Codes, codes_of, pair_of
from bitdex.analysis.members import Members
from bitdex.analysis.numbers import Numbers
from bitdex.analysis.overlap import shared_counts
from bitdex.analysis.postings import Postings, altered_postings, postings_of, values_of
from bitdex.errors import InvalidError
from bitdex.query.snapshot import Snapshot
from bitdex.schema import Field

if TYPE_CHECKING:
    import pandas as pd

FEW = 256  # values that are counted by bitmaps
BYTES = 8000  # of payloads that are gone through while one document is read
CELLS = 10_000_000  # of a table
WITH_NULL = {"bool": "object", "int64": "Int64", "uint64": "UInt64"}  # kinds that have one: no floats
LABELLED = 64  # groups of values whose labels are kept in order

Counts = tuple[np.ndarray, np.ndarray]  # values as bound keys, ascending, and counts (int64) above 0


def counted_field(snapshot: Snapshot, name: Any) -> Field:
    """Return a field whose values can be counted, or refuse it."""
    field = snapshot.schema.field(name)
    if not field.indexed:
        raise InvalidError(
            f"field {name!r} is stored but not indexed: it cannot be counted; declare it in filter_fields or "
            "sort_fields (`add_field` does so), or count in a DataFrame, to_pandas"
        )
    return field


def value_counts(snapshot: Snapshot, found: Members, name: str) -> Counts:
    """Return the values that documents of a set have, and how many have each."""
    if snapshot.schema.field(name).filter is None:
        return Numbers(snapshot, found, name).value_counts()
    kept = codes_of(snapshot, name)
    by_codes = None if kept is None else _counted_by(kept[0], snapshot, found)
    if kept is not None and by_codes is not None:
        values, counts, altered = kept[0].values, by_codes, kept[1]
        if len(altered):
            stays = ~np.isin(values, altered)
            values, counts = values[stays], counts[stays]
            values, counts = _joined([(values, counts), *_counted(found, altered_postings(snapshot, name))])
        return values[counts > 0], counts[counts > 0]
    values = values_of(snapshot, name)
    if len(values) <= FEW and not found.is_words:
        counts = np.array(
            [found.bitmap.intersection_cardinality(one) for one in _havings(snapshot, name, values)]
        )
        counts = counts.astype(np.int64)
    else:
        parts = list(postings_of(snapshot, name))
        size = sum(int((one.stops - one.starts).sum()) for one in parts)
        if len(found) < size // BYTES and (told := _from_documents(snapshot, found, name)) is not None:
            return told
        values, counts = _joined(_counted(found, parts))
    return values[counts > 0], counts[counts > 0]


def _counted_by(codes: Codes, snapshot: Snapshot, found: Members) -> np.ndarray | None:
    """Return how many documents of a set have each value with a code; None if bitmaps are faster.

    Those of all documents are kept.
    """
    if found.most < len(snapshot.alive) or len(found) < len(snapshot.alive):
        order = codes.by_code if found.stays else None
        along = None if order is None else found.along(order.order, codes.cost(found))
        if order is not None and along is not None:
            return codes.of_values(along.between(order.cuts))
        return codes.count(found) if codes.worth(found) else None
    known = codes.of_all
    if known is None or known[0] is not snapshot.alive:
        known = codes.of_all = snapshot.alive, codes.count(found)
    return known[1]


def _counted(found: Members, parts: Iterable[Postings]) -> list[Counts]:
    return [(one.values, found.count(one.data, one.starts, one.stops)) for one in parts]


def _joined(parts: list[Counts]) -> Counts:
    """Return counts of different values as one, by value."""
    values, counts = (np.concatenate(each) for each in zip(*parts))
    order = np.argsort(values)
    return values[order], counts[order]


def facets(
    snapshot: Snapshot, found: Members, name: str, top: int | None = None, dropna: bool = True
) -> "pd.Series":
    """Return counts by value, the greatest first, equal ones by value; `dropna` omits those without one."""
    import pandas as pd

    field = counted_field(snapshot, name)
    keys, counts = value_counts(snapshot, found, name)
    if top is not None and top < len(counts):
        least = np.partition(counts, len(counts) - top)[len(counts) - top] if top else counts.max() + 1
        keys, counts = keys[counts >= least], counts[counts >= least]
    places, index = arranged(snapshot, field, keys, counts)
    series = pd.Series(counts[places][:top], index=index[:top], name="count")
    if not dropna:
        missing = int(counts.sum() - counts[places].sum())
        missing += shared(snapshot, found, snapshot.missing(name), ("missing", name))
        if missing:
            kind = {"int64": "Int64", "uint64": "UInt64"}.get(
                index.dtype.name, index.dtype
            )  # with nulls, exact
            held = index[:top].astype(object if field.is_boolean else kind)
            places = np.argsort(-np.append(series, missing), kind="stable")[:top]
            absent = pd.Index([None], dtype=held.dtype)
            series = pd.Series(np.append(series, missing)[places], held.append(absent)[places], name="count")
            series.index.name = name
    return series


def crosstab(snapshot: Snapshot, found: Members, row: str, column: str) -> "pd.DataFrame":
    """Return how many documents of a set have a value of one field and a value of the other."""
    fields = [counted_field(snapshot, name) for name in (row, column)]
    for field in fields:
        if field.filter is None:
            raise InvalidError(f"field {field.name!r} is a sort field only; a table takes filter fields")
    crossed = _crossed(snapshot, found, row, column)
    if crossed is not None:
        return _framed(snapshot, fields, *crossed)
    known = [value_counts(snapshot, found, name)[0] for name in (row, column)]
    rows, columns = known
    if len(rows) * len(columns) > CELLS:
        raise InvalidError(
            f"crosstab: {len(rows):,} values of {row!r} beside {len(columns):,} of {column!r} are more than "
            f"{CELLS:,} cells; choose fields of fewer values, or narrow the selection"
        )
    turned = len(rows) > len(columns)  # the field of fewer values goes outside
    outer, inner = (columns, rows) if turned else (rows, columns)
    names = (column, row) if turned else (row, column)
    table = np.zeros((len(outer), len(inner)), np.int64)
    whole = len(found) == len(snapshot.alive)
    if len(inner) <= FEW:
        each = _havings(snapshot, names[1], inner)
        for line, held in zip(table, _havings(snapshot, names[0], outer)):
            part = held if whole else found.bitmap & held
            line[:] = [part.intersection_cardinality(one) for one in each]
    else:
        for line, held in zip(table, _havings(snapshot, names[0], outer)):
            keys, counts = value_counts(snapshot, Members(found.bitmap & held), names[1])
            line[np.searchsorted(inner, keys)] = counts
    return _framed(snapshot, fields, rows, columns, table.T if turned else table)


def _crossed(
    snapshot: Snapshot, found: Members, row: str, column: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Return the values of two fields and their table by codes; None where codes do not tell all."""
    parts = codes_of(snapshot, row), codes_of(snapshot, column)
    if parts[0] is None or parts[1] is None or len(parts[0][1]) or len(parts[1][1]):
        return None
    rows, columns = parts[0][0], parts[1][0]
    if not (isinstance(rows, Column) and isinstance(columns, Column) and rows.few and columns.few):
        return None
    order = pair_of(snapshot, (row, column), (rows, columns)) if found.stays else None
    return rows.values, columns.values, rows.cross(columns, found, order)


def _framed(
    snapshot: Snapshot, fields: list[Field], rows: np.ndarray, columns: np.ndarray, table: np.ndarray
) -> "pd.DataFrame":
    """Return a table with its labels, in their order, without rows and columns of nothing but 0."""
    import pandas as pd

    places, labels = zip(*(arranged(snapshot, *one) for one in zip(fields, (rows, columns))))
    table = table[np.ix_(*places)]
    kept = table.any(axis=1), table.any(axis=0)
    if not (kept[0].all() and kept[1].all()):
        table, labels = table[np.ix_(*kept)], (labels[0][kept[0]], labels[1][kept[1]])
    return pd.DataFrame(table, *labels)


def cooccurrence(snapshot: Snapshot, found: Members, name: str, top: int) -> "pd.DataFrame":
    """Return, for the most frequent values of a field, how many documents of a set have each two of them."""
    import pandas as pd

    field = counted_field(snapshot, name)
    if field.filter is None:
        raise InvalidError(f"field {name!r} is a sort field only; cooccurrence takes a filter field")
    keys, counts = value_counts(snapshot, found, name)
    keys = keys[np.lexsort((keys, -counts))[:top]]
    table = shared_counts([found.bitmap & one for one in _havings(snapshot, name, keys)])
    labels = shown(snapshot, field, keys)
    return pd.DataFrame(table, index=labels, columns=labels)


def arranged(
    snapshot: Snapshot, field: Field, keys: np.ndarray, counts: np.ndarray | None = None
) -> tuple[np.ndarray, "pd.Index"]:
    """Return places of keys in the order of what documents show for them, and that, as far as there is one.

    With counts, the greatest comes first, and equal ones in that order.
    """
    kept: dict[Any, tuple[np.ndarray, pd.Index]] = snapshot.derived.setdefault("labels", {})
    few = len(keys) <= FEW and field.name in snapshot.registry
    key = (snapshot.registry.number(field.name), str(field.default), keys.tobytes()) if few else None
    known = kept.get(key)
    if known is None:
        known = _in_order(snapshot, field, keys)
        if few:
            if len(kept) >= LABELLED:
                kept.clear()
            kept[key] = known
    places, index = known
    if counts is None:
        return places, index[:]  # one that may be given another name
    order = np.argsort(-counts[places], kind="stable")
    return places[order], index.take(order)


def _in_order(snapshot: Snapshot, field: Field, keys: np.ndarray) -> tuple[np.ndarray, "pd.Index"]:
    import pandas as pd

    labels = _labels(snapshot, field, keys)
    if labels is None:
        places = np.argsort(keys)
        return places, shown(snapshot, field, keys[places])
    known = sorted((label, place) for place, label in enumerate(labels) if label is not None)
    places = np.array([place for _, place in known], np.int64)
    return places, pd.Index([label for label, _ in known], dtype="str", name=field.name)


def shown(snapshot: Snapshot, field: Field, keys: np.ndarray) -> "pd.Index":
    """Return bound keys as the values that documents show, under the name of the field."""
    import pandas as pd

    if field.is_boolean:
        return pd.Index(keys.astype(bool), name=field.name)
    labels = _labels(snapshot, field, keys)
    return pd.Index(
        keys if labels is None else labels, dtype=None if labels is None else "str", name=field.name
    )


def _labels(snapshot: Snapshot, field: Field, keys: np.ndarray) -> list[str | None] | None:
    """Return the texts of keys, None for those without one; None for fields that have no texts."""
    texts = snapshot.documents.texts(field.name, keys.tolist())
    if texts is None or field.is_boolean:
        return None
    default = {0: str(field.default)} if field.is_labelled and field.default is not None else {}
    known = default | texts  # the default may be one that no document holds
    return [known.get(key) for key in keys.tolist()]


def _from_documents(snapshot: Snapshot, found: Members, name: str) -> Counts | None:
    """Count the values of integers in the documents; None for other fields."""
    from bitdex.frames import to_arrow

    field = snapshot.schema.field(name)
    if not field.stored or field.kind not in ("integer", "integer_array"):
        return None
    table = to_arrow(snapshot.documents, found.slots, [name])
    column = table.column(name).combine_chunks()
    if not field.is_list:
        return np.unique(np.asarray(column.drop_null(), np.int64), return_counts=True)
    rows, values = np.asarray(pc.list_parent_indices(column)), np.asarray(pc.list_flatten(column))
    order = np.lexsort((rows, values))
    rows, values = rows[order], values[order]
    again = (rows[1:] == rows[:-1]) & (values[1:] == values[:-1])  # a list may hold a value twice
    return np.unique(values[np.append(True, ~again)[: len(values)]], return_counts=True)


def _havings(snapshot: Snapshot, name: str, values: np.ndarray) -> list[BitMap]:
    return snapshot.having_each(name, tuple(values.tolist())) if len(values) else []
