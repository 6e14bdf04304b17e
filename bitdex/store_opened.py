"""Opened: what a store takes out of its files at one commit, whole before anybody sees it.

::

    commit.bin --> sequence --> definition, names, labels --> both silos --> the record of phases

A reader that moves on has the one beside the other: who uses what was opened before keeps it, and it is let
go of when nobody does. What the one has read, and nobody has changed since, the other does not read again.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bitdex import filesystem
from bitdex.bitmaps import BitmapSilo
from bitdex.dictionaries import Dictionaries
from bitdex.documents import DocSilo
from bitdex.errors import WriteFailedError
from bitdex.formats import meta as meta_format
from bitdex.phase_log import PhaseLog, PhaseResult
from bitdex.registry import FieldRegistry
from bitdex.remains import BITMAPS, DOCUMENTS
from bitdex.schema import Schema
from bitdex.schema_labels import number_defaults
from bitdex.schema_versions import SchemaVersions
from bitdex.silo.files import Lasting, SiloFiles
from bitdex.silo.inspect import stats
from bitdex.silo.silo import Silo
from bitdex.silo.state import State


@dataclass(frozen=True, slots=True)
class Committed:
    """Phases, documents and bitmaps of one commit; they stay as they are while somebody holds them."""

    sequence: int
    phases: tuple[PhaseResult, ...]
    documents: DocSilo
    bitmaps: BitmapSilo

    def state(self, name: str) -> State:
        """Return the state of a silo, by the name of its directory."""
        source = self.documents.source if name == DOCUMENTS else self.bitmaps.source
        assert isinstance(source, State)
        return source

    def silo_stats(self, directory: Path) -> dict[str, dict[str, Any]]:
        """Return counts and sizes of both silos, which lie in this directory."""
        return {name: stats(self.state(name), SiloFiles(directory / name)) for name in (DOCUMENTS, BITMAPS)}


class Opened:
    """The newest commit of a directory; where the power was lost, what both silos hold of it.

    Attributes
    ----------
    record : ndarray of formats.meta.META, shape (1,)
    lasting : Lasting
        The file of the record.
    sequence : int
        What is there; below that of the record if the power was lost.
    versions, schema, registry, dictionaries, documents, bitmaps, log, committed
        Those of the store.
    """

    schema: Schema
    registry: FieldRegistry
    dictionaries: Dictionaries
    bitmaps: BitmapSilo
    documents: DocSilo

    def __init__(self, directory: Path, mode: str, sync: str, before: "Opened | None" = None):
        self.lasting, self.record = Lasting(directory / "commit.bin"), read_commit(directory)
        labels = None if before is None else before.dictionaries
        if before is not None and not (before.lasting.lasts() and self._follows(before)):
            before = None
        self.sequence = at = int(self.record["sequence"][0])
        self._open(directory, mode, sync, before, labels)
        reached = min(self.documents.silo.sequence, self.bitmaps.silo.sequence)
        if reached < at:  # the power was lost, and what was not synced with it
            close_silos(self.documents, self.bitmaps)
            self.sequence = reached
            self._open(directory, mode, sync, before, labels)
        try:
            self.log = PhaseLog(directory / "dumps.json", self.sequence)
            self.committed = committed(self.sequence, self.log, self.documents, self.bitmaps)
        except BaseException:
            close_silos(self.documents, self.bitmaps)
            raise

    def _open(
        self, directory: Path, mode: str, sync: str, before: "Opened | None", labels: Dictionaries | None
    ) -> None:
        """Read the definition, the names and the labels that count at the sequence; open the silos at it."""
        at, identity = self.sequence, int(self.record["identity"][0])
        self.versions = SchemaVersions(directory / "schema.json", at)
        last = self.versions.last
        known = before is not None and before.versions.last == last
        self.schema = before.schema if before is not None and known else last.schema
        self.registry = FieldRegistry(directory / "fields.bin", identity, last.dropped)
        if before is not None and before.registry.gives_same(self.registry):
            self.registry = before.registry
        least = int(self.record["labels"][0])
        if labels is not None and labels.follow(least):
            self.dictionaries = labels
        else:
            self.dictionaries = Dictionaries(directory / "dictionaries.bin", identity, least)
        if mode == "w":
            number_defaults(self.schema, self.registry, self.dictionaries)
        names = self.schema, self.registry, self.dictionaries
        bitmaps, documents = (None, None) if before is None else before.silos
        self.bitmaps = BitmapSilo.open(directory / BITMAPS, mode, at, sync, self.dictionaries, bitmaps)
        try:
            self.documents = DocSilo.open(directory / DOCUMENTS, mode, at, sync, *names, documents)
        except BaseException as error:
            with suppress(OSError):  # the first error counts
                self.bitmaps.silo.close(error if isinstance(error, WriteFailedError) else None)
            raise

    def _follows(self, before: "Opened") -> bool:
        """Tell whether one writer has made all commits since: another one may have gone back, or repaired."""
        return int(self.record["writer"][0]) == int(before.record["writer"][0])

    @property
    def silos(self) -> tuple[Silo, Silo]:
        """Those of bitmaps and of documents."""
        return self.bitmaps.silo, self.documents.silo


def read_commit(directory: Path) -> np.ndarray:
    """Return the newest commit record of an index."""
    path = directory / "commit.bin"
    return meta_format.decode(filesystem.read(path), None, str(path))


def committed(sequence: int, log: PhaseLog, documents: DocSilo, bitmaps: BitmapSilo) -> Committed:
    """Return what readers see of both silos now."""
    pinned = BitmapSilo(bitmaps.silo.pin(), documents.dictionaries)
    return Committed(sequence, tuple(log), documents.over(documents.silo.pin()), pinned)


def close_silos(documents: DocSilo, bitmaps: BitmapSilo, failed: WriteFailedError | None = None) -> None:
    """Close both silos; the first error counts, and nothing is written after it, or after what `failed`."""
    try:
        documents.silo.close(failed)
    except BaseException as error:
        with suppress(OSError):
            bitmaps.silo.close(error if isinstance(error, WriteFailedError) else failed)
        raise
    bitmaps.silo.close(failed)
