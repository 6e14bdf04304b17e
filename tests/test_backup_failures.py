"""Backups that cannot be made, or are stopped: nothing is left that opens, and the source goes on."""

import errno
import re
import shutil
from contextlib import suppress
from random import Random

import numpy as np
import pytest

import bitdex
from bitdex.errors import (
    ClosedError,
    CorruptError,
    InvalidError,
    LockedError,
    NotFoundError,
    WriteFailedError,
)
from bitdex.formats import meta
from bitdex.silo.silo import Silo
from bitdex.silo.vacant import vacant
from tests import power, system
from tests.backups import KINDS, content_of, damage
from tests.crash.cutting import SwallowedSyncs, recorded
from tests.scale import FIRST_SEED, scale


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


@pytest.fixture
def store(kind, tmp_path):
    """Return an open store with something in it."""
    with kind.make(tmp_path / "store") as made:
        yield made


def files_of(path):
    """Return the names of the files below a directory, but those of locks."""
    return {str(one.relative_to(path)) for one in path.rglob("*") if one.is_file() and one.suffix != ".lock"}


def test_a_target_has_to_be_vacant(kind, store, tmp_path):
    store.backup(tmp_path / "backup")
    (tmp_path / "file").write_text("text")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "store")
    for name, message in {
        "store": "there is an index or silo already",
        "link": "there is an index or silo already",
        "backup": "there is an index or silo already",
        "store/inside": "lies inside the index or silo",
        "link/inside/of/it": "lies inside the index or silo",
        "backup/inside": "lies inside the index or silo",
        "file": "is a file",
        "full": "not empty",
    }.items():
        before = files_of(tmp_path)
        with pytest.raises(InvalidError, match=message):
            store.backup(tmp_path / name)
        with pytest.raises(InvalidError, match=message):
            bitdex.restore(tmp_path / "backup", tmp_path / name)
        assert files_of(tmp_path) == before
    assert not (tmp_path / "store" / "inside").exists()


def test_a_silo_of_an_index_is_not_backed_up_into_it(tmp_path):
    with KINDS["index"].make(tmp_path / "store") as index:
        with pytest.raises(InvalidError, match="lies inside the index or silo"):
            index.documents.silo.backup(tmp_path / "store" / "copy")
        index.documents.silo.backup(tmp_path / "copy")
        assert content_of(KINDS["silo"], tmp_path / "copy") == KINDS["silo"].content(index.documents.silo)


def test_two_do_not_fill_one_directory(kind, store, tmp_path):
    with vacant(tmp_path / "backup"), pytest.raises(LockedError, match="has it open for writing"):
        store.backup(tmp_path / "backup")
    store.backup(tmp_path / "backup")
    assert content_of(kind, tmp_path / "backup") == kind.content(store)


def test_a_closed_store_has_no_backup(kind, store, tmp_path):
    store.close()
    with pytest.raises(ClosedError):
        store.backup(tmp_path / "backup")
    assert not (tmp_path / "backup").exists()


def test_a_store_that_a_failed_write_made_read_only_has_a_backup(kind, store, tmp_path, monkeypatch):
    expected = kind.content(store)
    with monkeypatch.context() as patched:
        system.install(patched, system.Faulty(1, among=("pwrite",)))
        with pytest.raises(WriteFailedError):
            kind.change(store)
    assert kind.failure(store) is not None
    store.backup(tmp_path / "backup")
    assert content_of(kind, tmp_path / "backup") == expected


@pytest.mark.parametrize("name", ["nothing", "empty"])
def test_what_is_no_backup_is_not_restored(name, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFoundError, match="no backup here"):
        bitdex.restore(tmp_path / name, tmp_path / "restored")
    assert not (tmp_path / "restored").exists()


def make_backup(store, tmp_path):
    """Back a store up; return a function that does it again somewhere else, and one that restores it."""
    store.backup(tmp_path / "source")
    return {"backup": store.backup, "restore": lambda path: bitdex.restore(tmp_path / "source", path)}


@pytest.mark.parametrize("way", ["backup", "restore"])
def test_a_process_that_dies_at_any_call_leaves_nothing_that_opens(kind, store, way, tmp_path, monkeypatch):
    """Or all of it, when it dies while the last name is made durable, or the lock released."""
    expected, act, opened = kind.content(store), make_backup(store, tmp_path)[way], []
    for number in range(1000):
        target, killer = tmp_path / f"target-{number}", system.Killer(number)
        with monkeypatch.context() as patched:
            dying = system.install(patched, killer, SwallowedSyncs())
            try:
                act(target)
                break
            except system.Killed:
                dying.bury()
        try:
            found = content_of(kind, target)
        except NotFoundError:
            with pytest.raises(NotFoundError):
                bitdex.restore(target, tmp_path / "restored")
            _put_another_in_its_place(kind, target)
        else:
            assert found == expected
            opened.append(number)
    last = list(range(number - len(opened), number))
    assert number > 20 and opened == last and len(opened) <= 2, f"opened after {opened} of {number} calls"


def _put_another_in_its_place(kind, target):
    """See that it is refused where a backup has left files: the first were taken for those of a creation."""
    left = files_of(target) if target.exists() else set()
    if not left:
        return
    with pytest.raises((InvalidError, CorruptError), match=r"not empty|expected the commit records"):
        if kind.name == "silo":
            Silo.open(target, "w")
        else:
            bitdex.create(target, {"name": "another", "config": {}})
    assert files_of(target) == left


@pytest.mark.parametrize("way", ["backup", "restore"])
def test_a_call_that_fails_leaves_nothing(kind, store, way, tmp_path, monkeypatch):
    """The source is no worse for it, and the next backup may go to the same place."""
    act, target = make_backup(store, tmp_path)[way], tmp_path / "target"
    step, expected = scale(3, 1), kind.content(store)
    for number in range(1, 1000, step):
        faulty = system.Faulty(number, errno.EIO)
        with monkeypatch.context() as patched:
            system.install(patched, faulty, SwallowedSyncs())
            try:
                act(target)
                break  # nothing failed that counts
            except OSError as error:
                assert error.errno == errno.EIO
        assert not target.exists() or files_of(target) == set(), f"call {number}: {faulty.failed}"
        assert kind.failure(store) is None
    assert number > 20 and content_of(kind, target) == expected
    kind.change(store)


def test_an_interrupt_leaves_nothing(kind, store, tmp_path, monkeypatch):
    target = tmp_path / "target"
    for number in range(0, 1000, scale(7, 1)):
        killer = system.Killer(number, KeyboardInterrupt(), once=True)
        with monkeypatch.context() as patched, suppress(KeyboardInterrupt):
            system.install(patched, killer, SwallowedSyncs())
            store.backup(target)
        if (target / kind.commit).exists():
            break
        assert not target.exists() or files_of(target) == set(), f"interrupted at call {number + 1}"
    assert killer.calls <= number + 1, "interrupted before the last call, that of the lock"
    assert number > 20 and content_of(kind, target) == kind.content(store)


def test_a_full_disk_leaves_nothing(kind, store, tmp_path, monkeypatch):
    store.backup(tmp_path / "whole")
    needed = sum(path.stat().st_size for path in (tmp_path / "whole").rglob("*") if path.is_file())
    target, count = tmp_path / "disk" / "target", scale(8, 128)
    target.parent.mkdir()
    for limit in np.linspace(0, needed - 1, count).astype(int).tolist():
        with monkeypatch.context() as patched:
            quota = system.Quota(target.parent, limit)
            system.install(patched, quota, SwallowedSyncs())
            with pytest.raises(WriteFailedError, match="No space left") as caught:
                store.backup(target)
            assert quota.refused and caught.value.errno == errno.ENOSPC
            assert files_of(target) == set()
            kind.change(store)
            quota.limit = 64 << 20
            store.backup(target)
        assert content_of(kind, target) == kind.content(store)
        shutil.rmtree(target)
    print(f"torture: {count} sizes of a full disk under a backup of {needed:,} bytes ({kind.name})")


def test_a_power_cut_leaves_all_of_it_or_nothing(kind, store, tmp_path):
    """And all of it once `backup` has returned."""
    expected, random = kind.content(store), Random(FIRST_SEED)
    (tmp_path / "disk").mkdir()
    with recorded(tmp_path / "disk") as tracer:
        disk = power.Disk(tracer)
        store.backup(tmp_path / "disk" / "deep" / "target")
        tracer.acknowledge()
        events = tracer.end()
    seen, whole = {}, 0
    for state in power.cuts(disk, events, random):
        if state.key not in seen and (state.acknowledged or random.random() < scale(0.1, 1)):
            state.save(tmp_path / "cut")
            seen[state.key] = _opens(kind, tmp_path / "cut" / "deep" / "target", expected)
        if state.acknowledged:
            assert seen[state.key], f"BITDEX_SEED={FIRST_SEED}: {state}"
    whole = sum(seen.values())
    assert 0 < whole < len(seen)
    print(f"torture: {len(seen)} states after a power cut in a backup ({kind.name}), {whole} of them whole")


def _opens(kind, path, expected):
    """Whether a store can be opened; it then has to be whole."""
    try:
        found = content_of(kind, path)
    except (NotFoundError, CorruptError):
        return False
    assert found == expected
    return True


def places_of_values(silo):
    """Return the file, the offset and the key of every value that counts, one byte long at least."""
    frames = silo.records_frame()
    frames = frames[(frames.length > 0) & (frames.kind != "delete")]
    cut = frames[frames.kind.isin(["put", "delete"])].groupby("key").number.max()
    frames = frames[frames.number >= frames.key.map(cut).fillna(0)]
    return [(row.file, row.offset + 24 + row.length // 2, row.key) for row in frames.itertuples()]


def test_a_damaged_value_is_named_and_not_copied(tmp_path):
    kind = KINDS["silo"]
    with kind.make(tmp_path / "store") as silo:
        alive, places = set(silo.keys().tolist()), places_of_values(silo)
        places = [place for place in places if place[2] in alive]
        assert len({file for file, *_ in places}) == 2, "in the data and in a log"
        for file, offset, key in places[:: scale(12, 1)]:
            damage(tmp_path / "store" / file, offset)
            with pytest.raises(CorruptError, match=rf"{file}: offset \d+: expected a frame of key {key} "):
                silo.backup(tmp_path / "target")
            assert files_of(tmp_path / "target") == set()
            damage(tmp_path / "store" / file, offset)
        silo.backup(tmp_path / "target")
        assert content_of(kind, tmp_path / "target") == kind.content(silo)


@pytest.mark.parametrize("name", ["schema.json", "fields.bin", "dictionaries.bin", "commit.bin"])
def test_damaged_names_are_not_copied(name, tmp_path):
    with KINDS["index"].make(tmp_path / "store") as index:
        offsets = [offset for offset, _ in meta.copies(bytes(8192))] if name == "commit.bin" else [20]
        for offset in offsets:
            damage(tmp_path / "store" / name, offset)
        with pytest.raises(CorruptError, match=name):
            index.backup(tmp_path / "target")
        assert files_of(tmp_path / "target") == set()


def test_a_damaged_backup_is_not_restored(kind, store, tmp_path):
    """What is damaged is named; damage to what can be made anew is none."""
    store.backup(tmp_path / "backup")
    random, expected, refused = Random(FIRST_SEED), kind.content(store), 0
    names = sorted(files_of(tmp_path / "backup"))
    rounds = scale(2, 40)
    for name in names * rounds:
        path = tmp_path / "backup" / name
        offset, bit = random.randrange(path.stat().st_size), random.randrange(8)
        damage(path, offset, bit)
        try:
            bitdex.restore(tmp_path / "backup", tmp_path / "restored")
        except CorruptError as error:
            refused += 1
            assert path.name in str(error), f"bit {bit} of byte {offset} of {name}: {error}"
            assert not (tmp_path / "restored").exists()
        else:
            assert content_of(kind, tmp_path / "restored") == expected, f"bit {bit}, byte {offset}, {name}"
            shutil.rmtree(tmp_path / "restored")
        damage(path, offset, bit)
    assert refused >= len(names) // 3
    print(f"torture: restore refuses {refused} of {len(names) * rounds} flipped bits ({kind.name})")


def test_a_backup_of_which_a_file_is_missing_is_not_restored(kind, store, tmp_path):
    store.backup(tmp_path / "backup")
    expected = kind.content(store)
    for name in sorted(files_of(tmp_path / "backup")):
        (tmp_path / "backup" / name).rename(tmp_path / "aside")
        try:
            bitdex.restore(tmp_path / "backup", tmp_path / "restored")
        except (CorruptError, NotFoundError) as error:
            assert re.search(rf"{re.escape(name)}|no backup here", str(error)), name
        else:
            assert name.endswith("index.bin"), name
            assert content_of(kind, tmp_path / "restored") == expected
            shutil.rmtree(tmp_path / "restored")
        (tmp_path / "aside").rename(tmp_path / "backup" / name)


def test_many_findings_are_shortened(tmp_path):
    with Silo.open(tmp_path / "store", "w", sync="none") as silo:
        silo.put_many(range(20), [b"value"] * 20)
        silo.backup(tmp_path / "backup")
    with Silo.open(tmp_path / "backup") as backup:
        places = backup.find_many(range(20))[0]
    for place in places:
        damage(tmp_path / "backup" / "data.bin", int(place) + 26)
    with pytest.raises(CorruptError, match=r"the backup is damaged: (.*; ){5}and \d\d more$"):
        bitdex.restore(tmp_path / "backup", tmp_path / "restored")
