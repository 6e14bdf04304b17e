"""Opening while somebody commits: an error counts when nothing has moved meanwhile."""

import time
from collections.abc import Callable
from typing import TypeVar

from bitdex.errors import CorruptError

ATTEMPTS = 1000
PAUSE = 0.001  # seconds between them
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
