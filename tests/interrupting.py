"""Ctrl-C at a chosen step: where Python looks for signals, which is when a function of its own begins and
when one that is compiled has returned."""

import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any


@contextmanager
def raising() -> Iterator[None]:
    """Let Ctrl-C raise `KeyboardInterrupt`, also where tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def interrupted_at(
    step: int, work: Callable[[], Any], kept: list[BaseException] | None = None
) -> bool | None:
    """Do some work and press Ctrl-C at its n-th step, from 0; tell whether it was interrupted.

    None says that it has fewer steps. The interrupt goes to `kept`, as a prompt keeps it, with all frames.
    """
    left = step

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal left
        if event in ("call", "c_return"):
            left -= 1
            if left == -1:
                signal.raise_signal(signal.SIGINT)

    try:
        sys.setprofile(count)
        work()
    except KeyboardInterrupt as error:
        if kept is not None:
            kept[:] = [error]
        return True
    finally:
        sys.setprofile(None)
        interrupted = left < 0
    return False if interrupted else None


def close_left(directory: Path) -> None:
    """Close the files that nobody knows: opened, and interrupted before it was noted."""
    gc.collect()
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        with suppress(OSError):  # the one that lists
            if os.readlink(f"/proc/self/fd/{descriptor}").startswith(f"{directory}/"):
                os.close(descriptor)
