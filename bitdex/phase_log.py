"""``dumps.json``: which phases an index has loaded, with counts, times and rejects (`formats.sealed`).

An entry carries the sequence of the commit it belongs to. The file is written before
that commit; entries above the committed sequence belong to a phase that was given up:
they are not taken, and the next writer takes them out.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bitdex import filesystem
from bitdex.errors import CorruptError, VersionError
from bitdex.formats import sealed

FORMAT = 2  # 1 had no seal


@dataclass(frozen=True)
class PhaseResult:
    """What loading a phase did. Rows in = rows applied + filtered + rejected."""

    name: str
    number: int
    sequence: int
    hash: str
    targets: list[str]
    sets_alive: bool
    rows: int
    applied: int
    filtered: int
    rejected: int
    documents: int
    deferred: int
    bytes: int
    seconds: float
    started: str
    rejects: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        text = (
            f"{self.name}: {self.rows:,} rows = {self.applied:,} applied + {self.filtered:,} filtered + "
            f"{self.rejected:,} rejected; {self.documents:,} documents in {self.seconds:.1f} s"
        )
        if self.deferred:
            text += f"; {self.deferred:,} deferred"
        for reason, found in self.rejects.items():
            text += f"\n  rejected {found['rows']:,}: {reason}; for example {'; '.join(found['examples'])}"
        return text


class PhaseLog:
    """The phases of an index by name, newest run of each."""

    def __init__(self, path: Path, committed: int):
        self._path = path
        every = sorted(read(path), key=_number)
        self._runs = {run.name: run for run in every if run.sequence <= committed}
        self._given_up = any(run.sequence > committed for run in every)

    @classmethod
    def create(cls, path: Path) -> "PhaseLog":
        """Write a log without phases, and return it."""
        filesystem.write_whole(path, sealed.encode({"format": FORMAT, "phases": []}))
        return cls(path, 0)

    def __iter__(self) -> Iterator[PhaseResult]:
        return iter(self._runs.values())

    def get(self, name: str) -> PhaseResult | None:
        """Return the last run of a phase, or None."""
        return self._runs.get(name)

    def next_number(self) -> int:
        """Return a number that no phase has had."""
        return max((run.number for run in self._runs.values()), default=0) + 1

    def record(self, result: PhaseResult) -> None:
        """Add a run; it counts once its sequence is committed."""
        runs = [run for run in self._runs.values() if run.name != result.name]
        older = self._runs.get(result.name)
        if older is not None:
            runs.append(older)  # the run that counts if this one is not committed
        self._write([*runs, result])
        self._runs[result.name] = result

    def forget(self) -> None:
        """Take what was given up out of the file: later commits must not make it count."""
        if self._given_up:
            self._write(list(self._runs.values()))
            self._given_up = False

    def _write(self, runs: list[PhaseResult]) -> None:
        content = {"format": FORMAT, "phases": [asdict(run) for run in runs]}
        filesystem.write_whole(self._path, sealed.encode(content))


def _number(run: PhaseResult) -> int:
    return run.number


def read(path: Path) -> list[PhaseResult]:
    """Return all runs in a file, those above the committed sequence too, or refuse it."""
    if not filesystem.exists(path):
        raise CorruptError.at(path, 0, "expected the record of loaded phases, found no file")
    content = sealed.decode(filesystem.read(path), str(path))
    if content.get("format") != FORMAT:
        raise VersionError(f"{path}: format version {content.get('format')}; this package reads {FORMAT}")
    try:
        return [PhaseResult(**entry) for entry in content["phases"]]
    except (KeyError, TypeError) as error:
        raise CorruptError.at(path, 0, f"expected the record of loaded phases, found {error!r}") from None
