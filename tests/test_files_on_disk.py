"""The page about files on disk: its tables of keys are those of the code, and of an index that has all."""

import re
from pathlib import Path

import pytest

import bitdex
from bitdex import cache_silo, documents, registry_sets
from bitdex.formats import bitmap
from bitdex.live import batch
from bitdex.silo.silo import Silo

PAGE = (Path(bitdex.__file__).parents[1] / "docs" / "files-on-disk.md").read_text()
ROW = re.compile(r"^ {4}(\w+(?: \w+)*?) {2,}(0x\w{16}|[\w ]+(?: \| \w+(?: \d+)?)*) {2,}(.+)$")


def table(text, heading):
    """Return the keys that stand in the lines below a heading, by name."""
    lines = text.split(heading, 1)[1].lstrip("\n").splitlines()
    rows = [ROW.match(line) for line in lines[: lines.index("")]]
    assert all(rows), lines
    return {row[1]: row[2].strip() for row in rows if row}


TABLES = {
    silo: table(PAGE, f"Keys of the {name} silo:\n")
    for silo, name in {"documents": "documents", "bitmaps": "bitmap", "cache": "cache"}.items()
}


def parts(pattern):
    """Return (name or None, value or None, bits) of the parts of a key, from the highest on."""
    found = []
    for part in pattern.split(" | "):
        if part.startswith("0x"):
            found.append((None, int(part, 16), 4 * len(part) - 8))
        elif set(part) <= {"0", "1"}:
            found.append((None, int(part, 2), len(part)))
        else:
            name, bits = part.split()
            found.append((None, 0, int(bits)) if name == "zero" else (name, None, int(bits)))
    assert sum(bits for _, _, bits in found) == 64, pattern
    return found


def key(pattern, **values):
    """Return a key of this form."""
    whole = 0
    for name, value, bits in parts(pattern):
        value = values[name] if value is None else value
        assert 0 <= value < 1 << bits
        whole = whole << bits | value
    return whole


def fits(pattern, whole):
    """Tell whether a key has this form; fields are numbered from 1."""
    for name, value, bits in reversed(parts(pattern)):
        found, whole = whole & ((1 << bits) - 1), whole >> bits
        if value not in (None, found) or (name == "field" and not found):
            return False
    return True


def names_of(silo, whole):
    """Return the names of a key in a table, those without parts that vary first."""
    found = [name for name, pattern in TABLES[silo].items() if fits(pattern, whole)]
    return sorted(found, key=lambda name: sum(bits for _, v, bits in parts(TABLES[silo][name]) if v is None))


def test_the_keys_of_bitmaps_are_those_of_the_module():
    page = TABLES["bitmaps"]
    assert page == table(bitmap.__doc__, "smallest filter key is 2**48:\n")
    for field, value in [(1, 0), (2, 5), (bitmap.FIELD_MAX, bitmap.VALUE_MAX)]:
        assert bitmap.filter_key(field, value) == key(page["filter value"], field=field, value=value)
        assert bitmap.layer_key(field, 63) == key(page["sort layer"], field=field, bit=63)
        assert bitmap.present_key(field) == key(page["present"], field=field)
    for number in (0, 7, (1 << 32) - 1):
        assert bitmap.set_key(number) == key(page["saved set"], number=number)
        assert bitmap.phase_key(number) == key(page["phase"], phase=number)
    whole = [key(page[name]) for name in ("alive", "deferred", "hidden")]
    assert whole == [bitmap.ALIVE, bitmap.DEFERRED, bitmap.HIDDEN]


def test_every_kind_of_bitmap_is_in_the_table():
    kinds = {
        bitmap.describe(key(pattern, field=3, value=4, number=5, bit=6, phase=7)).kind
        for pattern in TABLES["bitmaps"].values()
    }
    source = Path(bitmap.__file__).read_text()
    assert kinds == set(re.findall(r'KeyParts\("(\w+)"', source)) - {"unknown"}


def test_the_keys_of_documents_are_those_of_the_code():
    page = TABLES["documents"]
    assert key(page["document"], slot=documents.SLOTS - 1) == documents.SLOTS - 1
    assert {key(page["feeds"]), key(page["names of sets"])} == {batch.FEEDS, registry_sets.KEY}
    assert key(page["feeds"]) == batch.FEEDS >= documents.SLOTS


def test_the_keys_of_the_cache_are_those_of_the_code():
    page = TABLES["cache"]
    assert key(page["state"]) == cache_silo.STATE
    assert fits(page["answer"], cache_silo._key("n == 1")) and cache_silo._key("n == 1").bit_length() > 32


@pytest.fixture
def full(tmp_path):
    """Return the directory of an index that has keys of every kind."""
    level = {"name": "level", "field_type": "single_value"}
    due = {"name": "due", "bits": 32}
    config = {
        "filter_fields": [level],
        "sort_fields": [due],
        "deferred_alive": {"source_field": "due"},
    }
    phase = {"name": "rows", "slot_field": "id", "sets_alive": True, "fields": ["level", "due"]}
    rows = {"id": [1, 2, 3], "level": [5, 6, 5], "due": [100, 200, 4_000_000_000]}
    with bitdex.create(tmp_path / "full", {"name": "full", "config": config}) as index:
        index.dump(phase, {"rows": rows})
        index.dump(
            {"name": "more", "slot_field": "id", "fields": ["level"]}, {"more": {"id": [9], "level": [5]}}
        )
        index.apply([], feed="changes", cursor="12")
        index.sets["fives"] = index["level == 5"]
        for _ in range(3):
            index.query("level == 5 and due > 50", sort="-due")
    return tmp_path / "full"


def test_every_key_of_an_index_is_in_the_tables(full):
    """That of what is deferred was in none, nor were the cursors of feeds and the names of sets."""
    for name, page in TABLES.items():
        with Silo.open(full / name) as silo:
            keys = silo.keys().tolist()
        found = [names_of(name, one)[:1] for one in keys]
        assert all(found), [one for one, names in zip(keys, found) if not names]
        assert {one for names in found for one in names} == page.keys(), name
