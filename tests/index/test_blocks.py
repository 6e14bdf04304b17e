"""Where blocks of a text file end, only behind a row, and which cell is hexadecimal, whatever quotes hold."""

import csv
import io
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitdex.dump.text_source import cut_rows
from bitdex.kernels.csv_rows import find_hexadecimal, find_row_end

LETTERS = '1,"\n\ra'


def ends(text: str) -> tuple[list[int], bool]:
    """Return where the rows of a text end, and whether the last one has a quote that never closes."""
    found, quoted, cell = [], False, ""
    at = 0
    while at < len(text):
        letter = text[at]
        at += 1
        if quoted and text.startswith('""', at - 1):
            at += 1
        elif quoted:
            quoted = letter != '"'
            cell += letter
        elif letter == "\n":
            found.append(at)
            cell = ""
        elif letter in ",\r":
            cell = ""
        else:
            quoted = letter == '"' and not cell
            cell += letter
    if (text and not text.endswith("\n")) or quoted:
        found.append(len(text))
    return found, quoted


def data(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8)


@settings(max_examples=400, derandomize=True, deadline=None)
@given(st.text(alphabet=LETTERS, max_size=40), st.integers(0, 45))
def test_kernel_is_the_definition(text: str, least: int) -> None:
    edges, unclosed = ends(text)
    found = find_row_end(data(text), 0, least, ord(","))
    expected = next((edge for edge in edges if edge >= least), len(text))
    if unclosed and (not edges or expected == edges[-1]):
        assert found == -1 - ([0, *edges][-2] if edges else 0)
    else:
        assert found == expected


def cells(text: str) -> list[tuple[int, int, str]]:
    """Return column, place and raw text of each cell."""
    found, column, start, at = [], 0, 0, 0
    while at <= len(text):
        if at == start and text[at : at + 1] == '"':
            inside = re.compile('"(?:[^"]|"")*"?').match(text, at)
            assert inside
            at = inside.end()
        elif at == len(text) or text[at] in ",\n\r":
            found.append((column, start, text[start:at]))
            column = column + 1 if text[at : at + 1] == "," else 0
            start = at = at + 1
        else:
            at += 1
    return found


@settings(max_examples=600, derandomize=True, deadline=None)
@given(
    st.lists(st.sampled_from([*'0xX-+ \t"",,\n\r1', "0x1", ",0x"]), max_size=25).map("".join),
    st.lists(st.booleans(), max_size=4),
)
def test_hexadecimal_is_found_as_defined(text: str, wanted: list[bool]) -> None:
    places = [
        start
        for column, start, raw in cells(text)
        if column < len(wanted) and wanted[column] and re.match(r'"?[ \t+-]*0[xX]', raw)
    ]
    found = find_hexadecimal(data(text), ord(","), np.array(wanted, bool))
    assert found == next(iter(places), -1)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.lists(st.lists(st.text(alphabet='a,"\nb', max_size=6), min_size=2, max_size=2), max_size=8))
def test_pieces_are_whole_rows(rows: list[list[str]]) -> None:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    text = out.getvalue()
    for wanted in (1, 2, 5, 17, 1000):
        at, found = 0, []
        while at < len(text):
            end = cut_rows(data(text), at, wanted, ",")
            assert end > at
            found += list(csv.reader(io.StringIO(text[at:end], newline="")))
            at = end
        assert found == rows


@pytest.mark.parametrize(
    ("text", "wanted", "end"),
    [
        ("1,a\n2,b\n", 1, 4),
        ("1,a\n2,b\n", 4, 4),
        ("1,a\n2,b\n", 5, 8),
        ("1,a\n2,b", 5, 7),
        ('1,"a\n"\n2,b\n', 1, 7),
        ('1,5" disk\n2,"a\nb"\n', 1, 10),  # a quote inside a cell is a letter
        ('1,"a"b"\n2,c\n', 1, 8),
        ('1,"a""\n"\n', 1, 9),
        ("\n\n1,a\n", 1, 1),
        ("", 5, 0),
        ('1,a\n2,"b\n', 6, -5),
        ('"', 1, -1),
    ],
)
def test_cuts(text: str, wanted: int, end: int) -> None:
    assert cut_rows(data(text), 0, wanted, ",") == end


def test_a_line_break_far_away() -> None:
    text = "1," + "a" * 200_000 + "\n2,b\n"
    assert cut_rows(data(text), 0, 10, ",") == len(text) - 4
    quoted = '1,"' + "a" * 100_000 + "\n" * 100_000 + '"\n2,b\n'
    assert cut_rows(data(quoted), 0, 10, ",") == len(quoted) - 4
