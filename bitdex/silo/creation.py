"""Making an empty silo, and the settings that stay with it."""

import secrets
from dataclasses import dataclass

import numpy as np

from bitdex import filesystem
from bitdex.errors import CorruptError, InvalidError
from bitdex.formats import meta as meta_format
from bitdex.formats import oplog
from bitdex.silo.files import SiloFiles
from bitdex.silo.lock import WriterLock
from bitdex.silo.log import OpsLog
from bitdex.silo.rules import rule

RULE, HEADROOM, MINIMUM, ALIGNMENT = "replace", 1.25, 0, 8  # of who does not say


@dataclass(frozen=True, slots=True)
class Settings:
    """What a silo is made with and keeps (`Silo.open`); None where the opener leaves it to the silo."""

    rule: str | None = None
    headroom: float | None = None
    minimum: int | None = None
    alignment: int | None = None
    identity: int | None = None

    def check(self) -> None:
        """Raise `InvalidError` for what no silo can have."""
        if self.rule is not None:
            rule(self.rule)
        if self.headroom is not None:
            per_mille_of(self.headroom)
        if self.minimum is not None and not 0 <= self.minimum < 1 << 24:
            raise InvalidError(f"minimum: {self.minimum} is outside 0 to {(1 << 24) - 1}")
        if self.alignment not in (None, 8, 16, 32):
            raise InvalidError(f"alignment: {self.alignment} is none of 8, 16, 32")
        if self.identity is not None and not 0 < self.identity < 1 << 64:
            raise InvalidError(f"identity: {self.identity} is outside 1 to 2^64-1")

    def record(self) -> np.ndarray:
        """Return the first commit record of a silo with these settings."""
        return meta_format.blank(
            secrets.randbits(63) + 1 if self.identity is None else self.identity,
            RULE if self.rule is None else self.rule,
            per_mille_of(HEADROOM if self.headroom is None else self.headroom),
            MINIMUM if self.minimum is None else self.minimum,
            ALIGNMENT if self.alignment is None else self.alignment,
        )

    def check_same(self, files: SiloFiles) -> None:
        """Raise an error if the silo that is there was made with other settings."""
        meta = files.read_meta(None)
        headroom = int(meta["headroom"][0])
        same_headroom = self.headroom is None or per_mille_of(self.headroom) == headroom
        own = {
            "rule": meta["rule"][0].decode(),
            "headroom": self.headroom if same_headroom else (1000 + headroom) / 1000,
            "minimum": int(meta["minimum"][0]),
            "alignment": int(meta["alignment"][0]),
        }
        for name, value in own.items():
            wanted = getattr(self, name)
            if wanted not in (None, value):
                raise InvalidError(
                    f"{name}: {files.directory} was made with {value!r}, not {wanted!r}; leave it out"
                )
        identity = int(meta["identity"][0])
        if self.identity not in (None, identity):
            raise CorruptError.at(
                files.meta, 16, f"expected identity {self.identity}, found {identity} (another store's file)"
            )


def create(files: SiloFiles, settings: Settings) -> None:
    """Make the files of an empty silo, unless somebody else has just made it; ``meta.bin`` comes last."""
    filesystem.make_directory(files.directory)
    lock = WriterLock(files.directory)
    try:
        if not filesystem.exists(files.meta):
            _refuse_remains(files)
            record = settings.record()
            for path in files.logs:
                OpsLog.create(path, int(record["identity"][0]), 0).close()
            content = meta_format.encode(record).ljust(meta_format.FILE_SIZE, b"\0")
            filesystem.write_whole(files.meta, content)
    finally:
        lock.release()


def _refuse_remains(files: SiloFiles) -> None:
    """Refuse a directory in which values lie: a new silo would take the place of their logs."""
    held = [path for path in (files.data, files.unfinished(files.data)) if filesystem.exists(path)]
    held += [path for path in files.logs if filesystem.exists(path) and filesystem.size(path) > oplog.START]
    if held:
        raise CorruptError(
            f"{files.meta}: expected the commit records of {held[0].name}, found no file; restore a backup, "
            "or move the other files away to begin anew"
        )


def per_mille_of(headroom: float) -> int:
    """Return headroom, a multiple of the record, as the thousandths on top of it."""
    if not 1.0 <= headroom <= 60.0:
        raise InvalidError(f"headroom: {headroom} is outside 1.0 to 60.0")
    return round((headroom - 1.0) * 1000)
