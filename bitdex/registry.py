"""The field registry of an index: name -> number, durable before its first use."""

from collections.abc import Collection
from pathlib import Path

from bitdex import filesystem
from bitdex.errors import CorruptError, InvalidError, NotFoundError
from bitdex.formats import registry as format_


class FieldRegistry:
    """Numbers of field names; written by the index's writer, read by anyone.

    Fields that were dropped are not known: whoever uses their name again gets another number. The file
    only grows, and may hold the number that comes after a drop which does not count yet: of several
    entries of one name the first that was not dropped is taken.
    """

    def __init__(self, path: Path, identity: int, dropped: Collection[int] = ()):
        self._path, self.dropped = path, frozenset(dropped)
        self.identity = identity
        if not filesystem.exists(path):
            raise CorruptError.at(path, 0, "expected the names of fields, found no file")
        self._entries = format_.decode(filesystem.read(path), identity, str(path))
        known = [e for e in self._entries if not e.dropped and e.field not in self.dropped]
        self._numbers = {e.name: e.field for e in reversed(known)}
        self._names = {e.field: e.name for e in known}

    @staticmethod
    def create(path: Path, identity: int) -> None:
        """Write a registry without fields."""
        filesystem.write_whole(path, format_.encode([], identity))

    def __contains__(self, name: str) -> bool:
        return name in self._numbers

    def number(self, name: str) -> int:
        """Return the number of a field."""
        try:
            return self._numbers[name]
        except KeyError:
            raise NotFoundError(f"field {name!r} is not in the registry {self._path}") from None

    def name(self, number: int) -> str | None:
        """Return the name of a number, or None where the field was dropped or never known."""
        return self._names.get(number)

    def names_of(self, numbers: Collection[int]) -> set[str]:
        """Return the names under which numbers were given, those of dropped fields too."""
        return {entry.name for entry in self._entries if entry.field in numbers}

    def gives_same(self, other: "FieldRegistry") -> bool:
        """Tell whether another one gives the same numbers."""
        return (self._entries, self.dropped) == (other._entries, other.dropped)

    def without(self, number: int) -> "FieldRegistry":
        """Return the registry in which a field is dropped."""
        return FieldRegistry(self._path, self.identity, self.dropped | {number})

    def ensure(self, names: list[str]) -> None:
        """Give every name a number; the file is on disk when this returns."""
        new = [name for name in dict.fromkeys(names) if name not in self._numbers]
        if not new:
            return
        first = max((e.field for e in self._entries), default=0) + 1
        if first + len(new) - 1 > format_.MAX_FIELD:
            raise InvalidError(
                f"field {new[0]!r}: at most {format_.MAX_FIELD} fields in the life of an index"
            )
        entries = [format_.Entry(first + i, name) for i, name in enumerate(new)]
        content = format_.encode([*self._entries, *entries], self.identity)
        filesystem.write_whole(self._path, content)
        self._entries += entries
        self._numbers |= {e.name: e.field for e in entries}
        self._names |= {e.field: e.name for e in entries}
