"""Writing the hash index of a commit, as a whole or the entries that have changed, behind its data."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from bitdex import filesystem
from bitdex.formats import hash_index, header, index_delta
from bitdex.silo.compaction import NewData
from bitdex.silo.files import SiloFiles
from bitdex.silo.key_index import SHARE


def write_index(
    files: SiloFiles, new: NewData, identity: int, generation: int, pool: ThreadPoolExecutor
) -> np.ndarray:
    """Write an index as the unfinished ``index.bin`` of a generation; return its table as it lies there.

    Pages of a file are the system's to take back; the table that was made in memory can be let go.
    """
    new.settle()
    assert not len(new.index.recent)
    table, count = new.index.table, new.index.count
    path = files.unfinished(files.index)
    filesystem.remove(path)
    descriptor = filesystem.open_write(path)
    try:
        encoded = pool.submit(
            hash_index.encode, table, count, identity, generation
        )  # its checksum, while the table is written
        filesystem.write_at(descriptor, table.view(np.uint8), header.SIZE)
        filesystem.write_at(descriptor, encoded.result()[0], 0)
        filesystem.sync(descriptor)
        mapped = filesystem.map_open(descriptor, header.SIZE + table.nbytes)
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
    if start + size > new.index.table.nbytes // SHARE:
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
    columns = (new.changed, *new.index.lookup(new.changed))
    return np.stack(columns, axis=1).view(hash_index.ENTRY)[:, 0]
