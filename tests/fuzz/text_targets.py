"""Texts under fuzz: tables of integers, ends of rows, cursors, queries as text and as JSON."""

import json

import numpy as np

from bitdex.errors import InvalidError
from bitdex.kernels import csv_rows, integer_csv
from bitdex.query.cursor import Cursor
from bitdex.query.json import parse_filter, parse_request
from bitdex.query.text import parse
from tests.fuzz.mutation import Sample
from tests.fuzz.target import Target

COLUMNS = 3


class Integers(Target):
    """Blocks of tables in which every cell is an integer, or not."""

    name = "integer csv"
    raises = False

    def samples(self):
        whole = [b"1,2,3\n", b"-1,0,999999999999999999\r\n5,6,7", b"12,3,4\n" * 9, b"-,1,2\n1,,3\n,\n"]
        return [Sample(one) for one in whole]

    def parse(self, data):
        rows = integer_csv.count_lines(data) + 1
        out = np.zeros(COLUMNS * rows, np.int64)
        found = integer_csv.parse_integers(data, ord(","), np.array([2, 0, 1]), rows, out)
        expected = _integer_rows(data.tobytes())
        assert found == (-1 if expected is None else len(expected))
        if expected:
            columns = [out[at * rows : at * rows + found].tolist() for at in (2, 0, 1)]
            assert list(zip(*columns)) == expected
        return found


def _integer_rows(text):
    """Return the rows of a table of integers, or None if it is none."""
    lines = text.split(b"\n")
    lines = lines[:-1] if lines[-1] == b"" else lines
    rows = [line.removesuffix(b"\r").split(b",") for line in lines]
    digits = [cell.removeprefix(b"-") for row in rows for cell in row]
    sound = all(0 < len(one) <= 18 and set(one) <= set(b"0123456789") for one in digits)
    if not sound or any(len(row) != COLUMNS for row in rows):
        return None
    return [tuple(map(int, row)) for row in rows]


class Rows(Target):
    """Where rows of a table with quotes end."""

    name = "csv rows"
    raises = False

    def samples(self):
        whole = [b'a,"b\n""c""",d\ne,f,g\n', b'"x\ny",1\r\n2,"3', b'a"b,c\n"",""\n', b"\n\n\r\n,,\n" * 4]
        return [Sample(one) for one in whole]

    def parse(self, data):
        least = (7 * len(data)) % (len(data) + 1)
        found = csv_rows.find_row_end(data, 0, least, ord(","))
        assert found == _row_end(data.tobytes(), least)
        csv_rows.find_hexadecimal(data, ord(","), np.array([True, False]))
        return found


def _row_end(text, least):
    """Return the end of the first row that ends at `least` or later: the definition, byte by byte."""
    state, row, at = "cell", 0, 0
    while at < len(text):
        byte, at = text[at : at + 1], at + 1
        if state == "quoted":
            if byte == b'"' and text[at : at + 1] == b'"':
                at += 1
            elif byte == b'"':
                state = "text"
        elif byte == b"\n":
            if at >= least:
                return at
            state, row = "cell", at
        elif byte == b'"' and state == "cell":
            state = "quoted"
        else:
            state = "cell" if byte in (b",", b"\r") else "text"
    return -1 - row if state == "quoted" else at


class Cursors(Target):
    """Cursors as a page hands them out, or anybody else."""

    name = "cursor"
    refusals = (InvalidError,)

    def samples(self):
        whole = [
            b"1700000500:8",
            b"0.25:8",
            b"null:4294967295",
            b"-inf:0",
            b"1e300:7",
            b"-9223372036854775808:1",
        ]
        return [Sample(one) for one in whole]

    def parse(self, data):
        cursor = Cursor.parse(data.tobytes().decode("utf-8", "replace"))
        assert Cursor.parse(str(cursor)) == cursor == Cursor.of(cursor.to_mapping())
        return str(cursor)


class Queries(Target):
    """Queries as text."""

    name = "text query"
    refusals = (InvalidError,)

    def samples(self):
        whole = [
            b"nsfwLevel == 1 and tagIds has 304",
            b"(width >= 512 or not `a``b`) and type in ['image', \"vi\\u0064eo\"]",
            b"1.5e3 < likes <= 2_000 | score between -.5 and +7 & x is not null",
            b"tags has all [1, 2, null, true] && !poi || everything",
            b"((((((((a))))))))",
            b"sortAtUnix within '7d' and not within within \"24h\"",
        ]
        return [Sample(one) for one in whole]

    def parse(self, data):
        clause = parse(data.tobytes().decode("utf-8", "replace"))
        assert parse(str(clause)) == clause
        return str(clause)


REQUESTS = (
    {
        "filters": [{"Eq": ["nsfwLevel", {"Integer": 1}]}, {"Not": {"In": ["type", ["video"]]}}],
        "sort": {"field": "sortAt", "direction": "Desc"},
        "limit": 20,
        "cursor": {"sort_value": 1700000500, "slot_id": 8},
    },
    {
        "filter": {"a": 1, "b": [304, 5], "c": {"$gte": 512, "$not": {"$in": [1]}}, "$or": [{"d": True}]},
        "sort": "-sortAt",
        "cursor": "1700000500:8",
        "include_docs": ["a"],
    },
    {"filter": "a = 1 AND b IN [image, video] AND w 512 TO 1024", "sort": ["sortAt:desc"], "page": 2},
    {"filter": [["a = 1", "b = 2"], "c = 3"], "offset": 0, "limit": 20, "skip_cache": False},
    {"filters": {"And": [{"Between": ["a", -1.5, {"Float": 2}]}, {"IsNull": "b"}, {"Or": []}]}},
)
NAMES = "filter filters sort limit cursor page Eq Not And In Between IsNull $and $not $in $gte $exists"
NAMES = (*NAMES.split(), "Within", "$within", "field", "direction", "Integer", "Float", "a", "")
VALUES = (None, True, False, 0, 1, -1, 2**63, 10**400, 1.5, 1e999, -1e999, float("nan"), "", "a", "a = 1")
VALUES += ("-a", "a:asc", "1:2", "Desc", [], {}, b"", 1j, ...)
NODES = 60  # of a tree, at most
DEPTH = 60  # of lists in each other: more than a filter may have


class Requests(Target):
    """Requests as JSON: texts that are still JSON, and trees grown from the bytes of those that are not."""

    name = "json query"
    raises = False
    refusals = (InvalidError,)

    def samples(self):
        return [Sample(json.dumps(one).encode()) for one in REQUESTS]

    def parse(self, data):
        try:
            tree = json.loads(data.tobytes())
        except (ValueError, RecursionError):
            tree = self._grow(data.tolist())
        return repr([self._attempt(read, tree) for read in (parse_request, parse_filter)])

    def _attempt(self, read, tree):
        try:
            return read(tree)
        except InvalidError as error:
            return str(error)

    def _grow(self, entropy):
        """Take a byte for every choice: a mapping, a list, many lists in each other, or a value."""
        budget = [NODES, entropy]

        def node():
            choice, budget[0] = budget[1].pop() if budget[1] else 0, budget[0] - 1
            if budget[0] > 0 and choice % 4 == 0:
                return {name(): node() for _ in range(choice // 4 % 4)}
            if budget[0] > 0 and choice % 4 == 1:
                return [node() for _ in range(choice // 4 % 4)]
            if choice == 2:
                return _nested(node())
            return VALUES[choice % len(VALUES)]

        def name():
            return NAMES[(budget[1].pop() if budget[1] else 0) % len(NAMES)]

        return node()


def _nested(value):
    for _ in range(DEPTH):
        value = [value]
    return value
