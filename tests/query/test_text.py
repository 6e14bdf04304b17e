"""The text form: what is read, what is written, and what a user sees when it is wrong."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitdex.errors import InvalidError
from bitdex.query.clauses import (
    EVERYTHING,
    MAX_VALUES,
    NOTHING,
    And,
    Between,
    Clause,
    Eq,
    Gt,
    Gte,
    In,
    IsNotNull,
    IsNull,
    Lt,
    Lte,
    Not,
    NotEq,
    NotIn,
    Or,
)
from bitdex.query.text import parse
from tests.query.trees import leaves, trees

A, B, C = Eq("a", 1), Eq("b", 2), Eq("c", 3)

READ = [
    ("nsfwLevel == 1 and tagIds has 304", And((Eq("nsfwLevel", 1), Eq("tagIds", 304)))),
    ("type in ['image', \"video\"]", In("type", ("image", "video"))),
    ("type not in ('image',)", NotIn("type", ("image",))),
    ("t in []", In("t", ())),
    ("tagIds has any [1, 2]", In("tagIds", (1, 2))),
    ("tagIds has all [1, 2]", And((Eq("tagIds", 1), Eq("tagIds", 2)))),
    ("tagIds has all []", EVERYTHING),
    ("width between 512 and 1024 and poi", And((Between("width", 512, 1024), Eq("poi", True)))),
    ("x is null or y IS NOT NULL", Or((IsNull("x"), IsNotNull("y")))),
    ("x == null", Eq("x", None)),
    ("poi", Eq("poi", True)),
    ("(poi)", Eq("poi", True)),
    ("not poi", Eq("poi", False)),
    ("not (poi)", Eq("poi", False)),
    ("~~poi", Not(Eq("poi", False))),
    ("not poi == true", Not(Eq("poi", True))),
    ("a = 1 || b == 2 && c=3", Or((A, And((B, C))))),
    ("a == 1 & b == 2 | c == 3", Or((And((A, B)), C))),
    ("a == 1 and (b == 2 and c == 3)", And((A, And((B, C))))),
    ("!(a == 1) AND Not b == 2", And((Not(A), Not(B)))),
    ("a != 1 and b <> 2", And((NotEq("a", 1), NotEq("b", 2)))),
    ("a<1 and a<=1 and a>1 and a>=1", And((Lt("a", 1), Lte("a", 1), Gt("a", 1), Gte("a", 1)))),
    ("512 <= width < 1024", And((Gte("width", 512), Lt("width", 1024)))),
    ("1024 > width", Lt("width", 1024)),
    ("'x' == a", Eq("a", "x")),
    ("a == -5", Eq("a", -5)),
    ("a == +1_000", Eq("a", 1000)),
    ("a == 1.5e3", Eq("a", 1500.0)),
    ("a == .5", Eq("a", 0.5)),
    ("a in [True, FALSE, Null]", In("a", (True, False, None))),
    (r"a == 'it\'s \x41\u00e9\U0001F600\n\\'", Eq("a", "it's Aé😀\n\\")),
    ("`my field` == 1", Eq("my field", 1)),
    ("`a``b` == 1 and `and` == 2", And((Eq("a`b", 1), Eq("and", 2)))),
    ("has has 1 and any has any [2]", And((Eq("has", 1), In("any", (2,))))),
    ("größe > 1", Gt("größe", 1)),
    ("everything", EVERYTHING),
    ("not nothing", Not(NOTHING)),
    ("  \n ", EVERYTHING),
]


@pytest.mark.parametrize(("text", "clause"), READ)
def test_reads(text: str, clause: Clause) -> None:
    assert repr(parse(text)) == repr(clause)


WRONG = [
    ("a ==", 5, "expected a value: a number, 'text' in quotes, true, false or null, found the end"),
    ("a == image", 6, "expected a value: a number, 'text' in quotes, true, false or null, found 'image'"),
    ("a == [1]", 6, "for a list write `in [...]`"),
    ("(a == 1", 8, "expected `)`, found the end"),
    ("a == 1)", 7, "expected `and`, `or` or the end, found ')'"),
    ("a == 1 b == 2", 8, "expected `and`, `or` or the end, found 'b'"),
    ("a in 5", 6, "expected a list such as [1, 2], found '5'"),
    ("a in [1 2]", 9, "expected `,` or `]`, found '2'"),
    ("a in (1]", 8, "expected `,` or `)`, found ']'"),
    ("a not 5", 7, "expected `in`, found '5'"),
    ("a is 5", 6, "expected `null` or `not null`, found '5'"),
    ("a is not 5", 10, "expected `null`, found '5'"),
    ("a between 1 or 2", 13, "expected `and`, found 'or'"),
    ("a == 'x", 6, "expected a closing '"),
    ("`a == 1", 1, "expected a closing `"),
    (r"a == 'b\q'", 8, r"expected an escape such as \n, \' or \\"),
    ("a == '\\U99999999'", 7, "expected an escape"),
    ("12abc == 3", 1, "expected a number, or a name in `backquotes`"),
    ("a == 1__0", 6, "expected a number, found '1__0'"),
    ("a == " + "9" * 500, 6, "expected a number, found '9999"),
    ("a ; b", 3, "expected a field, value or operator, found ';'"),
    ("and", 1, "expected a field name, found 'and'"),
    ("not", 4, "expected a field name, found the end"),
    ("5", 2, "expected a comparison such as == or <, found the end"),
    ("5 == 5", 6, "expected a field name, found '5'"),
    ("(" * 40, 34, "expected at most 32 levels of parentheses and `not`"),
    ("not " * 40 + "a", 133, "expected at most 32 levels of parentheses and `not`"),
]


@pytest.mark.parametrize(("text", "character", "message"), WRONG)
def test_shows_the_place_of_an_error(text: str, character: int, message: str) -> None:
    with pytest.raises(InvalidError) as caught:
        parse(text)
    first, line, caret = str(caught.value).split("\n")
    assert first.startswith(f"Cannot read the query at character {character}: ")
    assert message in first
    assert line[2:] in text
    assert text[:character].endswith(line[2 : caret.index("^") + 1])


def test_the_caret_stands_in_the_line_of_the_error() -> None:
    with pytest.raises(InvalidError) as caught:
        parse("a == 1\n  and b == ?\n  and c == 3")
    assert str(caught.value).split("\n")[1:] == ["    and b == ?", "             ^"]


def test_groups_beside_each_other_are_not_depth() -> None:
    assert parse(" and ".join(["(not a == 1)"] * 40)) == And((Not(A),) * 40)


def test_a_list_has_a_limit() -> None:
    most = ",".join(["7"] * MAX_VALUES)
    assert parse(f"a in [{most}]") == In("a", (7,) * MAX_VALUES)
    with pytest.raises(InvalidError, match="at most 100,000 values"):
        parse(f"a in [{most},7]")


NAMES = st.text(min_size=1, max_size=8) | st.sampled_from(["a", "and", "Null", "`", "in", "x y", "_1"])
VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.text("'\"\\\n`", max_size=4)
)
LEAVES = (
    st.builds(lambda kind, *rest: kind(*rest), st.sampled_from([Eq, NotEq, Gt, Gte, Lt, Lte]), NAMES, VALUES)
    | st.builds(
        lambda kind, *rest: kind(*rest), st.sampled_from([In, NotIn]), NAMES, st.lists(VALUES).map(tuple)
    )
    | st.builds(lambda kind, *rest: kind(*rest), st.sampled_from([IsNull, IsNotNull]), NAMES)
    | st.builds(Between, NAMES, VALUES, VALUES)
    | leaves()
)


@settings(max_examples=400, derandomize=True, deadline=None)
@given(trees(LEAVES))
def test_what_is_written_reads_back(clause: Clause) -> None:
    assert repr(parse(str(clause))) == repr(clause)


WORDS = ["a", "and", "or", "not", "in", "has", "any", "is", "null", "1", "'x'", "between", "`", "\\", "é"]
SYMBOLS = ["(", ")", "[", "]", ",", "==", "<"]


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.lists(st.sampled_from(WORDS + SYMBOLS)))
def test_any_text_is_read_or_refused(words: list[str]) -> None:
    try:
        clause = parse(" ".join(words))
    except InvalidError as error:
        assert "^" in str(error)
    else:
        assert parse(str(clause)) == clause
