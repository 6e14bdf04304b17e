"""Writing the hash index of a commit, as a whole or the entries that have changed, behind its data."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from bitdex import filesystem
from bitdex.formats import hash_index, header, index_delta
from bitdex.kernels import hash_index as kernels
from bitdex.silo.compaction import NewData
from bitdex.silo.files import SiloFiles

DELTA_SHARE = 8  # changes are written until they are an eighth of the table; then all of it is


def write_index(
    files: SiloFiles, new: NewData, identity: int, generation: int, pool: ThreadPoolExecutor
) -> np.ndarray:
    """Write a table as the unfinished ``index.bin`` of a generation; return it as it lies in that file.

    Pages of a file are the system's to take back; the table that was made in memory can be let go.
    """
    new.settle()
    path = files.unfinished(files.index)
    filesystem.remove(path)
    descriptor = filesystem.open_write(path)
    try:
        encoded = pool.submit(
            hash_index.encode, new.table, new.count, identity, generation
        )  # its checksum, while the table is written
        filesystem.write_at(descriptor, new.table.view(np.uint8), header.SIZE)
        filesystem.write_at(descriptor, encoded.result()[0], 0)
        filesystem.sync(descriptor)
        mapped = filesystem.map_open(descriptor, header.SIZE + new.table.nbytes)
    finally:
        filesystem.close(descriptor)
    return mapped[header.SIZE :].view(np.uint64)


def write_delta(files: SiloFiles, new: NewData, meta: np.ndarray) -> int:
    """Append the changed entries behind those `meta` names; return their end, or 0 if they are too many."""
    assert new.changed is not None
    identity, generation = int(meta["identity"][0]), int(meta["index_generation"][0])
    end = int(meta["delta_end"][0])
    start = end or index_delta.START
    size = len(new.changed) * hash_index.ENTRY.itemsize + index_delta.BLOCK.itemsize
    if start + size > new.table.nbytes // DELTA_SHARE:
        return 0
    block = index_delta.encode(_entries(new), identity, start)
    new.settle()
    path = files.of_generation(files.delta, index_delta.MAGIC, generation) if end else None
    if path is None:
        path = files.unfinished(files.delta)
        filesystem.remove(path)
    descriptor = filesystem.open_write(path)
    try:
        if not end:
            filesystem.write_at(descriptor, index_delta.encode_header(identity, generation), 0)
        filesystem.write_at(descriptor, block, start)
        filesystem.sync(descriptor)
    finally:
        filesystem.close(descriptor)
    return start + size


def _entries(new: NewData) -> np.ndarray:
    """Return the entries of the changed keys; the third word is 0 for those that are gone."""
    assert new.changed is not None
    words = np.empty(3 * len(new.changed), np.uint64)
    kernels.copy_entries(new.table, new.changed, words)
    return words.view(hash_index.ENTRY)
