"""A whole silo with one hostile file: opened, read, looked into and written to by the public interface."""

import shutil
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np

from bitdex.formats import header
from bitdex.kernels.checksum import crc32c
from bitdex.silo.silo import Silo
from tests.fuzz.index_targets import repair_delta
from tests.fuzz.mutation import Sample
from tests.fuzz.silo_targets import put_checksum, repair_frames, repair_header, repair_regions
from tests.fuzz.target import Target
from tests.kernels.frame_store import IDENTITY

KEYS = np.array([1, 2, 3, 40, 2**64 - 1], np.uint64)
COMMITS = tuple((at + part, 8) for at in (0, 4096) for part in (24, 32, 40, 48, 56, 64, 72, 80, 88, 376, 384))
FIELDS = {
    "data.bin": ((64, 4), (76, 4), (80, 8), (88, 8), (104, 4), (24, 8)),
    "index.bin": ((32, 8), (40, 8), (24, 8)),
    "index.delta": ((72, 8), (88, 8), (96, 4), (100, 4), (24, 8)),
    "meta.bin": (*COMMITS, (12, 4), (4108, 4), (92, 4), (96, 8), (112, 8), (120, 8)),
    "ops_a.log": ((24, 8), (68, 4), (72, 8), (80, 8), (88, 4)),
}

WRITTEN = ("data.bin", "ops_a.log")  # beside which a writer is tried too; the others it takes as they are


def make_silo(path):
    """Make a silo with every file it can have: data, an index with changes, a log with operations."""
    with (
        mock.patch("secrets.randbits", return_value=IDENTITY - 1),
        Silo.open(path, "w", "concatenate", sync="none") as silo,
    ):
        silo.put_many(np.arange(300), [b"%d" % key for key in range(300)])
        silo.compact()
        silo.merge_many(KEYS, [b"more" * key for key in range(5)])
        silo.compact()
        silo.delete_many([2])
        silo.put_many(KEYS, [bytes(20)] * 5)


class Directory(Target):
    """A silo of which one file was mutated; it may refuse every call, in words."""

    file = ""
    batch = 60
    raises = False

    def __init__(self):
        self._directory = tempfile.TemporaryDirectory(prefix="bitdex-fuzz-")
        self._sound, self._hostile = (Path(self._directory.name) / name for name in ("sound", "hostile"))
        make_silo(self._sound)
        super().__init__()

    def close(self):
        self._directory.cleanup()

    def samples(self):
        content = (self._sound / self.file).read_bytes()
        return [Sample(content, FIELDS[self.file])]

    def repair(self, data):
        if self.file == "meta.bin":
            return None
        repairs = {"data.bin": repair_regions, "ops_a.log": repair_frames, "index.delta": repair_delta}
        if self.file == "index.bin" or len(data) < header.SIZE:
            return repair_header(data)
        repairs[self.file](data, header.SIZE)
        put_checksum(data, 60, crc32c(data[:60]))

    def parse(self, data):
        shutil.rmtree(self._hostile, ignore_errors=True)
        shutil.copytree(self._sound, self._hostile)
        (self._hostile / self.file).write_bytes(data)
        return self._attempt(self._read), self.file in WRITTEN and self._attempt(self._write)

    def _attempt(self, work):
        try:
            return work()
        except self.refusals as error:
            return type(error).__name__

    def _read(self):
        with Silo.open(self._hostile) as silo:
            found = list(silo.check())
            keys = silo.keys()
            values = list(silo.get_many(np.concatenate((keys, KEYS))))
            assert values[: len(keys)] == [silo.get(int(key)) for key in keys[:3]] + values[3 : len(keys)]
            for look in (silo.stats, silo.index_frame, silo.records_frame, silo.ops_frame):
                self._attempt(look)
            return len(found), len(keys)

    def _write(self):
        with Silo.open(self._hostile, "w", sync="none") as silo:
            silo.merge_many(KEYS, [b"after"] * 5)
            silo.compact()
            silo.rewrite()
            return len(silo)


DIRECTORIES = [
    type(file, (Directory,), {"name": f"silo with a hostile {file}", "file": file}) for file in FIELDS
]
