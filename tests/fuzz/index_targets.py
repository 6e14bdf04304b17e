"""The index of a silo under fuzz: tables with right checksums and insane entries, and their changes."""

import numpy as np

from bitdex.errors import CorruptError
from bitdex.formats import frame, hash_index, index_delta
from bitdex.kernels import gather, merge, probes
from bitdex.kernels import hash_index as kernels
from tests.fuzz.mutation import EDGES, Sample
from tests.fuzz.silo_targets import repair_header
from tests.fuzz.target import Target
from tests.kernels.frame_store import IDENTITY, SEED, frames_at

KEYS = np.array([0, 1, 2, 7 << 48, 2**64 - 1], np.uint64)
PAYLOADS = (b"", b"one", b"x" * 70, b"four" * 9, b"last")
DATA, FRAMES = frames_at([(int(k), p, frame.order(1, 1)) for k, p in zip(KEYS, PAYLOADS)], 64)
LENGTHS = np.array([frame.SIZE + len(one) for one in PAYLOADS], np.uint64)
WANTED = np.concatenate((KEYS, EDGES))
NOTHING, EVERY = np.empty(0, np.uint64), np.full(1, 2**64 - 1, np.uint64)  # marks
ARENA = 1 << 12  # bytes behind the data that merges may write to
GEOMETRY = np.array([250, 0, 8, len(DATA)])


def sound_table():
    """Return an index of the records in DATA, each in a region of its own."""
    rooms = np.diff(np.append(FRAMES, len(DATA))).astype(np.uint64)
    return kernels.build_index(KEYS, FRAMES.astype(np.uint64), LENGTHS, rooms | np.uint64(hash_index.SINGLE))


class Tables(Target):
    """An index file, asked for keys; records it names are read, and merged into where it is taken."""

    name = "index.bin"

    def samples(self):
        table = sound_table()
        content = b"".join(map(bytes, hash_index.encode(table, len(KEYS), IDENTITY, 1)))
        used = [64 + 24 * int(entry) for entry in kernels.lookup(table, KEYS)]
        fields = [
            (at + part, size) for at in used for part, size in ((8, 8), (16, 4), (20, 4), (16, 8), (0, 8))
        ]
        return [Sample(content, (*fields, (32, 8), (40, 8), (len(content) - 8, 8)))]

    def repair(self, data):
        repair_header(data)

    def parse(self, data):
        self._ask_hostile(data)
        _, table = hash_index.decode(data, "index.bin", len(DATA))
        return self._read(table), self._change(table.copy())

    def _ask_hostile(self, data):
        """Look keys up in the bytes as they are: that has to end, and to stay inside the table."""
        table = data[64 : len(data) - len(data) % 8].copy().view(np.uint64)
        table = table[: len(table) - len(table) % 3]
        if len(table) > 3 * kernels.SPILL:
            found, lengths = np.zeros((2, len(WANTED)), np.int64)
            kernels.lookup_serial(table, WANTED, found)
            kernels.find_records_serial(table, table, EVERY, WANTED, found, lengths)
            gather.find_single(table, table, EVERY, DATA, np.uint64(1), SEED, found)
            assert kernels.occupied_entries(table, np.zeros(9, np.int64)) <= 9

    def _read(self, table):
        places, offsets = np.zeros(len(WANTED), np.int64), np.zeros(len(WANTED) + 1, np.int64)
        totals = np.zeros(2, np.int64)
        gather.measure_singles_serial(table, NOTHING, NOTHING, WANTED, places, offsets, totals)
        assert 0 <= totals[0] <= len(WANTED) * len(DATA)
        out = np.zeros(totals[0], np.uint8)
        if gather.copy_singles_serial(DATA, WANTED, places, SEED, offsets, out) >= 0:
            raise CorruptError("a record does not hold")
        lengths, counts = np.zeros((2, len(WANTED)), np.int64)
        kernels.find_records_serial(table, NOTHING, NOTHING, WANTED, places, lengths)
        if gather.count_base_frames(DATA, WANTED, places, lengths, SEED, counts) >= 0:
            raise CorruptError("a record does not hold")
        listed = np.zeros(counts.sum(), np.int64)
        gather.list_base_frames(DATA, places, lengths, counts, np.cumsum(counts) - counts, listed)
        return int(totals[0]), listed.tolist()

    def _change(self, table):
        """Merge into every key, and take all of them out."""
        count, end = len(WANTED), len(DATA)
        data, arena, outcome = DATA.copy(), np.zeros(ARENA, np.uint8), np.zeros(count, np.uint8)
        state, ring = np.array([end, end + ARENA, end, 0, 0]), np.zeros(merge.AHEAD, np.int64)
        values, offsets = np.zeros(3 * count, np.uint8), np.arange(0, 3 * count + 1, 3)
        merge.merge_values(
            WANTED, values, offsets, np.uint64(frame.order(2, frame.MERGE)), np.arange(count), 0, GEOMETRY,
            SEED, table, data, arena, state, ring, outcome,
        )  # fmt: skip
        used = np.zeros(len(WANTED), np.int64)
        present = kernels.occupied_entries(table, used)
        probes.measure_distances(table, used[:present], np.zeros(present, np.int64))
        return outcome.tolist(), kernels.delete_entries(WANTED, table)


def repair_delta(data, at=index_delta.START):
    """Make the checksums of blocks of changes right."""
    while at + 16 <= len(data):
        size = 16 + 24 * int(data[at + 8 : at + 16].view("<u8")[0])
        if at + size > len(data):
            return
        entries = data[at + 16 : at + size].view(hash_index.ENTRY)
        data[at : at + 4] = np.frombuffer(index_delta.encode(entries, IDENTITY, at)[:4], np.uint8)
        at += size


class Deltas(Target):
    """Changes of an index, applied to a sound table."""

    name = "index.delta"

    def __init__(self):
        super().__init__()
        self._table = sound_table()

    def samples(self):
        entries = sound_table().view(hash_index.ENTRY)
        entries = entries[entries["allocated"] > 0]
        gone = entries[:1].copy()
        gone["length"], gone["allocated"] = 0, 0
        head = index_delta.encode_header(IDENTITY, 1)
        one = head + index_delta.encode(entries, IDENTITY, len(head))
        two = one + index_delta.encode(gone, IDENTITY, len(one))
        fields = [
            (64 + 16 + 24 * row + at, size) for row in range(5) for at, size in ((8, 8), (16, 4), (20, 4))
        ]
        return [Sample(one, ((72, 8), *fields)), Sample(two, ((72, 8), (len(one) + 8, 8), *fields))]

    def repair(self, data):
        repair_delta(data)

    def parse(self, data):
        table, count = self._table.copy(), 0
        for entries in index_delta.decode(data, len(data), IDENTITY, "index.delta", len(DATA)):
            columns = entries.view(np.uint64).reshape(-1, 3)
            gone = columns[:, 2] == 0
            kernels.delete_entries(np.ascontiguousarray(columns[gone, 0]), table)
            added = kernels.insert_entries(
                *(np.ascontiguousarray(columns[~gone, i]) for i in range(3)), table
            )
            count += len(entries)
            assert added >= 0
        assert probes.check_entries(table, np.uint64(len(DATA))) >= 0
        return count
