"""The definition of a dump: phases loaded row by row, with dictionaries for joins and its own expressions."""

import csv
import io
import re
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from bitdex.schema import Field

if TYPE_CHECKING:
    from tests.oracle import Oracle

Row = dict[str, str]
Targets = list[tuple[str, Any]]

_TRUE, _FALSE = ("t", "true"), ("f", "false")
_TOKEN = re.compile(r"\s*(\|\||&&|==|!=|>>|[=&(),]|-?\d+|'[^']*'|\w+)")


def load(oracle: "Oracle", phases: Iterable[Mapping[str, Any]], files: Mapping[str, str], now: float) -> None:
    """Load phases in order; see `Oracle.dump`."""
    for phase in phases:
        touched = _load_phase(oracle, phase, files)
        if phase.get("sets_alive"):
            for slot in touched:
                _show_or_hide(oracle, slot, now)


def _load_phase(oracle: "Oracle", phase: Mapping[str, Any], files: Mapping[str, str]) -> list[int]:
    touched: dict[int, None] = {}
    lookups = [_Lookup(level, files) for level in phase.get("enrichment", [])]
    for row in _rows(_phase_text(phase, files), phase):
        slot = _integer(row[phase["slot_field"]])
        if slot is None or not 0 <= slot < 2**32 or not _passes(phase, row):
            continue
        touched[slot] = None
        _store(oracle, slot, _targets(phase, row) + _enriched(lookups, row))
    return list(touched)


def _store(oracle: "Oracle", slot: int, targets: Targets) -> None:
    record = oracle.documents[slot] if slot in oracle.documents else oracle.hidden.setdefault(slot, {})
    for target, raw in targets:
        if target == "id":
            continue
        field = oracle.schema.fields[target]
        value = _converted(field, raw)
        if value is not None and field.is_list:
            record[target] = [*record.get(target, []), value]
        elif value is not None:
            record[target] = oracle.spelled(field, value)


def _show_or_hide(oracle: "Oracle", slot: int, now: float) -> None:
    record = oracle.documents.pop(slot) if slot in oracle.documents else oracle.hidden.pop(slot)
    oracle.hidden[slot] = record
    deferred = oracle.schema.deferred
    due = None if deferred is None else oracle.value(slot, deferred.source_field)
    if due is None or due / (1000 if deferred.ms_to_seconds else 1) <= now:
        oracle.documents[slot] = oracle.hidden.pop(slot)


# files


def _phase_text(phase: Mapping[str, Any], files: Mapping[str, str]) -> str:
    name = phase["name"]
    for candidate in (PurePath(phase.get("csv_path", name)).name, f"{name}.csv", f"{name}.tsv"):
        if candidate in files:
            return files[candidate]
    raise KeyError(f"no file for phase {name!r} among {sorted(files)}")


def _rows(text: str, phase: Mapping[str, Any]) -> Iterable[Row]:
    delimiter = "\t" if phase.get("format") == "tsv" else ","
    lines = [line for line in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if line]
    columns = list(phase.get("columns") or lines[0])
    body = lines[1:] if lines and lines[0] == columns else lines
    return [dict(zip(columns, line, strict=True)) for line in body if len(line) == len(columns)]


# one row


def _targets(level: Mapping[str, Any], row: Row, key: int | None = None) -> Targets:
    targets: Targets = []
    for entry in level.get("fields", []):
        column, target = (entry, entry) if isinstance(entry, str) else (entry["column"], entry["target"])
        targets.append((target, _Raw(row[column])))
    for entry in level.get("computed_fields", []):
        result = evaluate(entry["expression"], row, key)
        if entry.get("value") is None:
            targets.append((entry["target"], result))
        elif _true(result):
            targets.append((entry["target"], _Raw(row[entry["value"]])))
    return targets


def _passes(level: Mapping[str, Any], row: Row, key: int | None = None) -> bool:
    return not level.get("filter") or _true(evaluate(level["filter"], row, key))


class _Lookup:
    def __init__(self, level: Mapping[str, Any], files: Mapping[str, str]) -> None:
        self.level = level
        rows = _rows(files[PurePath(level.get("csv_path") or level["lookup"]).name], level)
        self.table = {_integer(row[level["key"]]): row for row in rows}
        self.inner = [_Lookup(nested, files) for nested in level.get("enrichment", [])]

    def targets(self, parent: Row) -> Targets:
        key = _integer(parent[self.level["join_on"]])
        row = self.table.get(key)
        if key is None or row is None or not _passes(self.level, row, key):
            return []
        return _targets(self.level, row, key) + _enriched(self.inner, row)


def _enriched(lookups: list[_Lookup], row: Row) -> Targets:
    return [target for lookup in lookups for target in lookup.targets(row)]


# values


class _Raw(str):
    """The text of a column, as against the result of an expression."""


def _converted(field: Field, raw: Any) -> Any:
    """Return the value that a field takes from a column or an expression, or None."""
    if field.kind == "exists_boolean":
        return raw if isinstance(raw, bool) else raw not in (None, "")
    if raw is None or raw == "":
        return None
    if field.is_text:
        return str(raw)
    if field.is_boolean:
        return {**dict.fromkeys((*_TRUE, "1"), True), **dict.fromkeys((*_FALSE, "0"), False)}.get(
            str(raw).lower()
        )
    if field.kind == "float":
        return _float(raw)
    number = int(raw) if isinstance(raw, bool) else _integer(raw)
    low, high = (-(2**63), 2**63 - 1) if field.sort is None else (field.sort.low, field.sort.high)
    return number if number is not None and low <= number <= high else None


def _integer(raw: Any) -> int | None:
    return int(raw) if re.fullmatch(r"-?[0-9]+", str(raw)) else None


def _float(raw: Any) -> float | None:
    try:
        return float(raw)
    except ValueError:
        return None


# expressions


def evaluate(expression: str, row: Row, lookup_key: int | None = None) -> Any:
    """Evaluate an expression for one row: an integer, boolean, text or None."""
    return _Evaluator(expression, row, lookup_key).any_of()


class _Evaluator:
    """Works the value out while it reads, loosest operator first."""

    def __init__(self, expression: str, row: Row, lookup_key: int | None) -> None:
        self.tokens = _TOKEN.findall(expression)
        self.row = row
        self.lookup_key = lookup_key

    def take(self, *tokens: str) -> str | None:
        return self.tokens.pop(0) if self.tokens and self.tokens[0] in tokens else None

    def any_of(self) -> Any:
        value = self.all_of()
        while self.take("||"):
            right = self.all_of()
            value = _true(value) or _true(right)
        return value

    def all_of(self) -> Any:
        value = self.comparison()
        while self.take("&&"):
            right = self.comparison()
            value = _true(value) and _true(right)
        return value

    def comparison(self) -> Any:
        value = self.masked()
        while operator := self.take("==", "=", "!="):
            equal = _equal(value, self.masked())
            value = not equal if operator == "!=" else equal
        return value

    def masked(self) -> Any:
        value = self.shifted()
        while self.take("&"):
            right = self.shifted()
            value = None if _number(value) is None else _number(value) & right
        return value

    def shifted(self) -> Any:
        value = self.atom()
        while self.take(">>"):
            right = self.atom()
            value = None if _number(value) is None else _number(value) >> right
        return value

    def atom(self) -> Any:
        token = self.tokens.pop(0)
        if token == "(":
            value = self.any_of()
            assert self.tokens.pop(0) == ")"
            return value
        if token == "max" and self.take("("):
            values = [self.any_of()]
            while self.take(","):
                values.append(self.any_of())
            assert self.tokens.pop(0) == ")"
            return max((_number(value) for value in values if _number(value) is not None), default=None)
        if token.startswith("'"):
            return token[1:-1]
        if _integer(token) is not None:
            return int(token)
        named = {"true": True, "false": False, "null": None, "lookup_key": self.lookup_key}
        return named[token] if token in named else _typed(self.row[token])


def _typed(text: str) -> Any:
    if text == "":
        return None
    if _integer(text) is not None:
        return int(text)
    return True if text.lower() in _TRUE else False if text.lower() in _FALSE else text


def _number(value: Any) -> int | None:
    return int(value) if isinstance(value, bool) else _integer(value)


def _equal(left: Any, right: Any) -> bool:
    if left is None or right is None:
        return left is right
    if isinstance(left, str) and isinstance(right, str):
        return left == right
    return _number(left) is not None and _number(left) == _number(right)


def _true(value: Any) -> bool:
    return bool(value)
