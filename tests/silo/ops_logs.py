"""Ops logs as tests see them: where their batches end, and operations in both at once."""

from contextlib import suppress

from bitdex.formats.frame import padded
from bitdex.silo.merge_writer import MergeWriter


class Stopped(Exception):
    """A compaction that was made to fail."""


def log_end(silo):
    """Return where the last operation of the logs ends; space allocated behind it is zero."""
    rows = silo.ops_frame()
    return int((rows["offset"] + padded(rows["length"])).max()) if len(rows) else 64


def freeze(silo, monkeypatch):
    """Let a compaction fail when it has frozen the active log, so that further batches go to the other."""

    def stop(*arguments):
        raise Stopped

    with monkeypatch.context() as patched, suppress(Stopped):
        patched.setattr(MergeWriter, "finish", stop)
        silo.compact()
