"""Stores to make backups of: a silo and an index, how they are made, opened, changed and compared."""

from random import Random

import numpy as np

import bitdex
from bitdex.silo.silo import Silo
from tests.crash.index_work import SCHEMA, Load, disagreements, documents_in


class SiloKind:
    """A silo with records of one frame and of several, dead ones, and operations that wait in its log."""

    name, commit = "silo", "meta.bin"

    def create(self, path):
        """Make an empty store, open for writing."""
        return Silo.open(path, "w", "concatenate", headroom=1.6, sync="none")

    def make(self, path, seed=1):
        """Make a store with something of everything in it, open for writing."""
        silo, random = self.create(path), Random(seed)
        silo.put_many(range(200), [random.randbytes(random.randint(0, 90)) for _ in range(200)])
        silo.compact()
        silo.merge_many(range(0, 200, 3), [b"+"] * 67)
        silo.delete_many(range(190, 200))
        silo.compact()
        with silo.merge_writer() as writer:
            writer.merge_many(range(50), [random.randbytes(100) for _ in range(50)])
        silo.put_many(range(180, 195), [b"waits"] * 15)
        silo.merge_many(range(170, 185), [b"!"] * 15)
        silo.delete_many([0, 180, 500])
        return silo

    def open(self, path, mode="r"):
        """Open a store."""
        return Silo.open(path, mode, sync="none")

    def content(self, silo):
        """Return what a store holds."""
        keys = silo.keys()
        return dict(zip(keys.tolist(), silo.get_many(keys)))

    def findings(self, silo):
        """Return what is wrong with a store."""
        return list(silo.check())

    def change(self, silo):
        """Commit one thing more, another one each time."""
        silo.merge_many([7, 1 << 60], [b"more"] * 2)

    def failure(self, silo):
        """Return the failure that has made a store read-only, or None."""
        return silo.failure


class IndexKind:
    """An index with three phases, of which one was loaded twice."""

    name, commit = "index", "commit.bin"

    def create(self, path):
        return bitdex.create(path, SCHEMA, "none")

    def make(self, path, seed=1):
        index, random = self.create(path), Random(seed)
        for number, phase in enumerate(["rows", "tags", "likes", "rows"]):
            Load(random, phase, number, None).do(index)
        return index

    def open(self, path, mode="r"):
        return bitdex.open(path, mode, "none")

    def content(self, index):
        phases = sorted((phase.name, phase.sequence, phase.rows) for phase in index.phases)
        return documents_in(index), phases

    def findings(self, index):
        return index.check().to_dict("records") + disagreements(index, documents_in(index))

    def change(self, index):
        number = index.stats()["sequence"]
        Load(Random(number), "tags", number, None).do(index)

    def failure(self, index):
        return index._store.guard.failure or index.documents.silo.failure


KINDS = {"silo": SiloKind(), "index": IndexKind()}


def content_of(kind, path, mode="r"):
    """Open a store that has to be sound; return what it holds."""
    with kind.open(path, mode) as store:
        assert not kind.findings(store), f"{path}: {kind.findings(store)}"
        return kind.content(store)


def damage(path, offset, bit=0):
    """Flip a bit of a file."""
    content = np.memmap(path, np.uint8, "r+")
    content[offset] ^= 1 << bit
    content.flush()
