"""The silo alone: 100-byte values under integer keys, in batches of 100,000, without syncs."""

import shutil
import tempfile
from pathlib import Path

import numpy as np

from bitdex.dictionaries import Dictionaries
from bitdex.kernels import hash_index
from bitdex.silo.silo import Silo

KEYS, BATCH, WIDTH = 400_000, 100_000, 100
VALUES = np.arange(BATCH * WIDTH, dtype=np.uint32).astype(np.uint8)
OFFSETS = np.arange(BATCH + 1, dtype=np.int64) * WIDTH
SHORT = OFFSETS // 4


class Store:
    """An empty silo; number = 1 gives every sample its own."""

    number, warmup_time = 1, 0.0

    def setup(self) -> None:
        self.directory = tempfile.mkdtemp(prefix="bitdex-asv-")
        self.silo = Silo.open(self.directory, "w", "concatenate", headroom=1.5, sync="none")
        self.keys = np.random.default_rng(1).permutation(np.arange(KEYS, dtype=np.uint64))

    def teardown(self) -> None:
        self.silo.close()
        shutil.rmtree(self.directory)

    def put(self) -> int:
        return [self.silo.put_many(part, VALUES, OFFSETS) for part in self.keys.reshape(-1, BATCH)][-1]


class Warm(Store):
    """What the scenario does has been done once, to another silo, so that kernels are compiled."""

    def setup(self) -> None:
        super().setup()
        self.prepare()
        self.run()
        self.teardown()
        super().setup()
        self.prepare()

    def prepare(self) -> None:
        pass


class FramesIntoLog(Warm):
    def run(self) -> int:
        return self.put()

    def time_put_many(self) -> int:
        return self.run()


class CopiesIntoDataFile(Warm):
    def prepare(self) -> None:
        self.put()

    def run(self) -> int:
        return self.silo.compact()

    def time_cold_compaction(self) -> int:
        return self.run()


class MergesIntoHeadroom(Warm):
    def prepare(self) -> None:
        self.put()
        self.silo.compact()

    def run(self) -> int:
        with self.silo.merge_writer() as writer:
            for part in self.keys.reshape(-1, BATCH):
                writer.merge_many(part, VALUES[: SHORT[-1]], SHORT)
        return self.silo.sequence

    def time_merge_writer(self) -> int:
        return self.run()


class ChecksumsOfValues(Warm):
    number = 0  # chosen by asv: reading changes nothing

    def prepare(self) -> None:
        self.put()
        self.silo.compact()

    def run(self) -> int:
        return len(self.silo.get_many(self.keys[:BATCH]).data)

    def time_get_many_at_random(self) -> int:
        return self.run()


class CacheMissesOfLookups:
    def setup(self) -> None:
        keys = np.random.default_rng(1).permutation(np.arange(4_000_000, dtype=np.uint64))
        lengths = np.full(len(keys), WIDTH, np.uint64)
        self.table = hash_index.build_index(keys, keys * np.uint64(WIDTH), lengths, lengths)
        self.wanted = np.random.default_rng(2).permutation(keys)[:1_000_000]
        self.time_lookup()

    def time_lookup(self) -> int:
        return hash_index.lookup(self.table, self.wanted)[-1]


class ReadingOfLabels:
    """100,000 labels of 130 bytes."""

    def setup(self) -> None:
        self.directory = tempfile.mkdtemp(prefix="bitdex-asv-")
        self.path = Path(self.directory) / "dictionaries.bin"
        Dictionaries.create(self.path, 1)
        made = Dictionaries(self.path, 1)
        made.ensure(1, [f"label {i} ".ljust(130, "x") for i in range(BATCH)])
        made.save()
        self.time_open_and_find_one()

    def teardown(self) -> None:
        shutil.rmtree(self.directory)

    def time_open(self) -> int:
        return Dictionaries(self.path, 1).count

    def time_open_and_find_one(self) -> int | None:
        return Dictionaries(self.path, 1).find(1, "label 7 ".ljust(130, "X"))
