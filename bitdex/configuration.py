"""Configuration as data: a YAML or JSON file becomes mappings whose every key must be known.

A `Section` is one mapping together with the place where it stands (``config.sort_fields[2] 'sortAt'``).
It refuses keys nobody reads, with the nearest accepted one, and hands out values
of the type that was asked for, so that a misspelt or mistyped setting is an error that names
its place, its value and the remedy. A key whose value is null counts as not written.
"""

import difflib
import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from bitdex import filesystem
from bitdex.errors import InvalidError, NotFoundError

ACCEPTED_SUFFIXES = (".yaml", ".yml", ".json")
LARGEST = 2**63 - 1


def read_configuration(path: str | Path) -> Any:
    """Read a YAML or JSON file; a key written twice in one mapping is an error."""
    path = Path(path)
    if path.suffix not in ACCEPTED_SUFFIXES:
        raise InvalidError(f"{path}: not a configuration file; use {', '.join(ACCEPTED_SUFFIXES)}")
    if not filesystem.exists(path):
        raise NotFoundError(f"{path}: no such configuration file; check the path")
    try:
        text = filesystem.read(path).decode("utf-8")
        if path.suffix == ".json":
            return json.loads(text, object_pairs_hook=_distinct)
        return yaml.load(text, Loader=_DistinctLoader)  # a SafeLoader: plain data only
    except (yaml.YAMLError, ValueError) as error:
        raise InvalidError(f"{path}: cannot be read: {error}; correct the file") from error


def nearest(name: object, accepted: Iterable[str]) -> str:
    """Return the part of a message that tells which accepted names come closest."""
    known = sorted(map(str, accepted))
    close = difflib.get_close_matches(str(name), known, n=3) or known[:20]
    return "use " + " or ".join(repr(one) for one in close) if close else "none is accepted here"


class Section:
    """One mapping of a configuration, where it stands, and the keys it may have."""

    def __init__(self, value: object, where: str, accepted: Collection[str]) -> None:
        self.where = where
        name = where or "configuration"
        if not isinstance(value, Mapping):
            raise InvalidError(f"{name}: expected a mapping, found {value!r}; write 'key: value' lines")
        for key in value:
            if key not in accepted:
                raise InvalidError(f"{name}: unknown key {key!r}; {nearest(key, accepted)}")
        self.values = {key: one for key, one in value.items() if one is not None}

    def error(self, key: str, remedy: str) -> InvalidError:
        """Build the error for a key's value, for the caller to raise."""
        problem = f"{key} is {self.values[key]!r}" if key in self.values else f"{key} is missing"
        return InvalidError(f"{self.where or 'configuration'}: {problem}; {remedy}")

    def text(self, key: str, default: str | None = None) -> str:
        """Return a non-empty string; without a default the key is required."""
        value = self.values.get(key, default)
        if not isinstance(value, str) or not value.strip():
            raise self.error(key, "give a non-empty string, in quotes if YAML takes it for something else")
        return value

    def optional_text(self, key: str) -> str | None:
        """Return a non-empty string, or None if the key is absent."""
        return self.text(key) if key in self.values else None

    def choice(self, key: str, options: Collection[str], default: str | None = None) -> str:
        """Return one of the strings in `options`."""
        value = self.values.get(key, default)
        if not isinstance(value, str) or value not in options:
            raise self.error(key, nearest(value, options))
        return value

    def whole(self, key: str, default: int | None = None, low: int = 0, high: int = LARGEST) -> int:
        """Return an integer between `low` and `high`."""
        value = self.values.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self.error(key, f"give an integer from {low} to {'2^63-1' if high == LARGEST else high}")
        return value

    def fraction(self, key: str) -> float:
        """Return a number above 0 and at most 1."""
        value = self.values.get(key)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= 1:
            raise self.error(key, "give a number above 0 and at most 1")
        return float(value)

    def flag(self, key: str, default: bool = False) -> bool:
        """Return true or false."""
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            raise self.error(key, "give true or false")
        return value

    def items(self, key: str) -> list[Any]:
        """Return a list; empty if the key is absent."""
        value = self.values.get(key, [])
        if not isinstance(value, list | tuple):
            raise self.error(key, "give a list")
        return list(value)

    def names(self, key: str) -> tuple[str, ...]:
        """Return a list of distinct, non-empty strings; empty if the key is absent."""
        values = self.items(key)
        for value in values:
            if not isinstance(value, str) or not value.strip():
                raise self.error(key, f"{value!r} is no name; give non-empty strings")
            if values.count(value) > 1:
                raise self.error(key, f"{value!r} stands there twice; name it once")
        return tuple(values)

    def section(self, key: str, accepted: Collection[str]) -> "Section | None":
        """Return the mapping under a key, or None if the key is absent."""
        if key not in self.values:
            return None
        return Section(self.values[key], self.place(key), accepted)

    def sections(self, key: str, accepted: Collection[str]) -> list["Section"]:
        """Return the list of mappings under a key; empty if the key is absent."""
        return [
            Section(value, f"{self.place(key)}[{number}]{_title(value)}", accepted)
            for number, value in enumerate(self.items(key))
        ]

    def place(self, key: str) -> str:
        """Return the place of a key of this section."""
        return f"{self.where}.{key}" if self.where else key


def _title(value: object) -> str:
    """Return what a list's mapping calls itself, so that nobody has to count."""
    if not isinstance(value, Mapping):
        return ""
    own = value.get("name") or value.get("target") or value.get("lookup")
    return f" {own!r}" if own else ""


def _distinct(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    result: dict[Any, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"key {key!r} is written twice in one mapping")
        result[key] = value
    return result


class _DistinctLoader(yaml.SafeLoader):
    """PyYAML's safe loader, which would let the second of two equal keys win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key in [one for one, _ in node.value if isinstance(one, yaml.ScalarNode)]:
            if key.value in seen:
                problem = f"key {key.value!r} is written twice in one mapping"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)
