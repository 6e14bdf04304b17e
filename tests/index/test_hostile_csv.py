"""Files as nobody should write them: what is read, what is rejected and counted, what is refused."""

import itertools
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitdex.dump import text_source
from bitdex.dump.sources import open_source
from bitdex.errors import BitdexError, InvalidError, NotFoundError
from bitdex.index import Index
from tests.index.conftest import Indexes

SCHEMA = {
    "name": "rows",
    "config": {
        "filter_fields": [
            {"name": "n", "field_type": "single_value"},
            {"name": "flag", "field_type": "boolean"},
        ],
        "sort_fields": [{"name": "small", "bits": 8}, {"name": "real", "source_type": "float64", "bits": 64}],
    },
    "data_schema": {
        "fields": [
            {"source": "real", "target": "real", "value_type": "float"},
            {"source": "text", "target": "text", "value_type": "string", "doc_only": True},
        ]
    },
}
KEEP_BLOCK = text_source.BLOCK


def phase(*fields: str, **more: Any) -> dict[str, Any]:
    return {"name": "rows", "slot_field": "id", "sets_alive": True, "fields": list(fields), **more}


def load(indexes: Indexes, content: str | bytes, *fields: str, **more: Any) -> Index:
    return indexes.load(SCHEMA, phase(*fields, **more), {"rows.csv": content})


def shown(index: Index) -> list[dict[str, Any]]:
    return [index.get(int(slot)) for slot in index.ids()]


def accounted(index: Index) -> tuple[int, int, int, int]:
    run = index.phases[-1]
    assert run.rows == run.applied + run.filtered + run.rejected
    assert run.rejected == sum(found["rows"] for found in run.rejects.values())
    return run.rows, run.applied, run.filtered, run.rejected


READ = {
    "no line break at the end": ("id,text\n1,a\n2,b", ["a", "b"]),
    "carriage returns": ("id,text\r\n1,a\r\n2,b\r\n", ["a", "b"]),
    "carriage returns, none at the end": ("id,text\r\n1,a\r\n2,b", ["a", "b"]),
    "line break in quotes": ('id,text\n1,"a\nb"\n2,c\n', ["a\nb", "c"]),
    "carriage return in quotes": ('id,text\n1,"a\r\nb"\n2,c\n', ["a\r\nb", "c"]),
    "header in quotes": ('"id","text"\n1,a\n', ["a"]),
    "line break in the header": ('id,text,"odd\nname"\n1,a,0\n', ["a"]),
    "doubled quotes": ('id,text\n1,"say ""a"""\n2,""""\n', ['say "a"', '"']),
    "delimiter in quotes": ('id,text\n1,"a,b"\n', ["a,b"]),
    "quoted numbers": ('id,text\n"1","2"\n', ["2"]),
    "byte order mark": (b"\xef\xbb\xbfid,text\n1,a\n", ["a"]),
    "byte order mark before quotes": (b'\xef\xbb\xbf"id",text\n1,a\n', ["a"]),
    "empty lines": ("id,text\n\n1,a\n\n\n2,b\n\n", ["a", "b"]),
    "empty cells": ("id,text\n1,\n2,b\n", [None, "b"]),
    "quoted empty cell": ('id,text\n1,""\n', [None]),
    "blanks stay in texts": ("id,text\n1, a \n", [" a "]),
    "blanks around numbers": ("id,text\n 1 ,a\n", ["a"]),
    "beyond ASCII": ("id,text\n1,Zoë 日本 🎈\n", ["Zoë 日本 🎈"]),
    "a NUL in a text": ("id,text\n1,a\0b\n", ["a\0b"]),
    "columns that nobody wants": ("x,id,y,text,z\n1,1,2,a,3\n", ["a"]),
    "blanks around the names of columns": ("id , text\n1,a\n", ["a"]),
    "the last of two rows of a slot": ("id,text\n1,a\n1,b\n1,\n", ["b"]),
    "slots in descending order": ("id,text\n2,b\n1,a\n", ["a", "b"]),
    "names that could be values": ("id,text,t,007,1e3,2024-01-01\n1,a,,,,\n", ["a"]),
    "a quote inside a cell": ('id,text\n1,5" disk\n2,b\n', ['5" disk', "b"]),
    "a single row": ("id,text\n1,a", ["a"]),
    "a very long cell": ("id,text\n1," + "a" * (1 << 20) + "\n2,b", ["a" * (1 << 20), "b"]),
    "a very long quoted cell": ('id,text\n1,"' + "a\n" * (1 << 19) + '"\n2,b', ["a\n" * (1 << 19), "b"]),
}


@pytest.mark.parametrize("name", READ)
def test_read(indexes: Indexes, name: str) -> None:
    content, texts = READ[name]
    index = load(indexes, content, "text")
    assert [document.get("text") for document in shown(index)] == texts
    assert accounted(index)[2:] == (0, 0)


REJECTED = {
    "a cell too few": ("id,n\n1,1\n2\n3,3\n", "n", [1, 3], "2 columns expected, 1 found"),
    "a cell too many": ("id,n\n1,1\n2,2,2\n3,3\n", "n", [1, 3], "2 columns expected, 3 found"),
    "no id": ("id,n\n1,1\n,2\n3,3\n", "n", [1, 3], "id: empty"),
    "an id that is a word": ("id,n\n1,1\nx,2\n3,3\n", "n", [1, 3], "id: not an integer"),
    "an id with a fraction": ("id,n\n1,1\n2.0,2\n3,3\n", "n", [1, 3], "id: not an integer"),
    "an id below 0": ("id,n\n1,1\n-1,2\n4294967295,3\n", "n", [1, 2**32 - 1], "id: outside 0 to 4294967295"),
    "an id of 33 bits": ("id,n\n1,1\n4294967296,2\n0,3\n", "n", [0, 1], "id: outside 0 to 4294967295"),
    "an id of 64 bits": ("id,n\n1,1\n18446744073709551616,2\n0,3\n", "n", [0, 1], "id: not an integer"),
    "an id of 64 bits less one": (
        "id,n\n1,1\n18446744073709551615,2\n0,3\n",
        "n",
        [0, 1],
        "id: not an integer",
    ),
    "a word for an integer": ("id,n\n1,1\n2,two\n3,3\n", "n", [1, 3], "n: not an integer"),
    "an integer of 65 bits": (
        "id,n\n1,9223372036854775807\n2,9223372036854775808\n",
        "n",
        [1],
        "n: not an integer",
    ),
    "a negative of 65 bits": (
        "id,n\n1,-9223372036854775808\n2,-9223372036854775809\n",
        "n",
        [1],
        "n: not an",
    ),
    "a word for a boolean": ("id,flag\n1,t\n2,yes\n3,0\n", "flag", [1, 3], "flag: not a boolean"),
    "two for a boolean": ("id,flag\n1,1\n2,2\n3,F\n", "flag", [1, 3], "flag: not a boolean"),
    "a word for a float": ("id,real\n1,1e3\n2,1e\n3,-.5\n", "real", [1, 3], "real: not a number"),
    "NaN to be sorted": ("id,real\n1,inf\n2,nan\n3,0\n", "real", [1, 3], "real: not a number"),
    "a sort value above its bits": (
        "id,small\n1,255\n2,256\n3,0\n",
        "small",
        [1, 3],
        "small: outside 0 to 255",
    ),
    "a sort value below 0": ("id,small\n1,255\n2,-1\n3,0\n", "small", [1, 3], "small: outside 0 to 255"),
    "bytes that are no text": (b"id,text\n1,a\n2,\xff\xfe\n3,c\n", "text", [1, 3], "text: not UTF-8"),
    "a quote that never closes": ('id,text\n1,a\n2,"b', "text", [1], "a quote opens and never closes"),
}


@pytest.mark.parametrize("name", REJECTED)
def test_rejected(indexes: Indexes, name: str) -> None:
    content, field, slots, reason = REJECTED[name]
    index = load(indexes, content, field)
    assert index.ids().tolist() == slots
    rows, applied, _, rejected = accounted(index)
    assert (applied, rejected) == (len(slots), 1) and rows == len(slots) + 1
    (found,) = index.phases[-1].rejects
    assert reason in found
    assert index.phases[-1].rejects[found]["examples"]


def test_examples_name_the_row(indexes: Indexes) -> None:
    index = load(indexes, "id,n\n1,1\n2,two\nx,3\n4,four\n5,five\n6,six\n", "n")
    rejects = index.phases[0].rejects
    assert rejects["id: not an integer"] == {"rows": 1, "examples": ["row 3: id = 'x'"]}
    assert rejects["n: not an integer"]["rows"] == 4
    assert rejects["n: not an integer"]["examples"] == [
        "row 2: n = 'two'",
        "row 4: n = 'four'",
        "row 5: n = 'five'",
    ]
    assert "rejected 4: n: not an integer; for example row 2" in str(index.phases[0])


def test_what_one_row_is_worth_does_not_hang_on_others(indexes: Indexes) -> None:
    """A block is read again as text if one of its rows does not fit; the other rows stay what they were."""
    cells = ["9223372036854775807", "-9223372036854775808", " 7 ", "007", "0", "-0", "+10", "1" * 19]
    reals = ["inf", "-inf", "1e400", ".5", "5.", "-1e-400", " 2 ", "Infinity"]
    clean = "id,n,real\n" + "".join(f"{i},{n},{r}\n" for i, (n, r) in enumerate(zip(cells, reals)))
    index = indexes.load(SCHEMA, phase("n", "real"), {"rows.csv": clean}, name="clean")
    mixed = indexes.load(SCHEMA, phase("n", "real"), {"rows.csv": clean + "99,x,0\n98,0,x\n"}, name="mixed")
    assert shown(mixed) == shown(index)
    assert accounted(mixed) == (10, 8, 0, 2)


REFUSED = {
    "empty": ("", {}, "has no rows|empty"),
    "only line breaks": ("\n\n\n", {}, "no rows|column"),
    "a header and no rows": ("id,n\n", {}, "the table has no rows"),
    "a header and no line break": ("id,n", {}, "the table has no rows"),
    "columns and no rows": ("", {"columns": ["id", "n"]}, "the table has no rows"),
    "no row can be used": ("id,n\nx,1\ny,2\n", {}, r"none of 2 rows .*id: not an integer \(2 rows\)"),
    "columns of another file": ("1,2,3\n4,5,6\n", {"columns": ["id", "n"]}, "2 columns expected, 3 found"),
    "a column that is not there": ("id,m\n1,2\n", {}, "'n' is not in rows.csv; it has id, m"),
    "no header": ("1,2\n3,4\n", {}, "is not in rows.csv"),
    "two columns of one name": ("id,n,n\n1,2,3\n", {}, "twice"),
    "semicolons": ("id;n\n1;2\n", {}, "is not in rows.csv; it has id;n"),
    "a quote that takes other rows": (
        'id,n\n1,1\n2,"2\n3,3\n',
        {},
        r"row 2 of rows\.csv: a quote opens and never closes, so that 9 bytes .* close it, or double it",
    ),
    "zeros and nothing else": (b"\0" * 4096, {}, "rows.csv"),
    "16 bits a letter": ("id,n\n1,2\n".encode("utf-16"), {}, "rows.csv"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(indexes: Indexes, name: str) -> None:
    content, more, message = REFUSED[name]
    index = indexes.create(SCHEMA)
    source = indexes.write({"rows.csv": content})
    with pytest.raises(InvalidError, match=message):
        index.dump(phase("n", **more), source=source)
    assert len(index) == 0 and index.phases == []
    indexes.write({"rows.csv": "id,n\n1,2\n"})
    index.dump(phase("n"), source=source)
    assert shown(index) == [{"id": 1, "n": 2}]


def test_no_file(indexes: Indexes) -> None:
    with pytest.raises(NotFoundError, match=r"phase 'rows': there is no file .*rows\.csv"):
        indexes.create(SCHEMA).dump(phase("n"), source=indexes.root)


def test_rows_that_the_filter_leaves_out_are_counted(indexes: Indexes) -> None:
    index = load(indexes, "id,n\n1,1\n2,2\n3,\nx,1\n", "n", filter="n == 1")
    assert accounted(index) == (4, 1, 2, 1)


def test_all_rows_filtered_is_no_error(indexes: Indexes) -> None:
    index = load(indexes, "id,n\n1,1\n2,2\n", "n", filter="n == 7")
    assert accounted(index) == (2, 0, 2, 0) and len(index) == 0


def test_ten_thousand_columns(indexes: Indexes) -> None:
    names = ["id", "n", *(f"c{i}" for i in range(10_000))]
    rows = [",".join([str(slot), str(slot * 2), *("x" for _ in range(10_000))]) for slot in range(3)]
    index = load(indexes, "\n".join([",".join(names), *rows]), "n")
    assert shown(index) == [{"id": slot, "n": slot * 2} for slot in range(3)]


@pytest.mark.parametrize("size", [1 << 20, (1 << 20) + 1, 3 << 20, 9 << 20])
@pytest.mark.parametrize("quote", ["", '"'])
def test_rows_longer_than_what_is_parsed_at_a_time(indexes: Indexes, size: int, quote: str) -> None:
    cell = quote + "a" * size + quote
    index = load(indexes, f"id,text\n0,b\n1,{cell}\n2,c\n3,{cell}\n4,d", "text")
    assert [len(document["text"]) for document in shown(index)] == [1, size, 1, size, 1]
    assert accounted(index) == (5, 5, 0, 0)


def test_two_hundred_thousand_columns(indexes: Indexes) -> None:
    names = ["id", "n", *(f"column{number}" for number in range(200_000))]
    content = "\n".join([",".join(names), *(",".join([str(slot)] * len(names)) for slot in range(3))])
    assert shown(load(indexes, content, "n")) == [{"id": slot, "n": slot} for slot in range(3)]


@pytest.mark.parametrize("first", [b"\xff", b'"' + b"a" * 200_000 + b'"'])
def test_a_first_row_that_is_no_header(indexes: Indexes, first: bytes) -> None:
    index = load(indexes, b"7," + first + b"\n1,a\n", "text", columns=["id", "text"])
    assert index.get(1) == {"id": 1, "text": "a"}
    assert accounted(index)[0] == 2 and (7 in index) == (len(first) > 1)


def test_rows_of_lookups_are_told_too(indexes: Indexes) -> None:
    lookup = {"lookup": "names.csv", "key": "key", "join_on": "k", "fields": ["n"]}
    files = {"rows.csv": "id,k\n1,5\n2,6\n", "names.csv": "key,n\n5,7\nx,8\n6,bad\n7\n"}
    index = indexes.load(SCHEMA, phase(enrichment=[lookup]), files)
    assert shown(index) == [{"id": 1, "n": 7}, {"id": 2}]
    run = index.phases[0]
    assert (run.rows, run.applied, run.rejected) == (2, 2, 0)
    assert {reason: found["rows"] for reason, found in run.rejects.items()} == {
        "lookup names.csv: key: not an integer": 1,
        "lookup names.csv: n: not an integer": 1,
        "lookup names.csv: 2 columns expected, 1 found": 1,
    }


def test_header_that_repeats_the_columns_is_no_row(indexes: Indexes) -> None:
    index = load(indexes, "id,n\n1,2\n", "n", columns=["id", "n"])
    assert accounted(index) == (1, 1, 0, 0)


def test_tabs(indexes: Indexes) -> None:
    files = {"rows.tsv": 'id\ttext\n1\ta,b\n2\t"c\td"\n'}
    index = indexes.load(SCHEMA, phase("text", format="tsv"), files)
    assert [document["text"] for document in shown(index)] == ["a,b", "c\td"]


# blocks: where they end changes nothing

AWKWARD = (
    'id,text,n\r\n1,"a\nb",1\r\n2,"""",2\n3,"x,""y""\n\n",\n\n4,,4\nx,"\n",5\n5,"é\n日",6\n6,"bad\n",x\n7,short\n8,'
    '"a""\n""b",9'
)
INTEGERS = "id,n,text\n" + "".join(f"{i},{i * 7919 - 20000},{i % 10}\n" for i in range(40))


def parsed(path: Path, kinds: dict[str, str], block: int) -> tuple[dict[str, list[Any]], dict[str, int], int]:
    """Return columns, rejected rows by reason, and bytes of a file read in blocks of about this size."""
    columns: dict[str, list[Any]] = {name: [] for name in kinds}
    rejects: dict[str, int] = {}
    size = 0
    with mock.patch.object(text_source, "BLOCK", block):
        for part in open_source(path, kinds, [], ",", "table").blocks():
            for name, array in part.columns.items():
                assert len(array) == part.rows
                columns[name] += array.to_pylist()
            for reason, count in part.rejects.counts.items():
                rejects[reason] = rejects.get(reason, 0) + count
            size += part.size
    return columns, rejects, size


@pytest.mark.parametrize(
    "content", [AWKWARD, AWKWARD.replace("\r\n", "\n") + "\n", INTEGERS, INTEGERS + "9,x,\n"]
)
def test_every_size_of_block(tmp_path: Path, content: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content.encode())
    kinds = {"id": "integer", "n": "integer", "text": "string"}
    whole = parsed(path, kinds, KEEP_BLOCK)
    assert len(whole[0]["id"]) > 5
    for block in range(1, len(content.encode()) + 2):
        assert parsed(path, kinds, block) == whole, block
    if "x," not in content:
        assert parsed(path, dict.fromkeys(kinds, "integer"), 7) == parsed(
            path, dict.fromkeys(kinds, "integer"), 999
        )


@settings(max_examples=150, derandomize=True, deadline=None)
@given(st.text(alphabet='1,"\n\r a', max_size=60), st.integers(1, 30))
def test_any_text_in_any_blocks(tmp_path_factory: pytest.TempPathFactory, body: str, block: int) -> None:
    path = tmp_path_factory.mktemp("any") / "t.csv"
    path.write_bytes(("id,text\n" + body).encode())
    kinds = {"id": "integer", "text": "string"}
    outcomes = []
    for size in (KEEP_BLOCK, block):
        try:
            outcomes.append(parsed(path, kinds, size))
        except BitdexError as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]


@settings(max_examples=150, derandomize=True, deadline=None)
@given(st.binary(max_size=80), st.booleans())
def test_any_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, body: bytes, header: bool
) -> None:
    path = tmp_path_factory.mktemp("any") / "t.csv"
    path.write_bytes((b"id,text\n" if header else b"") + body)
    try:
        columns, _, size = parsed(path, {"id": "integer", "text": "string"}, 16)
    except BitdexError:
        return
    assert len(columns["id"]) == len(columns["text"])
    assert size + (len(b"id,text\n") if header else 0) <= path.stat().st_size


def test_rows_are_accounted_for_in_small_blocks(indexes: Indexes) -> None:
    content = "id,n,text\n" + "".join(
        f"{slot},{number},{text}\n"
        for slot, number, text in itertools.product(["1", "x", "-5", "70000"], ["1", "", "y"], ["a", '"b\n"'])
    )
    with mock.patch.object(text_source, "BLOCK", 20):
        index = load(indexes, content, "n", "text", filter="n != 1")
    rows, applied, filtered, rejected = accounted(index)
    assert (rows, applied, filtered) == (24, 4, 4) and rejected == 16
    assert shown(index) == [{"id": 1, "text": "b\n"}, {"id": 70000, "text": "b\n"}]


@pytest.mark.parametrize("cell", ["0x10", "0XfF", "0xFFFFFFFFFFFFFFFF", "-0x10", " 0x1", '"0x1"'])
def test_hexadecimal_is_no_integer_and_never_wrapped(indexes: Indexes, cell: str) -> None:
    """Arrow reads such cells, the last 64 bits as -1."""
    files = {"rows.csv": f"id,real,n\n1,0.5,7\n2,0.5,{cell}\n3,0.5,\n"}
    index = indexes.load(SCHEMA, phase("n", "real"), files)
    assert accounted(index) == (3, 2, 0, 1) and index.ids().tolist() == [1, 3]
    assert list(index.phases[0].rejects) == ["n: not an integer"]
    headless = phase("n", columns=["n", "id"])
    first = indexes.load(SCHEMA, headless, {"rows.csv": f"{cell},1\n,2\n"}, name="first")
    assert first.ids().tolist() == [2]


def test_texts_with_0x_are_left_alone(indexes: Indexes) -> None:
    files = {"rows.csv": "id,n,text\n1,,0x10\n2,7,10x0x1\n"}
    index = indexes.load(SCHEMA, phase("n", "text"), files)
    assert [index.get(i)["text"] for i in (1, 2)] == ["0x10", "10x0x1"] and index.get(2)["n"] == 7


@pytest.mark.parametrize("text", ["0x10", "+0x1", '"a,0x1"', '"a\n-0X1"', '"a"",""0x1"', "10x0x1"])
def test_texts_with_0x_cost_nothing(indexes: Indexes, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Hashes hold it by chance in every block; to read them cell by cell takes ten times as long."""
    monkeypatch.delattr(text_source.TextSource, "_convert")
    index = load(indexes, f"id,text,n\n1,{text},7\n", "n", "text")
    assert index.get(1) == {"id": 1, "n": 7, "text": text.strip('"').replace('""', '"')}
