"""``lost.json``: the fields of which a repair has lost bitmaps, until they are made anew (`formats.sealed`).

It is there only while there are such fields, and names them by their numbers. A repair writes it before it
takes a bitmap out, `Index.rebuild` takes a field out of it after the commit that has all bitmaps again.
"""

from collections.abc import Collection
from pathlib import Path

from bitdex import filesystem
from bitdex.errors import CorruptError
from bitdex.formats import sealed

NAME = "lost.json"


def read(directory: Path) -> list[int]:
    """Return the numbers of the fields, ascending, or refuse the file."""
    path = directory / NAME
    if not filesystem.exists(path):
        return []
    fields = sealed.decode(filesystem.read(path), str(path)).get("fields")
    if not isinstance(fields, list) or not all(isinstance(one, int) for one in fields):
        raise CorruptError.at(path, 0, f"expected the numbers of fields, found {fields!r:.80}")
    return sorted(fields)


def write(directory: Path, fields: Collection[int]) -> None:
    """Write the numbers of the fields; the file goes if there are none."""
    if fields:
        filesystem.write_whole(directory / NAME, sealed.encode({"fields": sorted(fields)}))
    elif filesystem.exists(directory / NAME):
        filesystem.remove(directory / NAME)
        filesystem.sync_directory(directory)
