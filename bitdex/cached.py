"""cached: a property that is made when it is first asked for, and is an attribute from then on.

That of the library holds a lock while it is made (before Python 3.12), one for all objects of the class:
others wait for what they do not need, and a fork waits for ever for a thread that it lacks.
"""

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")


class cached(Generic[T]):
    """Threads that ask at once may each make it; all of them get the one that was made first."""

    def __init__(self, make: Callable[[Any], T]):
        self._make, self._name = make, make.__name__
        self.__doc__ = make.__doc__

    @overload
    def __get__(self, owner: None, kind: type) -> "cached[T]": ...

    @overload
    def __get__(self, owner: object, kind: type | None = None) -> T: ...

    def __get__(self, owner: object | None, kind: type | None = None) -> Any:
        return self if owner is None else owner.__dict__.setdefault(self._name, self._make(owner))
