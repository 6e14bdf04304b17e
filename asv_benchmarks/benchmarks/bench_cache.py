"""Answers that are kept: what one costs that is there, that is not, and without a cache."""

import bitdex

from . import TAG, Loaded

f = bitdex.field


class Answering(Loaded):
    """Asks a question that takes several bitmaps and a sort; everything it reads is decoded."""

    where = f.tagIds.has(TAG) & f.nsfwLevel.isin([1, 2]) & ~f.poi & (f.sortAt >= "2023-01-01")
    sort = "-reactionCount"

    def setup(self, path: str) -> None:
        super().setup(path)
        for limit in (51, 50):
            self.index.query(self.where, self.sort, limit=limit)
            self.index.query(self.where, self.sort, limit=50, cache=False)
            self.index.count(self.where)

    def page(self, **options: bool) -> int:
        return self.index.query(self.where, self.sort, limit=50, **options).ids[-1]


class AnswerThatIsKept(Answering):
    def time_page(self, path: str) -> int:
        return self.page()

    def time_count(self, path: str) -> int:
        return self.index.count(self.where)


class AnswerToManyValuesThatIsKept(Answering):
    where = f.userId.isin(range(1, 500))

    def time_page(self, path: str) -> int:
        return self.page()


class AnswerThatIsNotKept(Answering):
    def time_page(self, path: str) -> int:
        self.index._answers.cache.clear()
        return self.page()


class AnswerWithoutCache(Answering):
    def time_page(self, path: str) -> int:
        return self.page(cache=False)

    def time_count(self, path: str) -> int:
        return self.index.count(self.where, cache=False)
