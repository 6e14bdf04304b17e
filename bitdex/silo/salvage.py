"""Salvage: which records of a damaged data file can be kept, and which bytes have to be taken out.

::

    the index holds     its records are the truth: each is verified, one that does not hold is taken
                        out as a whole, because the frames before a damaged one are not its value
    there is no index   regions are walked as for a new one, over damaged ones to the next header
                        that holds; a region whose header is all that is damaged is found by its frames

Without an index a lost region may have been the newest of its key, and an older, dead one would be
taken for it. That cannot be when all the dead bytes that the commit counts are found elsewhere;
otherwise salvage refuses.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bitdex import filesystem
from bitdex.errors import CorruptError
from bitdex.formats import data, frame, hash_index, header
from bitdex.kernels import frames as frame_kernels
from bitdex.kernels import probes, records
from bitdex.silo import survey
from bitdex.silo.base import WALK
from bitdex.silo.check import Finding, in_key_order, refused, used_bytes
from bitdex.silo.files import SiloFiles
from bitdex.silo.key_index import read_index
from bitdex.silo.operations import Operations
from bitdex.silo.remedies import AGAIN, NOTHING_LOST, Repair, of_finding, refusal

ANEW = "data.bin and its index are written anew"
TAKEN_OUT = "the bytes are set aside; " + ANEW
Range = tuple[int, int]


@dataclass(slots=True)
class Salvage:
    """What stays of a data file.

    Attributes
    ----------
    path : Path
    mapped : ndarray of uint8
        The file up to its committed end, or as far as it goes.
    entries : ndarray of formats.hash_index.ENTRY
        The records that stay.
    rewrite, reindex, recount : bool
        Whether the file, or only its index, has to be written anew, or only the dead bytes counted.
    lost : list of int
        Keys that are taken out.
    nameless : bool
        Whether values of keys are lost that nobody knows.
    ranges : list of (start, stop)
        The bytes that are taken out.
    repairs : list of Repair
    """

    path: Path
    mapped: np.ndarray
    entries: np.ndarray = field(default_factory=lambda: np.empty(0, hash_index.ENTRY))
    rewrite: bool = False
    reindex: bool = False
    recount: bool = False
    nameless: bool = False
    lost: list[int] = field(default_factory=list)
    ranges: list[Range] = field(default_factory=list)
    repairs: list[Repair] = field(default_factory=list)

    def note(self, offset: int, what: str, severity: str, remedy: str, action: str) -> None:
        """List a repair of the data file."""
        self.repairs.append(Repair(str(self.path), offset, what, severity, remedy, action))

    def take_out(self, entry: np.void, at: int) -> None:
        """Take the record of a key out, whose first damaged byte is somewhere behind `at`."""
        key, start = int(entry["key"]), int(entry["offset"]) - data.REGION_SIZE
        what = f"key {key}: expected a frame of it with a right checksum, found damaged bytes"
        action = f"key {key} is taken out; " + TAKEN_OUT
        self.repairs.append(Repair(str(self.path), at, what, "error", AGAIN, action, key))
        self.ranges.append((start, data.REGION_SIZE + start + _room(entry)))
        self.lost.append(key)
        self.rewrite = True


def salvage(files: SiloFiles, meta: np.ndarray) -> Salvage:
    """Find out what can be kept of the data file of a commit; `Refused` if that cannot be told."""
    found, seed = _locate(files, meta), np.uint32(frame.seed(int(meta["identity"][0])))
    walked, damaged = _walk(found.mapped, meta, seed)
    try:
        stored = in_key_order(read_index(files, meta))
    except OSError as error:  # a version that is not known is not damage
        paths = (files.index, files.delta, *map(files.unfinished, (files.index, files.delta)))
        finding = refused(error, "warning", "", *reversed(paths))
        found.repairs.append(of_finding(finding, "the index is made anew from data.bin"))
        found.reindex = True
        _keep_by_regions(found, meta, walked, damaged, seed)
    else:
        _keep_by_index(found, meta, stored, walked, damaged, seed)
    _check_rest(found, meta, damaged)
    return found


def _locate(files: SiloFiles, meta: np.ndarray) -> Salvage:
    """Find the data file of a commit, also if its header is damaged, and see how long it is."""
    generation, end = int(meta["data_generation"][0]), int(meta["data_end"][0])
    path = files.of_generation(files.data, data.MAGIC, generation)
    headless = None if path else _without_header(files)
    if path is None and headless is None:
        what = f"expected the data file of generation {generation}, found none"
        raise refusal(Finding(str(files.data), 24, what, "error", ""))
    whole = filesystem.map_read(path or headless)  # type: ignore[arg-type]
    found = Salvage(path or headless, whole[:end])  # type: ignore[arg-type]
    if path and int(data.decode_header(whole, str(path))["identity"]) != int(meta["identity"][0]):
        raise refusal(Finding(str(path), 16, "expected this silo's data, found another store's", "error", ""))
    if headless:
        found.note(0, "expected a file header, found damaged bytes", "warning", NOTHING_LOST, ANEW)
        found.ranges.append((0, header.SIZE))
        found.rewrite = True
    if len(whole) < end:
        what = f"expected at least {end} bytes, found {len(whole)}"
        found.note(len(whole), what, "error", AGAIN, "the records before are kept; " + ANEW)
        found.rewrite = True
    return found


def _without_header(files: SiloFiles) -> Path | None:
    """Return a data file whose header does not hold, or None."""
    for path in (files.data, files.unfinished(files.data)):
        try:
            data.decode_header(filesystem.map_read(path), str(path))
        except CorruptError:
            return path
        except FileNotFoundError:
            continue
    return None


# -- walking over damage -------------------------------------------------------------------


def _walk(mapped: np.ndarray, meta: np.ndarray, seed: np.uint32) -> tuple[np.ndarray, list[Range]]:
    """Return the last record of each region, in file order, and the ranges that are no regions."""
    sequence, aborted = meta["sequence"].copy(), _aborted(meta)
    at, parts, damaged = data.FIRST_REGION, [np.empty(0, hash_index.ENTRY)], []
    stop = np.zeros(2, np.int64)
    while at < len(mapped):
        columns = [np.empty(WALK, np.uint64) for _ in range(4)]
        count = records.walk_regions(mapped, at, len(mapped), seed, sequence, aborted, *columns, stop)
        parts.append(_entries(*(column[:count] for column in columns)))
        at = int(stop[0])
        if stop[1]:
            beyond = int(probes.find_region(mapped, at + data.REGION_SIZE, len(mapped), seed))
            damaged.append((at, beyond))
            at = beyond
    return np.concatenate(parts), damaged


def _aborted(meta: np.ndarray) -> np.ndarray:
    return meta["aborted"][0][: int(meta["aborted_count"][0])].copy()


def _entries(*columns: np.ndarray) -> np.ndarray:
    entries = np.empty(len(columns[0]), hash_index.ENTRY)
    for name, column in zip(hash_index.ENTRY.names or (), columns):
        entries[name] = column
    return entries


def _latest(entries: np.ndarray) -> np.ndarray:
    """Return the last record of each key, by key; entries are in file order, deleted ones have no length."""
    last = len(entries) - 1 - np.unique(entries["key"][::-1], return_index=True)[1]
    return entries[last][entries["length"][last] > 0]


def _room(entry: np.void) -> int:
    return int(entry["allocated"]) & ~hash_index.FLAGS


def _find_by_frames(
    mapped: np.ndarray, start: int, stop: int, meta: np.ndarray, seed: np.uint32
) -> np.ndarray:
    """Return the record (shape (1,) or (0,)) of a region whose header alone is damaged."""
    frames = Operations.empty((stop - start) // frame.SIZE + 1)
    columns = (frames.keys, frames.places, frames.sizes, frames.words)
    count = frame_kernels.scan_frames(mapped, start + data.REGION_SIZE, stop, seed, *columns)
    sequences = frames.words[:count] >> np.uint64(8)
    counts = (sequences <= meta["sequence"][0]) & ~np.isin(sequences, _aborted(meta))
    counts &= frames.keys[:count] == frames.keys[0]
    frames = frames[: int(np.argmin(np.append(counts, False)))]
    if not len(frames):
        return np.empty(0, hash_index.ENTRY)
    last, kinds = len(frames) - 1, frames.words & np.uint64(frame.KIND_MASK)
    first = int(np.flatnonzero(kinds == frame.PUT).max(initial=0))
    end = int(frames.places[last] + frame.SIZE + frames.sizes[last])
    strays, _ = survey.find_strays(mapped, np.array([end + 7 & ~7]), np.array([stop]), seed)
    if strays[0] >= 0:
        return np.empty(0, hash_index.ENTRY)
    offset, single = int(frames.places[first]), first == last and kinds[first] == frame.PUT
    length = 0 if kinds[last] == frame.DELETE else end - offset
    return _entries(
        *(np.array([value], np.uint64) for value in (frames.keys[0], offset, length, stop - offset | single))
    )


# -- with an index -------------------------------------------------------------------------


def _keep_by_index(
    found: Salvage,
    meta: np.ndarray,
    stored: np.ndarray,
    walked: np.ndarray,
    damaged: list[Range],
    seed: np.uint32,
) -> None:
    """Keep the records that the index names and that hold."""
    stored, rebuilt = survey.in_order(stored, "offset"), _latest(walked)
    bad = survey.find_damage(found.mapped, stored, seed)
    found.entries = survey.in_order(stored[bad < 0], "key")
    if len(found.entries) == len(stored) and np.array_equal(found.entries, rebuilt) and not damaged:
        return
    strays = _strays_between(found.mapped, survey.in_order(rebuilt, "offset"), seed)
    if not (strays or damaged or found.rewrite) and _tells(found, meta, rebuilt, bad[bad >= 0]):
        _follow_data(found, stored, rebuilt)
        return
    for row in np.flatnonzero(bad >= 0):
        found.take_out(stored[row], int(bad[row]))
    for start, stop in damaged:
        what = f"expected a region header, found damaged bytes; the next one holds at offset {stop}"
        action = "the index tells what lies there; " + TAKEN_OUT
        found.note(start, what, "warning", NOTHING_LOST, action)
        found.ranges.append((start, start + data.REGION_SIZE))
    if not (damaged or found.lost):
        what = "expected what the index tells, found damaged bytes where no record lies, which hide it"
        found.note(strays[0][0] if strays else 0, what, "warning", NOTHING_LOST, "the index counts; " + ANEW)
        found.ranges += strays
    found.rewrite = True


def _strays_between(mapped: np.ndarray, entries: np.ndarray, seed: np.uint32) -> list[Range]:
    """Return the bytes between records (in file order) that nothing accounts for, with those behind them."""
    starts, stops = survey.gaps_between(entries, len(mapped))
    strays, _ = survey.find_strays(mapped, starts, stops, seed)
    return [(int(strays[gap]), int(stops[gap])) for gap in np.flatnonzero(strays >= 0)]


def _tells(found: Salvage, meta: np.ndarray, rebuilt: np.ndarray, bad: np.ndarray) -> bool:
    """Tell whether the data file, in which nothing is damaged, is right where the index tells otherwise.

    It is not where frames were zeroed: then zeros lie where the index looks for one, or a record that
    was deleted comes back and the dead bytes are too few.
    """
    zeroed = any(not found.mapped[at : at + 8].any() for at in bad)
    return not zeroed and used_bytes(rebuilt) + int(meta["dead_bytes"][0]) == int(meta["data_end"][0])


def _follow_data(found: Salvage, stored: np.ndarray, rebuilt: np.ndarray) -> None:
    keys = survey.differing_keys(survey.in_order(stored, "key"), rebuilt)
    some = ", ".join(map(str, keys[:5])) + (", ..." if len(keys) > 5 else "")
    what = f"expected an index as data.bin tells it, found another for {len(keys)} keys ({some})"
    remedy, action = "compare their values with the source", "the index is made anew from data.bin"
    found.note(0, what, "error", remedy, action)
    found.entries, found.reindex = rebuilt, True


# -- without an index ----------------------------------------------------------------------


def _keep_by_regions(
    found: Salvage, meta: np.ndarray, walked: np.ndarray, damaged: list[Range], seed: np.uint32
) -> None:
    """Keep the records of the regions that hold."""
    lost: list[Range] = []
    for start, stop in damaged:
        record = _find_by_frames(found.mapped, start, stop, meta, seed)
        walked = np.concatenate((walked, record))
        if len(record):
            what = "expected a region header, found damaged bytes; the frames behind it hold"
            found.note(start, what, "warning", NOTHING_LOST, "its record is kept; " + TAKEN_OUT)
            found.ranges.append((start, start + data.REGION_SIZE))
            found.rewrite = True
        else:
            lost.append((start, stop))
    walked = survey.in_order(walked, "offset")
    lost += _find_lost(found.mapped, walked, damaged, seed)
    for start, stop in lost:
        what = (
            f"expected a region, found damaged bytes up to offset {stop}; whose they are only the index knew"
        )
        found.note(start, what, "error", AGAIN, TAKEN_OUT)
    found.ranges += lost
    found.rewrite = found.rewrite or bool(lost)
    found.entries = _latest(walked)
    missing = int(meta["data_end"][0]) - len(found.mapped)
    found.nameless = bool(lost) or missing > 0
    unseen = used_bytes(found.entries) + int(meta["dead_bytes"][0]) - int(meta["data_end"][0])
    if found.nameless and unseen + missing + sum(stop - start for start, stop in lost):
        raise refusal(
            Finding(str(found.path), lost[0][0] if lost else len(found.mapped), _AMBIGUOUS, "error", "")
        )
    if not len(_aborted(meta)) and not int(meta["pending"][0]):
        _distrust(found, seed)


_AMBIGUOUS = (
    "expected a region, found damaged bytes; the index is gone as well, and which older records these bytes "
    "have replaced cannot be told without it"
)


def _find_lost(mapped: np.ndarray, walked: np.ndarray, damaged: list[Range], seed: np.uint32) -> list[Range]:
    """Return the regions that have a header, but begin with bytes that are no frame."""
    ends = walked["offset"].astype(np.int64) + (walked["allocated"] & ~np.uint32(hash_index.FLAGS))
    busy = [*zip(walked["offset"].astype(np.int64).tolist(), ends.tolist()), *damaged]
    edges = np.array(sorted([*busy, (len(mapped), 0)]), np.int64).reshape(-1, 2)
    starts, stops = np.concatenate(([data.FIRST_REGION], edges[:-1, 1])), edges[:, 0].copy()
    strays, _ = survey.find_strays(mapped, starts, stops, seed)
    return [_region_around(mapped, int(starts[i]), int(strays[i])) for i in np.flatnonzero(strays >= 0)]


def _region_around(mapped: np.ndarray, at: int, place: int) -> Range:
    """Return the region that holds a place; regions follow one another from `at` on."""
    while True:
        end = at + data.REGION_SIZE + int(mapped[at : at + 4].view(np.uint32)[0])
        if place < end:
            return at, end
        at = end


def _distrust(found: Salvage, seed: np.uint32) -> None:
    """Take out the records behind which lies what may be damaged frames of theirs; no merge was given up."""
    entries = found.entries
    starts = entries["offset"].astype(np.int64) + (entries["length"].astype(np.int64) + 7 & ~7)
    stops = entries["offset"].astype(np.int64) + (entries["allocated"] & ~np.uint32(hash_index.FLAGS))
    strays, _ = survey.find_strays(found.mapped, starts, stops, seed)
    for row in np.flatnonzero(strays >= 0):
        found.take_out(entries[row], int(strays[row]))
    found.entries = entries[strays < 0]


# -- both ----------------------------------------------------------------------------------


def _check_rest(found: Salvage, meta: np.ndarray, damaged: list[Range]) -> None:
    """Refuse a file of which nothing holds; count the dead bytes of one that stays."""
    end, size = int(meta["data_end"][0]), len(found.mapped)
    if not len(found.entries) and (size <= data.FIRST_REGION < end or damaged == [(data.FIRST_REGION, size)]):
        what = "expected regions of this silo, found none"
        raise refusal(Finding(str(found.path), data.FIRST_REGION, what, "error", ""))
    dead = end - used_bytes(found.entries)
    if not found.rewrite and dead != int(meta["dead_bytes"][0]):
        what = f"expected {dead} dead bytes, found {int(meta['dead_bytes'][0])} counted"
        found.note(0, what, "warning", NOTHING_LOST, "they are counted anew")
        found.recount = True


def frames_of(found: Salvage, identity: int) -> Operations:
    """Return the frames of the records that stay; those of a record in their order."""
    keys = np.ascontiguousarray(found.entries["key"])
    places, lengths = (found.entries[name].astype(np.int64) for name in ("offset", "length"))
    counts, bad = np.empty(len(keys), np.int64), np.empty(len(keys), np.int64)
    seed = np.uint32(frame.seed(identity))
    probes.verify_records(found.mapped, keys, places, lengths, seed, 0, len(keys), counts, bad)
    ends = np.cumsum(counts)
    listed = np.empty(int(counts.sum()), np.int64)
    probes.list_record_frames(found.mapped, places, counts, ends - counts, listed)
    words = found.mapped[: len(found.mapped) & ~7].view(np.uint64)
    sizes = (words[listed // 8] >> np.uint64(32)).astype(np.int64)
    return Operations(np.repeat(keys, counts), listed, sizes, words[listed // 8 + 2])
