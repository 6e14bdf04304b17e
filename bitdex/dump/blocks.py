"""Blocks: some rows of a table as typed columns, and the rows that could not be used.

Rows in = rows out + rejects, for every source of blocks.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

EXAMPLES = 3


class Rejects:
    """Rows that could not be used: how many for each reason, and the first few of them."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = {}

    def add(self, reason: str, examples: Sequence[str], count: int | None = None) -> None:
        """Count rejected rows for one reason."""
        self.counts[reason] += len(examples) if count is None else count
        shown = self.examples.setdefault(reason, [])
        shown.extend(examples[: EXAMPLES - len(shown)])

    @property
    def total(self) -> int:
        """Number of rejected rows."""
        return sum(self.counts.values())

    def to_mapping(self) -> dict[str, Any]:
        """Return counts and examples by reason."""
        return {reason: {"rows": n, "examples": self.examples[reason]} for reason, n in self.counts.items()}


@dataclass
class Block:
    """Some rows of a table.

    Attributes
    ----------
    columns : mapping of name to Arrow array
    rows : int
    size : int
        Bytes read for this block.
    first : int
        Number of the first row in the table, from 1; rejected rows count.
    """

    columns: dict[str, pa.Array]
    rows: int
    size: int
    first: int
    rejects: Rejects = field(default_factory=Rejects)


def one_chunk(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as one array."""
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
