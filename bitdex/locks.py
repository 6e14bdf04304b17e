"""Locks that a fork has anew: a thread which the fork lacks may hold one for ever.

What such a lock guards has to do, as it is, between any two steps of its holder.
"""

import os
import threading
import weakref
from typing import Any

_owners: "weakref.WeakSet[Any]" = weakref.WeakSet()


def lock_of(owner: Any) -> threading.Lock:
    """Return a lock, which its owner keeps as ``_lock``; in a fork it gets another one."""
    _owners.add(owner)
    return threading.Lock()


def _begin_anew() -> None:
    for owner in _owners:
        owner._lock = threading.Lock()


os.register_at_fork(after_in_child=_begin_anew)
