"""``lost.json``: what bitmaps a repair has lost, until they are made anew (`formats.sealed`).

It is there only while there is something, and names fields by their numbers, and the bitmaps that say which
documents there are by their kind. A repair writes it before it takes a bitmap out; whoever makes all bitmaps
of a field again, or says again which documents there are, takes that out of it after the commit.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from bitdex import filesystem
from bitdex.errors import CorruptError
from bitdex.formats import sealed

NAME = "lost.json"
STATES = {"alive": "visible documents", "deferred": "documents that wait", "hidden": "slots of no document"}


class Lost(NamedTuple):
    """The numbers of fields that lack bitmaps, and the kinds of the bitmaps of `STATES` that are lost."""

    fields: frozenset[int]
    states: frozenset[str]

    def more(self, fields: Iterable[int], states: Iterable[str]) -> "Lost":
        """Return what is lost with these, too."""
        return Lost(self.fields.union(fields), self.states.union(states))


NONE = Lost(frozenset(), frozenset())


def read(directory: Path) -> Lost:
    """Return what is lost, or refuse the file."""
    path = directory / NAME
    if not filesystem.exists(path):
        return NONE
    content = sealed.decode(filesystem.read(path), str(path))
    fields, states = content.get("fields"), content.get("states")
    if not isinstance(fields, list) or not all(isinstance(one, int) for one in fields):
        raise CorruptError.at(path, 0, f"expected the numbers of fields, found {fields!r:.80}")
    if not isinstance(states, list) or not all(one in STATES for one in states):
        raise CorruptError.at(path, 0, f"expected kinds of bitmaps, found {states!r:.80}")
    return Lost(frozenset(fields), frozenset(states))


def write(directory: Path, lost: Lost) -> None:
    """Write what is lost; the file goes if that is nothing."""
    if lost != NONE:
        content = {"fields": sorted(lost.fields), "states": sorted(lost.states)}
        filesystem.write_whole(directory / NAME, sealed.encode(content))
    elif filesystem.exists(directory / NAME):
        filesystem.remove(directory / NAME)
        filesystem.sync_directory(directory)
