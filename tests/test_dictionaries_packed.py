"""Labels that are decoded when somebody asks for them are those that were given, whoever asks for what."""

import random
import shutil
from unittest import mock

import numpy as np
import pytest

import bitdex
from bitdex import dictionaries as module
from bitdex import filesystem
from bitdex.dictionaries import Dictionaries
from bitdex.dictionaries_packed import ALIKE, PackedLabels
from bitdex.errors import CorruptError
from bitdex.formats import dictionary as format_
from bitdex.kernels.checksum import crc32c
from tests.scale import scale, seeds

SENSITIVE = {3: False, 5: True}
PARTS = ["a", "B", "Zoë", "ZOË", "ß", "İ", "K", "ΑΣ", "ας", "ﬁ", "", " ", "Straße", "日本", "\x00", "é", "É"]


def text_of(rng):
    return "".join(rng.choice(PARTS) for _ in range(rng.randrange(3))) + str(rng.randrange(30))


class Naive:
    """What dictionaries hold, one label after the other."""

    def __init__(self):
        self.texts = {field: {} for field in SENSITIVE}

    def find(self, field, text):
        key = text if SENSITIVE[field] else text.lower()
        known = self.texts[field].items()
        return next((n for n, one in known if (one if SENSITIVE[field] else one.lower()) == key), None)

    def ensure(self, field, texts):
        out = []
        for text in texts:
            number = self.find(field, text)
            if number is None:
                number = len(self.texts[field]) + 1
                self.texts[field][number] = text
            out.append(number)
        return out


def ask(rng, dictionaries, naive):
    """Ask one thing of dictionaries, and compare."""
    field, text, number = rng.choice(list(SENSITIVE)), text_of(rng), rng.randrange(120)
    known, numbers = naive.texts[field], [rng.randrange(120) for _ in range(rng.randrange(40))]
    how = rng.choice(["find", "find", "find", "text", "text", "texts", "labels"])
    if how == "find":
        assert dictionaries.find(field, text, SENSITIVE[field]) == naive.find(field, text)
    elif how == "text":
        assert dictionaries.text(field, number) == known.get(number)
        assert dictionaries.shown(field).get(number) == known.get(number)
    elif how == "texts":
        found = dictionaries.texts_of(field, numbers)
        assert [found.get(one) for one in numbers] == [known.get(one) for one in numbers]
    elif rng.random() < 0.2:
        assert dictionaries.labels(field) == known
        assert list(dictionaries.labels(field)) == list(known), "ascending"


@pytest.mark.parametrize("many", [3, 20, 1000])
def test_any_history(tmp_path, monkeypatch, many):
    """A writer that adds, reopened now and then, and a reader that follows or opens anew."""
    monkeypatch.setattr(module, "MANY", many)
    monkeypatch.setattr(module, "SECTIONS", 6)
    for seed in seeds(scale(12, 2000)):
        rng, naive, seen = random.Random(seed), Naive(), Naive()
        path = tmp_path / f"{seed}.bin"
        Dictionaries.create(path, 7)
        writer, reader = Dictionaries(path, 7), Dictionaries(path, 7)
        for _ in range(60):
            how = rng.random()
            if how < 0.3:
                field, texts = rng.choice(list(SENSITIVE)), [text_of(rng) for _ in range(rng.randrange(8))]
                assert writer.ensure(field, texts, SENSITIVE[field]) == naive.ensure(field, texts), seed
            elif how < 0.45:
                writer.save()
            elif how < 0.5:
                writer.save()
                writer = Dictionaries(path, 7, naive_count(naive))
            elif how < 0.6:
                writer.save()
                if not reader.follow(naive_count(naive)):
                    reader = Dictionaries(path, 7, naive_count(naive))
                seen.texts = {field: dict(texts) for field, texts in naive.texts.items()}
            else:
                ask(rng, writer, naive)
                ask(rng, reader, seen)
            assert writer.count == naive_count(naive) and reader.count == naive_count(seen)


def naive_count(naive):
    return sum(map(len, naive.texts.values()))


@pytest.fixture
def path(tmp_path):
    """Return the file of some hundred labels, of which the last were appended."""
    path = tmp_path / "dictionaries.bin"
    Dictionaries.create(path, 7)
    dictionaries = Dictionaries(path, 7)
    for texts in ([f"Label {i}" for i in range(300)], ["last"]):
        dictionaries.ensure(3, texts)
        dictionaries.save()
    return path


def test_one_label_is_found_and_shown_without_the_others(path):
    dictionaries = Dictionaries(path, 7)
    with mock.patch.object(PackedLabels, "texts", side_effect=AssertionError("all were decoded")):
        assert dictionaries.find(3, "label 7") == 8 and dictionaries.find(3, "none") is None
        assert dictionaries.text(3, 9) == "Label 8" and dictionaries.shown(3) == {9: "Label 8"}
        assert dictionaries.texts_of(3, [1, 2, 999]) == {1: "Label 0", 2: "Label 1"}
        assert dictionaries.ensure(3, ["LABEL 0", "new", "New"]) == [1, 302, 302]
        dictionaries.save()
        assert dictionaries.text(3, 302) == "new" and dictionaries.find(3, "NEW") == 302
    assert len(dictionaries.labels(3)) == 302 == len(Dictionaries(path, 7, 302).labels(3))


def test_an_index_asks_for_the_labels_it_needs(tmp_path):
    schema = {
        "name": "labels",
        "config": {"filter_fields": [{"name": "l", "field_type": "single_value"}]},
        "data_schema": {"fields": [{"source": "l", "target": "l", "value_type": "low_cardinality_string"}]},
    }
    with bitdex.create(tmp_path / "index", schema) as index:
        index.put_many([{"id": i, "l": f"Label {i}"} for i in range(300)])
    with (
        mock.patch.object(PackedLabels, "texts", side_effect=AssertionError("all were decoded")),
        bitdex.open(tmp_path / "index") as index,
        bitdex.open(tmp_path / "index", "r") as reader,
    ):
        assert index.ids("l == 'label 7'").tolist() == [7] and index.get(8)["l"] == "Label 8"
        assert index.where("id < 3").facets("l").index.tolist() == ["Label 0", "Label 1", "Label 2"]
        index.put({"id": 300, "l": "new"})
        assert reader.count("l == 'new'") == 0
        dictionaries = reader._store.dictionaries
        assert reader.refresh() and reader.count("l == 'NEW'") == 1 and reader.get(300)["l"] == "new"
        assert reader._store.dictionaries is dictionaries
        page = reader.query("l == 'new'")
        index.put({"id": 301, "l": "newer"})
        reader.refresh()
        assert list(page.documents()) == [{"id": 300, "l": "new"}] and reader.get(301)["l"] == "newer"


def test_a_reader_that_follows_reads_what_was_appended(path, monkeypatch):
    reader, writer, size = Dictionaries(path, 7), Dictionaries(path, 7), path.stat().st_size
    assert reader.find(3, "first") is None
    writer.ensure(3, ["first", "second"])
    writer.save()
    asked, read_at = [], filesystem._read_at
    monkeypatch.setattr(filesystem, "_read_at", lambda *one: asked.append(one[1:]) or read_at(*one))
    assert reader.follow(303) and reader.labels(3) == writer.labels(3) and reader.find(3, "FIRST") == 302
    assert sum(size for _, size in asked) == 64 + 32 + 1 + path.stat().st_size - size
    assert reader.follow(303) and not reader.follow(304), "there are no more"


def test_a_reader_does_not_follow_another_file(path, tmp_path):
    """One that was restored in its place, written anew, cut, or begins in another way."""
    writer = Dictionaries(path, 7)
    backup = shutil.copy(path, tmp_path / "backup")
    writer.ensure(3, ["one"])
    writer.save()
    content = path.read_bytes()
    for other in (
        backup.read_bytes(),
        format_.encode(format_.decode(content, 7), 7),
        content[:-1],
        content[:70],
        bytes(64) + content[64:],
    ):
        path.write_bytes(content)
        reader = Dictionaries(path, 7, 302)
        path.write_bytes(other)
        assert not reader.follow(302)


def test_what_a_writer_has_not_finished_is_followed_when_it_has(path):
    reader, writer = Dictionaries(path, 7), Dictionaries(path, 7)
    size = path.stat().st_size
    writer.ensure(3, ["one"])
    writer.save()
    content = path.read_bytes()
    for left in range(size, len(content)):
        path.write_bytes(content[:left])
        assert reader.follow(301) and reader.count == 301
    path.write_bytes(content)
    assert reader.follow(302) and reader.text(3, 302) == "one"


def test_a_text_that_is_none_is_refused(tmp_path):
    """Halves of a letter in two texts, which are whole together."""
    rows = [((3, 1), "ab"), ((3, 2), "cd")]
    body = format_.header.encode_entries(format_.ENTRY, rows).replace(b"b", b"\xc3").replace(b"c", b"\xa9")
    data = format_.header.encode(format_.MAGIC, 1, 7, 0, count=2, body_crc=crc32c(body)) + body
    with pytest.raises(CorruptError, match="offset 76: expected 2 bytes of UTF-8"):
        format_.decode(data, 7)


def test_numbers_that_leave_some_out(tmp_path):
    path = tmp_path / "dictionaries.bin"
    path.write_bytes(format_.encode([format_.Label(3, 9, "nine"), format_.Label(3, 2, "two")], 7))
    dictionaries = Dictionaries(path, 7)
    assert dictionaries.labels(3) == {9: "nine", 2: "two"} and dictionaries.find(3, "Two") == 2


def alike(count):
    """Return texts of one length and one checksum, which is linear: found by elimination."""
    rows = []
    base = bytearray(b"a" * 48)
    zero = crc32c(bytes(base))
    for bit in range(48):
        flipped = bytearray(base)
        flipped[bit] ^= 2  # "a" to "c"
        rows.append((crc32c(bytes(flipped)) ^ zero, 1 << bit))
    null, pivots = [], {}
    for value, mask in rows:
        while value and value.bit_length() in pivots:
            other, more = pivots[value.bit_length()]
            value, mask = value ^ other, mask ^ more
        if value:
            pivots[value.bit_length()] = value, mask
        else:
            null.append(mask)
    out = []
    for number in range(count):
        mask = 0
        for i, one in enumerate(null):
            mask ^= one if number >> i & 1 else 0
        out.append("".join("c" if mask >> bit & 1 else "a" for bit in range(48)))
    return out


def test_labels_that_were_made_alike_are_found_all_the_same(path):
    texts = alike(3 * ALIKE)
    assert len(set(texts)) == len(texts) and len({crc32c(text.encode()) for text in texts}) == 1
    writer = Dictionaries(path, 7)
    numbers = writer.ensure(3, texts)
    writer.save()
    dictionaries = Dictionaries(path, 7)
    assert [dictionaries.find(3, text.upper()) for text in texts] == numbers


def test_integers_of_packed_labels(path):
    writer = Dictionaries(path, 7)
    writer.ensure(5, [str(-(2**63)), str(2**63 - 1)])
    writer.ensure(6, ["1", "no integer"])
    writer.save()
    dictionaries = Dictionaries(path, 7)
    dictionaries.ensure(5, ["77"])
    assert dictionaries.integers(5).tolist() == [0, -(2**63), 2**63 - 1, 77]
    assert np.array_equal(dictionaries.integers(9), [0])
    with pytest.raises(ValueError, match="no integer"):
        dictionaries.integers(6)
