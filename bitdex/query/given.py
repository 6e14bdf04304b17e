"""Sets in a plan that are no comparisons: documents given by id, kept by a function, in one of two."""

from dataclasses import dataclass
from typing import Protocol

from pyroaring import BitMap

from bitdex.query.clauses import Clause


@dataclass(frozen=True, slots=True, eq=False)
class Given(Clause):
    """The visible documents of a set; `name` says where it comes from, `visible` that it has no others."""

    members: BitMap
    name: str
    visible: bool = False

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, eq=False)
class Xor(Clause):
    """The documents that are in one of two clauses, and not in both."""

    left: Clause
    right: Clause

    def __str__(self) -> str:
        return f"({self.left}) xor ({self.right})"


class Predicate(Protocol):
    """A function of fields of a document."""

    fields: tuple[str, ...]

    def prepare(self) -> int:
        """Get its columns into memory; return how many documents may have all the values it takes."""
        ...

    def __call__(self, found: BitMap) -> BitMap:
        """Return the documents of a set for which it is true."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Called(Clause):
    """The documents for which a function is true; it is asked of those that other clauses leave."""

    predicate: Predicate
    name: str

    def __str__(self) -> str:
        return self.name
