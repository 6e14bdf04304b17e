"""Analysis of a set: counts, tables and numbers, when what they need of the fields is prepared."""

from typing import Any

import numpy as np

import bitdex

from . import RARE_TAG, TAG, Loaded

f = bitdex.field


class Asked(Loaded):
    """Asks the scenario's question five times before the clock starts, of a selection made anew."""

    where: object = f.hasMeta & ~f.onSite  # every second image

    def setup(self, path: str) -> None:
        super().setup(path)
        for _ in range(5):
            self.answer()

    def answer(self) -> Any:
        raise NotImplementedError

    def time_answer(self, path: str) -> Any:
        return self.answer()


class FacetsOfFewValues(Asked):
    def answer(self) -> Any:
        return self.index.where(self.where).facets("baseModel")


class FacetsOfFewValuesUnderSparseFilter(FacetsOfFewValues):
    where = f.tagIds.has(RARE_TAG)


class FacetsOfLists(Asked):
    def answer(self) -> Any:
        return self.index.where(self.where).facets("tagIds", top=50)


class FacetsOfListsUnderSparseFilter(FacetsOfLists):
    where = f.tagIds.has(RARE_TAG)


class TableOfTwoFields(Asked):
    def answer(self) -> Any:
        return self.index.where(self.where).crosstab("nsfwLevel", "type")


class HistogramByDay(Asked):
    def answer(self) -> Any:
        return self.index.where(self.where).histogram("sortAt", "1D")


class HistogramOfLongTail(Asked):
    def answer(self) -> Any:
        return self.index.where(self.where).histogram("reactionCount", list(range(0, 51_001, 1000)))


class Median(Asked):
    def answer(self) -> Any:
        return self.index.where(self.where).quantile("sortAt")


class SumsOfManyGroups(Asked):
    def answer(self) -> Any:
        return self.index.where(self.where).groupby("userId").sum("reactionCount")


class SetAlgebra(Loaded):
    def setup(self, path: str) -> None:
        super().setup(path)
        self.one, self.other = self.index[f.tagIds.has(TAG)], self.index[f.hasMeta]
        assert len(self.one.ids) and len(self.other.ids)

    def time_len_of_both(self, path: str) -> int:
        return len(self.one & self.other)

    def time_ids(self, path: str) -> np.ndarray:
        return self.other.ids

    def time_to_pandas(self, path: str) -> int:
        return len(self.one.to_pandas())


class LayingOutOfLists(Loaded):
    """What is made when a list field is asked for again."""

    number, warmup_time = 1, 0

    def setup(self, path: str) -> None:
        super().setup(path)
        self.index.where().facets("tagIds")

    def time_second_facets(self, path: str) -> Any:
        return self.index.where().facets("tagIds", top=50)
