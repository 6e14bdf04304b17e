"""The store behind an index: its files, both silos, names and labels, and the commit that joins them.

::

    schema.json          the index definition
    commit.bin           the sequence that counts, in two alternating records
    fields.bin           field name -> number
    dictionaries.bin     label -> number
    dumps.json           the phases that were loaded
    documents/  bitmaps/ two silos

A commit: both silos prepare (their meta records name the new sequence), dictionaries and
the record of phases are written, then ``commit.bin``. Each silo is opened at the
sequence that ``commit.bin`` names, so they agree after a crash at any step.
"""

import json
import secrets
from pathlib import Path

from bitdex import filesystem
from bitdex.bitmaps import BitmapSilo
from bitdex.dictionaries import Dictionaries
from bitdex.documents import SETTLED_HEADROOM, DocSilo
from bitdex.errors import InvalidError, NotFoundError
from bitdex.formats import meta as meta_format
from bitdex.phase_log import PhaseLog
from bitdex.registry import FieldRegistry
from bitdex.schema import Schema

WASTE = 0.2  # share of unused bytes from which a silo is rewritten


class Store:
    """Everything an index keeps on disk, opened at one committed sequence.

    Attributes
    ----------
    schema : Schema
    registry : FieldRegistry
    dictionaries : Dictionaries
    log : PhaseLog
    documents : DocSilo
    bitmaps : BitmapSilo
    sequence : int
        The committed one.
    """

    def __init__(self, directory: Path, mode: str, sync: str):
        self.directory, self.mode, self.sync = directory, mode, sync
        self._commit_path = directory / "commit.bin"
        if mode not in ("r", "w"):
            raise InvalidError(f'mode: {mode!r} is unknown; use "r" or "w"')
        if not filesystem.exists(self._commit_path):
            raise NotFoundError(
                f"{directory}: there is no index here (no commit.bin); bitdex.create makes one"
            )
        self.schema = Schema.load(json.loads(filesystem.read(directory / "schema.json")))
        self._open()

    @classmethod
    def create(cls, directory: Path, schema: Schema, sync: str) -> None:
        """Make an empty store in a new or empty directory."""
        if filesystem.exists(directory) and filesystem.list_directory(directory):
            raise InvalidError(
                f"{directory}: the directory is not empty; open the index in it, or choose another"
            )
        durable = sync != "none"
        filesystem.make_directory(directory)
        content = json.dumps(schema.to_mapping(), indent=1) + "\n"
        filesystem.write_whole(directory / "schema.json", content.encode(), durable)
        record = meta_format.blank(secrets.randbits(63) + 1, "index", 0, 0, 8)
        padded = meta_format.encode(record).ljust(meta_format.FILE_SIZE, b"\0")
        dictionaries = Dictionaries(directory / "dictionaries.bin", int(record["identity"][0]))
        registry = FieldRegistry(directory / "fields.bin", int(record["identity"][0]))
        BitmapSilo.open(directory / "bitmaps", "w", None, sync, dictionaries).silo.close()
        DocSilo.open(directory / "documents", "w", None, sync, schema, registry, dictionaries).silo.close()
        filesystem.write_whole(directory / "commit.bin", padded, durable)  # last: now there is an index

    def _open(self) -> None:
        record = meta_format.decode(filesystem.read(self._commit_path), None, str(self._commit_path))
        self._record = record
        identity, self.sequence = (int(record[name][0]) for name in ("identity", "sequence"))
        directory, mode, at, sync = self.directory, self.mode, self.sequence, self.sync
        self.registry = FieldRegistry(directory / "fields.bin", identity)
        self.dictionaries = Dictionaries(directory / "dictionaries.bin", identity)
        self.log = PhaseLog(directory / "dumps.json", at)
        self.bitmaps = BitmapSilo.open(directory / "bitmaps", mode, at, sync, self.dictionaries)
        self.documents = DocSilo.open(
            directory / "documents", mode, at, sync, self.schema, self.registry, self.dictionaries
        )

    @property
    def durable(self) -> bool:
        """Whether commits wait for the device."""
        return self.sync != "none"

    def commit(self, sequence: int) -> None:
        """Make `sequence` the committed one; the silos are prepared, everything else is on disk."""
        record = self._record.copy()
        record["sequence"] = sequence
        record["commit"] += 1
        descriptor = filesystem.open_write(self._commit_path)
        try:
            filesystem.write_at(descriptor, meta_format.encode(record), meta_format.place_of(record))
            if self.durable:
                filesystem.sync(descriptor)
        finally:
            filesystem.close(descriptor)
        self._record, self.sequence = record, sequence
        self.documents.silo.finish()
        self.bitmaps.silo.finish()

    def reopen(self) -> None:
        """Go back to the committed state after something failed on the way to a commit."""
        self.close()
        self._open()

    def settle(self) -> None:
        """Rewrite a silo of which merges have left more than a fifth unused."""
        if self.documents.silo.waste > WASTE:
            self.documents.silo.rewrite(SETTLED_HEADROOM)
        if self.bitmaps.silo.dead_ratio > WASTE:
            self.bitmaps.silo.rewrite()

    def close(self) -> None:
        """Release files and threads."""
        self.documents.silo.close()
        self.bitmaps.silo.close()
