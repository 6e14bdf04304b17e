"""JSON requests: three formats, one meaning, and what a user sees when one is wrong."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitdex.errors import InvalidError
from bitdex.query import clauses as c
from bitdex.query.clauses import MAX_VALUES, canonical, write_name, write_value
from bitdex.query.cursor import Cursor
from bitdex.query.json import Request, parse_filter, parse_request
from tests.query.trees import leaves, trees

A, B = c.Eq("a", 1), c.Eq("b", 2)

# A clause in each format, written down independently of the readers.


def tagged(value: Any) -> Any:
    for tag, kind in (("Bool", bool), ("Integer", int), ("Float", float), ("String", str)):
        if isinstance(value, kind):
            return {tag: value}
    return None


def native(clause: Any) -> Any:
    name = type(clause).__name__
    if isinstance(clause, c.Combination):
        return {name: [native(member) for member in clause.clauses]}
    if isinstance(clause, c.Not):
        return {name: native(clause.clause)}
    if isinstance(clause, c.Presence):
        return {name: clause.field}
    if isinstance(clause, c.Membership):
        return {name: [clause.field, [tagged(value) for value in clause.values]]}
    if isinstance(clause, c.Between):
        return {name: [clause.field, tagged(clause.low), tagged(clause.high)]}
    return {name: [clause.field, tagged(clause.value)]}


COMPACT = {c.NotEq: "$ne", c.Gt: "$gt", c.Gte: "$gte", c.Lt: "$lt", c.Lte: "$lte", c.NotIn: "$nin"}


def compact(clause: Any) -> dict[str, Any]:
    if isinstance(clause, c.Combination):
        key = "$and" if isinstance(clause, c.And) else "$or"
        return {key: [compact(member) for member in clause.clauses]}
    if isinstance(clause, c.Not):
        return {"$not": compact(clause.clause)}
    if isinstance(clause, c.Presence):
        return {clause.field: {"$exists": isinstance(clause, c.IsNotNull)}}
    if isinstance(clause, c.Between):
        return {clause.field: {"$gte": clause.low, "$lte": clause.high}}
    if isinstance(clause, c.Membership):
        values = list(clause.values)
        return {clause.field: values if isinstance(clause, c.In) else {"$nin": values}}
    return {clause.field: clause.value if isinstance(clause, c.Eq) else {COMPACT[type(clause)]: clause.value}}


MEILISEARCH = {c.Eq: "=", c.NotEq: "!=", c.Gt: ">", c.Gte: ">=", c.Lt: "<", c.Lte: "<="}


def meilisearch(clause: Any) -> str:
    if isinstance(clause, c.Combination):
        word = " AND " if isinstance(clause, c.And) else " OR "
        empty = "everything" if isinstance(clause, c.And) else "nothing"
        return "(" + (word.join(map(meilisearch, clause.clauses)) or empty) + ")"
    if isinstance(clause, c.Not):
        return f"NOT ({meilisearch(clause.clause)})"
    name = write_name(clause.field)
    if isinstance(clause, c.Presence):
        return f"{name} IS {'NOT ' if isinstance(clause, c.IsNotNull) else ''}NULL"
    if isinstance(clause, c.Membership):
        word = "IN" if isinstance(clause, c.In) else "NOT IN"
        return f"{name} {word} [{', '.join(map(write_value, clause.values))}]"
    if isinstance(clause, c.Between):
        return f"{name} {write_value(clause.low)} TO {write_value(clause.high)}"
    return f"{name} {MEILISEARCH[type(clause)]} {write_value(clause.value)}"


def _without_between(clause: Any) -> Any:
    if isinstance(clause, c.Between):
        return c.And((c.Gte(clause.field, clause.low), c.Lte(clause.field, clause.high)))
    if isinstance(clause, c.Combination):
        return type(clause)(tuple(map(_without_between, clause.clauses)))
    return c.Not(_without_between(clause.clause)) if isinstance(clause, c.Not) else clause


@settings(max_examples=300, derandomize=True, deadline=None)
@given(trees(leaves()))
def test_three_formats_give_one_tree(clause: c.Clause) -> None:
    assert repr(parse_filter(json.loads(json.dumps(native(clause))))) == repr(clause)
    assert repr(parse_filter([native(clause)])) == repr(clause)
    assert repr(parse_filter(json.loads(json.dumps(compact(clause))))) == repr(_without_between(clause))
    assert repr(parse_filter(meilisearch(clause))) == repr(clause)
    assert canonical(parse_filter([meilisearch(clause), []])) == canonical(c.And((clause, c.NOTHING)))


FILTERS = [
    ([], c.EVERYTHING),
    ({}, c.EVERYTHING),
    ("", c.EVERYTHING),
    (None, c.EVERYTHING),
    ([{"Eq": ["a", 1]}, {"Eq": ["b", {"Integer": 2}]}], c.And((A, B))),
    ({"Eq": ["a", None]}, c.Eq("a", None)),
    ({"In": ["a", [1, {"String": "x"}, None]]}, c.In("a", (1, "x", None))),
    ({"Gte": ["a", {"Float": 1}]}, c.Gte("a", 1)),
    ({"a": 1, "b": 2}, c.And((A, B))),
    ({"a": {"$gte": 1, "$lt": 5}}, c.And((c.Gte("a", 1), c.Lt("a", 5)))),
    ({"a": {"$eq": 1}}, A),
    ({"a": {"$in": [1]}, "$or": [{"b": 2}, {}]}, c.And((c.In("a", (1,)), c.Or((B, c.EVERYTHING))))),
    ({"a": {"$not": {"$gt": 5}}}, c.Not(c.Gt("a", 5))),
    ({"a": {"$not": 1}}, c.Not(A)),
    ({"$not": {"a": 1, "b": 2}}, c.Not(c.And((A, B)))),
    (["a = 1", ["b = 2", "c = x"]], c.And((A, c.Or((B, c.Eq("c", "x")))))),
    (
        "genre = action AND NOT year 1990 TO 1999",
        c.And((c.Eq("genre", "action"), c.Not(c.Between("year", 1990, 1999)))),
    ),
    ("genre IN [action, 'sci fi', TRUE]", c.In("genre", ("action", "sci fi", True))),
    ("a = 1 OR b = 2 AND genre NOT IN [x]", c.Or((A, c.And((B, c.NotIn("genre", ("x",))))))),
]


@pytest.mark.parametrize(("filter", "clause"), FILTERS)
def test_filters(filter: Any, clause: c.Clause) -> None:
    assert repr(parse_filter(filter)) == repr(clause)


def test_the_named_format_is_taken() -> None:
    assert parse_filter({"Eq": 5}, "compact") == c.Eq("Eq", 5)
    assert parse_filter([], "bitdex") == c.EVERYTHING


REQUESTS = [
    ({}, Request()),
    ({"filters": []}, Request()),
    (
        {
            "filters": [{"Eq": ["a", 1]}],
            "sort": {"field": "sortAt", "direction": "Asc"},
            "limit": 20,
            "cursor": {"sort_value": 5, "slot_id": 8},
            "offset": None,
            "include_docs": ["url", "hash"],
            "skip_cache": True,
        },
        Request(A, "sortAt", False, 20, Cursor(5, 8), 0, ("url", "hash"), True),
    ),
    ({"filters": [], "sort": {"field": "x"}, "limit": 0}, Request(sort="x", limit=0)),
    (
        {"filter": {"a": 1}, "sort": "-sortAt", "limit": 5, "cursor": "5:8", "include_docs": True},
        Request(A, "sortAt", True, 5, Cursor(5, 8), 0, True),
    ),
    ({"filter": {"a": 1}, "sort": "x", "offset": 10}, Request(A, "x", False, offset=10)),
    (
        {"filter": "a = 1", "sort": ["sortAt:asc"], "offset": 5, "limit": 2, "include_docs": ["*"]},
        Request(A, "sortAt", False, 2, None, 5, True),
    ),
    (
        {"filter": ["a = 1"], "page": 3, "hitsPerPage": 10, "include_docs": []},
        Request(A, limit=10, offset=20),
    ),
    ({"page": 2}, Request(limit=20, offset=20)),
    ({"hitsPerPage": 7, "sort": []}, Request(limit=7)),
]


@pytest.mark.parametrize(("request_", "expected"), REQUESTS)
def test_requests(request_: dict[str, Any], expected: Request) -> None:
    assert parse_request(request_) == expected


DEEP_NATIVE: Any = {"Eq": ["a", 1]}
DEEP_COMPACT: Any = {"a": 1}
DEEP_LIST: Any = "a = 1"
for _ in range(40):
    DEEP_NATIVE, DEEP_COMPACT, DEEP_LIST = {"Not": DEEP_NATIVE}, {"$not": DEEP_COMPACT}, [DEEP_LIST]

WRONG = [
    (
        {"filters": [], "limt": 5},
        "Unknown key 'limt' in a bitdex request: it takes cursor, filters, include_docs",
    ),
    ({"filter": {}, "page": 1, "cursor": "1:2"}, "Unknown key 'cursor' in a meilisearch request"),
    ({"filter": {}, "q": "x"}, "Unknown key 'q' in a compact request"),
    ({"filters": {"Eqq": ["a", 1]}}, "Unknown clause 'Eqq': use Eq, NotEq, Gt"),
    ({"filters": [{"Eq": ["a"]}]}, r'Eq takes \["field", value\], not \[\'a\'\]'),
    ({"filters": [{"Between": ["a", 1]}]}, r'Between takes \["field", low, high\]'),
    ({"filters": [{"Eq": ["a", {"Integer": "1"}]}]}, "Eq: a value is plain or tagged"),
    ({"filters": [{"Eq": ["a", {"Integer": True}]}]}, "Eq: a value is plain or tagged"),
    ({"filters": [{"Eq": ["a", [1]]}]}, r"Eq: a value is a number, string, boolean, date or None, not \[1\]"),
    ({"filters": [{"In": ["a", 1]}]}, "In takes a list of values, not 1"),
    ({"filters": [{"In": ["a", [1] * (MAX_VALUES + 1)]}]}, "In takes at most 100,000 values, not 100,001"),
    ({"filters": [{"Eq": ["", 1]}]}, "Eq takes the name of a field, not ''"),
    ({"filters": [{"And": 1}]}, "And takes a list of clauses, not 1"),
    ({"filters": [{"Eq": ["a", 1], "Gt": ["a", 2]}]}, "A clause is an object with one key"),
    ({"filters": ["a = 1"]}, "A clause is an object with one key"),
    ({"filters": [DEEP_NATIVE]}, "nests more than 32 levels"),
    ({"filter": DEEP_COMPACT}, "nests more than 32 levels"),
    ({"filter": DEEP_LIST}, "nests more than 32 levels"),
    ({"filter": {"a": {"$foo": 1}}}, r"Unknown operator '\$foo' of a: use \$eq, \$ne"),
    ({"filter": {"$nor": []}}, r"Unknown operator '\$nor' beside fields: use \$and, \$or, \$not"),
    ({"filter": {"$or": {"a": 1}}}, r"\$or takes a list of filters"),
    ({"filter": {"a": {}}}, "a takes a value, a list or an object of operators"),
    ({"filter": {"a": {"$exists": 1}}}, r"a \$exists takes true or false, not 1"),
    ({"filter": {"a": {"$in": "x"}}}, r"a \$in takes a list of values, not 'x'"),
    ({"filter": {"a": {"$gt": [1]}}}, r"a \$gt: a value is a number"),
    ({"filter": {"$not": 5}}, "A compact filter is an object of fields, not 5"),
    ({"filter": "a = AND"}, "character 5: expected a value"),
    ({"filter": "a 1 UNTIL 2"}, "expected `to`, found 'UNTIL'"),
    ({"filter": [5]}, "A filter is text or a list of texts and lists, not 5"),
    ({"filters": [], "sort": "x"}, 'sort takes {"field": name, "direction": "Asc" or "Desc"}'),
    (
        {"filters": [], "sort": {"field": "x", "direction": "up"}},
        "direction of a sort is Asc or Desc, not 'up'",
    ),
    ({"filter": {}, "sort": "-"}, "sort takes the name of a field"),
    ({"filter": "", "sort": ["x"]}, "sort takes the name of a field, not ''"),
    ({"filter": "", "sort": ["x:asc", "y:asc"]}, 'sort takes a list of one "field:asc"'),
    ({"limit": -1}, "limit takes a whole number from 0, not -1"),
    ({"limit": True}, "limit takes a whole number from 0, not True"),
    ({"offset": 1.5}, "offset takes a whole number from 0"),
    ({"page": 0}, "page takes a whole number from 1, not 0"),
    ({"page": 1, "limit": 5}, "either page and hitsPerPage, or offset and limit"),
    ({"include_docs": "url"}, "include_docs takes true, false or a list of field names"),
    ({"skip_cache": 1}, "skip_cache takes true or false, not 1"),
    ({"cursor": "x"}, "A cursor is 'value:slot'"),
    ([], "A request is a JSON object"),
]


@pytest.mark.parametrize(("request_", "message"), WRONG)
def test_refuses(request_: Any, message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        parse_request(request_)


def test_refuses_an_unknown_format() -> None:
    with pytest.raises(InvalidError, match="Unknown query format 'sql': use bitdex, compact, meilisearch"):
        parse_request({}, "sql")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["a", "a = 1", "a:asc", "$"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["a", "$and", "$not", "$gt", "Eq", "In", "Not", "filter", "Integer"]), inner
        )
    ),
    max_leaves=6,
)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(JSON, JSON, st.sampled_from(["bitdex", "compact", "meilisearch"]))
def test_any_json_is_read_or_refused(filter: Any, sort: Any, format: str) -> None:
    key = "filters" if format == "bitdex" else "filter"
    try:
        request = parse_request({key: filter, "sort": sort}, format)
    except InvalidError as error:
        assert len(str(error)) < 400
    else:
        assert isinstance(request.clause, c.Clause)
