"""BitDex: a selection for every question, as a user makes it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import bitdex
from asv_benchmarks.analysis import questions as q


class BitdexSide:
    """An open index."""

    def __init__(self, stores: Path, asked: list[str]):
        bitdex.warmup()
        self.index = bitdex.open(stores / "bitdex", mode="r")

    def ways(self, question: str, name: str) -> dict[str, Callable[[], Any]]:
        """Return the ways to answer; each makes its selection anew."""
        index, where = self.index, q.FILTERS[name][0]
        edges = list(range(0, (q.STEPS + 1) * q.STEP, q.STEP))
        asks: dict[str, Callable[[], Any]] = {
            q.FACETS: lambda: index.where(where).facets("baseModel"),
            q.TOOLS: lambda: index.where(where).facets("toolIds"),
            q.CROSSTAB: lambda: index.where(where).crosstab("nsfwLevel", "type"),
            q.DATES: lambda: index.where(where).histogram("sortAt", "1D"),
            q.REACTIONS: lambda: index.where(where).histogram("reactionCount", edges),
            q.MEDIAN: lambda: index.where(where).quantile("sortAt"),
            q.QUANTILE: lambda: index.where(where).quantile("reactionCount", 0.9),
            q.TAGS: lambda: index.where(where).facets("tagIds", top=q.TOP),
            q.GROUPS: lambda: index.where(where).groupby("userId").sum("reactionCount"),
        }
        return {"bitdex": asks[question]}

    def answer(self, question: str, result: Any) -> Any:
        """Return a result in the form in which answers are compared."""
        if question == q.CROSSTAB:
            return q.counted(
                ((row, column), n) for row, part in result.iterrows() for column, n in part.items()
            )
        if question == q.REACTIONS:
            return q.counted((int(bin.left) // q.STEP, n) for bin, n in result.items())
        if question == q.DATES:
            return q.counted((int(day.timestamp()) // q.DAY, n) for day, n in result.items())
        if question in (q.MEDIAN, q.QUANTILE):
            return q.number(result)
        return q.greatest(result.items()) if question == q.TAGS else q.counted(result.items())

    def limits(self) -> dict[str, tuple[float, Callable[[], Any]]]:
        """Return what has a limit of its own, in seconds."""
        index = self.index
        sets, half = (index["hasMeta"], index["onSite"]), index["not minor"]
        for one in (*sets, half):
            len(one.bitmap)
        million = half.head(1_000_000, fields=[])["id"].to_numpy()
        hits, some = index.where(million), index.where(million[:100_000])
        spread = index["minor"].ids
        spread = index.where(spread[:100_000])
        assert all(map(len, (hits.ids, some.ids, spread.ids)))  # found before the clock starts
        return {
            "len(sel & other)": (200e-6, lambda: len(sets[0] & sets[1])),
            "sel & other": (200e-6, lambda: sets[0] & sets[1]),
            f"ids of {len(hits):,} hits": (3e-3, lambda: hits.ids),
            f"{len(some):,} documents in a row to pandas": (120e-3, some.to_pandas),
            f"{len(spread):,} documents here and there to pandas": (120e-3, spread.to_pandas),
        }
