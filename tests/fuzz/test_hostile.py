"""Hostile bytes by name: what the fuzz and the reading of parsers have found, and that checks are on."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest

from bitdex.errors import CorruptError
from bitdex.formats import frame, hash_index, header, registry
from bitdex.kernels import frames, gather, probes
from bitdex.kernels.checksum import crc32c
from bitdex.kernels.jit import JIT_ENABLED
from tests.fuzz.index_targets import DATA, KEYS, sound_table
from tests.fuzz.test_fuzz import MODES, ROOT
from tests.kernels.frame_store import IDENTITY, SEED, frames_at

FAR = (2**63 - 1, 2**63 - 24, 2**63 - 48, -(2**63), -1)
LATER = frame.order(9, frame.PUT, begin=True, synced=True)
OUTSIDE = """if True:
    import numpy as np
    from bitdex.kernels.jit import i64, kernel, r_u8, u64, w_u8
    from bitdex.kernels.memory import copy, load16, load32, load64, store16, store32, store64

    @kernel(r_u8, i64, i64, i64, i64, w_u8)
    def use(data, kind, at, start, size, out):
        if kind == 0:
            copy(out, at, data, start, size)
        elif kind == 1:
            out[0] += load16(data, start) + load32(data, start) + np.uint8(load64(data, start))
        elif kind == 2:
            store16(out, at, np.uint16(1))
        elif kind == 3:
            store32(out, at, np.uint32(1))
        else:
            store64(out, at, np.uint64(1))

    data, out, far = np.zeros(16, np.uint8), np.zeros(16, np.uint8), 2**63 - 1
    for inside in ((0, 0, 0, 16), (0, 16, 16, 0), (1, 0, 8, 0), (2, 14, 0, 0), (3, 12, 0, 0), (4, 8, 0, 0)):
        use(data, *inside, out)
    outside = [(0, *one) for one in ((0, 0, 17), (1, 0, 16), (0, 1, 16), (-1, 0, 2), (0, -1, 2), (0, 0, -1))]
    outside += [(0, far, 0, 1), (0, 0, far, 1), (0, 8, 8, far), (0, 17, 0, 0), (1, 0, 9, 0), (1, 0, -1, 0)]
    outside += [(2, 15, 0, 0), (3, 13, 0, 0), (4, 9, 0, 0), (4, -1, 0, 0), (4, far, 0, 0)]
    for one in outside:
        try:
            use(data, *one, out)
        except IndexError:
            continue
        raise SystemExit(f"{one} is outside and was done")
"""


@pytest.mark.parametrize("mode", ["bounds-checked", "plain"])
def test_an_access_outside_of_an_array_is_seen(mode):
    """Unaligned loads, stores and copies too: without that a run with bounds checks would prove little."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | MODES[mode]
    done = subprocess.run(
        [sys.executable, "-c", OUTSIDE], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_places_near_the_end_of_all_numbers_hold_no_frame():
    """Adding the size of a frame to them gives a negative number, which is before every end."""
    for place in FAR:
        assert not gather.holds_frame(KEYS[0], 0, DATA, place, SEED)
        assert not gather.holds_frame(KEYS[0], 2**32 - 1, DATA, place, SEED)
        counts, bad = np.zeros((2, 1), np.int64)
        for length in (24, 2**32 - 1, 2**63 - 1):
            probes.verify_records(
                DATA, KEYS[:1], np.array([place]), np.array([length]), SEED, 0, 1, counts, bad
            )
            assert bad[0] == place and counts[0] == 0


@pytest.mark.parametrize("kind", [0, 4, 15])
def test_a_frame_of_an_unknown_kind_does_not_hold(kind):
    data, _ = frames_at([(1, b"x", frame.order(1, kind)), (1, b"y", frame.order(1, frame.PUT))])
    assert scan(data) == 0 and scan(data[32:].copy()) == 1


def scan(data):
    """Return how many frames hold one after the other."""
    columns = np.zeros((2, 9), np.uint64), np.zeros((2, 9), np.int64)
    return frames.scan_frames(data, 0, len(data), SEED, columns[0][0], *columns[1], columns[0][1])


def test_a_later_frame_is_found_behind_random_bytes_or_not_at_all():
    rng = np.random.default_rng(5)
    for _ in range(200 if JIT_ENABLED else 5):
        junk = rng.integers(0, 256, 8 * int(rng.integers(0, 500)), np.uint8)
        found, _ = frames_at([(5, rng.bytes(int(rng.integers(0, 3000))), LATER)])
        data = np.concatenate((junk, found, rng.integers(0, 256, 99, np.uint8)))
        assert frames.find_later_frame(data, 0, len(data), np.uint64(8), SEED) == len(junk)
        assert frames.find_later_frame(data, 0, len(data), np.uint64(9), SEED) == -1
        data[len(junk) + 4 + int(rng.integers(0, 4))] ^= 1
        assert frames.find_later_frame(data, 0, len(data), np.uint64(8), SEED) == -1


def test_the_search_for_a_later_frame_takes_no_longer_where_many_seem_to_begin():
    """A torn batch of random bytes, or a crafted one: each place looked like a frame of megabytes."""
    size = 1 << (24 if JIT_ENABLED else 10)
    torn = np.random.default_rng(1).integers(0, 256, size, np.uint8)
    crafted = np.full(size // 8, (size // 2) << 32 | LATER, np.uint64).view(np.uint8)
    for data in (torn, crafted):
        start = time.process_time()
        assert frames.find_later_frame(data, 0, size, np.uint64(0), SEED) == -1
        assert time.process_time() - start < 1


def index_file(table, count=5):
    """Return the bytes of an index file with right checksums."""
    return np.frombuffer(b"".join(map(bytes, hash_index.encode(table, count, IDENTITY, 1))), np.uint8)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("length", 23),  # less than a frame
        ("length", 2**32 - 1),  # more than the region
        ("allocated", 16),
        ("allocated", 2**32 - 8),  # more than the data
        ("offset", len(DATA)),
        ("offset", 2**63 - 1),
        ("offset", 2**64 - 24),
    ],
)
def test_an_index_entry_that_cannot_be_is_refused(column, value):
    table = sound_table()
    entries = table.view(hash_index.ENTRY)
    used = np.flatnonzero(entries["length"])
    entries[column][used[2]] = value
    offset = header.SIZE + 24 * used[2]
    with pytest.raises(
        CorruptError, match=f"index.bin: offset {offset}: expected a record inside its region"
    ):
        hash_index.decode(index_file(table), "index.bin", len(DATA))


@pytest.mark.parametrize("count", [0, len(KEYS) + 1, 2**62])
def test_an_index_that_counts_other_keys_than_it_has_is_refused(count):
    with pytest.raises(
        CorruptError, match=f"offset 32: expected 5 keys, as there are entries, found {count}"
    ):
        hash_index.decode(index_file(sound_table(), count), "index.bin", len(DATA))


def test_an_index_without_empty_entries_at_its_end_is_refused():
    """A search for a free entry would go on behind the table."""
    table = sound_table()
    entries = table.view(hash_index.ENTRY)
    entries[-3] = entries[np.flatnonzero(entries["length"])[0]]
    with pytest.raises(CorruptError, match="expected 4 empty entries, found others"):
        hash_index.decode(index_file(table, len(KEYS) + 1), "index.bin", len(DATA))
    for word, value in ((-3, 1 << 32), (-2, 1), (-6, 1)):
        table = sound_table()
        table[word] = value
        with pytest.raises(CorruptError, match="expected 4 empty entries, found others"):
            hash_index.decode(index_file(table, len(KEYS)), "index.bin", len(DATA))


def test_names_that_end_before_their_file_are_refused():
    content = bytearray(registry.encode([registry.Entry(1, "a"), registry.Entry(2, "b")], IDENTITY))
    content[32] = 1
    content[60:64] = crc32c(bytes(content[:60])).to_bytes(4, "little")
    with pytest.raises(
        CorruptError, match=r"fields.bin: offset 73: expected the end of the file, found 9 bytes"
    ):
        registry.decode(bytes(content), IDENTITY)
