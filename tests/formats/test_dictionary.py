"""``dictionaries.bin``: the labels of low-cardinality fields."""

import pytest

from bitdex.errors import CorruptError
from bitdex.formats import dictionary, header
from bitdex.formats.dictionary import Label
from tests.formats.goldens import golden, register
from tests.formats.suite import check_bit_flips, check_golden, check_round_trip, check_truncated

LABELS = [Label(1, 1, "image"), Label(1, 2, "vidéo"), Label(2, 1, ""), Label(16383, 2**32 - 1, "x")]


@register("dictionary", "v1", "small")
def small() -> bytes:
    return dictionary.encode(LABELS, 5)


@register("dictionary", "v1", "empty")
def empty() -> bytes:
    return dictionary.encode([], 5)


def test_dictionaries_are_encoded_as_they_were_stored():
    check_golden("dictionary")


def test_round_trips():
    values = ([], LABELS, [Label(3, i, f"label {i}" * (i % 5)) for i in range(1, 400)])
    check_round_trip(lambda labels: dictionary.encode(labels, 5), dictionary.decode, values)
    assert dictionary.decode(golden("dictionary", "small"), 5) == LABELS


def test_truncation_is_refused():
    check_truncated(small(), dictionary.decode, "dictionaries.bin")


def test_every_flipped_bit_is_refused():
    check_bit_flips(small(), dictionary.decode, "dictionaries.bin")


def test_another_store_is_refused():
    with pytest.raises(CorruptError, match=r"dictionaries\.bin: offset 16: expected identity 6, found 5"):
        dictionary.decode(small(), 6)


def test_a_text_longer_than_the_file_is_refused():
    body = bytearray(small()[header.SIZE :])
    body[8] = 200
    crc = header.crc32c(bytes(body))
    data = header.encode(dictionary.MAGIC, dictionary.VERSION, 5, 0, count=4, body_crc=crc) + bytes(body)
    with pytest.raises(CorruptError, match="offset 76: expected 200 bytes of UTF-8, found"):
        dictionary.decode(data)
