"""A silo to be damaged and repaired: the states it went through, and what a repair has to keep to."""

from bitdex.silo.check import check_files
from bitdex.silo.repair import repair_silo
from bitdex.silo.silo import Silo

NAMES = ("data.bin", "index.bin", "index.delta", "meta.bin", "ops_a.log", "ops_b.log")


def make_silo(path):
    """Make a silo with records of several frames, headroom, dead space, a merge and batches in one log.

    Returns its states since the last commit: what it held after each batch.
    """
    with Silo.open(path, "w", "concatenate", headroom=1.3, sync="none") as silo:
        silo.put_many(range(20), [b"%d;" % key * (key + 1) for key in range(20)])
        silo.compact()
        silo.merge_many([1, 2, 9], [b"more", b"m", b"nine" * 5])
        silo.delete(3)
        silo.put(4, b"four again")
        silo.compact()
        with silo.merge_writer() as writer:
            writer.merge_many([7, 8, 30], [b"seven" * 9, b"8", b"new"])
            writer.delete_many([11])
        states = [held(silo)]
        for batch in range(4):
            silo.put_many([5, 6 + batch], [b"five", b"six" * batch])
            states.append(held(silo))
            silo.merge_many([12, 5], [b"!%d" % batch] * 2)
            states.append(held(silo))
    return states


def held(silo):
    """Return {key: value} of an open silo."""
    return dict(zip(silo.keys().tolist(), silo.get_many(silo.keys())))


def content(files, mode="r"):
    """Return {key: value} of a silo's files."""
    with Silo.open(files.directory, mode) as silo:
        return held(silo)


def all_bytes(directory):
    """Return the content of all files below a directory, by name; not who has the lock."""
    paths = (path for path in directory.rglob("*") if path.is_file() and path.name != "writer.lock")
    return {str(path.relative_to(directory)): path.read_bytes() for path in paths}


def repair(files, at=None):
    """Repair a silo and hold the repair to its promises; return what it lists.

    A dry run changes nothing and lists the same; a repair that refuses changes nothing; after another one the
    silo can be opened, `check` finds nothing worse than notes, and repairing again has nothing to do.
    """
    before = all_bytes(files.directory)
    told = repair_silo(files.directory, dry_run=True, at=at)
    assert all_bytes(files.directory) == before
    done = repair_silo(files.directory, dry_run=False, at=at)
    assert done == told
    after = all_bytes(files.directory)
    if was_refused(done):
        assert after == before
        return done
    assert bool(done) == (after != before)
    assert [one for one in check_files(files) if one.severity != "note"] == []
    assert repair_silo(files.directory, dry_run=False, at=at) == []
    assert all_bytes(files.directory) == after
    assert content(files) == content(files, "w")
    return done


def was_refused(repairs):
    """Whether a repair has left everything as it is."""
    return any(one.action.startswith("none") for one in repairs)


def quarantined(files):
    """Return the content of the files in quarantine, by name."""
    return {name.rpartition("/")[2]: data for name, data in all_bytes(files.directory / "quarantine").items()}


def patch(path, at, data):
    """Overwrite bytes of a file."""
    whole = bytearray(path.read_bytes())
    whole[at : at + len(data)] = data
    path.write_bytes(whole)


def flip(path, at):
    """Flip a bit of a file."""
    patch(path, at, bytes([path.read_bytes()[at] ^ 0x10]))
