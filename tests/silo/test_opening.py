"""Opening: what a silo is made with, what may lie there already, what is let go of behind it."""

import gc
import os
import shutil

import pytest

import bitdex
from bitdex.errors import CorruptError, InvalidError, LockedError, NotFoundError
from bitdex.silo.silo import Silo
from tests.conftest import open_files
from tests.silo.store import content

SCHEMA = {
    "name": "rows",
    "config": {"filter_fields": [{"name": "n", "field_type": "single_value"}]},
    "data_schema": {"fields": [{"source": "n", "target": "n", "value_type": "integer"}]},
}


@pytest.fixture
def two_places(tmp_path, monkeypatch):
    """Return two directories, and a function that takes the process into one of them."""
    places = tmp_path / "one", tmp_path / "two"
    for place in places:
        place.mkdir()
    monkeypatch.chdir(tmp_path)  # and back when the test ends
    return *places, monkeypatch.chdir


def test_a_silo_stays_where_it_is_when_the_process_goes_elsewhere(two_places):
    """A path was looked up anew at every commit: that destroyed the silo of the same name elsewhere."""
    one, two, go = two_places
    go(two)
    with Silo.open("silo", "w") as other:
        other.put(7, b"7")
        other.compact()
    go(one)
    with Silo.open("silo", "w") as silo:
        silo.put(1, b"1")
        silo.compact()
        silo.put(2, b"2")
        reader = Silo.open("silo")
        go(two)
        silo.compact()
        silo.put(3, b"3")
        assert reader.refresh() and list(reader.keys()) == [1, 2, 3]
        reader.close()
    assert content(one / "silo") == {1: b"1", 2: b"2", 3: b"3"}
    assert content("silo") == {7: b"7"}


@pytest.mark.parametrize("compacts", [False, True])
def test_a_reader_sees_that_another_directory_has_come_in_the_place_of_its_own(tmp_path, compacts):
    """Its generations and sequences are the same, and other bytes lie under them."""
    path, before = tmp_path / "silo", tmp_path / "before"
    with Silo.open(path, "w") as silo:
        silo.put_many([1, 2], [b"one", b"two"])
    shutil.copytree(path, before)

    def change(key, value):
        with Silo.open(path, "w") as silo:
            silo.put(key, value)
            if compacts:
                silo.compact()

    change(1, b"ONE")
    with Silo.open(path) as reader:
        assert reader.get(1) == b"ONE"
        path.rename(tmp_path / "away")
        shutil.copytree(before, path)
        change(2, b"TWO")
        assert reader.refresh()
        change(3, b"THREE")
        reader.refresh()
        assert [reader.get(key) for key in (1, 2, 3)] == [b"one", b"TWO", b"THREE"]


def test_an_index_stays_where_it_is_when_the_process_goes_elsewhere(two_places):
    one, two, go = two_places
    go(two)
    with bitdex.create("rows", SCHEMA) as other:
        other.put({"id": 7, "n": 7})
    go(one)
    with bitdex.create("rows", SCHEMA) as index:
        index.put({"id": 1, "n": 1})
        go(two)
        index.put({"id": 2, "n": 2})
        index.compact()
        index.put({"id": 3, "n": 3})
        assert index.path == one / "rows"
    with bitdex.open(one / "rows", "r") as index:
        assert index.ids().tolist() == [1, 2, 3]
    with bitdex.open("rows", "r") as other:
        assert other.ids().tolist() == [7]


@pytest.mark.parametrize("compacted", [False, True])
def test_a_silo_without_its_commit_records_is_not_made_anew(silos, compacted):
    """It was, without a word, and its logs were replaced: putting the file back did not help."""
    silo = silos()
    silo.put(1, b"one")
    if compacted:
        silo.compact()
    silo.close()
    meta = silo.files.meta
    records = meta.read_bytes()
    meta.unlink()
    with pytest.raises(CorruptError, match=r"meta\.bin: expected the commit records"):
        Silo.open(silo.files.directory, "w")
    meta.write_bytes(records)
    assert content(silo.files.directory) == {1: b"one"}


def test_a_silo_whose_making_died_is_made(silos):
    silo = silos()
    silo.close()
    silo.files.meta.unlink()
    with Silo.open(silo.files.directory, "w", "concatenate") as again:
        again.put(1, b"one")


@pytest.mark.parametrize("how", ["changes", "a phase"])
@pytest.mark.parametrize("name", ["documents", "bitmaps"])
def test_an_index_that_lacks_the_commit_records_of_a_silo_is_left_as_it_is(tmp_path, name, how):
    """The silo was made anew, and the other one rolled back to where that one was."""
    with bitdex.create(tmp_path / "rows", SCHEMA) as index:
        if how == "changes":
            index.put({"id": 1, "n": 1})
        else:
            import pandas as pd

            frame = pd.DataFrame({"id": [1], "n": [1]})
            phase = {"name": "rows", "slot_field": "id", "sets_alive": True, "fields": ["n"]}
            index.dump(phase, source={"rows": frame})
    meta = tmp_path / "rows" / name / "meta.bin"
    meta.rename(tmp_path / "kept")
    for mode in ("w", "r"):
        with pytest.raises(NotFoundError, match=rf"{name}: there is no silo here \(no meta\.bin\)"):
            bitdex.open(tmp_path / "rows", mode)
    shutil.move(tmp_path / "kept", meta)
    with bitdex.open(tmp_path / "rows") as index:
        assert index.ids("n == 1").tolist() == [1] and index.check().empty


@pytest.mark.parametrize("mode", ["w", "r"])
def test_a_silo_that_is_opened_at_a_sequence_is_not_made(tmp_path, mode):
    with pytest.raises(NotFoundError):
        Silo.open(tmp_path / "silo", mode, at=0)
    assert not (tmp_path / "silo").exists()


@pytest.mark.parametrize("mode", ["w", "r"])
@pytest.mark.parametrize(
    ("name", "own", "other"),
    [
        ("headroom", 1.3, 1.25),
        ("headroom", 1.764, 1.7),
        ("minimum", 100, 0),
        ("alignment", 32, 8),
        ("rule", "bitmap", "replace"),
    ],
)
def test_other_settings_than_a_silo_was_made_with_are_refused(tmp_path, name, own, other, mode):
    """All but the rule were ignored."""
    Silo.open(tmp_path, "w", **{name: own}).close()
    with pytest.raises(InvalidError, match=f"{name}: .* was made with {own!r}, not {other!r}"):
        Silo.open(tmp_path, mode, **{name: other})
    Silo.open(tmp_path, mode, **{name: own}).close()
    Silo.open(tmp_path, mode).close()


def test_a_headroom_is_kept_in_thousandths(tmp_path):
    for headroom in (1.7641786966887358, 1.7641786966887358, 1.764):
        Silo.open(tmp_path, "w", headroom=headroom).close()


@pytest.mark.parametrize("identity", [0, -1, 1 << 64])
def test_an_identity_that_no_silo_can_have_is_refused(tmp_path, identity):
    """With 0 a silo was made with another one, and then refused."""
    with pytest.raises(InvalidError, match=f"identity: {identity} is outside 1 to"):
        Silo.open(tmp_path / "silo", "w", identity=identity)
    assert not (tmp_path / "silo").exists()


# ---- what is forgotten


@pytest.fixture
def no_collection():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_a_silo_that_is_forgotten_lets_go_of_its_lock_and_files(silos, no_collection):
    """They stayed until the process ended, and the next opener was told of this very process."""
    silo = silos()
    silo.put(1, b"one")
    silo.compact()
    silo.put(2, b"two")
    path = silo.files.directory
    silo.close()
    before = open_files()
    silo = Silo.open(path, "w", sync="none")
    silo.put(3, b"three")
    del silo
    assert open_files() == before
    with Silo.open(path, "w") as again:
        assert again.get(3) == b"three"


def test_a_silo_that_is_forgotten_in_a_cycle_can_be_opened_again(tmp_path, no_collection):
    silo = Silo.open(tmp_path, "w")
    silo.put(1, b"one")
    ring = [silo]
    ring.append(ring)
    del silo, ring
    with Silo.open(tmp_path, "w") as again:
        assert again.get(1) == b"one"


def test_an_index_that_is_forgotten_lets_go_of_its_locks_and_files(tmp_path, no_collection):
    before = open_files()
    index = bitdex.create(tmp_path, SCHEMA)
    index.put({"id": 1, "n": 1})
    assert index.ids("n == 1").tolist() == [1]
    del index
    for mode in ("r", "w"):
        with bitdex.open(tmp_path, mode) as again:
            assert again.ids("n == 1").tolist() == [1]
            assert again["n == 1"].facets("n").to_dict() == {1: 1}
            assert len(again.query("n == 1").to_pandas()) == 1
            again.refresh(), again.stats(), again._repr_html_()
        del again
    assert open_files() == before


def test_a_reader_that_moves_on_lets_go_of_what_it_has_left(tmp_path, no_collection):
    with bitdex.create(tmp_path, SCHEMA) as index, bitdex.open(tmp_path, "r") as reader:
        for n in range(3):
            index.put({"id": 1, "n": n})
            index.compact()
            reader.refresh(), reader.ids(f"n == {n}")
        before = open_files()
        for n in range(20):
            index.put({"id": 1, "n": n})
            if n % 7 == 5:
                index.compact()
            assert reader.refresh() and reader.ids(f"n == {n}").tolist() == [1]
        assert len(open_files()) == len(before)


def test_who_has_a_silo_open_already_is_told_so(silo):
    with pytest.raises(LockedError, match=f"process {os.getpid()} .*that is this process: close the other"):
        Silo.open(silo.files.directory, "w")


def test_a_fork_that_forgets_a_silo_leaves_its_lock(silo):
    """Nor does it wait for locks that threads of its parent have held."""
    silo.put(1, b"one")
    child = os.fork()
    if not child:
        try:
            with silo._logs._appending:
                silo._belongings._forgotten()
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    silo.put(2, b"two")
    with pytest.raises(LockedError):
        Silo.open(silo.files.directory, "w")
