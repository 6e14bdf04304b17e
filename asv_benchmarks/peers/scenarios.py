"""What is asked: scenarios of many questions each, their constants drawn from the data."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from asv_benchmarks.peers.datasets import Facts
from asv_benchmarks.peers.questions import (
    AtLeast,
    Clause,
    Count,
    DocumentOf,
    DocumentsOf,
    Equal,
    Every,
    HasAny,
    OneOf,
    PageOf,
    Question,
    Without,
)
from bitdex.sample_site import BASE_MODELS, NSFW_LEVELS, TYPES

SEED = 7
MANY, WHOLE_RUNS, MANY_RUNS = 10_000, 3, 20
LEVELS = [int(level) for level in NSFW_LEVELS]


@dataclass(frozen=True)
class Scenario:
    """A row of a table: its section (a word of --only), its label, its questions."""

    section: str
    label: str
    questions: Sequence[Question]


class Draw:
    """Clauses with random constants."""

    def __init__(self, facts: Facts) -> None:
        self._facts, self._random = facts, np.random.default_rng(SEED)

    def some(self, values: np.ndarray | list, count: int) -> tuple:
        """Draw distinct values."""
        found: dict = {}
        while len(found) < min(count, len(values)):
            found[values[self._random.integers(len(values))]] = None
        return tuple(value.item() if isinstance(value, np.generic) else value for value in found)

    def dense(self) -> Clause:
        return Equal("nsfwLevel", *self.some(LEVELS, 1))

    def user(self) -> Clause:
        return Equal("userId", *self.some(self._facts.users, 1))

    def five_levels(self) -> Clause:
        return OneOf("nsfwLevel", self.some(LEVELS, 5))

    def users(self) -> Clause:
        return OneOf("userId", self.some(np.unique(self._facts.users), 20))

    def posts(self) -> Clause:
        return OneOf("postId", self.some(np.unique(self._facts.posts), 20))

    def tag(self) -> Clause:
        return HasAny("tagIds", self.some(self._facts.tags, 1))

    def two_tags(self) -> Clause:
        first, second = self.some(self._facts.tags, 2)
        return Every((HasAny("tagIds", (first,)), HasAny("tagIds", (second,))))

    def tag_but_not_tag(self) -> Clause:
        first, second = self.some(self._facts.tags, 2)
        levels = OneOf("nsfwLevel", self.some(LEVELS, 3))
        return Every((HasAny("tagIds", (first,)), Without(HasAny("tagIds", (second,))), levels))

    def five_tags(self) -> Clause:
        return HasAny("tagIds", self.some(self._facts.tags, 5))

    def since(self) -> Clause:
        return AtLeast("sortAt", *self.some(self._facts.dates, 1))

    def five_filters(self) -> Clause:
        kind, models = Equal("type", TYPES[0]), OneOf("baseModel", self.some(BASE_MODELS, 6))
        return Every((self.dense(), kind, Equal("hasMeta", True), models, self.tag()))

    def many_ids(self) -> tuple[int, ...]:
        count = min(MANY, len(self._facts.ids))
        return tuple(self._random.choice(self._facts.ids, count, replace=False).tolist())

    def id(self) -> int:
        return self.some(self._facts.ids, 1)[0]


def scenarios(facts: Facts, runs: int) -> list[Scenario]:
    """Return all scenarios; equal facts and runs give equal questions."""
    draw = Draw(facts)
    counted: dict[str, Callable[[], Clause]] = {
        "nsfwLevel ==": draw.dense,
        "userId ==": draw.user,
        "tag": draw.tag,
        "nsfwLevel in 5": draw.five_levels,
        "userId in 20": draw.users,
        "postId in 20": draw.posts,
        "tag and tag": draw.two_tags,
        "tag and not tag and nsfwLevel in 3": draw.tag_but_not_tag,
        "one of 5 tags": draw.five_tags,
        "sortAt >=": draw.since,
        "five filters": draw.five_filters,
    }
    best = "reactionCount"
    paged: dict[str, Callable[[int], PageOf]] = {
        "20 under nsfwLevel, by reactionCount": lambda run: PageOf(draw.dense(), best, 20),
        "20 under nsfwLevel, by sortAt": lambda run: PageOf(draw.dense(), "sortAt", 20),
        "20 under a tag, by reactionCount": lambda run: PageOf(draw.tag(), best, 20),
        "100 under a tag, by reactionCount": lambda run: PageOf(draw.tag(), best, 100),
        "page 2 to 10 of 50 under nsfwLevel": lambda run: PageOf(draw.dense(), best, 50, 1 + run % 9),
        "page 2 to 10 of 50 under a tag": lambda run: PageOf(draw.tag(), best, 50, 1 + run % 9),
        "20 under a tag, with documents": lambda run: PageOf(draw.tag(), best, 20, documents=True),
    }
    count, many, every = len(facts.ids), min(MANY, len(facts.ids)), range(runs)
    whole = [DocumentsOf(None)] * WHOLE_RUNS
    random = [DocumentsOf(draw.many_ids()) for _ in range(MANY_RUNS)]
    return [
        *(Scenario("counts", label, [Count(make()) for _ in every]) for label, make in counted.items()),
        *(Scenario("pages", label, [page(run) for run in every]) for label, page in paged.items()),
        Scenario("documents", f"all {count:,} to pandas", whole),
        Scenario("documents", f"{many:,} random to pandas", random),
        Scenario("documents", "one", [DocumentOf(draw.id()) for _ in every]),
    ]
