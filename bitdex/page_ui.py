"""Cards: what a UI configuration says a document looks like.

::

    title: ...
    card:
      image:  {field, template, thumbnail_width, full_width}      {value} and {width} are filled in
      badges: [{field or fields: [...], template, position}]      top-left, top-right, bottom-left, ...
      meta:   {left: {field, prefix, format}, right: ...}         format: number, timestamp or count

The other sections (filters, sort, display, detail) belong to the web page; they are accepted and left to it.
The field ``_slot_id`` is the document's id. Values are text: escaped in a card, and quoted in an address.
"""

import datetime
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bitdex import html
from bitdex.configuration import Section, nearest, read_configuration

ROOT_KEYS = ("title", "filters", "sort", "display", "card", "detail")
CARD_KEYS = ("image", "badges", "meta")
IMAGE_KEYS = ("field", "template", "thumbnail_width", "full_width")
BADGE_KEYS = ("field", "fields", "template", "position")
META_KEYS = ("left", "right")
LINE_KEYS = ("field", "prefix", "format")
POSITIONS = ("top-left", "top-right", "bottom-left", "bottom-right")
FORMATS = ("number", "timestamp", "count")
SCHEMES = ("https://", "http://")
ID = "_slot_id"
WIDTH = 180  # pixels of a card
LONGEST_ADDRESS = 2000
_PLACE = re.compile(r"\{(\w+)\}")
_LABEL = (
    "position:absolute;padding:0 5px;font-size:75%;background:rgba(0,0,0,.6);color:#fff;border-radius:3px"
)
_CARD = f"width:{WIDTH}px;border:1px solid rgba(128,128,128,.4);border-radius:4px;overflow:hidden"
_IMAGE = f"display:block;width:{WIDTH}px;height:{WIDTH}px;object-fit:cover;background:rgba(128,128,128,.2)"


@dataclass(frozen=True, slots=True)
class Image:
    """The picture of a card: an address made of a value."""

    field: str
    template: str
    width: int


@dataclass(frozen=True, slots=True)
class Line:
    """A text on a card: values of fields in a template, or one value after a prefix in a format."""

    fields: tuple[str, ...]
    template: str
    format: str | None
    place: str


@dataclass(frozen=True, slots=True)
class Cards:
    """How documents look as cards; `Cards.load` reads it."""

    title: str
    image: Image | None
    badges: tuple[Line, ...]
    meta: tuple[Line, ...]

    @classmethod
    def load(cls, source: Any, known: Collection[str]) -> "Cards":
        """Read a UI configuration from a YAML or JSON file, or from the mapping that it holds.

        Raises
        ------
        InvalidError
            Naming the place, the value and the remedy; also for a field that is none of those known.
        NotFoundError
            If there is no such file.
        """
        content = read_configuration(source) if isinstance(source, str | Path) else source
        root = Section(content, "", ROOT_KEYS)
        card = root.section("card", CARD_KEYS)
        if card is None:
            raise root.error("card", "say what a card shows: image, badges, meta")
        image = card.section("image", IMAGE_KEYS)
        meta = card.section("meta", META_KEYS)
        sides = [] if meta is None else [(side, meta.section(side, LINE_KEYS)) for side in META_KEYS]
        return cls(
            root.text("title", "Documents"),
            None if image is None else _image(image, known),
            tuple(_badge(one, known) for one in card.sections("badges", BADGE_KEYS)),
            tuple(_line(one, side, known) for side, one in sides if one is not None),
        )

    def card(self, document: Mapping[str, Any]) -> str:
        """Return one document as HTML."""
        labels = "".join(
            f'<span style="{_LABEL};{_corner(one.place)}">{shown}</span>'
            for one in self.badges
            if (shown := _shown(one, document))
        )
        lines = "".join(f"<span>{_shown(one, document)}</span>" for one in self.meta)
        foot = f'<div style="display:flex;justify-content:space-between;padding:2px 6px">{lines}</div>'
        picture = "" if self.image is None else _picture(self.image, document)
        return f'<div style="{_CARD}"><div style="position:relative">{picture}{labels}</div>{foot}</div>'


def _image(section: Section, known: Collection[str]) -> Image:
    template = section.text("template", "{value}")
    if template != "{value}" and not template.startswith(SCHEMES):
        raise section.error("template", f"begin it with {' or '.join(SCHEMES)}")
    _check_places(section, template, ("value", "width"))
    section.whole("full_width", 1200, low=1, high=100_000)
    return Image(_field(section, known), template, section.whole("thumbnail_width", 400, low=1, high=100_000))


def _badge(section: Section, known: Collection[str]) -> Line:
    fields = section.names("fields") or (_field(section, known),)
    for name in fields:
        _check_field(section, "fields", name, known)
    template = section.text("template", " ".join(f"{{{name}}}" for name in fields))
    _check_places(section, template, fields)
    return Line(fields, template, None, section.choice("position", POSITIONS, POSITIONS[0]))


def _line(section: Section, side: str, known: Collection[str]) -> Line:
    name = _field(section, known)
    prefix = section.values.get("prefix", "")
    if not isinstance(prefix, str):
        raise section.error("prefix", "give a string")
    form = section.choice("format", FORMATS) if "format" in section.values else None
    return Line((name,), _PLACE.sub("", prefix) + f"{{{name}}}", form, side)


def _field(section: Section, known: Collection[str]) -> str:
    name = section.text("field")
    _check_field(section, "field", name, known)
    return name


def _check_field(section: Section, key: str, name: str, known: Collection[str]) -> None:
    if name != ID and name not in known:
        raise section.error(key, f"there is no field {name!r}; {nearest(name, known)}")


def _check_places(section: Section, template: str, names: Collection[str]) -> None:
    for name in _PLACE.findall(template):
        if name not in names:
            raise section.error("template", f"{{{name}}} is unknown; {nearest(name, names)}")


def _corner(position: str) -> str:
    return ";".join(f"{side}:4px" for side in position.split("-"))


def _value(document: Mapping[str, Any], name: str) -> Any:
    return document.get("id" if name == ID else name)


def _shown(line: Line, document: Mapping[str, Any]) -> str:
    """Return the text of a line as HTML; nothing where a value is missing."""
    values = {name: _value(document, name) for name in line.fields}
    if any(value is None for value in values.values()):
        return ""
    filled = _PLACE.sub(lambda place: _formatted(values.get(place[1]), line.format), line.template)
    return html.text(filled)


def _formatted(value: Any, form: str | None) -> str:
    if form == "number" and isinstance(value, int | float):
        return f"{value:,}"
    if form == "timestamp" and isinstance(value, int | float):
        return _date(value)
    if form == "count" and isinstance(value, list) and len(value) > html.ELEMENTS:
        return f"[{len(value):,} items]"
    return html.plain(value)


def _date(seconds: float) -> str:
    try:
        return f"{datetime.datetime.fromtimestamp(seconds, datetime.UTC):%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError, OSError):  # beyond the years that dates have
        return f"{seconds:,}"


def _picture(image: Image, document: Mapping[str, Any]) -> str:
    """Return the picture of a card; an empty one without a value, or with an address that is none."""
    value = _value(document, image.field)
    address = "" if value is None else _address(image, str(value))
    if not address.startswith(SCHEMES) or len(address) > LONGEST_ADDRESS:
        return f'<div style="{_IMAGE}"></div>'
    manners = 'loading="lazy" referrerpolicy="no-referrer" alt=""'
    return f'<img src="{html.escaped(address)}" style="{_IMAGE}" {manners}>'


def _address(image: Image, value: str) -> str:
    if image.template == "{value}":
        return value if value.startswith(SCHEMES) else ""
    filled = {"value": quote(value, safe="", errors="replace"), "width": str(image.width)}
    return _PLACE.sub(lambda place: filled[place[1]], image.template)
