"""Systems that lack calls of Linux: macOS, as far as its calls go, and those that are not served."""

import errno
import mmap
import os
import re
import subprocess
import sys
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

import bitdex
from bitdex import filesystem
from bitdex.errors import LockedError, WriteFailedError
from bitdex.silo.silo import Silo
from tests import macos, system
from tests.crash.filling import QuotaDisk, fill, fill_memory_disks, may_mount

PAGE = 4096
SCHEMA = {"name": "shop", "config": {"filter_fields": [{"name": "level", "field_type": "single_value"}]}}


class Syncs:
    """A plug that notes what is synced."""

    def __init__(self):
        self.paths = Counter()

    def around(self, call, proceed):
        if call.name in ("fsync", "fdatasync"):
            self.paths[re.sub(r"\.[0-9a-f]{12}$", "", call.path.name)] += 1
        return proceed(call)


def work(directory):
    """Do everything a silo does to its files; return what it holds, opened anew."""
    values = [b"%d" % key * (key % 50) for key in range(400)]
    with Silo.open(directory, "w", rule="concatenate", sync="always") as silo:
        silo.put_many(range(400), values)
        silo.compact()
        silo.merge_many(range(0, 400, 3), [b"+" * 9] * 134)
        silo.compact()
        with silo.merge_writer() as writer:
            writer.merge_many([*range(300), 1000], [b"-" * 70] * 301)
        silo.delete(7)
        silo.rewrite()
        silo.put(8, b"last")
    with Silo.open(directory, "w", sync="always") as silo:
        silo.merge(8, b"!")
        assert not list(silo.check())
    with Silo.open(directory) as silo:
        keys = silo.keys()
        return {int(key): silo.get(int(key)) for key in keys}


def expected():
    held = {key: b"%d" % key * (key % 50) for key in range(400)} | {1000: b""}
    held |= {key: held[key] + b"+" * 9 for key in range(0, 400, 3)}
    held |= {key: held[key] + b"-" * 70 for key in [*range(300), 1000]}
    return {key: value for key, value in held.items() if key != 7} | {8: b"last!"}


def test_a_history_on_macos(tmp_path, monkeypatch):
    """It was an AttributeError, and a sync that the drive did not hear of."""
    here, there = Syncs(), Syncs()
    with monkeypatch.context() as patched:
        system.install(patched, here)
        assert work(tmp_path / "silo") == expected()
    (tmp_path / "there").mkdir()
    with monkeypatch.context() as patched:
        mac = macos.install(patched, there)
        assert work(tmp_path / "there" / "silo") == expected()
    assert mac.synced == [] and len(mac.flushed) == there.paths.total() > 20
    assert there.paths - Counter(there=1) == here.paths - Counter({tmp_path.name: 1})
    assert {"data.bin", "meta.bin", "ops_a.log", "silo"} <= there.paths.keys()


def test_an_index_on_macos(tmp_path, monkeypatch):
    mac = macos.install(monkeypatch)
    with bitdex.create(tmp_path / "index", SCHEMA) as index:
        index.put_many([{"id": id, "level": id % 3} for id in range(90)])
        index.compact()
        index.patch(4, {"level": 7})
        index.backup(tmp_path / "backup")
    for name in ("index", "backup"):
        with bitdex.open(tmp_path / name) as index:
            assert index.count("level == 1") == 29 and index.ids("level == 7").tolist() == [4]
            index.put({"id": 4, "level": 1})
            index.compact()
            assert index.count("level == 1") == 30 and index.check().empty
    assert mac.synced == [] and mac.flushed


@pytest.mark.parametrize("name", macos.REFUSALS)
def test_a_file_system_that_knows_no_full_sync_has_the_usual_one(tmp_path, monkeypatch, name):
    mac = macos.install(monkeypatch)
    mac.refusal = macos.REFUSALS[name]
    assert work(tmp_path / "silo") == expected()
    assert mac.flushed == [] and len(mac.synced) > 20


def test_a_full_sync_that_fails_is_a_write_that_failed(tmp_path, monkeypatch):
    """And is not tried again in another way, which might succeed and still have lost something."""
    mac = macos.install(monkeypatch)
    silo = Silo.open(tmp_path / "silo", "w", sync="always")
    mac.refusal = errno.EIO
    with pytest.raises(WriteFailedError):
        silo.put(1, b"a")
    with pytest.raises(LockedError, match="since a write failed"):
        silo.put(2, b"b")
    assert mac.synced == []
    silo.close()


@pytest.mark.parametrize("kind", ["silo", "index"])
def test_a_full_disk_on_macos(tmp_path, kind):
    """On a real one a store through a map to space that was not allocated would end the process."""
    sizes, done = [PAGE * pages for pages in (3, 17, 60, 384)], []
    for free in sizes:
        (tmp_path / f"{free}").mkdir()
        with pytest.MonkeyPatch.context() as patched:
            disk = QuotaDisk(tmp_path / f"{free}", patched, macos.install)
            done.append(fill(kind, disk, tmp_path / f"{free}", free))
    assert done[-1] > 3
    (tmp_path / "disk").mkdir()
    if may_mount(tmp_path / "disk"):
        assert fill_memory_disks(tmp_path / "disk", kind, sizes, as_macos=True)[-1] > 3


@pytest.fixture
def holed(tmp_path):
    """Return a file of which most is a hole, and what it holds."""
    path, held = tmp_path / "holed", bytearray(3 << 20)
    held[1_500_000 : 1_500_000 + 9] = b"in a hole"
    with path.open("wb") as file:
        file.seek(1_500_000)
        file.write(b"in a hole")
        file.truncate(len(held))
    if path.stat().st_blocks * 512 >= len(held):
        pytest.fail("this file system makes no holes: run the tests on another")
    return path, bytes(held)


class Refuses:
    """A plug: no space is allocated."""

    def __init__(self, number):
        self.number = number

    def around(self, call, proceed):
        if call.name == "posix_fallocate":
            raise OSError(self.number, os.strerror(self.number))
        return proceed(call)


@pytest.mark.parametrize("way", ["no call", "EOPNOTSUPP", "EINVAL"])
def test_holes_are_filled_and_what_lies_between_stays(holed, monkeypatch, way):
    path, held = holed
    if way == "no call":
        macos.install(monkeypatch)
    else:
        system.install(monkeypatch, Refuses(getattr(errno, way)))
    descriptor = filesystem.open_write(path)
    filesystem.fill_holes(descriptor)
    filesystem.allocate(descriptor, len(held) - 5, 2_000_005)
    filesystem.allocate(descriptor, 0, 0)
    filesystem.sync(descriptor)
    filesystem.close(descriptor)
    assert path.read_bytes() == held + bytes(2_000_000)
    assert path.stat().st_blocks * 512 >= len(held) + 2_000_000


def test_a_full_disk_is_not_taken_for_a_call_that_is_not_there(holed, monkeypatch):
    system.install(monkeypatch, Refuses(errno.ENOSPC))
    descriptor = filesystem.open_write(holed[0])
    with pytest.raises(WriteFailedError, match="No space"):
        filesystem.fill_holes(descriptor)
    filesystem.close(descriptor)


def test_advice_that_a_system_does_not_take_is_not_given(tmp_path, monkeypatch):
    names = ("mmap", "ACCESS_READ", "MAP_PRIVATE", "MAP_ANONYMOUS")
    monkeypatch.setattr(filesystem, "mmap", SimpleNamespace(**{name: getattr(mmap, name) for name in names}))
    (tmp_path / "file").write_bytes(b"12345")
    mapped = filesystem.map_read(tmp_path / "file")
    filesystem.release(mapped, 0)
    assert bytes(mapped) == b"12345"
    assert not np.any(filesystem.memory(filesystem.HUGE_FROM))


def test_a_system_that_is_not_served_is_told_so():
    """On Windows it was an error about a module `fcntl`, wherever that was first imported."""
    code = "import sys; sys.modules['fcntl'] = None; import bitdex"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode and "ImportError: BitDex needs a POSIX system, as Linux or macOS" in done.stderr
    assert "During handling" not in done.stderr
