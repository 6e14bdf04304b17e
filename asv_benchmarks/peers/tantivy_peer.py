"""tantivy: terms for every value, fast fields for sorting, the document as stored JSON."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import tantivy
from tantivy import FieldType, Occur, Query

from asv_benchmarks.peers.joined import joined
from asv_benchmarks.peers.peer import FIELDS, FILTERS, FLAGS, SORTS, TEXTS, THREADS, Page
from asv_benchmarks.peers.questions import LISTS, AtLeast, Clause, Equal, Every, HasAny, OneOf, Without

BATCH = 20_000
HEAP = 1_000_000_000
# A sort field is stored a second time with the id below it: ties are ordered, and a page has a keyset.
KEYS = {name: f"{name}_id" for name in ("reactionCount", "sortAt")}


def schema() -> tantivy.Schema:
    builder = tantivy.SchemaBuilder()
    for name in dict.fromkeys(["id", *FILTERS, *LISTS, *SORTS]):
        if name in TEXTS:
            builder.add_text_field(name, tokenizer_name="raw", index_option="basic")
        elif name in FLAGS:
            builder.add_boolean_field(name, indexed=True)
        else:
            builder.add_unsigned_field(name, indexed=True, fast=name in SORTS)
    for name in KEYS.values():
        builder.add_unsigned_field(name, fast=True)
    builder.add_bytes_field("document", stored=True)
    return builder.build()


class TantivyPeer:
    """Two indexing threads; scores are never computed."""

    def load(self, source: Path, store: Path) -> None:
        store.mkdir(parents=True, exist_ok=True)
        index = tantivy.Index(schema(), path=str(store), reuse=False)
        writer = index.writer(heap_size=HEAP, num_threads=THREADS)
        for batch in joined(source).to_batches(BATCH):
            for row in batch.to_pylist():
                writer.add_document(as_document(row, index.schema))
        writer.commit()
        writer.wait_merging_threads()

    def open(self, store: Path) -> None:
        index = tantivy.Index.open(str(store))
        index.reload()
        self.schema, self.searcher = index.schema, index.searcher()
        self.searcher.search(Query.all_query(), limit=1, order_by_field=KEYS["sortAt"])

    def count(self, where: Clause) -> Callable[[], int]:
        if isinstance(where, Equal):
            return lambda: self.searcher.doc_freq(where.field, where.value)
        if isinstance(where, HasAny) and len(where.values) == 1:
            return lambda: self.searcher.doc_freq(where.field, where.values[0])
        query, counted = self._query(where), {"n": {"value_count": {"field": "id"}}}
        return lambda: int(self.searcher.aggregate(query, counted)["n"]["value"])

    def page(self, where: Clause, sort: str, limit: int, after: Any = None) -> Callable[[], Page]:
        query, key = self._query(where), KEYS[sort]
        if after is not None:
            kind = FieldType.Unsigned
            below = Query.range_query(self.schema, key, kind, upper_bound=after, include_upper=False)
            query = Query.boolean_query([(Occur.Must, query), (Occur.Must, below)])

        def run() -> Page:
            hits = self.searcher.search(query, limit=limit, count=False, order_by_field=key).hits
            return Page([key & 0xFFFFFFFF for key, _ in hits], hits[-1][0] if hits else None)

        return run

    def page_documents(self, where: Clause, sort: str, limit: int) -> Callable[[], list[dict[str, Any]]]:
        query, key = self._query(where), KEYS[sort]

        def run() -> list[dict[str, Any]]:
            hits = self.searcher.search(query, limit=limit, count=False, order_by_field=key).hits
            return [self._document(address) for _, address in hits]

        return run

    def frame(self, ids: tuple[int, ...] | None) -> Callable[[], pd.DataFrame]:
        query = Query.all_query() if ids is None else Query.term_set_query(self.schema, "id", ids)
        limit = self.searcher.num_docs if ids is None else len(ids)

        def run() -> pd.DataFrame:
            hits = self.searcher.search(query, limit=limit, count=False, order_by_field="id").hits
            return pd.DataFrame([self._document(address) for _, address in hits], columns=FIELDS)

        return run

    def document(self, id: int) -> Callable[[], dict[str, Any]]:
        query = Query.term_query(self.schema, "id", id)
        return lambda: self._document(self.searcher.search(query, limit=1, count=False).hits[0][1])

    def _document(self, address: tantivy.DocAddress) -> dict[str, Any]:
        return json.loads(bytes(self.searcher.doc(address)["document"][0]))

    def _query(self, where: Clause) -> Query:
        match where:
            case Equal(field, value):
                return Query.term_query(self.schema, field, value, index_option="basic")
            case OneOf(field, values) | HasAny(field, values):
                return Query.term_set_query(self.schema, field, values)
            case AtLeast(field, value):
                return Query.range_query(self.schema, field, FieldType.Unsigned, lower_bound=value)
            case Every(clauses):
                return Query.boolean_query([self._occurrence(clause) for clause in clauses])
            case Without(clause):
                every = (Occur.Must, Query.all_query())
                return Query.boolean_query([every, (Occur.MustNot, self._query(clause))])

    def _occurrence(self, clause: Clause) -> tuple[Occur, Query]:
        if isinstance(clause, Without):
            return Occur.MustNot, self._query(clause.clause)
        return Occur.Must, self._query(clause)


def as_document(row: dict[str, Any], schema: tantivy.Schema) -> tantivy.Document:
    """Make a tantivy document of a row: its terms, its sort keys, and its JSON."""
    values = {name: row[name] for name in (*FILTERS, *LISTS, *SORTS) if row[name] is not None}
    for name, key in KEYS.items():
        values[key] = row[name] << 32 | row["id"]
    values["document"] = json.dumps({name: row[name] for name in FIELDS}).encode()
    return tantivy.Document.from_dict(values, schema)
