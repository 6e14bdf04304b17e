"""The questions in SQL, for DuckDB and SQLite."""

from asv_benchmarks.peers.questions import AtLeast, Clause, Equal, Every, HasAny, OneOf, Value, Without


class SqlWriter:
    """Writes statements with `?` for every value, and collects the values.

    Parameters
    ----------
    inverted : tuple of str
        List fields with a table (value, id) of their own; the others are list columns.
    """

    def __init__(self, inverted: tuple[str, ...]) -> None:
        self._inverted = inverted
        self.values: list[Value] = []

    def count(self, where: Clause) -> str:
        """Write a count; a question about one inverted field alone is put to its table."""
        clauses = where.clauses if isinstance(where, Every) else (where,)
        lists = [c for c in clauses if isinstance(c, HasAny) and c.field in self._inverted]
        if len(lists) == len(clauses):
            first, *others = lists
            counted = "*" if len(first.values) == 1 else "DISTINCT id"
            conditions = [self._among("value", first.values), *map(self.condition, others)]
            return f"SELECT count({counted}) FROM {first.field} WHERE {' AND '.join(conditions)}"
        return f"SELECT count(*) FROM images WHERE {self.condition(where)}"

    def page(self, columns: str, where: Clause, sort: str, limit: int, after: tuple[int, int] | None) -> str:
        """Write a page, by keyset."""
        condition = self.condition(where)
        if after is not None:
            condition += f" AND ({sort}, id) < ({self._put(after[0])}, {self._put(after[1])})"
        return f"SELECT {columns} FROM images WHERE {condition} ORDER BY {sort} DESC, id DESC LIMIT {limit}"

    def condition(self, where: Clause) -> str:
        match where:
            case Equal(field, value):
                return f"{field} = {self._put(value)}"
            case OneOf(field, values):
                return self._among(field, values)
            case HasAny(field, values) if field in self._inverted:
                return f"id IN (SELECT id FROM {field} WHERE {self._among('value', values)})"
            case HasAny(field, values):  # list_has_any takes six times as long
                each = (f"list_contains({field}, {self._put(value)})" for value in values)
                return f"({' OR '.join(each)})"
            case AtLeast(field, value):
                return f"{field} >= {self._put(value)}"
            case Every(clauses):
                return " AND ".join(map(self.condition, clauses))
            case Without(clause):
                return f"NOT ({self.condition(clause)})"

    def _among(self, column: str, values: tuple[Value, ...]) -> str:
        marks = ", ".join(map(self._put, values))
        return f"{column} IN ({marks})" if len(values) > 1 else f"{column} = {marks}"

    def _put(self, value: Value) -> str:
        self.values.append(value)
        return "?"
