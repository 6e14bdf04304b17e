"""Queries written as JSON: three formats of a request, one clause tree.

``bitdex`` (native)::

    {"filters": [{"Eq": ["nsfwLevel", {"Integer": 1}]}, {"Not": {"In": ["type", ["video"]]}}],
     "sort": {"field": "sortAt", "direction": "Desc"}, "limit": 20,
     "cursor": {"sort_value": 1700000500, "slot_id": 8}}

Clauses are `Eq NotEq Gt Gte Lt Lte In NotIn Between Within And Or Not IsNull IsNotNull`; values may be
tagged with `Integer Float Bool String` or plain.

``compact``::

    {"filter": {"nsfwLevel": 1, "tagIds": [304, 5], "width": {"$gte": 512}, "$not": {"poi": true}},
     "sort": "-sortAt", "limit": 20, "cursor": "1700000500:8"}

A list means In; operators are `$eq $ne $gt $gte $lt $lte $in $nin $within $exists $not`; keys are ANDed.

``meilisearch``::

    {"filter": "nsfwLevel = 1 AND type IN [image, video] AND width 512 TO 1024",
     "sort": ["sortAt:desc"], "offset": 0, "limit": 20}

The filter may be a list: its members are ANDed, the members of an inner list are ORed. `page` and
`hitsPerPage` replace `offset` and `limit`. All formats also take `include_docs` and `skip_cache`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bitdex.errors import InvalidError
from bitdex.query.clauses import EVERYTHING, Clause
from bitdex.query.cursor import Cursor
from bitdex.query.formats_json import (
    CLAUSES,
    read_compact,
    read_meilisearch,
    read_name,
    read_native,
    shown,
)

FORMATS = ("bitdex", "compact", "meilisearch")

_COMMON_KEYS = {"filter", "sort", "limit", "offset", "include_docs", "skip_cache"}
_KEYS = {
    "bitdex": _COMMON_KEYS - {"filter"} | {"filters", "cursor"},
    "compact": _COMMON_KEYS | {"cursor"},
    "meilisearch": _COMMON_KEYS | {"page", "hitsPerPage"},
}


@dataclass(frozen=True, slots=True)
class Request:
    """What to look for, in what order, and which page of it.

    Attributes
    ----------
    clause : Clause
    sort : str or None
        The sort field; None is newest slot first.
    descending : bool
    limit : int or None
        The most rows; None leaves it to the index.
    cursor : Cursor or None
        The place after which the page begins; it wins over `offset`.
    offset : int
        Rows to leave out at the beginning.
    include_docs : bool or tuple of str
        True for whole documents, or the names of the wanted fields.
    skip_cache : bool
    """

    clause: Clause = EVERYTHING
    sort: str | None = None
    descending: bool = True
    limit: int | None = None
    cursor: Cursor | None = None
    offset: int = 0
    include_docs: bool | tuple[str, ...] = False
    skip_cache: bool = False


def parse_request(request: Mapping[str, Any], format: str | None = None) -> Request:
    """Return the request that a JSON object stands for.

    Parameters
    ----------
    request : mapping
    format : {"bitdex", "compact", "meilisearch"}, optional
        Recognised by the keys and the filter's type if it is not given.

    Raises
    ------
    InvalidError
        Naming the key or value, and what is accepted there.

    Examples
    --------
    >>> parse_request({"filter": {"nsfwLevel": 1}, "sort": "-sortAt", "limit": 20}).sort
    'sortAt'
    """
    if not isinstance(request, Mapping):
        raise InvalidError(f"A request is a JSON object, not {shown(request)}")
    name = _known_format(format) or _detect(request)
    for key in request:
        if key not in _KEYS[name]:
            raise InvalidError(
                f"Unknown key {key!r} in a {name} request: it takes {', '.join(sorted(_KEYS[name]))}"
            )
    sort, descending = _SORTS[name](request.get("sort"))
    limit, offset = _window(request)
    return Request(
        clause=_FILTERS[name](request.get("filters" if name == "bitdex" else "filter")),
        sort=sort,
        descending=descending,
        limit=limit,
        cursor=Cursor.of(request.get("cursor")),
        offset=offset,
        include_docs=_include_docs(request.get("include_docs")),
        skip_cache=_boolean(request, "skip_cache"),
    )


def parse_filter(filter: Any, format: str | None = None) -> Clause:
    """Return the clause tree of a filter alone.

    A mapping whose only key is a clause such as ``"Eq"``, or a list of those, is native; any other
    mapping is compact; text, and a list of texts and lists, is of Meilisearch.
    """
    return _FILTERS[_known_format(format) or _detect_filter(filter)](filter)


def _known_format(name: str | None) -> str | None:
    if name is not None and name not in FORMATS:
        raise InvalidError(f"Unknown query format {name!r}: use {', '.join(FORMATS)}")
    return name


def _detect(request: Mapping[str, Any]) -> str:
    if "filters" in request or isinstance(request.get("sort"), Mapping):
        return "bitdex"
    if {"page", "hitsPerPage"} & request.keys() or isinstance(request.get("sort"), list):
        return "meilisearch"
    return _detect_filter(request.get("filter", {}))


def _detect_filter(filter: Any) -> str:
    if isinstance(filter, Mapping):
        return "bitdex" if len(filter) == 1 and next(iter(filter)) in CLAUSES else "compact"
    if isinstance(filter, list) and any(isinstance(member, Mapping) for member in filter):
        return "bitdex"
    return "compact" if filter is None else "meilisearch"


def _native_sort(sort: Any) -> tuple[str | None, bool]:
    if sort is None:
        return None, True
    if not isinstance(sort, Mapping) or sort.keys() - {"field", "direction"} or "field" not in sort:
        raise InvalidError(f'sort takes {{"field": name, "direction": "Asc" or "Desc"}}, not {shown(sort)}')
    return read_name(sort["field"], "sort"), _descending(sort.get("direction", "Desc"))


def _compact_sort(sort: Any) -> tuple[str | None, bool]:
    if sort is None:
        return None, True
    name = read_name(sort, "sort")
    return read_name(name.removeprefix("-"), "sort"), name.startswith("-")


def _meilisearch_sort(sort: Any) -> tuple[str | None, bool]:
    if sort is None or sort == []:
        return None, True
    if not isinstance(sort, list) or len(sort) != 1 or not isinstance(sort[0], str):
        raise InvalidError(f'sort takes a list of one "field:asc" or "field:desc", not {shown(sort)}')
    name, _, direction = sort[0].rpartition(":")
    return read_name(name, "sort"), _descending(direction)


def _descending(direction: Any) -> bool:
    if str(direction).lower() not in ("asc", "desc"):
        raise InvalidError(f"The direction of a sort is Asc or Desc, not {shown(direction)}")
    return str(direction).lower() == "desc"


_FILTERS: dict[str, Callable[[Any], Clause]] = {
    "bitdex": read_native,
    "compact": read_compact,
    "meilisearch": read_meilisearch,
}
_SORTS = {"bitdex": _native_sort, "compact": _compact_sort, "meilisearch": _meilisearch_sort}


def _window(request: Mapping[str, Any]) -> tuple[int | None, int]:
    limit, offset = _count(request, "limit", 0), _count(request, "offset", 0) or 0
    page, size = _count(request, "page", 1), _count(request, "hitsPerPage", 0)
    if page is None and size is None:
        return limit, offset
    if limit is not None or "offset" in request:
        raise InvalidError("A request has either page and hitsPerPage, or offset and limit")
    size = 20 if size is None else size  # what Meilisearch takes
    return size, ((page or 1) - 1) * size


def _count(request: Mapping[str, Any], key: str, least: int) -> int | None:
    value = request.get(key)
    if value is None or (type(value) is int and value >= least):
        return value
    raise InvalidError(f"{key} takes a whole number from {least}, not {shown(value)}")


def _include_docs(value: Any) -> bool | tuple[str, ...]:
    if value is None or isinstance(value, bool):
        return bool(value)
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) for name in value):
        raise InvalidError(f"include_docs takes true, false or a list of field names, not {shown(value)}")
    return "*" in value or (tuple(value) if value else False)


def _boolean(request: Mapping[str, Any], key: str) -> bool:
    value = request.get(key)
    if value is not None and not isinstance(value, bool):
        raise InvalidError(f"{key} takes true or false, not {shown(value)}")
    return bool(value)
