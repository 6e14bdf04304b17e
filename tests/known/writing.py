"""What a store has asked of the system: a trace of it, how much it was, and what was not synced yet."""

from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.system import install
from tests.tracer import Tracer


@contextmanager
def file_calls(monkeypatch, plug):
    """Let a plug see the file calls of a block."""
    with monkeypatch.context() as patched:
        install(patched, plug)
        yield plug


@contextmanager
def traced(root):
    """Record what happens below a directory."""
    with pytest.MonkeyPatch.context() as patched, file_calls(patched, Tracer(root)) as tracer:
        yield tracer
        tracer.end()


class Counted:
    """A plug that counts syncs and the bytes that are written."""

    def __init__(self):
        self.syncs = self.bytes = 0

    def around(self, call, proceed):
        self.syncs += call.name in ("fsync", "fdatasync")
        self.bytes += len(call.arguments[1]) if call.name == "pwrite" else 0
        return proceed(call)


def unsynced_before(events, stop):
    """Return the files with bytes, and the directories with names, that are not on the device at an event.

    Ops logs are left out: their bytes are synced when a batch is acknowledged.
    """
    left = set()
    for event in events[:stop]:
        if (
            event.kind in ("write", "size")
            and event.path.suffix != ".log"
            and event.path.name != "writer.lock"
        ):
            left.add(event.file)
        elif event.kind == "sync":
            left.discard(event.file)
        elif event.kind in ("create", "rename", "unlink"):
            left.add(event.path.parent)
        elif event.kind == "sync directory":
            left.discard(Path(event.path))
    return left
