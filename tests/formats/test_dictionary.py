"""``dictionaries.bin``: the labels of low-cardinality fields."""

import numpy as np
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


@register("dictionary", "v1", "appended")
def appended() -> bytes:
    data = dictionary.encode(LABELS[:1], 5)
    for part in (LABELS[1:3], LABELS[3:]):
        data += dictionary.encode_section(part, 5, len(data))
    return data


def test_dictionaries_are_encoded_as_they_were_stored():
    check_golden("dictionary")


def test_round_trips():
    values = ([], LABELS, [Label(3, i, f"label {i}" * (i % 5)) for i in range(1, 400)])
    check_round_trip(lambda labels: dictionary.encode(labels, 5), dictionary.decode, values)
    assert dictionary.decode(golden("dictionary", "small"), 5) == LABELS
    assert dictionary.decode(golden("dictionary", "appended"), 5) == LABELS


def test_labels_are_appended():
    data, labels = dictionary.encode([], 5), []
    for count in (1, 0, 30, 2):
        more = [Label(7, len(labels) + i, f"label {i}" * (i % 5)) for i in range(1, count + 1)]
        data, labels = data + dictionary.encode_section(more, 5, len(data)), labels + more
        assert dictionary.decode(data, 5) == labels
    assert dictionary.decode_held(data, len(labels), 5) == (labels, 4, len(data))


def test_what_a_writer_did_not_finish_is_passed_over_but_not_what_a_commit_needs():
    """Cut or flipped anywhere behind the header's entries: sections before it hold, if those are enough."""
    data = appended()
    ends = [len(dictionary.encode(LABELS[:1], 5))]
    ends.append(ends[0] + len(dictionary.encode_section(LABELS[1:3], 5, ends[0])))
    counts = [1, 3, 4]
    cuts = [(data[:length], length) for length in range(ends[0], len(data))]
    flips = []
    for bit in range(8 * ends[0], 8 * len(data)):
        flipped = bytearray(data)
        flipped[bit >> 3] ^= 1 << (bit & 7)
        flips.append((bytes(flipped), bit >> 3))
    for damaged, place in cuts + flips:
        whole = place >= ends[1]
        held = dictionary.decode_held(damaged, counts[whole], 5)
        assert held == (LABELS[: counts[whole]], int(whole), ends[whole]), place
        check = f"offset {ends[whole]}: expected {counts[2] - counts[whole]} more labels, found"
        with pytest.raises(CorruptError, match=check):
            dictionary.decode_held(damaged, counts[2], 5)


@pytest.mark.parametrize("at", [0, 1000])
def test_sections_of_other_places_and_stores_are_none(at):
    data = dictionary.encode(LABELS, 5)
    for section in (
        dictionary.encode_section(LABELS, 6, len(data)),
        dictionary.encode_section(LABELS, 5, len(data) + 1),
        dictionary.encode_section(LABELS, 5, at),
        bytes(400),
        b"\xff" * 400,
    ):
        assert dictionary.decode_held(data + section, 4, 5) == (LABELS, 0, len(data))
        with pytest.raises(CorruptError, match=f"offset {len(data)}: expected the end of the file"):
            dictionary.decode(data + section, 5)


def test_a_section_of_other_entries_than_it_tells_is_refused():
    data = dictionary.encode([], 5)
    entries = header.encode_entries(dictionary.ENTRY, [((1, 1), "ab"), ((1, 2), "c")])
    for count, size, error in ((1, 0, "expected the end of a section"), (3, 0, "expected an entry")):
        section = np.array([(len(data), 5, len(entries) + size, count, 0)], dictionary.SECTION)
        section["crc"] = header.crc32c(section.tobytes()[:28] + entries)
        with pytest.raises(CorruptError, match=error):
            dictionary.decode_held(data + section.tobytes() + entries, 0, 5)


def test_truncation_is_refused():
    check_truncated(small(), dictionary.decode, "dictionaries.bin")
    check_truncated(appended(), lambda data: dictionary.decode_held(data, 4), "dictionaries.bin")


def test_every_flipped_bit_is_refused():
    check_bit_flips(small(), dictionary.decode, "dictionaries.bin")
    check_bit_flips(appended(), lambda data: dictionary.decode_held(data, 4), "dictionaries.bin")
    check_bit_flips(appended(), dictionary.decode, "dictionaries.bin")


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
