"""Questions to an open index: what they cost when everything they read is decoded."""

import bitdex
from bitdex.query.text import parse

from . import RARE_TAG, TAG, Loaded

f = bitdex.field


class Prepared(Loaded):
    """Asks the scenario's question once before the clock starts."""

    where: object = None
    sort: str | None = None

    def setup(self, path: str) -> None:
        super().setup(path)
        self.page = self.index.query(self.where, self.sort, limit=50, cache=False)
        self.next = self.page.next()


class LookupOfOneBitmap(Prepared):
    where = f.tagIds.has(TAG)

    def time_count(self, path: str) -> int:
        return self.index.count(self.where, cache=False)


class IntersectionOfDenseBitmaps(Prepared):
    where = f.tagIds.has(TAG) & (f.nsfwLevel == 1) & f.hasMeta

    def time_count(self, path: str) -> int:
        return self.index.count(self.where, cache=False)


class UnionOfManyBitmaps(Prepared):
    where = f.userId.isin(range(1, 500))

    def time_count(self, path: str) -> int:
        return self.index.count(self.where, cache=False)


class RangeOverEveryValue(Prepared):
    where = f.sortAt.between("2023-01-01", "2024-01-01")

    def time_count(self, path: str) -> int:
        return self.index.count(self.where, cache=False)


class RangeOverFewDocuments(Prepared):
    where = f.tagIds.has(RARE_TAG) & (f.sortAt >= "2023-01-01")

    def time_count(self, path: str) -> int:
        return self.index.count(self.where, cache=False)


class TopOfEverything(Prepared):
    sort = "-reactionCount"

    def time_page(self, path: str) -> int:
        return self.index.query(None, self.sort, limit=50, cache=False).ids[-1]


class TopOfDenseFilter(Prepared):
    where = f.tagIds.has(TAG)
    sort = "-sortAt"

    def time_page(self, path: str) -> int:
        return self.index.query(self.where, self.sort, limit=50, cache=False).ids[-1]

    def time_next_page(self, path: str) -> int:
        return self.page.next().ids[-1]


class TopOfSparseFilter(Prepared):
    where = f.tagIds.has(RARE_TAG)
    sort = "-sortAt"

    def time_page(self, path: str) -> int:
        return self.index.query(self.where, self.sort, limit=50, cache=False).ids[-1]


class TopOfManyTies(Prepared):
    where = f.nsfwLevel == 1
    sort = "commentCount"  # zero for nine images of ten

    def time_page(self, path: str) -> int:
        return self.index.query(self.where, self.sort, limit=50, cache=False).ids[-1]


class OffsetOfManyRows(Prepared):
    sort = "-sortAt"

    def time_page(self, path: str) -> int:
        return self.index.query(None, self.sort, limit=50, offset=20_000, cache=False).ids[-1]


def is_landscape(width: int, height: int) -> bool:
    return 2 * width > 3 * height


def is_liked(reactions: int, comments: int) -> bool:
    return reactions > 20 * comments and reactions < 1000


class FunctionOfColumns(Prepared):
    """A compiled function of two sort fields, whose values lie by slot."""

    def setup(self, path: str) -> None:
        super().setup(path)
        self.everything, self.tagged = self.index.where(), self.index[f.tagIds.has(TAG)]
        self.time_everything(path), self.time_tagged(path)  # compiles

    def time_everything(self, path: str) -> int:
        return len(self.everything.where_jit(is_liked, "reactionCount", "commentCount").ids)

    def time_tagged(self, path: str) -> int:
        return len(self.tagged.where_jit(is_liked, "reactionCount", "commentCount").ids)


class FunctionOfDocuments(Prepared):
    """A compiled function of fields that only the documents hold."""

    def setup(self, path: str) -> None:
        super().setup(path)
        self.tagged = self.index[f.tagIds.has(RARE_TAG)]
        self.time_tagged(path)  # compiles

    def time_tagged(self, path: str) -> int:
        return len(self.tagged.where_jit(is_landscape, "width", "height").ids)


class ParsingOfText:
    text = "tagIds has 304 and nsfwLevel in [1, 2] and not poi and sortAt >= '2024-01-01'"

    def time_parse(self) -> str:
        return str(parse(self.text))


class Memory(Prepared):
    where = f.tagIds.has(TAG)
    sort = "-sortAt"

    def peakmem_reference(self, path: str) -> None:
        """The memory of everything but the question."""

    def peakmem_all_sort_columns(self, path: str) -> int:
        return sum(self.index.query(None, one.name).total for one in self.index.schema.sort_fields)
