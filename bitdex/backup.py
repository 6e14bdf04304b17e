"""Backup and restore: one commit of an index, written into a directory of its own.

::

    documents/  bitmaps/                        two silos, as `silo.backup` writes them
    schema.json  fields.bin  dictionaries.bin   copied, verified
    dumps.json                                  the phases up to the commit
    lost.json                                   if there is one
    commit.bin                                  last: now there is an index

Records come first: what a backup that was killed has left is then never taken for what a creation leaves
(`remains`), of which no file holds anything.

Everything shows the same commit of the source. Names and labels are copied from its files as they are at that
moment, which may be later: they only grow, so a later file is right as well. A backup is an
index like any other; restoring it checks all of it and then does the same with the backup as the source.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from bitdex import filesystem, registry_lost
from bitdex.errors import CorruptError, NotFoundError
from bitdex.findings import findings_in
from bitdex.formats import dictionary, registry, sealed
from bitdex.formats import meta as meta_format
from bitdex.phase_log import PhaseLog
from bitdex.progress import counter
from bitdex.silo import backup as silos
from bitdex.silo.silo import Silo
from bitdex.silo.state import State
from bitdex.silo.vacant import COMMITS, check_vacant, vacant
from bitdex.store import Store

SHOWN = 5  # findings in a message


def write_backup(store: Store, path: str | Path, progress: bool = False) -> None:
    """Write what a store has committed into a new or empty directory."""
    lost = registry_lost.read(store.directory)  # first: a rebuild commits, and then takes things out of it
    committed = store.committed
    states = {"documents": committed.documents.source, "bitmaps": committed.bitmaps.source}
    with vacant(path, *states) as directory:
        for name, state in states.items():
            assert isinstance(state, State)
            with counter(progress, name, len(state) if progress else 0, "records") as report:
                silos.write_backup(state, directory / name, report)
        commit = store.directory / "commit.bin"
        record = meta_format.decode(filesystem.read(commit), None, str(commit))
        _copy_names(store.directory, directory, record)
        log = PhaseLog.create(directory / "dumps.json")
        for run in committed.phases:
            log.record(run)
        registry_lost.write(directory, lost)
        record["sequence"] = committed.sequence
        filesystem.write_whole(directory / "commit.bin", meta_format.whole(record))


def _copy_names(source: Path, target: Path, record: np.ndarray) -> None:
    """Copy the definition, the names and the labels, as far as they count; each file is verified."""
    identity, least = (int(record[name][0]) for name in ("identity", "labels"))
    readers: dict[str, Callable[[bytes, str], object]] = {
        "schema.json": sealed.decode,
        "fields.bin": lambda content, name: registry.decode(content, identity, name),
    }
    for file, verify in readers.items():
        content = filesystem.read(source / file)
        verify(content, str(source / file))
        filesystem.write_whole(target / file, content)
    path = source / "dictionaries.bin"
    held = dictionary.decode_held(filesystem.read(path), least, identity, str(path))
    filesystem.write_whole(target / path.name, dictionary.encode(held.labels, identity))


def restore(backup: str | Path, path: str | Path, progress: bool = False) -> None:
    """Check a backup of an index or a silo completely, then write it into a new or empty directory.

    Parameters
    ----------
    backup : directory
        As `Index.backup` or `Silo.backup` has written it; it is only read.
    path : directory
        Where the index is to be; `bitdex.open` opens it afterwards.
    progress : bool
        Show bars.

    Raises
    ------
    NotFoundError
        If there is no backup.
    CorruptError
        If it is damaged: with the findings of `bitdex.check`. Nothing is written then.
    InvalidError
        If the directory is not empty, or lies inside a store.
    """
    source = Path(backup)
    check_vacant(path)
    if not any(filesystem.exists(source / name) for name in COMMITS):
        raise NotFoundError(f"{backup}: there is no backup here (neither commit.bin nor meta.bin)")
    _refuse_damage(source)
    if filesystem.exists(source / "meta.bin"):
        with Silo.open(source) as silo:
            silo.backup(path, progress)
        return
    store = Store(source, "r", "batch")
    try:
        write_backup(store, path, progress)
    finally:
        store.close()


def _refuse_damage(source: Path) -> None:
    found = [one for one in findings_in(source) if one.severity == "error"]
    errors = [f"{one.file}: offset {one.offset}: {one.what}" for one in found]
    if errors:
        more = f"; and {len(errors) - SHOWN} more" if len(errors) > SHOWN else ""
        raise CorruptError(f"{source}: the backup is damaged: {'; '.join(errors[:SHOWN])}{more}")
