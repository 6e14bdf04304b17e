"""Backups: each holds one committed state, whatever goes on while it is made, and can be restored."""

import shutil
import subprocess
import sys
import threading
import time
import tracemalloc
from random import Random

import pytest

import bitdex
from bitdex.kernels.jit import JIT_ENABLED
from bitdex.silo import compaction
from bitdex.silo.silo import Silo
from tests.backups import KINDS, content_of
from tests.crash.index_work import Compact, Load, documents_of
from tests.scale import scale, seeds

ROUND = 20
ROUNDS = seeds(scale(1, 50))
MADE = ROUND * len(ROUNDS)
NUMBER, JOURNAL = 1000, 1001
LONG = pytest.mark.timeout(scale(300, 7200))


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


def test_a_backup_is_a_store_with_the_same_content(kind, tmp_path):
    with kind.make(tmp_path / "store") as store:
        expected = kind.content(store)
        store.backup(tmp_path / "backup")
        assert kind.content(store) == expected
    assert content_of(kind, tmp_path / "backup") == expected
    bitdex.restore(tmp_path / "backup", tmp_path / "deep" / "restored")
    assert content_of(kind, tmp_path / "deep" / "restored") == expected


def test_a_backup_is_written_to_like_its_source(kind, tmp_path):
    with kind.make(tmp_path / "store") as store:
        store.backup(tmp_path / "backup")
        kind.change(store)
        expected = kind.content(store)
    with kind.open(tmp_path / "backup", "w") as backup:
        kind.change(backup)
        assert kind.content(backup) == expected
    assert content_of(kind, tmp_path / "backup") == expected


def test_an_empty_store_has_a_backup(kind, tmp_path):
    with kind.create(tmp_path / "store") as store:
        store.backup(tmp_path / "backup")
        expected = kind.content(store)
    assert content_of(kind, tmp_path / "backup", "w") == expected


def test_a_backup_is_compact(tmp_path):
    kind = KINDS["silo"]
    with kind.make(tmp_path / "store") as silo:
        last = silo.records_frame().groupby("key").sequence.max()
        silo.backup(tmp_path / "backup")
        sequence, identity = silo.sequence, silo.identity
    with kind.open(tmp_path / "backup") as backup:
        stats, frames = backup.stats(), backup.records_frame().set_index("key")
        assert backup.identity == identity
    assert set(frames.kind) == {"put"} and frames.index.is_unique
    assert (frames.sequence == last.reindex(frames.index)).all()
    assert (stats["sequence"], stats["data_generation"], stats["index_generation"]) == (sequence, 1, 1)
    assert (stats["pending"], stats["dead_bytes"], stats["log_bytes"]) == (0, 0, 128)
    assert stats["headroom_bytes"] < 8 * len(frames), "alignment only"


def test_a_reader_backs_up_what_it_shows(kind, tmp_path):
    """Its files were replaced since: it has them open."""
    with kind.make(tmp_path / "store") as store, kind.open(tmp_path / "store") as reader:
        expected = kind.content(store)
        kind.change(store)
        store.compact()
        reader.backup(tmp_path / "older")
        assert reader.refresh()
        reader.backup(tmp_path / "newer")
        assert content_of(kind, tmp_path / "newer") == kind.content(store) != expected
    assert content_of(kind, tmp_path / "older") == expected


@pytest.mark.parametrize(("records", "size"), [(7, 1 << 30), (1 << 14, 100), (7, 100)])
def test_blocks_end_anywhere(records, size, tmp_path, monkeypatch):
    monkeypatch.setattr(compaction, "RECORDS", records)
    monkeypatch.setattr(compaction, "BYTES", size)
    kind = KINDS["silo"]
    with kind.make(tmp_path / "store") as silo:
        silo.backup(tmp_path / "backup")
        assert content_of(kind, tmp_path / "backup") == kind.content(silo)


@pytest.mark.parametrize("waiting", [False, True], ids=["compacted", "in the log"])
def test_memory_is_bounded_by_blocks(waiting, tmp_path, monkeypatch):
    value = bytes(1 << 17 if JIT_ENABLED else 1 << 11)
    monkeypatch.setattr(compaction, "BYTES", 2 * len(value))
    with Silo.open(tmp_path / "store", "w", sync="none") as silo:
        for key in range(200):
            silo.put(key, value)
        if not waiting:
            silo.compact()
        tracemalloc.start()
        try:
            silo.backup(tmp_path / "backup")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 48 * len(value) + (1 << 18), f"{peak:,} bytes for a backup of {200 * len(value):,}"


class Batches:
    """Batches that threads write into a silo, and what it holds at each sequence.

    Each puts its number under a key or appends it to a journal, so that none is lost or doubled unseen.
    """

    def __init__(self, silo, seed):
        self.silo, self.random = silo, Random(seed)
        self.written = {}  # sequence -> (kind, keys, values)
        self.merging = set()

    def write(self, number):
        """Write one batch."""
        kind = self.random.choice(["put", "merge", "merge", "delete"])
        keys, values = self._draw(number, NUMBER if kind == "put" else JOURNAL)
        if kind == "delete":
            keys, values = keys[1:], []
        call = getattr(self.silo, f"{kind}_many")
        sequence = call(keys) if kind == "delete" else call(keys, values)
        self.written[sequence] = kind, keys, values

    def maintain(self, number):
        """Compact, rewrite, or merge in place."""
        kind = self.random.choice(["compact", "compact", "rewrite", "merge"])
        if kind != "merge":
            getattr(self.silo, kind)()
            return
        keys, values = self._draw(number, JOURNAL)
        with self.silo.merge_writer() as writer:
            writer.merge_many(keys, values)
        self.written[writer.sequence] = "merge", keys, values

    def _draw(self, number, key):
        keys = [key, *self.random.sample(range(60), self.random.randint(1, 15))]
        return keys, [b"%d." % number, *(self.random.randbytes(self.random.randint(0, 40)) for _ in keys[1:])]

    def content(self, sequences):
        """Return what a silo with these batches holds."""
        found = {}
        for kind, keys, values in map(self.written.get, sorted(sequences)):
            for key, value in zip(keys, values):
                found[key] = value if kind == "put" else found.get(key, b"") + value
            if kind == "delete":
                for key in keys:
                    found.pop(key, None)
        return found


class Storm:
    """Threads that do things again and again while the block runs; what they raise is raised at its end."""

    def __init__(self, *things):
        self._over = threading.Event()
        self._errors = []
        self._threads = [threading.Thread(target=self._run, args=(thing,)) for thing in things]

    def _run(self, thing):
        number = 0
        try:
            while not self._over.is_set():
                number += 1
                thing(number)
        except BaseException as error:
            self._errors.append(error)

    def __enter__(self):
        for thread in self._threads:
            thread.start()

    def __exit__(self, *exception):
        self._over.set()
        for thread in self._threads:
            thread.join()
        if self._errors:
            raise self._errors[0]


@LONG
def test_silo_backups_beside_writes_compactions_and_merges(tmp_path):
    for seed in ROUNDS:
        _storm_over_a_silo(tmp_path / "round", seed)
        shutil.rmtree(tmp_path / "round")
    print(f"torture: {MADE} backups of a silo beside a writer and a compactor, each a committed state")


def _storm_over_a_silo(root, seed):
    random, known = Random(seed), []
    with KINDS["silo"].create(root / "store") as silo:
        writer, keeper = Batches(silo, seed), Batches(silo, seed + 1)
        keeper.written = writer.written
        with Storm(writer.write, lambda number: keeper.maintain(-number)):
            for i in range(ROUND):
                time.sleep(random.random() * 0.05)
                known.append(set(writer.written))
                silo.backup(root / f"backup-{i}")
        assert content_of(KINDS["silo"], root / "store") == writer.content(writer.written)
    for i, acknowledged in enumerate(known):
        bitdex.restore(root / f"backup-{i}", root / f"restored-{i}")
        with Silo.open(root / f"restored-{i}") as restored:
            sequence, found = restored.sequence, KINDS["silo"].content(restored)
            assert not list(restored.check())
        there = {one for one in writer.written if one <= sequence}
        assert acknowledged <= there, f"seed {seed}, backup {i}: {sorted(acknowledged - there)} are lost"
        merging = [one for one in there - acknowledged if writer.written[one][0] == "merge"]
        states = [writer.content(there), *(writer.content(there - {one}) for one in merging)]
        assert found in states, f"seed {seed}, backup {i}: no state at sequence {sequence}"


@LONG
def test_index_backups_beside_a_load(tmp_path):
    for seed in ROUNDS:
        _storm_over_an_index(tmp_path / "round", seed)
        shutil.rmtree(tmp_path / "round")
    print(f"torture: {MADE} backups of an index into which phases are loaded, each a committed state")


def _storm_over_an_index(root, seed):
    random, draw, known = Random(seed), Random(seed + 1), []
    states = [{}]  # the tables that are loaded, after each step

    def work(number):
        phase = draw.choice(["rows", "tags", "likes", "compact"])
        step = Compact() if phase == "compact" else Load(draw, phase, number, None)
        step.do(index)
        states.append(step.apply(states[-1]))

    with KINDS["index"].create(root / "store") as index, Storm(work):
        for i in range(ROUND):
            time.sleep(random.random() * 0.1)
            known.append(len(states) - 1)
            index.backup(root / f"backup-{i}")
    documents = [documents_of(tables) for tables in states]
    for i, acknowledged in enumerate(known):
        bitdex.restore(root / f"backup-{i}", root / f"restored-{i}")
        found, _ = content_of(KINDS["index"], root / f"restored-{i}")
        equal = [number for number, state in enumerate(documents) if state == found]
        assert equal and equal[-1] >= acknowledged, f"seed {seed}, backup {i}: {acknowledged}, {equal}"


READER = """if True:
    import sys
    from tests.backups import KINDS
    kind, store, target, count = KINDS[sys.argv[1]], *sys.argv[2:]
    with kind.open(store) as reader:
        for i in range(int(count)):
            reader.refresh()
            reader.backup(f"{target}-{i}")
            print(i, flush=True)
"""


def test_backups_by_a_reader_in_another_process(kind, tmp_path):
    """It takes no lock and knows of the writer's commits only what lies in the files."""
    count, states = scale(6, 200), []
    store = kind.make(tmp_path / "store")
    with store:
        states.append(kind.content(store))
        paths = tmp_path / "store", tmp_path / "backup"
        command = [sys.executable, "-c", READER, kind.name, *paths, str(count)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            known = _write_until_it_ends(kind, store, process, states)
    assert process.returncode == 0 and len(known) == count
    last = 0
    for i, committed in enumerate(known):
        found = content_of(kind, tmp_path / f"backup-{i}")
        assert found in states[last : committed + 2], f"backup {i}: no state after {last} up to {committed}"
        last = states.index(found)
    assert last > 0, "the writer has done nothing meanwhile"


def _write_until_it_ends(kind, store, process, states):
    """Write as long as the process runs; return the number of the state that each line of it comes after."""
    known = []
    reader = threading.Thread(target=lambda: known.extend(len(states) - 1 for _ in process.stdout))
    reader.start()
    while process.poll() is None:
        kind.change(store)
        states.append(kind.content(store))
        if len(states) % 5 == 0:
            store.compact()
    reader.join()
    return known
