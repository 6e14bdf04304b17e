"""Opening while somebody commits: an error counts when nothing has moved meanwhile."""

import time
from collections.abc import Callable
from typing import TypeVar

from bitdex.errors import CorruptError

ATTEMPTS = 1000
PAUSE = 0.001  # seconds between them
LOOKS = 8  # at what may be damage
LONGER = 0.05  # seconds between those, longer than a batch takes
T = TypeVar("T")


def steadily(attempt: Callable[[], T], look: Callable[[], object]) -> T:
    """Return what `attempt` returns.

    Files that do not fit each other are damage only if `look` sees the same before and behind; else
    a writer has passed by, and the next attempt begins.
    """
    for _ in range(ATTEMPTS):
        before = look()
        try:
            return attempt()
        except (CorruptError, FileNotFoundError) as error:
            if look() == before:
                raise
            passed = error
        time.sleep(PAUSE)
    raise passed


def confirmed(attempt: Callable[[], list[T]], look: Callable[[], object]) -> list[T]:
    """Return what `attempt` finds, made again until it finds the same twice: a writer may pass by.

    If that does not come, what the last two have found in common.
    """
    found = steadily(attempt, look)
    for _ in range(LOOKS):
        if not found:
            return found
        before = found
        time.sleep(LONGER)
        found = steadily(attempt, look)
        if found == before:
            return found
    return [one for one in found if one in before]
