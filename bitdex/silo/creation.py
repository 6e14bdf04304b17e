"""Making an empty silo, and the options that stay with it."""

import secrets

from bitdex import filesystem
from bitdex.errors import InvalidError
from bitdex.formats import meta as meta_format
from bitdex.silo.files import SiloFiles
from bitdex.silo.lock import WriterLock
from bitdex.silo.log import OpsLog
from bitdex.silo.rules import rule


def create(
    files: SiloFiles, name: str, headroom: float, minimum: int, alignment: int, identity: int | None = None
) -> None:
    """Make the files of an empty silo, unless somebody else has just made it; ``meta.bin`` comes last."""
    _check_options(name, headroom, minimum, alignment)
    filesystem.make_directory(files.directory)
    lock = WriterLock(files.directory)
    try:
        if not filesystem.exists(files.meta):
            identity = identity or secrets.randbits(63) + 1
            record = meta_format.blank(identity, name, per_mille_of(headroom), minimum, alignment)
            for path in files.logs:
                OpsLog.create(path, identity, 0).close()
            content = meta_format.encode(record).ljust(meta_format.FILE_SIZE, b"\0")
            filesystem.write_whole(files.meta, content)
    finally:
        lock.release()


def _check_options(name: str, headroom: float, minimum: int, alignment: int) -> None:
    rule(name)
    per_mille_of(headroom)
    if not 0 <= minimum < 1 << 24:
        raise InvalidError(f"minimum: {minimum} is outside 0 to {(1 << 24) - 1}")
    if alignment not in (8, 16, 32):
        raise InvalidError(f"alignment: {alignment} is none of 8, 16, 32")


def per_mille_of(headroom: float) -> int:
    """Return headroom, a multiple of the record, as the thousandths on top of it."""
    if not 1.0 <= headroom <= 60.0:
        raise InvalidError(f"headroom: {headroom} is outside 1.0 to 60.0")
    return round((headroom - 1.0) * 1000)
