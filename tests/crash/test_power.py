"""The power cut itself: what it leaves of writes, names and maps, as `tests.power` says."""

import os
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from bitdex import filesystem
from tests import power
from tests.crash.cutting import recorded

OLD, NEW = b"o" * 1500, b"n" * 1500  # three sectors


class Cuts:
    """What a power cut may leave of what is done in a ``with`` block."""

    def __init__(self, root):
        self.root = root
        (root / "there").write_bytes(OLD)

    @contextmanager
    def recording(self):
        with recorded(self.root) as self.tracer:
            self._disk = power.Disk(self.tracer)
            yield self.root
            self._events = self.tracer.end()

    def states(self):
        """Return the states at the end."""
        for event in self._events:
            self._disk.happen(event)
        return list(self._disk.states(Random(1)))

    def left(self):
        """Return the directories at the end, each as {name: content}."""
        return [
            {str(path): _content(state.images[file]) for path, file in state.names.items() if file >= 0}
            for state in self.states()
        ]


def _content(image):
    content = bytearray(image.size)
    for at, sector in image.sectors.items():
        start = at * power.SECTOR
        content[start : start + power.SECTOR] = sector[: image.size - start]
    return bytes(content)


@pytest.fixture
def cuts(tmp_path):
    return Cuts(tmp_path)


def write(path, data, offset=0, sync=False):
    descriptor = filesystem.open_write(path)
    filesystem.write_at(descriptor, data, offset)
    if sync:
        filesystem.sync(descriptor)
    filesystem.close(descriptor)


def test_a_write_is_there_or_not_or_torn(cuts):
    with cuts.recording() as root:
        write(root / "there", NEW)
    contents = {state["there"] for state in cuts.left()}
    assert {OLD, NEW} < contents
    assert all(
        content[i : i + 512] in (OLD[i : i + 512], NEW[i : i + 512]) for content in contents for i in (0, 512)
    )


def test_a_write_that_was_synced_is_there(cuts):
    with cuts.recording() as root:
        write(root / "there", NEW, sync=True)
    assert cuts.left() == [{"there": NEW}]


def test_a_length_may_be_there_before_the_bytes_and_the_bytes_in_part(cuts):
    with cuts.recording() as root:
        write(root / "there", NEW, len(OLD))
    contents = {state["there"] for state in cuts.left()}
    assert {OLD, OLD + NEW, OLD + bytes(len(NEW))} < contents
    assert any(len(OLD) < len(content) < len(OLD + NEW) for content in contents)


def test_a_sector_is_one_that_once_was_in_memory(cuts):
    with cuts.recording() as root:
        write(root / "there", b"1", 10)
        write(root / "there", b"2", 20)
    assert {(state["there"][10:11], state["there"][20:21]) for state in cuts.left()} == {
        (b"o", b"o"),
        (b"1", b"o"),
        (b"1", b"2"),
    }


def test_allocated_space_is_zeros(cuts):
    with cuts.recording() as root:
        descriptor = filesystem.open_write(root / "there")
        filesystem.allocate(descriptor, 1000, 2000)
        filesystem.close(descriptor)
    assert {state["there"] for state in cuts.left()} == {OLD, OLD + bytes(1500)}


def test_a_new_file_may_have_no_name_and_a_name_no_bytes(cuts):
    with cuts.recording() as root:
        write(root / "new", NEW)
    contents = {state.get("new") for state in cuts.left()}
    assert {None, b"", NEW, bytes(len(NEW))} < contents


def test_a_synced_file_may_have_no_name(cuts):
    with cuts.recording() as root:
        write(root / "new", NEW, sync=True)
    assert {state.get("new") for state in cuts.left()} == {None, NEW}


def test_a_name_that_was_synced_may_have_no_bytes(cuts):
    with cuts.recording() as root:
        write(root / "new", NEW)
        filesystem.sync_directory(root)
    assert {b"", NEW} < {state["new"] for state in cuts.left()}


def test_a_rename_is_never_half_there(cuts):
    with cuts.recording() as root:
        filesystem.replace(root / "there", root / "elsewhere")
    assert sorted(map(str, cuts.left())) == sorted(map(str, [{"there": OLD}, {"elsewhere": OLD}]))


def test_an_unlink_may_be_undone(cuts):
    with cuts.recording() as root:
        filesystem.remove(root / "there")
    assert {state.get("there") for state in cuts.left()} == {None, OLD}


def test_a_file_that_is_replaced_as_one_should_is_the_old_or_the_new_one(cuts):
    with cuts.recording() as root:
        filesystem.write_whole(root / "there", NEW)
    assert {state["there"] for state in cuts.left()} == {NEW}
    cuts = Cuts(cuts.root)
    with cuts.recording() as root:
        filesystem.write_whole(root / "there", NEW, durable=False)
    assert {OLD, NEW, b""} < {state["there"] for state in cuts.left()}


def test_a_directory_is_there_when_the_one_above_was_synced(cuts):
    with cuts.recording() as root:
        filesystem.os.makedirs(root / "one" / "two")
        write(root / "one" / "two" / "new", NEW, sync=True)
        filesystem.sync_directory(root / "one" / "two")
        filesystem.sync_directory(root / "one")
    assert {state.get("one/two/new") for state in cuts.left()} == {None, NEW}
    cuts = Cuts(cuts.root)
    with cuts.recording() as root:
        filesystem.os.makedirs(root / "three")
        filesystem.sync_directory(root)
    assert all(Path("three") in state.names for state in cuts.states())


def test_stores_through_a_map_are_seen(cuts):
    with cuts.recording() as root:
        descriptor = filesystem.open_write(root / "there")
        mapped = filesystem.map_write(descriptor, len(OLD))
        mapped[:3] = 1
        filesystem.sync(descriptor)
        mapped[700:703] = 2
        filesystem.close(descriptor)
    contents = {state["there"] for state in cuts.left()}
    stored = b"\1\1\1" + OLD[3:]
    assert contents == {stored, stored[:700] + b"\2\2\2" + OLD[703:]}


def test_more_than_a_few_changes_are_sampled(cuts):
    with cuts.recording() as root:
        for i in range(10):
            write(root / f"{i}", NEW)
    states = cuts.states()
    assert len(states) == power.MANY
    assert {len(state.names) for state in states} >= {1, 11}


def test_acknowledgements_are_counted_and_a_state_can_be_made(cuts, tmp_path_factory):
    with cuts.recording() as root:
        write(root / "there", NEW, sync=True)
        cuts.tracer.acknowledge()
        filesystem.write_whole(root / "new", b"")
    (state,) = cuts.states()
    assert state.acknowledged == 1
    target = tmp_path_factory.mktemp("made")
    (target / "of another state").write_bytes(b"")
    state.save(target)
    assert {name: (target / name).read_bytes() for name in os.listdir(target)} == {"there": NEW, "new": b""}
