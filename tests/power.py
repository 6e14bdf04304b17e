"""Power: which directories a power cut may leave, told from a trace of `tests.tracer`.

The device keeps what was synced. Of what came later it may have kept anything::

    in memory      write  write  size  create  rename  write  ...        each lost or kept
    on the device  what file syncs and directory syncs have made durable

- A write is there, is not there, or some of its pieces are: 512 bytes or 4 KiB, at multiples of
  that in the file. A sector on the device is one that once was in memory: when a later write to
  the same sector is there, so is the earlier one.
- A length grows on its own: it may be there before the bytes, which are zeros then, or the bytes
  of a write only up to the sectors that came first.
- Creations, renames, unlinks and new directories are there or not, each for itself; a rename is
  never half there. A name may be there before the bytes of its file.
- Syncing a file keeps its bytes and its length, not its name. Syncing a directory keeps the names
  in it, not the bytes of its files, and not the name of the directory itself.

`cuts` yields these states at every event of a trace. Where at most `FEW` changes are at stake, they
are all subsets of them, and torn ones besides; else a sample of `MANY`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from random import Random

from tests.tracer import Event, Tracer

SECTOR, PAGE = 512, 4096
FEW, MANY = 6, 64
DIRECTORY = -1
EMPTY = bytes(SECTOR)


@dataclass
class Image:
    """A file's bytes: its length, and the sectors that are not all zero. In a state it stays as it is."""

    size: int = 0
    sectors: dict[int, bytes] = field(default_factory=dict)

    @classmethod
    def of(cls, content: bytes) -> "Image":
        """Return the image of these bytes."""
        image = cls()
        image.write(0, content)
        return image

    def copy(self) -> "Image":
        """Return another one with the same bytes."""
        return Image(self.size, dict(self.sectors))

    def write(self, offset: int, data: bytes) -> dict[int, bytes]:
        """Write, and return the sectors that were written to as they are now."""
        first, stop = offset // SECTOR, -(-(offset + len(data)) // SECTOR)
        joined = bytearray(b"".join(self.sectors.get(i, EMPTY) for i in range(first, stop)))
        start = offset - first * SECTOR
        joined[start : start + len(data)] = data
        sectors = {first + i: bytes(joined[i * SECTOR : (i + 1) * SECTOR]) for i in range(stop - first)}
        self.put(sectors, offset + len(data))
        return sectors

    def put(self, sectors: dict[int, bytes], size: int) -> None:
        """Set sectors, and a length if it is a larger one."""
        self.size = max(self.size, size)
        for at, sector in sectors.items():
            if sector == EMPTY:
                self.sectors.pop(at, None)
            else:
                self.sectors[at] = sector

    def cut(self) -> None:
        """Drop what lies behind the end."""
        last = self.size // SECTOR
        for at in [at for at in self.sectors if at >= last]:
            kept = self.sectors.pop(at)[: max(0, self.size - at * SECTOR)]
            self.put({at: kept.ljust(SECTOR, b"\0")}, 0)

    @cached_property
    def key(self) -> int:
        """A number that tells contents apart."""
        return hash((self.size, frozenset(self.sectors.items())))

    def save(self, path: Path) -> None:
        """Make a file of these bytes."""
        with path.open("wb") as file:
            for at in sorted(self.sectors):
                file.seek(at * SECTOR)
                file.write(self.sectors[at])
            file.truncate(self.size)


@dataclass(frozen=True)
class Bytes:
    """A change of a file that was not synced: sectors as they were after it, and the length."""

    file: int
    size: int
    sectors: dict[int, bytes] = field(default_factory=dict)
    grows: bool = False

    def tears(self, random: Random) -> list["Bytes"]:
        """Return parts of it: the length alone; some pieces; the first ones, and no length beyond them."""
        torn = [replace(self, sectors={})] if self.grows and self.sectors else []
        for size in (SECTOR, PAGE):
            pieces = sorted({at * SECTOR // size for at in self.sectors})
            if len(pieces) > 1:
                count = random.randrange(1, len(pieces))
                torn.append(self._part(size, random.sample(pieces, count)))
                if self.grows:
                    first = self._part(size, pieces[:count])
                    torn.append(replace(first, size=(pieces[count - 1] + 1) * size))
        return torn

    def _part(self, size: int, pieces: list[int]) -> "Bytes":
        kept = {at: sector for at, sector in self.sectors.items() if at * SECTOR // size in pieces}
        return replace(self, sectors=kept)


@dataclass(frozen=True)
class Names:
    """A change of a directory that was not synced: what its names stand for after it, None for nothing."""

    directory: Path
    names: dict[Path, int | None]


Change = Bytes | Names


@dataclass(frozen=True)
class State:
    """A directory that a power cut may leave.

    Attributes
    ----------
    names : dict
        Path to file number, or DIRECTORY.
    images : dict
        File number to its bytes.
    acknowledged : int
        Operations that had returned to their callers before the cut.
    event : int
        The power was cut behind this many events.
    lost : str
        The changes at stake, one letter each: + kept, - lost, ~ torn.
    """

    names: dict[Path, int]
    images: dict[int, Image]
    acknowledged: int
    event: int
    lost: str

    @cached_property
    def key(self) -> int:
        """A number that tells directories apart; what a lock's file says does not count."""
        files = {path: file for path, file in self.names.items() if path.suffix != ".lock"}
        contents = {path: self.images[file].key if file in self.images else 0 for path, file in files.items()}
        return hash(frozenset(contents.items()))

    def save(self, directory: Path) -> None:
        """Make a directory this one, whatever it was before."""
        directory.mkdir(exist_ok=True)
        for path in sorted(directory.rglob("*"), reverse=True):
            if path.is_file():
                path.unlink()
            elif path.relative_to(directory) not in self.names:
                path.rmdir()
        for path, file in sorted(self.names.items()):
            if file == DIRECTORY:
                (directory / path).mkdir(exist_ok=True)
            else:
                self.images[file].save(directory / path)

    def __str__(self) -> str:
        where = f"power cut behind event {self.event}, {self.acknowledged} acknowledged"
        return f"{where}; of what was at stake: {self.lost}"


class Disk:
    """What the device has of a directory, what the system's memory has, and the changes at stake."""

    def __init__(self, tracer: Tracer):
        directories = dict.fromkeys(tracer.directories - {Path()}, DIRECTORY)
        self.names: dict[Path, int] = {**directories, **tracer.names}
        self.kept = {file: Image.of((tracer.root / path).read_bytes()) for path, file in tracer.names.items()}
        self._memory = {file: image.copy() for file, image in self.kept.items()}
        self.stake: list[Change] = []
        self.acknowledged = self.events = 0

    def happen(self, event: Event) -> None:
        """Let the next event of the trace happen."""
        self.events += 1
        getattr(self, "_" + event.kind.replace(" ", "_"))(event)

    def _create(self, event: Event) -> None:
        self.kept[event.file], self._memory[event.file] = Image(), Image()
        self._rename_to({event.path: event.file})

    def _mkdir(self, event: Event) -> None:
        self._rename_to({event.path: DIRECTORY})

    def _rename(self, event: Event) -> None:
        self._rename_to({event.path: None, event.target: event.file})

    def _unlink(self, event: Event) -> None:
        self._rename_to({event.path: None})

    def _rename_to(self, names: dict[Path, int | None]) -> None:
        (directory,) = {path.parent for path in names}
        self.stake.append(Names(directory, names))

    def _write(self, event: Event) -> None:
        image = self._memory[event.file]
        before = image.size
        sectors = image.write(event.offset, event.data)
        self.stake.append(Bytes(event.file, image.size, sectors, image.size > before))

    def _size(self, event: Event) -> None:
        image = self._memory[event.file]
        if event.offset > image.size:
            image.size = event.offset
            self.stake.append(Bytes(event.file, image.size))

    def _sync(self, event: Event) -> None:
        self.kept[event.file] = self._memory[event.file].copy()
        self.stake = [one for one in self.stake if not (isinstance(one, Bytes) and one.file == event.file)]

    def _sync_directory(self, event: Event) -> None:
        for change in self.stake:
            if isinstance(change, Names) and change.directory == event.path:
                _apply_names(self.names, change)
        self.stake = [
            one for one in self.stake if not (isinstance(one, Names) and one.directory == event.path)
        ]

    def _acknowledge(self, event: Event) -> None:
        self.acknowledged += 1

    def states(self, random: Random) -> Iterator[State]:
        """Yield what a power cut may leave now."""
        for kept in _few(self.stake, random) if len(self.stake) <= FEW else _many(self.stake, random):
            yield self._state(kept)

    def _state(self, kept: list[Change | None]) -> State:
        names, images, changed = dict(self.names), dict(self.kept), set()
        for change in kept:
            if isinstance(change, Names):
                _apply_names(names, change)
            elif change is not None:
                if change.file not in changed:
                    changed.add(change.file)
                    images[change.file] = images[change.file].copy()
                images[change.file].put(change.sectors, change.size)
        for file in changed:
            images[file].cut()
        lost = "".join(map(_shown, kept, self.stake))
        return State(_reached(names, self.stake), images, self.acknowledged, self.events, lost)


def cuts(disk: Disk, events: list[Event], random: Random) -> Iterator[State]:
    """Yield what a power cut may leave, before the first event and after each; equal ones come again."""
    yield from disk.states(random)
    for event in events:
        disk.happen(event)
        yield from disk.states(random)


def _few(stake: list[Change], random: Random) -> Iterator[list[Change | None]]:
    """Yield all subsets; and each write torn, with all others kept, and with those before it."""
    for flags in product((True, False), repeat=len(stake)):
        yield [change if flag else None for change, flag in zip(stake, flags)]
    for i, change in enumerate(stake):
        for torn in change.tears(random) if isinstance(change, Bytes) else ():
            yield [*stake[:i], torn, *[None] * (len(stake) - i - 1)]
            yield [*stake[:i], torn, *stake[i + 1 :]]


def _many(stake: list[Change], random: Random) -> Iterator[list[Change | None]]:
    """Yield a sample: all, none, one missing or torn, and any."""
    yield list(stake)
    yield [None] * len(stake)
    for _ in range(MANY // 4):
        i = random.randrange(len(stake))
        yield [*stake[:i], _part(stake[i], random), *stake[i + 1 :]]
    for _ in range(MANY - MANY // 4 - 2):
        share = random.random()
        yield [change if random.random() < share else _part(change, random) for change in stake]


def _part(change: Change, random: Random) -> Change | None:
    return random.choice([None, *(change.tears(random) if isinstance(change, Bytes) else ())])


def _apply_names(names: dict[Path, int], change: Names) -> None:
    for path, file in change.names.items():
        if file is None:
            names.pop(path, None)
        else:
            names[path] = file


def _reached(names: dict[Path, int], stake: list[Change]) -> dict[Path, int]:
    """Return the names whose directories are there."""
    changes = (change.names.items() for change in stake if isinstance(change, Names))
    lost = {path for change in changes for path, file in change if file == DIRECTORY} - names.keys()
    return {path: file for path, file in names.items() if lost.isdisjoint(path.parents)} if lost else names


def _shown(kept: Change | None, change: Change) -> str:
    """Return a letter for a change: there, not there, torn."""
    return "-" if kept is None else "+" if kept is change else "~"
