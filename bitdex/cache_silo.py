"""CacheSilo: answers that outlive the process, in a silo of their own under ``cache/``.

::

    key 0    the state that the answers are true of: a text, which begins with the mark of its commit
    others   an answer (`formats.answer`); the key is a hash of its question, which is compared whole

It is derived data. A writer saves it when the index is compacted or closed, in one batch, after everything
that the index has committed is on the device: so that the state it names cannot be lost and come again as
another. Who opens the index takes it if it names the state that is committed, and a writer removes it if not,
or if it is damaged. Nothing depends on its being there, and no failure of it is one of the index.
"""

import hashlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np

from bitdex import filesystem
from bitdex.errors import BitdexError
from bitdex.formats import answer as format_
from bitdex.formats import frame
from bitdex.formats.answer import Answer
from bitdex.silo.silo import Silo

NAME, STATE = "cache", 0


class CacheSilo:
    """The saved answers of one index.

    Parameters
    ----------
    index : Path
    identity : int
    mark : callable
        Returns what the newest commit has in common with no other one (`Store.mark`): a directory into which
        an older state was put back may hold the answers of another history under the same sequence.

    Attributes
    ----------
    failure : str or None
        What went wrong when they were last read or written.
    """

    def __init__(self, index: Path, identity: int, mark: Callable[[], str]):
        self._directory, self._identity, self._mark = index / NAME, identity, mark
        self.failure: str | None = None

    def load(self, state: str) -> list[Answer] | None:
        """Return the answers that are true of a state; None if those that are there are not."""
        if not filesystem.exists(self._directory / "meta.bin"):
            return []
        try:
            with Silo.open(self._directory, "r", "replace", identity=self._identity) as silo:
                if silo.get(STATE) != self._marked(state):
                    return None
                keys = silo.keys()
                payloads = silo.get_many(keys[keys != STATE])
            return [format_.decode(one, str(self._directory)) for one in payloads if one is not None]
        except (BitdexError, OSError) as error:
            self.failure = str(error)
            return None

    def save(self, state: str, answers: Iterable[Answer]) -> None:
        """Let these be the answers, true of a state; only those that are new are written."""
        wanted = {_key(one.question): format_.encode(one) for one in answers}
        wanted[STATE] = self._marked(state)
        if not filesystem.exists(self._directory / "meta.bin"):
            self.discard()  # what a creation that died has left
        try:
            with Silo.open(self._directory, "w", "replace", sync="none", identity=self._identity) as silo:
                there = dict(zip((keys := silo.keys()).tolist(), silo.get_many(keys)))
                put = [key for key, payload in wanted.items() if there.get(key) != payload]
                gone = [key for key in there if key not in wanted]
                if put or gone:
                    kinds = [frame.PUT] * len(put) + [frame.DELETE] * len(gone)
                    values = [*(wanted[key] for key in put), *(b"" for _ in gone)]
                    silo.apply_many(kinds, np.array([*put, *gone], np.uint64), values)
                if silo.needs_compaction:
                    silo.compact()
            self.failure = None
        except (BitdexError, OSError) as error:
            self.failure = str(error)
            self.discard()

    def _marked(self, state: str) -> bytes:
        return f"{self._mark()} {state}".encode()

    def discard(self) -> None:
        """Remove what is saved."""
        discard(self._directory)


def discard(directory: Path) -> None:
    """Remove the files of a directory of saved answers; ``meta.bin`` first, without which there are none."""
    if not filesystem.is_directory(directory):
        return
    with suppress(OSError):
        for name in sorted(filesystem.list_directory(directory), key=lambda name: name != "meta.bin"):
            filesystem.remove(directory / name)


def _key(question: str) -> int:
    return int.from_bytes(hashlib.blake2b(question.encode(), digest_size=8).digest(), "little") or 1
