"""A backup of a silo: one committed state, written anew into a directory of its own.

::

    data.bin, index.bin    every record as one PUT frame, in key order, without headroom; synced
    ops_a.log, ops_b.log   empty
    meta.bin               last: now there is a silo

It is made of a pinned state and of nothing else, so writes, compactions and merges go on meanwhile;
what waits in the logs of that state is folded in. Every frame is verified when it is copied.
The new silo has the identity, the sequence and the settings of the old one, and generations of its own.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from bitdex import filesystem
from bitdex.formats import meta as meta_format
from bitdex.kernels.jit import THREADS
from bitdex.silo.compaction import Geometry, NewData, write_folded
from bitdex.silo.files import SiloFiles
from bitdex.silo.index_writer import write_index
from bitdex.silo.log import OpsLog
from bitdex.silo.state import State


def write_backup(state: State, directory: Path, report: Callable[[int], object]) -> None:
    """Write a state into an empty directory; it is a silo when this returns, and not before.

    Raises
    ------
    CorruptError
        If a record does not hold, with its file and key.
    """
    files = SiloFiles(directory)
    filesystem.make_directory(directory)
    with ThreadPoolExecutor(THREADS, "bitdex-backup") as pool:
        geometry = replace(Geometry.of(state.base.meta), headroom=0)
        new = write_folded(files, state, geometry, 1, pool, report)
        record = _record(state, new)
        identity, sequence = int(record["identity"][0]), int(record["sequence"][0])
        write_index(files, new, identity, 1, pool)
    for path in (files.data, files.index):
        filesystem.replace(files.unfinished(path), path)
    for path in files.logs:
        OpsLog.create(path, identity, sequence).close()
    filesystem.write_whole(files.meta, meta_format.whole(record))


def _record(state: State, new: NewData) -> np.ndarray:
    """Return the commit record of the new silo."""
    old = state.base.meta
    sizing = (int(old[name][0]) for name in ("headroom", "minimum", "alignment"))
    record = meta_format.blank(int(old["identity"][0]), old["rule"][0].decode(), *sizing)
    record["commit"] = old["commit"] + 1
    record["data_generation"] = record["index_generation"] = 1
    record["data_end"] = new.end
    record["sequence"] = record["applied"] = record["floor"] = state.sequence
    return record
