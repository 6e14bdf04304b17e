"""BitDex: the sample's own schema and phases."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

import bitdex
from asv_benchmarks.peers.peer import FIELDS, Page
from asv_benchmarks.peers.questions import AtLeast, Clause, Equal, Every, HasAny, OneOf, Without
from bitdex import field
from bitdex.sample import NOW, sample_phases, sample_schema


class BitdexPeer:
    """The public interface, as a user calls it; like the others' code, its code is loaded beforehand."""

    def __init__(self) -> None:
        bitdex.warmup()
        importlib.import_module("bitdex.dump.load")

    def load(self, source: Path, store: Path) -> None:
        index = bitdex.create(store, sample_schema())
        index.dump(sample_phases(), source=source, now=NOW, progress=False)
        index.close()

    def open(self, store: Path) -> None:
        self.index = bitdex.open(store)

    def count(self, where: Clause) -> Callable[[], int]:
        query = expression(where)
        return lambda: self.index.count(query, cache=False)

    def page(self, where: Clause, sort: str, limit: int, after: Any = None) -> Callable[[], Page]:
        query, order = expression(where), f"-{sort}"

        def run() -> Page:
            page = self.index.query(query, sort=order, limit=limit, after=after, cache=False)
            return Page(page.ids.tolist(), page.cursor)

        return run

    def page_documents(self, where: Clause, sort: str, limit: int) -> Callable[[], list[dict[str, Any]]]:
        query, order = expression(where), f"-{sort}"
        return lambda: self.index.query(query, sort=order, limit=limit, cache=False).documents(FIELDS)

    def frame(self, ids: tuple[int, ...] | None) -> Callable[[], pd.DataFrame]:
        if ids is None:
            return lambda: self.index.to_pandas()
        return lambda: self.index.get_many(ids).to_pandas()

    def document(self, id: int) -> Callable[[], dict[str, Any]]:
        return lambda: self.index.get(id)


def expression(where: Clause) -> Any:
    """Write a question as a user of BitDex does."""
    match where:
        case Equal(name, value):
            return field[name] == value
        case OneOf(name, values):
            return field[name].isin(values)
        case HasAny(name, (value,)):
            return field[name].has(value)
        case HasAny(name, values):
            return field[name].has_any(values)
        case AtLeast(name, value):
            return field[name] >= value
        case Every(clauses):
            whole, *others = map(expression, clauses)
            for clause in others:
                whole = whole & clause
            return whole
        case Without(clause):
            return ~expression(clause)
