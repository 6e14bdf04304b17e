"""What every peer can do. Preparing is not timed; what preparing returns is timed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pandas as pd

from asv_benchmarks.peers.questions import Clause

THREADS = 2
# The fields of a document; the lists that serve filters only are not among them.
FLAGS = ["hasMeta", "onSite", "minor", "poi", "isPublished"]
NUMBERS = ["id", "nsfwLevel", "userId", "postId", "postedToId", "width", "height", "reactionCount"]
NUMBERS += ["commentCount", "collectedCount", "existedAt", "publishedAt", "sortAt"]
TEXTS = ["type", "baseModel", "availability", "blockedFor", "url", "hash"]
FIELDS = NUMBERS + FLAGS + TEXTS + ["tagIds", "modelVersionIds"]
# What is indexed, beside the list fields.
FILTERS = ["nsfwLevel", "userId", "type", "baseModel", "availability", "postId", "postedToId", "blockedFor"]
FILTERS += FLAGS
SORTS = ["reactionCount", "sortAt", "commentCount", "collectedCount", "existedAt", "publishedAt", "id"]


class Page(NamedTuple):
    """Ids in order, and where the next page begins: whatever the peer needs for that."""

    ids: list[int]
    cursor: Any


class Peer(Protocol):
    """One way to keep and ask the sample."""

    def load(self, source: Path, store: Path) -> None:
        """Build a store from the sample's files."""

    def open(self, store: Path) -> None:
        """Open a store that was built before, and touch its memory."""

    def count(self, where: Clause) -> Callable[[], int]:
        """Prepare a count."""

    def page(self, where: Clause, sort: str, limit: int, after: Any = None) -> Callable[[], Page]:
        """Prepare a page."""

    def page_documents(self, where: Clause, sort: str, limit: int) -> Callable[[], list[dict[str, Any]]]:
        """Prepare a page that comes with its documents."""

    def frame(self, ids: tuple[int, ...] | None) -> Callable[[], pd.DataFrame]:
        """Prepare documents as a DataFrame, with lists in the form that costs the peer least."""

    def document(self, id: int) -> Callable[[], dict[str, Any]]:
        """Prepare one document."""
