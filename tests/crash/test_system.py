"""The system that stands in for `os`: it sees every call, and its plugs do what they say (`tests.system`)."""

import os
from errno import EDQUOT, EIO, ENOSPC

import pytest

from bitdex import filesystem
from bitdex.errors import WriteFailedError
from tests import system


class Seen:
    """A plug that notes which calls there were."""

    def __init__(self):
        self.calls = []

    def around(self, call, proceed):
        self.calls.append((call.name, call.path.name, call.changes))
        return proceed(call)


@pytest.fixture
def path(tmp_path):
    (tmp_path / "file").write_bytes(b"0123456789")
    return tmp_path / "file"


@pytest.fixture
def descriptor(path):
    """Return a descriptor that was opened before any plug was there."""
    descriptor = filesystem.open_write(path)
    yield descriptor
    filesystem.close(descriptor)


def test_every_call_is_seen_with_its_path(monkeypatch, path):
    seen = Seen()
    with monkeypatch.context() as patched:
        system.install(patched, seen)
        descriptor = filesystem.open_write(path)
        filesystem.write_at(descriptor, b"ab", 0)
        filesystem.replace(path, path.with_name("moved"))
        mapped = filesystem.map_write(descriptor, 10)
        filesystem.sync(descriptor)
        filesystem.close(descriptor)
        assert bytes(filesystem.map_read(path.with_name("moved"))) == b"ab23456789" == bytes(mapped)
    filesystem.remove(path.with_name("moved"))
    assert seen.calls == [
        ("open", "file", True),
        ("pwrite", "file", True),
        ("replace", "file", True),
        ("mmap", "moved", True),
        ("fdatasync", "moved", True),
        ("close", "moved", False),
        ("open", "moved", False),
        ("fstat", "moved", False),
        ("mmap", "moved", False),
        ("close", "moved", False),
    ]


def test_a_change_that_is_not_known_is_refused(monkeypatch, path):
    with monkeypatch.context() as patched:
        system.install(patched)
        with pytest.raises(AssertionError, match="truncate"):
            filesystem.os.truncate(path, 0)
    assert path.stat().st_size == 10


def test_the_dead_make_no_calls_and_are_buried(monkeypatch, path):
    with monkeypatch.context() as patched:
        killer = system.Killer(2)
        under = system.install(patched, killer)
        descriptor = filesystem.open_write(path)
        filesystem.write_at(descriptor, b"a", 0)
        for _ in range(2):
            with pytest.raises(system.Killed):
                filesystem.write_at(descriptor, b"b", 0)
        with pytest.raises(system.Killed):
            filesystem.read(path)
    under.bury()
    assert os.path.samestat(os.fstat(descriptor), os.stat(os.devnull))  # until it is forgotten
    filesystem.close(descriptor)
    assert path.read_bytes() == b"a123456789" and killer.calls == 4


@pytest.mark.parametrize(("n", "written"), [(1, b"0123456789"), (2, b"ab23456789"), (3, b"abcd456789")])
def test_the_nth_change_fails_once(monkeypatch, path, descriptor, n, written):
    with monkeypatch.context() as patched:
        faulty = system.Faulty(n, EDQUOT, among=("pwrite",))
        system.install(patched, faulty)
        with pytest.raises(WriteFailedError) as caught:
            for i in range(9):
                filesystem.write_at(descriptor, b"abcdefghi"[i * 2 : i * 2 + 2], i * 2)
        assert caught.value.errno == EDQUOT and faulty.failed.path == path
        assert path.read_bytes() == written
        filesystem.write_at(descriptor, b"works", 0)
    assert path.read_bytes()[:5] == b"works" and faulty.calls == n + 1


def test_a_sync_that_fails(monkeypatch, descriptor):
    with monkeypatch.context() as patched:
        system.install(patched, system.Faulty(1, among=("fsync", "fdatasync")))
        filesystem.write_at(descriptor, b"a", 0)
        with pytest.raises(WriteFailedError) as caught:
            filesystem.sync(descriptor)
    assert caught.value.errno == EIO


@pytest.mark.parametrize(("data", "written"), [(b"abcdef", b"abc3456789"), (b"a", b"0123456789")])
def test_a_short_write_and_then_a_full_disk(monkeypatch, path, descriptor, data, written):
    with monkeypatch.context() as patched:
        system.install(patched, system.Faulty(1, short=True))
        with pytest.raises(WriteFailedError) as caught:
            filesystem.write_at(descriptor, data, 0)
    assert caught.value.errno == ENOSPC and path.read_bytes() == written


def test_a_quota_fills_up_and_is_raised(monkeypatch, path, descriptor):
    quota = system.Quota(path.parent, 13)
    with monkeypatch.context() as patched:
        system.install(patched, quota)
        filesystem.write_at(descriptor, b"abcdefghij", 0)  # over what is there
        with pytest.raises(WriteFailedError) as caught:
            filesystem.write_at(descriptor, b"klmnop", 10)
        assert caught.value.errno == ENOSPC and path.read_bytes() == b"abcdefghijklm"
        with pytest.raises(WriteFailedError):
            filesystem.allocate(descriptor, 0, 14)
        filesystem.allocate(descriptor, 0, 13)
        assert (quota.used, quota.refused) == (13, 2)
        quota.limit = 20
        filesystem.write_at(descriptor, b"klmnop", 10)
    assert path.read_bytes() == b"abcdefghijklmnop"
