"""What is asked: questions, each under filters of four densities, and the one form of their answers."""

import hashlib
from typing import Any

import numpy as np
import pandas as pd

DAY, STEP, STEPS = 86_400, 1_000, 51  # bins of dates, and of reactions: 51 of a thousand
TOP = 50

# Text for BitDex, SQL for DuckDB; Polars has its own. They are independent of everything that is counted.
FILTERS = {
    "1%": ("minor", "minor"),
    "8%": ("onSite and not hasMeta", "onSite AND NOT hasMeta"),
    "50%": ("hasMeta and not onSite", "hasMeta AND NOT onSite"),
    "all": (None, "true"),
}
# The question, and what fraction of the faster peer's time it may take.
QUESTIONS = {
    "facets of baseModel (23 values)": 1 / 20,
    "facets of toolIds (40 values)": 1 / 20,
    "crosstab nsfwLevel x type (6 x 3)": 1 / 20,
    "histogram of sortAt by day": 1 / 10,
    "histogram of reactionCount (51 bins)": 1 / 10,
    "median of sortAt": 1 / 10,
    "90% quantile of reactionCount": 1 / 10,
    "top 50 of 30,000 tags": 1 / 5,
    "sum of reactionCount by userId": 1,
}
FACETS, TOOLS, CROSSTAB, DATES, REACTIONS, MEDIAN, QUANTILE, TAGS, GROUPS = QUESTIONS

Pairs = list[tuple[Any, int]]


def counted(pairs: Any) -> dict[Any, int]:
    """Return values and counts, in any order, as a mapping of those that occur."""
    return {plain(value): int(count) for value, count in pairs if not missing(value) and count}


def missing(value: Any) -> bool:
    return value is None or value != value


def greatest(pairs: Any) -> list[int]:
    """Return the greatest counts: which of equal ones are shown is the peer's choice."""
    return sorted((int(count) for _, count in pairs), reverse=True)


def number(value: Any) -> str:
    return f"{float(value):.6f}"


def digest(answer: Any) -> str:
    """Return the beginning of an answer, and a digest of all of it."""
    if isinstance(answer, dict):
        answer = sorted(answer.items())
    text = str(answer)
    return f"{text[:60]}... {hashlib.sha256(text.encode()).hexdigest()[:12]}"


def plain(value: Any) -> Any:
    """Return a value that prints the same whoever it comes from."""
    if isinstance(value, tuple):
        return tuple(map(plain, value))
    if isinstance(value, pd.Timestamp):
        return int(value.timestamp())
    return value.item() if isinstance(value, np.generic) else value
