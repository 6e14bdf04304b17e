"""The definition of right: an index as a dictionary of documents, searched one document at a time.

Nothing here is shared with the package but the clause and cursor classes and the schema. A
field's value is what the document holds, else the schema's default, else None; computed sorts
are worked out on the spot. `documents` are the alive ones; what is stored but not visible
(deferred, or named only by rows of phases that do not set alive) is in `hidden`.
"""

import datetime
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from bitdex.query import clauses as c
from bitdex.query.cursor import Cursor
from bitdex.schema import Field, Schema
from tests.oracle_dump import load

Document = dict[str, Any]


class Oracle:
    """A naive index.

    Parameters
    ----------
    schema : Schema
    labels : callable, optional
        As for `bind`; needed to evaluate bound clauses on low-cardinality strings.
    """

    def __init__(self, schema: Schema, labels: Callable[[Field, str], int | None] | None = None) -> None:
        self.schema = schema
        self.labels = labels
        self.documents: dict[int, Document] = {}
        self.hidden: dict[int, Document] = {}
        self._spellings: dict[tuple[str, str], str] = {}

    def put(self, slot: int, document: Mapping[str, Any]) -> None:
        """Create or replace a document."""
        self.hidden.pop(slot, None)
        fields = self.schema.fields
        self.documents[slot] = {
            name: self.spelled(fields[name], value) for name, value in document.items() if value is not None
        }

    def delete(self, slot: int) -> None:
        """Remove a document, if it is there."""
        self.hidden.pop(slot, None)
        self.documents.pop(slot, None)

    def dump(self, phases: Iterable[Mapping[str, Any]], files: Mapping[str, str], now: float) -> None:
        """Load phases, as the YAML has them, row by row; `files` is CSV text by name."""
        load(self, phases, files, now)

    def spelled(self, field: Field, value: Any) -> Any:
        """Return a label in the spelling in which it was first seen, any other value as it is."""
        if not field.is_labelled:
            return value
        return self._spellings.setdefault((field.name, _folded(field, value)), value)

    def document(self, slot: int) -> Document:
        """Return what reading the document shows: stored fields, defaults put back, no nulls."""
        names = [name for name, field in self.schema.fields.items() if field.stored]
        return {name: self.value(slot, name) for name in names if self.value(slot, name) is not None}

    def value(self, slot: int, name: str) -> Any:
        """Return one field's value, or None."""
        if name == "id":
            return slot
        record = self.documents[slot] if slot in self.documents else self.hidden[slot]
        field = self.schema.fields[name]
        value = record.get(name)
        if field.sort is not None and field.sort.computed is not None:
            sources = [self.value(slot, source) for source in field.sort.computed.sources]
            present = [source for source in sources if source is not None]
            choose = max if field.sort.computed.op == "greatest" else min
            value = choose(present) if present else None
        if value is None:
            value = list(field.default) if isinstance(field.default, tuple) else field.default
        return value

    def values(self, slot: int, name: str) -> list[Any]:
        """Return all values of one field: none, one, or the members of a list."""
        value = self.value(slot, name)
        if value is None:
            return []
        return list(value) if isinstance(value, list | tuple) else [value]

    def matches(self, clause: c.Clause, slot: int) -> bool:
        """Tell whether an alive document is in a clause, bound or not."""
        if isinstance(clause, c.And):
            return all(self.matches(member, slot) for member in clause.clauses)
        if isinstance(clause, c.Or):
            return any(self.matches(member, slot) for member in clause.clauses)
        if isinstance(clause, c.Not):
            return not self.matches(clause.clause, slot)
        name = self._real_name(clause.field)
        values = self.values(slot, name)
        if isinstance(clause, c.IsNull):
            return not values
        if isinstance(clause, c.IsNotNull):
            return bool(values)
        if isinstance(clause, c.Eq | c.In):
            return self._contains(name, values, _wanted(clause))
        if isinstance(clause, c.NotEq | c.NotIn):
            return self._lacks(name, values, _wanted(clause))
        return any(_in_range(clause, value) for value in values)

    def _contains(self, name: str, values: list[Any], wanted: tuple[Any, ...]) -> bool:
        if None in wanted and not values:
            return True
        return any(self._equal(name, value, one) for value in values for one in wanted if one is not None)

    def _lacks(self, name: str, values: list[Any], wanted: tuple[Any, ...]) -> bool:
        nullable = name != "id" and self.schema.fields[name].nullable and not self.schema.fields[name].is_list
        if not values and (nullable or None in wanted):
            return False
        return not self._contains(name, values, wanted)

    def _equal(self, name: str, value: Any, wanted: Any) -> bool:
        field = None if name == "id" else self.schema.fields[name]
        if field is None or not field.is_text:
            return value == _moment(wanted)
        if field.kind == "mapped_string":
            number = _mapped(field, wanted) if isinstance(wanted, str) else wanted
            return number is not None and number == (_mapped(field, value) or 0)
        if isinstance(wanted, str):
            return _folded(field, value) == _folded(field, wanted)
        assert self.labels is not None, "bound clauses need the labels"
        return self.labels(field, value) == wanted

    def _real_name(self, name: str) -> str:
        buckets = self.schema.time_buckets
        if buckets is not None and name == buckets.filter_field and name not in self.schema.fields:
            return buckets.sort_field
        return name

    def query(
        self,
        clause: c.Clause,
        sort: str | None = None,
        limit: int | None = None,
        after: Cursor | None = None,
        offset: int = 0,
    ) -> tuple[list[int], int, Cursor | None]:
        """Return one page's slots, the number of all matches, and the cursor of the last row.

        Order is value, then slot, both in the direction of `sort` ("field" or "-field"); documents without
        a value come last in both, or where the field's sort says. No sort is newest slot first. A cursor
        wins over an offset. The cursor is None only if the page is empty.
        """
        descending = sort is None or sort.startswith("-")
        name = None if sort is None else sort.removeprefix("-")
        found = [slot for slot in self.documents if self.matches(clause, slot)]
        rows = [Cursor(self._sort_value(slot, name), slot) for slot in found]
        absent = (
            "last"
            if name is None or self.schema.fields[name].sort is None
            else self.schema.fields[name].sort.absent
        )
        ahead = absent == "first" or (absent == "lowest" and not descending)
        rows.sort(key=lambda row: _rank(row, descending, ahead))
        if after is not None:
            begin = _rank(after, descending, ahead)
            rows = [row for row in rows if _rank(row, descending, ahead) > begin]
        else:
            rows = rows[offset:]
        page = rows if limit is None else rows[:limit]
        return [row.slot for row in page], len(found), page[-1] if page else None

    def _sort_value(self, slot: int, name: str | None) -> int | float | None:
        value = None if name is None else self.value(slot, name)
        return int(value) if isinstance(value, bool) else value


def _rank(row: Cursor, descending: bool, ahead: bool) -> tuple[bool, int | float, int]:
    sign = -1 if descending else 1
    return (row.value is None) != ahead, 0 if row.value is None else sign * row.value, sign * row.slot


def _wanted(clause: Any) -> tuple[Any, ...]:
    return clause.values if isinstance(clause, c.In | c.NotIn) else (clause.value,)


def _in_range(clause: Any, value: Any) -> bool:
    if isinstance(clause, c.Between):
        return _moment(clause.low) <= value <= _moment(clause.high)
    limit = _moment(clause.value)
    if isinstance(clause, c.Gt | c.Gte):
        return value > limit or (isinstance(clause, c.Gte) and value == limit)
    return value < limit or (isinstance(clause, c.Lte) and value == limit)


def _moment(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    moment = datetime.datetime.fromisoformat(value)
    return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp()


def _mapped(field: Field, text: str) -> int | None:
    exact = field.string_map.get(text)
    if exact is not None or field.case_sensitive:
        return exact
    return next((number for key, number in field.string_map.items() if key.lower() == text.lower()), None)


def _folded(field: Field, text: str) -> str:
    return text if field.case_sensitive else text.lower()
