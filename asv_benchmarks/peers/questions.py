"""The questions, in no peer's language: six kinds of clause, pages, and documents."""

from dataclasses import dataclass
from typing import TypeAlias

Value: TypeAlias = int | str | bool
LISTS = ("tagIds", "modelVersionIds", "modelVersionIdsManual", "toolIds", "techniqueIds")


@dataclass(frozen=True)
class Equal:
    """A field has this value."""

    field: str
    value: Value


@dataclass(frozen=True)
class OneOf:
    """A field has one of these values."""

    field: str
    values: tuple[Value, ...]


@dataclass(frozen=True)
class HasAny:
    """A list field holds at least one of these values."""

    field: str
    values: tuple[int, ...]


@dataclass(frozen=True)
class AtLeast:
    """A sort field is not below this value."""

    field: str
    value: int


@dataclass(frozen=True)
class Every:
    """All of these clauses hold."""

    clauses: "tuple[Clause, ...]"


@dataclass(frozen=True)
class Without:
    """This clause does not hold."""

    clause: "Clause"


Clause: TypeAlias = Equal | OneOf | HasAny | AtLeast | Every | Without


@dataclass(frozen=True)
class Count:
    """How many documents match?"""

    where: Clause


@dataclass(frozen=True)
class PageOf:
    """Which are the `limit` greatest by (sort, id) that match, after `skip` pages of that size?"""

    where: Clause
    sort: str
    limit: int
    skip: int = 0
    documents: bool = False


@dataclass(frozen=True)
class DocumentsOf:
    """What do these documents hold, as a DataFrame? None: all of them."""

    ids: tuple[int, ...] | None


@dataclass(frozen=True)
class DocumentOf:
    """What does this document hold, as a dictionary?"""

    id: int


Question: TypeAlias = Count | PageOf | DocumentsOf | DocumentOf
