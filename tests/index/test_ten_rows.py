"""Ten photographs, five albums, fifteen stickers: every fact worked out by hand.

At NOW the last album opens in the future, so its two photographs are deferred.
"""

import copy
from typing import Any

import pytest
import yaml

from bitdex.index import Index
from tests.index.conftest import Indexes

NOW = 1_600_001_000

SCHEMA = yaml.safe_load("""
name: photographs
config:
  filter_fields:
    - { name: rating, field_type: single_value, eager_load: true }
    - { name: ownerId, field_type: single_value }
    - { name: kind, field_type: single_value }
    - { name: access, field_type: single_value }
    - { name: albumId, field_type: single_value }
    - { name: shownIn, field_type: single_value }
    - { name: hasNotes, field_type: boolean }
    - { name: onSite, field_type: boolean }
    - { name: isOpen, field_type: boolean }
    - { name: isCopy, field_type: boolean }
    - { name: stickers, field_type: multi_value }
  sort_fields:
    - { name: stars, bits: 32 }
    - name: sortAt
      bits: 32
      computed: { op: greatest, source_fields: [takenAt, openedAt] }
    - name: firstAt
      bits: 32
      computed: { op: least, source_fields: [takenAt, openedAt] }
    - { name: takenAt, bits: 32 }
    - { name: openedAt, bits: 32 }
    - { name: id, bits: 32 }
  max_page_size: 50
  deferred_alive: { source_field: openedAt }
  time_buckets:
    filter_field: sortAtUnix
    sort_field: sortAt
    range_buckets:
      - { name: 24h, duration_secs: 86400, refresh_interval_secs: 300 }
data_schema:
  id_field: id
  schema_version: 1
  fields:
    - { source: rating, target: rating, value_type: integer }
    - { source: kind, target: kind, value_type: low_cardinality_string }
    - { source: access, target: access, value_type: low_cardinality_string }
    - { source: openedAt, target: isOpen, value_type: exists_boolean }
    - { source: copyOf, target: isCopy, value_type: exists_boolean }
    - { source: hasNotes, target: hasNotes, value_type: boolean, default: false }
    - { source: onSite, target: onSite, value_type: boolean, default: false }
    - { source: stickers, target: stickers, value_type: integer_array, default: [] }
    - { source: stars, target: stars, value_type: integer, default: 0 }
    - { source: openedAtUnix, target: openedAt, value_type: integer, ms_to_seconds: true }
    - { source: file, target: file, value_type: string, doc_only: true }
    - { source: width, target: width, value_type: integer, doc_only: true }
""")

PHASES = yaml.safe_load("""
dump_phases:
  - name: photographs
    table: Photograph
    columns: [id, file, rating, flags, kind, ownerId, scanned, created, albumId, width]
    slot_field: id
    sets_alive: true
    fields:
      - rating
      - { column: kind, target: kind }
      - ownerId
      - albumId
      - file
      - width
    computed_fields:
      - { target: hasNotes, expression: "(flags >> 13) & 1 == 1 && (flags >> 2) & 1 == 0" }
      - { target: onSite, expression: "(flags >> 14) & 1 == 1" }
      - { target: takenAt, expression: "max(scanned, created)" }
      - { target: id, expression: id }
    enrichment:
      - lookup: albums.csv
        columns: [id, openedAt, access, modelId]
        key: id
        join_on: albumId
        fields:
          - openedAt
          - { column: access, target: access }
        computed_fields:
          - { target: shownIn, expression: lookup_key }
          - { target: isOpen, expression: "openedAt != null" }
  - name: stickers
    columns: [sticker, photograph, bits]
    slot_field: photograph
    fields: [{ column: sticker, target: stickers }]
    filter: "(bits >> 10) & 1 = 0"
triggers: [{ table: Photograph }]
""")

FILES = {
    "photographs.csv": (
        "id,file,rating,flags,kind,ownerId,scanned,created,albumId,width\n"
        "1,a.jpg,2,0,print,7,1600000000,1600000100,51,640\n"
        '2,"b,1.jpg",8,8192,print,7,1600000000,1600000200,51,800\n'
        "3,c.jpg,2,16384,reel,8,1600000000,1600000300,52,1920\n"
        "4,d.jpg,16,24576,Print,8,1600000000,1600000400,52,400\n"
        "5,e.jpg,2,8196,print,9,1600000500,1600000050,53,600\n"
        "6,f.jpg,4,8192,print,9,,1600000600,53,800\n"
        "7,g.jpg,2,0,print,7,1600000000,1600000700,54,\n"
        "8,h.jpg,8,16384,reel,7,1600000000,1600000800,54,1920\n"
        "9,i.jpg,2,0,print,8,1600000000,1600000900,55,400\n"
        "10,j.jpg,16,8192,print,8,1600000000,1600001000,55,800"
    ),
    "albums.csv": (
        "51,1600000500,Everyone,\n52,1600000600,Everyone,3\n53,,Everyone,\n54,1600000800,Friends,\n"
        "55,4100000000,Everyone,\n"
    ),
    "stickers.csv": (
        "sticker,photograph,bits\n30,1,0\n30,2,0\n30,3,0\n77,1,0\n77,4,0\n77,5,0\n150,2,0\n150,6,0\n"
        "150,7,0\n260,3,0\n260,8,0\n260,9,0\n390,10,0\n480,1,1024\n77,9,0\n"
    ),
}
ALIVE = [1, 2, 3, 4, 5, 6, 7, 8]


@pytest.fixture
def index(indexes: Indexes) -> Index:
    return indexes.load(SCHEMA, PHASES, FILES, NOW)


def test_rows_are_accounted_for(index: Index) -> None:
    photographs, stickers = index.phases
    assert (photographs.rows, photographs.applied, photographs.filtered, photographs.rejected) == (
        10,
        10,
        0,
        0,
    )
    assert (photographs.documents, photographs.deferred) == (10, 2)
    assert (stickers.rows, stickers.applied, stickers.filtered, stickers.rejected) == (15, 14, 1, 0)


def test_future_albums_are_deferred(index: Index) -> None:
    assert index.ids().tolist() == ALIVE
    assert len(index) == 8 and 8 in index and 9 not in index


def test_without_deferral_all_ten_are_alive(indexes: Indexes) -> None:
    schema = copy.deepcopy(SCHEMA)
    del schema["config"]["deferred_alive"]
    index = indexes.load(schema, PHASES, FILES, NOW)
    assert index.ids().tolist() == [*ALIVE, 9, 10]
    assert index.ids("stickers has 260").tolist() == [3, 8, 9]
    assert index.query(sort="-sortAt", limit=2).ids.tolist() == [10, 9]


def test_later_all_ten_are_alive(indexes: Indexes) -> None:
    assert indexes.load(SCHEMA, PHASES, FILES, 4_100_000_000).ids().tolist() == [*ALIVE, 9, 10]


def test_order_is_value_then_slot_both_in_the_direction(index: Index) -> None:
    assert index.query(sort="-sortAt").ids.tolist() == [8, 7, 6, 4, 3, 5, 2, 1]
    assert index.query(sort="sortAt").ids.tolist() == [1, 2, 5, 3, 4, 6, 7, 8]
    assert index.query(sort="-openedAt").ids.tolist() == [8, 7, 4, 3, 2, 1, 6, 5]
    assert index.query(sort="openedAt").ids.tolist() == [1, 2, 3, 4, 7, 8, 5, 6]
    assert index.query(sort="-stars").ids.tolist() == ALIVE[::-1]
    assert index.query().ids.tolist() == index.query(sort="-id").ids.tolist() == ALIVE[::-1]


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 7])
def test_ties_lose_nothing_at_page_edges(index: Index, limit: int) -> None:
    page, found = index.query(sort="-sortAt", limit=limit), []
    while len(page):
        assert page.total == 8
        found += page.ids.tolist()
        page = index.query(sort="-sortAt", limit=limit, after=str(page.cursor))
    assert found == [8, 7, 6, 4, 3, 5, 2, 1]


COUNTED = [
    ("stickers has 30", [1, 2, 3]),
    ("stickers has 480", []),  # its row has bit 10
    ("stickers has 260", [3, 8]),  # and 9, which is deferred
    ("stickers has 390", []),
    ("stickers has any [30, 77]", [1, 2, 3, 4, 5]),
    ("stickers has all [30, 77]", [1]),
    ("not stickers has 150", [1, 3, 4, 5, 8]),
    ("hasNotes", [2, 4, 6]),  # bit 13, and bit 2 clear
    ("not hasNotes", [1, 3, 5, 7, 8]),
    ("onSite", [3, 4, 8]),
    ("kind == 'PRINT'", [1, 2, 4, 5, 6, 7]),
    ("kind != 'print'", [3, 8]),
    ("access == 'Friends'", [7, 8]),
    ("access == 'everyone'", [1, 2, 3, 4, 5, 6]),
    ("access == 'nobody'", []),
    ("isOpen", [1, 2, 3, 4, 7, 8]),
    ("isOpen == false", [5, 6]),
    ("isOpen is null", []),
    ("isCopy is null", ALIVE),  # no phase writes it
    ("openedAt is null", [5, 6]),
    ("shownIn == 53", [5, 6]),
    ("albumId in [51, 54]", [1, 2, 7, 8]),
    ("rating >= 4 and rating <= 8", [2, 6, 8]),
    ("sortAt >= 1600000600", [3, 4, 6, 7, 8]),
    ("sortAtUnix > 1600000600", [7, 8]),
    ("sortAt between '2020-09-13T12:35:00Z' and 1600000500", [1, 2, 5]),
    ("firstAt == 1600000500", [5]),
    ("takenAt <= 1600000200", [1, 2]),
    ("id in [2, 4, 9, 11]", [2, 4]),
    ("stars == 0", ALIVE),
    ("rating == 2 or not onSite", [1, 2, 3, 5, 6, 7]),
]


@pytest.mark.parametrize(("query", "expected"), COUNTED)
def test_queries(index: Index, query: str, expected: list[int]) -> None:
    assert index.ids(query).tolist() == expected
    assert index.count(query) == len(expected)
    assert index.query(query, limit=1).total == len(expected)


def test_an_album_that_is_not_there_leaves_null_not_false(indexes: Indexes) -> None:
    files = {**FILES, "albums.csv": FILES["albums.csv"].replace("53,,Everyone,\n", "")}
    index = indexes.load(SCHEMA, PHASES, files, NOW)
    assert index.ids("isOpen is null").tolist() == [5, 6]
    assert index.ids("isOpen == false").tolist() == []
    assert index.ids("not isOpen == true").tolist() == [5, 6]
    assert "isOpen" not in index.get(5)


def test_documents(index: Index) -> None:
    assert index.get(2) == {
        "id": 2,
        "file": "b,1.jpg",
        "rating": 8,
        "kind": "print",
        "ownerId": 7,
        "albumId": 51,
        "width": 800,
        "hasNotes": True,
        "onSite": False,
        "takenAt": 1600000200,
        "openedAt": 1600000500,
        "sortAt": 1600000500,
        "firstAt": 1600000200,
        "access": "Everyone",
        "shownIn": 51,
        "isOpen": True,
        "stickers": [30, 150],
        "stars": 0,
    }
    assert index.get(4)["kind"] == "print"  # in the spelling seen first
    fifth = index.get(5)
    assert fifth["isOpen"] is False and fifth["hasNotes"] is False  # bit 2 is set
    assert "openedAt" not in fifth and fifth["sortAt"] == fifth["firstAt"] == 1600000500
    assert index.get(6)["takenAt"] == 1600000600 and "width" not in index.get(7)


def test_frame_of_a_page(index: Index) -> None:
    frame = index.query("access == 'friends'", sort="-sortAt").to_pandas(
        ["sortAt", "access", "stickers", "stars"]
    )
    assert frame["id"].tolist() == [8, 7]
    assert frame["sortAt"].tolist() == [1600000800, 1600000800]
    assert frame["access"].tolist() == ["Friends", "Friends"]
    assert [list(one) for one in frame["stickers"]] == [[260], [150]]
    assert frame["stars"].tolist() == [0, 0]


def test_labels(index: Index) -> None:
    assert index.labels("access") == {1: "Everyone", 2: "Friends"}
    assert index.labels("kind") == {1: "print", 2: "reel"}


def test_reopened(index: Index, indexes: Indexes) -> None:
    before: Any = [index.get(slot) for slot in ALIVE]
    again = indexes.reopen(index)
    assert [again.get(slot) for slot in ALIVE] == before
    assert again.query(sort="-sortAt").ids.tolist() == [8, 7, 6, 4, 3, 5, 2, 1]
    assert [run.name for run in again.phases] == ["photographs", "stickers"]
