"""What an index lacks that no damaged byte of a silo tells: names, phases, states, sets, records."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
from pyroaring import BitMap

from bitdex import registry_lost, registry_sets
from bitdex.checking_records import find_unrecorded, telling_fields
from bitdex.dictionaries import Dictionaries
from bitdex.documents import slots_of
from bitdex.errors import CorruptError, InvalidError
from bitdex.formats import bitmap
from bitdex.phase_log import PhaseLog
from bitdex.registry import FieldRegistry
from bitdex.repairing_keys import ANEW, TOLD_ANEW
from bitdex.schema_versions import SchemaVersions
from bitdex.silo.check import refused
from bitdex.silo.remedies import BACKUP, NOTHING_LOST, UNTOUCHED, Repair, of_finding
from bitdex.silo.silo import Silo


def find_beyond_repair(directory: Path, identity: int, at: int, labels: int) -> Iterator[Repair]:
    """Yield what is wrong with the files that nothing else tells the content of."""
    readers = {
        "schema.json": lambda path: SchemaVersions(path, at).last.schema,
        "fields.bin": lambda path: FieldRegistry(path, identity),
        "dictionaries.bin": lambda path: Dictionaries(path, identity, labels),
        "dumps.json": lambda path: PhaseLog(path, at),
    }
    for name, read in readers.items():
        try:
            read(directory / name)
        except (CorruptError, FileNotFoundError, InvalidError) as error:
            yield of_finding(refused(error, "error", BACKUP, directory / name), UNTOUCHED, BACKUP)


def find_lost_phases(directory: Path, at: int) -> Iterator[Repair]:
    """Yield the phases of which an earlier repair has lost which documents they wrote."""
    try:
        runs = list(PhaseLog(directory / "dumps.json", at))
        keys = np.array([bitmap.phase_key(run.number) for run in runs], np.uint64)
        with Silo.open(directory / "bitmaps", "r", "bitmap", at=at) as silo:
            found = silo.get_many(keys).found
    except (CorruptError, FileNotFoundError):
        return  # which is told already
    for run, known in zip(runs, found):
        if run.documents and not known:
            what = f"phase {run.name!r}: expected the bitmap of its {run.documents} documents, found none"
            yield Repair(str(directory / "dumps.json"), 0, what, "error", ANEW, UNTOUCHED)


def find_lost_states(directory: Path) -> Iterator[Repair]:
    """Yield the bitmaps of which an earlier repair has not told again which documents there are."""
    with suppress(CorruptError):  # which every check tells
        for state in sorted(registry_lost.read(directory).states):
            what = f"expected the bitmap of {registry_lost.STATES[state]}, found that a repair has lost it"
            path = str(directory / registry_lost.NAME)
            yield Repair(path, 0, what, "warning", NOTHING_LOST, TOLD_ANEW)


def find_unlike_sets(directory: Path, at: int) -> Iterator[Repair]:
    """Yield the saved sets of which only the name or only the bitmap is there."""
    path = directory / "documents" / "data.bin"
    try:
        with (
            Silo.open(directory / "documents", "r", at=at) as documents,
            Silo.open(directory / "bitmaps", "r", "bitmap", at=at) as bitmaps,
        ):
            told, kept = sets_of(documents, bitmaps)
    except (CorruptError, FileNotFoundError):
        return  # which is told already
    for name in kept.keys() - told.keys():
        what = f"expected a name for saved set {kept[name][0]}, which has a bitmap, found none"
        yield Repair(str(path), 0, what, "error", BACKUP, f"it is {name!r} from now on")
    for name in told.keys() - kept.keys():
        what = f"saved set {name!r:.80}: expected a bitmap of {told[name][1]} documents, found no bitmap"
        yield Repair(str(path), 0, what, "error", BACKUP, "its name is taken out")


def unrecorded(directory: Path, at: int, names: dict[int, str]) -> BitMap:
    """Return the documents that queries find and of which no record is left."""
    try:
        schema = SchemaVersions(directory / "schema.json", at).last.schema
        with (
            Silo.open(directory / "documents", "r", at=at) as documents,
            Silo.open(directory / "bitmaps", "r", "bitmap", at=at) as bitmaps,
        ):
            return find_unrecorded(BitMap(slots_of(documents)), bitmaps, telling_fields(schema, names))
    except (CorruptError, FileNotFoundError, InvalidError):
        return BitMap()  # which is told already


def sets_of(documents: Silo, bitmaps: Silo) -> tuple[registry_sets.Entries, registry_sets.Entries]:
    """Return the record of the saved sets, and what it is to be: those with a bitmap, each with a name."""
    told, keys = registry_sets.read(documents), bitmaps.keys()
    stored = (keys[(keys >= bitmap.SETS) & (keys < bitmap.LAYERS)] - np.uint64(bitmap.SETS)).tolist()
    kept = {name: entry for name, entry in told.items() if entry[0] in stored}
    for number in sorted(set(stored) - {number for number, _ in told.values()}):
        name = f"set {number}"
        while name in told:
            name += " again"
        payload = bitmaps.get(bitmap.set_key(number))
        assert payload is not None
        kept[name] = [number, len(bitmap.decode(payload))]
    return told, kept
