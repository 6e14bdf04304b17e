"""What notebooks show: harmless and small whatever the values are, and right on light and dark."""

import html.parser
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

import bitdex
from bitdex import html as html_
from bitdex.errors import InvalidError, NotFoundError
from bitdex.index import Index
from bitdex.page_ui import Cards
from bitdex.query.clauses import Eq, In, Or

UI = Path(__file__).parent / "ui-config.yaml"
EVIL = {
    "script": "</td><script>alert(1)</script><img src=x onerror=alert(1)>",
    "attribute": "\" onmouseover='alert(1)' x=\"",
    "long": "x" * 100_000,
    "emoji": "👩‍👩‍👧‍👦🏳️‍🌈" * 1000,
    "right to left": "\u202eevil\u2066\u2067 \u05d0\u05d1",
    "controls": "a\x00\x1b[31m\x9b\r\nb",
    "surrogate": "\ud800",
    "entity": "&lt;b&gt;&#0;",
    "address": "javascript:alert(1)",
    "markup in brackets": "{value}{width}{0.__class__}",
}
ALLOWED = {
    "style",
    "div",
    "b",
    "span",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "bdi",
    "details",
    "summary",
    "img",
}
ATTRIBUTES = {"class", "style", "src", "loading", "referrerpolicy", "alt"}
LARGEST = 30_000  # characters of anything that is shown


class Parsed(html.parser.HTMLParser):
    """Reads HTML: its elements with their attributes, its text, and whether they nest."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, Any]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(content)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag != "img":
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1] != "style":
            self.words.append(data)


def harmless(content: str) -> Parsed:
    """Parse what is shown; fail if there is anything in it that is not ours, or too much."""
    assert len(content) < LARGEST
    content.encode()  # no half surrogates
    found = Parsed(content)
    for tag, attributes in found.elements:
        assert tag in ALLOWED and set(attributes) <= ATTRIBUTES, (tag, attributes)
        assert re.match("https?://", attributes.get("src", "https://"))
        assert not re.search(r"url\(|expression|javascript", attributes.get("style", ""))
    assert all(max(map(len, word.split("\n"))) < 3 * html_.LONGEST + 80 for word in found.words)
    for colour in re.findall(r"(?<![-\w])(?:color|background)[^;}\"]*", content):
        assert re.search(r"inherit|transparent|rgba\(|color:#fff", colour), colour
    return found


@pytest.mark.parametrize("value", EVIL.values(), ids=EVIL)
def test_a_value_is_text_and_short(value: str) -> None:
    shown = html_.text(value)
    assert len(shown) < 8 * html_.LONGEST
    assert [tag for tag, _ in Parsed(shown).elements] == ["bdi"]


@given(
    st.text() | st.lists(st.text()) | st.integers() | st.floats() | st.none() | st.booleans() | st.binary()
)
@example(["\ud800"] * 100_000)
@example(10**4000)
@example([-(10**9000)])
def test_any_value_is_text_and_short(value: Any) -> None:
    shown = html_.text(value)
    assert len(shown) < 8 * html_.LONGEST
    harmless(
        html_.panel(
            "x", html_.table(("a", "b"), [(value, [value])]), note=value if isinstance(value, str) else ""
        )
    )


@pytest.fixture
def evil(indexes) -> Index:
    """Return an index whose names, labels and documents are all hostile."""
    names = [
        f"{name}: {value[:200]}" for name, value in EVIL.items() if name not in ("surrogate", "controls")
    ]
    schema = {
        "name": "evil",
        "config": {
            "filter_fields": [{"name": name, "field_type": "single_value"} for name in names],
            "sort_fields": [{"name": "likes", "bits": 32}],
        },
        "data_schema": {
            "fields": [
                *({"source": n, "target": n, "value_type": "low_cardinality_string"} for n in names),
                {"source": "url", "target": "url", "value_type": "string", "doc_only": True},
                {"source": "likes", "target": "likes", "value_type": "integer"},
            ]
        },
    }
    index = indexes.create(schema)
    values = [value for value in EVIL.values() if value != EVIL["surrogate"]]
    index.put_many(
        [
            {
                "id": i,
                "url": values[i % len(values)],
                "likes": i,
                **dict.fromkeys(names, values[i % len(values)]),
            }
            for i in range(30)
        ]
    )
    return index


def test_everything_that_is_shown_is_harmless(evil: Index) -> None:
    name = next(iter(evil.schema.fields))
    page = evil.query(limit=30)
    plan = evil.explain(Or(tuple(Eq(one, EVIL["script"]) for one in evil.schema.fields if ":" in one)))
    shown = [evil, evil.schema, page, evil.documents.silo, evil.bitmaps.silo, plan]
    shown += [evil.where(), evil[Eq(name, EVIL["script"])] | Eq(name, EVIL["long"]), evil["likes > 99"]]
    shown += [evil.explain(In(name, tuple(EVIL.values()))), evil.query("likes > 99")]
    for one in shown:
        found = harmless(one._repr_html_())
        assert found.words
    words = harmless(page._repr_html_()).words
    assert "</td><script>alert(1)</script><img src=x onerror=alert(1)>" in words  # as text


@pytest.mark.parametrize("template", ["https://images.example/{value}/w={width}", "{value}"])
def test_cards_of_hostile_values_are_harmless(evil: Index, template: str) -> None:
    name = next(iter(evil.schema.fields))
    ui = {
        "title": EVIL["script"],
        "card": {
            "image": {"field": "url", "template": template},
            "badges": [{"field": name}, {"fields": [name, "likes"], "template": "{likes} <b>"}],
            "meta": {
                "left": {"field": "likes", "prefix": "<script>", "format": "timestamp"},
                "right": {"field": "_slot_id", "prefix": "#"},
            },
        },
    }
    found = harmless(evil.query(limit=30).cards(ui)._repr_html_())
    pictures = [attributes["src"] for tag, attributes in found.elements if tag == "img"]
    assert all("<" not in one and '"' not in one for one in pictures)
    if template == "{value}":
        assert pictures == []  # none of the values is an address


def test_a_page_shows_cards_where_the_index_has_a_configuration(images: Index) -> None:
    page = images.query(sort="-reactionCount", limit=30)
    assert "<table>" in page._repr_html_()
    images.ui = UI
    found = harmless(page._repr_html_())
    pictures = [attributes for tag, attributes in found.elements if tag == "img"]
    assert len(pictures) == 24 and "6 more" in " ".join(found.words)
    first = images.get(int(page.ids[0]))
    assert (
        pictures[0]["src"]
        == f"https://image.civitai.com/xG1nkqKTMzGDvpLrqFT7WA/{first['url']}/width=400/image.jpeg"
    )
    assert f"❤ {first['reactionCount']:,}" in found.words and f"#{first['id']}" in found.words
    assert f"{first['width']}×{first['height']}" in found.words
    assert page.cards(UI)._repr_html_() == page._repr_html_()
    images.ui = None
    assert "<table>" in page._repr_html_() and "HTML of" in repr(page.cards(UI))


def changed(path: str, value: Any) -> dict[str, Any]:
    content = yaml.safe_load(UI.read_text())
    *way, last = path.split(".")
    inner = content
    for key in way:
        inner = inner[int(key) if key.isdigit() else key]
    inner[last] = value
    return content


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("card.image.field", "urll", "card.image: field is 'urll'; there is no field 'urll'; use 'url'"),
        ("card.image.template", "javascript:{value}", "card.image: template is .*; begin it with https://"),
        ("card.image.template", "https://x/{name}", r"template is .*; \{name\} is unknown; use"),
        ("card.image.thumbnail_width", -5, "card.image: thumbnail_width is -5; give an integer from 1"),
        ("card.badges.0.position", "middle", r"card.badges\[0\]: position is 'middle'; use"),
        ("card.badges.1.fields", ["width", "hight"], "there is no field 'hight'; use 'height'"),
        ("card.badges.1.template", "{width}x{hight}", r"\{hight\} is unknown; use 'height'"),
        ("card.meta.left.format", "numbr", "card.meta.left: format is 'numbr'; use 'number'"),
        ("card.meta.left.prefix", 5, "card.meta.left: prefix is 5; give a string"),
        ("card.footer", {}, "card: unknown key 'footer'"),
        ("cards", {}, "unknown key 'cards'; use 'card'"),
        ("card", None, "card is missing; say what a card shows"),
        ("card", [1], "card: expected a mapping"),
    ],
)
def test_what_is_wrong_there_is_named(images: Index, path: str, value: Any, message: str) -> None:
    wrong = changed(path, value)
    with pytest.raises(InvalidError, match=message):
        images.ui = wrong
    assert images.ui is None
    with pytest.raises(InvalidError, match=message):
        images.query(limit=1).cards(wrong)


def test_a_configuration_that_is_not_there(images: Index) -> None:
    with pytest.raises(NotFoundError, match=r"nowhere\.yaml"):
        images.ui = "nowhere.yaml"


def test_values_of_a_card_have_formats() -> None:
    ui = {
        "card": {
            "badges": [{"field": "n"}],
            "meta": {
                "left": {"field": "n", "format": "timestamp"},
                "right": {"field": "l", "format": "count"},
            },
        }
    }
    cards = Cards.load(ui, ["n", "l"])
    found = Parsed(cards.card({"id": 1, "n": 1700000000, "l": list(range(30))}))
    assert found.words == ["1700000000", "2023-11-14 22:13", "[30 items]"]
    assert Parsed(cards.card({"id": 1, "n": 10**15})).words == ["1000000000000000", "1,000,000,000,000,000"]
    assert Parsed(cards.card({"id": 1, "l": [1, 2]})).words == ["[1, 2]"]


def test_an_index_is_a_small_panel(images: Index, site: Path) -> None:
    words = " ".join(harmless(images._repr_html_()).words)
    for part in ("Index sample", f"{len(images):,} documents", "6 phases", "reactionCount", str(site)):
        assert part in words
    assert len(images._repr_html_()) < 12_000 and len(images.schema._repr_html_()) < 8000
    images.close()
    assert "closed" in harmless(images._repr_html_()).words


def test_a_selection_is_a_small_panel(images: Index) -> None:
    chosen = images["nsfwLevel == 1 and not poi"]
    words = " ".join(harmless(chosen._repr_html_()).words)
    assert f"{len(chosen):,} documents: nsfwLevel == 1 and poi == false" in words
    assert f"{len(chosen) - 5:,} more" in words and str(chosen.ids[0]) in words
    assert len(chosen._repr_html_()) < 12_000


def test_a_silo_is_a_small_panel(silo) -> None:
    silo.put(1, b"x" * 1000)
    assert "1 keys, 1 operations pending" in " ".join(harmless(silo._repr_html_()).words)
    silo.close()
    assert "closed" in harmless(silo._repr_html_()).words


def test_a_plan_is_a_small_table(images: Index) -> None:
    plan = images.explain("nsfwLevel == 1 and not poi and sortAt > 5")
    words = harmless(plan._repr_html_()).words
    assert {"nsfwLevel == 1", "poi == 0", "sortAt >= 6", "start", "range"} <= set(words)
    assert len(plan._repr_html_()) < 4000
    many = images.explain(" and ".join(f"not tagIds has {i}" for i in range(1, 60)))
    assert "20 more" in " ".join(harmless(many._repr_html_()).words)


# -- completion ----------------------------------------------------------------------------


def test_fields_complete(images: Index) -> None:
    names = set(images.schema.fields)
    assert names <= set(dir(images.f)) and names <= set(images.f._ipython_key_completions_())
    assert names <= set(images._ipython_key_completions_())
    assert names <= set(dir(bitdex.field)) and not [one for one in dir(bitdex.field) if one[0] == "_"]
    assert images.count(images.f.nsfwLevel == 1) == images.count(bitdex.field.nsfwLevel == 1)
    assert images.count(images.f["nsfwLevel"] == 1) == images.count("nsfwLevel == 1")
    assert images.count(images.f.id >= 0) == len(images)


def test_fields_of_the_index_exist(images: Index) -> None:
    assert not hasattr(images.f, "nsfwLevl") and hasattr(images.f, "nsfwLevel")
    for wrong in (lambda: images.f.nsfwLevl, lambda: images.f["nsfwLevl"]):
        with pytest.raises(InvalidError, match="unknown field 'nsfwLevl' in index 'sample'; use 'nsfwLevel'"):
            wrong()
