"""The generated sample as one DuckDB table, read from its files; and clauses as SQL over it."""

import random
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from bitdex.query import clauses as c

LISTS = ("tagIds", "modelVersionIds", "modelVersionIdsManual", "toolIds", "techniqueIds")
TEXTS = ("type", "baseModel", "availability", "blockedFor")
FLAGS = ("hasMeta", "onSite", "poi", "minor", "isPublished", "isRemix")
NUMBERS = ("nsfwLevel", "userId", "postId", "postedToId", "remixOfId")
SORTS = ("reactionCount", "sortAt", "commentCount", "collectedCount", "existedAt", "publishedAt", "id")

TABLE = """
CREATE TABLE documents AS
WITH numbered AS (
  SELECT *, row_number() OVER () AS place FROM read_csv('{d}/resources.csv', parallel = false)
), resources AS (
  SELECT r.imageId,
    list(r.modelVersionId ORDER BY place) AS modelVersionIds,
    list(r.modelVersionId ORDER BY place) FILTER (NOT r.detected) AS modelVersionIdsManual,
    arg_max(v.baseModel, place) FILTER (v.baseModel IS NOT NULL) AS baseModel,
    arg_max(m.poi, place) FILTER (m.poi IS NOT NULL AND m.type = 'Checkpoint') AS poi
  FROM numbered r LEFT JOIN read_csv('{d}/model_versions.csv') v ON v.id = r.modelVersionId
    LEFT JOIN read_csv('{d}/models.csv') m ON m.id = v.modelId
  GROUP BY r.imageId
), tags AS (
  SELECT imageId, list(tagId) AS tagIds FROM read_csv('{d}/tags.csv')
  WHERE attributes >> 10 & 1 = 0 GROUP BY imageId
), tools AS (SELECT imageId, list(toolId) AS toolIds FROM read_csv('{d}/tools.csv') GROUP BY imageId
), techniques AS (
  SELECT imageId, list(techniqueId) AS techniqueIds FROM read_csv('{d}/techniques.csv') GROUP BY imageId
)
SELECT i.id, i.url, i.hash, i.width, i.height, i.nsfwLevel, i.userId, i.postId, i.type, i.blockedFor,
  (flags >> 13) & 1 = 1 AND (flags >> 2) & 1 = 0 AS hasMeta, (flags >> 14) & 1 = 1 AS onSite,
  (flags >> 3) & 1 = 1 AS minor, coalesce(resources.poi, (flags >> 4) & 1 = 1) AS poi,
  greatest(scannedAtSecs, createdAtSecs) AS existedAt, p.publishedAtSecs AS publishedAt,
  greatest(scannedAtSecs, createdAtSecs, p.publishedAtSecs) AS sortAt,
  p.availability, p.id AS postedToId,
  CASE WHEN p.id IS NOT NULL THEN p.publishedAtSecs IS NOT NULL END AS isPublished,
  NULL::BIGINT AS remixOfId, NULL::BOOLEAN AS isRemix, baseModel,
  tagIds, modelVersionIds, modelVersionIdsManual, toolIds, techniqueIds,
  coalesce(reactionCount, 0) AS reactionCount, coalesce(commentCount, 0) AS commentCount,
  coalesce(collectedCount, 0) AS collectedCount
FROM read_csv('{d}/images.csv') i LEFT JOIN read_csv('{d}/posts.csv') p ON p.id = i.postId
  LEFT JOIN resources ON resources.imageId = i.id LEFT JOIN tags ON tags.imageId = i.id
  LEFT JOIN tools ON tools.imageId = i.id LEFT JOIN techniques ON techniques.imageId = i.id
  LEFT JOIN read_csv('{d}/metrics.tsv', delim = '\t') metrics ON metrics.imageId = i.id
WHERE p.publishedAtSecs IS NULL OR p.publishedAtSecs <= {now}
ORDER BY i.id
"""


class Duck:
    """The documents of a sample in DuckDB."""

    def __init__(self, directory: Path, now: int) -> None:
        self.connection = duckdb.connect(config={"threads": 2})
        self.connection.execute(TABLE.format(d=directory, now=now))

    def ids(self, clause: c.Clause, sort: str | None) -> np.ndarray:
        """Return the ids of all documents that match, in order."""
        descending = sort is None or sort.startswith("-")
        name, way = (sort or "id").lstrip("-"), "DESC" if descending else "ASC"
        statement = (
            f'SELECT id FROM documents WHERE {to_sql(clause)} ORDER BY "{name}" {way} NULLS LAST, id {way}'
        )
        return self.connection.execute(statement).fetchnumpy()["id"]

    def samples(self) -> dict[str, list[Any]]:
        """Return some values of every field, frequent ones more often."""
        found = {}
        for name in (*LISTS, *TEXTS, *NUMBERS, *SORTS):
            value = f"unnest({name})" if name in LISTS else name
            rows = self.connection.execute(
                f"SELECT v FROM (SELECT {value} AS v FROM documents) WHERE v IS NOT NULL "
                "USING SAMPLE reservoir(200 ROWS) REPEATABLE (7)"
            ).fetchall()
            found[name] = [row[0] for row in rows] or [1]
        return found

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


def to_sql(clause: c.Clause) -> str:
    """Return a condition that is true or false, never null."""
    if isinstance(clause, c.And | c.Or):
        word, empty = (" AND ", "true") if isinstance(clause, c.And) else (" OR ", "false")
        return f"({word.join(map(to_sql, clause.clauses)) or empty})"
    if isinstance(clause, c.Not):
        return f"(NOT {to_sql(clause.clause)})"
    if isinstance(clause, c.NotEq):
        return f"(NOT {to_sql(c.Eq(clause.field, clause.value))})"
    if isinstance(clause, c.NotIn):
        return f"(NOT {to_sql(c.In(clause.field, clause.values))})"
    if isinstance(clause, c.Presence):
        return f'("{clause.field}" IS {"" if isinstance(clause, c.IsNull) else "NOT "}NULL)'
    return f"coalesce({_compared(clause)}, false)"


def _compared(clause: Any) -> str:
    name = f'"{clause.field}"'
    if clause.field in LISTS:
        values = clause.values if isinstance(clause, c.In) else (clause.value,)
        return f"list_has_any({name}, {_list(values)}::BIGINT[])"
    if clause.field in TEXTS:
        name = f"lower({name})"
    if isinstance(clause, c.In):
        return f"list_contains({_list(clause.values)}, {name})" if clause.values else "false"
    if isinstance(clause, c.Between):
        return f"{name} BETWEEN {clause.low} AND {clause.high}"
    sign = {c.Eq: "=", c.Gt: ">", c.Gte: ">=", c.Lt: "<", c.Lte: "<="}[type(clause)]
    return f"{name} {sign} {_literal(clause.value)}"


def _list(values: Any) -> str:
    return f"[{', '.join(map(_literal, values))}]"


def _literal(value: Any) -> str:
    if isinstance(value, str):
        return "'" + value.lower().replace("'", "''") + "'"
    return str(value).lower()


def random_clause(rng: random.Random, samples: dict[str, list[Any]], depth: int = 0) -> c.Clause:
    """Return a clause as users write them: mostly conjunctions, on values that occur."""
    if depth < 2 and rng.random() < (0.7 if depth == 0 else 0.2):
        members = tuple(random_clause(rng, samples, depth + 1) for _ in range(rng.choice([2, 2, 3, 4])))
        return c.Or(members) if rng.random() < 0.2 else c.And(members)
    if rng.random() < 0.1:
        return c.Not(random_clause(rng, samples, depth + 1))
    name = rng.choice([*LISTS[:3], *TEXTS, *FLAGS, *NUMBERS[:4], *SORTS, *LISTS, *NUMBERS])
    if rng.random() < 0.07 and name != "id":
        return rng.choice([c.IsNull, c.IsNotNull])(name)
    if name in FLAGS:
        return rng.choice([c.Eq, c.NotEq])(name, rng.random() < 0.5)
    values = samples[name]
    if name in (*SORTS, "nsfwLevel", "userId") and rng.random() < 0.6:
        return _random_range(rng, name, values)
    if rng.random() < 0.4:
        return rng.choice([c.In, c.In, c.NotIn])(name, tuple(rng.choices(values, k=rng.randrange(5))))
    return rng.choice([c.Eq, c.Eq, c.NotEq])(name, rng.choice(values))


def _random_range(rng: random.Random, name: str, values: list[Any]) -> c.Clause:
    if rng.random() < 0.3:
        return c.Between(name, *sorted(rng.choices(values, k=2)))
    return rng.choice([c.Gt, c.Gte, c.Lt, c.Lte])(name, rng.choice(values))
