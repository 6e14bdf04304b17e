"""The files of a silo under fuzz: frames, logs, regions, index, its changes, commit records."""

import struct
import tempfile
from pathlib import Path

import numpy as np

from bitdex.formats import frame, header, meta, oplog
from bitdex.kernels import frames, gather, probes, records
from bitdex.kernels.checksum import crc32c
from bitdex.silo.log import OpsLog
from tests.fuzz.mutation import EDGES, Sample
from tests.fuzz.target import Target
from tests.kernels.frame_store import IDENTITY, SEED

PUT, MERGE, DELETE = frame.PUT, frame.MERGE, frame.DELETE
PLACES = np.concatenate((EDGES.view(np.int64), np.arange(0, 200, 8)))  # where hostile numbers point


def batch_of(sequence, *operations):
    """Return the frames of one batch of (key, payload, kind) as a log holds them."""
    last = len(operations) - 1
    return b"".join(
        frame.encode(key, payload, frame.order(sequence, kind, i == 0, i == last, i == 0), IDENTITY)
        for i, (key, payload, kind) in enumerate(operations)
    )


BATCHES = (
    batch_of(1, (1, b"", PUT)),
    batch_of(2, (1, b"x" * 40, MERGE), (2, b"12345", PUT), (2**64 - 1, b"", DELETE)),
    batch_of(3, (7, bytes(range(200)), PUT), (1, b"y", MERGE)),
)


def frame_fields(content, start=0):
    """Return the places of lengths, keys and order words of the frames in `content` from `start` on."""
    fields, at = [], start
    while at + frame.SIZE <= len(content):
        size = int.from_bytes(content[at + 4 : at + 8], "little")
        if at + frame.SIZE + size > len(content):
            break
        fields += [(at + 4, 4), (at + 8, 8), (at + 16, 1), (at + 17, 4)]
        at += int(frame.padded(size))
    return tuple(fields)


def put_checksum(data, at, checksum):
    """Write a checksum."""
    data[at : at + 4] = np.frombuffer(checksum.to_bytes(4, "little"), np.uint8)


def repair_frames(data, at, end=None):
    """Make the checksums of frames right that follow one another from `at` on."""
    end = len(data) if end is None else end
    while at + frame.SIZE <= end:
        size = int(data[at + 4 : at + 8].view("<u4")[0])
        if at + frame.SIZE + size > end:
            return
        put_checksum(data, at, crc32c(data[at + 4 : at + frame.SIZE + size], int(SEED)))
        at += int(frame.padded(size))


def repair_header(data):
    """Make the checksums of a file's body and header right."""
    if len(data) >= header.SIZE:
        put_checksum(data, 12, crc32c(data[header.SIZE :]))
        put_checksum(data, 60, crc32c(data[:60]))


class Frames(Target):
    """Frames one after the other, scanned, searched for, and verified where hostile numbers say."""

    name = "frame"
    raises = False

    def samples(self):
        whole = [*BATCHES, b"".join(BATCHES), BATCHES[0] + bytes(64) + BATCHES[2]]
        return [Sample(one, frame_fields(one)) for one in whole]

    def repair(self, data):
        repair_frames(data, 0, len(data))

    def parse(self, data):
        room = len(data) // frame.SIZE + 1
        keys, words = np.zeros((2, room), np.uint64)
        places, sizes = np.zeros((2, room), np.int64)
        count = frames.scan_frames(data, 0, len(data), SEED, keys, places, sizes, words)
        if count:
            stop = int(places[0] + frame.SIZE + sizes[0])
            whole = frame.encode(int(keys[0]), data[frame.SIZE : stop].tobytes(), int(words[0]), IDENTITY)
            assert whole[:stop] == data[:stop].tobytes()
        later = frames.find_later_frame(data, 0, len(data), np.uint64(1), SEED)
        return count, later, self._verify(data, np.uint64(keys[0]))

    def _verify(self, data, key):
        keys, lengths = np.full(len(PLACES), key), np.roll(PLACES, len(data) % len(PLACES))
        counts, bad = np.zeros((2, len(PLACES)), np.int64)
        probes.verify_records(data, keys, PLACES, lengths, SEED, 0, len(PLACES), counts, bad)
        pairs = zip(lengths[:4], PLACES[-4:])
        held = [gather.holds_frame(key, size, data, place, SEED) for size, place in pairs]
        return int(counts.sum()), int((bad == -1).sum()), sum(held)


class Log(Target):
    """A log file, as a silo reads it."""

    name = "log"

    def __init__(self):
        super().__init__()
        self._directory = tempfile.TemporaryDirectory(prefix="bitdex-fuzz-")
        self._path = Path(self._directory.name) / "ops_a.log"

    def close(self):
        self._directory.cleanup()

    def samples(self):
        whole = [oplog.encode_header(IDENTITY, 0) + b"".join(BATCHES[:count]) for count in (1, 2, 3)]
        whole.append(whole[2] + bytes(100))
        return [Sample(one, ((24, 8), (32, 8), *frame_fields(one, oplog.START))) for one in whole]

    def repair(self, data):
        repair_frames(data, oplog.START, len(data))
        if len(data) >= header.SIZE:
            put_checksum(data, 60, crc32c(data[:60]))

    def parse(self, data):
        self._path.write_bytes(data)
        log = OpsLog.read(self._path, IDENTITY, 0, None, False)
        assert oplog.START <= log.end < len(data) + 8  # the last padding may be missing
        return log.appended, log.last_sequence


def region(at, room, *operations):
    """Return a region for file offset `at` with the frames of (key, payload, order word)."""
    content = b"".join(frame.encode(*operation, IDENTITY) for operation in operations)
    check = crc32c(struct.pack("<QQ", at, room), int(SEED))
    return struct.pack("<II", room, check) + content.ljust(room, b"\xee")


def repair_regions(data, at):
    """Make the checks of regions right that follow one another from `at` on, and of the frames in them."""
    while at + 8 <= len(data):
        room = int(data[at : at + 4].view("<u4")[0])
        put_checksum(data, at + 4, crc32c(struct.pack("<QQ", at, room), int(SEED)))
        repair_frames(data, at + 8, min(len(data), at + 8 + room))
        at += 8 + room


class Regions(Target):
    """The regions of a data file, walked to rebuild its index."""

    name = "data.bin"
    raises = False

    def samples(self):
        single = region(0, 24, (5, b"", frame.order(1, PUT)))
        record = region(32, 160, (1, b"value", frame.order(1, PUT)), (1, b"more", frame.order(2, MERGE)))
        gone = region(200, 64, (2, b"x", frame.order(1, PUT)), (2, b"", frame.order(3, DELETE)))
        filler = region(272, 40)
        whole = [single, single + record, single + record + gone + filler]
        return [Sample(one, ((0, 4), (32, 4), (200, 4), *frame_fields(one, 8))) for one in whole]

    def repair(self, data):
        repair_regions(data, 0)

    def parse(self, data):
        at, stop, found = 0, np.zeros(2, np.int64), 0
        committed, aborted = np.array([2], np.uint64), np.array([1], np.uint64)[: len(data) & 1]
        while at < len(data) and not stop[1]:
            columns = np.zeros((4, 3), np.uint64)
            count = records.walk_regions(data, at, len(data), SEED, committed, aborted, *columns, stop)
            self._check_records(data, *(column[:count] for column in columns))
            at, found = int(stop[0]), found + count
        return found, at, self._look_between(data)

    def _look_between(self, data):
        """Find what nothing accounts for, as if all were a gap, and the next region behind any place."""
        state, found, ends = np.array([0, -1, 0]), np.zeros(2, np.int64), np.array([len(data)])
        starts = np.array([8 * (len(data) % 5)])
        while state[0] < 1:
            probes.walk_gaps(data, np.minimum(starts, ends), ends, 64, SEED, state, found[:1], found[1:])
        return found.tolist(), probes.find_region(data, int(starts[0]), len(data), SEED)

    def _check_records(self, data, keys, offsets, lengths, allocated):
        """What a walk tells is what a reader finds."""
        assert (offsets + (allocated & ~np.uint64(7)) <= len(data)).all()
        there = np.flatnonzero(lengths)
        counts = np.zeros(len(there), np.int64)
        places, sizes = offsets[there].astype(np.int64), lengths[there].astype(np.int64)
        assert gather.count_base_frames(data, keys[there], places, sizes, SEED, counts) == -1


def repair_commits(data):
    """Make the checksums of commit records right, wherever one begins."""
    for at in range(0, len(data) - 511, 512):
        if data[at : at + 7].tobytes() == meta.MAGIC:
            put_checksum(data, at + 508, crc32c(data[at : at + 508]))


class Commits(Target):
    """Commit records, in as many places as the format has."""

    name = "meta"

    def samples(self):
        record = meta.blank(IDENTITY, "replace", 250, 0, 8)
        whole = np.zeros(meta.FILE_SIZE, np.uint8)
        for number in (1, 2):
            record["commit"], record["sequence"], record["data_end"] = number, 10 * number, 4096
            part = meta.encode(record)
            whole[meta.place_of(record) :][: len(part)] = np.frombuffer(part, np.uint8)
        starts = np.flatnonzero(whole.reshape(-1, 512)[:, :7].any(axis=1)) * 512
        parts = ((8, 4), (24, 8), (32, 8), (72, 8))
        fields = [(int(start) + at, size) for start in starts for at, size in parts]
        return [Sample(whole.tobytes(), tuple(fields))]

    def repair(self, data):
        repair_commits(data)

    def parse(self, data):
        newest, earlier = meta.decode(data), meta.decode(data, 15)
        assert earlier["sequence"][0] <= 15
        return int(newest["commit"][0]), int(earlier["commit"][0])
