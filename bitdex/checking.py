"""Checking an index: every file in its directory is read, and what is not as written is a finding.

::

    commit.bin           every copy of its records holds (`formats.meta.faults`)
    fields.bin           hold their checksums, and belong to this index
    dictionaries.bin
    dumps.json           holds its seal
    lost.json            holds its seal; what it names is lost, or lacks bitmaps
    schema.json          holds its seal, and a schema of that commit or of one before
    documents/ bitmaps/  what `silo.check` reads, at the sequence that commit.bin names
    cache/               the same, at its own newest; nothing is lost with it
    other names          are left-overs
    together             the silos open at that sequence; fields and labels that bitmaps use are
                         known; documents that queries find have records; each phase in dumps.json
                         has at least the documents of its bitmap; each saved set has a bitmap of as
                         many documents, and each of those a name
"""

import re
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from pyroaring import BitMap

from bitdex import filesystem, phase_log, registry_lost, registry_sets
from bitdex.bitmaps import WIDE
from bitdex.cache_silo import NAME as CACHE
from bitdex.checking_records import find_unrecorded, shown, telling_fields
from bitdex.documents import slots_of
from bitdex.errors import BitdexError, NotFoundError
from bitdex.formats import bitmap, dictionary, meta, registry
from bitdex.phase_log import PhaseResult
from bitdex.schema import Schema
from bitdex.schema_versions import SchemaVersions
from bitdex.silo.check import RESTORE, Finding, check_files, refused
from bitdex.silo.files import SiloFiles
from bitdex.silo.silo import Silo

FILES = {"schema.json", "commit.bin", "fields.bin", "dictionaries.bin", "dumps.json"}
SILOS = {"documents": "documents", "bitmaps": "bitmap"}  # directory -> merge rule
BESIDE = {"writer.lock", "quarantine", "temporary", CACHE, registry_lost.NAME}
ANEW = "nothing is lost; index.rebuild() makes the bitmaps of all fields anew"
MADE_ANEW = "nothing is lost; who opens the index for writing removes what is kept of queries"
HALF_WRITTEN = re.compile(r"\..+\.[0-9a-f]{12}")  # by `filesystem.write_whole`
ATTEMPTS = 8  # at reading one state while a writer commits

Content = TypeVar("Content")
Step = Generator[Finding, None, Content]  # yields what is wrong, returns what it read


class IndexFiles(NamedTuple):
    """What the files beside the silos hold; None where one could not be read."""

    schema: Schema | None
    dropped: tuple[int, ...]
    commit: np.ndarray | None
    fields: list[registry.Entry] | None
    labels: list[dictionary.Label] | None
    runs: list[PhaseResult] | None

    @property
    def sequence(self) -> int | None:
        """The committed sequence, where it is known."""
        return None if self.commit is None else int(self.commit["sequence"][0])


def check_index(directory: str | Path) -> Iterator[Finding]:
    """Read every file of an index; yield what is wrong, never raise for damage.

    It works where opening would refuse, and changes nothing. A state that a writer replaces
    meanwhile is read anew; notes may tell of what it has begun to write.

    Raises
    ------
    NotFoundError
        If there is no such directory, or no file of an index in it.
    """
    directory = Path(directory)
    if not filesystem.is_directory(directory) or not FILES & {*filesystem.list_directory(directory)}:
        raise NotFoundError(f"{directory}: there is no index here")
    told: set[Finding] = set()
    for _ in range(ATTEMPTS):
        state = _commits(directory)
        for finding in _check_state(directory):
            if _commits(directory) != state:
                break
            if finding not in told:
                told.add(finding)
                yield finding
        else:
            return
    what = f"expected one state from beginning to end, found that a writer replaced {ATTEMPTS} of them"
    yield Finding(str(directory), 0, what, "warning", "check again when less is written, or check a backup")


def _commits(directory: Path) -> list[bytes | None]:
    """Return the commit records, which say what state the files are in."""
    paths = [directory / "commit.bin", *(directory / name / "meta.bin" for name in SILOS)]
    return [filesystem.read(path) if filesystem.exists(path) else None for path in paths]


def _check_state(directory: Path) -> Iterator[Finding]:
    files = yield from _check_files(directory)
    yield from _check_names(directory)
    yield from check_cache(directory / CACHE)
    yield from _check_lost(directory, files)
    sets: registry_sets.Entries | None = None
    recorded: BitMap | None = None
    for name, rule in SILOS.items():
        silo = yield from _check_silo(directory / name, rule, files.sequence)
        if silo is None:
            continue
        with silo:
            if name == "documents":
                sets = yield from _read(silo.files.data, partial(_sets_of, silo))
                recorded = BitMap(slots_of(silo))
            elif files.commit is not None:
                yield from _check_agreement(directory, files, silo)
                if recorded is not None:
                    yield from _check_recorded(directory / "documents" / "data.bin", files, recorded, silo)
                if sets is not None:
                    yield from _check_sets(directory / "documents", sets, silo)


def _read(path: Path, read: Callable[[Path], Content]) -> Step[Content | None]:
    """Return what a file holds, or yield why it cannot be read."""
    try:
        return read(path)
    except FileNotFoundError:
        yield Finding(str(path), 0, "expected a file, found none", "error", RESTORE)
    except (BitdexError, OSError) as error:
        yield refused(error, "error", RESTORE, path)
    return None


# -- files -------------------------------------------------------------------------------


def _check_files(directory: Path) -> Step[IndexFiles]:
    commit = yield from _check_commit(directory / "commit.bin")
    identity = None if commit is None else int(commit["identity"][0])
    fields = yield from _check_entries(directory / "fields.bin", registry.decode, identity)
    least = 0 if commit is None else int(commit["labels"][0])
    labels = yield from _check_labels(directory / "dictionaries.bin", least, identity)
    runs: list[PhaseResult] | None = []
    if filesystem.exists(directory / "dumps.json") or (commit is not None and commit["sequence"][0]):
        runs = yield from _read(directory / "dumps.json", phase_log.read)
    at = 0 if commit is None else int(commit["sequence"][0])
    last = yield from _read(directory / "schema.json", partial(_read_schema, at=at))
    schema, dropped = last or (None, ())
    return IndexFiles(schema, dropped, commit, fields, labels, runs)


def _read_schema(path: Path, at: int) -> tuple[Schema, tuple[int, ...]]:
    last = SchemaVersions(path, at).last
    return last.schema, last.dropped


def _check_commit(path: Path) -> Step[np.ndarray | None]:
    content = yield from _read(path, filesystem.read)
    if content is None:
        return None
    record = yield from _read(path, lambda _: meta.decode(content, None, str(path)))
    if record is not None:
        for fault in meta.faults(content):
            yield Finding(str(path), *fault)
    return record


def _check_entries(path: Path, decode: Callable[..., list], identity: int | None) -> Step[list | None]:
    if not filesystem.exists(path):
        return []  # nothing was named yet, or else bitmaps use what is not known
    return (yield from _read(path, lambda _: decode(filesystem.read(path), identity, str(path))))


def _check_labels(path: Path, least: int, identity: int | None) -> Step[list[dictionary.Label] | None]:
    if not filesystem.exists(path):
        return []  # as above
    content = yield from _read(path, filesystem.read)
    if content is None:
        return None
    held = yield from _read(path, lambda _: dictionary.decode_held(content, least, identity, str(path)))
    if held is not None and held.end < len(content):
        what = f"expected labels, found {len(content) - held.end} bytes that a writer has left, or is writing"
        yield Finding(str(path), held.end, what, "note", "nothing; they go with the next new label")
    return None if held is None else held.labels


def _check_lost(directory: Path, files: IndexFiles) -> Iterator[Finding]:
    """Tell of the bitmaps that a repair has lost."""
    path = directory / registry_lost.NAME
    try:
        lost = registry_lost.read(directory)
    except (BitdexError, OSError) as error:
        yield refused(error, "warning", ANEW, path)
        return
    names = {entry.field: entry.name for entry in files.fields or () if entry.field not in files.dropped}
    for state in sorted(lost.states):
        what = f"expected the bitmap of {registry_lost.STATES[state]}, found that a repair has lost it"
        yield Finding(str(path), 0, what, "warning", "index.rebuild(), or a repair, makes it anew")
    for name in (names[number] for number in sorted(lost.fields) if number in names):
        what = f"field {name!r}: expected all of its bitmaps, found that a repair has lost some"
        yield Finding(str(path), 0, what, "warning", f"index.rebuild([{name!r}]) makes them anew")


def _check_names(directory: Path) -> Iterator[Finding]:
    for name in filesystem.list_directory(directory):
        if HALF_WRITTEN.fullmatch(name):
            what = "expected no half-written file, found one that a writer has left, or is writing"
            yield Finding(str(directory / name), 0, what, "note", "nothing; remove it when nobody writes")
        elif name not in {*FILES, *SILOS, *BESIDE}:
            what = "expected files of an index only, found one of another name"
            yield Finding(str(directory / name), 0, what, "note", "nothing; an index does not touch it")


def check_cache(directory: Path) -> Iterator[Finding]:
    """Check what is kept of queries: damage of it is a warning."""
    if filesystem.exists(directory / "meta.bin"):
        for finding in check_files(SiloFiles(directory)):
            severity = "warning" if finding.severity == "error" else finding.severity
            yield replace(finding, severity=severity, remedy=MADE_ANEW)


def _check_silo(directory: Path, rule: str, at: int | None) -> Step[Silo | None]:
    """Check a silo's files at the sequence that counts; return it, opened there, unless it is damaged."""
    files, sound = SiloFiles(directory), True
    record = yield from _read(files.meta, lambda _: files.read_meta(at))
    if record is None:
        return None
    for finding in check_files(files, record):
        sound = sound and finding.severity != "error"
        yield finding
    return (yield from _read(directory, lambda path: Silo.open(path, "r", rule, at=at))) if sound else None


# -- what one file says of another -------------------------------------------------------


def _check_agreement(directory: Path, files: IndexFiles, bitmaps: Silo) -> Iterator[Finding]:
    keys = bitmaps.keys()
    filters = keys[(keys >= 1 << 48) & (keys < bitmap.SETS)]
    if files.fields is not None:
        known = [entry for entry in files.fields if entry.field not in files.dropped]
        yield from _check_fields(directory / "fields.bin", known, keys, filters)
    if files.fields is not None and files.labels is not None and files.schema is not None:
        for entry in files.fields:
            field = files.schema.fields.get(entry.name)
            labels = [label.label for label in files.labels if label.field == entry.field]
            used = filters[filters >> np.uint64(48) == entry.field] & np.uint64(bitmap.VALUE_MAX)
            if field is None or not field.is_labelled:
                used = used[used >= WIDE] - np.uint64(WIDE)
            for number in np.setdiff1d(used, labels).tolist():
                yield _unknown(directory / "dictionaries.bin", f"label {number} of field {entry.name!r}")
    for run in {run.name: run for run in files.runs or () if run.sequence <= (files.sequence or 0)}.values():
        yield from _check_phase(directory / "dumps.json", run, bitmaps)


def _check_fields(
    path: Path, known: list[registry.Entry], keys: np.ndarray, filters: np.ndarray
) -> Iterator[Finding]:
    layers = keys[(keys >= bitmap.LAYERS) & (keys < bitmap.PHASES)]
    of_layers = layers >> np.uint64(32) & np.uint64(bitmap.FIELD_MAX)
    used = np.union1d(filters >> np.uint64(48), of_layers)
    for number in np.setdiff1d(used, [entry.field for entry in known]).tolist():
        yield _unknown(path, f"field number {number}")


def _check_recorded(path: Path, files: IndexFiles, recorded: BitMap, bitmaps: Silo) -> Iterator[Finding]:
    """Compare the documents that queries find with those of which there are records."""
    if files.fields is None or files.schema is None:
        return
    names = {entry.field: entry.name for entry in files.fields if entry.field not in files.dropped}
    find = partial(find_unrecorded, recorded, bitmaps, telling_fields(files.schema, names))
    found = yield from _read(bitmaps.files.data, lambda _: find())
    if found:
        yield Finding(str(path), 0, f"expected the records of {shown(found)}, found none", "error", RESTORE)


def _unknown(path: Path, what: str) -> Finding:
    return Finding(str(path), 0, f"expected {what}, which bitmaps use, found none", "error", RESTORE)


def _sets_of(documents: Silo, path: Path) -> registry_sets.Entries:
    return registry_sets.read(documents)


def _check_sets(path: Path, sets: registry_sets.Entries, bitmaps: Silo) -> Iterator[Finding]:
    """Compare the names of the saved sets with their bitmaps."""
    keys = bitmaps.keys()
    stored = (keys[(keys >= bitmap.SETS) & (keys < bitmap.LAYERS)] - np.uint64(bitmap.SETS)).tolist()
    named = {number: (name, count) for name, (number, count) in sets.items()}
    for number in sorted({*stored, *named}):
        name, count = named.get(number, (None, 0))
        if name is None:
            what = f"expected a name for saved set {number}, which has a bitmap, found none"
            yield Finding(str(path), 0, what, "error", RESTORE)
            continue
        held = yield from _read(bitmaps.files.data, partial(_documents_of, bitmaps, number))
        if held is not None and held != count:
            found = "no bitmap" if held < 0 else str(held)
            what = f"saved set {name!r:.80}: expected a bitmap of {count} documents, found {found}"
            yield Finding(str(path), 0, what, "error", RESTORE)


def _documents_of(bitmaps: Silo, number: int, path: Path) -> int:
    """Return how many documents the bitmap of a saved set has, -1 if there is none."""
    held = bitmaps.get(bitmap.set_key(number))
    return -1 if held is None else len(bitmap.decode(held))


def _check_phase(path: Path, run: PhaseResult, bitmaps: Silo) -> Iterator[Finding]:
    def documents(_: Path) -> int:
        held = bitmaps.get(bitmap.phase_key(run.number))
        return -1 if held is None else len(bitmap.decode(held))

    counted = yield from _read(bitmaps.files.data, documents)
    if counted == -1 and run.documents:
        what = f"phase {run.name!r}: expected the bitmap of its {run.documents} documents, found none"
        yield Finding(str(path), 0, what, "error", RESTORE)
    elif counted is not None and counted > run.documents:  # those put or deleted since are not in it
        what = f"phase {run.name!r}: expected {counted} or more documents, found {run.documents}"
        yield Finding(str(path), 0, what, "error", RESTORE)
