"""Answers that are kept, as they lie in their silo."""

import numpy as np
import pytest

from bitdex.errors import CorruptError
from bitdex.formats.answer import Answer, decode, encode
from tests.formats.goldens import register
from tests.formats.suite import check_golden, check_truncated


def answer(question, total, slots=(), words=(), valued=()):
    return Answer(
        question, total, np.array(slots, np.uint32), np.array(words, np.uint64), np.array(valued, np.bool_)
    )


PAGE = answer('[{"Eq": ["ä", 1]}, "-likes"]', 7, [9, 3, 2**32 - 1], [2**64 - 1, 5, 0], [True, True, False])
ANSWERS = [answer("", 0), answer("count", 2**40), PAGE]


@register("answer", "v1", "page")
def page():
    return encode(PAGE)


@register("answer", "v1", "count")
def count():
    return encode(answer("{}", 12))


@pytest.mark.parametrize("one", ANSWERS)
def test_round_trips(one):
    found = decode(encode(one), "x")
    assert found[:2] == one[:2]
    assert [column.tolist() for column in found[2:]] == [column.tolist() for column in one[2:]]


def test_stored_bytes():
    check_golden("answer")


def test_what_does_not_fit_is_refused():
    check_truncated(encode(PAGE), lambda data: decode(data, "x"), "x")
    good = encode(PAGE)
    for damaged in (
        good + b"\0",
        b"\x01" + good[1:],
        good[:20] + b"\1" + good[21:],
        good[:24] + b"\xff" + good[25:],
        good[:-1] + b"\2",
    ):
        with pytest.raises(CorruptError, match=r"x: offset .* expected .* found"):
            decode(damaged, "x")
