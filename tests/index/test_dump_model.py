"""Any schema, any phases, any files: an index holds and answers what the naive oracle does."""

import shutil
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

import bitdex
from bitdex.dump import text_source
from bitdex.index import Index
from bitdex.query.clauses import EVERYTHING, Clause, Eq
from bitdex.schema import Schema
from tests.index.strategies import MAPPED, NOW, SLOTS, TEXTS, World, trees, worlds
from tests.oracle import Oracle

QUICK = settings(
    max_examples=100,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
NUMBERS = [0, 1, 2, 3, 7, 49, 50, 51, 255, -1, 5, 2**47, 2**63 - 1, -(2**63)]


@QUICK
@given(worlds(), st.data())
def test_index_equals_oracle(world: World, data: st.DataObject) -> None:
    note(f"{world.schema}\n{world.phases}\n" + "\n".join(f"--- {k}\n{v}" for k, v in world.files.items()))
    oracle = Oracle(Schema.load(world.schema))
    oracle.dump(world.phases, world.files, NOW)
    directory = Path(tempfile.mkdtemp())
    try:
        for name, text in world.files.items():
            (directory / name).write_text(text, newline="")
        clauses = data.draw(st.lists(trees(oracle.schema), min_size=1, max_size=4))
        with (
            mock.patch.object(text_source, "BLOCK", world.block),
            bitdex.create(directory / "index", world.schema, sync="none") as index,
        ):
            results = index.dump(world.phases, source=directory, now=NOW)
            assert all(r.rows == r.applied + r.filtered + r.rejected for r in results)
            compare(index, oracle, clauses)
        with bitdex.open(directory / "index") as index:
            compare(index, oracle, clauses)
    finally:
        shutil.rmtree(directory)


def compare(index: Index, oracle: Oracle, clauses: list[Clause]) -> None:
    """Check documents, the documents of every value, and the pages of some queries."""
    assert index.ids().tolist() == sorted(oracle.documents)
    for slot in oracle.documents:
        assert index.get(slot) == shown(oracle, slot)
    for name, values in wanted_values(oracle):
        for value in values:
            expected = sorted(oracle.query(Eq(name, value))[0])
            assert (name, value, index.ids(Eq(name, value)).tolist()) == (name, value, expected)
            assert index.count(Eq(name, value)) == len(expected)
    sorts = [field.name for field in oracle.schema.sort_fields]
    for number, clause in enumerate([EVERYTHING, *clauses]):
        for sort in (None, *sorts, *(f"-{name}" for name in sorts)):
            compare_pages(index, oracle, clause, sort, 1 + number)


def compare_pages(index: Index, oracle: Oracle, clause: Clause, sort: str | None, limit: int) -> None:
    """Check the whole answer, and that a chain of pages is the same."""
    ids, total, _ = oracle.query(clause, sort)
    page = index.query(clause, sort=sort, limit=limit)
    found: list[int] = []
    while len(page):
        assert page.total == total
        found += page.ids.tolist()
        page = page.next()
    assert found == ids, f"{clause}, by {sort}"
    assert index.query(clause, sort=sort, limit=100).ids.tolist() == ids


def shown(oracle: Oracle, slot: int) -> dict[str, Any]:
    """Return a document as reading shows it: mapped texts in the spelling of the map."""
    document = {"id": slot, **oracle.document(slot)}
    for field in oracle.schema.fields.values():
        if field.kind == "mapped_string" and field.name in document:
            document[field.name] = spelling(document[field.name], field.case_sensitive)
    return document


def spelling(text: str, case_sensitive: bool) -> str | None:
    """Return how a mapped text is shown; None for one that the map does not know."""
    if case_sensitive:
        return text if text in MAPPED else None
    return next((known for known in MAPPED if known.lower() == text.lower()), None)


def wanted_values(oracle: Oracle) -> list[tuple[str, list[Any]]]:
    """Return values to look for, by field."""
    found: list[tuple[str, list[Any]]] = [("id", [*SLOTS, 4])]
    for field in oracle.schema.fields.values():
        if field.indexed:
            values = TEXTS if field.is_text else [True, False] if field.is_boolean else NUMBERS
            found.append((field.name, list(values)))
    return found
