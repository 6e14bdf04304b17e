"""The image site that the sample is drawn from: its vocabularies, and its images block by block.

What is realistic, because an index feels it: ids increase with gaps and a few long holes; an
image belongs to a post of consecutive images, a post to one user and one topic; tags follow the
topic, so two tags of one image meet more often than by chance; tags, users and models are
Zipf-Mandelbrot, 1/(rank + q), with ids that say nothing about popularity; dates follow ids with
jitter, some publications come months later and a few after `END`; counts have a 1/k^2 tail.
"""

from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from bitdex.sample_draws import Choice, Draws, labels, strings, zipf

Column: TypeAlias = np.ndarray | pa.Array

START, END = 1_640_995_200, 1_735_689_600  # 2022-01-01, 2025-01-01
HOUR, DAY = 3_600, 86_400
BLOCK = 65_536
TAGS, TOPICS, TOPIC_TAGS = 30_000, 300, 200
DISABLED_TAG = 1 << 10
TYPES = ["image", "video", "audio"]
AVAILABILITIES = ["Public", "Private", "Unsearchable"]
BLOCKED_FOR = ["moderated", "tos", "AiNotVerified"]
BASE_MODELS = ["SD 1.5", "SDXL 1.0", "Pony", "Illustrious", "Flux.1 D", "NoobAI", "SD 1.4", "SDXL Lightning"]
BASE_MODELS += ["SD 2.1", "SD 1.5 LCM", "SDXL Turbo", "Flux.1 S", "Hunyuan Video", "Wan Video", "SD 3.5"]
BASE_MODELS += ["SDXL 0.9", "SD 3", "SDXL Hyper", "Kolors", "SVD", "Lumina", "AuraFlow", "Other"]
MODEL_TYPES = ["LORA", "Checkpoint", "TextualInversion", "LoCon", "Controlnet", "Other"]
NSFW_LEVELS = np.array([1, 2, 4, 8, 16, 32])
SIZES = np.array([(832, 1216), (1024, 1024), (512, 768), (1216, 832), (768, 1152), (1024, 1536), (512, 512)])
HEXADECIMAL = np.frombuffer(b"0123456789abcdef", np.uint8)
LETTERS = np.frombuffer(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-", np.uint8)


class Site:
    """What all blocks share: the vocabularies, their popularity, and the catalogue of models."""

    def __init__(self, rows: int, seed: int) -> None:
        self.rows, self.seed = rows, seed
        self._draws = draws = Draws(seed, 1 << 32)
        users, versions = min(max(rows // 40, 50), 2_000_000), min(max(rows // 20, 200), 1_000_000)
        self.user, self.user_ids = zipf(users, 10), draws.permutation(users) + 1
        self.tag, self.tag_ids = zipf(TAGS, 6), draws.permutation(TAGS) + 1
        self.topic, self.topic_tag = zipf(TOPICS, 8), zipf(TOPIC_TAGS, 6)
        self.topic_tags = self.tag_ids[draws.below(TAGS, TOPICS * TOPIC_TAGS).reshape(TOPICS, TOPIC_TAGS)]
        self.version, self.version_ids = zipf(versions, 12), draws.permutation(versions) + 100
        self.tool, self.technique, self.size = zipf(40, 1), zipf(24, 1), zipf(len(SIZES), 1.5)
        self.nsfw, self.type = Choice([55, 14, 10, 11, 9, 1]), Choice([93, 6.5, 0.5])
        self.availability = Choice([96, 3, 1])

    def model_versions(self) -> list[Column]:
        """Return id, baseModel, modelId; of a hundred versions that images name, two are deleted."""
        ids = np.sort(self.version_ids)
        ids = ids[self._draws.chance(0.98, len(ids))]
        base = zipf(len(BASE_MODELS), 0.8)(self._draws.unit(len(ids)))
        return [ids, labels(BASE_MODELS, base), ids // 2]

    def models(self) -> list[Column]:
        """Return id, poi, type."""
        ids = np.unique(self.version_ids // 2)
        kinds = zipf(len(MODEL_TYPES), 1)(self._draws.unit(len(ids)))
        poi = self._draws.chance(0.04, len(ids)).astype(np.int64)
        return [ids, labels(["f", "t"], poi), labels(MODEL_TYPES, kinds)]


def blocks(site: Site) -> "Iterator[Block]":
    """Yield the site's images, `BLOCK` at a time; ids go on from block to block."""
    last_id, last_post = 1_000, 500
    for number in range(-(-site.rows // BLOCK)):
        block = Block(site, number, last_id, last_post)
        yield block
        last_id, last_post = int(block.ids[-1]), int(block.post_ids[-1])


class Block:
    """Consecutive images with whole posts; its methods draw in turn and are called once, in order."""

    def __init__(self, site: Site, number: int, last_id: int, last_post: int) -> None:
        self.site, self.first = site, number * BLOCK
        self.count = count = min(BLOCK, site.rows - self.first)
        self.draws = draws = Draws(site.seed, number)
        gaps = np.searchsorted([0.84, 0.95, 0.98], draws.unit(count)) + 1
        holes = draws.chance(0.0004, count) * draws.below(600, count)
        self.ids = last_id + np.cumsum(gaps + holes)
        starts = draws.chance(0.27, count)
        starts[0] = True
        self.leaders = np.flatnonzero(starts)
        self.post = np.cumsum(starts) - 1
        self.post_count = len(self.leaders)
        self.post_ids = last_post + np.cumsum(draws.below(3, self.post_count) + 1)
        self.topic = site.topic(draws.unit(self.post_count))
        self.created = self._creation_dates()

    def _creation_dates(self) -> np.ndarray:
        """Uploads come three times as fast in the end as in the beginning."""
        passed = (self.first + np.arange(self.count)) / self.site.rows
        dates = START + (1.5 - 0.5 * passed) * passed * (END - START - 2 * HOUR)
        return (dates + self.draws.unit(self.count) * HOUR).astype(np.int64)

    def _mostly_by_post(self, choice: Choice) -> np.ndarray:
        together = choice(self.draws.unit(self.post_count))[self.post]
        alone = choice(self.draws.unit(self.count))
        return np.where(self.draws.chance(0.8, self.count), together, alone)

    def images(self) -> list[Column]:
        """Return the columns of images.csv."""
        draws, site, count = self.draws, self.site, self.count
        users = site.user_ids[site.user(draws.unit(self.post_count))][self.post]
        sizes = SIZES[self._mostly_by_post(site.size)]
        odd = draws.chance(0.12, count)[:, None]
        sizes = np.where(odd, 256 + 8 * draws.below(220, 2 * count).reshape(count, 2), sizes)
        return [
            self.ids,
            self._addresses(),
            NSFW_LEVELS[self._mostly_by_post(site.nsfw)],
            strings(LETTERS[draws.raw(5 * count).view(np.uint8).reshape(count, 40)[:, :36] & 63]),
            self._flags(),
            labels(TYPES, self._mostly_by_post(site.type)),
            users,
            labels(BLOCKED_FOR, draws.below(3, count), missing=draws.chance(0.98, count)),
            self._scan_dates(),
            self.created,
            self.post_ids[self.post],
            sizes[:, 0],
            sizes[:, 1],
        ]

    def _addresses(self) -> pa.Array:
        raw = self.draws.raw(2 * self.count).view(np.uint8).reshape(self.count, 16)
        digits = HEXADECIMAL[np.stack([raw >> 4, raw & 15], axis=2)].reshape(self.count, 32)
        return strings(np.insert(digits, [8, 12, 16, 20], ord("-"), axis=1))

    def _flags(self) -> np.ndarray:
        shares = {0: 0.5, 1: 0.1, 2: 0.05, 3: 0.01, 4: 0.02, 13: 0.7, 14: 0.25}
        flags = np.zeros(self.count, np.int64)
        for bit, share in shares.items():
            flags |= self.draws.chance(share, self.count).astype(np.int64) << bit
        return flags

    def _scan_dates(self) -> pa.Array:
        delays = self.draws.below(600, self.count) + self.draws.chance(0.05, self.count) * DAY
        return pa.array(np.minimum(self.created + delays, END), mask=self.draws.chance(0.01, self.count))

    def posts(self) -> list[Column]:
        """Return the columns of posts.csv."""
        draws, count = self.draws, self.post_count
        kind, share = draws.unit(count), draws.unit(count)
        delay = np.select(
            [kind < 0.8, kind < 0.97], [share * share * HOUR, share * 3 * DAY], share * 60 * DAY
        )
        published = self.created[self.leaders] + delay.astype(np.int64)
        scheduled = END + 1 + draws.below(30 * DAY, count)
        published = np.where(draws.chance(0.003, count), scheduled, published)
        versions = self.site.version_ids[self.site.version(draws.unit(count))]
        return [
            self.post_ids,
            pa.array(published, mask=draws.chance(0.03, count)),
            labels(AVAILABILITIES, self.site.availability(draws.unit(count))),
            pa.array(versions, mask=draws.chance(0.7, count)),
        ]

    def tags(self, mean: float) -> list[Column]:
        """Return the columns of tags.csv: three images of a hundred have none, the others `mean` / 0.97."""
        draws, site = self.draws, self.site
        wanted = (draws.unit(self.count) + draws.unit(self.count)) * (mean / 0.97) + draws.unit(self.count)
        wanted *= draws.chance(0.97, self.count)

        def values(rows: np.ndarray) -> np.ndarray:
            common = site.tag_ids[site.tag(draws.unit(len(rows)))]
            own = site.topic_tags[self.topic[self.post[rows]], site.topic_tag(draws.unit(len(rows)))]
            return np.where(draws.chance(0.3, len(rows)), own, common)

        rows, tags = self._pairs(wanted.astype(np.int64), values)
        attributes = draws.below(4, len(tags)) + draws.chance(0.03, len(tags)) * DISABLED_TAG
        return [tags, self.ids[rows], attributes]

    def resources(self) -> list[Column]:
        """Return the columns of resources.csv: images of one post mostly share theirs."""
        draws, site = self.draws, self.site
        counts = np.searchsorted([0.40, 0.64, 0.80, 0.90, 0.96], draws.unit(self.post_count))
        shared = draws.unit(self.post_count * 5).reshape(-1, 5)

        def values(rows: np.ndarray) -> np.ndarray:
            together = shared[self.post[rows], draws.below(5, len(rows))]
            units = np.where(draws.chance(0.7, len(rows)), together, draws.unit(len(rows)))
            return site.version_ids[site.version(units)]

        rows, versions = self._pairs(counts[self.post], values)
        return [self.ids[rows], versions, labels(["f", "t"], draws.chance(0.8, len(rows)).astype(np.int64))]

    def tools(self) -> list[Column]:
        """Return the columns of tools.csv."""
        return self._uses(self.site.tool, [0.72, 0.94, 0.99])

    def techniques(self) -> list[Column]:
        """Return the columns of techniques.csv."""
        return self._uses(self.site.technique, [0.86, 0.97])

    def _uses(self, choice: Choice, shares: list[float]) -> list[Column]:
        counts = np.searchsorted(shares, self.draws.unit(self.count))
        rows, codes = self._pairs(counts, lambda rows: choice(self.draws.unit(len(rows))))
        return [codes + 1, self.ids[rows]]

    def metrics(self) -> list[Column]:
        """Return the columns of metrics.tsv: every image has a row."""
        tail = self.draws.tail
        counts = [tail(3.0, 50_000, self.count), tail(0.15, 400, self.count), tail(0.6, 6_000, self.count)]
        return [self.ids, *counts]

    @staticmethod
    def _pairs(
        counts: np.ndarray, values: Callable[[np.ndarray], np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw `counts` values for every row; return (row, value) in order, without duplicates."""
        rows = np.repeat(np.arange(len(counts)), counts)
        packed = np.unique(rows << 32 | values(rows))
        return packed >> 32, packed & 0xFFFFFFFF
