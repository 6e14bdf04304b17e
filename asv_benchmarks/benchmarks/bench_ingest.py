"""Loading phases: each case is one table, read from a file in the page cache, without syncs."""

import shutil
import tempfile

import bitdex
from bitdex.sample import NOW, sample_phases, sample_schema

from . import Tables


class Phase(Tables):
    """One phase, loaded into an index that holds the phases before it."""

    before: tuple[str, ...] = ("images",)
    number, warmup_time = 1, 0.0

    def setup(self, tables: str) -> None:
        self.directory = tempfile.mkdtemp(prefix="bitdex-asv-")
        self.index = bitdex.create(f"{self.directory}/index", sample_schema(), sync="none")
        self.phases = sample_phases()
        if self.before:
            self.load(tables, self.before)
        bitdex.warmup()

    def teardown(self, tables: str) -> None:
        self.index.close()
        shutil.rmtree(self.directory)

    def load(self, tables: str, names: tuple[str, ...]) -> int:
        return sum(result.applied for result in self.index.dump(self.phases, tables, names, NOW))


class DocumentEncoding(Phase):
    before = ()

    def time_images(self, tables: str) -> int:
        return self.load(tables, ("images",))

    def peakmem_images(self, tables: str) -> int:
        return self.load(tables, ("images",))

    def peakmem_reference(self, tables: str) -> None:
        """The memory of everything but the loading."""


class SortingOfPairs(Phase):
    def time_tags(self, tables: str) -> int:
        return self.load(tables, ("tags",))


class NestedLookups(Phase):
    def time_resources(self, tables: str) -> int:
        return self.load(tables, ("resources",))


class SortLayers(Phase):
    def time_metrics(self, tables: str) -> int:
        return self.load(tables, ("metrics",))


class WithdrawalOfEarlierValues(Phase):
    before = ("images", "tags")

    def time_tags_again(self, tables: str) -> int:
        return self.load(tables, ("tags",))
