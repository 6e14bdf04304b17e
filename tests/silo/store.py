"""Directories of silos: copies as a crash leaves them, and file calls that stop at any moment."""

import shutil
from pathlib import Path

from bitdex.silo.silo import Silo
from tests import system
from tests.system import Killed

__all__ = ["Killed", "Killer", "content", "copy_of"]


class Killer(system.Killer):
    """Lets `allowed` changes through and stops all that follow, or only the next one; counts them."""

    def __init__(self, monkeypatch, allowed, error=None, once=False):
        super().__init__(allowed, error, once)
        self._system = system.install(monkeypatch, self)

    def bury(self):
        """Close what a dead process leaves to the system."""
        self._system.bury()


def copy_of(silo, target):
    """Return the path of a copy of a silo's directory as it stands, without closing the silo."""
    shutil.copytree(silo.files.directory, target)
    return Path(target)


def content(path, mode="r", **options):
    """Open a silo and return {key: value} and the findings of `check` that are errors."""
    with Silo.open(path, mode, sync="none", **options) as silo:
        keys = silo.keys()
        found = dict(zip(keys.tolist(), silo.get_many(keys)))
        errors = [one for one in silo.check() if one.severity == "error"]
    assert not errors, errors
    return found
