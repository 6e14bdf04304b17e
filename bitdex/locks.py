"""Locks that a fork has anew: a thread which the fork lacks may hold one for ever.

What such a lock guards has to do, as it is, between any two steps of its holder.
"""

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any

_makers: "weakref.WeakKeyDictionary[Any, Callable[[], Any]]" = weakref.WeakKeyDictionary()


def lock_of(owner: Any, make: Callable[[], Any] = threading.Lock) -> Any:
    """Return a lock, which its owner keeps as ``_lock``; in a fork it gets another one."""
    _makers[owner] = make
    return make()


def _begin_anew() -> None:
    for owner, make in _makers.items():
        owner._lock = make()


os.register_at_fork(after_in_child=_begin_anew)
