"""Sets: the selections that an index keeps by name."""

from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Any

from bitdex.analysis import overlap
from bitdex.errors import InvalidError, NotFoundError
from bitdex.formats import bitmap as format_
from bitdex.live.saved import SavedSets
from bitdex.query.given import Given
from bitdex.selection import Selection

if TYPE_CHECKING:
    import pandas as pd

    from bitdex.index import Index

LONGEST = 200  # characters of a name


class Sets(MutableMapping[str, Selection]):
    """Saved sets by name; ``index.sets`` is one.

    Setting or deleting one is a commit, or part of the `batch` that this thread is in. What is saved are the
    ids of that moment: a set does not follow its query. It shows those of which there are documents: one that
    is deleted is in it again when it is put again.

    Examples
    --------
    >>> import tempfile, bitdex
    >>> index = bitdex.create(tempfile.mkdtemp(), {"name": "shop"})
    >>> index.put_many([{"id": 1}, {"id": 2}])
    2
    >>> index.sets["first"] = [1]
    >>> index.sets["first"].ids.tolist(), list(index.sets)
    ([1], ['first'])
    >>> index.close()
    """

    def __init__(self, index: "Index"):
        self._index = index

    def __getitem__(self, name: str) -> Selection:
        snapshot = self._index.snapshot
        numbers = SavedSets(snapshot.documents.source).numbers()
        if name not in numbers:
            known = ", ".join(map(repr, numbers)) or "none"
            raise NotFoundError(f"there is no set {name!r}; saved are {known}")
        slots = snapshot.bitmaps.get(format_.set_key(numbers[name]))
        return Selection(self._index, snapshot, Given(slots, f"sets[{name!r}]"))

    def __setitem__(self, name: str, documents: Any) -> None:
        if not isinstance(name, str) or not name.strip() or len(name) > LONGEST:
            raise InvalidError(f"{name!r:.80} is no name of a set; give a text of 1 to {LONGEST} characters")
        found = self._index.where(documents)
        if found._owner is not self._index:
            raise InvalidError(f"sets[{name!r}]: the selection is of another index; give its ids: other.ids")
        with self._index._changing() as batch:
            batch.save_set(name, found._found)

    def __delitem__(self, name: str) -> None:
        with self._index._changing() as batch:
            if name not in self:
                self[name]  # which says what there is
            batch.save_set(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(SavedSets(self._index.snapshot.documents.source).numbers())

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return name in list(iter(self))

    def _ipython_key_completions_(self) -> list[str]:
        return list(self)

    def overlap(self) -> "pd.DataFrame":
        """Return how many documents each two of the sets have in common (`bitdex.overlap`)."""
        return overlap.overlap(self)

    def jaccard(self) -> "pd.DataFrame":
        """Return how alike each two of the sets are (`bitdex.jaccard`)."""
        return overlap.jaccard(self)

    def __repr__(self) -> str:
        held = ", ".join(f"{name!r}: {len(one):,}" for name, one in self.items())
        return f"<Sets {{{held}}}>"
