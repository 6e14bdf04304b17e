"""Completion: what IPython needs to complete names behind a Tab.

It evaluates what stands before the cursor only where that can do no harm, as far as it can tell: it asks no
property, and no class with a ``__getattr__`` of its own.
"""

import sys
from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")


class attribute(Generic[T]):
    """A property that cannot be set, and that IPython looks behind: reading it does nothing."""

    def __init__(self, make: Callable[[Any], T]):
        self._make = make
        self.__doc__ = make.__doc__

    @overload
    def __get__(self, owner: None, kind: type) -> "attribute[T]": ...

    @overload
    def __get__(self, owner: object, kind: type | None = None) -> T: ...

    def __get__(self, owner: object | None, kind: type | None = None) -> Any:
        return self if owner is None else self._make(owner)

    def __set__(self, owner: object, value: Any) -> None:
        raise AttributeError("this attribute cannot be set")


def trust(*kinds: type) -> None:
    """Let IPython read attributes and items of some classes while it completes; nothing without IPython."""
    evaluation = sys.modules.get("IPython.core.guarded_eval")
    policy = getattr(evaluation, "EVALUATION_POLICIES", {}).get("limited")
    for name in ("allowed_getattr", "allowed_getitem"):
        allowed = getattr(policy, name, None)
        if isinstance(allowed, set):
            allowed.update(kinds)
