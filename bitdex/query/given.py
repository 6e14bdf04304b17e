"""Sets in a plan that are no comparisons: documents given by id, and what two clauses do not share."""

from dataclasses import dataclass

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
