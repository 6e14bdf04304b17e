"""``fields.bin``: the field registry."""

import pytest

from bitdex.errors import CorruptError
from bitdex.formats import header, registry
from bitdex.formats.registry import Entry
from tests.formats.goldens import golden, register
from tests.formats.suite import check_bit_flips, check_golden, check_round_trip, check_truncated

ENTRIES = [Entry(1, "nsfwLevel"), Entry(2, "été", True), Entry(3, ""), Entry(16383, "été")]


@register("registry", "v1", "small")
def small() -> bytes:
    return registry.encode(ENTRIES, 5)


@register("registry", "v1", "empty")
def empty() -> bytes:
    return registry.encode([], 5)


def test_registries_are_encoded_as_they_were_stored():
    check_golden("registry")


def test_round_trips():
    values = ([], ENTRIES, [Entry(i, f"field {i}", i % 3 == 0) for i in range(1, 400)])
    check_round_trip(lambda entries: registry.encode(entries, 5), registry.decode, values)
    assert registry.decode(golden("registry", "small"), 5) == ENTRIES


def test_truncation_is_refused():
    check_truncated(small(), registry.decode, "fields.bin")


def test_every_flipped_bit_is_refused():
    check_bit_flips(small(), registry.decode, "fields.bin")


def test_another_store_is_refused():
    with pytest.raises(CorruptError, match=r"fields\.bin: offset 16: expected identity 6, found 5"):
        registry.decode(small(), 6)


def test_a_count_beyond_the_entries_is_refused():
    body = small()[header.SIZE :]
    crc = header.crc32c(body)
    data = header.encode(registry.MAGIC, registry.VERSION, 5, 0, count=5, body_crc=crc) + body
    with pytest.raises(CorruptError, match=rf"offset {len(data)}: expected an entry, found the end"):
        registry.decode(data)
